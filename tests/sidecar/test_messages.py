"""The messages of multipass: what the API makes of each, and that the stand-in prints no others."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from .messages import MESSAGES
from .service import FAKE, FILES, Service

sys.path.insert(0, str(FILES / "src"))

from multipass_sidecar.multipass import failure


@pytest.mark.parametrize(("verb", "message", "status", "kind"), MESSAGES, ids=lambda value: str(value)[:40])
def test_what_multipass_prints_is_understood(verb: str, message: str, status: int, kind: str) -> None:
    found = failure(verb, 2, f"{verb} failed: {message}\n")
    assert (found.status, found.kind) == (status, kind), found.detail


def shape(text: str) -> str:
    """Return a message without its names, so that messages about other instances are equal."""
    text = re.sub(r'"[^"]*"|\'[^\']*\'', "<>", text)
    return re.sub(r"\b(web|dev|old|none|nap|copy)(\.[\w-]+)?\b", "<>", " ".join(text.split()))


def test_the_stand_in_says_what_multipass_says(sidecar: Service) -> None:
    known = {shape(f"{verb} failed: {message}") for verb, message, _status, _kind in MESSAGES}
    sidecar.world.set(dev="Running", old="Deleted", nap="Suspended", web="Stopped")
    said = set()
    for call in (
        *(
            ["info", "--format=json", "none"],
            ["start", "none"],
            ["clone", "--name=copy", "none"],
            ["clone", "--name=copy", "dev"],
        ),
        *(["get", "local.none.cpus"], ["set", "local.none.cpus=2"], ["set", "local.dev.cpus=2"], ["stop", "old"]),
        *(
            ["set", "local.old.cpus=2"],
            ["set", "local.web.disk=1G"],
            ["restore", "web.none"],
            ["delete", "--purge", "web.none"],
        ),
        *(["launch", "--name=dev", "lts"], ["clone", "--name=dev", "web"], ["snapshot", "old"], ["snapshot", "dev"]),
        *(["stop", "nap"], ["restart", "nap"], ["launch", "--name=copy", "x:lts"], ["launch", "--name=copy", "none"]),
        *(["find", "--format=json", "none"], ["launch", "--name=copy", "--memory=1M", "lts"]),
        ["launch", "--name=copy", "--mount=/no/such:/x", "lts"],
    ):
        environment = os.environ | {"FAKE_MULTIPASS_STATE": str(sidecar.world.path)}
        ended = subprocess.run([FAKE, *call], env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 2, (call, ended)
        said.add(shape(re.sub(r"supplied: \S+$", "supplied: 1.", ended.stderr.strip())))
    assert said <= known, said - known
    assert len(said) > 15
