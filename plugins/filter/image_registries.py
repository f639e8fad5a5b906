# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where Docker pulls an image from."""

from __future__ import annotations

from typing import Any

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.images import registries

DOCUMENTATION = r"""
name: image_registries
short_description: List the registries that Docker asks for an image
version_added: 0.3.0
description:
  - Returns the URLs in the order in which Docker asks them. Docker asks mirrors only for images of Docker Hub.
author: devorch maintainers (@devorch)
positional: mirrors, insecure
options:
  _input:
    description: Reference of the image.
    type: str
    required: true
  mirrors:
    description: URLs of the mirrors of Docker Hub.
    type: list
    elements: str
    default: []
  insecure:
    description: Registries without TLS, as host names with ports.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Report the registries of an image
  ansible.builtin.debug:
    msg: "{{ 'docker.io/library/postgres:17' | devorch.orchestration.image_registries(['http://mirror:5000']) }}"
"""

RETURN = r"""
_value:
  description: URLs of the registries.
  type: list
  elements: str
"""


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"image_registries": registries}
