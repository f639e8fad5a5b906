"""A session against servers that hang, trickle, cut off or ask for patience; its logins and its authorities."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible_collections.devorch.orchestration.plugins.module_utils import http_session
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import (
    HttpSession,
    ServiceError,
    concise,
    pause_asked_by,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import Connection, KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import Executions
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.health import Probe, wait_until_healthy
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.triggers import Triggers
from ansible_collections.devorch.orchestration.plugins.module_utils.multipass.client import (
    Sidecar,
    SidecarConnection,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ...fake_kestra import PASSWORD, USERNAME, Answer, FakeKestra
from ...in_process import printed

Behaviour = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
SLACK = 2.0


class BadServer:
    """A server that answers every request, and each connection, in one way; C(requests) counts them."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests = 0
        self.over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self) -> BadServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.over.set()
        self.listener.close()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(65536):
                    self.requests += 1
                    self.behaviour(connection)
            except OSError:
                return


def trickle(connection: socket.socket, content: bytes) -> None:
    for place in range(len(content)):
        connection.sendall(content[place : place + 1])
        time.sleep(0.05)


def answer(status: str, body: bytes = b"{}", **headers: str) -> Behaviour:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    content = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body
    return lambda connection: connection.sendall(content)


def hang(connection: socket.socket) -> None:
    time.sleep(60)


def slow(connection: socket.socket) -> None:
    time.sleep(0.4)
    answer("503 Service Unavailable")(connection)


def cut(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"[")
    connection.close()


BEHAVIOURS: dict[str, Behaviour] = {
    "hangs": hang,
    "hangs in the headers": lambda c: (c.sendall(HEAD[:30]), hang(c))[1],
    "hangs in the body": lambda c: (c.sendall(HEAD + b"["), hang(c))[1],
    "trickles headers": lambda c: trickle(c, HEAD + b"[" + b" " * 1000),
    "trickles the body": lambda c: (c.sendall(HEAD), trickle(c, b"[" + b" " * 1000))[1],
    "trickles chunks": lambda c: (
        c.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        trickle(c, b"1\r\n \r\n" * 200),
    )[1],
    "trickles names of headers": lambda c: (c.sendall(b"HTTP/1.1 200 OK\r\n"), trickle(c, b"A: b\r\n" * 200))[1],
    "is slow and busy": slow,
    "asks for 30 seconds": answer("503 Service Unavailable", Retry_After="30"),
    "asks for a date": answer("429 Too Many Requests", Retry_After="Sun, 29 Nov 2099 11:00:00 GMT"),
    "cuts off": cut,
    "closes": lambda c: c.close(),
}
LIMIT = 0.6


def connection(url: str, **options: Any) -> Connection:
    return Connection(url, **{"timeout": 0.3, "retries": 1, "backoff": 0.01, **options})


def one_call(url: str) -> None:
    """`timeout` and `retries` alone: two attempts, and a pause between them."""
    KestraClient(connection(url)).server_info()


def whole_run(url: str) -> None:
    """`run_timeout`, with patience of all other kinds."""
    client = KestraClient(connection(url, timeout=30, retries=9, backoff=0.2))
    client.http.deadline = time.monotonic() + LIMIT
    client.retry(lambda: client.search_flows(["team"]))


def execution(url: str) -> None:
    """`wait_timeout` of an execution."""
    Executions(KestraClient(connection(url, timeout=30, retries=9, backoff=0.2))).wait("x", LIMIT, lambda raw: False)


def trigger(url: str) -> None:
    """`wait_timeout` of a trigger."""
    client = KestraClient(connection(url, timeout=30, retries=9, backoff=0.2))
    Triggers(client).wait("team", "flow", "x", LIMIT, lambda found: False)


def health(url: str) -> None:
    """`wait_timeout` of kestra_health."""
    probe = Probe(connection(url, timeout=30, retries=9), url)
    assert not wait_until_healthy(probe, LIMIT, 0.1).health.healthy
    raise ServiceError("find it healthy", "no")


def job(url: str) -> None:
    """`wait_timeout` of a job of the sidecar."""
    sidecar = Sidecar(SidecarConnection(url, timeout=30, retries=9, backoff=0.2), wait_timeout=LIMIT)
    sidecar.wait({"id": "x", "state": "running"}, "start vm")


