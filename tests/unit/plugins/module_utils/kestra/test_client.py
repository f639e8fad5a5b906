"""The client against a server that misbehaves."""

from __future__ import annotations

import io
import re
import socket
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra import client as kestra_client
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import (
    Connection,
    KestraClient,
    KestraError,
    extract,
)

from ....fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra

FLOW = "id: one\nnamespace: team\ntasks: [{id: say, type: Log}]\n"


@pytest.fixture(params=["2.0.5", "1.3.9"])
def server(request: pytest.FixtureRequest) -> Iterator[FakeKestra]:
    with FakeKestra(version=request.param) as fake:
        yield fake


def client(fake: FakeKestra | str, **options: object) -> KestraClient:
    url = fake if isinstance(fake, str) else fake.url
    settings = {"username": USERNAME, "password": PASSWORD, "retries": 0, "timeout": 5, **options}
    return KestraClient(Connection(url, **settings))  # type: ignore[arg-type]


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8080",
        "ftp://host",
        "http://",
        "http://h:port",
        "http://u:p@h:8080",
        "http://h/ui",
        "http://h/api/v1",
        "http://h/api/v1/main/flows",
        "http://h/ui/main/flows",
        "http://h/api/",
        "http://h/?x",
    ],
)
def test_urls_that_cannot_be_right(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        Connection(url)


@pytest.mark.parametrize("url", ["http://gw/api/kestra", "https://h/team/ui", "https://h/kestra/", "http://h"])
def test_urls_below_a_path(url: str) -> None:
    assert Connection(url).url == url


def test_a_thing_that_is_missing_is_no_wrong_address(server: FakeKestra) -> None:
    server.prepare("POST /api/v1/main/executions", server.problem(404, "Requested Flow is not found", "not-found"))
    with pytest.raises(KestraError) as raised:
        client(server).request("POST", "/api/v1/main/executions/a/b", "start flow a/b")
    assert str(raised.value) == "Could not start flow a/b: HTTP 404: Requested Flow is not found"


def test_a_flow_on_two_pages_is_asked_for_again(server: FakeKestra, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kestra_client, "PAGE", 2)
    for name in ("one", "two", "three"):
        server.add(FLOW.replace("one", name))
    entries = [{"namespace": "team", "id": name, "revision": 1} for name in ("one", "three", "two")]
    twice = [{"results": entries[:2], "total": 3}, {"results": [entries[1]], "total": 3}]
    search = "GET /api/v1/main/flows/search"
    server.prepare(search, *[Answer(200, page) for page in twice])
    kestra = client(server, retries=1, backoff=0)
    assert len(kestra.retry(lambda: kestra.search_flows(["team"]))) == 3
    assert all("sort=namespace%3Aasc&sort=id%3Aasc" in request for request in server.requests if "search" in request)
    server.prepare(search, *[Answer(200, page) for page in twice])
    with pytest.raises(KestraError, match="flow team/three is on two pages"):
        kestra.search_flows(["team"])


def test_create_read_update(server: FakeKestra) -> None:
    kestra = client(server)
    created = kestra.create_flow("team/one", FLOW)
    assert created is not None and created["revision"] == 1 and created["source"] == FLOW
    assert kestra.create_flow("team/one", FLOW) is None, "409 and 422 both mean that it exists"
    updated = kestra.update_flow("team", "one", FLOW + "# more\n")
    assert updated is not None and updated["revision"] == 2
    assert kestra.update_flow("team", "two", FLOW.replace("one", "two")) is None
    read = kestra.get_flow("team", "one")
    assert read is not None and read["source"].endswith("# more\n")
    assert kestra.get_flow("team", "nothing") is None


def test_the_version_is_asked_once(server: FakeKestra) -> None:
    kestra = client(server)
    with ThreadPoolExecutor(8) as pool:
        infos = list(pool.map(lambda _n: kestra.server_info(), range(8)))
    assert {info.version for info in infos} == {server.version}
    assert server.requests == ["GET /api/v1/configs"]


@pytest.mark.parametrize(
    ("version", "number", "has_filters"),
    [
        ("2.0.5", (2, 0), True),
        ("2.0.0-SNAPSHOT", (2, 0), True),
        ("1.3.15", (1, 3), True),
        ("0.21.0-SNAPSHOT", (0, 21), False),
        ("", (0, 0), True),
        ("develop", (0, 0), True),
    ],
)
def test_versions(version: str, number: tuple[int, int], has_filters: bool) -> None:
    info = kestra_client.ServerInfo(version)
    assert (info.number, info.has_filters) == (number, has_filters)


def test_a_server_without_tenants() -> None:
    with FakeKestra(version="0.21.0", tenant="") as server:
        server.add(FLOW)
        server.add(FLOW.replace("team", "other"))
        kestra = client(server, tenant="")
        assert sorted(flow["namespace"] for flow in kestra.search_flows(["team"])) == ["other", "team"]
        assert server.requests[-1].startswith("GET /api/v1/flows/search?")
        with pytest.raises(KestraError, match=r"empty for one before 0\.23") as raised:
            client(server).check_credentials()
        assert raised.value.status == 404


def test_searching_several_namespaces_and_pages(server: FakeKestra, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kestra_client, "PAGE", 3)
    for number in range(7):
        server.add(FLOW.replace("one", f"f{number}"))
    server.add(FLOW.replace("team", "other"))
    server.add(FLOW.replace("team", "third"))
    found = client(server).search_flows(["team", "other"])
    assert len(found) == 8
    assert sum("/search" in request for request in server.requests) == 3
    assert "filters%5Bnamespace%5D%5BIN%5D=other%2Cteam" in server.requests[1]


def test_a_filter_that_would_be_too_long_is_left_out(server: FakeKestra) -> None:
    server.add(FLOW)
    found = client(server).search_flows(["team", *(f"namespace-number-{n}" for n in range(200))])
    assert [flow["id"] for flow in found] == ["one"]
    assert max(len(request) for request in server.requests) < 2000


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            Answer(
                422,
                {
                    "type": "https://kestra.io/docs/api-reference/problems/validation-failed",
                    "title": "Validation failed",
                    "status": 422,
                    "detail": "The flow is invalid",
                    "errors": [{"detail": "must not be null", "pointer": "/tasks/0/type", "path": "tasks[a].type"}],
                },
                "application/problem+json",
            ),
            "HTTP 422: The flow is invalid; tasks[a].type: must not be null",
        ),
        (
            Answer(
                422,
                {
                    "message": "Invalid entity: tasks: must not be empty\n",
                    "_links": {"self": {"href": "/api/v1/flows"}},
                    "_embedded": {"errors": [{"message": "must not be empty", "path": "tasks"}]},
                },
            ),
            "HTTP 422: Invalid entity: tasks: must not be empty",
        ),
        (Answer(404, {"message": "Not Found", "_embedded": {}}), "HTTP 404: Not Found"),
        (Answer(401), "HTTP 401: Unauthorized, without a message"),
        (
            Answer(502, "<!DOCTYPE html><html><head><title>Bad  gateway</title></head></html>", "text/html"),
            "an HTML page titled 'Bad gateway', not an answer of Kestra's API",
        ),
        (Answer(302, headers={"Location": "https://login.example.org/"}), "redirected to https://login.example.org/"),
        (Answer(500, "plain\n  text", "text/plain"), "HTTP 500: plain text"),
        (Answer(500, "[1, 2]"), "HTTP 500: [1, 2]"),
        (Answer(503, {"title": "Service unavailable", "status": 503}), "HTTP 503: Service unavailable"),
        (Answer(400, {"errors": "odd", "_embedded": 3}), "HTTP 400: Bad Request"),
    ],
)
def test_error_answers(server: FakeKestra, answer: Answer, expected: str) -> None:
    server.prepare("GET /api/v1/main/flows/search", answer)
    with pytest.raises(KestraError) as raised:
        client(server).check_credentials()
    assert str(raised.value).startswith("Could not read the list of flows: ")
    assert expected in str(raised.value)
    assert raised.value.status == answer.status


