"""Somebody refuses what the operator writes of a run: an admission policy, a quota, a server that is too busy.

What is refused is told where users look, hurts no other run and uses up no retries, and the run goes on when the
refusal ends, with nothing sent twice.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.cluster import operator_fixture as fixture
from tests.faults import scenario
from tests.faults.counter import Counter
from tests.faults.proxy import Fate, Proxy, Refusal, Write
from tools.rest import Api, ApiError
from tools.waiting import wait_for
from vela_workflow.api import constants

JSON = dict[str, Any]

POLICIES = "admissionregistration.k8s.io/v1"
QUOTA = "few"

STORM = 8.0
"""Seconds for which every second write is refused."""

MANY = 50
"""How many runs are under way in the storm."""

BUSY = (Refusal(429, "TooManyRequests", retry_after=1), Refusal(503, "ServiceUnavailable", retry_after=1))

WRITES = 40
"""Writes that a run of the scenario may make in the storm; it makes ten when all is quiet."""


@contextlib.contextmanager
def statuses_refused(admin: Api, namespace: str, name: str, probe: Callable[[], object]) -> Iterator[None]:
    """Let a policy refuse the statuses of the runs with ``name`` in theirs, and so what ``probe`` writes."""
    policy = fixture.unique("refuse")
    rule = {
        "operations": ["UPDATE"],
        "apiGroups": [constants.WORKFLOW_RUN.api_version.partition("/")[0]],
        "apiVersions": ["*"],
        "resources": ["workflowruns/status"],
    }
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": f"!request.name.contains('{name}')", "message": "not today"}],
    }
    place = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    binding = {"policyName": policy, "validationActions": ["Deny"], "matchResources": place}
    kinds = {"ValidatingAdmissionPolicy": spec, "ValidatingAdmissionPolicyBinding": binding}
    for kind, content in kinds.items():
        admin.apply({"apiVersion": POLICIES, "kind": kind, "metadata": {"name": policy}, "spec": content})
    try:
        wait_for(lambda: is_refused(probe), what="a policy that is in force")
        yield
    finally:
        for kind in kinds:
            admin.delete(POLICIES, kind, policy)
        wait_for(lambda: not is_refused(probe), what="the end of the policy")


@contextlib.contextmanager
def no_room(admin: Api, runs: fixture.Runs) -> Iterator[None]:
    """Let a quota refuse every new ConfigMap."""
    spec = {"hard": {"count/configmaps": "0"}}
    admin.apply(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": QUOTA}, "spec": spec}, runs.namespace
    )
    try:
        wait_for(lambda: is_refused(lambda: runs.config_map(fixture.unique("probe"), {})), what="a quota in force")
        yield
    finally:
        admin.delete("v1", "ResourceQuota", QUOTA, runs.namespace)


def is_refused(write: Callable[[], object]) -> bool:
    """Whether a write is refused."""
    try:
        write()
    except ApiError as error:
        return error.code in (403, 422)
    return False


def warned(run: fixture.Run) -> bool:
    """Whether an Event tells of the quota."""
    return any(event["type"] == "Warning" and f"exceeded quota: {QUOTA}" in event["message"] for event in run.events())


def verdict(status: JSON) -> JSON:
    """The condition ``WorkflowRun``, empty when there is none."""
    return next((one for one in status.get("conditions") or () if one["type"] == "WorkflowRun"), {})


def test_a_status_that_is_refused_hurts_its_own_run_only(
    runs: fixture.Runs,
    operator: fixture.OperatorProcess,
    proxy: Proxy,
    admin: Api,
    counter: Counter,
) -> None:
    proxy.follow()
    name = fixture.unique("refused")
    ended = runs.start([{"name": "a", "type": "echo"}], name=f"{name}-probe")
    ended.ended("succeeded")
    with statuses_refused(admin, runs.namespace, name, lambda: ended.patch_status({"endTime": None})):
        run = runs.start(scenario.steps(name, counter), name=name)
        others = [scenario.start(runs, counter) for _ in range(5)]
        for one in others:
            one.open_gate()
        for one in others:
            one.run.ended("succeeded", timeout=5)
        wait_for(lambda: f"'{name}') failed" in operator.output(), what="a word in the log")
        context = runs.get("ConfigMap", constants.CONTEXT_NAME.format(run=name))
        assert context is not None
        assert "failures" not in context["data"][constants.CONTEXT_STATE]  # it is not the step that has failed
        assert counter.deliveries(f"/{name}") == []
        runs.config_map(f"{name}-gate", {"ready": "yes"})
    run.ended("succeeded")
    assert len(counter.deliveries(f"/{name}")) == 1


def test_a_context_that_is_refused_is_told_and_its_run_goes_on_when_there_is_room(
    runs: fixture.Runs, proxy: Proxy, admin: Api, counter: Counter
) -> None:
    proxy.follow()
    name = fixture.unique("quota")
    post: JSON = {"name": "post", "type": "post", "properties": {"url": f"{counter.url}/{name}"}}
    gate = {"name": f"{name}-gate"}
    runs.config_map(gate["name"], {"ready": "no"})
    with no_room(admin, runs):
        refused = [
            runs.start([post], name=f"{name}-post"),
            runs.start([{"name": "hold", "type": "await", "properties": gate}], name=f"{name}-wait"),
            runs.start([{"name": "a", "type": "echo"}, {"name": "b", "type": "suspend"}], name=f"{name}-suspend"),
        ]
        for run in refused:
            status = run.until(lambda body: verdict(body.get("status") or {}), "a condition")
            condition = verdict(status)
            assert (condition["status"], condition["reason"]) == ("False", "ReconcileError")
            assert f"exceeded quota: {QUOTA}" in condition["message"]
            assert "contextBackend" not in status
            # Not more is told than is kept: a process that begins now would know nothing of it.
            assert {one["phase"] for one in fixture.steps_of(status)} <= {"pending"}
            wait_for(functools.partial(warned, run), what="an Event")
        assert counter.deliveries(f"/{name}") == []
    runs.config_map(gate["name"], {"ready": "yes"})
    refused[2].until_step("b", "suspending")
    refused[2].patch_status({"suspend": False})
    for run in refused:
        assert verdict(run.ended("succeeded"))["status"] == "True"
        told_of = [body for body in run.versions if verdict(body.get("status") or {}).get("status") == "False"]
        assert len({body["status"]["message"] for body in told_of if body["status"]["message"]}) == 1
    assert len(counter.deliveries(f"/{name}")) == 1


def test_many_runs_outlive_a_server_that_is_too_busy(runs: fixture.Runs, proxy: Proxy, counter: Counter) -> None:
    over = time.monotonic() + STORM

    def every_second(write: Write) -> Fate | Refusal:
        if write.number % 2 or time.monotonic() > over:
            return Fate.PASS
        return BUSY[write.number // 2 % 2]

    proxy.follow(every_second)
    many = [scenario.start(runs, counter) for _ in range(MANY)]
    for one in many:
        one.open_gate()
    for one in many:
        assert fixture.brief(one.run.ended("succeeded", timeout=60)) == dict.fromkeys(scenario.STEPS, "succeeded")
        assert one.outside() == scenario.DONE
    assert len(proxy.writes) < MANY * WRITES
