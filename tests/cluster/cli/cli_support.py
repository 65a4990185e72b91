"""What the tests of the command line share: typing commands, and playing the operator's part in statuses."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from typer.testing import CliRunner

from tools.rest import Api
from vela_workflow.api import constants
from vela_workflow.cli import main

JSON = dict[str, Any]
RUN = constants.WORKFLOW_RUN

STEPS: list[JSON] = [
    {"name": "build", "type": "apply-job"},
    {"name": "approve", "type": "suspend"},
    {"name": "release", "type": "apply-object"},
]

UNATTENDED = {constants.ANNOTATION_CONTROLLER_VERSION: "none"}
"""Annotations of a run that no operator takes up, also where one runs in the same cluster."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Cli:
    """Types commands; the namespace option is added unless a command says otherwise."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self._started = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def __call__(self, *arguments: str, stdin: str | None = None, namespace: bool = True) -> Done:
        """Run a command in this process."""
        done = CliRunner().invoke(main.app, self._all(arguments, namespace=namespace), input=stdin)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command as a process, whose lines can be read as they come."""
        command = [sys.executable, "-u", "-m", "vela_workflow.cli.main", *self._all(arguments, namespace=True)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        self._started.callback(_end, process)
        return process

    def _all(self, arguments: tuple[str, ...], *, namespace: bool) -> list[str]:
        where = [f"--namespace={self.namespace}"] if namespace else []
        return [*arguments, *where, f"--kubeconfig={self.kubeconfig}"]


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


class Runs:
    """WorkflowRuns of one namespace."""

    def __init__(self, admin: Api, namespace: str) -> None:
        self.admin = admin
        self.namespace = namespace

    def create(
        self, name: str, status: JSON | None = None, *, annotations: JSON | None = None, **metadata: Any
    ) -> JSON:
        """A run with three steps, and the status that an operator would have written."""
        metadata["annotations"] = {**UNATTENDED, **(annotations or {})}
        body = {
            "apiVersion": RUN.api_version,
            "kind": RUN.kind,
            "metadata": {"name": name, **metadata},
            "spec": {"workflowSpec": {"steps": STEPS}},
        }
        self.admin.create(body, self.namespace)
        return self.write(name, **(status or {}))

    def write(self, name: str, **status: Any) -> JSON:
        """Merge fields into the status of a run."""
        return self.admin.patch(
            RUN.api_version, RUN.kind, name, {"status": status}, self.namespace, subresource="status"
        )

    def get(self, name: str) -> JSON:
        """A run as it is."""
        found = self.admin.get(RUN.api_version, RUN.kind, name, self.namespace)
        assert found is not None
        return found

    def status(self, name: str) -> JSON:
        """The status of a run."""
        return dict(self.get(name).get("status") or {})

    def names(self) -> list[str]:
        """The names of all runs."""
        return [run["metadata"]["name"] for run in self.admin.list(RUN.api_version, RUN.kind, self.namespace)]

    def config_map(self, name: str, **data: str) -> None:
        """Keep something beside a run."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        self.admin.create(body, self.namespace)


def entry(name: str, phase: str, reason: str = "", **more: Any) -> JSON:
    """A step of a status."""
    times = {"firstExecuteTime": "2026-01-01T00:00:00Z", "lastExecuteTime": "2026-01-01T00:00:05Z"}
    return {"id": f"id-{name}", "name": name, "type": "x", "phase": phase, "reason": reason, **times, **more}


EXECUTING: JSON = {
    "status": "executing",
    "progress": "0/3",
    "currentStep": "build",
    "steps": [entry("build", "running")],
}
SUSPENDED: JSON = {
    "status": "suspending",
    "suspend": True,
    "progress": "1/3",
    "currentStep": "approve",
    "message": 'step "approve": please look',
    "steps": [entry("build", "succeeded"), entry("approve", "suspending", "Suspend", message="please look")],
}
FAILED: JSON = {
    "status": "failed",
    "finished": True,
    "terminated": True,
    "progress": "3/3",
    "currentStep": "build",
    "message": 'step "build" failed (Action): no',
    "steps": [
        entry("build", "failed", "Action", message="no"),
        entry("approve", "skipped", "Skip"),
        entry("release", "skipped", "Skip"),
    ],
}
SUCCEEDED: JSON = {
    "status": "succeeded",
    "finished": True,
    "progress": "3/3",
    "steps": [entry("build", "succeeded"), entry("approve", "succeeded"), entry("release", "succeeded")],
}