@pytest.mark.parametrize("body", ["<html>UI</html>", "[]", "3", ""])
def test_answers_that_are_not_kestras(server: FakeKestra, body: str) -> None:
    server.prepare("GET /api/v1/configs", Answer(200, body, "text/html"))
    with pytest.raises(KestraError) as raised:
        client(server).server_info()
    assert raised.value.kind == "answer"


def test_an_archive_that_is_none(server: FakeKestra) -> None:
    server.prepare("GET /api/v1/main/flows/export", Answer(200, "<html>", "text/html"))
    with pytest.raises(KestraError, match="not an archive"):
        client(server).export_flows(["team"])


def archive_of(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2])
def test_an_archive_is_read_as_zipfile_reads_it(method: int) -> None:
    files = {"a.yml": b"id: a\n" * 1000, "\u00fc/b.yml": b"", "c.yml": bytes(range(256))}
    written = archive_of({**files, "directory/": b""}, method)
    assert extract(written) == files
    assert extract(b"something before it" + written) == files
    with pytest.raises(zipfile.BadZipFile):
        extract(written[:-30])


def test_a_damaged_file_in_an_archive_is_told() -> None:
    whole = archive_of({"a.yml": bytes(range(256)) * 10, "b.yml": b"id: b\n"})
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        directory = archive.start_dir
    refused = 0
    for place in range(30, directory):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        try:
            found = extract(bytes(damaged))
        except zipfile.BadZipFile:
            refused += 1
        else:
            assert found == extract(whole), place
    assert refused > directory / 2


