#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets
short_description: Manage a host's secrets in files that only root can read
version_added: 0.1.0
description:
  - Reads the named secrets from one directory of the managed host, one file per secret.
  - If a secret has neither a file nor a given value, the module generates it with the operating system's random source.
    Later runs read it from the file.
  - A given value replaces the content of the file. If the inventory has the secrets, for example in a vault, the
    inventory is the source of truth.
  - A file that is empty, is not a text or has several lines is refused, and is never replaced by a generated secret. A
    given value may have several lines.
  - One line break at the end of a file or of a given value is not a part of the secret. The module removes it, because
    C(echo) and editors write one.
author:
  - devorch maintainers (@devorch)
options:
  path:
    description: Directory of the secrets. If O(secrets) is not empty, it is created, and its mode is set to V(0700).
    type: path
    required: true
  secrets:
    description:
      - The secrets, by file name. Each is a dictionary of the following keys, all of them optional.
      - C(value) is the given value. If not set, the value is read from the file or generated.
      - C(kind) is V(password), V(base64) or V(text), and V(password) by default. A password has letters and digits, at
        least one upper-case letter, one lower-case letter and one digit. The kind V(base64) is random bytes in Base64.
        The kind V(text) needs a given value, and keeps the line break at its end, which a private key of SSH needs.
      - C(length) is the number of characters of a password, or of bytes of a Base64 secret. It is V(32) by default, and
        at least V(16).
      - C(immutable) refuses a given value that differs from the file.
      - C(renew) generates a new value even if the file has one. It is not allowed with C(value) or C(immutable).
      - C(bcrypt_of) is the name of another of the secrets. The value is then a bcrypt hash of that secret. A new hash
        is made if the one in the file does not match that secret. The other keys are not allowed with C(bcrypt_of).
    type: dict
    required: true
  lock:
    description:
      - Path of the lock of M(devorch.orchestration.host_lock), which is renewed.
      - If this run does not hold the lock, the module fails and changes nothing. Another run may have taken the lock
        over.
    type: path
  _run:
    description: This run, from the action plugin. Not for use in a task.
    type: dict
    suboptions:
      owner:
        description: User and controller that started the run.
        type: str
      controller:
        description: Identity of the controller.
        type: str
      process:
        description: Identity of the process on the controller.
        type: str
attributes:
  action:
    description: Has an action plugin of the same name, which runs a part of the work on the controller.
    support: full
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
    details:
      - If a secret would be generated, a random value is returned that is not stored.
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
    support: full
    details:
      - Shows only the names of the secrets that change, never a value.
notes:
  - The result contains the secrets. Set C(no_log=true) on the task.
"""

EXAMPLES = r"""
- name: Read or generate the secrets of an application
  devorch.orchestration.secrets:
    path: /opt/orchestration/secrets
    secrets:
      application_password: {}
      application_key:
        kind: base64
        immutable: true
  register: application
  no_log: true
"""

RETURN = r"""
secrets:
  description: Value of each of O(secrets), by name.
  returned: success
  type: dict
  sample: {"application_password": "VALUE"}
generated:
  description: Names of the secrets that were generated in this run.
  returned: success
  type: list
  elements: str
  sample: ["application_password"]
replaced:
  description: Names of the secrets whose file got a given value in this run.
  returned: success
  type: list
  elements: str
  sample: []
msg:
  description: Number of secrets that were generated, replaced and read. It contains no value.
  returned: always
  type: str
  sample: "1 generated, 0 replaced, 1 read"
"""

import base64
import os
import re
import secrets as random_source
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.host import bcrypt, lock
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import (
    File,
    FilesError,
    make_directory,
    remove_leftovers,
    write,
)

ALPHABET = string.ascii_letters + string.digits
SHORTEST = 16
TEXT = "text"
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""Control characters other than a tab."""


class SecretError(Exception):
    """A secret that cannot be read or made; the message names it and how to fix it."""


@dataclass(frozen=True)
class WantedSecret:
    """One secret as the task asks for it."""

    name: str
    value: str | None
    kind: str
    length: int
    immutable: bool
    renew: bool = False
    bcrypt_of: str = ""

    @classmethod
    def parse(cls, name: str, spec: Any) -> WantedSecret:
        """Read one entry of the C(secrets) option; raise SecretError where it is malformed."""
        if not name or name.startswith(".") or "/" in name:
            raise SecretError(f"secret {name!r}: the name is the file's name, without a slash or a leading dot")
        fields = dict(spec or {})
        if set(fields) == {"bcrypt_of"}:
            return cls(name, None, "bcrypt", SHORTEST, False, bcrypt_of=str(fields["bcrypt_of"]))
        value = fields.pop("value", None)
        kind = str(fields.pop("kind", "password"))
        length = int(fields.pop("length", 32))
        immutable = bool(fields.pop("immutable", False))
        renew = bool(fields.pop("renew", False))
        if fields:
            raise SecretError(
                f"secret {name}: unknown key {sorted(fields)[0]!r}; known are value, kind, length, immutable, renew,"
                " and bcrypt_of alone"
            )
        if kind not in ("password", "base64", TEXT):
            raise SecretError(f"secret {name}: kind is {kind!r}; it is one of password, base64, text")
        if kind == TEXT and value is None:
            raise SecretError(f"secret {name}: kind is {kind!r}, which needs a given value")
        if length < SHORTEST:
            raise SecretError(f"secret {name}: length is {length}; at least {SHORTEST} is needed")
        if value is not None:
            value = str(value) if kind == TEXT else without_line_break(str(value))
        if value == "":
            raise SecretError(f"secret {name}: the value given is empty; leave the variable out to have one generated")
        if renew and (immutable or value is not None):
            raise SecretError(f"secret {name}: is given or immutable, and can't be renewed")
        return cls(name, value, kind, length, immutable, renew)


