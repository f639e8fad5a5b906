"""A flow that runs a Python and a Shell script on a task runner of choice."""

from __future__ import annotations

NAMESPACE = "tests.scripts"
# Of the images that the tests build, the small one with Python, a shell and root as the user.
IMAGE = "localhost/testhost:trixie"
PROCESS = "{type: io.kestra.plugin.core.runner.Process}"
# Python writes a file that the shell reads. They report where they run, and whether they see a secret of Kestra's.
FLOW = """id: <name>
namespace: tests.scripts
tasks:
  - id: python
    type: io.kestra.plugin.scripts.python.Script
    containerImage: <image>
    taskRunner: <runner>
    env: {FLOW: "{{ flow.id }}"}
    outputFiles: [greeting.txt]
    script: |
      import json, os, pathlib
      pathlib.Path("greeting.txt").write_text("Grüße ☃ from " + os.environ["FLOW"], "utf-8")
      print("::" + json.dumps({"outputs": {"hostname": os.uname().nodename}}) + "::")
  - id: shell
    type: io.kestra.plugin.scripts.shell.Script
    containerImage: <image>
    taskRunner: <runner>
    inputFiles: {greeting.txt: "{{ outputs.python.outputFiles['greeting.txt'] }}"}
    script: |
      set -eu
      said=$(cat greeting.txt)
      printf '::{"outputs": {"said": "%s", "secret": "%s"}}::\\n' "$said" "${KESTRA_PASSWORD:+seen}"
outputs:
  - {id: hostname, type: STRING, value: "{{ outputs.python.vars.hostname }}"}
  - {id: said, type: STRING, value: "{{ outputs.shell.vars.said }}"}
  - {id: secret, type: STRING, value: "{{ outputs.shell.vars.secret }}"}
"""


def docker_runner(host: str = "") -> str:
    """Return the task runner of Docker; C(host) is the engine's address if it is not the usual one."""
    more = f", host: '{host}'" if host else ""
    return f"{{type: io.kestra.plugin.scripts.runner.docker.Docker, pullPolicy: NEVER{more}}}"


def flow(name: str, runner: str) -> str:
    """Return the flow of this name, whose scripts run in C(runner)."""
    return FLOW.replace("<name>", name).replace("<image>", IMAGE).replace("<runner>", runner)
