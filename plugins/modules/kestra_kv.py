#!/usr/bin/python

# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_kv
short_description: Manage a key of a Kestra namespace
version_added: 0.2.0
description:
  - Writes or deletes one key in the key-value store of a namespace. Flows read it with C(kv('key')).
  - A key is written only if its value, type, description or time to live differs. Otherwise it gets no new revision.
author:
  - devorch maintainers (@devorch)
extends_documentation_fragment:
  - devorch.orchestration.kestra
  - devorch.orchestration.kestra.attributes
  - devorch.orchestration.kestra.actiongroup
options:
  namespace:
    description: Namespace of the key. It does not need to have flows.
    type: str
    required: true
  key:
    description: Name of the key. It is case-sensitive.
    type: str
    required: true
  value:
    description:
      - The value. Required if O(state=present).
      - Strings are stored as they are. A value that YAML or Ansible may have converted is refused, such as the number
        V(1.10) for O(type=STRING). Put such a value into quotes.
    type: raw
  type:
    description:
      - Type of the value.
      - If not set, it is the type of O(value) as the module receives it. Any string is a V(STRING), a number is a
        V(NUMBER), a boolean is a V(BOOLEAN), and a dictionary or a list is V(JSON).
      - V(NUMBER) and V(BOOLEAN) also accept strings, because templates can return strings. V(JSON) also accepts the
        JSON text of a dictionary or a list.
      - V(DATE) has the form V(2026-01-31). V(DATETIME) has the form V(2026-01-31T08:15:00Z) and needs a time zone.
      - V(DURATION) is an ISO 8601 duration in days, hours, minutes and whole seconds, such as V(PT15M).
    type: str
    choices: [STRING, NUMBER, BOOLEAN, DATETIME, DATE, DURATION, JSON]
  ttl:
    description:
      - Time after a write until the key expires, such as V(PT1H) or V(P7D). With V(never), the key does not expire.
      - If the key was last written with another time to live, it is written again. If the time to live is the same, the
        remaining time is not extended. An expired key is created again.
      - If not set, the expiration of the key is not changed as long as nothing else changes. If something else changes,
        the new value does not expire.
    type: str
  description:
    description:
      - Description of the key. An empty string removes it. Kestra accepts only characters of ISO 8859-1 on one line.
      - If not set, the description is not changed.
    type: str
  sensitive:
    description: Whether to hide the value in the result, in the diff and in messages.
    type: bool
    default: false
  state:
    description: Whether the key exists.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - All Kestra users who may read flows and keys can read the value. For secrets, use Kestra's secret store.
  - Kestra returns dictionaries without entries that are V(null). The module therefore treats such an entry as missing.
  - Kestra stores dates with milliseconds. More precise fractions are cut off.
seealso:
  - module: devorch.orchestration.kestra_export
"""

EXAMPLES = r"""
- name: Set a key
  devorch.orchestration.kestra_kv:
    namespace: company.team
    key: environment
    value: production
    description: Where the flows of the team run
    url: http://127.0.0.1:8080
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Set a number from a template for one day
  devorch.orchestration.kestra_kv:
    namespace: company.team
    key: limit
    value: "{{ 6 * 7 }}"
    type: NUMBER
    ttl: P1D
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Set a dictionary that Ansible's output does not show
  devorch.orchestration.kestra_kv:
    namespace: company.team
    key: endpoint
    value:
      host: db.example.org
      token: "{{ endpoint_token }}"
    sensitive: true
    username: admin@example.org
    password: "{{ kestra_password }}"

- name: Delete a key
  devorch.orchestration.kestra_kv:
    namespace: company.team
    key: outdated
    state: absent
    username: admin@example.org
    password: "{{ kestra_password }}"
"""

RETURN = r"""
action:
  description:
    - V(created), V(updated), V(deleted) or V(unchanged). In check mode, what would be done.
  returned: success
  type: str
  sample: updated
namespace:
  description: Namespace of the key.
  returned: success
  type: str
  sample: company.team
key:
  description: Name of the key.
  returned: success
  type: str
  sample: limit
type:
  description: Type of the stored value after the run. V(null) if there is none.
  returned: success
  type: str
  sample: NUMBER
value:
  description: Stored value after the run. V(null) if there is none, or if O(sensitive=true).
  returned: success
  type: raw
  sample: 42
description:
  description: Description of the key after the run.
  returned: success
  type: str
  sample: How many at the same time
revision:
  description: Stored revision after the run, if there is one. In check mode, the one before a change.
  returned: success
  type: int
  sample: 3
expiration:
  description: Date at which the key expires, as the server reports it. In check mode, the one before a change.
  returned: success
  type: str
  sample: "2026-11-25T19:33:44.444008+00:00"
diff:
  description: The key before and after. It does not contain the value if O(sensitive=true).
  returned: success
  type: dict
  sample:
    before_header: company.team/limit (revision 2)
    after_header: company.team/limit
    before: {"type": "NUMBER", "value": 41, "description": "", "ttl": "never"}
    after: {"type": "NUMBER", "value": 42, "description": "", "ttl": "never"}
