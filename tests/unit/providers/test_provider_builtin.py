"""Control operations and variables."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.providers.support import NOW, Memory, call
from vela_workflow import errors
from vela_workflow.providers.builtin import package
from vela_workflow.providers.contract import Control, ControlKind, Outcome

CONTROLS: dict[str, tuple[str, dict[str, Any], Control | None]] = {
    "wait that is met": ("wait", {"continue": True, "message": "m"}, None),
    "wait that is not met": ("wait", {"continue": False, "message": "m"}, Control(ControlKind.WAIT, "m")),
    "wait that is undecided": ("wait", {}, Control(ControlKind.WAIT)),
    "fail": ("fail", {"message": "m"}, Control(ControlKind.FAIL, "m")),
    "break": ("break", {}, Control(ControlKind.BREAK)),
    "message": ("message", {"message": "m"}, Control(ControlKind.MESSAGE, "m")),
}


async def run(do: str, args: dict[str, Any], **changes: Any) -> Outcome:
    return await package.OPERATIONS[do].run(call(args, **changes))


@pytest.mark.parametrize(("do", "args", "control"), CONTROLS.values(), ids=CONTROLS)
async def test_controls(do: str, args: dict[str, Any], control: Control | None) -> None:
    assert await run(do, args) == Outcome(control=control)


@pytest.mark.parametrize("value", [1, 1.5, "x", None, {"a": [1]}], ids=str)
async def test_variables_keep_their_type_and_are_replaced(value: Any) -> None:
    memory = Memory({"a.b": "old"})
    assert await run("var", {"method": "Put", "path": "a.b", "value": value}, variables=memory) == Outcome()
    outcome = await run("var", {"path": "a.b"}, variables=memory)
    assert outcome == Outcome({"value": value})
    assert type(outcome.value["value"]) is type(value)  # type: ignore[index]


async def test_a_variable_without_a_value_is_null() -> None:
    memory = Memory()
    await run("var", {"method": "Put", "path": "a"}, variables=memory)
    assert memory.values == {"a": None}


async def test_a_missing_variable_may_still_come() -> None:
    with pytest.raises(errors.Transient, match=r"var a\.b not found"):
        await run("var", {"path": "a.b"})


@pytest.mark.parametrize(
    ("args", "message"), [({"method": "Take", "path": "a"}, "method"), ({"path": ""}, "path")], ids=["method", "path"]
)
async def test_wrong_arguments_are_final(args: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.Terminal, match=message):
        await run("var", args)


async def suspended(memory: Memory, args: dict[str, Any], *, after: float = 0, **changes: Any) -> Control | None:
    outcome = await run("suspend", args, variables=memory, now=NOW + timedelta(seconds=after), **changes)
    assert outcome.value is None
    return outcome.control


async def test_a_suspend_lasts_until_it_is_resumed_once() -> None:
    memory = Memory()
    control = Control(ControlKind.SUSPEND, "Suspended by field action")
    assert await suspended(memory, {}) == control
    assert await suspended(memory, {}, after=9999) == control
    assert await suspended(memory, {}, after=9999, resumed=True) is None
    assert await suspended(memory, {}, after=9999) is None, "a later look must not suspend again"


async def test_a_timed_suspend_ends_by_itself() -> None:
    memory = Memory()
    args = {"duration": "1m", "message": "have a look"}
    control = Control(ControlKind.SUSPEND, "have a look", NOW + timedelta(minutes=1))
    assert await suspended(memory, args) == control
    assert await suspended(memory, args, after=59) == control
    assert await suspended(memory, args, after=60) is None
    assert memory.memos == {
        "abcdefghij.action.suspendTimeStamp": "2026-01-02T03:04:05+00:00",
        "abcdefghij.resumeTimeStamp": "2026-01-02T03:05:05+00:00",
    }


async def test_a_resume_ends_a_timed_suspend_at_once() -> None:
    memory = Memory()
    await suspended(memory, {"duration": "1h"})
    assert await suspended(memory, {"duration": "1h"}, after=1, resumed=True) is None
    assert await suspended(memory, {"duration": "1h"}, after=2) is None


async def test_two_suspends_in_a_step_need_two_resumes_and_have_timers_of_their_own() -> None:
    memory = Memory()
    first, second = {"path": ("first",)}, {"path": ("second",)}
    assert await suspended(memory, {"duration": "1h"}, **first) is not None
    assert await suspended(memory, {}, after=5, resumed=True, **first) is None
    assert await suspended(memory, {"duration": "1h"}, after=5, resumed=True, **second) == Control(
        ControlKind.SUSPEND, "Suspended by field second", NOW + timedelta(hours=1, seconds=5)
    )
    assert await suspended(memory, {"duration": "1h"}, after=6, **first) is None
    assert await suspended(memory, {"duration": "1h"}, after=7, resumed=True, **second) is None


@pytest.mark.parametrize("stamp", ["2026-01-02T03:04:05Z", "2026-01-02T05:04:05+02:00", "2026-01-02T03:04:05"])
async def test_time_stamps_of_the_go_controller_are_understood(stamp: str) -> None:
    memory = Memory(memos={"abcdefghij.action.suspendTimeStamp": stamp})
    control = await suspended(memory, {"duration": "1m"}, after=30)
    assert control is not None
    assert control.until == NOW + timedelta(minutes=1)


@pytest.mark.parametrize("duration", ["1min", "10", "soon"])
async def test_a_duration_that_is_none(duration: str) -> None:
    with pytest.raises(errors.Terminal, match=f'duration: invalid duration "{duration}"'):
        await suspended(Memory(), {"duration": duration})


async def test_a_time_stamp_that_is_none() -> None:
    memory = Memory(memos={"abcdefghij.action.suspendTimeStamp": "yesterday"})
    with pytest.raises(errors.Terminal, match="failed to parse timestamp yesterday"):
        await suspended(memory, {"duration": "1m"})
