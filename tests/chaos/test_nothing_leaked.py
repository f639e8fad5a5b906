"""The last test: no secret in all that the suite has printed and written, also by runs that failed or were killed."""

from __future__ import annotations

from ..system.conftest import PRINTED, Host, Run
from ..system.data import CANARIES, leaks, secrets

# What tests give for a while, right or wrong.
GIVEN = ("Changed-by-the-site-1", "another$Pass word", "superuser-Password-2", "wrong-one", "Another-one-1")


def test_no_secret_in_anything_printed_or_written(host: Host, converged: Run) -> None:
    assert len(CANARIES) == 3
    values = secrets(host) | CANARIES | {f"given {number}": value for number, value in enumerate(GIVEN)}
    printed = {f"run {number} ({run.command[:60]})": run.output for number, run in enumerate(PRINTED)}
    assert printed
    assert leaks(host, printed, values) == []