msg:
  description: Summary of the result.
  returned: always
  type: str
  sample: "updated company.team/limit: value"
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient, KestraError
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.kv import (
    TYPES,
    Entry,
    KeyStore,
    Lifetime,
    Value,
    ValueProblem,
    check_description,
    check_key,
    check_namespace,
    differences,
    lifetime_from,
    lifetime_text,
    value_from,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import (
    REQUIRED_TOGETHER,
    connection_argument_spec,
    only_for_the_server,
    run_module,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure


def checked(name: str, function: Any, *arguments: Any) -> Any:
    """Return what a function makes of an option, or end the module with the option's name and what is wrong with it."""
    try:
        return function(*arguments)
    except ValueProblem as problem:
        raise Failure(f"{name} {problem}") from problem


def shown(value: Value | None, description: str, lifetime: Lifetime, hidden: str | None) -> dict[str, Any]:
    """Return one side of the diff."""
    if value is None:
        return {}
    return {
        "type": value.type,
        "value": value.content if hidden is None else hidden,
        "description": description,
        "ttl": lifetime_text(lifetime),
    }


class KeyTask:
    """One run of the module: what is asked for, and where."""

    def __init__(self, module: AnsibleModule, given: Any, client: KestraClient) -> None:
        self.module = module
        self.given = given
        self.store = KeyStore(client, module.params["namespace"])
        self.key: str = module.params["key"]
        self.name = f"{module.params['namespace']}/{self.key}"
        self.sensitive: bool = module.params["sensitive"]

    def result(
        self, action: str, msg: str, before: Entry | None, after: Entry | None, diff: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "changed": action != "unchanged",
            "msg": msg,
            "action": action,
            "namespace": self.module.params["namespace"],
            "key": self.key,
            "type": after.value.type if after else None,
            "value": after.value.content if after and not self.sensitive else None,
            "description": (after.description or "") if after else None,
            "revision": after.revision if after else None,
            "expiration": after.expires.isoformat() if after and after.expires else None,
            "diff": {
                "before_header": f"{self.name} (revision {before.revision})" if before else f"{self.name} (missing)",
                "after_header": self.name,
                **diff,
            },
        }

    def absent(self) -> dict[str, Any]:
        stored = self.store.entry(self.key)
        if stored is None:
            return self.result("unchanged", f"{self.name} is not there", None, None, {"before": {}, "after": {}})
        if not self.module.check_mode:
            self.store.delete(self.key)
        hidden = "(sensitive)" if self.sensitive else None
        before = shown(stored.value, stored.description or "", stored.lifetime, hidden)
        return self.result("deleted", f"deleted {self.name}", stored, None, {"before": before, "after": {}})

    def present(self) -> dict[str, Any]:
        parameters = self.module.params
        value: Value = checked("value", value_from, self.given, parameters["type"])
        wanted = checked("ttl", lifetime_from, parameters["ttl"])
        if parameters["description"]:
            checked("description", check_description, parameters["description"])
            if not self.store.client.server_info().has_filters:
                self.module.warn(f"{self.name}: Kestra keeps descriptions of keys from 1.0; it is left out")
                parameters["description"] = None
        stored = self.store.entry(self.key)
        changes = differences(stored, value, parameters["description"], wanted)
        hidden = "(sensitive)" if self.sensitive else None
        before: dict[str, Any] = {}
        if stored is not None:
            before = shown(stored.value, stored.description or "", self.near(stored, wanted), hidden)
            if not changes:
                diff = {"before": before, "after": before}
                return self.result("unchanged", f"{self.name} is as it should be", stored, stored, diff)
        description: str = parameters["description"] or ""
        if stored is not None and parameters["description"] is None:
            description = stored.description or ""
        lifetime = wanted if isinstance(wanted, timedelta) else None
        after = Entry(self.key, value, description)
        if stored is not None:
            after = replace(after, revision=stored.revision, expires=stored.expires)
        if not self.module.check_mode:
            self.put(value, description, lifetime)
            written = self.store.entry(self.key) or after
            after = replace(after, revision=written.revision, expires=written.expires)
        if self.sensitive and "value" in changes:
            hidden = "(sensitive, another value)"
        action = "updated" if stored else "created"
        words = f"{action} {self.name}" + (f": {', '.join(changes)}" if stored else "")
        diff = {"before": before, "after": shown(value, description, lifetime, hidden)}
        return self.result(action, words, stored, after, diff)

    @staticmethod
    def near(stored: Entry, wanted: Any) -> Lifetime:
        """Return the lifetime of a key, as it was asked for where it is that one."""
        if isinstance(wanted, timedelta) and "ttl" not in differences(stored, stored.value, None, wanted):
            return wanted
        return stored.lifetime

    def put(self, value: Value, description: str, lifetime: timedelta | None) -> None:
        """Write; where the server repeats the value in its refusal, do not."""
        try:
            self.store.put(self.key, value, description, lifetime)
        except KestraError as error:
            if not self.sensitive:
                raise
            reason = f"HTTP {error.status}" if error.status is not None else error.message
            raise Failure(
                f"Could not {error.doing}: {reason}. What the server says is left out, since it is sensitive."
            ) from error


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **connection_argument_spec(),
            "namespace": {"type": "str", "required": True},
            "key": {"type": "str", "required": True, "no_log": False},
            # Kept out of the host's log in any case; shown in the result unless it is sensitive.
            "value": {"type": "raw", "no_log": True},
            "type": {"type": "str", "choices": list(TYPES)},
            "ttl": {"type": "str"},
            "description": {"type": "str"},
            "sensitive": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_together=REQUIRED_TOGETHER,
        required_if=[("state", "present", ["value"])],
        supports_check_mode=True,
    )
    sensitive, shown_value = module.params["sensitive"], module.params["value"]
    given = only_for_the_server(module, "value")
    if not sensitive:
        module.params["value"] = shown_value

    def body(client: KestraClient) -> dict[str, Any]:
        run = KeyTask(module, given, client)
        checked("namespace", check_namespace, module.params["namespace"])
        checked("key", check_key, module.params["key"])
        return run.absent() if module.params["state"] == "absent" else run.present()

    run_module(module, body)


if __name__ == "__main__":
    main()
