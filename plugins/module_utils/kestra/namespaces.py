# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Namespaces with settings of their own, which the Enterprise edition keeps: how they compare, and how they change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient

OWN = ("id", "deleted", "description", "variables", "allowedNamespaces")
"""Properties that cannot be settings: they have options of their own, or the server sets them."""

Namespace = Mapping[str, Any]


def edition_problem(edition: str | None) -> str | None:
    """Return why a server of this edition keeps no namespaces, or None. One that does not name it is asked."""
    if edition is None or edition.upper() != "OSS":
        return None
    return (
        "This Kestra is the open-source edition, in which a namespace has no settings and exists as long as a flow, a "
        "file or a key is in it. Kestra Enterprise has them. Set variables of flows in kestra_envs or with kestra_kv."
    )


def settings_problem(settings: Mapping[str, Any], is_2: bool) -> str | None:
    """Return what is wrong with the names of settings, or None."""
    own = sorted(set(settings) & set(OWN))
    if own:
        return f"settings has {', '.join(own)}; the module has options for it, or the server sets it"
    if is_2 and "pluginDefaults" in settings:
        return "settings has pluginDefaults, which was removed in Kestra 2.0; use a Policy"
    return None


def wanted_properties(
    description: str | None,
    variables: Mapping[str, Any] | None,
    allowed: list[str] | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the properties that are given, by the names of the API."""
    found: dict[str, Any] = dict(settings)
    if description is not None:
        found["description"] = description
    if variables is not None:
        found["variables"] = dict(variables)
    if allowed is not None:
        found["allowedNamespaces"] = [{"namespace": name} for name in sorted(set(allowed))]
    return found


def different(stored: Namespace, wanted: Mapping[str, Any]) -> list[str]:
    """Return the names of the properties that differ. What is empty is the same as what is not there.

    A server fills settings up, so that of those only what is given counts. It leaves nulls out of its answers.
    """

    def same(name: str) -> bool:
        now, then = _without_nulls(stored.get(name)), _without_nulls(wanted[name])
        if name == "allowedNamespaces":
            return _names(now) == _names(then)
        if not now and not then and not isinstance(then, bool):
            return True
        return bool(now == then) if name in OWN else _contains(now, then)

    return sorted(name for name in wanted if not same(name))


def _names(allowed: Any) -> list[str]:
    return sorted(str(each.get("namespace")) for each in allowed or [])


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _contains(now: Any, then: Any) -> bool:
    if isinstance(now, dict) and isinstance(then, dict):
        return all(_contains(now.get(name), value) for name, value in then.items())
    return bool(now == then)


def shown(namespace: Namespace | None) -> dict[str, Any] | None:
    """Return what may be shown of a namespace; its settings can hold credentials."""
    if namespace is None:
        return None
    return {
        "id": namespace.get("id"),
        "description": namespace.get("description") or "",
        "variables": namespace.get("variables") or {},
        "allowed_namespaces": _names(namespace.get("allowedNamespaces")),
    }


@dataclass(frozen=True)
class Namespaces:
    """The namespaces of a server of the Enterprise edition."""

    client: KestraClient

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a namespace, or None where there is none."""
        doing = f"read namespace {name}"
        response = self.client.request("GET", self.client.path("namespaces", name), doing, expected=(200, 404))
        if response.status_code == 404:
            # Another tenant, or a wrong address, has no namespaces either.
            self.client.check_credentials()
            return None
        return self.client.object(self.client.json(response, doing), doing)

    def write(self, name: str, stored: Namespace | None, properties: Mapping[str, Any]) -> dict[str, Any] | None:
        """Create or change a namespace, and read it back. What is not given stays as it is."""
        content = {**(stored or {"deleted": False}), "id": name, **properties}
        if stored is None:
            path, doing = self.client.path("namespaces"), f"create namespace {name}"
            self.client.send_json("POST", path, doing, content, expected=(200, 201))
        else:
            self.client.send_json("PUT", self.client.path("namespaces", name), f"update namespace {name}", content)
        return self.read(name)

    def delete(self, name: str) -> None:
        """Delete a namespace; one that is gone already is accepted."""
        path = self.client.path("namespaces", name)
        self.client.request("DELETE", path, f"delete namespace {name}", expected=(200, 204, 404))
