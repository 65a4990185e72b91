"""The commands of the README do what it says, in the order it gives them, in a fresh environment.

The code blocks are taken from the text: ``sh`` blocks are run one after another in one shell, a ``yaml`` block with a
file name is that file, and a ``text`` block is what the ``sh`` block before it prints (durations may differ, and the
width of columns). Blocks with nothing but ``make`` are the business of CI and of ``test_demo.py``; what Helm installs is
that of ``test_helm_documented.py``.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.e2e.terminal import ROOT, Terminal
from tools.kubectl import Kubectl

BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "@@ block"
SOURCES = ("vela_workflow", "crds", "definitions", "tools", "pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block: its language, the file it is to be saved as (if any), its text."""

    language: str
    file: str
    text: str

    @property
    def is_make(self) -> bool:
        """Whether it holds nothing but calls of make."""
        return all(line.startswith("make ") for line in self.text.splitlines())

    @property
    def is_helm(self) -> bool:
        """Whether it calls Helm."""
        return self.language == "sh" and self.text.startswith("helm ")


def blocks(document: Path) -> list[Block]:
    """The code blocks of a document."""
    return [Block(*found) for found in BLOCK.findall(document.read_text(encoding="utf-8"))]


README = blocks(ROOT / "README.md")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the README needs of this checkout."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


@pytest.fixture
def programs(tmp_path: Path, kubectl: Kubectl) -> Path:
    """A folder for PATH: kubectl, and the Python that all this runs on."""
    folder = tmp_path / "bin"
    folder.mkdir()
    python = getattr(sys, "_base_executable", sys.executable)
    for name, target in (("kubectl", kubectl.binary), ("python3", python)):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(str(target))} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return folder


def script(found: list[Block]) -> str:
    """One script of all ``sh`` blocks; before what each prints there is a line with its number."""
    lines = ["set -euo pipefail"]
    for number, block in enumerate(found):
        if block.language == "sh" and not block.is_make and not block.is_helm:
            lines += [f"echo '{MARK}' {number}", block.text]
    return "\n".join([*lines, f"echo '{MARK}' end", "kill $!", "wait $! || true"])


def printed(output: str) -> dict[int, str]:
    """What each block printed, by its number."""
    parts = re.split(rf"^{MARK} (\w+)\n", output, flags=re.MULTILINE)
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True) if number != "end"}


def comparable(text: str) -> list[str]:
    """The lines of an output without what differs from time to time: durations and the width of columns."""
    lines = (re.sub(r"\b\d+(ms|s|m|m\d+s)(?=\s|$)", "<time>", line) for line in text.strip().splitlines())
    return [re.sub(r"\s+", " ", line).strip() for line in lines]


def test_its_commands_do_what_it_says(checkout: Path, programs: Path, terminal: Terminal) -> None:
    for block in README:
        if block.file:
            (checkout / block.file).write_text(block.text, encoding="utf-8")
    environment = {
        **{key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "KUBECONFIG": str(terminal.kubeconfig),
        "VELA_WORKFLOW_NAMESPACE": terminal.namespace,
    }
    with subprocess.Popen(
        ["bash", "-c", script(README)],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            output, errors = shell.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            output, errors = shell.communicate()
    log = checkout / "operator.log"
    assert shell.returncode == 0, (
        f"{output}\n{errors}\n{log.read_text() if log.exists() else 'no operator was started'}"
    )
    seen = printed(output)
    for number, block in enumerate(README):
        if block.language == "text":
            assert comparable(seen[number - 1]) == comparable(block.text)


def test_targets_of_make_are_there() -> None:
    wanted = {line.split()[1] for block in README if block.is_make for line in block.text.splitlines()}
    assert wanted == {"demo", "test"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [target for target in wanted if f"\n{target}:" not in makefile] == []


def test_every_block_is_of_a_known_sort() -> None:
    for before, block in zip([None, *README], README, strict=False):
        assert block.language in ("sh", "yaml", "text")
        if block.language == "yaml":
            assert block.file and yaml.safe_load(block.text)
        if block.language == "text":
            assert before is not None and before.language == "sh" and not before.is_make


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md", *sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")
)])  # fmt: skip
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []
