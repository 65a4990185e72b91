"""Files that come with the program: in the wheel under ``vela_workflow/data``, in a checkout at its top."""

from __future__ import annotations

from pathlib import Path

from vela_workflow.cli.errors import CommandError

_PACKAGE = Path(__file__).resolve().parents[1]


def folder(name: str, package: Path = _PACKAGE) -> Path:
    """The folder ``crds`` or ``definitions``; raises ``CommandError`` when this installation lacks it."""
    for candidate in (package / "data" / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise CommandError(f"this installation has no {name} (looked in {package / 'data'}); install vela-workflow again")
