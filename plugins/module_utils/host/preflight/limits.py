# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the memory and the processors of the containers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.situation import (
    IN_DOCKER,
    MIB,
    Rule,
    Situation,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.host.preflight.values import listed

SIZE = re.compile(r"([0-9]+(?:[.][0-9]+)?) ?(?:([kmgtp])i?b?|b)?", re.IGNORECASE)
"""A size as Compose reads it."""
UNITS = {"": 1, "k": 1024, "m": MIB, "g": 1024 * MIB, "t": 1024**2 * MIB, "p": 1024**3 * MIB}
HEAP = re.compile(r"(?:^|\s)-Xmx([0-9]+)([kKmMgGtT]?)(?=\s|$)")
TOO_MUCH = 1 << 63
"""More bytes than Docker and Java can count."""
CPUS = re.compile(r"\d+([.]\d+)?")
SMALLEST = 6 * MIB
"""The least that Docker accepts."""
BESIDE_HEAP = 512 * MIB
"""What Java needs beside the heap: classes, compiled code, threads and buffers."""


def size(text: str) -> int:
    """Return a size such as V(512m) in bytes, -1 if it is none."""
    found = SIZE.fullmatch(text)
    number = _bytes(found[1], found[2] or "") if found else TOO_MUCH
    return number if number < TOO_MUCH else -1


def _bytes(number: str, unit: str) -> int:
    # As a float, a number may have any length.
    return int(min(float(number) * UNITS[unit.lower()], TOO_MUCH))


def heap(options: str) -> tuple[str, int]:
    """Return the maximum heap in Java's options, as it is written and in bytes; the last one counts."""
    found = [(match[0].strip(), _bytes(match[1], match[2])) for match in HEAP.finditer(options)]
    return found[-1] if found else ("", 0)


def containers(situation: Situation, service: str) -> list[str]:
    """Return how the variables of the limits of a service's containers begin."""
    more = {
        "kestra": ["kestra_dind"] if situation.text("kestra_task_runner") == "dind" else [],
        "n8n": ["n8n_runners"] if situation.text("n8n_runners") == "external" else [],
    }
    return [service, *more.get(service, [])]


def limited(service: str) -> Rule:
    """Return a rule for the limits of one service's containers."""

    def rule(situation: Situation) -> Iterator[str]:
        present = situation.facts.get("processor_vcpus")
        for container in containers(situation, service):
            name, text = f"{container}_memory_limit", situation.text(f"{container}_memory_limit")
            if text and size(text) < SMALLEST:
                yield f"{name}: '{text}' is not a size of 6m or more. Set one such as 512m or 2g, or '' for no limit."
            name, text = f"{container}_cpu_limit", situation.text(f"{container}_cpu_limit")
            if text and (not CPUS.fullmatch(text) or float(text) < 0.01):
                yield f"{name}: '{text}' is not a number of processors. Set one such as 1.5, or '' for no limit."
            elif text and present and float(text) > int(present):
                yield f"{name}: {text} is more than the {present} processors of the host. Set a smaller number."

    return rule


def kestra_heap(situation: Situation) -> Iterator[str]:
    written, wanted = heap(situation.text("kestra_java_opts"))
    limit = size(situation.text("kestra_memory_limit"))
    if limit > 0 and wanted + BESIDE_HEAP > limit:
        least = -(-(wanted + BESIDE_HEAP) // MIB)
        yield (
            f"kestra_java_opts: {written or 'the heap'} does not fit into kestra_memory_limit"
            f" ({situation.text('kestra_memory_limit')}), because Java needs {BESIDE_HEAP // MIB} MiB beside the heap."
            f" Set a smaller heap, or kestra_memory_limit to {least}m or more."
        )


def postgres_buffers(situation: Situation) -> Iterator[str]:
    buffers, limit = (size(situation.text(f"postgres_{name}")) for name in ("shared_buffers", "memory_limit"))
    if 0 < limit <= buffers:
        yield (
            f"postgres_shared_buffers: {situation.text('postgres_shared_buffers')} does not fit into"
            f" postgres_memory_limit ({situation.text('postgres_memory_limit')}). Set fewer buffers, or a higher limit."
        )


def _sum(situation: Situation) -> Iterator[str]:
    memory = situation.host.get("memory_bytes")
    limits = {
        f"{container}_memory_limit": size(situation.text(f"{container}_memory_limit"))
        for service in IN_DOCKER
        if service in situation.deployed() and not (service == "postgres" and situation.external)
        for container in containers(situation, service)
    }
    total = sum(limit for limit in limits.values() if limit > 0)
    if memory and total > memory:
        yield (
            f"{listed(list(limits))}: together they are {total // MIB} MiB, and the host has {memory // MIB} MiB of"
            " memory. If the services use it all, the kernel ends one of them. Set lower limits, or give the host more."
        )


DEPLOYMENT: dict[str, tuple[Rule, ...]] = {
    "postgres": (limited("postgres"), postgres_buffers),
    "kestra": (limited("kestra"), kestra_heap),
    "n8n": (limited("n8n"),),
}
WARNINGS: tuple[Rule, ...] = (_sum,)
