"""The numbered facts of a running Kestra that decide how the modules work, held against the test server.

They were observed on a Kestra of 0.21. Where 2.0 differs, 2.0 wins and the test says so. Facts 2 and 10 to 13 are about
writing several flows in one call (`POST /flows/bulk` and `POST /flows/{namespace}`), which splits, trims and deletes in
ways that no module can work with. The modules never send such a call, and the test server serves none, which the last
test holds. Fact 17 needs a plugin that is removed while its flow is stored; those of the test server are built in.
"""

from __future__ import annotations

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .kestra import Kestra
from .test_kestra_server import LOG, YAML, flow, post, problem, put
from .test_old_dialect import hal


def read(kestra: Kestra, path: str, **query: str) -> dict[str, Any]:
    """Return a flow with its source."""
    answer = kestra.call("GET", f"/flows/{path}", params={"source": "true", **query})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(kestra: Kestra, answer: Any, old: tuple[int, str], new: tuple[int, str]) -> str:
    """Check that an answer is the error that the server's dialect has for this; return its message."""
    return hal(answer, *old) if kestra.dialect == "1.3" else problem(answer, *new)


INVALID = ((422, "Invalid entity"), (422, "validation-failed"))
MISSING = ((404, "Not Found"), (404, "not-found"))


def fresh(kestra: Kestra, namespace: str, identifier: str) -> str:
    """Return the path of a flow, which is not there."""
    kestra.call("DELETE", f"/flows/{namespace}/{identifier}")
    return f"{namespace}/{identifier}"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text, id="plain"),
        pytest.param(lambda text: text.rstrip("\n"), id="no final newline"),
        pytest.param(lambda text: text + "\n\n", id="more newlines"),
        pytest.param(lambda text: "\n\n" + text, id="leading newlines"),
        pytest.param(lambda text: "---\n" + text, id="document marker"),
        pytest.param(lambda text: text + "...\n", id="end marker"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="crlf"),
        pytest.param(lambda text: text.replace("\n", "  \n"), id="trailing blanks"),
        pytest.param(lambda text: "\ufeff" + text, id="bom"),
        pytest.param(lambda text: text + "# Grüße ☃\t\n", id="unicode"),
    ],
)
def test_01_sources_come_back_byte_for_byte(either: Kestra, change: Any) -> None:
    path = fresh(either, "fact.one", "bytes")
    source = change(flow("bytes", "fact.one"))
    assert post(either, source).json()["source"] == source
    assert read(either, path)["source"] == source
    assert put(either, path, source).json()["source"] == source


def test_03_unchanged_is_no_new_revision_and_a_comment_is_one(either: Kestra) -> None:
    path = fresh(either, "fact.three", "same")
    source = flow("same", "fact.three")
    first = post(either, source).json()["revision"]
    again = put(either, path, source)
    assert (again.status_code, again.json()["revision"]) == (200, first)
    assert put(either, path, source + "# a comment\n").json()["revision"] == first + 1
    assert put(either, path, source + "# a comment\n\n").json()["revision"] == first + 2
    assert put(either, path, source).json()["revision"] == first + 3


def test_04_a_revision_in_the_source_no_longer_makes_one_each_time(either: Kestra) -> None:
    """0.21 made a revision on each PUT; the engine of 2.0 leaves the line out of account on both sides."""
    path = fresh(either, "fact.four", "numbered")
    source = flow("numbered", "fact.four", more="revision: 7\n")
    first = post(either, source).json()["revision"]
    assert [put(either, path, source).json()["revision"] for _ in range(2)] == [first, first]


def test_05_deleted_in_the_source_makes_a_flow_that_nobody_sees(either: Kestra) -> None:
    path = fresh(either, "fact.five", "hidden")
    assert post(either, flow("hidden", "fact.five", more="deleted: true\n")).status_code == 200
    refused(either, either.call("GET", f"/flows/{path}"), *MISSING)


def test_05_a_tenant_in_the_source_has_no_effect_any_more(either: Kestra) -> None:
    """0.21 stored the flow out of sight; the engine of 2.0 takes the tenant of the address."""
    path = fresh(either, "fact.five", "elsewhere")
    assert post(either, flow("elsewhere", "fact.five", more="tenantId: other\n")).status_code == 200
    assert read(either, path)["id"] == "elsewhere"


def test_06_create_and_update_are_two_things(either: Kestra) -> None:
    path = fresh(either, "fact.six", "two")
    refused(either, put(either, path, flow("two", "fact.six")), *MISSING)
    refused(either, put(either, path, "id: 'not even yaml"), *MISSING)
    assert post(either, flow("two", "fact.six")).status_code == 200
    # 2.0 has a conflict of its own for it, where 1.x calls the flow invalid.
    exists = (422, "Invalid entity"), (409, "entity-already-exists")
    assert "already exists" in refused(either, post(either, flow("two", "fact.six")), *exists)


