"""An etcd and an API server that nobody else uses, so that a test may stop, halt and start them again.

There are no controllers: nothing of what the tests do needs one.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.cluster.conftest import install, make_run_namespace
from tools import binaries, kubeconfig
from tools.apiserver import ApiServer, Etcd
from tools.rest import Api
from vela_workflow.api import constants

JSON = dict[str, Any]
RUN = constants.WORKFLOW_RUN


class Fragile:
    """The two processes, with everything that runs need installed; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        found = binaries.ensure(["etcd", "kube-apiserver"], tell=lambda _line: None)
        self._etcd = Etcd(found["etcd"], folder)
        self._etcd.start()
        self.server = ApiServer(found["kube-apiserver"], self._etcd.url, folder / "server", name="fragile")
        self.namespace = ""

    def __enter__(self) -> Fragile:
        self.server.start()
        install(self.api)
        self.namespace = make_run_namespace(self.api)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.stop()
        self._etcd.stop()

    @property
    def api(self) -> Api:
        """A client with all rights."""
        return self.server.api

    @property
    def operator_kubeconfig(self) -> Path:
        """The kubeconfig of operators under test."""
        return self.server.kubeconfig_of(kubeconfig.OPERATOR)

    # What goes wrong.

    def restart(self) -> None:
        """Kill the API server, and start it again."""
        self.server.stop()
        self.server.start()

    def halt(self, seconds: float) -> None:
        """Halt etcd for so long: the API server is there, and cannot answer."""
        process = self._etcd.process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(process.pid, signal.SIGCONT)

    # Runs, looked at by lists: a watch would not outlive the server.

    def create(self, name: str, steps: list[JSON]) -> None:
        """Create a run."""
        body = {
            "apiVersion": RUN.api_version,
            "kind": RUN.kind,
            "metadata": {"name": name},
            "spec": {"workflowSpec": {"steps": steps}},
        }
        self.api.create(body, self.namespace)

    def statuses(self) -> dict[str, JSON]:
        """The statuses of all runs by their names."""
        found = self.api.list(RUN.api_version, RUN.kind, self.namespace)
        return {body["metadata"]["name"]: body.get("status") or {} for body in found}
