"""Flows with one construct each that Kestra 2.0 removed or deprecated, for the rules and for the engine to judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HEAD = "id: old\nnamespace: rules\n"
SAY = "  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: hi\n"
TASKS = "tasks:\n" + SAY
BELOW = "    tasks:\n      - id: inner\n        type: io.kestra.plugin.core.log.Log\n        message: hi\n"
SCRIPT = "io.kestra.plugin.scripts.python.Script"

Verdict = Literal["refused", "accepted", "elsewhere"]
"""What a 2.0 engine says: it refuses the flow, it takes it, or it can't tell, since the type belongs to a plugin."""


@dataclass(frozen=True)
class Construct:
    """A flow, the line of the construct, what the finding says, and what the engine says."""

    text: str
    line: int
    message: str
    verdict: Verdict = "refused"


def task(kind: str, more: str = "") -> str:
    return f"{HEAD}tasks:\n  - id: a\n    type: {kind}\n{more}"


def core(kind: str, message: str, more: str = "", line: int = 5) -> Construct:
    return Construct(task(f"io.kestra.plugin.core.{kind}", more), line, message)


def trigger(kind: str, more: str) -> str:
    return f"{HEAD}{TASKS}triggers:\n  - id: a\n    type: io.kestra.plugin.core.trigger.{kind}\n{more}"


CRON = '    cron: "0 * * * *"\n'

