"""Memory and CPU time of a process and its children, and what the machine is, from ``/proc``."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from tools.errors import ToolError

PROC = Path("/proc")
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")

# Fields of /proc/PID/stat behind the name in brackets, see proc(5).
PARENT, OWN_USER, OWN_SYSTEM, ENDED_USER, ENDED_SYSTEM = 1, 11, 12, 13, 14


def resident(pid: int) -> int:
    """Resident memory of a process and all below it, in bytes."""
    return sum(_resident(one) for one in _tree(pid))


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and all below it, with their children that have ended, in seconds."""
    times = (_stat(one) for one in _tree(pid))
    used = sum(
        int(found[index]) for found in times if found for index in (OWN_USER, OWN_SYSTEM, ENDED_USER, ENDED_SYSTEM)
    )
    return used / TICKS


def cpu_model() -> str:
    """The name of the processor."""
    try:
        found = re.search(r"^model name\s*: (.+)$", (PROC / "cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine()


def _tree(pid: int) -> list[int]:
    if not PROC.is_dir():
        raise ToolError("memory and CPU time are read from /proc, which this system does not have")
    children: dict[int, list[int]] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit() and (found := _stat(int(folder.name))):
            children.setdefault(int(found[PARENT]), []).append(int(folder.name))
    tree = [pid]
    for one in tree:
        tree += children.get(one, [])
    return tree


def _stat(pid: int) -> list[str]:
    """The fields behind the name; none when the process has ended."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _resident(pid: int) -> int:
    try:
        return int((PROC / str(pid) / "statm").read_text(encoding="utf-8").split()[1]) * PAGE
    except OSError:
        return 0
