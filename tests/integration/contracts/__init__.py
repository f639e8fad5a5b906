"""What every module keeps, described once a module: a file here named as the module, with `cases` and `examples`.

`cases(kestra, namespace, directory)` yields a `Case` for each thing that the module can do. `test_contract.py` runs
each of them against both dialects: in check mode, through a proxy that refuses writes; for good, with the same result;
and once more, with nothing to do.

`examples(kestra, namespace, directory)` brings the server and the directory of the playbook into a state in which the
EXAMPLES of the module's documentation can run as they are, and returns the variables that they use. Addresses and
credentials in them are replaced by those of the server, and `/srv` by a directory of that name in the playbook's;
everything else is run as it is written. A contract may name options that the examples leave out, in `DEFAULTS`.

Those of the modules for multipass get the sidecar's program over the stand-in for multipass instead of a Kestra, and a
name instead of a namespace; `test_sidecar_contract.py` runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


def nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Case:
    """One thing that a module can do.

    `options` are the module's, without address and credentials. `prepare` brings the server into the state before.
    `volatile` names the keys of the result that only a real run can know, with a reason for each; they must be there in
    check mode as well. `repeatable` is off for what does something on every call, which the module's documentation
    says in its attribute `idempotent`.
    """

    name: str
    options: dict[str, Any]
    prepare: Callable[[], None] = nothing
    changed: bool = True
    repeatable: bool = True
    volatile: dict[str, str] = field(default_factory=dict)
