"""How many cores this process may use.

A container sees all cores of its node, however few it may use: the bound is a set of cores, or a share of time that the
kernel keeps (the CPU limit of a Pod). As many processes as the node has cores would only hold each other up, and want
memory all at once.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
"""Where the kernel tells a container its share: microseconds of each period, ``max`` for no bound."""


def usable(quota: Path = QUOTA) -> int:
    """The cores that this process may use, at least one."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(found, _share(quota, found)))


def _share(quota: Path, otherwise: int) -> int:
    try:
        microseconds, period = quota.read_text(encoding="ascii").split()
        return math.ceil(int(microseconds) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return otherwise
