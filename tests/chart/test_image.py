"""The image, as far as it goes without a container engine: every stage but the building of cue and helm is carried out.

The wheel is built from what the Dockerfile copies, installed into an empty environment with the pinned requirements,
and its entry point is asked for its version.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools import binaries

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines()


def stages() -> dict[str, list[str]]:
    """The instructions of each stage by its name; the last one is called ``image``."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in LINES:
        if match := re.match(r"FROM .*?(?: AS (\w+))?$", line):
            name = match[1] or "image"
            found[name] = []
        elif name and line and not line.startswith("#"):
            found[name].append(line)
    return found


STAGES = stages()


def copied(stage: str) -> list[str]:
    """What a stage copies of this checkout."""
    found: list[str] = []
    for line in STAGES[stage]:
        words = line.split()
        if words[0] == "COPY" and not words[1].startswith("--from"):
            found += words[1:-1]
    return found


def argument(name: str) -> str:
    """The default of a build argument."""
    match = re.search(rf"^ARG {name}=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert match is not None, f"there is no ARG {name}"
    return match[1]


@pytest.mark.parametrize("name", [name for stage in STAGES for name in copied(stage)])
def test_what_is_copied_exists_and_is_let_in(name: str) -> None:
    assert (ROOT / name).exists()
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert any(fnmatch.fnmatch(name, pattern) for pattern in allowed), f".dockerignore keeps {name} out"


@pytest.mark.parametrize(("argument_name", "tool"), [("CUE_VERSION", "cue"), ("HELM_VERSION", "helm")])
def test_versions_are_those_that_are_tested(argument_name: str, tool: str) -> None:
    assert argument(argument_name) == binaries.TOOLS[tool].source.version


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert argument("VERSION") == project["version"]


def test_the_image_is_small_and_harmless() -> None:
    image = STAGES["image"]
    users = [line.split()[1] for line in image if line.startswith("USER")]
    assert users and all(user.partition(":")[0] != "0" and user[0].isdigit() for user in users)
    assert not [line for line in image if line.startswith("RUN")], "what is run belongs into a stage before"
    assert [line for line in image if line.startswith("ENTRYPOINT")] == ['ENTRYPOINT ["vela-workflow"]']
    environment = " ".join(line for line in image if line.startswith("ENV"))
    assert "TMPDIR=/tmp" in environment and "HOME=/tmp" in environment


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stage that builds the wheel sees."""
    folder = tmp_path_factory.mktemp("source")
    for name in copied("wheel"):
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(path, folder / name)
    return folder


@pytest.fixture(scope="module")
def environment(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the pinned requirements and the wheel."""
    wheels, folder = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("image") / "environment"
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, source)
    _run(sys.executable, "-m", "venv", "--without-pip", folder)
    install = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    _run(*install, "--require-hashes", "-r", ROOT / "requirements.txt")
    (wheel,) = wheels.glob("vela_workflow-*.whl")
    _run(*install, "--no-deps", wheel)
    return folder


def _run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=600, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{command}: {done.stderr[-4000:]}"
    return done.stdout


def test_the_entry_point_answers(environment: Path, tmp_path: Path) -> None:
    told = _run(environment / "bin" / "vela-workflow", "version", "--client", HOME=str(tmp_path), PYTHONPATH="")
    assert argument("VERSION") in told


def test_the_operator_says_what_it_lacks(environment: Path, tmp_path: Path) -> None:
    """The wheel is whole: it gets as far as looking for a cluster, from outside of the checkout."""
    done = subprocess.run(
        [environment / "bin" / "vela-workflow", "operator", "--cue", "no-such-cue", "--kubeconfig", "/no/such/file"],
        capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path, env={"HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "/no/such/file" in done.stderr or "no-such-cue" in done.stderr


def test_crds_and_definitions_are_in_the_wheel(environment: Path, tmp_path: Path) -> None:
    told = _run(environment / "bin" / "vela-workflow", "install", "--dry-run", "-o", "json", HOME=str(tmp_path))
    for path in (ROOT / "definitions" / "steps").glob("*.cue"):
        assert f'"{path.stem}"' in told


def test_nothing_of_development_is_in_it(environment: Path) -> None:
    names = {path.name.lower() for path in environment.glob("lib/python*/site-packages/*")}
    assert not names & {"pytest", "ruff", "mypy", "hypothesis", "xdist", "aiosmtpd", "pip", "build", "hatchling"}
    assert not [name for name in names if name in {"tests", "tools", "bench", "deploy"}]
