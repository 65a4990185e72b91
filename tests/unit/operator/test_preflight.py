"""What ends a start before it begins, and in which words."""

from __future__ import annotations

import logging
import re
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from vela_workflow import settings
from vela_workflow.cue.command import CUE_VERSION
from vela_workflow.operator import preflight

JSON = dict[str, Any]
GOOD: JSON = {"current-context": "a", "contexts": [{"name": "a"}, {"name": "b"}]}


def look(environment: Mapping[str, str], **chosen: object) -> None:
    preflight.check(settings.load(chosen, {}), environment)


@pytest.mark.parametrize(
    ("text", "context", "said"),
    [
        pytest.param(yaml.safe_dump(GOOD), "", "", id="current-context"),
        pytest.param(yaml.safe_dump(GOOD), "b", "", id="another-context"),
        pytest.param(yaml.safe_dump(GOOD), "c", 'has no context "c" (it has: a, b)', id="no-such-context"),
        pytest.param("contexts: []", "", "has no current-context; choose one", id="no-current-context"),
        pytest.param("current-context: a", "", 'no context "a" (it has: none)', id="no-contexts"),
        pytest.param("a: [", "", "cannot be read: while parsing", id="no-yaml"),
        pytest.param("text", "", "is no kubeconfig", id="another-file"),
        pytest.param(None, "", "there is no kubeconfig", id="no-file"),
    ],
)
def test_a_kubeconfig_that_nobody_can_use_ends_the_start(
    text: str | None, context: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    for environment, flags in (({}, {"kubeconfig": str(path)}), ({"KUBECONFIG": str(path)}, {})):
        if not said:
            look(environment, context=context, **flags)
            continue
        with pytest.raises(preflight.Unprepared) as caught:
            look(environment, context=context, **flags)
        assert said in caught.value.message
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message


def test_of_several_kubeconfigs_some_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    look({"KUBECONFIG": f"{tmp_path / 'missing'}:{path}"}, context="b")


def test_a_port_that_is_taken_ends_the_start(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(preflight.Unprepared, match=f"cannot listen on 127.0.0.1:{port} .*in use"):
            look({}, kubeconfig=str(path), admission_port=port, admission_address="127.0.0.1")
    look({}, kubeconfig=str(path), admission_port=port, admission_address="127.0.0.1")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("/nowhere/cue", "there is no /nowhere/cue; install cue v", id="path"),
        pytest.param("no-such-cue", "there is no command no-such-cue on PATH; install cue v", id="name"),
    ],
)
def test_without_cue_there_is_no_start(name: str, said: str) -> None:
    with pytest.raises(preflight.Unprepared, match=said):
        preflight.cue_command(name)


async def test_another_command_is_not_cue() -> None:
    other = shutil.which("true")
    assert other is not None
    with pytest.raises(preflight.Unprepared, match="does not tell a version of cue; install cue v"):
        await preflight.cue_version(preflight.cue_command(other))


async def test_another_version_of_cue_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    command = tmp_path / "cue"
    command.write_text("#!/bin/sh\necho cue version v0.9.0\n", encoding="utf-8")
    command.chmod(0o755)
    with caplog.at_level(logging.WARNING):
        assert await preflight.cue_version(str(command)) == "v0.9.0"
    (told,) = caplog.messages
    assert told.startswith(f"cue is v0.9.0; templates are tested with {CUE_VERSION}")


def test_the_version_of_cue_is_that_of_the_image() -> None:
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"ARG CUE_VERSION=(\S+)", image) == [CUE_VERSION]
