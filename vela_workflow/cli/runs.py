"""WorkflowRuns on a cluster: read, followed through a watch, changed by what users ask for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from vela_workflow.api import constants
from vela_workflow.cli import kube
from vela_workflow.cli.errors import ApiError, Conflict, Gone, NotFound, Unreachable
from vela_workflow.errors import did_you_mean

if TYPE_CHECKING:
    from vela_workflow.engine.commands import Command

JSON = dict[str, Any]

PHASES: Final = tuple(str(phase) for phase in constants.RunPhase if phase is not constants.RunPhase.SKIPPED)
"""What the phase of a run can be; a run as a whole is never skipped."""

CONFLICT_TRIES: Final = 10
RECONNECT_DELAYS: Final = (0.2, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds to wait before each try to get a broken watch back."""


def find(cluster: kube.Kube, name: str, namespace: str = "") -> JSON:
    """A run; raises ``NotFound`` that says which one was most likely meant."""
    try:
        return cluster.get(kube.RUNS, name, namespace)
    except NotFound as error:
        raise _with_hint(cluster, error, name, namespace) from None


def delete(cluster: kube.Kube, name: str) -> None:
    """Delete a run; raises as ``find``."""
    try:
        cluster.delete(kube.RUNS, name)
    except NotFound as error:
        raise _with_hint(cluster, error, name, "") from None


def _with_hint(cluster: kube.Kube, error: NotFound, name: str, namespace: str) -> NotFound:
    """The error with the run that was most likely meant, if there is one and the user may list runs."""
    if error.what != name:
        return error
    try:
        known = [run["metadata"]["name"] for run in cluster.list(kube.RUNS, namespace)]
    except ApiError:
        return error
    return NotFound(f"{error.message}{did_you_mean(name, known)}", code=error.code, what=error.what)


def follow(cluster: kube.Kube, name: str, deadline: kube.Deadline, namespace: str = "") -> Iterator[JSON]:
    """The run as it is now, and then after each of its changes, pushed by the server.

    Ends only by an error: ``NotFound`` (also when the run is deleted), ``TimedOut`` after ``deadline``, ``Unreachable``
    when a lost connection cannot be had again.
    """
    run = find(cluster, name, namespace)
    broken = 0
    while True:
        yield run
        try:
            for changed in _changes(cluster, run, deadline):
                broken, run = 0, changed
                yield run
            run = cluster.get(kube.RUNS, name, namespace)
        except Unreachable:
            if broken == len(RECONNECT_DELAYS):
                raise
            threading.Event().wait(RECONNECT_DELAYS[broken])
            broken += 1
            deadline.check(_late(run))


def _late(run: JSON) -> str:
    """What to say when the time is over: where the run is."""
    name, status = run["metadata"]["name"], run.get("status") or {}
    message = " ".join(str(status.get("message") or "").split())
    where = f"is {status['status']}" if status.get("status") else "was not taken up"
    said = f": {message}" if message else ""
    return f"the time is over, {name} {where}{said}; it goes on, `vela-workflow explain {name}` says what it waits for"


def _changes(cluster: kube.Kube, run: JSON, deadline: kube.Deadline) -> Iterator[JSON]:
    """Changes after ``run``, over as many watches as it takes; ends when the server has forgotten where we were."""
    name, namespace, uid = (run["metadata"][key] for key in ("name", "namespace", "uid"))
    since = run["metadata"]["resourceVersion"]
    while True:
        deadline.check(_late(run))
        try:
            events = cluster.watch(kube.RUNS, name, namespace, since=since, seconds=deadline.left)
            for kind, changed in events:
                if kind == "DELETED" or changed["metadata"].get("uid", uid) != uid:
                    raise NotFound(f'workflowruns.core.oam.dev "{name}" was deleted', what=name)
                since = changed["metadata"]["resourceVersion"]
                run = changed
                yield changed
                deadline.check(_late(run))
        except Gone:
            return


def command(cluster: kube.Kube, name: str, asked: Callable[[JSON], Command]) -> str:
    """Carry out what a user asks of a run, as an edit of its status; returns what to tell the user.

    ``asked`` maps the status that was read to the patch; it is asked again with a fresh status whenever the run was
    changed in between, so the patch always fits what is there (decisions 25 and 27).
    """
    for tries in range(1, CONFLICT_TRIES + 1):
        run = find(cluster, name)
        wanted = asked(run.get("status") or {})
        if not wanted.patch:
            return wanted.message
        metadata = {"resourceVersion": run["metadata"]["resourceVersion"], "uid": run["metadata"]["uid"]}
        try:
            cluster.patch(kube.RUNS, name, {"metadata": metadata, "status": wanted.patch}, subresource="status")
        except Conflict:
            if tries == CONFLICT_TRIES:
                raise
        else:
            return wanted.message
    raise AssertionError("the last try returns or raises")


def context_name(run: JSON) -> str:
    """Name of the ConfigMap that keeps the context of a run (engine 3.12)."""
    backend = (run.get("status") or {}).get("contextBackend") or {}
    return str(backend.get("name") or constants.CONTEXT_NAME.format(run=run["metadata"]["name"]))


def context(cluster: kube.Kube, run: JSON) -> dict[str, str]:
    """What the context ConfigMap of a run holds; empty when there is none. Raises ``Forbidden``."""
    found = cluster.get_or_none(kube.CONFIG_MAPS, context_name(run), run["metadata"]["namespace"])
    return dict((found or {}).get("data") or {})


def spec_steps(cluster: kube.Kube, run: JSON) -> list[JSON]:
    """The steps that a run is to carry out: its own, or those of its Workflow; empty when that is gone."""
    spec = run.get("spec") or {}
    if spec.get("workflowSpec") is not None:
        return list(spec["workflowSpec"].get("steps") or ())
    if spec.get("workflowRef"):
        found = cluster.get_or_none(kube.WORKFLOWS, str(spec["workflowRef"]), run["metadata"]["namespace"])
        return list((found or {}).get("steps") or ())
    return []
