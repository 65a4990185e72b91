"""The kopf handlers: raw watch events, handed on without delay.

Nothing of kopf's own bookkeeping is used: no annotations on runs, no finalizers, no retries. A handler that does
nothing but hand an object to the queue costs the API server nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import kopf

from vela_workflow.api import constants
from vela_workflow.clusters.credentials import Source
from vela_workflow.operator import bookkeeping, login
from vela_workflow.operator.controller import Controller
from vela_workflow.operator.packages import ExternalPackages
from vela_workflow.operator.relist import Kept
from vela_workflow.operator.retention import Retention
from vela_workflow.runs.definitions import Definitions

JSON = dict[str, Any]

DELETED = "DELETED"

WATCHERS = "watcher for "
"""What the names of kopf's tasks begin with that watch."""


def registry(
    controller: Controller,
    definitions: Definitions,
    external: ExternalPackages,
    retention: Retention,
    *,
    namespaces: Collection[str] = (),
) -> kopf.OperatorRegistry:
    """The handlers of the operator; with ``namespaces`` only their runs are handed on."""
    found = kopf.OperatorRegistry()
    runs, steps, packages = constants.WORKFLOW_RUN, constants.STEP_DEFINITION, constants.PACKAGE

    @kopf.on.event(runs.group, runs.version, runs.plural, registry=found)
    async def run_event(event: Any, **_: Any) -> None:
        body = dict(event["object"])
        if namespaces and body["metadata"]["namespace"] not in namespaces:
            return
        if event["type"] == DELETED:
            controller.gone(body)
            retention.gone(body)
        else:
            controller.seen(body)
            retention.seen(body)

    @kopf.on.event(steps.group, steps.version, steps.plural, registry=found)
    async def definition_event(event: Any, **_: Any) -> None:
        body = dict(event["object"])
        if event["type"] == DELETED:
            definitions.remove(body)
        else:
            definitions.update(body)

    @kopf.on.event(packages.group, packages.version, packages.plural, registry=found)
    async def package_event(event: Any, **_: Any) -> None:
        body = dict(event["object"])
        if event["type"] == DELETED:
            external.remove(body)
        else:
            external.update(body)

    return found


def frame(
    found: kopf.OperatorRegistry, source: Source, *, listed: Callable[[str], None], quiet: Callable[[], Awaitable[None]]
) -> None:
    """Add what frames the life of kopf.

    ``listed`` is told the plural of a kind whose objects kopf has listed. ``quiet`` is called before kopf ends, also
    when it does so by itself, and ends the work that is under way.
    """

    @kopf.on.login(registry=found)
    async def log_in(**_: Any) -> kopf.AiohttpSession:
        return await login.session(source, listed)

    @kopf.on.cleanup(registry=found, errors=kopf.ErrorsMode.PERMANENT)
    async def clean_up(**_: Any) -> None:
        await quiet()
        await end_watchers()


def kept(
    controller: Controller, definitions: Definitions, external: ExternalPackages, retention: Retention
) -> list[Kept]:
    """What the handlers keep of objects, for whoever looks whether they are still there."""

    def gone(body: JSON) -> None:
        controller.gone(body)
        retention.gone(body)

    return [
        Kept(constants.WORKFLOW_RUN, lambda: controller.known() | retention.known(), gone),
        Kept(constants.STEP_DEFINITION, lambda: dict.fromkeys(definitions.known(), ""), definitions.remove),
        Kept(constants.PACKAGE, lambda: dict.fromkeys(external.known(), ""), external.remove),
    ]


async def end_watchers() -> None:
    """End what still watches when kopf has given up.

    Kopf would cancel these tasks together with others that they wait for, of which some take that for a wish to begin
    again: they would stay for ever, and kopf with them.
    """
    left = [task for task in asyncio.all_tasks() if task.get_name().startswith(WATCHERS)]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def settings(*, request_timeout: float) -> kopf.OperatorSettings:
    """Kopf's settings: no Events and no peering of its own, quick ends, frozen watches are noticed."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.peering.standalone = True
    found.networking.request_timeout = request_timeout
    found.watching.client_timeout = 600
    found.watching.server_timeout = 300
    found.queueing.idle_timeout = 0.5
    found.persistence.diffbase_storage = bookkeeping.NoDifferences()
    found.persistence.progress_storage = bookkeeping.NoProgress()
    found.persistence.finalizer = f"{constants.WORKFLOW_RUN.group}/vela-workflow"
    return found
