"""Start n8n as the role's Compose file starts it, on the other tests' PostgreSQL; with an owner and an API key."""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests
from ansible_collections.devorch.orchestration.plugins.module_utils.host.bcrypt import hashed

from ..unit.in_process import call
from .kestra import Postgres, docker, published_url, role_defaults, wait_until

BOOT_SECONDS = 180
OWNER = "owner@example.com"


@dataclass(frozen=True)
class N8n:
    """A started n8n with an owner, and a key of that owner."""

    container: str
    url: str
    password: str
    api_key: str
    session: requests.Session = field(default_factory=requests.Session)

    def api(self, method: str, path: str, content: Any = None, **params: Any) -> Any:
        """Send a request to the public API and return the JSON of the answer."""
        answer = self.session.request(
            method,
            f"{self.url}/api/v1{path}",
            headers={"X-N8N-API-KEY": self.api_key},
            json=content,
            params=params,
            timeout=60,
        )
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def workflows(self) -> list[dict[str, Any]]:
        """Return all workflows that are not archived."""
        return [workflow for workflow in self.api("GET", "/workflows", limit=250)["data"] if not workflow["isArchived"]]

    def workflow(self, name: str) -> dict[str, Any]:
        """Return the workflow with this name."""
        (found,) = [workflow for workflow in self.workflows() if workflow["name"] == name]
        return found

    def clear(self) -> None:
        """Remove all workflows and credentials."""
        for workflow in self.api("GET", "/workflows", limit=250)["data"]:
            if not workflow["isArchived"]:
                self.api("POST", f"/workflows/{workflow['id']}/archive")
            wait_until("the workflow is unpublished", partial(self._deleted, workflow["id"]), 10)
        for credentials in self.api("GET", "/credentials", limit=250)["data"]:
            self.api("DELETE", f"/credentials/{credentials['id']}")

    def _deleted(self, workflow_id: str) -> bool:
        address = f"{self.url}/api/v1/workflows/{workflow_id}"
        answer = self.session.delete(address, headers={"X-N8N-API-KEY": self.api_key}, timeout=60)
        assert answer.status_code in (200, 409), answer.text
        return answer.status_code == 200

    def webhook(self, path: str, method: str = "GET") -> requests.Response:
        """Call a webhook."""
        return self.session.request(method, f"{self.url}/webhook/{path}", timeout=30)

    def answered(self, path: str) -> str:
        """Return the answer of a webhook that was just published."""
        wait_until(f"{path} is answered", lambda: self.webhook(path).status_code == 200, 10)
        return self.webhook(path).text

    def says(self, path: str, text: str) -> bool:
        """Wait until a webhook answers this: n8n publishes in the background, on a busy machine after seconds."""
        answer = json.dumps({"says": text}, separators=(",", ":"))
        wait_until(f"{path} says {text}", lambda: self.webhook(path).text == answer, 10)
        return True

    def refused(self, path: str, status: int = 403) -> None:
        """Wait until a webhook answers with an error."""
        wait_until(f"{path} answers {status}", lambda: self.webhook(path).status_code == status, 10)


def n8n_environment(postgres: Postgres, database: str, password: str, **more: str) -> dict[str, str]:
    """Return what the role gives the container, as far as these tests need it."""
    return {
        "DB_TYPE": "postgresdb",
        "DB_POSTGRESDB_HOST": "postgres",
        "DB_POSTGRESDB_DATABASE": database,
        "DB_POSTGRESDB_USER": "kestra",
        "DB_POSTGRESDB_PASSWORD": postgres.password,
        "N8N_ENCRYPTION_KEY": secrets.token_hex(16),
        "N8N_LISTEN_ADDRESS": "0.0.0.0",  # noqa: S104 - in a container of its own
        "N8N_SECURE_COOKIE": "false",
        "N8N_DIAGNOSTICS_ENABLED": "false",
        "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
        "N8N_INSTANCE_OWNER_MANAGED_BY_ENV": "true",
        "N8N_INSTANCE_OWNER_EMAIL": OWNER,
        "N8N_INSTANCE_OWNER_FIRST_NAME": "First",
        "N8N_INSTANCE_OWNER_LAST_NAME": "Owner",
        "N8N_INSTANCE_OWNER_PASSWORD_HASH": hashed(password),
        "TZ": "UTC",
        **more,
    }


def make_key(url: str, password: str, path: Path) -> str:
    """Return an API key, which the module makes."""
    options = {"url": url, "email": OWNER, "password": password, "path": str(path), "label": "tests"}
    result = call("n8n_api_key", options)
    assert result["changed"], result["msg"]
    return path.read_text(encoding="ascii").strip()


@contextmanager
def start_n8n(postgres: Postgres, say: Callable[[str], None] = print, **more: str) -> Iterator[N8n]:
    """Run n8n with a database of its own and yield it when it is ready."""
    name = f"devorch-test-n8n-{secrets.token_hex(4)}"
    database, password = f"n8n_{secrets.token_hex(4)}", f"Aa1{secrets.token_hex(12)}"
    psql = ("exec", postgres.container, "psql", "--username", "kestra", "--dbname", "kestra", "--command")
    docker(*psql, f"CREATE DATABASE {database}")
    environment: Mapping[str, str] = n8n_environment(postgres, database, password, **more)
    try:
        started = time.monotonic()
        docker(
            *("run", "--detach", "--name", name, "--network", postgres.network, "--publish", "127.0.0.1::5678"),
            *(argument for key, value in environment.items() for argument in ("--env", f"{key}={value}")),
            f"n8nio/n8n:{role_defaults('n8n')['n8n_version']}",
        )
        url = published_url(name, 5678)

        def ready() -> bool:
            try:
                return requests.get(f"{url}/healthz/readiness", timeout=5).status_code == 200
            except requests.RequestException:
                return False

        try:
            wait_until("n8n is ready", ready, BOOT_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{docker('logs', name, check=False)[-4000:]}") from error
        say(f"n8n was ready after {time.monotonic() - started:.0f} seconds")
        with tempfile.TemporaryDirectory() as directory:
            key = make_key(url, password, Path(directory) / "key")
        yield N8n(name, url, password, key)
    finally:
        docker("rm", "--force", "--volumes", name, check=False)
        docker(*psql, f"DROP DATABASE IF EXISTS {database}", check=False)
