"""The operator as a process of its own, and runs as tests see them.

``OperatorProcess`` starts, stops and kills a real operator. It looks after one namespace only, so that several of them
(of parallel test workers, of tests that break theirs) share a cluster without meeting. ``Recorder`` follows all runs of
that namespace through one real watch and keeps every version that it saw; ``Run`` waits on those, so nothing is polled
and nothing that was shown for a moment only is missed.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final

import yaml

from tools.kubectl import Kubectl
from tools.processes import TETHER
from tools.rest import Api
from tools.waiting import wait_for
from vela_workflow.api import constants

JSON = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parents[2]
RUN: Final = constants.WORKFLOW_RUN
DEFINITION: Final = constants.STEP_DEFINITION
READY: Final = "vela-workflow is running"
PATIENCE: Final = 50.0
"""Seconds within which anything that is awaited happens, on a busy machine too; less than until the safety net looks."""


TOLD: Final = 30
"""How many lines of an operator's log are told of a test that failed."""


def complaints() -> dict[str, str]:
    """The last that all operators there are have complained of, by the paths of their logs."""
    told: dict[str, str] = {}
    for one in list(OperatorProcess.alive):
        lines = [line[:300] for line in one.history().splitlines() if " INFO " not in line]
        if lines:
            told[str(one.log)] = "\n".join(lines[-TOLD:])
    return told