@pytest.mark.parametrize("call", [one_call, whole_run, execution, trigger, health, job])
def test_every_call_ends_within_its_limit(call: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Against each of the servers, all at the same time."""
    if call is one_call:
        monkeypatch.setattr(http_session, "LONGEST_PAUSE", 0.1)
    took: dict[str, float] = {}
    wrong: dict[str, BaseException | None] = {}

    def run(name: str, url: str) -> None:
        begin = time.monotonic()
        try:
            call(url)
            wrong[name] = None
        except ServiceError:
            pass
        except BaseException as error:
            wrong[name] = error
        took[name] = time.monotonic() - begin

    with_servers = {name: BadServer(behaviour).__enter__() for name, behaviour in BEHAVIOURS.items()}
    threads = [threading.Thread(target=run, args=(name, server.url)) for name, server in with_servers.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for server in with_servers.values():
        server.__exit__()
    assert wrong == {}
    assert set(took) == set(BEHAVIOURS)
    late = {name: seconds for name, seconds in took.items() if seconds > LIMIT + SLACK}
    assert late == {}


@pytest.mark.parametrize("retries", [0, 1, 3])
@pytest.mark.parametrize("behaviour", ["is slow and busy", "cuts off", "closes"])
def test_there_are_no_more_repeats_than_asked_for(behaviour: str, retries: int) -> None:
    with BadServer(BEHAVIOURS[behaviour]) as server:
        client = KestraClient(connection(server.url, retries=retries, timeout=5))
        with pytest.raises(ServiceError):
            client.retry(lambda: client.search_flows(["team"]))
        assert server.requests == retries + 1


def test_a_pause_that_the_server_asks_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    with BadServer(answer("503 Service Unavailable", Retry_After="7")) as server:
        client = KestraClient(connection(server.url, retries=2))
        monkeypatch.setattr(time, "sleep", pauses.append)
        for call in (client.server_info, lambda: client.retry(lambda: client.delete_flow("a", "b"))):
            with pytest.raises(ServiceError, match="HTTP 503"):
                call()
    assert pauses == [7, 7, 7, 7]


@pytest.mark.parametrize(
    ("text", "expected"), [("", None), ("soon", None), ("12", 12.0), ("Sun, 29 Nov 2020 11:00:00 GMT", 0.0)]
)
def test_retry_after(text: str, expected: float | None) -> None:
    response: Any = type("Response", (), {"headers": {"Retry-After": text}})
    assert pause_asked_by(response) == expected


def test_a_large_answer_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that goes on is not given up."""
    monkeypatch.setattr(http_session, "PATIENT_BYTES", 1000)

    def large(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        for _piece in range(10):
            time.sleep(0.1)
            connection.sendall(b"x" * 1000)

    with BadServer(large) as server:
        client = KestraClient(connection(server.url, retries=0, timeout=0.4))
        assert len(client.request("GET", "/", "read").content) == 10000


USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
USES += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")


def certificates(directory: Path) -> dict[str, Path]:
    """Make an authority, and certificates of a server and a client, with their keys."""
    made: dict[str, Path] = {}
    now = datetime.now(UTC)
    names: dict[str, tuple[x509.Name, ec.EllipticCurvePrivateKey]] = {}
    for name in ("ca", "server", "client", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names[name] = (subject, key)
        issuer, issuers_key = names[name if name == "other" else "ca"]
        builder = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name in ("ca", "other"), path_length=None), critical=True)
            # Python 3.13 refuses a certificate without these.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuers_key.public_key()), critical=False)
        )
        if name in ("ca", "other"):
            uses = dict.fromkeys(USES, False) | {"key_cert_sign": True, "crl_sign": True}
            builder = builder.add_extension(x509.KeyUsage(**uses), critical=True)
        if name == "server":
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        pem = builder.sign(issuers_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        made[name], made[f"{name}.key"] = directory / f"{name}.pem", directory / f"{name}.key"
        made[name].write_bytes(pem)
        made[f"{name}.key"].write_bytes(private)
    return made


@contextmanager
def https(made: dict[str, Path], mutual: bool) -> Iterator[str]:
    """Serve Kestra's version over TLS; with C(mutual) only to a client with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made["server"], made["server.key"])
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(made["ca"])
    with FakeKestra() as fake:
        # The handshake is made in the thread of the connection.
        fake.server.socket = context.wrap_socket(fake.server.socket, server_side=True, do_handshake_on_connect=False)
        yield fake.url.replace("http:", "https:")


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the server for one of another host, where the environment counts."""
    monkeypatch.setattr(http_session, "_is_loopback", lambda host: False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def reads(url: str, **options: Any) -> str:
    """Return `ok`, or the kind of the failure."""
    login = {"username": USERNAME, "password": PASSWORD}
    try:
        KestraClient(connection(url, **{"timeout": 5, "retries": 0, **login, **options})).server_info()
    except ServiceError as error:
        return error.kind
    return "ok"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_options_decide_about_authorities(
    variable: str, outside: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificates(tmp_path)
    with https(made, mutual=False) as url:
        for bundle in ("other", "ca", None):
            if bundle is None:
                monkeypatch.delenv(variable)
            else:
                monkeypatch.setenv(variable, str(made[bundle]))
            assert reads(url, validate_certs=False) == "ok"
            assert reads(url, ca_path=str(made["ca"])) == "ok"
            assert reads(url, ca_path=str(made["other"])) == "tls"
            # Where the options say nothing, the environment counts.
            assert reads(url) == ("ok" if bundle == "ca" else "tls")


def test_mutual_tls(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(made["client"].read_bytes() + made["client.key"].read_bytes())
    with https(made, mutual=True) as url:
        ca = {"ca_path": str(made["ca"])}
        assert reads(url, **ca) in ("tls", "closed")
        assert reads(url, **ca, client_cert=str(made["client"]), client_key=str(made["client.key"])) == "ok"
        assert reads(url, **ca, client_cert=str(both)) == "ok"
        assert reads(url, **ca, client_cert=str(made["other"]), client_key=str(made["other.key"])) in ("tls", "closed")
        with pytest.raises(ServiceError, match=r"/nowhere\.pem"):
            KestraClient(connection(url, **ca, client_cert="/nowhere.pem")).server_info()
    with pytest.raises(ValueError, match="client_key is set, but client_cert is not"):
        connection(url, client_key="x")


def sent(**options: Any) -> dict[str, str]:
    """Return the headers of a request."""
    seen: list[dict[str, str]] = []
    with FakeKestra() as server:
        handle = server.handle

        def remember(handler: Any) -> None:
            seen.append(dict(handler.headers))
            handle(handler)

        server.handle = remember  # type: ignore[method-assign]
        reads(server.url, **options)
    return seen[0]


def test_a_login_of_the_options_alone_is_sent(outside: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    nobody = {"username": None, "password": None}
    assert "Authorization" not in sent(**nobody)
    assert sent()["Authorization"].startswith("Basic ")
    assert sent(**nobody, token="t0ken")["Authorization"] == "Bearer t0ken"
    more = sent(**nobody, headers={"X-Team": "a", "Authorization": "Custom x"})
    assert (more["X-Team"], more["Authorization"]) == ("a", "Custom x")
    assert sent(token="t0ken", headers={"X-Team": "a"})["X-Team"] == "a"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"a b": "x"}, "'a b', which cannot be the name"),
        ({"Accept": "x"}, "headers has Accept, which the module sets itself"),
        ({"X": "a\r\nB: c"}, "the value of the header X is not one line"),
        ({"X": "\u2603"}, "the value of the header X"),
    ],
)
def test_headers_that_cannot_be_sent(headers: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Connection("http://localhost", headers=headers)


def test_what_a_refused_token_means() -> None:
    with FakeKestra() as server, pytest.raises(ServiceError, match="Check token") as raised:
        KestraClient(connection(server.url, token="t0ken")).server_info()
    assert "t0ken" not in str(raised.value)


def test_an_upload_has_the_time_of_the_options_for_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is neither cut off after the time for connecting, nor given a time without an end."""
    monkeypatch.setattr(http_session, "CONNECT_TIMEOUT", 0.3)
    monkeypatch.setattr(http_session, "PATIENT_BYTES", 1 << 18)

    def sips(there: socket.socket) -> None:
        there.settimeout(0.4)
        try:
            while there.recv(1 << 18):
                time.sleep(0.02)
        except TimeoutError:
            there.settimeout(None)
            answer("200 OK")(there)

    for behaviour, well in ((sips, True), (hang, False)):
        with BadServer(behaviour) as server:
            session = HttpSession(connection(server.url, timeout=1, retries=0))
            begin = time.monotonic()
            if well:
                assert session.send("PUT", "/x", "upload it", body=b"x" * (1 << 24)).status_code == 200
            else:
                with pytest.raises(ServiceError, match=r"nothing answers within 1 seconds|closed"):
                    session.send("PUT", "/x", "upload it", body=b"x" * (1 << 25))
                assert time.monotonic() - begin < 3


@pytest.mark.parametrize("text", ["Mon, 01 Jan 2026 00:00:00 +99999999999999", "Mon, 99 Jan 2026", "-1", "x"])
def test_a_pause_that_no_server_can_mean_is_none(text: str) -> None:
    response = requests.Response()
    response.headers["Retry-After"] = text
    assert pause_asked_by(response) is None


@pytest.mark.parametrize("made", [Connection, SidecarConnection])
@pytest.mark.parametrize("token", ["canary-4711\n", "canary 4711", "canary-4711\u00e4"])
def test_a_token_that_no_header_can_have_is_refused_and_not_shown(made: Any, token: str) -> None:
    """As http.client refuses it with the token in its message."""
    with pytest.raises(ValueError, match="token has a character that a header cannot have") as caught:
        made("http://127.0.0.1:1", token=token)
    assert "canary" not in str(caught.value)


def test_where_a_redirect_leads_is_shown_without_secrets() -> None:
    session = HttpSession(connection("http://127.0.0.1:1"), ("sekrit-token",))
    response = requests.Response()
    response.status_code = 302
    response.headers["Location"] = "https://login/?t=sekrit-token" + "x" * 5000
    with pytest.raises(ServiceError) as caught:
        session.expect(response, "read it", (200,), lambda _status: None)
    assert "redirected to https://login/?t=********" in str(caught.value) and len(str(caught.value)) < 2200


SQL = (
    'SQL [insert into "flows" ("key", "value") values (?, cast(? as jsonb)) on conflict ("key") do update set x = ?]; '
)
CAUSE = "ERROR: index row size 2712 exceeds btree version 4 maximum 2704"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a plain message\n  of two lines", "a plain message\n  of two lines"),
        (f"{SQL}{CAUSE}\n  Hint: Values larger", CAUSE),
        (f"Internal Server Error: {SQL}{CAUSE}", f"Internal Server Error: {CAUSE}"),
        ("SQL [select a[1] from b", "a statement to its database failed"),
        (
            "Batch entry 0 insert into a (b) values (1) was aborted: ERROR: too long  Call getNextException to see",
            "ERROR: too long",
        ),
        ("It failed\n\tat io.kestra.Flow.read(Flow.java:12)\n\tat x.y.Z.<init>(Z.java)\n... 3 more", "It failed"),
        ("It failed: x\nCaused by: java.io.IOException: no", "It failed: x"),
        ("meet at Berlin (Mitte)", "meet at Berlin (Mitte)"),
    ],
)
def test_sql_and_stack_traces_are_left_out(said: str, shown: str) -> None:
    assert concise(said) == shown


@pytest.mark.parametrize("verbosity", [0, 3])
def test_what_is_left_out_is_told_to_those_who_ask(verbosity: int) -> None:
    said = f"{SQL}{CAUSE} for {PASSWORD}\n\tat a.B.c(B.java:1)"
    options = {"username": USERNAME, "password": PASSWORD, "retries": 0, "_ansible_verbosity": verbosity}
    flow = "id: one\nnamespace: team\ntasks: [{id: say, type: Log}]\n"
    with FakeKestra() as server:
        server.prepare("POST /api/v1/main/flows/validate", Answer(500, {"message": said}))
        answer = printed(
            "kestra_flow", {**options, "url": server.url, "namespace": "team", "id": "one", "content": flow}
        )
    result = json.loads(answer.splitlines()[-1])
    assert f"HTTP 500: {CAUSE} for ********" in result["msg"] and "SQL" not in result["msg"]
    assert (SQL in str(result.get("server_messages"))) is (verbosity == 3)
    assert PASSWORD not in answer
