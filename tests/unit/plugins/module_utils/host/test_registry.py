"""Whether a registry has an image, asked of one that answers as registries do."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.devorch.orchestration.plugins.module_utils.host import registry
from ansible_collections.devorch.orchestration.plugins.module_utils.host.registry import Reference, problem, problems

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("postgres", Reference("library/postgres", "latest")),
        ("docker.io/n8nio/n8n:2.41.1", Reference("n8nio/n8n", "2.41.1")),
        (f"docker.io/library/postgres:17@{DIGEST}", Reference("library/postgres", DIGEST)),
        ("registry.example.com/mirror/kestra/kestra:v2", Reference("mirror/kestra/kestra", "v2")),
        ("127.0.0.1:5000/kestra:v2", Reference("kestra", "v2")),
        ("localhost/kestra:v2", Reference("kestra", "v2")),
    ],
)
def test_names(image: str, expected: Reference) -> None:
    assert Reference.parse(image) == expected


@pytest.mark.parametrize("image", ["", "Postgres:17", "postgres:", "postgres:17@sha256:ab", "post gres:17", "a//b:1"])
def test_what_is_no_name(image: str) -> None:
    with pytest.raises(ValueError, match="is not a valid image reference"):
        Reference.parse(image)


class Handler(BaseHTTPRequestHandler):
    """Has open/image:1, and behind a token for everybody token/image:1; login/image wants a login."""

    def do_HEAD(self) -> None:
        parts = self.path.split("/")
        kind, version = parts[2], parts[-1]
        code = 404
        if kind in ("broken", "limited"):
            code = 500 if kind == "broken" else 429
        elif kind == "login" or (kind == "token" and self.headers.get("Authorization") != "Bearer for-everybody"):
            code = 401
        elif version == "1":
            code = 200
        self.send_response(code)
        if code == 401 and kind == "token":
            realm = f"http://127.0.0.1:{self.server.server_port}/token"  # type: ignore[attr-defined]
            self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="x",scope="repository:y:pull"')
        elif code == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"token": "for-everybody"}).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("repository", "version", "expected"),
    [
        ("open/image", "1", ""),
        ("open/image", "2", "has no open/image 2"),
        ("token/image", "1", ""),
        ("token/image", "2", "has no token/image 2"),
        ("login/image", "1", "HTTP status 401"),
        ("limited/image", "1", "HTTP status 429"),
        ("broken/image", "1", "HTTP status 500"),
    ],
)
def test_answers(address: str, repository: str, version: str, expected: str) -> None:
    assert problem(address, Reference(repository, version)) == expected


def test_private_authority_of_docker_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setattr(registry, "CERTIFICATES", tmp_path / "certs.d")
    host = f"127.0.0.1:{server.server_port}"
    try:
        assert problem(host, Reference("open/image", "1")).startswith("TLS: ")
        (tmp_path / "certs.d" / host).mkdir(parents=True)
        (tmp_path / "certs.d" / host / "ca.crt").write_bytes(certificate.read_bytes())
        assert problem(host, Reference("open/image", "1")) == ""
        assert problem(f"https://{host}", Reference("open/image", "2")) == "has no open/image 2"
    finally:
        server.shutdown()
        server.server_close()


def test_nobody_answers() -> None:
    assert "refused" in problem("http://127.0.0.1:9", Reference("a", "1")).lower()


def test_registries_are_asked_until_one_has_it(address: str) -> None:
    dead = "http://127.0.0.1:9"
    assert list(problems("open/image:1", [dead, address, "http://127.0.0.1:8"])) == [dead]
    assert list(problems("open/image:2", [dead, address])) == [dead, address]
    assert problems("open/image:1", []) == {}
    assert "is not a valid image reference" in problems("no name", [dead])[dead]
