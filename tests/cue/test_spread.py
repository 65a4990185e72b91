"""Operations that a comprehension makes for several clusters, some of which cannot do theirs."""

from __future__ import annotations

from typing import Any

import pytest
from harness import attempt

from vela_workflow.api.constants import Reason
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.engine import result
from vela_workflow.steps import outcome

SPREAD = """
import (
	"vela/kube"
	"vela/builtin"
)

for cluster in parameter.clusters for name in ["x", "y"] {
	"\\(cluster)-\\(name)": kube.#Apply & {$params: {"cluster": cluster, value: metadata: "name": name}}
}
after: kube.#Read & {$params: value: metadata: name: "later"}
if parameter.fails {
	fail: builtin.#Fail & {$params: message: "all the same"}
}
parameter: {
	clusters: [...string]
	fails: *false | bool
}
"""

LEGACY = """
import "vela/op"

for name in parameter.clusters {
	"\\(name)-x": op.#Apply & {cluster: name, value: metadata: "name": "x"}
}
parameter: {clusters: [...string], ...}
"""

CHAIN = """
import "vela/kube"

step: {
	for i, name in parameter.clusters {
		"\\(i)": kube.#Apply & {
			$params: {
				cluster: name
				value: {
					if i > 0 {
						before: step["\\(i-1)"].$returns.value
					}
				}
			}
		}
	}
}
parameter: {clusters: [...string], ...}
"""

DEAD = cluster_errors.Unavailable("cluster b: cannot reach it")
REFUSED = cluster_errors.Forbidden("cluster b: no rights", after=5.0)
UNKNOWN = cluster_errors.NotJoined("cluster b: no such cluster")
BACK = "the step goes on when the cluster is back"

WAITING = result.Waiting(f"b-x: {DEAD}; {BACK}", outcome.DEAD_CLUSTER_AFTER)


def failed(error: cluster_errors.ApiError, *more: str, place: str = "b-x", after: float = 0.0) -> result.Failed:
    return result.Failed(Reason.EXECUTE, "; ".join([f"{place}: {error}", *more]), retriable=True, after=after)


@pytest.mark.parametrize(
    ("template", "wrong", "carried_out", "expected"),
    [
        pytest.param(SPREAD, {}, "a-x a-y b-x b-y c-x c-y after", result.Succeeded(), id="all-are-there"),
        # The other object for the same cluster is not tried: it would take another time limit.
        pytest.param(SPREAD, {"b-x": DEAD}, "a-x a-y b-x c-x c-y", WAITING, id="one-is-dead"),
        pytest.param(
            SPREAD,
            {"b-x": DEAD, "c-x": DEAD},
            "a-x a-y b-x c-x",
            result.Waiting(f"b-x: {DEAD}; c-x: {DEAD}; {BACK}", outcome.DEAD_CLUSTER_AFTER),
            id="two-are-dead",
        ),
        pytest.param(SPREAD, {"b-x": UNKNOWN}, "a-x a-y b-x c-x c-y", failed(UNKNOWN), id="one-has-not-joined"),
        pytest.param(SPREAD, {"b-x": REFUSED}, "a-x a-y b-x c-x c-y", failed(REFUSED, after=5.0), id="one-refuses"),
        pytest.param(
            SPREAD,
            {"a-x": DEAD, "b-x": REFUSED},
            "a-x b-x c-x c-y",
            failed(REFUSED, f"a-x: {DEAD}", after=5.0),
            id="one-is-dead-and-one-refuses",
        ),
        pytest.param(LEGACY, {"b-x": DEAD}, "a-x b-x c-x", WAITING, id="the-older-form"),
        pytest.param(
            CHAIN, {"step.1": REFUSED}, "step.0 step.1", failed(REFUSED, place="step.1", after=5.0), id="a-chain"
        ),
    ],
)
async def test_what_one_cluster_cannot_do_the_others_do(
    evaluator: Evaluator, template: str, wrong: dict[str, Any], carried_out: str, expected: result.Result
) -> None:
    canned = {"*": {"value": {"metadata": {}}}, **wrong}
    run = await attempt(evaluator, template, parameter={"clusters": ["a", "b", "c"]}, canned=canned)
    assert run.paths == carried_out.split()
    assert run.result == expected


async def test_a_template_fails_its_step_though_a_cluster_is_missed(evaluator: Evaluator) -> None:
    parameter = {"clusters": ["a", "b"], "fails": True}
    run = await attempt(evaluator, SPREAD, parameter=parameter, canned={"*": {"value": {}}, "b-x": DEAD})
    assert run.result == result.Failed(Reason.ACTION, "all the same")
