"""The one error that the tools show to people."""

from __future__ import annotations

from pathlib import Path


class ToolError(Exception):
    """Something about the tools or the local cluster is wrong; the text says what, where and what to do."""


def tail(path: Path, lines: int = 40) -> str:
    """Return the last ``lines`` lines of a log file, indented, or a note that there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"    (no log at {path})"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
