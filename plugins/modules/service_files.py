#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service_files
short_description: Keep the files of a service as one set that can return
version_added: 0.3.0
description:
  - Writes the configuration of a service, after all of it was validated, and each file at once.
  - Remembers the files with which the service was last healthy, and puts them back when it does not come up with new
    ones.
  - A run that is killed at any moment leaves a host on which the next run can do the same.
author:
  - devorch maintainers (@devorch)
options:
  service:
    description: Name of the service, also that of the directory of its former files.
    type: str
    required: true
  store:
    description: Directory in which the former files of all services are kept. Created with mode V(0700).
    type: path
    required: true
  state:
    description:
      - V(written) validates and writes O(files).
      - V(accepted) keeps the files as they are now as the former ones, since the service is healthy with them.
      - V(restored) puts the former files back.
    type: str
    choices:
      - written
      - accepted
      - restored
    default: written
  files:
    description: The files of the service, in the order in which they are written.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where the file stands.
        type: path
        required: true
      content:
        description: Its content. Only the path counts with O(state=accepted) and O(state=restored).
        type: str
        default: ""
      mode:
        description: Its mode, as octal digits in a string. It belongs to root.
        type: str
        default: "0644"
      secret:
        description: Whether O(files[].content) may hold secrets. Its values are masked in the diff and in the log.
        type: str
        choices:
          - none
          - some
          - all
        default: none
      validate:
        description:
          - Command that checks the file, as a list of arguments in which C(%s) stands for the path of the new file.
          - Other paths of O(files) in it and in the content stand for their new files as well.
        type: list
        elements: str
        default: []
  kept:
    description: Files that other tasks write, kept and put back with the others.
    type: list
    elements: path
    default: []
  carried:
    description:
      - Values for variables of environment files with O(state=restored), such as the password that a database has.
    type: dict
    default: {}
  directories:
    description: Directories to make, as paths with their modes.
    type: dict
    default: {}
  secrets:
    description: Directory whose files hold secrets, one each, that are masked in the log.
    type: path
  log:
    description:
      - Command, as a list of arguments, that prints the last log lines of the service. Run with O(state=restored).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - The new files are validated in a temporary directory.
  diff_mode:
    description: Will return details on what has changed when in C(--diff) mode.
    support: full
    details:
      - Secret values are masked; it shows which of them change.
  idempotent:
    description: When run twice in a row outside check mode with the same arguments, the second run changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Change a service, and take the change back when it does not come up
  vars:
    files:
      - path: /opt/orchestration/application.env
        content: |
          PASSWORD='changed'
        mode: "0600"
        secret: all
  block:
    - name: Write the files
      devorch.orchestration.service_files:
        service: application
        store: /opt/orchestration/former
        files: "{{ files }}"

    - name: Restart it
      ansible.builtin.command:
        argv: ["true"]
      changed_when: true

    - name: Keep what works
      devorch.orchestration.service_files:
        service: application
        store: /opt/orchestration/former
        files: "{{ files }}"
        state: accepted
  rescue:
    - name: Put the former files back
      devorch.orchestration.service_files:
        service: application
        store: /opt/orchestration/former
        files: "{{ files }}"
        state: restored
"""

RETURN = r"""
msg:
  description: What was done.
  returned: always
  type: str
  sample: "wrote /opt/orchestration/env/kestra.env"
paths:
  description: The files that were written, kept or put back.
  returned: success
  type: list
  elements: str
  sample: ["/opt/orchestration/env/kestra.env"]
pending:
  description: Whether the files differ from those with which the service was last healthy. It has to be restarted then.
  returned: success
  type: bool
  sample: true
former:
  description: Whether there are former files that can be put back.
  returned: success
  type: bool
  sample: true
log:
  description: The last log lines of the service, with secrets masked.
  returned: with O(state=restored)
  type: str
  sample: "FATAL: password authentication failed for user kestra"
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.host.service_files import (
    File,
    FilesError,
    Former,
    carried,
    mask,
    read,
    remove_leftovers,
    secret_values,
    set_digest,
    shown,
    write,
)

ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
LINES = 30
PUBLIC = "none"


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a directory until the end of the block or of the process; raise OSError when another process does."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


