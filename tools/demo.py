"""The demonstration: ``python -m tools.demo``, or ``make demo``, which prepares the Python environment first.

It does what a person would do, with the commands that a person would type, and shows each of them: bring a cluster up,
install, start the operator, apply workflows, watch them, give an approval, look at the result. It ends with exit code 0
only if every run has succeeded. The cluster is left running; the operator, which looks after the namespace of the
demonstration only, is stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools import binaries, kind, lifecycle
from tools.errors import ToolError, tail
from tools.processes import Process, wait_until

ROOT = Path(__file__).resolve().parent.parent
RUNNING = "vela-workflow is running"
SUSPENDED = 3
"""Exit code of ``vela-workflow status --watch`` when the run waits for a person."""
PATIENCE = "5m"


@dataclass(frozen=True, slots=True)
class Example:
    """A file to apply, the run in it, and what is said before."""

    file: str
    run: str
    text: str


EXAMPLES = (
    Example(
        "examples/seed-apply-and-wait.yaml",
        "apply-and-wait",
        "A database, then what needs it. The step type is defined in the same file, in CUE: it applies an object,\n"
        "waits until it is ready, and hands the address of the database to the next step.",
    ),
    Example(
        "examples/demo.yaml",
        "release",
        "A release: settings whose values go to the next steps, a Deployment that has to become ready, an approval.",
    ),
)


class Demo:
    """One demonstration in one namespace of one cluster; ``failed`` holds the runs that did not succeed."""

    def __init__(self, tools: dict[str, Path], kubeconfig: Path, namespace: str) -> None:
        self.namespace = namespace
        self.failed: list[str] = []
        self._tools = tools
        self._kubeconfig = kubeconfig

    def run(self) -> None:
        """Show everything; raises ``ToolError`` when a command fails that must not."""
        title("CRDs, system namespace and step types")
        self._summary(self._captured("vela-workflow", "install"))
        self._fresh_namespace()
        title(f"The operator, for the namespace {self.namespace}")
        with self._operator():
            for example in EXAMPLES:
                self._show(example)
            title("What kubectl says")
            self._command("kubectl", "get", "workflowrun")

    def _show(self, example: Example) -> None:
        title(example.file)
        say(example.text)
        self._command("kubectl", "apply", "-f", example.file)
        watch = ("vela-workflow", "status", example.run, "--watch", "--no-wait-suspended", "--timeout", PATIENCE)
        code = self._command(*watch, check=False)
        if code == SUSPENDED:
            self._command("kubectl", "get", "workflowrun", example.run)
            say("It waits for a person. Here is the approval:")
            self._command("vela-workflow", "resume", example.run)
            code = self._command("vela-workflow", "wait", example.run, "--timeout", PATIENCE, check=False)
        self._command("vela-workflow", "status", example.run)
        if code:
            self.failed.append(example.run)

    def _fresh_namespace(self) -> None:
        """An empty namespace, whatever an earlier demonstration left behind."""
        self._captured("kubectl", "delete", "namespace", self.namespace, "--ignore-not-found")
        self._captured("kubectl", "create", "namespace", self.namespace)

    @contextlib.contextmanager
    def _operator(self) -> Iterator[None]:
        """A running operator; a failure within the block shows the end of its log."""
        with tempfile.TemporaryDirectory(prefix="vela-workflow-demo-") as folder:
            log = Path(folder) / "operator.log"
            process = Process("the operator", self._operator_command(), log, Path(folder))
            started = time.monotonic()
            try:
                wait_until("the operator", lambda: RUNNING in log.read_text(encoding="utf-8") or None, process)
                say(f"running ({time.monotonic() - started:.1f} s)")
                yield
                if self.failed:
                    say(f"the log of the operator:\n{tail(log, 60)}")
            except ToolError:
                say(f"the log of the operator:\n{tail(log, 60)}")
                raise
            finally:
                if process.running:
                    os.kill(process.pid, signal.SIGTERM)
                    process.wait()
            say("\nThe operator is stopped.")

    def _operator_command(self) -> list[str | Path]:
        settings = [f"--kubeconfig={self._kubeconfig}", f"--cue={self._tools['cue']}", f"--namespace={self.namespace}"]
        return ["/usr/bin/env", f"PYTHONPATH={ROOT}", *_program("vela-workflow", self._tools), "operator", *settings]

    def _command(self, *words: str, check: bool = True) -> int:
        """Show a command, run it, show what it prints, and return its exit code."""
        say(f"$ {' '.join(words)}")
        # Through a pipe, so that progress comes as lines, on a terminal too.
        process = subprocess.Popen(
            self._real(words),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(),
        )
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                say(f"  {line.rstrip()}")
        if check and process.returncode:
            raise ToolError(f"`{' '.join(words)}` ended with {process.returncode}")
        return process.returncode

    def _captured(self, *words: str) -> str:
        """Show a command, run it, and return what it prints."""
        say(f"$ {' '.join(words)}")
        done = subprocess.run(
            self._real(words), cwd=ROOT, capture_output=True, text=True, env=self._environment(), check=False
        )
        if done.returncode:
            raise ToolError(f"`{' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    @staticmethod
    def _summary(text: str) -> None:
        lines = text.splitlines()
        types = [line for line in lines if line.startswith("workflowstepdefinition.")]
        for line in lines:
            if line not in types:
                say(f"  {line}")
        say(f"  and {len(types)} step types")

    def _real(self, words: tuple[str, ...]) -> list[str]:
        namespaced = [] if "namespace" in words or "install" in words else [f"--namespace={self.namespace}"]
        return [*_program(words[0], self._tools), *words[1:], *namespaced]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self._kubeconfig)}


def _program(name: str, tools: dict[str, Path]) -> list[str]:
    """How a command is started: our own by the interpreter that runs this, the others from where they were found."""
    return [sys.executable, "-m", "vela_workflow.cli.main"] if name == "vela-workflow" else [str(tools[name])]


def title(text: str) -> None:
    """Print the headline of a part."""
    say(f"\n== {text}")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Show the demonstration and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--kubeconfig", type=Path, help="a cluster to use; by default a local one is started")
    parser.add_argument("--namespace", default="demo", help="made anew for the demonstration (demo)")
    options = parser.parse_args(arguments)
    try:
        title("Tools and cluster")
        tools = binaries.ensure(["cue", "kubectl"], tell=say)
        kubeconfig = options.kubeconfig.absolute() if options.kubeconfig else _cluster()
        demo = Demo(tools, kubeconfig, options.namespace)
        demo.run()
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if demo.failed:
        print(f"error: did not succeed: {', '.join(demo.failed)}", file=sys.stderr)
        return 1
    say(_how_to_go_on(kubeconfig))
    return 0


def _cluster() -> Path:
    folder = lifecycle.default_folder()
    if os.environ.get("CLUSTER") == "kind":
        return Path(kind.up(folder, say))
    lifecycle.up(folder, say)
    return lifecycle.kubeconfig(folder)


def _how_to_go_on(kubeconfig: Path) -> str:
    return f"""
All runs have succeeded. To go on:

  export KUBECONFIG={kubeconfig}
  make run            the operator, for all namespaces, until Ctrl-C
  kubectl apply -f examples/…, vela-workflow --help, vela-workflow status …   (in .venv/bin)
  make cluster-down   stops the local cluster"""


if __name__ == "__main__":
    sys.exit(main())
