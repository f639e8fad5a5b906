# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an upgrade from the versions that run to the versions that are wanted does, and whether the vendors allow it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.devorch.orchestration.plugins.module_utils.versions import Version, below, numbers, tag

DOCUMENTATION = r"""
name: upgrade_plan
short_description: Plan the upgrade of an orchestration host
version_added: 0.3.0
author:
  - devorch maintainers (@devorch)
description:
  - Compares the running images with the target images, by the rules of the vendors.
  - If the vendor forbids a step, if it is a downgrade, or if a version cannot be read, C(refused) has the reason.
positional: wanted, rules
options:
  _input:
    description: Image of each running service, by service.
    type: dict
    required: true
  wanted:
    description: Target image of each service, by service.
    type: dict
    required: true
  rules:
    description:
      - Rules of each service, by service, as a dictionary.
      - C(one_way) says what cannot be undone. It is empty if everything can be undone.
      - C(major) is V(dump) if a new major version needs a dump and a load.
      - C(intermediate_versions) is a list of dictionaries with C(target) and C(minimum). The version C(minimum) must
        run before an upgrade to C(target).
      - C(manual_versions) is a list of dictionaries with C(target) and C(command). If the upgrade is from a version
        older than C(target) to C(target) or newer, the vendor requires C(command) to be run by hand.
      - C(source) is the vendor's document with these rules.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Plan the upgrade
  ansible.builtin.set_fact:
    plan: "{{ images | devorch.orchestration.upgrade_plan(wanted, rules) }}"
"""

RETURN = r"""
_value:
  description:
    - One dictionary per service whose image changes, with C(service), C(before), C(after), C(kind), C(note) and
      C(refused).
  type: list
  elements: dict
"""


def step(service: str, before: str, after: str, rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return one step of the plan."""
    old, new = numbers(tag(before)), numbers(tag(after))
    result = {"service": service, "before": before, "after": after, "kind": "minor", "note": "", "refused": ""}
    source = f" See {rules['source']}."
    again = "Make a backup, run them as the vendor says, and run site.yml with orchestration_upgrade_without_backup."
    if not old or not new:
        name = tag(before) if not old else tag(after)
        return result | {"refused": f"the tag {name!r} is not a version. Pin {service}_version to one."}
    if below(new, old):
        return result | {"kind": "downgrade", "refused": f"older than what runs. Restore a backup instead.{source}"}
    if new[0] == old[0]:
        return result | {"note": rules["one_way"], "refused": _by_hand(service, old, new, rules, again)}
    result |= {"kind": "dump" if rules.get("major") == "dump" else "major", "note": rules["one_way"]}
    if result["kind"] == "dump":
        note = f"the databases are dumped and loaded; the old ones stay in data/{service}-{old[0]}.*"
        return result | {"note": note}
    if new[0] > old[0] + 1:
        return result | {"refused": f"major versions are not skipped. Upgrade to {old[0] + 1} first.{source}"}
    for hop in rules.get("intermediate_versions", []):
        if not below(new, numbers(hop["target"])) and below(old, numbers(hop["minimum"])):
            needs = hop["minimum"]
            return result | {
                "refused": f"{hop['target']} is reached from {needs} only. Upgrade to {needs} first.{source}"
            }
    again = "Upgrade it as the vendor says, or load its flows into a new installation."
    return result | {"refused": _by_hand(service, old, new, rules, again)}


def _by_hand(service: str, old: Version, new: Version, rules: Mapping[str, Any], again: str) -> str:
    """Return why a step needs the operator, an empty string if it does not."""
    hops = [(numbers(hop["target"]), hop["command"]) for hop in rules.get("manual_versions", [])]
    commands = [f"'{command}'" for target, command in hops if below(old, target) and not below(new, target)]
    if not commands:
        return ""
    return (
        f"the new version needs {' and '.join(commands)} while {service} is stopped, which upgrade.yml does not run."
        f" {again} See {rules['source']}."
    )


def upgrade_plan(
    present: Mapping[str, str], wanted: Mapping[str, str], rules: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the steps of an upgrade in the order of the rules."""
    unknown = sorted(set(wanted) - set(rules))
    if unknown:
        raise AnsibleFilterError(f"upgrade_plan: no rules for {unknown[0]}")
    services = [service for service in rules if service in present and service in wanted]
    changed = [service for service in services if present[service] != wanted[service]]
    return [step(service, present[service], wanted[service], rules[service]) for service in changed]


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters of this file."""
        return {"upgrade_plan": upgrade_plan}
