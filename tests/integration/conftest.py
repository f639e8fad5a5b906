"""One PostgreSQL, one Kestra, one n8n and one sidecar for all tests of this folder that only use them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..sidecar.service import Service
from .kestra import Kestra, Postgres, environment, render_configuration, start_kestra, start_postgres
from .n8n import N8n, start_n8n


@pytest.fixture(scope="session")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration that the role renders from its defaults."""
    path = tmp_path_factory.mktemp("kestra-config") / "standalone.yml"
    path.write_text(render_configuration(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def postgres(images: None) -> Iterator[Postgres]:
    """A PostgreSQL with the database and the role `kestra`."""
    with start_postgres() as handle:
        yield handle


@contextmanager
def _server(standalone: Path, postgres: Postgres, say: Callable[[str], None], dialect: str) -> Iterator[Kestra]:
    variables = {
        "ENV_SIDECAR_URL": "http://host.docker.internal:8090",
        "SECRET_SIDECAR_TOKEN": base64.b64encode(b"sidecar-token").decode(),
    }
    say(f"starting Kestra, dialect {dialect} (about 10 seconds)")
    env = environment(postgres, **variables)
    # As with kestra_task_runner: docker.
    socket = ("/var/run/docker.sock:/var/run/docker.sock",)
    with start_kestra(standalone, env, postgres.network, mounts=socket, dialect=dialect) as handle:
        yield handle


@pytest.fixture(scope="session")
def kestra(postgres: Postgres, standalone: Path, say: Callable[[str], None]) -> Iterator[Kestra]:
    """A healthy Kestra; its flows know envs.sidecar_url and secret('SIDECAR_TOKEN')."""
    with _server(standalone, postgres, say, "2.0") as handle:
        yield handle


@pytest.fixture(scope="session")
def kestra_old(postgres: Postgres, standalone: Path, say: Callable[[str], None]) -> Iterator[Kestra]:
    """The same, answering as 1.3 does."""
    with _server(standalone, postgres, say, "1.3") as handle:
        yield handle


@pytest.fixture(scope="session")
def n8n_server(postgres: Postgres, say: Callable[[str], None]) -> Iterator[N8n]:
    """A ready n8n, with whatever the tests before have left in it."""
    say("starting n8n (about 15 seconds)")
    with start_n8n(postgres, say) as handle:
        yield handle


@pytest.fixture
def n8n(n8n_server: N8n) -> N8n:
    """A ready n8n without workflows and credentials."""
    n8n_server.clear()
    return n8n_server


@pytest.fixture(scope="session")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The sidecar's program over the stand-in for multipass, whose world may change under it."""
    with Service(tmp_path_factory.mktemp("sidecar"), fresh=0) as service:
        yield service


@pytest.fixture(params=["2.0", "1.3"])
def either(request: pytest.FixtureRequest, images: None) -> Kestra:
    """The test that asks for it runs twice: against a server of 2.0 and against one that answers as 1.3 does."""
    server: Kestra = request.getfixturevalue("kestra" if request.param == "2.0" else "kestra_old")
    return server
