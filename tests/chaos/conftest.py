"""These runs take many minutes each: `make chaos`, or `make test-long`."""

from __future__ import annotations

from ..sampling import LONG

collect_ignore_glob = [] if LONG else ["test_*.py"]
