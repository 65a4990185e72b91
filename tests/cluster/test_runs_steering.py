"""What users ask of a run: suspend, resume, terminate, restart; by plain edits of the status, and by annotation."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import operator_fixture as fixture
from tools.kubectl import Kubectl
from tools.rest import Api
from vela_workflow.engine import commands

JSON = dict[str, Any]

WAITING = """
- {name: a, type: echo}
- {name: b, type: await, properties: {name: %(object)s}}
- {name: c, type: echo}
"""


def edit(kubectl: Kubectl, run: fixture.Run, status: JSON) -> None:
    """What the documentation tells users to do without our command line."""
    text = kubectl("patch", "workflowrun", run.name, "-n", run.namespace, "--subresource=status", "--type=merge",
                   "-p", json.dumps({"status": status}), "-o", "json")  # fmt: skip
    run.touched(json.loads(text))


def ids(status: JSON) -> dict[str, str]:
    return {entry["name"]: entry["id"] for entry in fixture.steps_of(status)}


def test_a_suspend_step_holds_the_run_until_somebody_resumes_it(runs: fixture.Runs, kubectl: Kubectl) -> None:
    run = runs.start("[{name: a, type: suspend, properties: {message: please look}}, {name: b, type: echo}]")
    status = run.until_phase("suspending")
    assert status["suspend"] is True
    assert fixture.brief(status) == {"a": "suspending/Suspend"}
    assert fixture.step(status, "a")["message"] == "please look"
    edit(kubectl, run, {"suspend": False})
    assert fixture.brief(run.ended("succeeded")) == {"a": "succeeded", "b": "succeeded"}


def test_without_a_message_a_suspend_names_its_field(runs: fixture.Runs) -> None:
    run = runs.start("[{name: a, type: suspend}]")
    assert run.until_step("a", "suspending")["message"] == "Suspended by field suspend"
    assert run.status["message"] == 'step "a": Suspended by field suspend'


def test_a_resume_ends_a_timed_suspend_at_once(runs: fixture.Runs, kubectl: Kubectl) -> None:
    run = runs.start("[{name: a, type: suspend, properties: {duration: 1h}}]")
    run.until_step("a", "suspending", "Suspend")
    edit(kubectl, run, {"suspend": False})
    run.ended("succeeded")


def test_the_edit_of_a_go_client_resumes(runs: fixture.Runs) -> None:
    run = runs.start("[{name: a, type: suspend}, {name: b, type: echo}]")
    status = run.until_phase("suspending")
    steps = [{**entry, "phase": "running"} for entry in status["steps"]]
    run.patch_status({"suspend": False, "steps": steps})
    run.ended("succeeded")


def test_an_approval_lets_the_rest_of_the_template_go_on(runs: fixture.Runs) -> None:
    name = fixture.unique("approved")
    run = runs.start([{"name": "a", "type": "approval", "properties": {"what": name}}])
    assert run.until_step("a", "suspending")["message"] == f"approve the roll-out of {name}"
    assert runs.get("ConfigMap", name) is None
    run.patch_status({"suspend": False})
    run.ended("succeeded")
    found = runs.get("ConfigMap", name)
    assert found is not None
    assert found["data"] == {"approved": "yes"}


def test_two_suspends_in_one_template_take_two_resumes(runs: fixture.Runs) -> None:
    run = runs.start("[{name: a, type: suspend-twice}]")
    assert run.until_step("a", "suspending")["message"] == "first"
    run.patch_status({"suspend": False})
    run.until(lambda body: fixture.step(body["status"], "a").get("message") == "second", "the second suspend")
    run.patch_status({"suspend": False})
    run.ended("succeeded")


def test_a_sub_step_suspends_its_run_and_not_its_siblings(runs: fixture.Runs) -> None:
    run = runs.start("""
    - name: group
      type: step-group
      subSteps: [{name: a, type: suspend}, {name: b, type: echo}]
    - {name: c, type: echo}
    """)
    status = run.until(lambda body: fixture.step(body.get("status") or {}, "b").get("phase") == "succeeded")
    assert fixture.brief(status) == {"group": "suspending", "a": "suspending/Suspend", "b": "succeeded"}
    assert status["status"] == "suspending"
    run.patch_status({"suspend": False})
    assert set(fixture.brief(run.ended("succeeded")).values()) == {"succeeded"}


def test_a_user_suspends_and_resumes_a_running_run(runs: fixture.Runs) -> None:
    name = fixture.unique("later")
    run = runs.start(WAITING % {"object": name})
    run.until_step("b", "running", "Wait")
    run.patch_status(commands.suspend(run.status, run.name).patch)
    assert fixture.brief(run.until_phase("suspending"))["b"] == "suspending/Wait"
    runs.config_map(name, {"ready": "yes"})
    held = runs.start("[{name: a, type: echo}]")
    held.ended("succeeded")  # the operator is at work all the time
    assert run.status["status"] == "suspending"
    assert "c" not in fixture.brief(run.status)
    run.patch_status(commands.resume(run.status, run.name).patch)
    assert fixture.brief(run.ended("succeeded")) == {"a": "succeeded", "b": "succeeded", "c": "succeeded"}


def test_suspend_by_a_bare_flag(runs: fixture.Runs) -> None:
    name = fixture.unique("later")
    run = runs.start(WAITING % {"object": name})
    run.until_step("b", "running", "Wait")
    run.patch_status({"suspend": True})
    assert fixture.brief(run.until_phase("suspending")) == {"a": "succeeded", "b": "suspending/Wait"}
    runs.config_map(name, {"ready": "yes"})
    run.patch_status({"suspend": False})
    run.ended("succeeded")


def test_what_is_asked_before_the_first_look_holds(
    runs: fixture.Runs, operator: fixture.OperatorProcess, kubectl: Kubectl
) -> None:
    names = [fixture.unique("early"), fixture.unique("early")]
    operator.stop()
    try:
        suspended, terminated = (
            runs.start([{"name": "a", "type": "touch", "properties": {"name": name}}]) for name in names
        )
        edit(kubectl, suspended, {"suspend": True})
        edit(kubectl, terminated, {"terminated": True})
    finally:
        operator.start()
    suspended.until_phase("suspending")
    terminated.ended("terminated")
    assert [runs.get("ConfigMap", name) for name in names] == [None, None]
    edit(kubectl, suspended, {"suspend": False})
    suspended.ended("succeeded")


def test_terminate_ends_what_runs_and_lets_the_clean_up_run(runs: fixture.Runs, kubectl: Kubectl) -> None:
    run = runs.start("""
    - {name: a, type: await, properties: {name: never}, outputs: [{name: o, valueFrom: data}]}
    - {name: b, type: echo, inputs: [{from: o, parameterKey: value}]}
    - {name: c, type: echo, if: always}
    - {name: d, type: echo, if: status.a.terminate}
    """)
    run.until_step("a", "running", "Wait")
    edit(kubectl, run, {"terminated": True})
    status = run.ended("terminated")
    expected = {"a": "failed/Terminate", "b": "skipped/Skip", "c": "succeeded", "d": "succeeded"}
    assert fixture.brief(status) == expected


def test_terminate_by_a_bare_flag_after_another_step_has_failed(runs: fixture.Runs, kubectl: Kubectl) -> None:
    steps = """
    - {name: a, type: fail}
    - {name: b, type: await, properties: {name: never}}
    """
    run = runs.start(steps, mode={"steps": "DAG"})
    run.until(lambda body: fixture.brief(body.get("status") or {}) == {"a": "failed/Action", "b": "running/Wait"})
    edit(kubectl, run, {"terminated": True})
    assert fixture.brief(run.ended("terminated")) == {"a": "failed/Action", "b": "failed/Terminate"}


def test_terminate_ends_a_suspended_run_and_its_groups(runs: fixture.Runs) -> None:
    run = runs.start("""
    - name: group
      type: step-group
      subSteps: [{name: a, type: suspend}, {name: b, type: await, properties: {name: never}}, {name: c, type: fail}]
    - {name: d, type: echo}
    """)
    run.until_phase("suspending")
    run.until_step("b", "running", "Wait")
    run.patch_status(commands.terminate(run.status, run.name).patch)
    assert fixture.brief(run.ended("terminated")) == {
        "group": "failed/Terminate",
        "a": "failed/Terminate",
        "b": "failed/Terminate",
        "c": "failed/Action",
        "d": "skipped/Skip",
    }


def test_restart_from_a_failed_step_keeps_what_came_before(runs: fixture.Runs) -> None:
    name = fixture.unique("fix")
    run = runs.start([
        {"name": "a", "type": "echo", "properties": {"value": 1}, "outputs": [{"name": "o", "valueFrom": "result"}]},
        {"name": "b", "type": "need", "properties": {"name": name}, "outputs": [{"name": "p", "valueFrom": "data.k"}]},
        {"name": "c", "type": "echo", "inputs": [{"from": "p", "parameterKey": "value"}]},
    ])  # fmt: skip
    before = run.ended("failed")
    assert fixture.brief(before) == {"a": "succeeded", "b": "failed/Action", "c": "skipped/Skip"}
    runs.config_map(name, {"k": "v"})
    run.restart("b")
    after = run.ended("succeeded")
    assert fixture.brief(after) == {"a": "succeeded", "b": "succeeded", "c": "succeeded"}
    assert ids(after)["a"] == ids(before)["a"]
    assert ids(after)["b"] != ids(before)["b"]
    assert run.variables() == {"o": 1, "p": "v"}
    assert "workflowrun.oam.dev/restart" not in (run.body["metadata"].get("annotations") or {})


def test_restart_by_an_edit_of_the_status(runs: fixture.Runs, kubectl: Kubectl) -> None:
    name = fixture.unique("fix")
    run = runs.start([
        {"name": "a", "type": "echo", "properties": {"value": 1}, "outputs": [{"name": "o", "valueFrom": "result"}]},
        {"name": "b", "type": "need", "properties": {"name": name}},
    ])  # fmt: skip
    before = run.ended("failed")
    runs.config_map(name, {"k": "v"})
    steps = [entry for entry in before["steps"] if entry["name"] == "a"]
    edit(kubectl, run, {"steps": steps, "finished": False, "terminated": False, "suspend": False, "endTime": None})
    after = run.ended("succeeded")
    assert fixture.brief(after) == {"a": "succeeded", "b": "succeeded"}
    assert ids(after)["b"] != ids(before)["b"]


def test_restart_of_a_whole_run(runs: fixture.Runs) -> None:
    run = runs.start("[{name: a, type: echo, properties: {value: 1}, outputs: [{name: o, valueFrom: result}]}]")
    before = run.ended("succeeded")
    run.restart("*")
    after = run.ended("succeeded")
    assert ids(after)["a"] != ids(before)["a"]
    assert run.variables() == {"o": 1}


EMPTIED = {
    "null": lambda body: {**body, "status": None},
    "an empty object": lambda body: {**body, "status": {}},
    "that of a new run": lambda body: {
        **body,
        "status": {"mode": {}, "status": "", "suspend": False, "terminated": False, "finished": False},
    },
}
"""What users write as the status of a run that they want to have carried out again (engine 7.4)."""

REMEMBERED = {
    "with a context": "[{name: a, type: echo, properties: {value: 1}, outputs: [{name: o, valueFrom: result}]}]",
    "without one": "[{name: a, type: echo}]",
}


@pytest.mark.parametrize("emptied", EMPTIED.values(), ids=EMPTIED.keys())
@pytest.mark.parametrize("steps", REMEMBERED.values(), ids=REMEMBERED.keys())
def test_restart_of_a_whole_run_by_any_empty_status(
    runs: fixture.Runs, admin: Api, steps: str, emptied: Callable[[JSON], JSON]
) -> None:
    run = runs.start(steps)
    seen = [ids(run.ended("succeeded"))["a"]]
    for _ in range(2):
        replace_status(admin, run, emptied(run.body))
        seen.append(ids(run.ended("succeeded"))["a"])
    assert len(set(seen)) == 3


def test_a_whole_run_that_waits_is_restarted_by_an_empty_status(runs: fixture.Runs, admin: Api) -> None:
    name = fixture.unique("later")
    run = runs.start(WAITING % {"object": name})
    run.until_step("b", "running", "Wait")
    before = ids(run.status)
    replace_status(admin, run, {**run.body, "status": None})
    run.until_step("b", "running", "Wait")
    assert not set(ids(run.status).values()) & set(before.values())
    runs.config_map(name, {"ready": "yes"})
    run.ended("succeeded")


def replace_status(admin: Api, run: fixture.Run, body: JSON) -> None:
    """Write a status as it is, empty or not."""
    path = admin.path(body["apiVersion"], body["kind"], run.namespace, run.name)
    run.touched(admin.request("PUT", f"{path}/status", body))


def test_restart_of_a_step_that_succeeded(runs: fixture.Runs) -> None:
    name = fixture.unique("again")
    run = runs.start([{"name": "a", "type": "touch", "properties": {"name": name}}, {"name": "b", "type": "echo"}])
    before = run.ended("succeeded")
    runs.api.delete("v1", "ConfigMap", name, run.namespace)
    run.restart("a")
    after = run.ended("succeeded")
    assert ids(after)["a"] != ids(before)["a"]
    assert runs.get("ConfigMap", name) is not None


def test_restart_of_a_sub_step(runs: fixture.Runs) -> None:
    name = fixture.unique("fix")
    run = runs.start([
        {"name": "group", "type": "step-group", "mode": "StepByStep", "subSteps": [
            {"name": "a", "type": "echo"}, {"name": "b", "type": "need", "properties": {"name": name}},
        ]},
        {"name": "c", "type": "echo"},
    ])  # fmt: skip
    before = run.ended("failed")
    runs.config_map(name, {"k": "v"})
    run.restart("b")
    after = run.ended("succeeded")
    assert set(fixture.brief(after).values()) == {"succeeded"}
    assert ids(after)["a"] == ids(before)["a"]


def test_a_restart_that_makes_no_sense_is_refused_and_told(runs: fixture.Runs, wait_for: Any) -> None:
    run = runs.start("[{name: a, type: echo}]")
    run.ended("succeeded")
    run.ask_restart("nobody")
    run.until(lambda body: not body["metadata"].get("annotations"), "the annotation to go")
    assert run.status["finished"] is True
    wait_for(lambda: [event for event in run.events() if "nobody" in event["message"]], what="an Event about it")
