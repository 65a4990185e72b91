"""A release of the chart on a cluster whose Nodes run nothing: its operator is a process on this machine.

The local clusters of this repository have no kubelet. So the process is started here just as a Pod would start it: with
the arguments and the environment of the Deployment that Helm installed, and with a token of its ServiceAccount, thus
with its rights and no others. Only where files lie, and which ports are free, is this machine's business.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tools import kubeconfig
from tools.kubectl import Kubectl
from tools.processes import TETHER, free_port

JSON = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parents[1]
CHART: Final = ROOT / "deploy" / "charts" / "vela-workflow"


@dataclass(frozen=True, slots=True)
class Release:
    """One release: what it is called, where it is, and the tools to get at it."""

    name: str
    namespace: str
    helm: Path
    kubectl: Kubectl
    folder: Path
    values: Mapping[str, str] = field(default_factory=dict)

    def run_helm(self, *arguments: str) -> str:
        """Run helm in the namespace of the release and return what it prints; raises ``CalledProcessError``."""
        command: list[str | Path] = [
            self.helm,
            *arguments,
            "--namespace",
            self.namespace,
            "--kubeconfig",
            self.kubectl.kubeconfig,
        ]
        environment = {"PATH": os.defpath, "HOME": str(self.folder)}
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=300)
        if done.returncode:
            sys.stderr.write(done.stderr)
            done.check_returncode()
        return done.stdout

    def install(self, chart: Path = CHART) -> str:
        """Install the release, or upgrade it, and wait until its Pods are ready."""
        settings = [f"--set={key}={value}" for key, value in self.values.items()]
        arguments = ("upgrade", "--install", self.name, str(chart), "--create-namespace", "--wait", "--timeout=2m")
        return self.run_helm(*arguments, *settings)

    def uninstall(self) -> None:
        """Remove the release; CRDs and runs stay."""
        self.run_helm("uninstall", self.name, "--wait")

    def deployment(self) -> JSON:
        """Its Deployment."""
        found: JSON = self.kubectl.json("get", "deployment", "-n", self.namespace, "-l", self.selector)["items"][0]
        return found

    @property
    def selector(self) -> str:
        """The labels of its objects."""
        return f"app.kubernetes.io/instance={self.name},app.kubernetes.io/name=vela-workflow"

    def account_kubeconfig(self, account: str) -> Path:
        """A kubeconfig with a token of a ServiceAccount in the namespace of the release."""
        token = self.kubectl("create", "token", account, "-n", self.namespace, "--duration=1h").strip()
        admin = json.loads(self.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
        cluster = admin["clusters"][0]["cluster"]
        path = self.folder / f"{account}.kubeconfig"
        kubeconfig.write(path, server=cluster["server"], ca="", token=token, user=account)
        config = json.loads(path.read_text(encoding="utf-8"))
        config["clusters"][0]["cluster"] = cluster
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def process(self, name: str, wait: Callable[[Callable[[], bool], str], object]) -> Replica:
        """Start one replica and wait until it is ready."""
        pod = self.deployment()["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        port = free_port()
        environment = {one["name"]: one["value"] for one in container["env"]}
        environment |= {
            "VELA_WORKFLOW_KUBECONFIG": str(self.account_kubeconfig(pod["serviceAccountName"])),
            "VELA_WORKFLOW_METRICS_ADDRESS": "127.0.0.1",
            "VELA_WORKFLOW_METRICS_PORT": str(port),
        }
        if "VELA_WORKFLOW_ADMISSION_PORT" in environment:
            environment["VELA_WORKFLOW_ADMISSION_PORT"] = str(free_port())
        started = Replica.start(self.folder / f"{name}.log", container["args"], environment, port)
        wait(started.is_ready, f"replica {name}")
        return started


@dataclass(frozen=True, slots=True)
class Replica:
    """A process that does what a Pod of the release would do."""

    log: Path
    port: int
    popen: subprocess.Popen[bytes]

    @classmethod
    def start(cls, log: Path, arguments: list[str], environment: Mapping[str, str], port: int) -> Replica:
        """Start it; it ends with this process at the latest."""
        command = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid())]
        command += [sys.executable, "-m", "vela_workflow.cli.main", *arguments]
        basic = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(log.parent), "PYTHONPATH": str(ROOT)}
        with log.open("ab") as output:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**basic, **environment},
                cwd=log.parent,
                start_new_session=True,
            )
        return cls(log, port, popen)

    def is_ready(self) -> bool:
        """Whether ``/readyz`` says so."""
        if self.popen.poll() is not None:
            raise AssertionError(f"the operator ended by itself:\n{self.output()[-4000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def output(self) -> str:
        """What it has logged."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """End it gracefully; returns its exit code."""
        self.popen.terminate()
        return self.popen.wait(timeout=30)

    def kill(self) -> None:
        """End it at once."""
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
