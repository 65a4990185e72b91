"""Paths, inputs, variables, ids and delays: the small pure parts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vela_workflow.api import constants
from vela_workflow.engine import ids, inputs, paths, steps, timing
from vela_workflow.engine.variables import Variables

PATHS: list[tuple[str, paths.Path]] = [
    ("a", ("a",)),
    ("a.b.c", ("a", "b", "c")),
    ("list[0].k", ("list", 0, "k")),
    ("m[1][2]", ("m", 1, 2)),
    ('a["q"]', ("a", "q")),
    ('["dash-key"].x', ("dash-key", "x")),
    ('"dash-key"', ("dash-key",)),
    ('a."b.c"', ("a", "b.c")),
    ('a["x]y"]', ("a", "x]y")),
    ("dash-key", ("dash-key",)),
    ("a b", ("a b",)),
    ("1", ("1",)),
    (" a.b ", ("a", "b")),
    ("output.$returns.value", ("output", "$returns", "value")),
]


@pytest.mark.parametrize(("text", "path"), PATHS, ids=[text for text, _ in PATHS])
def test_paths_are_read_and_written(text: str, path: paths.Path) -> None:
    assert paths.parse(text) == path
    assert paths.parse(paths.show(path)) == path


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[-1]", "[0]", "a]", 'a["x"', 'a"b"', "a[0]b", "a[99999999999]"],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(paths.PathError):
        paths.parse(text)


@given(st.lists(st.text(min_size=1) | st.integers(0, 999), min_size=1))
def test_every_path_survives_being_written(parts: list[str | int]) -> None:
    path = ("root", *parts)
    assert paths.parse(paths.show(path)) == path


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a.b", True),
        ("my-var", True),
        ("a[0]", True),
        ('a["b c"]', True),
        ("a + b", False),
        ("len(a)", False),
        ('"x"', False),
        ("1", False),
        ("a?", False),
        ("[1]", False),
    ],
)
def test_plain_or_script(text: str, plain: bool) -> None:
    assert paths.is_plain(text) is plain


PROPERTIES: dict[str, Any] = {"list": ["p", {"k": "v"}], "s": "str", "n": None}

INJECT: list[tuple[str, dict[str, Any]]] = [
    ("a.b", {"a": {"b": 7}}),
    ('a["q"]', {"a": {"q": 7}}),
    ("list", {"list": 7}),
    ("s", {"s": 7}),
    ("list[0]", {"list": [7, {"k": "v"}]}),
    ("list[1].k", {"list": ["p", {"k": 7}]}),
    ("list[2]", {"list": ["p", {"k": "v"}, 7]}),
    ("list[4]", {"list": ["p", {"k": "v"}, {}, {}, 7]}),
    ("list[5].x", {"list": ["p", {"k": "v"}, {}, {}, {}, {"x": 7}]}),
    ("new[0]", {"new": [7]}),
    ("new[1].x", {"new": [{}, {"x": 7}]}),
    ("n.x", {"n": {"x": 7}}),
    ("dash-key", {"dash-key": 7}),
    ("a.dash-key", {"a": {"dash-key": 7}}),
    ('["dash-key"]', {"dash-key": 7}),
    ('"dash-key"', {"dash-key": 7}),
    ('a["dash-key"]', {"a": {"dash-key": 7}}),
    ("a b", {"a b": 7}),
    ("1", {"1": 7}),
    ('["#x"]', {"#x": 7}),
]


@pytest.mark.parametrize(("key", "changed"), INJECT, ids=[row[0] for row in INJECT])
def test_inject(key: str, changed: dict[str, Any]) -> None:
    before = {"list": ["p", {"k": "v"}], "s": "str", "n": None}
    assert inputs.inject(before, [(inputs.parse_key(key), 7)]) == {**PROPERTIES, **changed}
    assert before == PROPERTIES, "the properties themselves are not changed"


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("s.x", 's is a string, not an object with the field "x"'),
        ("list[0].k", r'list\[0\] is a string, not an object with the field "k"'),
        ("list.k", 'list is a list, not an object with the field "k"'),
        ("s[0]", r"s is a string, not a list that \[0\] could be in"),
        ("list[1][0]", r"list\[1\] is an object, not a list"),
        ("list[5000]", "far beyond the end of a list of 2"),
        ("#x", "hidden field or definition"),
        ("a._x", "hidden field or definition"),
        ("a..b", "is not a path"),
    ],
)
def test_what_cannot_be_injected_says_why(key: str, why: str) -> None:
    with pytest.raises(paths.PathError, match=why):
        inputs.inject(PROPERTIES, [(inputs.parse_key(key), 7)])


def test_variables_replace_and_count_changes() -> None:
    variables = Variables({"a": {"b": 1}})
    variables.put("a.b", 2)
    variables.put("a.c[1]", "x")
    assert variables.values == {"a": {"b": 2, "c": [{}, "x"]}}
    assert variables.revision == 2
    variables.put("a.b", 2)
    assert variables.revision == 2, "the same value is no change"
    variables.put("a.b", 2.0)
    variables.put("a.b", True)
    assert variables.revision == 4
    assert variables.get("a.b") is True
    variables.put("a", 1)
    variables.put("a.deep", 1)
    assert variables.values == {"a": {"deep": 1}}, "what is in the way is replaced"


@pytest.mark.parametrize("path", ["x", "a.x", "a.b.c", "a[0]", "a..b"])
def test_missing_variables_are_key_errors(path: str) -> None:
    with pytest.raises(KeyError):
        Variables({"a": {"b": 1}}).get(path)


def test_variables_are_copies() -> None:
    given_values = {"a": [1]}
    variables = Variables(given_values)
    variables.get("a").append(2)
    value = [3]
    variables.put("b", value)
    value.append(4)
    assert variables.values == {"a": [1], "b": [3]}
    variables.put("a[0]", 9)
    assert given_values == {"a": [1]}


def test_dropped_variables_leave_nothing_behind() -> None:
    variables = Variables({"a": {"b": {"c": 1}}, "d": 1}, sensitive={"a"})
    variables.drop(("a", "b", "nope"))
    assert variables.revision == 0
    variables.drop(("a", "b", "c"))
    assert (variables.values, variables.sensitive, variables.revision) == ({"d": 1}, set(), 1)
    variables.put("s.x", 1, sensitive=True)
    assert variables.sensitive == {"s"}
    variables.clear()
    assert (variables.values, variables.sensitive) == ({}, set())


def test_ids_are_stable_and_distinct() -> None:
    one = ids.step_id("uid", "g/x", {})
    assert one == ids.step_id("uid", "g/x", {"other": 1})
    assert len(one) == constants.STEP_ID_LENGTH
    assert set(one) <= set(constants.STEP_ID_ALPHABET)
    others = [ids.step_id("uid", "g/x", {"g/x": 1}), ids.step_id("uid", "g/x", {"*": 1}), ids.step_id("uid", "x", {})]
    assert len({one, ids.step_id("other", "g/x", {}), *others}) == 5
    assert ids.span_id("uid", {}, "g", "s").endswith(".g.s")
    assert ids.span_id("uid", {}) != ids.span_id("uid", {"*": 1})


def retry(**fields: Any) -> steps.Retry:
    values = {"limit": 3, "duration": 1.0, "factor": 2.0, "cap": 300.0, "on": frozenset(constants.RETRY_ON), **fields}
    return steps.Retry(**values)


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (None, [1, 1, 1, 1, 1, 1, 3, 6, 12, 25, 51, 102, 204, 300]),
        (retry(), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
        (retry(factor=1.0, duration=5.0), [5, 5, 5]),
        (retry(duration=600.0), [300, 300]),
        (retry(duration=0.0), [0, 0]),
    ],
)
def test_retry_delays(policy: steps.Retry | None, delays: list[float]) -> None:
    assert [timing.retry_delay(policy, n + 1) for n in range(len(delays))] == delays
    assert timing.retry_delay(policy, 10**9) == delays[-1], "no number of failures overflows"


def test_times() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
    assert timing.stamp(moment) == "2026-01-02T03:04:05Z"
    assert timing.read("2026-01-02T03:04:05Z") == moment.replace(microsecond=0)
    assert timing.read("2026-01-02T03:04:05") == moment.replace(microsecond=0)
    assert timing.read("yesterday") is timing.read(None) is timing.read("") is None
    assert timing.moment(1e30) > moment > timing.moment(-1e30)


def test_a_clock_that_was_set_back_delays_nothing() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    later = now.timestamp() + 1e6
    assert timing.due("running", {"at": later, "waiting": later}, now, woken=False)
    assert timing.due("failed", {"at": later, "delay": 5}, now, woken=False)
    assert not timing.due("suspending", {"at": later, "until": later, "suspended": "x"}, now, woken=True)