class OperatorProcess:
    """A real operator with its own kubeconfig and log; it dies with the process that started it."""

    alive: ClassVar[weakref.WeakSet[OperatorProcess]] = weakref.WeakSet()

    def __init__(self, *, kubeconfig: Path, cue: Path, namespace: str, log: Path, **settings: object) -> None:
        self.namespace = namespace
        self.log = log
        self._home = log.parent
        values = {"kubeconfig": kubeconfig, "cue": cue, "namespace": namespace, **settings}
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._home),
            "PYTHONPATH": str(ROOT),
            **{f"VELA_WORKFLOW_{key.upper()}": str(value) for key, value in values.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._read_from = 0
        self.alive.add(self)

    def __enter__(self) -> OperatorProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.alive.discard(self)

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it works."""
        self._read_from = self.log.stat().st_size if self.log.exists() else 0
        command = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid())]
        command += [sys.executable, "-m", "vela_workflow.operator"]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd=self._home,
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the last start has come to its end."""
        wait_for(self._is_ready, PATIENCE, "an operator that works")

    def _is_ready(self) -> bool:
        text = self.output()
        if not self.running:
            raise AssertionError(f"the operator ended by itself:\n{text[-4000:]}")
        return READY in text

    def output(self) -> str:
        """What it has logged since its last start."""
        with self.log.open("rb") as file:
            file.seek(self._read_from)
            return file.read().decode("utf-8", "replace")

    def history(self) -> str:
        """What it has logged in all its lives."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash does."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """End it gracefully (SIGTERM); returns its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=PATIENCE)

    def pause(self) -> None:
        """Halt it where it is (SIGSTOP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on after ``pause``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class Recorder:
    """Every version of every run of a namespace, from one watch by kubectl; it ends with the block, or by ``close``."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._changed = threading.Condition()
        self._versions: dict[str, list[JSON]] = {}
        command: list[str | Path] = [sys.executable, "-I", "-S", TETHER, str(os.getpid())]
        command += [kubectl.binary, f"--kubeconfig={kubectl.kubeconfig}", "--namespace", namespace]
        command += ["get", RUN.crd_name, "--watch", "--output-watch-events", "-o", "json"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the watch."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._take(json.loads(line))

    def _take(self, event: JSON) -> None:
        body = event["object"]
        if event["type"] == "DELETED":
            return
        with self._changed:
            self._versions.setdefault(body["metadata"]["name"], []).append(body)
            self._changed.notify_all()

    def until(self, name: str, since: int, wanted: Callable[[JSON], Any], timeout: float, what: str) -> JSON:
        """The first version of a run, from resourceVersion ``since`` on, that is ``wanted``."""
        deadline = time.monotonic() + timeout
        looked = 0
        with self._changed:
            while True:
                versions = self._versions.get(name, [])
                for body in versions[looked:]:
                    if int(body["metadata"]["resourceVersion"]) >= since and wanted(body):
                        return body
                looked = len(versions)
                left = deadline - time.monotonic()
                if left <= 0:
                    shown = json.dumps(versions[-1].get("status"), indent=1) if versions else "nothing"
                    raise AssertionError(f"{name}: {what} not within {timeout:g} s; its last status:\n{shown}")
                self._changed.wait(left)

    def versions(self, name: str) -> list[JSON]:
        """All versions of a run that were seen so far."""
        with self._changed:
            return list(self._versions.get(name, ()))


class Run:
    """One run. Each wait goes on from where the one before ended, or from the last edit by ``patch`` and its like."""

    def __init__(self, api: Api, recorder: Recorder, body: JSON) -> None:
        self._api = api
        self._recorder = recorder
        self._since = 0
        self.name: str = body["metadata"]["name"]
        self.namespace: str = body["metadata"]["namespace"]
        self.uid: str = body["metadata"]["uid"]

    # What it is.

    @property
    def body(self) -> JSON:
        """The object as the API server has it now."""
        found = self._api.get(RUN.api_version, RUN.kind, self.name, self.namespace)
        assert found is not None, f"run {self.name} is gone"
        return found

    @property
    def status(self) -> JSON:
        """Its status now."""
        found: JSON = self.body.get("status") or {}
        return found

    @property
    def versions(self) -> list[JSON]:
        """All versions that were seen so far."""
        return self._recorder.versions(self.name)

    def context(self) -> JSON:
        """The data of its context ConfigMap, empty when it has none."""
        backend = self.status.get("contextBackend")
        if not backend:
            return {}
        found = self._api.get("v1", "ConfigMap", backend["name"], self.namespace)
        data: JSON = (found or {}).get("data") or {}
        return data

    def variables(self) -> JSON:
        """Its workflow variables that are no secrets."""
        found: JSON = json.loads(self.context().get("vars") or "{}")
        return found

    def events(self) -> list[JSON]:
        """The Events that were written about it."""
        found = self._api.list("v1", "Event", self.namespace)
        return [event for event in found if event["involvedObject"].get("uid") == self.uid]

    # Waiting.

    def until(self, wanted: Callable[[JSON], Any], what: str = "", timeout: float = PATIENCE) -> JSON:
        """Wait until its object is ``wanted``; returns the status it had then."""
        body = self._recorder.until(self.name, self._since, wanted, timeout, what or "what is wanted")
        self.touched(body)
        status: JSON = body.get("status") or {}
        return status

    def until_phase(self, *phases: str, timeout: float = PATIENCE) -> JSON:
        """Wait until it is in one of the phases."""
        return self.until(lambda body: phase_of(body) in phases, f"phase {' or '.join(phases)}", timeout)

    def until_step(self, name: str, phase: str, reason: str | None = None, timeout: float = PATIENCE) -> JSON:
        """Wait until a step is in a phase (with a reason); returns the entry of the step."""

        def wanted(body: JSON) -> bool:
            entry = step(body.get("status") or {}, name)
            return entry.get("phase") == phase and (reason is None or entry.get("reason", "") == reason)

        return step(self.until(wanted, f'step "{name}" {phase}/{reason or ""}', timeout), name)

    def ended(self, phase: str, timeout: float = PATIENCE) -> JSON:
        """Wait for its end, which has to be ``phase``; returns the status."""
        status = self.until(lambda body: (body.get("status") or {}).get("finished"), "its end", timeout)
        assert status["status"] == phase, json.dumps(status, indent=1)
        return status

    # What users do.

    def patch_status(self, changes: JSON) -> None:
        """Merge changes into its status, as ``kubectl patch --subresource=status`` does."""
        self.touched(self._api.patch(RUN.api_version, RUN.kind, self.name, {"status": changes}, self.namespace,
                                     subresource="status"))  # fmt: skip

    def patch(self, changes: JSON) -> None:
        """Merge changes into the object."""
        self.touched(self._api.patch(RUN.api_version, RUN.kind, self.name, changes, self.namespace))

    def ask_restart(self, step: str) -> None:
        """Ask for a restart by annotation."""
        self.patch({"metadata": {"annotations": {constants.ANNOTATION_RESTART: step}}})

    def restart(self, step: str) -> None:
        """Ask for a restart by annotation, and wait until it is carried out."""
        self.ask_restart(step)
        self.until(lambda body: not (body.get("status") or {}).get("finished"), "a fresh start")

    def touched(self, body: JSON) -> None:
        """Let waits look only at ``body`` and what comes after it."""
        self._since = int(body["metadata"]["resourceVersion"])


class Runs:
    """Makes runs, and what they need, in the namespace of an operator."""

    def __init__(self, api: Api, recorder: Recorder, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self._recorder = recorder

    def start(
        self, steps: str | list[JSON] | None, *, name: str = "", annotations: JSON | None = None, **spec: Any
    ) -> Run:
        """Create a run of steps (YAML or objects); ``spec`` are further fields of its spec."""
        if isinstance(steps, str):
            steps = yaml.safe_load(steps)
        if steps is not None:
            spec["workflowSpec"] = {"steps": steps}
        metadata = {"name": name or unique("run"), "annotations": annotations or {}}
        return self.create(metadata, spec)

    def create(self, metadata: JSON, spec: JSON) -> Run:
        """Create a run."""
        body = {"apiVersion": RUN.api_version, "kind": RUN.kind, "metadata": metadata, "spec": spec}
        return Run(self.api, self._recorder, self.api.create(body, self.namespace))

    def definition(self, name: str, template: str, namespace: str = "") -> None:
        """Apply a step definition, by default in the namespace of the runs."""
        self.api.apply(definition(name, template), namespace or self.namespace)

    def config_map(self, name: str, data: Mapping[str, str], labels: Mapping[str, str] | None = None) -> JSON:
        """Apply a ConfigMap."""
        metadata = {"name": name, "labels": dict(labels or {})}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}
        return self.api.apply(body, self.namespace)

    def get(self, kind: str, name: str, namespace: str = "", api_version: str = "v1") -> JSON | None:
        """An object, by default a namespaced one in the namespace of the runs."""
        return self.api.get(api_version, kind, name, namespace or self.namespace)


def definition(name: str, template: str) -> JSON:
    """The object of a step definition."""
    return {
        "apiVersion": DEFINITION.api_version,
        "kind": DEFINITION.kind,
        "metadata": {"name": name},
        "spec": {"schematic": {"cue": {"template": template}}},
    }


def unique(prefix: str) -> str:
    """A name that nothing else has."""
    return f"{prefix}-{secrets.token_hex(3)}"


def phase_of(body: JSON) -> str:
    """The phase of a run, empty before it has one."""
    return str((body.get("status") or {}).get("status") or "")


def steps_of(status: JSON) -> list[JSON]:
    """The entries of all steps and sub steps, in order."""
    found: list[JSON] = []
    for entry in status.get("steps") or ():
        found += [entry, *(entry.get("subSteps") or ())]
    return found


def step(status: JSON, name: str) -> JSON:
    """The entry of a step or sub step, empty when it has none."""
    return next((entry for entry in steps_of(status) if entry.get("name") == name), {})


def brief(status: JSON) -> dict[str, str]:
    """Phase and reason of every step, as ``failed/Action`` or ``succeeded``, by name."""
    return {
        entry["name"]: f"{entry.get('phase', '')}/{entry['reason']}" if entry.get("reason") else entry.get("phase", "")
        for entry in steps_of(status)
    }