def without_line_break(text: str) -> str:
    """Return a text without the one line break at its end."""
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def read(path: Path, secret: WantedSecret) -> str | None:
    """Return what the file of a secret has, None if there is none; raise SecretError if that can't be a secret."""
    if not path.is_file():
        return None
    try:
        stored = path.read_bytes().decode()
    except UnicodeDecodeError:
        problem = "has bytes that are not UTF-8"
    else:
        value = without_line_break(stored)
        if not value.strip():
            problem = "is empty"
        elif secret.value is None and CONTROL.search(value):
            problem = "has more than one line, or another control character"
        else:
            return stored
    advice = "Put the value back, or remove the file to have one generated"
    if secret.immutable:
        # A new value would make the data unreadable.
        advice = "Data on this host are encrypted with the value. Put it back, for example from a backup"
    raise SecretError(f"secret {secret.name}: {path} {problem}. {advice}")


def read_all(directory: Path, wanted: list[WantedSecret]) -> dict[str, str | None]:
    """Return what the files have, by their names; raise SecretError with every problem."""
    found: dict[str, str | None] = {}
    problems = []
    for secret in wanted:
        try:
            found[secret.name] = read(directory / secret.name, secret)
        except SecretError as error:
            problems.append(str(error))
    if problems:
        raise SecretError("\n".join(problems))
    return found


def generate(kind: str, length: int) -> str:
    """Return a new random secret; passwords satisfy Kestra's rule (an upper- and a lower-case letter, a digit)."""
    if kind == "base64":
        return base64.b64encode(random_source.token_bytes(length)).decode()
    while True:
        value = "".join(random_source.choice(ALPHABET) for _character in range(length))
        if any(c.isupper() for c in value) and any(c.islower() for c in value) and any(c.isdigit() for c in value):
            return value


def ensure(directory: Path, wanted: list[WantedSecret], check_mode: bool) -> dict[str, Any]:
    """Bring the directory to what is wanted and return the module's result.

    Raise SecretError before anything is written.
    """
    values: dict[str, str] = {}
    generated: list[str] = []
    replaced: list[str] = []
    trimmed: list[str] = []
    loose: list[Path] = []
    files = read_all(directory, wanted)
    for secret in sorted(wanted, key=lambda each: bool(each.bcrypt_of)):
        path = directory / secret.name
        stored = files[secret.name]
        # As `echo KEY > file` and editors write it.
        present = None if stored is None else stored if secret.kind == TEXT else without_line_break(stored)
        if present != stored:
            trimmed.append(secret.name)
        if present is not None and path.stat().st_mode & 0o077:
            loose.append(path)
        if secret.bcrypt_of:
            if secret.bcrypt_of not in values:
                raise SecretError(
                    f"secret {secret.name}: bcrypt_of is {secret.bcrypt_of!r}, which is none of the secrets"
                )
            password = values[secret.bcrypt_of]
            fits = present is not None and bcrypt.matches(password, present)
            values[secret.name] = str(present) if fits else bcrypt.hashed(password)
            if not fits:
                generated.append(secret.name)
            continue
        if secret.value is None:
            new = present is None or secret.renew
            if new:
                generated.append(secret.name)
            values[secret.name] = generate(secret.kind, secret.length) if new else str(present)
            continue
        if present is not None and present != secret.value:
            if secret.immutable:
                raise SecretError(
                    f"secret {secret.name}: the value given differs from the one in {path}, and data on this host is"
                    " encrypted with that one. Set the variable to the file's content, or leave it out"
                )
            replaced.append(secret.name)
        elif present is None:
            replaced.append(secret.name)
        values[secret.name] = secret.value
    tighten = directory.is_dir() and bool(directory.stat().st_mode & 0o077)
    if wanted and not check_mode:
        if not directory.is_dir():
            make_directory(directory, 0o700)
        directory.chmod(0o700)
        remove_leftovers(directory / secret.name for secret in wanted)
        for path in loose:
            path.chmod(0o600)
        for name in dict.fromkeys(generated + replaced + trimmed):
            write(directory / name, File(values[name].encode(), 0o600))
    read = len(wanted) - len(generated) - len(replaced)
    return {
        "changed": bool(generated or replaced or trimmed or loose or tighten),
        "secrets": values,
        "generated": generated,
        "replaced": replaced,
        "msg": f"{len(generated)} generated, {len(replaced)} replaced, {read} read",
        "diff": {"before": "", "after": "".join(f"{name}: new value\n" for name in generated + replaced)},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "secrets": {"type": "dict", "required": True, "no_log": False},
            "lock": {"type": "path"},
            # Set by the action plugin.
            "_run": {"type": "dict", "options": {key: {"type": "str"} for key in ("owner", "controller", "process")}},
        },
        supports_check_mode=True,
    )
    os.umask(0o077)
    try:
        wanted = [WantedSecret.parse(str(name), spec) for name, spec in module.params["secrets"].items()]
        if module.params["lock"] and not module.check_mode:
            lock.renew(Path(module.params["lock"]), lock.PlaybookRun(**(module.params["_run"] or {})))
        result = ensure(Path(module.params["path"]), wanted, module.check_mode)
    except lock.LostError as error:
        module.fail_json(msg=str(error), lock_lost=True)
    except (SecretError, FilesError, bcrypt.BcryptError, OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
