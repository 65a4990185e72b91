"""A user spoils the context of a run, or takes it away, in mid-run: the run goes on, and nothing is sent twice.

Each run has sent something and waits; then the operator is killed, the context is spoilt, and another operator takes
over. What can still be read holds. Where nobody can tell what was done, the step says so and sends nothing until a user
restarts it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.cluster import operator_fixture as fixture
from tests.faults.counter import Counter
from tests.faults.proxy import Proxy
from tools.rest import Api
from vela_workflow.api import constants

JSON = dict[str, Any]

POST_AND_AWAIT: Final = """
import (
	"vela/http"
	"vela/kube"
	"vela/builtin"
)

request: http.#HTTPPost & {$params: url: parameter.url}
read: kube.#Read & {
	$params: value: {
		apiVersion: "v1"
		kind:       "ConfigMap"
		metadata: name: parameter.gate
	}
}
wait: builtin.#ConditionalWait & {$params: continue: read.$returns.value.data.ready == "yes"}
number: request.$returns.body
parameter: {
	url:  string
	gate: string
}
"""
"""A step that sends a POST, then waits, and gives what the answer was."""


@dataclasses.dataclass(frozen=True)
class Spoilt:
    """A run that waits, and whose context a test spoils."""

    run: fixture.Run
    runs: fixture.Runs
    admin: Api

    @property
    def name(self) -> str:
        """The name of its context."""
        return constants.CONTEXT_NAME.format(run=self.run.name)

    def write(self, key: str, text: str) -> None:
        """Put a text in the place of what is there."""
        self.admin.patch("v1", "ConfigMap", self.name, {"data": {key: text}}, self.run.namespace)

    def change(self, change: Callable[[JSON], object]) -> None:
        """Change the state."""
        state = json.loads(self.run.context()[constants.CONTEXT_STATE])
        change(state)
        self.write(constants.CONTEXT_STATE, json.dumps(state))

    def delete(self, *kinds: str) -> None:
        """Delete parts of the context."""
        for kind in kinds:
            self.admin.delete("v1", kind, self.name, self.run.namespace)

    def lead_astray(self) -> None:
        """Let the status name a ConfigMap of somebody else, which looks as if nothing had been done."""
        data = {constants.CONTEXT_VARS: "{}", constants.CONTEXT_STATE: '{"engine": {}}'}
        self.runs.config_map(self.foreign, data)
        self.run.patch_status({"contextBackend": {"name": self.foreign}})

    @property
    def foreign(self) -> str:
        """The name of that ConfigMap."""
        return f"{self.run.name}-foreign"


def set_all(values: JSON, value: Any) -> None:
    """Put a value in the place of all values."""
    values.update(dict.fromkeys(values, value))


def spoil_steps(state: JSON) -> None:
    """Put rubbish into all that is remembered of the steps."""
    for memory in state["engine"]["steps"].values():
        set_all(memory, [{"a": None}])
    state["engine"].update(known=7, hold="yes", suspend=[], terminated={"a": 1})
    state.update(waiting=3, memos=["x"])


GOES_ON: Final[dict[str, Callable[[Spoilt], object]]] = {
    "nothing is spoilt": lambda _: None,
    "rubbish in all that is remembered of steps": lambda found: found.change(spoil_steps),
    "steps are a list": lambda found: found.change(lambda state: state["engine"].update(steps=[1], known=[])),
    "what the step started with is no text that was packed": lambda found: found.change(
        lambda state: [one.update(started={"step": "%%%"}) for one in state["engine"]["steps"].values()]
    ),
    "the status names no context": lambda found: found.run.patch_status({"contextBackend": None}),
    "the status names somebody else's ConfigMap": Spoilt.lead_astray,
    "the status names a ConfigMap that is not there": lambda found: found.run.patch_status(
        {"contextBackend": {"name": "no-such"}}
    ),
    "the ConfigMap is deleted, the Secret with the answer is there": lambda found: found.delete("ConfigMap"),
}
UNKNOWN: Final[dict[str, Callable[[Spoilt], object]]] = {
    "entries of the journal are numbers": lambda found: (
        found.change(lambda state: set_all(state["journal"], 1)),
        found.delete("Secret"),
    ),
    "the journal is a list": lambda found: (
        found.change(lambda state: state.update(journal=[])),
        found.delete("Secret"),
    ),
    "the state is no JSON": lambda found: (found.write(constants.CONTEXT_STATE, "oops {"), found.delete("Secret")),
    "the state is a list": lambda found: (found.write(constants.CONTEXT_STATE, "[]"), found.delete("Secret")),
    "the state is a number": lambda found: (found.write(constants.CONTEXT_STATE, "5"), found.delete("Secret")),
    "the Secret with the answer is deleted": lambda found: found.delete("Secret"),
    "all of it is deleted": lambda found: found.delete("ConfigMap", "Secret"),
}


def start(runs: fixture.Runs, counter: Counter, admin: Api) -> Spoilt:
    """Start a run whose first step sends a POST and waits, whose second sends one, whose third wants the answer."""
    name = fixture.unique("spoilt")
    first = {"url": f"{counter.url}/{name}/first", "gate": f"{name}-gate"}
    number = [{"name": "number", "valueFrom": "number"}]
    steps: list[JSON] = [
        {"name": "first", "type": "post-and-await", "properties": first, "outputs": number},
        {"name": "then", "type": "post", "properties": {"url": f"{counter.url}/{name}/then"}},
        {
            "name": "end",
            "type": "touch",
            "properties": {"name": f"{name}-end", "data": {}},
            "inputs": [{"from": "number", "parameterKey": "data.number"}],
        },
    ]
    return Spoilt(runs.start(steps, name=name), runs, admin)


def is_over(name: str) -> Callable[[JSON], bool]:
    """Whether a step has succeeded or failed for good."""

    def wanted(body: JSON) -> bool:
        entry = fixture.step(body.get("status") or {}, name)
        return entry.get("phase") == "succeeded" or entry.get("reason") == "Unknown"

    return wanted


@pytest.fixture(scope="module")
def spoilt(
    admin: Api,
    operator: fixture.OperatorProcess,
    recorder: fixture.Recorder,
    run_namespace: str,
    counter: Counter,
) -> dict[str, Spoilt]:
    """A run for each row, spoilt while no operator was there, and carried on by two others since."""
    runs = fixture.Runs(admin, recorder, run_namespace)
    runs.definition("post-and-await", POST_AND_AWAIT)
    found = {row: start(runs, counter, admin) for row in (*GOES_ON, *UNKNOWN)}
    for one in found.values():
        one.run.until_step("first", "running", "Wait")
    operator.kill()
    for row, spoil in (*GOES_ON.items(), *UNKNOWN.items()):
        spoil(found[row])
    operator.start()
    for one in found.values():
        runs.config_map(f"{one.run.name}-gate", {"ready": "yes"})
    for one in found.values():
        one.run.until(is_over("first"), "the end of its first step")
    operator.kill()
    operator.start()  # that something was lost is not forgotten
    return found


def sent(found: Spoilt, counter: Counter) -> list[int]:
    """How often each of the two was sent."""
    both = [counter.deliveries(f"/{found.run.name}/{step}") for step in ("first", "then")]
    for deliveries in both:
        assert len({delivery.key for delivery in deliveries}) == len(deliveries)
    return [len(deliveries) for deliveries in both]


@pytest.mark.parametrize("row", GOES_ON)
def test_what_can_be_read_holds(spoilt: dict[str, Spoilt], counter: Counter, row: str) -> None:
    one = spoilt[row]
    status = one.run.until(is_over("then"), "the end of its second step")
    assert fixture.step(status, "first")["phase"] == "succeeded"
    if fixture.step(status, "then").get("reason") == "Unknown":  # whether it had begun, nobody can tell
        assert sent(one, counter) == [1, 0]
        one.run.restart("then")
    one.run.ended("succeeded")
    assert sent(one, counter) == [1, 1]
    assert one.runs.get("ConfigMap", f"{one.run.name}-end")["data"]["number"] == "1"
    foreign = one.runs.get("ConfigMap", one.foreign)
    assert foreign is None or "ownerReferences" not in foreign["metadata"]


@pytest.mark.parametrize("row", UNKNOWN)
def test_what_nobody_knows_is_not_sent_again(spoilt: dict[str, Spoilt], counter: Counter, row: str) -> None:
    one = spoilt[row]
    ended = one.run.ended("failed")
    assert fixture.step(ended, "first")["reason"] == "Unknown"
    assert "restart the step" in fixture.step(ended, "first")["message"]
    assert sent(one, counter) == [1, 0]
    one.run.restart("first")
    one.run.ended("succeeded")
    assert sent(one, counter) == [2, 1]
    assert one.runs.get("ConfigMap", f"{one.run.name}-end")["data"]["number"] == "2"


def test_an_input_whose_value_is_gone_says_so(
    runs: fixture.Runs, operator: fixture.OperatorProcess, proxy: Proxy, admin: Api
) -> None:
    proxy.follow()
    gate = fixture.unique("gate")
    steps: list[JSON] = [
        {"name": "a", "type": "echo", "properties": {"value": 1}, "outputs": [{"name": "o", "valueFrom": "result"}]},
        {"name": "b", "type": "await", "properties": {"name": gate}},
        {"name": "c", "type": "echo", "inputs": [{"from": "o", "parameterKey": "value"}]},
    ]
    run = runs.start(steps)
    run.until_step("b", "running", "Wait")
    operator.kill()
    Spoilt(run, runs, admin).write(constants.CONTEXT_VARS, "{{{ }")
    operator.start()
    runs.config_map(gate, {"ready": "yes"})
    last = fixture.step(run.ended("failed"), "c")
    assert last["reason"] == "Input"
    assert "not kept any more" in last["message"]
    assert any("cannot be read" in event["message"] for event in run.events())


def test_a_suspended_run_whose_state_is_lost_can_be_resumed(
    runs: fixture.Runs, operator: fixture.OperatorProcess, proxy: Proxy, admin: Api
) -> None:
    proxy.follow()
    run = runs.start("[{name: a, type: suspend}, {name: b, type: echo}]")
    run.until_step("a", "suspending")
    operator.kill()
    Spoilt(run, runs, admin).write(constants.CONTEXT_STATE, "rubbish")
    run.patch_status({"suspend": False})
    operator.start()
    run.ended("succeeded")