def test_credentials(server: FakeKestra) -> None:
    with pytest.raises(KestraError, match="Check username and password") as raised:
        client(server, password="wrong").check_credentials()
    assert raised.value.status == 401
    with pytest.raises(KestraError, match="Set username and password"):
        client(server, username=None, password=None).check_credentials()


def test_no_message_holds_the_password(server: FakeKestra) -> None:
    server.prepare("GET /api/v1/configs", Answer(500, {"message": f"bad {PASSWORD}"}))
    with pytest.raises(KestraError) as raised:
        client(server).server_info()
    assert PASSWORD not in str(raised.value)
    assert PASSWORD not in str(raised.value.reason)


def test_cookies_are_not_kept(server: FakeKestra) -> None:
    kestra = client(server)
    kestra.server_info()
    kestra.check_credentials()
    assert server.cookies == []


def test_connections_are_kept(server: FakeKestra) -> None:
    kestra = client(server)
    for _n in range(10):
        kestra.check_credentials()
    assert server.connections == 1


def test_reading_is_repeated(server: FakeKestra) -> None:
    server.prepare("GET /api/v1/configs", Answer(503), Answer(0, drop=True))
    assert client(server, retries=3).server_info().version == server.version
    assert len(server.requests) == 3


def test_creating_is_not_repeated(server: FakeKestra) -> None:
    server.prepare("POST /api/v1/main/flows", Answer(503), Answer(503))
    with pytest.raises(KestraError, match="HTTP 503"):
        client(server, retries=3).create_flow("team/one", FLOW)
    assert len(server.requests) == 1


def test_giving_up_keeps_the_last_answer(server: FakeKestra) -> None:
    server.prepare("GET /api/v1/configs", *[Answer(503, {"message": "starting"})] * 9)
    with pytest.raises(KestraError, match="HTTP 503: starting") as raised:
        client(server, retries=1).server_info()
    assert "kestra_health" in str(raised.value)
    assert len(server.requests) == 2


def test_a_closed_port() -> None:
    with pytest.raises(
        KestraError, match=r"Could not read the version of Kestra: connection refused by 127\."
    ) as raised:
        client(closed_port(), retries=1).server_info()
    assert raised.value.kind == "refused"


def test_an_open_port_on_which_nothing_answers() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        kestra = client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
        with pytest.raises(KestraError, match=r"is open, but nothing answers within 0\.3 seconds") as raised:
            kestra.server_info()
    assert raised.value.kind == "no-answer"


@pytest.mark.parametrize("retries", [0, 1])
def test_a_connection_that_is_cut_off(server: FakeKestra, retries: int) -> None:
    server.prepare("GET /api/v1/configs", *[Answer(0, drop=True)] * 5)
    with pytest.raises(KestraError, match="closed the connection without an answer") as raised:
        client(server, retries=retries).server_info()
    assert raised.value.kind == "closed"


def test_a_slow_answer_with_retries(server: FakeKestra) -> None:
    server.prepare("GET /api/v1/configs", *[Answer(200, {}, delay=1)] * 5)
    with pytest.raises(KestraError) as raised:
        client(server, timeout=0.2, retries=1).server_info()
    assert raised.value.kind == "no-answer"


def test_an_unknown_name() -> None:
    with pytest.raises(KestraError, match="cannot be resolved") as raised:
        client("http://no-such-host.invalid:8080").server_info()
    assert raised.value.kind == "unresolved"


def test_https_with_a_server_that_speaks_http(server: FakeKestra) -> None:
    with pytest.raises(KestraError, match=r"TLS with 127\.0\.0\.1") as raised:
        client(server.url.replace("http:", "https:")).server_info()
    assert raised.value.kind == "tls"


def test_a_proxy_of_the_environment_is_not_used_for_loopback(
    server: FakeKestra, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, closed_port())
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert client(server).server_info().version == server.version


def test_several_requests_at_a_time_share_the_session(server: FakeKestra) -> None:
    kestra = KestraClient(Connection(server.url, USERNAME, PASSWORD), pool_size=8)
    barrier = threading.Barrier(8)

    def create(number: int) -> object:
        barrier.wait()
        return kestra.create_flow(f"team/f{number}", FLOW.replace("one", f"f{number}"))

    server.write_delay = 0.2
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(create, range(8)))
    assert server.most_in_flight > 1


def test_a_form_without_parts_is_a_form(server: FakeKestra) -> None:
    server.prepare("POST /resume", Answer(200, {}))
    client(server).request("POST", "/resume", "resume", parts=[])
    (body,) = server.bodies
    assert re.fullmatch(rb"--[0-9a-f]+--\r\n", body)
