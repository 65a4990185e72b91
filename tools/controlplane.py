"""A Kubernetes control plane on the loopback address, without containers and without root.

etcd, an API server, the controllers, the scheduler, and kwok in the place of kubelets: it gives one Node and moves Pods
on (``tools/kwok/*.yaml`` says how), so that Deployments become ready and Jobs complete though nothing is ever run.

``Stack`` is the processes, and belongs to whoever started them (``tools/supervisor.py``). ``ControlPlane`` is what
everybody else sees of a running one: it is read from a file that the supervisor writes when all is ready.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import binaries, kubeconfig
from tools.apiserver import ApiServer, Etcd
from tools.audit import AuditLog
from tools.errors import ToolError
from tools.processes import Process, wait_until
from tools.rest import Api, ApiError

STATE_FILE = "state.json"
STAGES = Path(__file__).with_name("kwok")
NODE = "kwok-node"
# Requests per second that a component allows itself; the defaults (20 to 50) make tests wait for it.
QPS = ("--kube-api-qps=500", "--kube-api-burst=1000")
TMPFS = Path("/dev/shm")  # noqa: S108 - a private folder is made below it
TMPFS_LEAST_FREE = 1 << 30


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running control plane: ``directory`` holds its files, ``pid`` is that of its supervisor."""

    directory: Path
    url: str
    etcd_url: str
    pid: int

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the administrator."""
        return self.directory / "admin.kubeconfig"

    @property
    def operator_kubeconfig(self) -> Path:
        """A kubeconfig with the same rights as the user ``operator``: its requests can be told from those of tests."""
        return self.directory / "operator.kubeconfig"

    @property
    def api(self) -> Api:
        """A client with the rights of the administrator."""
        return Api.from_kubeconfig(self.kubeconfig)

    @property
    def audit_log(self) -> AuditLog:
        """Every request that the API server answered."""
        return AuditLog(self.directory / "audit.log")

    def second(self, name: str = "second") -> ApiServer:
        """Return a further API server on the same etcd, not started yet: a cluster of its own without controllers.

        Use it as a context manager, from the main thread; it ends with the process that started it.
        """
        found = binaries.ensure(["kube-apiserver"], tell=_silent)
        directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.directory))
        return ApiServer(found["kube-apiserver"], self.etcd_url, directory, name=name)

    @classmethod
    def load(cls, directory: Path) -> ControlPlane | None:
        """The control plane whose state is kept in ``directory``, or ``None``."""
        try:
            state = json.loads((directory / STATE_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return cls(Path(state["directory"]), state["url"], state["etcd_url"], state["pid"])

    def save(self, directory: Path) -> None:
        """Write the state to ``directory``, whole or not at all."""
        state = {**dataclasses.asdict(self), "directory": str(self.directory)}
        temporary = directory / f".{STATE_FILE}.new"
        temporary.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        temporary.replace(directory / STATE_FILE)


class Stack:
    """The processes of one control plane, whose files are all below ``directory``."""

    def __init__(self, found: Mapping[str, Path], directory: Path) -> None:
        self._found = found
        self._directory = directory
        self._etcd = Etcd(found["etcd"], directory)
        self._components: list[Process] = []
        self._server: ApiServer | None = None

    def start(self, tell: Callable[[str], None]) -> ControlPlane:
        """Start everything and return when Pods can run; raises ``ToolError``. Call ``stop`` in either case."""
        started = time.monotonic()

        def progress(what: str) -> None:
            tell(f"{what} ({time.monotonic() - started:.1f} s)")

        self._etcd.start()
        server = ApiServer(self._found["kube-apiserver"], self._etcd.url, self._directory)
        self._server = server
        server.start()
        progress("the API server answers")
        self._components = [
            self._component("kube-controller-manager", self._controller_manager(server)),
            self._component("kube-scheduler", self._scheduler(server)),
            self._component("kwok", self._kwok(server)),
        ]
        api = server.api
        api.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        _, _, kwok = self._components
        wait_until("a Node that takes Pods", lambda: _schedulable(api), kwok)
        controllers = self._components[0]
        wait_until("the default service account", lambda: _service_account(api), controllers)
        progress("controllers, scheduler and a Node are ready")
        return ControlPlane(self._directory, server.url, self._etcd.url, os.getpid())

    @property
    def processes(self) -> list[Process]:
        """All that are started, in the order of their start."""
        first = [self._etcd.process, self._server.process if self._server else None]
        return [process for process in first if process is not None] + self._components

    def stop(self) -> None:
        """End all processes."""
        for process in reversed(self.processes):
            process.kill()

    def _component(self, name: str, arguments: list[str]) -> Process:
        return Process(name, [self._found[name], *arguments], self._directory / "logs" / f"{name}.log", self._directory)

    @staticmethod
    def _controller_manager(server: ApiServer) -> list[str]:
        return [
            f"--kubeconfig={server.kubeconfig_of(kubeconfig.CONTROLLER_MANAGER)}",
            "--leader-elect=false",
            "--secure-port=0",
            f"--service-account-private-key-file={server.key}",
            f"--root-ca-file={server.ca_file}",
            "--concurrent-namespace-syncs=20",
            *QPS,
        ]

    @staticmethod
    def _scheduler(server: ApiServer) -> list[str]:
        kubeconfig_file = server.kubeconfig_of(kubeconfig.SCHEDULER)
        return [f"--kubeconfig={kubeconfig_file}", "--leader-elect=false", "--secure-port=0", *QPS]

    @staticmethod
    def _kwok(server: ApiServer) -> list[str]:
        return [
            f"--kubeconfig={server.kubeconfig_of(kubeconfig.KWOK)}",
            "--manage-all-nodes=true",
            "--node-ip=127.0.0.1",
            "--node-port=0",
            "--node-lease-duration-seconds=40",
            *(f"--config={stage}" for stage in sorted(STAGES.glob("*.yaml"))),
        ]


def data_root() -> Path:
    """Where the files of control planes go: in memory where that has room, else the folder for temporary files."""
    with contextlib.suppress(OSError):
        if os.access(TMPFS, os.W_OK) and shutil.disk_usage(TMPFS).free >= TMPFS_LEAST_FREE:
            return TMPFS
    return Path(tempfile.gettempdir())


def _schedulable(api: Api) -> bool | None:
    """``True`` when the Node is ready and no taint keeps Pods away from it."""
    node: dict[str, Any] = api.get("v1", "Node", NODE) or {}
    conditions = {one["type"]: one["status"] for one in node.get("status", {}).get("conditions") or ()}
    tainted = node.get("spec", {}).get("taints")
    return True if conditions.get("Ready") == "True" and not tainted else None


def _service_account(api: Api) -> bool | None:
    """``True`` when Pods can be made in the namespace ``default``."""
    try:
        return True if api.get("v1", "ServiceAccount", "default", "default") else None
    except ApiError as error:
        raise ToolError(f"the API server does not answer as it should: {error}") from error


def _silent(_line: str) -> None:
    """Tell nobody."""