class Service:
    """A service's files, as the task describes them."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        parameters = module.params
        self.specs: list[dict[str, Any]] = parameters["files"]
        self.wanted = {Path(spec["path"]): File(spec["content"].encode(), int(spec["mode"], 8)) for spec in self.specs}
        self.kept = [Path(path) for path in parameters["kept"]]
        self.former = Former(Path(parameters["store"]) / parameters["service"])
        self.present = {path: file for path in [*self.wanted, *self.kept] if (file := read(path)) is not None}

    def secret(self, path: Path) -> str:
        """Return whether a file holds no secrets, some, or nothing else."""
        return next((str(spec["secret"]) for spec in self.specs if Path(spec["path"]) == path), "all")

    def diff(self, changed: list[Path], after: dict[Path, File]) -> list[dict[str, str]]:
        """Return what changes, file by file, without a secret."""
        result = []
        for path in changed:
            old = self.present[path].content if path in self.present else b""
            new = after[path].content if path in after else b""
            if self.secret(path) == PUBLIC:
                before, then = old.decode(errors="replace"), new.decode(errors="replace")
            elif path in self.kept:
                before, then = "********\n", "******** (changed)\n"
            else:
                before, then = shown(old, new, self.secret(path) == "all")
            result.append({"before": before, "after": then, "before_header": str(path), "after_header": str(path)})
        return result

    def validate(self) -> None:
        """Run every command that checks a file over the new files; raise FilesError with what it says."""
        prefix = f"orchestration-{self.module.params['service']}-"
        # Of runs that were killed while they validated; what cannot be removed keeps nobody from working.
        for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            if path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.getuid():
                with contextlib.suppress(OSError), held(path):
                    shutil.rmtree(path, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=prefix) as directory, held(Path(directory)):
            staged = {path: Path(directory) / str(number) / path.name for number, path in enumerate(self.wanted)}
            for path, place in staged.items():
                place.parent.mkdir(mode=0o700)
                text = self.wanted[path].content.decode()
                for other, substitute in staged.items():
                    text = text.replace(str(other), str(substitute))
                place.write_text(text, encoding="utf-8")
                place.chmod(0o600)
            for spec in self.specs:
                if not spec["validate"]:
                    continue
                command = [part.replace("%s", spec["path"]) for part in spec["validate"]]
                for other, substitute in staged.items():
                    command = [part.replace(str(other), str(substitute)) for part in command]
                code, output, errors = self.module.run_command(command, environ_update={"NO_COLOR": "1"})
                if code != 0:
                    said = (errors + output).strip()
                    for path, place in staged.items():
                        said = said.replace(str(place), str(path))
                    raise FilesError(
                        f"{spec['path']}: {spec['validate'][0]} refuses the new file, and the host is as it was: "
                        f"{mask(ESCAPES.sub('', said), self.secrets())}"
                    )

    def secrets(self) -> set[str]:
        """Return every value that may not be shown."""
        values: set[str] = set()
        texts = [*self.wanted.items(), *self.present.items(), *self.former.files().items()]
        for path, file in texts:
            if self.secret(path) != PUBLIC:
                values |= secret_values(file.content.decode(errors="replace"))
        if self.module.params["secrets"]:
            directory = Path(self.module.params["secrets"])
            places = list(directory.iterdir()) if directory.is_dir() else []
            contents = [found.content for place in places if (found := read(place))]
            contents += [found.content for path, found in self.former.files().items() if path in self.kept]
            values |= {text for content in contents if (text := content.decode(errors="replace").strip())}
        return values

    def make_directories(self) -> list[Path]:
        """Make the directories, unless in check mode, and return those that were not as wanted."""
        changed = []
        for name, mode in self.module.params["directories"].items():
            path = Path(name)
            if path.is_dir() and path.stat().st_mode & 0o7777 == int(mode, 8):
                continue
            changed.append(path)
            if not self.module.check_mode:
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(int(mode, 8))
        return changed

    def write(self) -> dict[str, Any]:
        """Validate and write what differs."""
        changed = [path for path, file in self.wanted.items() if self.present.get(path) != file]
        if changed:
            self.validate()
        directories = self.make_directories()
        after = {**self.present, **self.wanted}
        pending = set_digest(after) != self.former.digest
        if not self.module.check_mode:
            remove_leftovers(self.wanted)
            if self.former.record is None and changed and self.present.keys() & self.wanted.keys():
                # Written before former files were kept: they are the best that there is.
                self.former.keep(self.present)
            self.former.begin()
            for path in changed:
                path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                write(path, self.wanted[path])
        return self.result("wrote", changed, [*directories, *changed], after, pending)

    def accept(self) -> dict[str, Any]:
        """Keep the present files as the former ones."""
        changed = list(self.present) if set_digest(self.present) != self.former.digest else []
        if changed and not self.module.check_mode:
            self.former.keep(self.present)
        result = self.result("kept", changed, changed, self.present, False)
        return {**result, "former": True}

    def restore(self) -> dict[str, Any]:
        """Put the former files back, and read the log of what did not come up."""
        log = self.log()
        after = dict(self.present)
        if self.former.digest:
            former = self.former.files()
            after = {
                path: File(carried(file.content, self.module.params["carried"]), file.mode)
                if self.secret(path) == "all" and path not in self.kept
                else file
                for path, file in former.items()
            }
        changed = [path for path, file in after.items() if self.present.get(path) != file]
        # A file that the former set did not have.
        gone = [path for path in self.wanted if path in self.present and path not in after]
        if not self.module.check_mode:
            remove_leftovers(self.wanted)
            for path in changed:
                path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                write(path, after[path])
            for path in gone:
                path.unlink()
        result = self.result("put back", [*changed, *gone], [*changed, *gone], after, False)
        return {**result, "log": log}

    def log(self) -> str:
        """Return the last log lines of the service, masked; an empty string where there is no command for them."""
        command = self.module.params["log"]
        if not command:
            return ""
        _code, output, errors = self.module.run_command(command, environ_update={"NO_COLOR": "1"})
        lines = ESCAPES.sub("", output + errors).strip().splitlines()[-LINES:]
        return mask("\n".join(lines), self.secrets())

    def result(
        self, verb: str, changed: list[Path], all_changed: list[Path], after: dict[Path, File], pending: bool
    ) -> dict[str, Any]:
        """Return the result of the module."""
        names = [str(path) for path in changed]
        return {
            "changed": bool(all_changed),
            "msg": f"{verb} {', '.join(names)}" if names else f"nothing to be {'written' if verb == 'wrote' else verb}",
            "paths": names,
            "pending": pending,
            "former": bool(self.former.digest),
            "diff": self.diff(changed, after),
        }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "store": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["written", "accepted", "restored"], "default": "written"},
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                # Ansible writes the options to the host's journal, and overlooks secrets inside of a list.
                "no_log": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "default": "", "no_log": True},
                    "mode": {"type": "str", "default": "0644"},
                    "secret": {"type": "str", "choices": ["none", "some", "all"], "default": "none", "no_log": False},
                    "validate": {"type": "list", "elements": "str", "default": []},
                },
            },
            "kept": {"type": "list", "elements": "path", "default": []},
            "carried": {"type": "dict", "default": {}, "no_log": True},
            "directories": {"type": "dict", "default": {}},
            "secrets": {"type": "path", "no_log": False},
            "log": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    # What holds no secret may be shown: Ansible would mask it in messages and the diff as well.
    for spec in module.params["files"]:
        module.no_log_values -= {spec["path"], spec["mode"], spec["secret"], *spec["validate"]}
        if spec["secret"] == PUBLIC:
            module.no_log_values.discard(spec["content"])
    os.umask(0o077)
    try:
        service = Service(module)
        act = {"written": service.write, "accepted": service.accept, "restored": service.restore}
        module.exit_json(**act[module.params["state"]]())
    except (FilesError, OSError) as error:
        module.fail_json(msg=f"{module.params['service']}: {error}")


if __name__ == "__main__":
    main()
