"""Builds of Go programs from the module proxy, each pinned, into a cache.

Most programs are built as ``go install`` would. Two cannot be: the main package of etcd lies in a module whose own
``go.mod`` has relative replacements, and Kubernetes requires its staging modules (``k8s.io/api``, ``k8s.io/client-go``,
…) as ``v0.0.0``, replaced by folders of its own repository. Both are built from a small module of ours that requires
them; for Kubernetes it also replaces each staging module by the release that belongs to it (``v1.34.4`` → ``v0.34.4``).

A build writes to a temporary name and renames it at the end, so a file in the cache is always whole; a lock per
program keeps two processes from building the same one. What Go has downloaded and compiled stays in Go's own caches,
so an interrupted build goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.errors import ToolError, tail

STAGING = re.compile(r"^\s*(?:replace\s+)?(?P<module>\S+)\s+=>\s+\./staging/\S+", re.MULTILINE)
GO_DIRECTIVE = re.compile(r"^go\s+(?P<version>\S+)", re.MULTILINE)

PROGRESS_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Source:
    """Where a Go program comes from.

    ``staged`` is the version of the staging modules when the module's own go.mod replaces them by folders. ``stamps``
    are link-time variables (``importpath.name`` → value), for programs that ask git for their version.
    """

    package: str
    module: str
    version: str
    staged: str = ""
    stamps: tuple[tuple[str, str], ...] = ()


def kubernetes_stamps(version: str) -> tuple[tuple[str, str], ...]:
    """The link-time variables that tell a Kubernetes program its version; without them it says ``v0.0.0-master``."""
    major, minor, _ = version.removeprefix("v").split(".", 2)
    values = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": version,
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple((f"{package}.{name}", value) for package in packages for name, value in values.items())


def go_mod(source: Source, upstream: str) -> str:
    """Return the go.mod of a module that builds ``source``; ``upstream`` is the go.mod of the module it comes from.

    Only what the upstream file replaces by ``./staging/…`` is replaced: other modules that are called ``k8s.io/…``
    (``k8s.io/utils``, ``k8s.io/klog``) have versions of their own.
    """
    directive = GO_DIRECTIVE.search(upstream)
    lines = ["module tools.invalid/build", "", f"go {directive['version'] if directive else '1.24.0'}", ""]
    lines.append(f"require {source.module} {source.version}")
    if source.staged:
        staging = sorted({match["module"] for match in STAGING.finditer(upstream)})
        lines += ["", "replace (", *(f"\t{module} => {module} {source.staged}" for module in staging), ")"]
    return "\n".join(lines) + "\n"


def build(source: Source, target: Path, log: Path, tell: Callable[[str], None]) -> None:
    """Build ``source`` to the file ``target``; the output of Go goes to ``log``.

    Raises ``ToolError`` with the end of the log when that fails, or when there is no Go.
    """
    go = shutil.which("go")
    if go is None:
        raise ToolError(
            f"{target.name} is not installed and cannot be built: there is no `go` on PATH. Install Go 1.24 or newer "
            f"(https://go.dev/dl), or put `{source.package.rsplit('/', 1)[-1]}` on PATH or in KUBEBUILDER_ASSETS."
        )
    work = target.with_name(f".{target.name}.build")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("w", encoding="utf-8") as output:
            tell("downloading")
            upstream = _upstream_go_mod(go, source, work, output.fileno(), log)
            (work / "go.mod").write_text(go_mod(source, upstream), encoding="utf-8")
            tell("compiling")
            flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in source.stamps)])
            command = [go, "build", "-mod=mod", "-trimpath", "-ldflags", flags, "-o", str(work / "out"), source.package]
            if _run(command, work, output.fileno(), lambda: tell("still compiling")):
                raise ToolError(f"building {target.name} failed; the end of {log}:\n{tail(log)}")
        (work / "out").replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _upstream_go_mod(go: str, source: Source, work: Path, log_descriptor: int, log: Path) -> str:
    """Download the module and return the text of its go.mod."""
    command = [go, "mod", "download", "-json", f"{source.module}@{source.version}"]
    found = subprocess.run(
        command, cwd=work, env=_environment(), stdout=subprocess.PIPE, stderr=log_descriptor, text=True, check=False
    )
    if found.returncode:
        detail = json.loads(found.stdout).get("Error", "") if found.stdout.lstrip().startswith("{") else found.stdout
        raise ToolError(f"downloading {source.module}@{source.version} failed: {detail}\n{tail(log)}")
    return Path(json.loads(found.stdout)["GoMod"]).read_text(encoding="utf-8")


def _run(command: list[str], work: Path, log_descriptor: int, still: Callable[[], None]) -> int:
    """Run a command to its end and return its exit code; ``still`` is called now and then while it lasts."""
    with subprocess.Popen(
        command, cwd=work, env=_environment(), stdin=subprocess.DEVNULL, stdout=log_descriptor, stderr=log_descriptor
    ) as process:
        while True:
            try:
                return process.wait(timeout=PROGRESS_SECONDS)
            except subprocess.TimeoutExpired:
                still()


def _environment() -> dict[str, str]:
    """The environment of a build: static programs, and no workspace or vendor settings of the caller's."""
    return {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-buildvcs=false", "GO111MODULE": "on"}