def test_07_an_update_cannot_move_a_flow(either: Kestra) -> None:
    path = fresh(either, "fact.seven", "fixed")
    post(either, flow("fixed", "fact.seven"))
    renamed = put(either, path, flow("other", "fact.seven"))
    assert "flow.id: Illegal flow id update" in refused(either, renamed, *INVALID)
    moved = put(either, path, flow("fixed", "fact.other"))
    assert "flow.namespace: Illegal namespace update" in refused(either, moved, *INVALID)


def test_08_of_two_documents_the_first_becomes_the_flow_and_both_the_source(either: Kestra) -> None:
    path = fresh(either, "fact.eight", "first")
    source = flow("first", "fact.eight") + "---\n" + flow("second", "fact.eight")
    created = post(either, source)
    assert (created.status_code, created.json()["id"], created.json()["source"]) == (200, "first", source)
    assert read(either, path)["source"] == source
    refused(either, either.call("GET", "/flows/fact.eight/second"), *MISSING)


def test_09_deletes_are_soft_and_revisions_go_on(either: Kestra) -> None:
    path = fresh(either, "fact.nine", "again")
    source = flow("again", "fact.nine")
    first = post(either, source).json()["revision"]
    deleted = either.call("DELETE", f"/flows/{path}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    refused(either, either.call("DELETE", f"/flows/{path}"), *MISSING)
    refused(either, either.call("DELETE", "/flows/fact.nine/never"), *MISSING)
    refused(either, put(either, path, source), *MISSING)
    gone = read(either, path, allowDeleted="true")
    assert (gone["revision"], gone["deleted"]) == (first + 1, True)
    assert either.call("GET", f"/flows/{path}/revisions").json()[-1]["deleted"] is True
    assert post(either, source).json()["revision"] == first + 2


def test_14_validation_answers_200_with_constraints(either: Kestra) -> None:
    fresh(either, "fact.fourteen", "there")
    post(either, flow("there", "fact.fourteen"))
    documents = [
        flow("there", "fact.fourteen"),
        flow("bad", "fact.fourteen", tasks="tasks: []"),
        flow("worse", "fact.fourteen", tasks="tasks: [{id: a, type: io.nope.Nope}]"),
        "id: [",
    ]
    answer = either.call("POST", "/flows/validate", data="---\n".join(documents).encode(), headers=YAML)
    assert answer.status_code == 200
    there, bad, worse, broken = answer.json()
    assert "constraints" not in there and there["flow"] == "there"
    assert all("constraints" in entry for entry in (bad, worse, broken))
    assert "flow" not in worse and "flow" not in broken
    # Only a revision that is not the next one is told.
    outdated = either.call("POST", "/flows/validate", data=f"{documents[0]}revision: 99\n".encode(), headers=YAML)
    assert outdated.json()[0]["outdated"] is True


def test_15_nothing_guards_against_parallel_writes(either: Kestra) -> None:
    """How many of them are lost is chance; that all are told to have worked is not."""
    path = fresh(either, "fact.fifteen", "race")
    post(either, flow("race", "fact.fifteen"))
    sources = [flow("race", "fact.fifteen") + f"# {number}\n" for number in range(6)]
    with ThreadPoolExecutor(len(sources)) as pool:
        answers = list(pool.map(lambda source: put(either, path, source), sources))
    assert [answer.status_code for answer in answers] == [200] * len(sources)
    assert not {"ETag", "Last-Modified"} & set(answers[0].headers)
    assert read(either, path)["source"] in sources


@pytest.mark.parametrize("identifier", ["lower", "Lower", "0-9._a"])
def test_16_ids_are_case_sensitive(either: Kestra, identifier: str) -> None:
    path = fresh(either, "fact.sixteen", identifier)
    assert post(either, flow(identifier, "fact.sixteen")).status_code == 200
    assert read(either, path)["id"] == identifier


@pytest.mark.parametrize(("namespace", "identifier"), [("fact.sixteen", "-a"), ("fact.sixteen", "a b"), ("Fact", "a")])
def test_16_ids_and_namespaces_have_patterns(either: Kestra, namespace: str, identifier: str) -> None:
    answer = post(either, flow(f'"{identifier}"', namespace))
    assert "must match" in refused(either, answer, *INVALID)


def test_18_disabling_edits_the_source(either: Kestra) -> None:
    path = fresh(either, "fact.eighteen", "switched")
    source = flow("switched", "fact.eighteen")
    first = post(either, source).json()["revision"]
    several = [{"namespace": "fact.eighteen", "id": "switched"}]
    assert either.call("POST", "/flows/disable/by-ids", json=several).json() == {"count": 1}
    disabled = read(either, path)
    assert (disabled["source"], disabled["revision"]) == (f"{source}\ndisabled: true", first + 1)
    assert disabled["disabled"] is True
    assert either.call("POST", "/flows/enable/by-ids", json=several).json() == {"count": 1}
    enabled = read(either, path)
    assert (enabled["disabled"], enabled["revision"]) == (False, first + 2)
    assert "disabled: false" in enabled["source"]
    # An update with the original is what enables it as well.
    either.call("POST", "/flows/disable/by-ids", json=several)
    assert put(either, path, source).json()["disabled"] is False


def test_18_deleting_several_stops_at_the_first_that_is_missing(either: Kestra) -> None:
    path = fresh(either, "fact.eighteen", "before")
    post(either, flow("before", "fact.eighteen"))
    several = [{"namespace": "fact.eighteen", "id": name} for name in ("before", "never")]
    answer = either.call("DELETE", "/flows/delete/by-ids", json=several)
    assert "No value present" in refused(either, answer, *MISSING)
    refused(either, either.call("GET", f"/flows/{path}"), *MISSING)


@pytest.mark.parametrize("content_type", ["application/yaml", "text/yaml", "text/plain", "application/json"])
def test_19_sources_have_one_content_type(either: Kestra, content_type: str) -> None:
    """0.21 said 422 or 409 in misleading words and took JSON; the write endpoints of 2.0 know YAML alone."""
    source = flow("typed", "fact.nineteen").encode()
    answer = either.call("POST", "/flows", data=source, headers={"Content-Type": content_type})
    refused(either, answer, (415, "Unsupported Media Type"), (415, "unsupported-media-type"))
    fresh(either, "fact.nineteen", "typed")
    utf8 = {"Content-Type": "application/x-yaml; charset=utf-8"}
    assert either.call("POST", "/flows", data=source, headers=utf8).status_code == 200


def test_20_answers_are_json_and_bodies_have_a_limit(either: Kestra) -> None:
    path = fresh(either, "fact.twenty", "large")
    post(either, flow("large", "fact.twenty"))
    answer = either.call("GET", f"/flows/{path}", headers={"Accept": "application/x-yaml"})
    # Even the error is JSON.
    assert answer.status_code == 406
    two = flow("large", "fact.twenty") + "# " + "x" * 2_000_000 + "\n"
    assert put(either, path, two).json()["source"] == two
    eleven = put(either, path, two + "# " + "x" * 9_000_000 + "\n")
    refused(either, eleven, (500, "Internal server error"), (413, "payload-too-large"))


def test_21_lists_carry_no_source_and_the_export_has_it(either: Kestra) -> None:
    fresh(either, "fact.twentyone", "listed")
    source = flow("listed", "fact.twentyone") + "# ☃  \n\n"
    post(either, source)
    query = {"filters[namespace][EQUALS]": "fact.twentyone"}
    lists = [either.call("GET", "/flows/fact.twentyone").json()]
    lists.append(either.call("GET", "/flows/search", params=query).json()["results"])
    assert all([one["id"] for one in found] == ["listed"] and "source" not in found[0] for found in lists)
    archive = zipfile.ZipFile(io.BytesIO(either.call("GET", "/flows/export/by-query", params=query).content))
    assert archive.namelist() == ["fact.twentyone.listed.yml"]
    assert archive.read("fact.twentyone.listed.yml") == source.encode()


def test_22_a_namespace_and_those_below_it(either: Kestra) -> None:
    """2.0 asks for them with a filter; the parameter of old does the same in 1.3."""
    for namespace in ("fact22", "fact22.below", "fact22more"):
        fresh(either, namespace, "found")
        post(either, flow("found", namespace))
    query = {"namespace": "fact22"} if either.dialect == "1.3" else {"filters[namespace][PREFIX]": "fact22"}
    found = either.call("GET", "/flows/search", params={**query, "size": "10000"}).json()
    assert sorted(one["namespace"] for one in found["results"]) == ["fact22", "fact22.below"]
    none = either.call("GET", "/flows/search", params={**query, "size": "0"})
    assert "must be greater than or equal to 1" in refused(either, none, *INVALID)


def test_23_errors_share_one_shape(either: Kestra) -> None:
    """2.0 has RFC 9457's instead; the helpers check each in full."""
    refused(either, either.call("GET", "/flows/fact.none/never"), *MISSING)
    refused(either, post(either, flow("bad", "fact.none", tasks=f"tasks: [{LOG}, {LOG}]")), *INVALID)
    nobody = either.call("GET", "/flows/search", auth=("nobody@example.com", "Nobody123"))
    assert (nobody.status_code, nobody.content, nobody.headers.get("Content-Type")) == (401, b"", None)


@pytest.mark.parametrize("path", ["bulk?delete=false", "fact.bulk?delete=false", "import"])
def test_02_10_11_12_13_there_are_no_bulk_writes(either: Kestra, path: str) -> None:
    answer = either.call("POST", f"/flows/{path}", data=flow("bulk", "fact.bulk").encode(), headers=YAML)
    assert answer.status_code == 405
    refused(either, either.call("GET", "/flows/fact.bulk/bulk"), *MISSING)
