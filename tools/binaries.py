"""The programs that PyPI does not have: where they are looked for, and how they come to be.

The order: ``KUBEBUILDER_ASSETS`` (the habit of Kubernetes test suites), ``PATH``, the cache of earlier builds, and last
a build from the Go module proxy. ``cue`` is taken from outside the cache only in the pinned version, because templates
are evaluated differently from one version to the next; the others are taken as they are.

The cache is ``$VELA_WORKFLOW_CACHE``, else ``$XDG_CACHE_HOME/vela-workflow``, else ``~/.cache/vela-workflow``; a build
is ``bin/<name>-<version>`` there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tools import gobuild, locks
from tools.errors import ToolError

Tell = Callable[[str], None]

KUBERNETES = "v1.34.4"
KUBERNETES_STAGED = "v0.34.4"


@dataclass(frozen=True, slots=True)
class Tool:
    """One program: its name, its pinned source, and for an exact tool the arguments that make it tell its version."""

    name: str
    source: gobuild.Source
    exact: tuple[str, ...] = ()


def _kubernetes(name: str) -> Tool:
    stamps = gobuild.kubernetes_stamps(KUBERNETES)
    return Tool(
        name,
        gobuild.Source(f"k8s.io/kubernetes/cmd/{name}", "k8s.io/kubernetes", KUBERNETES, KUBERNETES_STAGED, stamps),
    )


def _plain(name: str, package: str, module: str, version: str, exact: tuple[str, ...] = ()) -> Tool:
    return Tool(name, gobuild.Source(package, module, version), exact)


# In the order of their size, so that the first results come soon.
TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        _plain("cue", "cuelang.org/go/cmd/cue", "cuelang.org/go", "v0.17.1", exact=("version",)),
        _plain("etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", "v3.6.8"),
        _plain("kwok", "sigs.k8s.io/kwok/cmd/kwok", "sigs.k8s.io/kwok", "v0.8.0"),
        _plain("helm", "helm.sh/helm/v3/cmd/helm", "helm.sh/helm/v3", "v3.22.0"),
        _kubernetes("kubectl"),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _plain("kind", "sigs.k8s.io/kind", "sigs.k8s.io/kind", "v0.30.0"),
    )
}
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
DEFAULT = ("cue", "helm", "kubectl", *CONTROL_PLANE)


def cache_directory() -> Path:
    """The folder of all that is kept between runs (see the module's text)."""
    own = os.environ.get("VELA_WORKFLOW_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vela-workflow"


def cached_path(tool: Tool) -> Path:
    """Where a build of ``tool`` is kept."""
    return cache_directory() / "bin" / f"{tool.name}-{tool.source.version}"


def find(tool: Tool) -> Path | None:
    """Return the program without building it, or ``None``."""
    for candidate in _outside(tool.name):
        if not tool.exact or _tells_version(candidate, tool):
            return candidate
    cached = cached_path(tool)
    return cached if _runnable(cached) else None


def ensure(names: Iterable[str] = DEFAULT, tell: Tell = print) -> dict[str, Path]:
    """Find or build the named programs; returns their absolute paths by name.

    ``tell`` gets one line per thing that happens. Raises ``ToolError`` for an unknown name, a missing Go and a build
    that fails.
    """
    wanted = list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in TOOLS]
    if unknown:
        raise ToolError(f"no such tool: {', '.join(unknown)}. There are: {', '.join(TOOLS)}.")
    return {name: _ensure_one(TOOLS[name], tell) for name in wanted}


def _ensure_one(tool: Tool, tell: Tell) -> Path:
    found = find(tool)
    if found is not None:
        tell(f"{tool.name}: {found}")
        return found
    target = cached_path(tool)
    started = time.monotonic()

    def progress(what: str) -> None:
        tell(f"{tool.name}: {what} {tool.source.version} ({time.monotonic() - started:.0f} s)")

    lock_path = target.with_name(f".{target.name}.lock")
    lock = locks.try_acquire(lock_path)
    if lock is None:
        progress("waiting for another process that builds")
        lock = locks.acquire(lock_path)
    with lock:
        if not _runnable(target):  # the process waited for has perhaps built it
            gobuild.build(tool.source, target, cache_directory() / "log" / f"{target.name}.log", progress)
    tell(f"{tool.name}: {target} (built in {time.monotonic() - started:.0f} s)")
    return target


def _outside(name: str) -> Iterable[Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and _runnable(Path(assets) / name):
        yield (Path(assets) / name).absolute()
    on_path = shutil.which(name)
    if on_path:
        yield Path(on_path).absolute()


def _runnable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _tells_version(path: Path, tool: Tool) -> bool:
    """Whether the program says that it is the pinned version, as a whole word."""
    try:
        told = subprocess.run([path, *tool.exact], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tool.source.version in told.stdout.split()
