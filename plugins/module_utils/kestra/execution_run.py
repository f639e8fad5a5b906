# Copyright (c) 2026, devorch maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of the module kestra_execution: bring an execution to a state, and report what became of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.devorch.orchestration.plugins.module_utils.http_session import Part
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.client import KestraClient
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.executions import (
    ENDED,
    SYSTEM_PREFIX,
    UNSUCCESSFUL,
    Executions,
    Query,
    as_result,
    changes_of,
    describe_failures,
    failures,
    form,
    has_ended,
    label_text,
    labels_of,
    moment,
    plan_action,
    state_of,
)
from ansible_collections.devorch.orchestration.plugins.module_utils.kestra.module import forms_of
from ansible_collections.devorch.orchestration.plugins.module_utils.module import Failure, texts_in

WITH_INPUTS = ("started", "resumed", "replayed")


def result(
    raw: Mapping[str, Any], msg: str, changed: bool, before: Mapping[str, Any], after: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """Return the module's result, which has the same keys for every state."""
    return {
        "changed": changed,
        "msg": msg,
        "execution": as_result(raw),
        "outputs": {},
        "failures": [],
        "diff": {"before": dict(before), "after": dict(after)},
        **more,
    }


def named(raw: Mapping[str, Any]) -> str:
    return f"Execution {raw.get('id')} of {raw.get('namespace')}/{raw.get('flowId')}"


class Run:
    """One call of the module, whose result has the same keys for every state."""

    def __init__(self, module: AnsibleModule, client: KestraClient, inputs: Mapping[str, Any]) -> None:
        self.inputs = {str(key): value for key, value in inputs.items()}
        client.http.hide(forms_of(texts_in(list(inputs.values()))))
        self.params: dict[str, Any] = module.params
        self.check: bool = module.check_mode
        self.executions = Executions(client)
        self.state: str = module.params["state"]
        self.success: list[str] = module.params["success_states"]
        self.end: float = time.monotonic() + module.params["wait_timeout"]
        self.labels = {str(key): label_text(value) for key, value in self.params["labels"].items()}

    def parts(self) -> list[Part]:
        """Return the form with the inputs and the files."""
        files = {}
        for name, path in self.params["files"].items():
            try:
                files[str(name)] = (Path(str(path)).name, Path(str(path)).read_bytes())
            except OSError as error:
                raise Failure(f"Could not read {path!r}, the file of input {name!r}: {error.strerror}.") from error
        # A server is asked for its version only where that counts.
        old = bool(files) and not self.executions.client.server_info().has_filters
        return form(self.inputs, files, named_by_file=old)

    def left(self) -> float:
        return max(0.0, self.end - time.monotonic())

    def finish(
        self, raw: dict[str, Any], changed: bool, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the result for an execution that was waited for; raise Failure if it did not succeed."""
        state = state_of(raw)
        outputs = self.executions.outputs(raw) if state in ENDED else {}
        if state in self.success:
            verb = "ended" if state in ENDED else "is"
            return result(raw, f"{named(raw)} {verb} {state}", changed, before, after, outputs=outputs)
        if state not in ENDED:
            seconds = self.params["wait_timeout"]
            hint = "A paused execution continues with state=resumed." if state == "PAUSED" else "It continues."
            text = f"{named(raw)} is still {state} after {seconds} seconds. {hint} Raise wait_timeout to wait longer."
            raise Failure(text, **_keys(result(raw, "", changed, before, after)))
        lines = self.params["log_lines"]
        log = self.executions.log(str(raw["id"]), "WARN")
        found = failures(raw, log, lines)
        text = describe_failures(found, log, lines)
        msg = f"{named(raw)} ended {state}" + (f":\n{text}" if text else ".")
        raise Failure(msg, **_keys(result(raw, "", changed, before, after, outputs=outputs, failures=found)))

    def wait_for_end(self, identifier: str, changes: int = 0) -> dict[str, Any]:
        """Wait until the execution has ended, or is in a state of O(success_states), after so many changes."""
        raw = self.executions.wait(
            identifier, self.left(), lambda it: changes_of(it) > changes and has_ended(it, self.success)
        )
        if raw is None:
            raise Failure(
                f"Execution {identifier} does not exist any more: it was deleted.",
                **_keys(result({}, "", True, {}, {})),
            )
        return raw

    def start(self) -> dict[str, Any]:
        namespace, flow = self.params["namespace"], self.params["flow"]
        if self.params["once"]:
            earlier = self.earlier(namespace, flow)
            if earlier is not None:
                return earlier
        parts = self.parts()
        revision, date = self.params["revision"], self.params["schedule_date"]
        after: dict[str, Any] = {
            "flow": f"{namespace}/{flow}",
            "revision": revision,
            "labels": self.labels,
            # The names alone, since a value may be a secret.
            "inputs": sorted(part.name for part in parts),
        }
        if date is not None:
            after["schedule_date"] = date
        if self.check:
            self.refuse(self.executions.validate(namespace, flow, parts, self.labels, revision))
            planned = {"namespace": namespace, "flowId": flow, "flowRevision": revision}
            return result(planned, f"Flow {namespace}/{flow} would be started", True, {}, after)
        if self.executions.unknown(namespace, flow, parts, revision):
            # The server may know of inputs that the flow only refers to.
            self.refuse(self.executions.validate(namespace, flow, parts, self.labels, revision))
        raw = self.executions.start(namespace, flow, parts, self.labels, revision, date)
        if not self.params["wait"]:
            return result(raw, f"{named(raw)} was started", True, {}, after)
        # Only the answer to a start has the address.
        ended = self.wait_for_end(str(raw["id"]))
        return self.finish({**ended, "url": ended.get("url") or raw.get("url")}, True, {}, after)

    def refuse(self, problems: Sequence[str]) -> None:
        """End the run where the flow cannot run with the inputs."""
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems)
            name = f"{self.params['namespace']}/{self.params['flow']}"
            raise Failure(
                f"Flow {name} cannot run with these inputs:\n{listed}", **_keys(result({}, "", False, {}, {}))
            )

    def earlier(self, namespace: str, flow: str) -> dict[str, Any] | None:
        """Return the result for an execution that carries the labels already, if there is one."""
        found = self.executions.search(Query(namespace, flow, labels=self.labels))
        same = [raw for raw in found if state_of(raw) not in UNSUCCESSFUL]
        if not same:
            return None
        raw = self.existing(str(same[0]["id"]))
        if self.params["wait"] and not self.check and not has_ended(raw, self.success):
            raw = self.wait_for_end(str(raw["id"]))
        if has_ended(raw, self.success):
            return self.finish(raw, False, {}, {})
        return result(raw, f"{named(raw)} carries these labels already, and is {state_of(raw)}", False, {}, {})

    def existing(self, identifier: str) -> dict[str, Any]:
        raw = self.executions.get(identifier)
        if raw is None:
            raise Failure(f"Execution {identifier} does not exist.", **_keys(result({}, "", False, {}, {})))
        return raw

    def act(self) -> dict[str, Any]:
        """Kill, pause, resume or restart."""
        raw = self.existing(self.params["id"])
        before = state_of(raw)
        plan = plan_action(self.state, before)
        shown = {"state": before}
        if plan.problem:
            raise Failure(
                f"Could not bring execution {raw['id']} to state={self.state}: {plan.problem}.",
                **_keys(result(raw, "", False, shown, shown)),
            )
        if plan.action is None:
            return result(raw, f"{named(raw)} is {before}: nothing to do", False, shown, shown)
        after = {"state": plan.reached}
        parts = self.parts() if self.state == "resumed" else None
        if self.check:
            return result(raw, f"{named(raw)} would be {self.state}", True, shown, after)
        changes = changes_of(raw)
        self.executions.act(str(raw["id"]), plan.action, parts=parts)
        if self.state in ("killed", "paused"):
            return self.finish_stopping(raw, changes, shown, after)
        if self.params["wait"]:
            return self.finish(self.wait_for_end(str(raw["id"]), changes), True, shown, after)
        fresh = self.executions.get(str(raw["id"])) or raw
        return result(fresh, f"{named(fresh)} was {self.state}", True, shown, after)

    def finish_stopping(
        self, raw: dict[str, Any], changes: int, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Wait until a killed execution has ended, or a paused one is paused or has ended before that."""
        seconds = self.left() if self.params["wait"] else 0
        also = ["PAUSED"] if self.state == "paused" else []
        fresh = (
            self.executions.wait(str(raw["id"]), seconds, lambda it: changes_of(it) > changes and has_ended(it, also))
            or raw
        )
        if self.params["wait"] and not has_ended(fresh, also):
            seconds = self.params["wait_timeout"]
            text = f"{named(fresh)} is still {state_of(fresh)}, {seconds} seconds after it was to be {self.state}."
            raise Failure(text, **_keys(result(fresh, "", True, before, after)))
        return result(fresh, f"{named(fresh)} was {self.state}", True, before, after)

    def replay(self) -> dict[str, Any]:
        raw = self.existing(self.params["id"])
        parts = self.parts()
        if parts and not self.executions.client.server_info().has_filters:
            raise Failure(
                f"{named(raw)} cannot be replayed with other inputs before Kestra 1.0. Start its flow instead.",
                **_keys(result(raw, "", False, {}, {})),
            )
        params = {"taskRunId": self.params["task_run"], "revision": self.params["revision"]}
        after = {"flow": f"{raw['namespace']}/{raw['flowId']}", "replay_of": raw["id"]}
        if self.check:
            planned = {"namespace": raw["namespace"], "flowId": raw["flowId"]}
            return result(planned, f"{named(raw)} would be replayed", True, {}, after)
        fresh = self.executions.act(
            str(raw["id"]),
            "replay-with-inputs" if parts else "replay",
            parts=parts or None,
            params={key: value for key, value in params.items() if value is not None},
        )
        if fresh is None or fresh.get("id") in (None, raw["id"]):
            raise Failure(f"{named(raw)} was replayed, but the server does not report the new execution.", changed=True)
        if not self.params["wait"]:
            return result(fresh, f"{named(fresh)} was started, a replay of {raw['id']}", True, {}, after)
        ended = self.wait_for_end(str(fresh["id"]))
        return self.finish({**ended, "url": ended.get("url") or fresh.get("url")}, True, {}, after)

    def label(self) -> dict[str, Any]:
        raw = self.existing(self.params["id"])
        now = labels_of(raw, system=False)
        wanted = now | self.labels
        before, after = {"labels": now}, {"labels": wanted}
        if wanted == now:
            return result(raw, f"{named(raw)} has these labels", False, before, before)
        if state_of(raw) not in ENDED:
            raise Failure(
                f"Could not label execution {raw['id']}: it is {state_of(raw)}, and only an ended execution takes "
                "labels. Give them with state=started.",
                **_keys(result(raw, "", False, before, before)),
            )
        if not self.check:
            self.executions.set_labels(str(raw["id"]), wanted)
            fresh = self.executions.wait(str(raw["id"]), self.left(), lambda it: labels_of(it, system=False) == wanted)
            raw = fresh or raw
        return result({**raw, "labels": {**labels_of(raw), **wanted}}, f"{named(raw)} was labeled", True, before, after)

    def remove(self) -> dict[str, Any]:
        identifier = self.params["id"]
        raw = self.executions.get(identifier)
        if raw is None:
            return result({}, f"Execution {identifier} does not exist", False, {}, {})
        if not self.check:
            self.executions.delete(identifier)
        return result(raw, f"{named(raw)} was deleted", True, {"state": state_of(raw)}, {})

    def run(self) -> dict[str, Any]:
        if self.state == "started":
            return self.start()
        if self.state == "replayed":
            return self.replay()
        if self.state == "labeled":
            return self.label()
        if self.state == "absent":
            return self.remove()
        return self.act()


def _keys(keys: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a result for a Failure, which brings its own message."""
    return {key: value for key, value in keys.items() if key != "msg"}


def problem_in(params: Mapping[str, Any], inputs: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the options, beyond what Ansible finds; C(inputs) are all of them."""
    state = params["state"]
    if params["wait_timeout"] < 0:
        return f"wait_timeout is {params['wait_timeout']}; it is a number of seconds from 0"
    if params["log_lines"] < 0:
        return f"log_lines is {params['log_lines']}; it is a number from 0"
    for key, value in params["labels"].items():
        if str(key).startswith(SYSTEM_PREFIX):
            return f"labels has {key}; labels that begin with {SYSTEM_PREFIX} are Kestra's own"
        if value is None or not label_text(value).strip():
            return f"the label {key} is empty"
        if state == "started" and ":" in str(key):
            return f"labels has {key}; Kestra ends the key of a label at the first colon"
    if params["once"] and (state != "started" or not params["labels"]):
        return "once is for state=started, and identifies executions by labels: set labels"
    if (inputs or params["files"]) and state not in WITH_INPUTS:
        return f"inputs and files are for state={', '.join(WITH_INPUTS)}"
    if state == "labeled" and not params["labels"]:
        return "state=labeled needs labels"
    if params["schedule_date"] is not None:
        try:
            moment(params["schedule_date"])
        except ValueError as error:
            return f"schedule_date is not an ISO 8601 date: {error}"
    return None
