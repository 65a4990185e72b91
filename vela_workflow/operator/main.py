"""Where the operator is put together, started and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import kopf
import uvloop
from kopf._cogs.structs import references  # there is no public name for what kopf tells of its discovery

from vela_workflow import __version__
from vela_workflow.api import constants, json_tree
from vela_workflow.clusters import api, credentials, transport
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters.registry import Registry, RegistrySettings
from vela_workflow.clusters.watch import WatchHub
from vela_workflow.cue.command import CueCommand
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.cue.library import Library
from vela_workflow.cue.sandbox import Limits
from vela_workflow.operator import (
    bookkeeping,
    handlers,
    health,
    leader,
    logs,
    preflight,
    reach,
    standing,
    tracing,
    warm_up,
)
from vela_workflow.operator.admission import Admission
from vela_workflow.operator.controller import Controller
from vela_workflow.operator.events import EventReporter
from vela_workflow.operator.fence import FencedClient, FencedClusters
from vela_workflow.operator.metrics import Metrics
from vela_workflow.operator.own import GuardedClusters, Own
from vela_workflow.operator.packages import ExternalPackages
from vela_workflow.operator.relist import Relist
from vela_workflow.operator.retention import Retention, Rules
from vela_workflow.operator.telemetry import Packages, Telemetry
from vela_workflow.providers import registry as packages
from vela_workflow.providers.config import templates as config_templates
from vela_workflow.runs.contract import Tools
from vela_workflow.runs.definitions import Definitions
from vela_workflow.runs.driver import Driver
from vela_workflow.runs.journal import Intents
from vela_workflow.settings import Settings

logger = logging.getLogger(__name__)

GRACE = 10.0
"""Seconds that reconciles under way get to end when the operator stops."""


def run(settings: Settings) -> None:
    """Run the operator until it is told to stop; raises ``WorkflowError`` when it cannot start."""
    logs.set_up(settings.log_level, settings.log_format)
    preflight.check(settings, os.environ)
    warm_up.put_aside_modules()
    # Whoever may write an object could otherwise end the operator by one that is nested deeply: kopf reads all of them.
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 2 * json_tree.SERVED_DEPTH))
    intents, anew = Intents(), False
    while True:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_main(settings, intents, anew=anew))
        except reach.LostError as error:
            logger.warning("%s; starting anew", error)
            anew = True


async def _main(settings: Settings, intents: Intents, *, anew: bool) -> None:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    operator = Operator(settings, intents, anew=anew)
    await operator.run(stop)


def _stop_on_signals(stop: asyncio.Event) -> None:
    if threading.current_thread() is threading.main_thread():
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)


class Operator:
    """The operator as one object; ``run`` frames its whole life.

    ``anew`` says that it has worked before in this process: what is refused then may be allowed again, and ``intents``
    are what it still knows.
    """

    def __init__(self, settings: Settings, intents: Intents, *, anew: bool = False) -> None:
        self.settings = settings
        self._anew = anew
        self.source = credentials.local(settings.kubeconfig, settings.context, environment=os.environ)
        self.metrics = Metrics()
        tracer = tracing.connect(settings.trace_endpoint) if settings.trace_endpoint else None
        self.telemetry = telemetry = Telemetry(self.metrics, tracer)
        limits = transport.Limits(timeout=settings.request_timeout)
        self.client = api.connect("local", self.source, limits=limits, on_call=telemetry.api_call)
        registered = RegistrySettings(namespace=settings.system_namespace)
        self.clusters = Registry(self.client, registered, on_call=telemetry.api_call)
        self.packages = packages.packages()
        library = Library.build({path: package.source for path, package in self.packages.items()})
        self.cue = CueCommand(preflight.cue_command(settings.cue), library, _limits(settings))
        self.evaluator = Evaluator(self.cue, library, observer=telemetry)
        self.definitions = Definitions(settings.system_namespace)
        self.reporter = EventReporter(self.client)
        self.hub = WatchHub(self.clusters.client, self._wake)
        self.leadership = self._leadership()
        holds = self.leadership.holds
        self.metrics.leads = lambda: self.leadership.held
        tools = Tools(
            FencedClient(self.client, holds),
            GuardedClusters(FencedClusters(self.clusters, holds), self._own()),
            self.evaluator,
            Packages(self.packages, telemetry, holds),
            self.definitions,
            self.reporter,
            observer=telemetry,
            suspend_on_failure=settings.suspend_on_failure,
            intents=intents,
        )
        self.controller = Controller(
            Driver(tools),
            self.hub,
            self.definitions,
            telemetry,
            workers=settings.workers,
            shards=settings.shards,
            asked_only=settings.ignore_workflow_without_controller_requirement,
        )
        self.ready = asyncio.Event()
        self._quieting: asyncio.Task[None] | None = None
        self.readiness = standing.Readiness(self.client, self.ready)
        self.endpoint = self._endpoint()
        self.external = ExternalPackages(self.packages, self.evaluator, settings.system_namespace)
        self.admission = Admission(settings, self.client, self.evaluator, self.definitions)
        rules = Rules(settings.recycle_label, settings.recycle_keep, settings.recycle_after)
        self.retention = Retention(self.client, rules)
        kept = handlers.kept(self.controller, self.definitions, self.external, self.retention)
        self.relist = Relist(self.client, kept, self._namespaces())
        config_templates.use(self.evaluator.value)

    def _own(self) -> Own:
        settings = self.settings
        leases = settings.lease_namespace or settings.system_namespace
        return Own(settings.system_namespace, leases, frozenset({settings.admission_secret}))

    def _leadership(self) -> leader.Leadership:
        settings = self.settings
        if not settings.leader_election:
            return leader.Everything(self)
        place = leader.Place(
            settings.lease_namespace or settings.system_namespace,
            settings.lease_name,
            standing.identity(settings.identity),
        )
        timing = leader.Timing(settings.lease_duration, settings.lease_trusted, settings.lease_retry)
        return leader.Election(self.client, place, self, shards=settings.shards, timing=timing)

    def _endpoint(self) -> health.Endpoint | None:
        settings = self.settings
        if not settings.metrics_port:
            return None
        routes = health.Routes(self.metrics.text, self.readiness.problem)
        return health.Endpoint(settings.metrics_address, settings.metrics_port, routes)

    async def lead(self, shard: int) -> None:
        """Carry out the runs of a shard from now on; the first one comes with the care for finished runs."""
        elected = self.settings.leader_election
        await self.controller.lead(
            shard, self.client if elected else None, self.settings.namespaces or ("",) if elected else ()
        )
        if shard == 0:
            self.retention.start()

    async def leave(self, shard: int, grace: float) -> None:
        """Carry them out no longer."""
        if shard == 0:
            await self.retention.close()
        await self.controller.leave(shard, grace)

    def _wake(self, key: tuple[str, str]) -> None:
        self.controller.wake(key)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then end what is under way and close everything."""
        try:
            await self._open()
            await reach.until_done(self._load_all, stop, self.readiness.trouble_is)
            if not stop.is_set():
                await self._start()
                await self._kopf(stop)
        finally:
            await self._close()

    async def _open(self) -> None:
        version = await preflight.cue_version(self.cue.binary)
        parts = standing.Parts(
            self.controller,
            self.definitions,
            self.evaluator,
            self.cue,
            self.hub,
            self.leadership,
            self.settings.workers,
        )
        self.metrics.look_at(parts.live(), {"version": __version__, "cue": version})
        if self.endpoint is not None:
            self.endpoint.start()

    async def _start(self) -> None:
        await self.clusters.start()
        await self.admission.start()
        self.reporter.start()
        self.controller.queue.start()
        self.relist.start()
        await self.leadership.start()

    async def _load_all(self) -> None:
        await self._load(constants.PACKAGE, self.external.update)
        places = await self._load(constants.STEP_DEFINITION, self.definitions.update)
        system = self.settings.system_namespace
        if places is not None and system not in places:
            logger.warning(
                "no step types in namespace %s; `vela-workflow install --namespace %s` brings the built-in ones",
                system,
                system,
            )

    async def _load(self, kind: constants.Kind, take: Callable[[dict[str, Any]], None]) -> set[str] | None:
        """Know packages and definitions before the first run has its turn.

        Returns the namespaces that have any; ``None`` when the cluster does not know the kind.
        """
        places: set[str] = set()
        for namespace in self._namespaces() or [""]:
            try:
                found = await self.client.list(kind.api_version, kind.kind, namespace)
            except cluster_errors.UnknownKind:
                logger.warning("%s is not installed yet; run `vela-workflow install`", kind.crd_name)
                return None
            except cluster_errors.Forbidden as error:
                if self._anew:
                    raise
                raise preflight.refused(error) from error
            for body in found.get("items") or ():
                take(body)
                places.add(str(body["metadata"].get("namespace") or ""))
        return places

    def _namespaces(self) -> list[str]:
        """The namespaces whose objects are looked at; empty means all of them."""
        own = self.settings.namespaces
        return list(dict.fromkeys((*own, self.settings.system_namespace))) if own else []

    async def _kopf(self, stop: asyncio.Event) -> None:
        stopping, ready, seen = asyncio.Event(), asyncio.Event(), references.Insights()
        namespaces = self._namespaces()
        registry = handlers.registry(
            self.controller,
            self.definitions,
            self.external,
            self.retention,
            namespaces=self.settings.namespaces,
        )
        handlers.frame(registry, self.source, listed=self.relist.listed, quiet=self._quiet)
        settings = handlers.settings(request_timeout=self.settings.request_timeout)
        settings.networking.error_backoffs = reach.BACKOFFS
        self.admission.serve(registry, settings)
        watching = asyncio.create_task(
            kopf.operator(
                registry=registry,
                settings=settings,
                insights=seen,
                memories=bookkeeping.NoMemories(),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=stopping,
                ready_flag=ready,
            )
        )
        announced = asyncio.create_task(self._announce(ready, seen, stop))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({watching, stopped}, return_when=asyncio.FIRST_COMPLETED)
        await self._quiet()
        stopping.set()
        announced.cancel()
        stopped.cancel()
        try:
            await watching
            why = "kopf has ended"
        except Exception as error:  # noqa: BLE001 - kopf has told it with its trace, and is not to be trusted any more
            why = repr(error)
        if stop.is_set():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(reach.PAUSE):
                await stop.wait()
                return
        raise reach.LostError(f"the API server cannot be watched any longer: {why}")

    async def _quiet(self) -> None:
        """End what is under way, once, whoever asks first: somebody who stops the operator, or kopf that gives up."""
        if self._quieting is None:
            self._quieting = asyncio.create_task(self._end_work())
        await asyncio.shield(self._quieting)

    async def _end_work(self) -> None:
        logger.info("stopping")
        self.readiness.stopping = True
        await self.relist.close()
        await self.leadership.stop(GRACE)
        await self.controller.queue.close(grace=GRACE)
        # Kopf waits for, and then cancels, whatever tasks are left.
        await self.hub.close()
        await self.reporter.close()

    async def _announce(self, ready: asyncio.Event, seen: references.Insights, stop: asyncio.Event) -> None:
        await ready.wait()
        # Kopf has taken the signals over, and would stop watching before anything else has ended.
        _stop_on_signals(stop)
        # It is ready before it has asked the API server for anything.
        await seen.ready_resources.wait()
        self.ready.set()
        await warm_up.prepare(self.evaluator, self.definitions.texts())
        logger.info("vela-workflow is running, %d definitions", len(self.definitions))

    async def _close(self) -> None:
        await self.admission.close()
        await self.reporter.close()
        await self.hub.close()
        self.cue.close()
        await self.cue.ended()
        await self.clusters.close()
        await self.client.close()
        if self.endpoint is not None:
            await asyncio.to_thread(self.endpoint.close)
        await asyncio.to_thread(self.telemetry.close)


def _limits(settings: Settings) -> Limits:
    values: dict[str, Any] = {
        "wall_clock": settings.cue_timeout,
        "memory": settings.cue_memory * 1024 * 1024,
        "ahead": True,
    }
    if settings.cue_commands:
        values["commands"] = settings.cue_commands
    return Limits(**values)
