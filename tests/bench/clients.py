"""What the module is measured beside: the floor, a plain concurrent client, a sequential kestrapy script."""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

API = "/api/v1/main"
IN_FLIGHT = 8
PAGE = 1000
BATCH = 100
_ID = re.compile(r"^id: (\S+)$", re.MULTILINE)
_NAMESPACE = re.compile(r"^namespace: (\S+)$", re.MULTILINE)
_PROBLEM = re.compile(r'"constraints"\s*:\s*"')

Key = tuple[str, str]


def key_of(text: str) -> Key:
    """Return namespace and id of a flow's source, as these flows write them."""
    namespace, name = _NAMESPACE.search(text), _ID.search(text)
    assert namespace and name, text[:200]
    return namespace.group(1), name.group(1)


def read(directory: Path) -> dict[Key, str]:
    """Return the sources of a directory."""
    texts = (file.read_text("utf-8") for file in sorted(directory.rglob("*.yaml")))
    return {key_of(text): text for text in texts}


@dataclass
class Server:
    """Where the server is, and one connection to it for each thread."""

    url: str
    username: str
    password: str
    _local: threading.local = field(default_factory=threading.local, repr=False)

    def call(self, method: str, path: str, body: str | None = None, expected: Iterable[int] = (200,)) -> bytes:
        """Send a request on this thread's connection and return the whole answer."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            parts = urlsplit(self.url)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=300)
            self._local.connection = connection
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {token}"}
        if body is not None:
            headers["Content-Type"] = "application/x-yaml"
        connection.request(method, path, body.encode() if body is not None else None, headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status in expected, f"{method} {path}: {answer.status} {content[:500]!r}"
        return content

    def read(self, namespaces: Iterable[str], size: int) -> bytes:
        """Do what nothing can do without: ask for the version, list the flows, fetch their sources in one archive."""
        where = "filters%5Bnamespace%5D%5BIN%5D=" + quote(",".join(sorted(set(namespaces))))
        self.call("GET", "/api/v1/configs")
        for page in range(1, max(1, -(-size // PAGE)) + 1):
            self.call("GET", f"{API}/flows/search?{where}&page={page}&size={PAGE}")
        return self.call("GET", f"{API}/flows/export/by-query?{where}")


def concurrent(server: Server, directory: Path, prune: bool = False) -> dict[str, int]:
    """Make the server equal to a directory, validate what is written before, with 8 requests in flight."""
    wanted = read(directory)
    archive = zipfile.ZipFile(io.BytesIO(server.read((key[0] for key in wanted), len(wanted))))
    stored = {key_of(text): text for text in (archive.read(name).decode() for name in archive.namelist())}
    changes = {key: text for key, text in wanted.items() if stored.get(key) != text}
    gone = [key for key in stored if key not in wanted] if prune else []

    def validate(texts: list[str]) -> None:
        answer = server.call("POST", f"{API}/flows/validate", "\n---\n".join(texts))
        assert len(json.loads(answer)) == len(texts) and not _PROBLEM.search(answer.decode()), answer[:500]

    def save(key: Key) -> None:
        if key in stored:
            server.call("PUT", f"{API}/flows/{key[0]}/{key[1]}", changes[key])
        else:
            server.call("POST", f"{API}/flows", changes[key])

    def delete(key: Key) -> None:
        server.call("DELETE", f"{API}/flows/{key[0]}/{key[1]}", expected=(204,))

    texts = list(changes.values())
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        list(pool.map(validate, [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]))
        list(pool.map(save, changes))
        list(pool.map(delete, gone))
    return {"written": len(changes), "pruned": len(gone)}


def remove(server: Server, directory: Path) -> None:
    """Delete the flows of a directory that the server holds."""

    def delete(key: Key) -> None:
        server.call("DELETE", f"{API}/flows/{key[0]}/{key[1]}", expected=(204, 404))

    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        list(pool.map(delete, read(directory)))


def sdk(server: Server) -> Callable[[Path], int]:
    """Return a sequential script over Kestra's own client: read each flow, write it where it differs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        import kestrapy
        from kestrapy.exceptions import ApiException

    # It has no types.
    make: Any = kestrapy.KestraClient
    client = make(host=server.url, username=server.username, password=server.password, timeout=300)

    def run(directory: Path) -> int:
        written = 0
        for (namespace, name), text in read(directory).items():
            try:
                stored = client.flows.flow(namespace, name, "main", True).source
            except ApiException as error:
                if error.status != 404:
                    raise
                stored = None
            if stored is None:
                client.flows.create_flow("main", text)
            elif stored != text:
                client.flows.update_flow(namespace, name, "main", text)
            written += stored != text
        return written

    return run


def uri_play(directory: Path, server: Server) -> list[Mapping[str, Any]]:
    """Return the play that people write today: for each file a GET, and a PUT or POST where the source differs."""
    login = {"url_username": server.username, "url_password": server.password, "force_basic_auth": True}
    address = f"{server.url}{API}/flows"
    content = {"Content-Type": "application/x-yaml"}
    text = "{{ lookup('ansible.builtin.file', item.file, rstrip=false) }}"
    return [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {
                "flows": [
                    {"namespace": namespace, "id": name, "file": str(directory / namespace / f"{name}.yaml")}
                    for namespace, name in read(directory)
                ]
            },
            "tasks": [
                {
                    "name": "Read each flow",
                    "ansible.builtin.uri": {
                        **login,
                        "url": address + "/{{ item.namespace }}/{{ item.id }}?source=true",
                        "status_code": [200, 404],
                    },
                    "loop": "{{ flows }}",
                    "register": "stored",
                },
                {
                    "name": "Create what is missing",
                    "ansible.builtin.uri": {
                        **login,
                        "url": address,
                        "method": "POST",
                        "body": text.replace("item.", "item.item."),
                        "headers": content,
                    },
                    "loop": "{{ stored.results | selectattr('status', 'eq', 404) }}",
                },
                {
                    "name": "Update what differs",
                    "ansible.builtin.uri": {
                        **login,
                        "url": address + "/{{ item.item.namespace }}/{{ item.item.id }}",
                        "method": "PUT",
                        "body": text.replace("item.", "item.item."),
                        "headers": content,
                    },
                    "loop": "{{ stored.results | selectattr('status', 'eq', 200) }}",
                    "when": f"item.json.source != {text.replace('item.', 'item.item.')[3:-3]}",
                },
            ],
        }
    ]
