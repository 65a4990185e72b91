"""Reading the answer to a program.

An answer tells, site by site, which operations are there, what their open labels and list places are, and their
arguments. Here the paths and order keys of the sites are filled in with them, and the operations are put into the order
in which they are written (decisions 1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from vela_workflow.cue import results
from vela_workflow.cue.data import Data, Output
from vela_workflow.cue.guards import Guard
from vela_workflow.cue.library import LEGACY_PROVIDERS, STEPS, Action
from vela_workflow.cue.survey import Computed, Key, Loop, Path, Place, Position, Site, label
from vela_workflow.cue.syntax import Field
from vela_workflow.cue.template import Template

OrderValue = tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Act:
    """An operation that an evaluation found.

    ``value`` is the whole action as JSON, ``None`` when it cannot be decided. Of a wait, ``go_on`` is its condition
    (``None`` when undecided) and ``message`` its message. ``order`` sorts the acts of one evaluation.
    """

    site: Site
    path: Path
    action: Action
    value: dict[str, Any] | None
    order: OrderValue
    go_on: bool | None = None
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Evaluation:
    """What one pass told: the acts in order, which sites that must be there are not, outputs by name.

    ``odd`` are top-level fields without operations that have no value, ``failed`` the guards that are wrong.
    """

    acts: tuple[Act, ...]
    absent: tuple[Site, ...]
    parameters_fit: bool
    outputs: Mapping[str, Any]
    odd: tuple[str, ...] = ()
    failed: tuple[Guard, ...] = ()


def read(found: Template, data: Data, outputs: Sequence[Output], answer: Mapping[str, Any]) -> Evaluation:
    """What an answer tells of a template that was read with ``data`` and asked for ``outputs``."""
    survey = found.survey
    acts: list[Act] = []
    seen: set[Path] = set()
    present: set[int] = set()
    for entry in answer["acts"]:
        site = survey.sites[entry["s"]]
        present.add(id(site))
        path, open_parts = _path(site, entry.get("k", ()))
        if path in seen or path in data.results:
            continue
        seen.add(path)
        action = site.action or _told_action(entry)
        if action is None:
            continue
        acts.append(
            Act(
                site=site,
                path=path,
                action=action,
                value=orjson.loads(entry["v"]) if "v" in entry else None,
                order=_order(site, entry.get("i", ()), open_parts, survey.computed),
                go_on=orjson.loads(entry["c"]) if "c" in entry else None,
                message=orjson.loads(entry["m"]) if "m" in entry else "",
            )
        )
    acts.sort(key=lambda act: act.order)
    absent = tuple(
        site for site in survey.sites if site.mandatory and id(site) not in present and not _has_run(site, data)
    )
    return Evaluation(
        tuple(acts),
        absent,
        bool(answer.get("param", True)) and not found.may_refuse(data.parameter),
        _outputs(outputs, answer),
        tuple(answer.get("odd", ())),
        tuple(found.guards[number] for number in answer.get("failed", ())),
    )


def _has_run(site: Site, data: Data) -> bool:
    return any(results.matches(site, path) for path in data.results)


def _told_action(entry: Mapping[str, Any]) -> Action | None:
    """The operation that a reference turned out to be."""
    do = entry.get("do")
    if not isinstance(do, str) or do in ("", STEPS):
        return None
    provider = str(entry.get("p") or ("builtin" if "n" in entry else "op"))
    return Action(do, provider, legacy="n" not in entry and provider in LEGACY_PROVIDERS)


def _path(site: Site, keys: Sequence[str | int]) -> tuple[Path, dict[int, str | int]]:
    """The path of an operation and its open parts by their number in the path."""
    parts: list[str | int] = []
    told = iter(keys)
    opened: dict[int, str | int] = {}
    for depth, segment in enumerate(site.path):
        if isinstance(segment, Key):
            parts.append(segment.name)
        elif isinstance(segment, Position) and segment.index is not None:
            parts.append(segment.index)
        else:
            value = next(told)
            if isinstance(value, str):
                value = label(value)
            opened[depth] = value
            parts.append(value)
    return tuple(parts), opened


def _order(
    site: Site,
    indexes: Sequence[Mapping[str, Any]],
    opened: Mapping[int, str | int],
    computed: Mapping[int, tuple[Field, tuple[int, ...]]],
) -> OrderValue:
    """The order key of one operation, with iterations and list places filled in."""
    iterations = _iterations(site, indexes, computed)
    key: list[tuple[int, ...]] = []
    for part in site.order:
        if isinstance(part, Loop):
            key.append((1, iterations.get(part.number, 0)))
        elif isinstance(part, Place):
            place = opened.get(part.segment, 0)
            key.append((1, place if isinstance(place, int) else 0))
        else:
            key.append(part)
    return tuple(key)


def _iterations(
    site: Site, indexes: Sequence[Mapping[str, Any]], computed: Mapping[int, tuple[Field, tuple[int, ...]]]
) -> dict[int, int]:
    """The iterations that made an operation, by loop: each marker table tells those of the loops around its label.

    A label that several iterations make belongs to the first.
    """
    found: dict[int, int] = {}
    labels = [segment for segment in site.path if isinstance(segment, Computed)]
    for segment, table in zip(labels, indexes, strict=False):
        _, loops = computed[segment.number]
        told = [[int(place) for place in key.split("/")] for key in table if key]
        if told:
            found.update(zip(loops, min(told), strict=True))
    return found


def _outputs(outputs: Sequence[Output], answer: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index, output in enumerate(outputs):
        asked = answer.get(f"out{index}") or {}
        for attempt in range(len(output.candidates)):
            if str(attempt) in asked:
                found[output.name] = orjson.loads(asked[str(attempt)])
                break
    return found