CONSTRUCTS: dict[str, Construct] = {
    "ForEach": core("flow.ForEach", "flow.Loop (taskrun.value becomes item.value", f"    values: [1]\n{BELOW}"),
    "ForEachItem": core("flow.ForEachItem", "storage.Split", "    items: x\n    namespace: a\n    flowId: b\n"),
    "EachSequential": core("flow.EachSequential", "flow.Loop", f"    value: '[1]'\n{BELOW}"),
    "EachParallel": core("flow.EachParallel", "concurrencyLimit: 0", f"    value: '[1]'\n{BELOW}"),
    "Flow": core("flow.Flow", "flow.Subflow"),
    "Template": core("flow.Template", "flow.Subflow"),
    "Worker": core("flow.Worker", "flow.WorkingDirectory"),
    "Count": core("execution.Count", "plugin-kestra"),
    "Counts": core("execution.Counts", "plugin-kestra"),
    "Resume": core("execution.Resume", "plugin-kestra"),
    "PurgeExecution": core("execution.PurgeExecution", "storage.PurgeCurrentExecutionFiles"),
    "Toggle": core("trigger.Toggle", "plugin-kestra"),
    "Fetch": core("log.Fetch", "io.kestra.plugin.kestra.logs.Fetch"),
    "state.Get": core("state.Get", "kv.Get"),
    "state.Set": core("state.Set", "kv.Set"),
    "state.Delete": core("state.Delete", "kv.Delete"),
    "LocalFiles": core("storage.LocalFiles", "inputFiles"),
    "Purge": core("storage.Purge", "execution.PurgeExecutions"),
    "storage.PurgeExecution": core("storage.PurgeExecution", "storage.PurgeCurrentExecutionFiles"),
    "Echo": core("debug.Echo", "log.Log"),
    "old name": Construct(task("io.kestra.core.tasks.log.Log"), 5, "use io.kestra.plugin.core.log.Log"),
    "old name of what is gone": Construct(task("io.kestra.core.tasks.flows.EachSequential"), 5, "flow.Loop"),
    "unknown old name": Construct(task("io.kestra.core.tasks.scripts.Bash"), 5, "among the plugins"),
    "old process runner": Construct(
        task(
            SCRIPT,
            "    script: a\n    taskRunner:\n      type: io.kestra.core.models.tasks.runners.types.ProcessTaskRunner\n",
        ),
        8,
        "task runner type io.kestra.core.models.tasks.runners.types.ProcessTaskRunner was removed",
    ),
    "old Docker runner": Construct(
        task(
            SCRIPT,
            "    script: a\n    taskRunner:\n      type: io.kestra.plugin.scripts.runner.docker.DockerTaskRunner\n",
        ),
        8,
        "docker.Docker",
        "elsewhere",
    ),
    "in errors": Construct(
        f"{HEAD}{TASKS}errors:\n  - id: a\n    type: io.kestra.plugin.core.debug.Echo\n", 9, "log.Log"
    ),
    "in finally": Construct(
        f"{HEAD}{TASKS}finally:\n  - id: a\n    type: io.kestra.plugin.core.debug.Echo\n", 9, "log.Log"
    ),
    "in a branch": Construct(
        task(
            "io.kestra.plugin.core.flow.If",
            '    condition: "{{ true }}"\n    then:\n      - id: b\n        type: io.kestra.plugin.core.debug.Echo\n',
        ),
        9,
        "log.Log",
    ),
    "pluginDefaults": Construct(f"{HEAD}pluginDefaults: []\n{TASKS}", 3, "write the values into each task"),
    "taskDefaults": Construct(f"{HEAD}taskDefaults: []\n{TASKS}", 3, "write the values into each task"),
    "listeners": Construct(f"{HEAD}listeners: []\n{TASKS}", 3, "trigger.Flow"),
    "workerGroup of a flow": Construct(f"{HEAD}workerGroup: {{key: x}}\n{TASKS}", 3, "workerSelector"),
    "workerGroup of a task": Construct(f"{HEAD}{TASKS}    workerGroup: {{key: x}}\n", 7, "workerSelector"),
    "workerGroup of a trigger": Construct(
        trigger("Schedule", f"{CRON}    workerGroup: {{key: x}}\n"), 11, "workerSelector"
    ),
    "conditions": Construct(trigger("Schedule", f"{CRON}    conditions: []\n"), 11, 'use when: "{{ ... }}"'),
    "conditions of a webhook": Construct(trigger("Webhook", "    key: abc\n    conditions: []\n"), 11, "use when"),
    "conditions of a flow trigger": Construct(trigger("Flow", "    conditions: []\n"), 10, "dependsOn"),
    "preconditions": Construct(trigger("Flow", "    preconditions: {id: p, flows: []}\n"), 10, "use dependsOn"),
    "multipleConditions": Construct(trigger("Flow", "    multipleConditions: []\n"), 10, "use dependsOn"),
    "scheduleConditions": Construct(trigger("Schedule", f"{CRON}    scheduleConditions: []\n"), 11, "use when"),
    "backfill": Construct(trigger("Schedule", f"{CRON}    backfill: {{}}\n"), 11, "through the API"),
    "minLogLevel": Construct(trigger("Schedule", f"{CRON}    minLogLevel: INFO\n"), 11, "use logLevel"),
    "old trigger name": Construct(
        f"{HEAD}{TASKS}triggers:\n  - id: a\n    type: io.kestra.core.models.triggers.types.Schedule\n{CRON}",
        9,
        "use io.kestra.plugin.core.trigger.Schedule",
    ),
    "CANCELED of a trigger": Construct(trigger("Flow", "    states: [CANCELED]\n"), 10, "use CANCELLED"),
    "CANCELED in dependsOn": Construct(
        trigger("Flow", "    dependsOn:\n      - flowId: b\n        states:\n          - CANCELED\n"),
        13,
        "use CANCELLED",
    ),
    "CANCELED in an expression": Construct(
        task("io.kestra.plugin.core.debug.Return", "    format: \"{{ execution.state == 'CANCELED' }}\"\n"),
        6,
        "use CANCELLED",
        "accepted",
    ),
    "BOOLEAN": Construct(f"{HEAD}inputs:\n  - id: b\n    type: BOOLEAN\n{TASKS}", 5, "use BOOL"),
    "ENUM": Construct(f"{HEAD}inputs:\n  - id: b\n    type: ENUM\n    values: [a]\n{TASKS}", 5, "use SELECT"),
    "itemType": Construct(
        f"{HEAD}inputs:\n  - id: b\n    type: ARRAY\n    itemType: BOOLEAN\n{TASKS}", 6, "input type BOOLEAN"
    ),
    "BOOLEAN in a form": Construct(
        f"{HEAD}inputs:\n  - id: b\n    type: FORM\n    inputs:\n      - {{id: c, type: BOOLEAN}}\n{TASKS}",
        7,
        "use BOOL",
    ),
    "BOOLEAN output": Construct(
        f"{HEAD}outputs:\n  - id: b\n    type: BOOLEAN\n    value: x\n{TASKS}", 5, "output type BOOLEAN"
    ),
    "name of an input": Construct(f"{HEAD}inputs:\n  - name: b\n    type: STRING\n{TASKS}", 4, "use id"),
    "options of an input": Construct(
        f"{HEAD}inputs:\n  - id: b\n    type: MULTISELECT\n    options: [a]\n{TASKS}", 6, "use values"
    ),
    "defaults but not required": Construct(
        f"{HEAD}inputs:\n  - id: b\n    type: STRING\n    defaults: x\n    required: false\n{TASKS}", 7, "prefill"
    ),
    "retry of a flow": Construct(
        f"{HEAD}retry:\n  type: constant\n  interval: PT1S\n  maxAttempt: 3\n{TASKS}", 6, "use maxAttempts"
    ),
    "retry of a task": Construct(
        f"{HEAD}{TASKS}    retry: {{type: constant, interval: PT1S, maxAttempt: 3}}\n", 7, "use maxAttempts"
    ),
    "check": Construct(
        f'{HEAD}checks:\n  - condition: "{{{{ true }}}}"\n    message: no\n{TASKS}', 4, "use when", "accepted"
    ),
    "runner": Construct(task(SCRIPT, "    script: a\n    runner: PROCESS\n"), 7, "use taskRunner", "accepted"),
    "docker": Construct(task(SCRIPT, "    script: a\n    docker: {image: a}\n"), 7, "containerImage", "elsewhere"),
    "json function": Construct(
        task("io.kestra.plugin.core.debug.Return", "    format: |\n      one\n      {{ json('{}') }}\n"),
        8,
        "use fromJson()",
        "accepted",
    ),
    "json filter": Construct(
        task("io.kestra.plugin.core.debug.Return", '    format: "{{ inputs | json }}"\n'), 6, "use toJson", "accepted"
    ),
    "notifications": Construct(
        task("io.kestra.plugin.notifications.slack.SlackIncomingWebhook"), 5, "io.kestra.plugin.slack", "elsewhere"
    ),
    "git.Push": Construct(
        task("io.kestra.plugin.git.Push"), 5, "deprecated; use io.kestra.plugin.git.PushFlows", "elsewhere"
    ),
    "git.Sync": Construct(
        task("io.kestra.plugin.git.Sync"), 5, "deprecated; use io.kestra.plugin.git.SyncFlows", "elsewhere"
    ),
    "docker of dbt": Construct(
        task("io.kestra.plugin.dbt.cli.DbtCLI", "    docker: {image: a}\n    taskRunner: {type: x}\n"),
        6,
        "containerImage",
        "elsewhere",
    ),
    "Pause.delay": core("flow.Pause", "use pauseDuration", "    delay: PT1S\n", 6),
    "Pause.tasks": core("flow.Pause", "behind the pause", BELOW, 6),
    "Subflow.outputs": core(
        "flow.Subflow", "in the flow that is called", "    namespace: a\n    flowId: b\n    outputs: {x: y}\n", 8
    ),
    "PurgeKV.expiredOnly": core("kv.PurgeKV", "use behavior", "    namespaces: [a]\n    expiredOnly: true\n", 7),
    "basicAuthUser": core("http.Request", "use auth", "    uri: x\n    options: {basicAuthUser: a}\n", 7),
    "basicAuthPassword": core("http.Request", "use auth", "    uri: x\n    options: {basicAuthPassword: a}\n", 7),
    "connectTimeout": core("http.Request", "use timeout", "    uri: x\n    options: {connectTimeout: PT1S}\n", 7),
    "readTimeout": core("http.Download", "use timeout", "    uri: x\n    options: {readTimeout: PT1S}\n", 7),
    "defaults but not required, in capitals": Construct(
        f"{HEAD}inputs:\n  - id: b\n    type: STRING\n    defaults: x\n    required: False\n{TASKS}", 7, "prefill"
    ),
    "nashorn": Construct(task("io.kestra.plugin.scripts.nashorn.Eval"), 5, "graalvm", "elsewhere"),
    "local.Delete": Construct(task("io.kestra.plugin.fs.local.Delete"), 5, "false by default", "elsewhere"),
}

ODD_NAMES = [
    *((value, False) for value in ("08", "09", "0o17", "0b12", "0X1F", "0xG", "1.5", "1.0", "0.1", "0.0", "0_8")),
    *((value, False) for value in ("0", "y", "n", "tRUE", "true", "false", "1.2.3", "2026-01-02", "1d", "1e", "0x")),
    *((value, True) for value in ("00", "010", "007", "0b1", "0x1f", "1_", "1_000", "1_0.5", "1.", "1.50", "1.10")),
    *((value, True) for value in ("0.10", "1e3", "1E3", "1.5e3", "1e400", "0.0001", "12345678.5", "00.5", "yes", "No")),
    *((value, True) for value in ("ON", "off", "True")),
]
"""Unquoted ids, and whether the engine makes another text of them."""
