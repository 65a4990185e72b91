from __future__ import annotations

from pathlib import Path

import pytest

from vela_workflow.cli import resources
from vela_workflow.cli.errors import CommandError


def test_the_checkout_has_both() -> None:
    assert list(resources.folder("crds").glob("*.yaml"))
    assert list(resources.folder("definitions").rglob("*.cue"))


def test_the_wheel_comes_before_the_checkout(tmp_path: Path) -> None:
    package = tmp_path / "vela_workflow"
    (tmp_path / "crds").mkdir()
    assert resources.folder("crds", package) == tmp_path / "crds"
    (package / "data/crds").mkdir(parents=True)
    assert resources.folder("crds", package) == package / "data/crds"
    with pytest.raises(CommandError, match="has no definitions"):
        resources.folder("definitions", package)
