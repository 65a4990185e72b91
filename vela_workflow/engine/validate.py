"""What is wrong between steps: dependencies on nobody, cycles, inputs that nobody gives.

The relations form a graph whose nodes are the starts and ends of steps: a step starts after what it depends on, after
whoever alone gives an input of it, in step-by-step mode after the step before it, and a sub step after its group; a
group ends after its sub steps. A cycle in this graph would hang a run for ever. Only those who *ask* for something on
the cycle that the order alone does not give them are at fault (decisions 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.engine import hints, paths
from vela_workflow.engine import steps as model

if TYPE_CHECKING:
    from vela_workflow.engine.plan import Plan

START, END = "start", "end"
Node = tuple[str, str]

CONTEXT_ROOTS = frozenset({"context", "parameter"})
"""First labels of input paths that are looked up outside the variables (engine 5.2)."""


@dataclass(slots=True)
class Findings:
    """What was found: problems, warnings and inputs that no step gives for people, defects by step path for the run."""

    problems: list[errors.Problem] = field(default_factory=list)
    warnings: list[errors.Problem] = field(default_factory=list)
    orphans: list[errors.Problem] = field(default_factory=list)
    defects: dict[str, model.Defect] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Wish:
    """A step asks for the end of another one, by the field at ``place``."""

    source: Node
    target: Node
    place: str
    reason: constants.Reason


def relations(plan: Plan, fields: Mapping[str, str]) -> Findings:
    """Check the relations of all steps; ``fields`` maps step paths to field paths."""
    findings = Findings()
    wishes: list[_Wish] = []
    givers = model.OutputIndex((step, step) for step in plan.by_path.values())
    for step in plan.by_path.values():
        wishes += _dependencies(plan, step, fields[step.path], findings)
        wishes += _inputs(plan, givers, step, fields[step.path], findings)
        for hint in condition_hints(plan, step):
            findings.warnings.append(errors.Problem(hint, f"{fields[step.path]}.if"))
    _cycles(plan, wishes, findings)
    return findings


def _start(step: model.StepPlan) -> Node:
    return step.path, START if step.is_group else END


def _dependencies(plan: Plan, step: model.StepPlan, place: str, findings: Findings) -> list[_Wish]:
    wishes = []
    for index, name in enumerate(step.depends_on):
        at = f"{place}.dependsOn[{index}]"
        target = plan.names.get(name)
        if target is None:
            meant = errors.did_you_mean(name, plan.names)
            findings.problems.append(errors.Problem(f'there is no step "{name}"{meant}', at))
        else:
            wishes.append(_Wish(_start(step), (target, END), at, constants.Reason.DEPENDS_ON))
    return wishes


def condition_hints(plan: Plan, step: model.StepPlan) -> list[str]:
    """What looks wrong in the ``if`` of a step."""
    if step.condition in ("", constants.IF_ALWAYS):
        return []
    return list(dict.fromkeys(hints.condition(step.condition, plan.names, [item.source for item in step.inputs])))


def meant_output(plan: Plan, item: model.Input) -> str:
    """Which output an input is most likely meant to come from, as the end of a message."""
    outputs = (paths.show(output.path) for step in plan.by_path.values() for output in step.outputs)
    return errors.did_you_mean(item.source, outputs)


def _inputs(
    plan: Plan, givers: model.OutputIndex[model.StepPlan], step: model.StepPlan, place: str, findings: Findings
) -> list[_Wish]:
    wishes = []
    for index, item in enumerate(step.inputs):
        if item.path is None or item.path[0] in CONTEXT_ROOTS:
            continue
        at = f"{place}.inputs[{index}].from"
        providers = givers.of(item.path)
        if not providers:
            lacking = f'no step has an output "{item.source}"{meant_output(plan, item)}'
            findings.orphans.append(errors.Problem(lacking, at))
        if len(providers) == 1:
            wishes.append(_Wish(_start(step), (providers[0].path, END), at, constants.Reason.INPUT))
    return wishes


def _order(plan: Plan) -> dict[Node, set[Node]]:
    """What comes after what without anybody asking for it: the order of steps and groups."""
    graph: dict[Node, set[Node]] = {}
    for step in plan.by_path.values():
        graph.setdefault((step.path, END), set())
        if step.is_group:
            graph.setdefault((step.path, START), set())
            graph[step.path, END] |= {(step.path, START), *((sub.path, END) for sub in step.sub_steps)}
    for scope in ("", *(step.path for step in plan.steps)):
        steps, mode = plan.scope_of(scope)
        for index, step in enumerate(steps):
            if scope:
                graph[_start(step)].add((scope, START))
            if mode is constants.Mode.STEP_BY_STEP and index:
                graph[_start(step)].add((steps[index - 1].path, END))
    return graph


def _cycles(plan: Plan, wishes: list[_Wish], findings: Findings) -> None:
    order = _order(plan)
    graph = {node: set(after) for node, after in order.items()}
    for wish in wishes:
        graph[wish.source].add(wish.target)
    knots = _never_ending(graph)
    if not knots:
        return
    for wish in wishes:
        if wish.source not in knots or wish.target not in knots:
            continue
        back = _way(graph, wish.target, wish.source, knots)
        if back is None or (wish.source != wish.target and _way(order, wish.source, wish.target, knots) is not None):
            continue
        message = f"the step would wait for itself: {_why(plan, order, wish, back, knots)}"
        findings.problems.append(errors.Problem(message, wish.place))
        findings.defects.setdefault(wish.source[0], model.Defect(wish.reason, message))


def _never_ending(graph: Mapping[Node, set[Node]]) -> set[Node]:
    """The nodes on cycles and those that come after one, by taking away what comes after nothing again and again."""
    waiting = {node: len(after) for node, after in graph.items()}
    before: dict[Node, list[Node]] = {node: [] for node in graph}
    for node, after in graph.items():
        for other in after:
            before[other].append(node)
    free = [node for node, count in waiting.items() if count == 0]
    while free:
        node = free.pop()
        del waiting[node]
        for other in before[node]:
            waiting[other] -= 1
            if waiting[other] == 0:
                free.append(other)
    return set(waiting)


def _way(graph: Mapping[Node, set[Node]], source: Node, target: Node, among: set[Node]) -> list[Node] | None:
    """The shortest way from one node to another, both included; ``None`` when there is none."""
    came_from: dict[Node, Node | None] = {source: None}
    todo = [source]
    for node in todo:
        if node == target:
            way: list[Node] = []
            step: Node | None = node
            while step is not None:
                way.append(step)
                step = came_from[step]
            return way[::-1]
        for following in sorted(graph[node] & among - came_from.keys()):
            came_from[following] = node
            todo.append(following)
    return None


def _why(plan: Plan, order: Mapping[Node, set[Node]], wish: _Wish, back: list[Node], knots: set[Node]) -> str:
    """The way around; or, where the order of the steps alone stands in the way, what to do about it."""
    source, target = (plan.by_path[path] for path, _ in (wish.source, wish.target))
    if source is target or source.parent != target.parent or _way(order, wish.target, wish.source, knots) is None:
        return _shown(plan, [wish.source, *back])
    return f'"{target.name}" runs only after it; put "{target.name}" before it, or let the steps run as a DAG'


def _shown(plan: Plan, way: list[Node]) -> str:
    names: list[str] = []
    for path, _ in way:
        name = plan.by_path[path].name
        if not names or names[-1] != name:
            names.append(name)
    return " → ".join(names if len(names) > 1 else names * 2)
