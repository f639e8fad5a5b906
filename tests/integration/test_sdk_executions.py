"""Kestra's official Python SDK reads what the test server says of executions, logs, outputs and triggers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .executions import GREETING, NIGHTLY, execution_in, fresh_namespace, state_of, wait_for
from .kestra import Kestra, wait_until
from .sdk import TENANT, ApiException, client, where
from .test_kestra_server import flow

# After .sdk, which keeps the SDK's warnings away.
import kestrapy  # isort: skip
from kestrapy.models.execution_repository_interface_flow_filter import (  # isort: skip
    ExecutionRepositoryInterfaceFlowFilter,
)
from kestrapy.models.label import Label  # isort: skip
from kestrapy.models.state import State  # isort: skip


@pytest.fixture(autouse=True)
def getters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the SDK's model of a state what it asks for a second time, under the names of Java's getters.

    The engine's own class has no such fields in JSON, so that no server satisfies the model.
    """
    plain = State.from_dict

    def from_dict(state: dict[str, Any]) -> State | None:
        start = state["startDate"]
        more = {
            "getDuration": state.get("duration", "PT0S"),
            "getStartDate": start,
            "getEndDate": state.get("endDate", start),
        }
        return plain({**state, **more})

    monkeypatch.setattr(State, "from_dict", staticmethod(from_dict))


@pytest.fixture
def namespace() -> str:
    """A namespace of this test's own."""
    return fresh_namespace()


@pytest.fixture
def sdk(kestra: Kestra) -> kestrapy.KestraClient:
    return client(kestra)


def test_start_read_and_search(kestra: Kestra, sdk: kestrapy.KestraClient, namespace: str, tmp_path: Path) -> None:
    kestra.save_flow(GREETING.format(namespace=namespace))
    checked = sdk.executions.validate_new_execution_inputs(namespace, "greeting", TENANT, inputs={"count": "many"})
    by_name = {entry["input"]["id"]: entry for entry in checked["inputs"]}
    assert by_name["count"]["errors"][0]["message"] and by_name["who"]["errors"] == []
    assert by_name["who"]["value"] == "nobody"

    inputs = {"who": "Ada", "count": 2, "letter": ("letter.txt", b"Dear Ada")}
    created = sdk.executions.create_execution(TENANT, namespace, "greeting", labels=["a:b"], inputs=inputs)
    assert created.url
    wait_for(kestra, created.id, "SUCCESS")
    execution = sdk.executions.execution(created.id, TENANT)
    assert [run.task_id for run in execution.task_run_list] == ["text"]
    assert execution.metadata.attempt_number == 1

    outputs = sdk.outputs.execution_outputs(created.id, TENANT)
    assert outputs == {"greeting": "Dear Ada 2"}
    (information,) = sdk.outputs.task_outputs_information(created.id, TENANT)
    assert information.task_id == "text"
    assert sdk.outputs.task_run_outputs(created.id, information.task_run_id, TENANT) == {"value": "Dear Ada 2"}

    uri = execution.inputs["letter"]
    assert sdk.executions.download_file_from_execution(created.id, uri, TENANT) == b"Dear Ada"
    assert sdk.executions.file_metadatas_from_execution(created.id, uri, TENANT).size == len(b"Dear Ada")

    found = sdk.executions.search_executions(TENANT, filters=[where("namespace", "EQUALS", namespace)])
    assert [entry["id"] for entry in found["results"]] == [created.id]
    assert sdk.executions.search_executions_by_flow_id(TENANT, namespace, "greeting")["total"] == 1
    asked = [ExecutionRepositoryInterfaceFlowFilter(namespace=namespace, id="greeting")]
    (latest,) = sdk.executions.latest_executions(TENANT, asked)
    assert (latest.id, latest.status.value) == (created.id, "SUCCESS")

    lines = sdk.logs.list_logs_from_execution(created.id, TENANT, min_level="DEBUG")
    assert "Dear Ada 2" in [line.message for line in lines]
    assert "Dear Ada 2" in sdk.logs.download_logs_from_execution(created.id, TENANT)
    page = sdk.logs.search_logs(TENANT, filters=[where("namespace", "EQUALS", namespace)])
    assert page.type.value == "OFFSET" and page.total == len(page.results) > 0
    sdk.logs.delete_logs_from_execution(created.id, TENANT)
    assert sdk.logs.list_logs_from_execution(created.id, TENANT) == []

    sdk.executions.delete_execution(created.id, TENANT)
    with pytest.raises(ApiException):
        sdk.executions.execution(created.id, TENANT)


