"""The flows that are measured: about 1 KB each, with comments, unicode and the label that pruning asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

NAMESPACES = 10
LABEL = ("managed-by", "ansible")

_TEXT = """\
# Flow {number} of the measurements: the comments count as well, since a flow is kept byte for byte.
id: flow-{number:05d}
namespace: {namespace}
description: |
  Übernimmt die Daten aus Zürich, Kraków und 東京 ☃ für den Bericht {number}.
  Version {version} of this text.

labels:
  {key}: {value}
  team: team-{team}

inputs:
  - id: name
    type: STRING
    defaults: World {number}
  - id: mode
    type: SELECT
    values: [fast, safe]
    defaults: safe

variables:
  greeting: "Grüß Gott, {{{{ inputs.name }}}}"

tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "{{{{ render(vars.greeting) }}}} ({{{{ execution.id }}}})"

  # Decides by the mode.
  - id: decide
    type: io.kestra.plugin.core.flow.If
    condition: "{{{{ inputs.mode == 'safe' }}}}"
    then:
      - id: careful
        type: io.kestra.plugin.core.log.Log
        level: DEBUG
        message: Step by step, version {version}

  - id: result
    type: io.kestra.plugin.core.debug.Return
    format: "{{{{ inputs.name | upper }}}} ✓ done"
"""


@dataclass(frozen=True, order=True)
class Bench:
    """A flow: its namespace and number."""

    namespace: str
    number: int

    @property
    def id(self) -> str:
        return f"flow-{self.number:05d}"

    def text(self, version: int) -> str:
        """Return the source of this flow in one of its versions."""
        key, value = LABEL
        return _TEXT.format(
            number=self.number, namespace=self.namespace, version=version, key=key, value=value, team=self.number % 7
        )


def fleet(prefix: str, size: int) -> list[Bench]:
    """Return as many flows as asked for, spread over the namespaces below a prefix."""
    return [
        # Each tenth flow, and each hundredth, in another namespace than the one before.
        Bench(f"{prefix}.team-{(number + number // NAMESPACES) % NAMESPACES}", number)
        for number in range(size)
    ]


def changed(flows: Iterable[Bench], version: int, every: int) -> dict[Bench, int]:
    """Return the version of each flow when one in C(every) takes a new one and the others keep that before."""
    return {flow: version if flow.number % every == 0 else version - 1 for flow in flows}


def write(directory: Path, versions: Mapping[Bench, int]) -> None:
    """Make a directory hold exactly these flows, a directory for each namespace."""
    wanted = {directory / flow.namespace / f"{flow.id}.yaml": flow.text(version) for flow, version in versions.items()}
    for file in directory.rglob("*.yaml"):
        if file not in wanted:
            file.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
