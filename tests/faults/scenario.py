"""One run with a bit of everything, whose every write is known; and what has to be true of it in the end.

It applies, reads, sends a POST, waits for an object, and applies what the POST's answer was.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from tests.cluster import operator_fixture as fixture
from tests.faults.counter import Counter

JSON = dict[str, Any]

STEPS: Final = ("make", "look", "post", "hold", "end")


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A run of the scenario under way."""

    run: fixture.Run
    runs: fixture.Runs
    counter: Counter

    @property
    def path(self) -> str:
        """Where its POST goes."""
        return f"/{self.run.name}"

    def open_gate(self) -> None:
        """Let the waiting step go on."""
        self.runs.config_map(f"{self.run.name}-gate", {"ready": "yes"})

    def until_it_waits(self) -> JSON:
        """Wait until it is at its wait, or has ended."""
        return self.run.until(lambda body: is_waiting(body) or has_ended(body), "its wait")

    def outside(self) -> JSON:
        """All that it has done, as far as anybody can see."""
        found: JSON = {"posts": len(self.counter.deliveries(self.path))}
        for part in ("one", "two"):
            made = self.runs.get("ConfigMap", f"{self.run.name}-{part}")
            found[part] = made and made.get("data")
        return found


DONE: Final[JSON] = {"posts": 1, "one": {"ready": "yes"}, "two": {"number": "1", "ready": "yes"}}
"""What ``Scenario.outside`` is after a run in which nothing went wrong."""


def steps(name: str, counter: Counter) -> list[JSON]:
    """The steps of a run of this name."""
    one = [{"name": "kind", "valueFrom": "output.$returns.value.kind"}]
    number = [{"name": "number", "valueFrom": "number"}]
    return [
        {"name": "make", "type": "touch", "properties": {"name": f"{name}-one"}, "outputs": one},
        {"name": "look", "type": "need", "properties": {"name": f"{name}-one"}},
        {"name": "post", "type": "post", "properties": {"url": f"{counter.url}/{name}"}, "outputs": number},
        {"name": "hold", "type": "await", "properties": {"name": f"{name}-gate"}},
        {
            "name": "end",
            "type": "touch",
            "properties": {"name": f"{name}-two", "data": {}},
            "inputs": [{"from": "number", "parameterKey": "data.number"}],
        },
    ]


def start(runs: fixture.Runs, counter: Counter) -> Scenario:
    """Create a run of the scenario."""
    name = fixture.unique("scenario")
    return Scenario(runs.start(steps(name, counter), name=name), runs, counter)


def is_at_its_wait(status: JSON) -> bool:
    """Whether the run with this status is at its wait."""
    return fixture.step(status, "hold").get("phase") == "running"


def is_waiting(body: JSON) -> bool:
    """Whether the run is at its wait."""
    return is_at_its_wait(body.get("status") or {})


def has_ended(body: JSON) -> bool:
    """Whether the run has ended."""
    return bool((body.get("status") or {}).get("finished"))
