"""What the import contracts (``.importlinter``) cannot say about who starts programs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "vela_workflow"

STARTERS = {
    "cue/sandbox.py": "evaluates templates",
    "cli/about.py": "asks cue and helm for their versions",
    "cli/kubeconfig.py": "runs the credential plugins that a user's kubeconfig names",
}
"""Modules that may start programs, and what for."""

MODULES = ("subprocess", "multiprocessing", "pty")
FUNCTIONS = (
    "create_subprocess_exec",
    "create_subprocess_shell",
    "subprocess_exec",
    "subprocess_shell",
    "system",
    "popen",
    "fork",
    "forkpty",
    "posix_spawn",
    "posix_spawnp",
)


def starts(text: str) -> list[str]:
    """What in the text of a module starts programs, as ``line: name``."""
    return [f"{line}: {name}" for line, name in _starts(ast.parse(text))]


def _starts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
            yield from ((node.lineno, name) for name in names if name in MODULES)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found = [(node.module or "").partition(".")[0], *(alias.name for alias in node.names)]
            yield from ((node.lineno, name) for name in found if name in MODULES or name in FUNCTIONS)
        elif isinstance(node, ast.Attribute) and _is_start(node):
            yield node.lineno, node.attr


def _is_start(node: ast.Attribute) -> bool:
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    named = node.attr in FUNCTIONS or node.attr.startswith(("exec", "spawn"))
    return named and owner in {"os", "asyncio", "loop"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("import subprocess", ["1: subprocess"], id="the module"),
        pytest.param("from subprocess import run", ["1: subprocess"], id="a name of the module"),
        pytest.param(
            "import asyncio\nasyncio.create_subprocess_exec('ls')", ["2: create_subprocess_exec"], id="asyncio"
        ),
        pytest.param("import os\nos.execv('/bin/ls', [])", ["2: execv"], id="another program in our place"),
        pytest.param("import os\nos.system('ls')", ["2: system"], id="a shell"),
        pytest.param("import os\nos.environ.get('PATH')", [], id="the environment is no program"),
    ],
)
def test_the_search_finds_what_starts_programs(text: str, found: list[str]) -> None:
    assert starts(text) == found


def test_only_these_modules_start_programs() -> None:
    found = {
        str(path.relative_to(PACKAGE)): starts(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    assert {name for name, lines in found.items() if lines} == set(STARTERS), found