def test_actions(kestra: Kestra, sdk: kestrapy.KestraClient, namespace: str) -> None:
    running = execution_in(kestra, namespace, "RUNNING")
    assert sdk.executions.pause_execution(running, TENANT).id == running
    wait_for(kestra, running, "PAUSED")
    sdk.executions.resume_execution(running, TENANT)
    wait_for(kestra, running, "RUNNING")
    assert sdk.executions.force_run_execution(running, TENANT).id == running
    assert sdk.executions.kill_execution(running, TENANT).id == running
    wait_for(kestra, running, "KILLED")
    with pytest.raises(ApiException):
        sdk.executions.kill_execution(running, TENANT, is_on_kill_cascade=False)

    paused = execution_in(kestra, namespace, "PAUSED")
    sdk.executions.resume_execution(paused, TENANT, inputs={"why": "because"})
    wait_for(kestra, paused, "SUCCESS")

    failed = execution_in(kestra, namespace, "FAILED")
    assert sdk.executions.restart_execution(failed, TENANT).id == failed
    wait_until(
        "it failed again",
        lambda: (
            state_of(kestra, failed) == "FAILED"
            and sdk.executions.execution(failed, TENANT).metadata.attempt_number == 2
        ),
        60,
    )
    changed = sdk.executions.update_execution_status(failed, "WARNING", TENANT)
    assert changed.id == failed
    wait_for(kestra, failed, "WARNING")

    done = execution_in(kestra, namespace, "SUCCESS")
    again = sdk.executions.replay_execution(done, TENANT)
    assert (again.id != done, again.original_id) == (True, done)
    wait_for(kestra, again.id, "SUCCESS")
    other = sdk.executions.replay_execution_with_inputs(done, TENANT, inputs={"who": "Eve"})
    wait_for(kestra, other.id, "SUCCESS")
    assert sdk.outputs.execution_outputs(other.id, TENANT) == {"greeting": "Eve 1"}
    # The SDK sends a form without parts here, and every input has its default.
    same = sdk.executions.replay_execution_with_inputs(other.id, TENANT)
    wait_for(kestra, same.id, "SUCCESS")
    labeled = sdk.executions.set_labels_on_terminated_execution(done, TENANT, [Label(key="c", value="d")])
    assert labeled.id == done
    wait_until(
        "it has the label",
        lambda: "c" in [label.key for label in sdk.executions.execution(done, TENANT).labels],
        30,
    )


def test_triggers(kestra: Kestra, sdk: kestrapy.KestraClient, namespace: str) -> None:
    kestra.save_flow(NIGHTLY.format(namespace=namespace))
    search = [where("namespace", "EQUALS", namespace)]
    wait_until("the scheduler knows it", lambda: sdk.triggers.search_triggers(TENANT, filters=search)["total"] == 1, 60)
    (entry,) = sdk.triggers.search_triggers(TENANT, filters=search)["results"]
    shown = kestrapy.ApiTriggerAndState.from_dict(entry)
    assert shown.state.trigger_id == "every-night" and shown.state.kind.value == "SCHEDULE"
    (state,) = sdk.triggers.search_triggers_for_flow(TENANT, namespace, "nightly")["results"]
    assert kestrapy.ApiTriggerState.from_dict(state).disabled is False

    name = {"namespace": namespace, "flowId": "nightly", "triggerId": "every-night"}
    assert sdk.triggers.disable_trigger_by_id(TENANT, {**name, "disabled": True})["disabled"] is True
    week = {"start": "2026-11-01T00:00:00Z", "end": "2026-11-07T00:00:00Z", "labels": [{"key": "a", "value": "b"}]}
    created = sdk.triggers.create_backfill(TENANT, {**name, "backfill": week})
    backfill = kestrapy.ApiTriggerState.from_dict(created).backfill
    assert backfill.start.isoformat() == "2026-11-01T00:00:00+00:00" and backfill.labels[0].key == "a"
    with pytest.raises(ApiException):
        sdk.triggers.create_backfill(TENANT, {**name, "backfill": week})
    assert sdk.triggers.pause_backfill(TENANT, name)["backfill"]["paused"] is True
    assert sdk.triggers.unpause_backfill(TENANT, name)["backfill"]["paused"] is False
    assert "backfill" not in sdk.triggers.delete_backfill(TENANT, name)
    with pytest.raises(ApiException):
        sdk.triggers.unlock_trigger(TENANT, namespace, "nightly", "every-night")
    assert sdk.triggers.restart_trigger(TENANT, namespace, "nightly", "every-night")["triggerId"] == "every-night"
    sdk.triggers.delete_trigger(TENANT, namespace, "nightly", "every-night")
    assert sdk.triggers.search_triggers(TENANT, filters=search)["total"] == 0


def test_webhooks(kestra: Kestra, namespace: str) -> None:
    trigger = "{id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: sdk-key}"
    kestra.save_flow(flow("hooked", namespace, more=f"triggers: [{trigger}]\n"))
    called = client(kestra).executions.trigger_execution_by_get_webhook(TENANT, namespace, "hooked", "sdk-key")
    assert (called.namespace, called.flow_id) == (namespace, "hooked")
