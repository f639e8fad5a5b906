"""Writing a namespace's files: what is tried again, what ends a run, in which order."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import HttpSession
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient, KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.namespace_files.plan import Item, Plan
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.namespace_files.sync import NamespaceFiles


@dataclass
class Text:
    name: str
    content: bytes = b"x"

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self) -> bytes:
        return self.content


class Http:
    """The loop of the real session."""

    connection: Any = SimpleNamespace(retries=2, backoff=0)
    deadline = None
    repeat = HttpSession.repeat
    pause = HttpSession.pause


@dataclass
class Client:
    """Takes writes and notes them; C(errors) are raised by the first requests for a path."""

    errors: dict[str, list[KestraError]] = field(default_factory=dict)
    delay: float = 0
    written: list[str] = field(default_factory=list)
    in_flight: int = 0
    most: int = 0
    lock: Any = field(default_factory=threading.Lock)
    http: Any = field(default_factory=lambda: Http())
    retry = KestraClient.retry
    pause = KestraClient.pause

    def path(self, *segments: str) -> str:
        return "/".join(segments)

    def request(self, method: str, path: str, doing: str, *, params: Mapping[str, str], **options: Any) -> None:
        with self.lock:
            self.written.append(f"{method} {params['path']}")
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            errors = self.errors.get(params["path"])
            error = errors.pop(0) if errors else None
        time.sleep(self.delay)
        with self.lock:
            self.in_flight -= 1
        if error is not None:
            raise error


def http(status: int) -> KestraError:
    return KestraError("write", "no", status=status)


def apply(client: Any, plan: Plan, stored: list[str], concurrency: int = 4) -> dict[str, str]:
    files = NamespaceFiles(client, "a", concurrency)
    return {outcome.item.path: outcome.action for outcome in files.apply(plan, stored)}


def plan(*creates: str, prune: tuple[str, ...] = ()) -> Plan:
    items = [Item(path, "create", Text(path)) for path in creates] + [Item(path, "prune") for path in prune]
    return Plan(tuple(sorted(items, key=lambda item: item.path)))


def test_several_at_a_time_and_no_more_than_allowed() -> None:
    client = Client(delay=0.02)
    assert set(apply(client, plan(*"abcdefghij"), []).values()) == {"created"}
    assert client.most == 4 and len(client.written) == 10


def test_pruned_one_by_one_after_every_write() -> None:
    client = Client(delay=0.005)
    apply(client, plan("b", "c", "n/1", prune=("a", "d")), [])
    assert client.written[0] == "POST /n/1" and client.written[-2:] == ["DELETE /a", "DELETE /d"]


def test_nothing_is_pruned_when_a_write_was_refused() -> None:
    client = Client(errors={"/b": [http(422)]})
    found = apply(client, plan("a", "b", prune=("z",)), [])
    assert found == {"a": "created", "b": "failed", "z": "skipped"}
    assert not [request for request in client.written if request.startswith("DELETE")]


def test_a_failing_server_ends_the_run() -> None:
    client = Client(errors={"/n/a": [http(500)] * 3})
    found = apply(client, plan("n/a", "b", "c", prune=("z",)), [])
    assert found == {"n/a": "failed", "b": "skipped", "c": "skipped", "z": "skipped"}
    assert client.written == ["POST /n/a"] * 3


def test_a_busy_server_and_a_broken_connection_are_tried_again() -> None:
    closed = KestraError("write", "closed", kind="closed")
    client = Client(errors={"/a": [http(503), closed], "/z": [http(429)]})
    assert apply(client, plan("a", prune=("z",)), []) == {"a": "created", "z": "pruned"}
    assert client.written == ["POST /a"] * 3 + ["DELETE /z"] * 2
    assert apply(Client(errors={"/a": [http(503)] * 3}), plan("a"), []) == {"a": "failed"}


@dataclass
class Renaming(Client):
    """A server that keeps what it is given, and cuts names at C(#)."""

    kept: dict[str, bytes] = field(default_factory=dict)
    listing: KestraError | None = None

    def request(self, method: str, path: str, doing: str, *, params: Mapping[str, str], **options: Any) -> Any:
        name = params.get("path", "").lstrip("/").split("#")[0]
        if method == "POST":
            super().request(method, path, doing, params=params)
            self.kept[name] = options["parts"][0].content
        if path.endswith("search"):
            if self.listing is not None:
                raise self.listing
            return [f"/{each}" for each in self.kept]
        return SimpleNamespace(status_code=200, content=self.kept.get(name, b""))

    def json(self, response: Any, doing: str) -> Any:
        return response


def test_a_file_with_an_odd_name_is_read_back() -> None:
    client = Renaming()
    files = NamespaceFiles(client, "a")  # type: ignore[arg-type]
    outcomes = files.apply(plan("plain", "ü x", "a#1", prune=("z",)), [])
    assert {each.item.path: each.action for each in outcomes} == {
        "plain": "created",
        "ü x": "created",
        "a#1": "failed",
        "z": "skipped",
    }
    assert "keeps it under another name" in str(next(each.error for each in outcomes if each.item.path == "a#1"))


def test_names_that_end_the_servers_list_are_told() -> None:
    client = Renaming(listing=http(422))
    assert apply(client, plan("plain", "a%20"), []) == {"plain": "created", "a%20": "failed"}
