"""A fresh control plane, a controller on it, and runs whose ends are seen the moment they happen.

Times are taken here, on one clock: before a request is sent, and when the watch event that says it is done arrives. The
connection is kept open and the watch runs all the time, so a measurement holds as little of our own work as possible.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import platform
import shlex
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench import processes
from tools import binaries, lifecycle
from tools.audit import Request
from tools.controlplane import ControlPlane, data_root
from tools.errors import ToolError, tail
from tools.processes import Process, free_port

JSON = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
GROUP = "/apis/core.oam.dev/v1alpha1"
DEFINITIONS = "/apis/core.oam.dev/v1beta1"
NAMESPACE = "bench"
OPERATOR = "operator"
PATIENCE = 300.0
"""Seconds that anything may take; a controller that needs longer has failed."""

GRACE = 15.0
"""Seconds that a controller has to end."""

LINE_LIMIT = 4 * 1024 * 1024
SYSTEM = "vela-system"
METRICS = "vela_workflow_cue_"
JSON_TYPE = "application/json"
ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended: its phase, when that was seen (seconds of ``time.perf_counter``)."""

    phase: str
    at: float


class Server:
    """The API server, as its administrator, over kept connections."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
        self._session = aiohttp.ClientSession(
            cluster["server"],
            connector=aiohttp.TCPConnector(ssl=context, limit=64),
            headers={"Authorization": f"Bearer {user['token']}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            read_bufsize=LINE_LIMIT,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def request(self, method: str, path: str, body: JSON | None = None, content: str = JSON_TYPE) -> JSON:
        """Send one request; raises ``ToolError`` when it is refused."""
        data = None if body is None else json.dumps(body).encode()
        async with self._answer(method, path, data=data, headers={"Content-Type": content}) as answer:
            found: JSON = json.loads(await answer.read())
            return found

    async def apply(self, path: str, body: JSON) -> JSON:
        """Apply an object on the server's side."""
        name = body["metadata"]["name"]
        return await self.request(
            "PATCH", f"{path}/{name}?fieldManager=bench&force=true", body, "application/apply-patch+yaml"
        )

    async def watch(self, path: str) -> AsyncIterator[JSON]:
        """The events of a collection, those of what is there first, until the connection ends."""
        async with self._answer("GET", f"{path}?watch=true&timeoutSeconds=3600") as answer:
            async for line in answer.content:
                yield json.loads(line)

    @contextlib.asynccontextmanager
    async def _answer(self, method: str, path: str, **arguments: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request; 429 is asked again, since a kind that was just installed is not served at once."""
        for _ in range(ATTEMPTS):
            async with self._session.request(method, path, **arguments) as answer:
                if answer.status != 429:
                    if answer.status >= 400:
                        raise ToolError(f"{method} {path}: {answer.status} {(await answer.text())[:300]}")
                    yield answer
                    return
                pause = float(answer.headers.get("Retry-After", "1"))
            await asyncio.sleep(pause)
        raise ToolError(f"{method} {path}: the API server says 429 again and again")


class Runs:
    """Makes runs and knows when they ended."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._path = f"{GROUP}/namespaces/{NAMESPACE}/workflowruns"
        self._ended: dict[str, asyncio.Future[Ended]] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._numbers = itertools.count()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def create(self, steps: list[JSON], *, mode: str = "StepByStep") -> str:
        """Create a run; returns its name."""
        name = f"run-{next(self._numbers)}"
        loop = asyncio.get_running_loop()
        self._ended[name], self._waiting[name] = loop.create_future(), loop.create_future()
        spec = {"mode": {"steps": mode}, "workflowSpec": {"steps": _named(steps, name)}}
        metadata = {"name": name, "namespace": NAMESPACE}
        body = {"apiVersion": "core.oam.dev/v1alpha1", "kind": "WorkflowRun", "metadata": metadata, "spec": spec}
        await self._server.request("POST", self._path, body)
        return name

    async def ended(self, name: str) -> Ended:
        """Wait for the end of a run; one that did not succeed is an error."""
        found: Ended = await self._within(self._ended[name], f"the end of {name}")
        if found.phase != "succeeded":
            raise ToolError(f"{name} ended {found.phase}")
        return found

    async def waiting(self, name: str) -> None:
        """Wait until a step of the run says that it waits."""
        await self._within(self._waiting[name], f"a waiting step of {name}")

    async def _within(self, future: asyncio.Future[Any], what: str) -> Any:
        assert self._task is not None
        await asyncio.wait({future, self._task}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if self._task.done():
            raise ToolError(f"the watch of runs ended: {self._task.exception() or 'by the server'}")
        raise ToolError(f"{what}: not within {PATIENCE:.0f} s")

    async def _follow(self) -> None:
        async for event in self._server.watch(self._path):
            now = time.perf_counter()
            body = event["object"]
            name, status = body["metadata"]["name"], body.get("status") or {}
            ended, waiting = self._ended.get(name), self._waiting.get(name)
            if ended is None or waiting is None:
                continue
            if status.get("finished") and not ended.done():
                ended.set_result(Ended(status["status"], now))
            if not waiting.done() and any(step.get("reason") == "Wait" for step in status.get("steps") or ()):
                waiting.set_result(None)


class Bench:
    """All that a scenario needs."""

    def __init__(
        self,
        plane: ControlPlane,
        server: Server,
        runs: Runs,
        controller: Process,
        command: str,
        *,
        metrics: str = "",
    ) -> None:
        self.server = server
        self.runs = runs
        self._plane = plane
        self._controller = controller
        self._command = command
        self._metrics = metrics

    async def config_map(self, name: str, data: Mapping[str, str]) -> None:
        """Apply a ConfigMap."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}
        await self.server.apply(f"/api/v1/namespaces/{NAMESPACE}/configmaps", body)

    async def join_cluster(self, name: str) -> None:
        """Join the cluster to itself under another name, in the form that every controller of this API understands."""
        config = json.loads(self._plane.operator_kubeconfig.read_text(encoding="utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "labels": {"cluster.core.oam.dev/cluster-credential-type": "ServiceAccountToken"},
            },
            "data": {"ca.crt": cluster["certificate-authority-data"]},
            "stringData": {"endpoint": cluster["server"], "token": user["token"]},
        }
        await self.server.apply(f"/api/v1/namespaces/{SYSTEM}/secrets", body)

    async def evaluations(self) -> dict[str, float]:
        """What our own operator counts of its evaluations, by the last words of the metric; nothing of another's."""
        if not self._metrics:
            return {}
        async with aiohttp.ClientSession() as session, session.get(self._metrics) as answer:
            lines = (await answer.text()).splitlines()
        found = (line.rpartition(" ") for line in lines if line.startswith(METRICS))
        return {name.removeprefix(METRICS).removesuffix("_total"): float(value) for name, _, value in found}

    def memory(self) -> float:
        """Resident memory of the controller and all its processes, in MiB."""
        return processes.resident(self._controller.pid) / 2**20

    def cpu_seconds(self) -> float:
        """CPU time that the controller has used, with those of its processes that have ended, in seconds."""
        return processes.cpu_seconds(self._controller.pid)

    def mark(self) -> int:
        """A place in the audit log, for ``requests``."""
        return self._plane.audit_log.mark()

    async def requests(self, since: int) -> list[Request]:
        """The controller's answered requests since a mark; all that were answered before this call are among them."""
        sign = f"bench-{time.monotonic_ns()}"
        with contextlib.suppress(ToolError):  # there is no such object, and that is the point
            await self.server.request("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps/{sign}")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = self._plane.audit_log.requests(since)
            if any(request.name == sign for request in found):
                return [one for one in found if one.user == OPERATOR and one.stage == "ResponseComplete"]
            await asyncio.sleep(0.05)
        raise ToolError("the audit log does not keep up")

    async def machine(self) -> dict[str, str]:
        """What the figures depend on."""
        version = await self.server.request("GET", "/version")
        return {
            "controller": self._command or f"vela-workflow {_commit()}",
            "cpu": processes.cpu_model(),
            "cores": str(os.cpu_count()),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
            "kubernetes": version["gitVersion"],
            "cue": binaries.TOOLS["cue"].source.version,
        }


@contextlib.asynccontextmanager
async def started(command: str, tell: Callable[[str], None]) -> AsyncIterator[Bench]:
    """A control plane of its own, everything installed, and the controller at work; all of it ends with the block."""
    tools = binaries.ensure(tell=lambda line: None if ": /" in line else tell(line))
    with (
        tempfile.TemporaryDirectory(prefix="vela-workflow-bench-") as home,
        lifecycle.shared(data_root() / f"vela-workflow-bench-{os.getpid()}", tell) as plane,
    ):
        _install(plane)
        server = Server(plane.kubeconfig)
        runs = Runs(server)
        log = Path(home) / "controller.log"
        controller = None
        try:
            await _prepare(server)
            await runs.start()
            port = free_port()
            controller = Process("the controller", _command(command, plane, tools["cue"], port), log, Path(home))
            await _ready(runs, controller, tell)
            metrics = "" if command else f"http://127.0.0.1:{port}/metrics"
            yield Bench(plane, server, runs, controller, command, metrics=metrics)
        except ToolError as error:
            raise ToolError(f"{error}\nthe end of the controller's log:\n{tail(log)}") from error
        finally:
            await runs.close()
            await server.close()
            if controller is not None:
                await _stop(controller)


async def _stop(controller: Process) -> None:
    """Let the controller clear up behind itself, and end it if it does not."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(controller.pid, signal.SIGTERM)
    ended = asyncio.create_task(asyncio.to_thread(controller.wait))
    await asyncio.wait({ended}, timeout=GRACE)
    controller.kill()
    await ended


def _install(plane: ControlPlane) -> None:
    command = [sys.executable, "-m", "vela_workflow.cli.main", "install", f"--kubeconfig={plane.kubeconfig}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"vela-workflow install: {done.stderr.strip()}")


def _command(command: str, plane: ControlPlane, cue: Path, port: int) -> list[str | Path]:
    kubeconfig = plane.operator_kubeconfig
    if command:
        return list(shlex.split(command.replace("{kubeconfig}", str(kubeconfig))))
    own = [sys.executable, "-m", "vela_workflow.cli.main", "operator"]
    return [
        "/usr/bin/env",
        f"PYTHONPATH={ROOT}",
        *own,
        f"--kubeconfig={kubeconfig}",
        f"--cue={cue}",
        f"--metrics-port={port}",
    ]


WAIT = """
import (
	"vela/builtin"
	"vela/kube"
)

read: kube.#Read & {
	$params: value: {
		apiVersion: "v1"
		kind:       "ConfigMap"
		metadata: {
			name:      parameter.name
			namespace: context.namespace
		}
	}
}
wait: builtin.#ConditionalWait & {
	$params: continue: read.$returns.value.data.open == "yes"
}
parameter: name: string
"""
"""A step that waits for a ConfigMap, in words that every controller of this API understands."""


async def _prepare(server: Server) -> None:
    await server.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    definition = {
        "apiVersion": "core.oam.dev/v1beta1",
        "kind": "WorkflowStepDefinition",
        "metadata": {"name": "bench-wait"},
        "spec": {"schematic": {"cue": {"template": WAIT}}},
    }
    await server.apply(f"{DEFINITIONS}/namespaces/{NAMESPACE}/workflowstepdefinitions", definition)


async def _ready(runs: Runs, controller: Process, tell: Callable[[str], None]) -> None:
    """Wait until the controller carries a run out: that is what every controller has to be able to do."""
    started = time.monotonic()
    probe = asyncio.create_task(_probe(runs))
    while not probe.done():
        await asyncio.wait({probe}, timeout=0.2)
        if not controller.running:
            probe.cancel()
            raise controller.failure()
    probe.result()
    tell(f"the controller works ({time.monotonic() - started:.1f} s)")


async def _probe(runs: Runs) -> None:
    await runs.ended(await runs.create(apply_steps(1)))


def apply_steps(count: int) -> list[JSON]:
    """Steps that apply a ConfigMap each; ``create`` puts the name of the run into theirs."""
    return [
        {
            "name": f"apply-{index}",
            "type": "apply-object",
            "properties": {
                "value": {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": f"RUN-{index}", "namespace": NAMESPACE},
                    "data": {"index": str(index)},
                }
            },
        }
        for index in range(count)
    ]


def wait_steps(name: str) -> list[JSON]:
    """One step that waits until the ConfigMap ``name`` says so."""
    return [{"name": "wait", "type": "bench-wait", "properties": {"name": name}}]


def _named(steps: list[JSON], run: str) -> list[JSON]:
    named: list[JSON] = json.loads(json.dumps(steps).replace("RUN-", f"{run}-"))
    return named


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "of an unknown commit"
