"""Flows whose executions come into each state, for tests of executions and triggers."""

from __future__ import annotations

import secrets
from typing import Any

from .kestra import Kestra, wait_until

GREETING = """\
id: greeting
namespace: {namespace}
labels: {{kind: test}}
inputs:
  - {{id: who, type: STRING, defaults: nobody}}
  - {{id: count, type: INT, defaults: 1}}
  - {{id: letter, type: FILE, required: false}}
tasks:
  - id: text
    type: io.kestra.plugin.core.debug.Return
    format: "{{{{ inputs.letter ? read(inputs.letter) : inputs.who }}}} {{{{ inputs.count }}}}"
outputs:
  - {{id: greeting, type: STRING, value: "{{{{ outputs.text.value }}}}"}}
"""

# One flow for each state that an execution can be brought to and stays in.
FLOWS = {
    "SUCCESS": GREETING,
    "RUNNING": """\
id: long
namespace: {namespace}
tasks: [{{id: sleep, type: io.kestra.plugin.core.flow.Sleep, duration: PT5M}}]
""",
    "PAUSED": """\
id: asking
namespace: {namespace}
tasks:
  - {{id: ask, type: io.kestra.plugin.core.flow.Pause, onResume: [{{id: why, type: STRING}}]}}
  - {{id: text, type: io.kestra.plugin.core.debug.Return, format: "{{{{ outputs.ask.onResume.why }}}}"}}
outputs:
  - {{id: answer, type: STRING, value: "{{{{ outputs.text.value }}}}"}}
""",
    "FAILED": """\
id: picky
namespace: {namespace}
tasks:
  - {{id: first, type: io.kestra.plugin.core.log.Log, message: begun}}
  - id: second
    type: io.kestra.plugin.core.execution.Fail
    condition: "{{{{ kv('ready', errorOnMissing=false) != 'yes' }}}}"
    errorMessage: not ready
""",
}

NIGHTLY = """\
id: nightly
namespace: {namespace}
tasks: [{{id: say, type: io.kestra.plugin.core.log.Log, message: hello}}]
triggers:
  - {{id: every-night, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 2 * * *"}}
  - {{id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: {namespace}-hook}}
"""


def fresh_namespace() -> str:
    return f"test.n{secrets.token_hex(4)}"


def state_of(kestra: Kestra, identifier: str) -> str:
    state: str = kestra.call("GET", f"/executions/{identifier}").json()["state"]["current"]
    return state


def wait_for(kestra: Kestra, identifier: str, state: str) -> None:
    wait_until(f"execution {identifier} is {state}", lambda: state_of(kestra, identifier) == state, 120)


def start(kestra: Kestra, flow: str, **query: Any) -> str:
    """Start a flow (`namespace/id`) and return the id of the execution."""
    answer = kestra.call("POST", f"/executions/{flow}", params=query)
    assert answer.status_code == 200, answer.text
    identifier: str = answer.json()["id"]
    return identifier


def make_ready(kestra: Kestra, namespace: str) -> None:
    """Let what failed in a namespace succeed at the next try."""
    headers = {"Content-Type": "text/plain"}
    answer = kestra.call("PUT", f"/namespaces/{namespace}/kv/ready", data='"yes"', headers=headers)
    assert answer.status_code == 200, answer.text


def execution_in(kestra: Kestra, namespace: str, state: str) -> str:
    """Bring an execution into a state and return its id."""
    if state == "FAILED":
        kestra.call("DELETE", f"/namespaces/{namespace}/kv/ready")
    saved = kestra.save_flow(FLOWS[state].format(namespace=namespace))
    identifier = start(kestra, f"{namespace}/{saved['id']}")
    wait_for(kestra, identifier, state)
    return identifier
