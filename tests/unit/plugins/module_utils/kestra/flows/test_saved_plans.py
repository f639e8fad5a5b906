"""Saved plans that were damaged or edited, by seed: each is refused with a reason, or means what its maker meant."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows import saved_plan
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.plan import (
    Pruning,
    Stored,
    make_plan,
    mark_drift,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.saved_plan import (
    SavedPlan,
    dump_plan,
    load_plan,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.flows.source import (
    Flow,
    parse_sources,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.source_files import Source

from ......sampling import sample

CASES = 2_000
KEY = "a key of the maker"
LABELS = {"managed-by": "ansible"}
SERVER = {"uuid": "u", "tenant": "main"}
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, -1, 1.0, 10**30, "", "a", "main", "create", "update", "unchanged", "prune"),
    *(
        "blocked",
        "burn",
        "edited",
        "\ud800",
        "0" * 64,
        [],
        {},
        [None],
        {"sha256": "x"},
        {"sha256": "0" * 64, "draft": False},
    ),
)


def flow(namespace: str, name: str, more: str = "") -> Flow:
    labels = "labels: {managed-by: ansible}\n"
    return Flow(
        namespace, name, f"{name}.yml", f"id: {name}\nnamespace: {namespace}\n{labels}tasks: [{{id: say}}]\n{more}"
    )


def made(lots: random.Random) -> tuple[str, SavedPlan, dict[tuple[str, str], Stored]]:
    """Return a saved plan, what it means, and what the server holds."""
    files, known = [], {}
    for number in range(lots.randint(1, 5)):
        file = flow(f"team{number % 2}", f"f{number}", "# Gr\u00fc\u00dfe\n")
        held = lots.choice((None, file.text, file.text + "# other\n"))
        files.append(file)
        if held is not None:
            known[file.key] = Stored(*file.key, held, lots.randint(1, 9))
    for number in range(lots.randint(0, 2)):
        gone = flow("team0", f"gone{number}")
        known[gone.key] = Stored(*gone.key, gone.text, 1)
    plan = make_plan(files, known, {"team0"}, LABELS)
    if lots.random() < 0.3:
        plan = mark_drift(plan, {}, block=True)
    text = dump_plan(plan, SERVER, Pruning(2, LABELS), KEY)
    return text, load_plan(text, KEY), known


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every container of a JSON value with each of its keys or positions."""
    found: list[tuple[Any, Any]] = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, below in pairs:
        found += [(value, name), *places(below)]
    return found


def damage(text: str, lots: random.Random) -> str:
    """Damage the characters."""
    start = lots.randrange(len(text))
    end = min(len(text), start + lots.choice((1, 1, 3, 40, 400)))
    piece = text[start:end]
    return lots.choice(
        (
            text[:start] + text[end:],
            text[:start] + piece + text[start:],
            text[:start],
            text[:start] + chr(lots.choice((0, 10, 32, 34, 44, 48, 92, 125, 233))) + text[start + 1 :],
            text[:start] + piece[::-1] + text[end:],
            text.replace("create", "update") if lots.random() < 0.5 else text.replace("null", "1"),
            text.replace("\n", "\r\n"),
            json.dumps(json.loads(text)),
        )
    )


def edit(text: str, lots: random.Random) -> dict[str, Any]:
    """Edit the contents, as a person or a program does."""
    content: dict[str, Any] = json.loads(text)
    items = content["items"]
    for _time in range(lots.choice((1, 1, 1, 2, 3))):
        one = lots.choice(items) if items else {}
        container, name = lots.choice(places(content))
        kind = lots.randrange(8)
        if kind <= 2:
            container[name] = lots.choice(VALUES)
        elif kind == 3:
            del container[name]
        elif kind == 4 and isinstance(container, dict):
            container[lots.choice(("x", "text", "action", "signature"))] = lots.choice(VALUES)
        elif kind == 5:
            items.insert(lots.randint(0, len(items)), dict(one))
        elif kind == 6:
            lots.shuffle(items)
        elif one:
            one.update(
                action=lots.choice(("create", "update", "unchanged", "prune", "blocked")),
                text=lots.choice((None, "id: a")),
            )
        items = content.get("items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            break
    return content


def again(content: dict[str, Any]) -> str:
    """Give an edited plan a checksum that fits, as somebody does on purpose."""
    content["sha256"] = hashlib.sha256(saved_plan._canonical(content)).hexdigest()
    return json.dumps(content)


def loaded(text: str, key: str | None, known: dict[tuple[str, str], Stored]) -> tuple[SavedPlan, Any] | None:
    """Return a plan with its items on the server, or None where it is refused with a reason."""
    try:
        saved = load_plan(text, key)
        saved.moved(known)
        return saved, saved.on(known)
    except ValueError as error:
        assert len(str(error)) > 10
        return None


@pytest.mark.parametrize("seed", sample(range(CASES), 200))
def test_nothing_is_written_that_the_maker_of_a_plan_did_not_mean(seed: int) -> None:
    lots = random.Random(seed)
    text, meant, known = made(lots)
    kinds: tuple[Callable[[], str], ...] = (
        lambda: damage(text, lots),
        lambda: json.dumps(edit(text, lots)),
        lambda: again(edit(text, lots)),
    )
    kind = seed % 3
    changed = kinds[kind]()
    for key in (None, KEY):
        found = loaded(changed, key, known)
        if found is not None and (kind < 2 or key is not None):
            assert found[0] == meant
        elif found is not None:
            # Without a key, who can compute a checksum can make a plan; each item does what it says, and no more.
            assert len({item.key for item in found[1].items}) == len(found[1].items)
            for item in found[1].changes:
                assert (item.flow is None) is (item.action == "prune")
                if item.flow is not None:
                    assert [one.key for one in parse_sources_of(item.flow)] == [item.key]


def parse_sources_of(flow: Flow) -> list[Flow]:
    """Return the flows in a text."""
    return parse_sources([Source(flow.file, flow.text.encode("utf-8"))])[0]


def test_a_signed_plan_needs_its_own_key() -> None:
    text, meant, _known = made(random.Random(1))
    assert load_plan(text, KEY) == load_plan(text) == meant
    with pytest.raises(ValueError, match="another key"):
        load_plan(text, "another")
    unsigned = json.loads(text)
    del unsigned["signature"]
    with pytest.raises(ValueError, match="not signed"):
        load_plan(json.dumps(unsigned), KEY)
    assert KEY not in text
