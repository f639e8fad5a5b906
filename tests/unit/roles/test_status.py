"""What status.yml shows while services do not answer, which is when an operator runs it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from ..playbook import Played, play
from ..templating import ROOT

DOCKER = "#!/bin/sh\necho 'SERVICE IMAGE STATUS'\necho 'kestra kestra:v2.0.5 Restarting'\n"


class Ready(BaseHTTPRequestHandler):
    """n8n that is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def n8n_port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Ready)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def status(directory: Path, docker: str = DOCKER, **variables: Any) -> Played:
    """Run the play of the playbook on a host with a Docker that answers so."""
    (directory / "compose.yml").touch()
    (directory / "bin").mkdir()
    (directory / "bin" / "docker").write_text(docker)
    (directory / "bin" / "docker").chmod(0o755)
    (content,) = yaml.safe_load((ROOT / "playbooks" / "status.yml").read_text("utf-8"))
    closed = {"kestra_port": closed_port(), "kestra_management_port": closed_port(), "n8n_port": closed_port()}
    extra = {"orchestration_root": str(directory), "n8n_owner_email": "", **closed, **variables}
    return play(
        directory,
        content["tasks"],
        *("-e", json.dumps(extra)),
        play_keys={"vars": content["vars"], "gather_facts": True},
        environment={"PATH": f"{directory / 'bin'}:{os.environ['PATH']}"},
    )


def report(played: Played) -> str:
    (text,) = [result["msg"] for result in played.results if "Everything is in" in str(result.get("msg"))]
    return str(text)


def test_the_report_is_whole_if_nothing_answers(tmp_path: Path) -> None:
    begin = time.monotonic()
    played = status(tmp_path)
    assert time.monotonic() - begin < 60
    assert played.returncode != 0
    text = report(played)
    assert "kestra kestra:v2.0.5 Restarting" in text and "password in" in text and "webhooks: " in text
    assert text.count(": does not answer as it should: ") == 2 and "refused" in text
    assert played.last["msg"].startswith("Kestra, n8n: not healthy on localhost") and "doctor.yml" in played.last["msg"]


def test_only_what_does_not_answer_is_named(tmp_path: Path, n8n_port: int) -> None:
    played = status(tmp_path, n8n_port=n8n_port, kestra_state="absent")
    assert played.returncode == 0, played.output
    text = report(played)
    assert ": ready" in text and ": absent" in text


def test_docker_that_does_not_answer(tmp_path: Path, n8n_port: int) -> None:
    docker = "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n"
    played = status(tmp_path, docker, n8n_port=n8n_port, kestra_state="absent")
    assert "Cannot connect to the Docker daemon" in report(played)
    assert played.last["msg"].startswith("Docker: not healthy")
