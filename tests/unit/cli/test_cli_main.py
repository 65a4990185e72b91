"""The command line as a whole: quick help, help that agrees with itself, errors in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vela_workflow import __version__
from vela_workflow.cli import main

HEAVY = ("pykube", "requests", "rich", "yaml", "pydantic", "kopf", "kubernetes", "aiohttp", "vela_workflow.engine")
NEVER = ("kopf", "kubernetes", "aiohttp")

PROBE = """
import contextlib, sys
from vela_workflow.cli import main
names, heavy = sys.argv[1].split(","), tuple(sys.argv[2].split(","))
for name in names:
    with contextlib.suppress(SystemExit):
        main.app([*name.split(), "--help"])
print(*(name for name in sys.modules if name.startswith(heavy)), file=sys.stderr)
"""


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()


def imported_by_help(*commands: str, heavy: tuple[str, ...]) -> str:
    """Which of the modules ``heavy`` are imported by the help of these commands."""
    arguments = [sys.executable, "-c", PROBE, ",".join(commands), ",".join(heavy)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.count("Usage: ") == len(commands)
    return done.stderr.strip()


def test_help_imports_nothing_heavy() -> None:
    assert imported_by_help("", heavy=HEAVY) == ""


def test_no_command_imports_what_only_the_operator_needs() -> None:
    commands = [name for name in main.COMMANDS if name != "operator"]
    assert imported_by_help(*commands, heavy=NEVER) == ""


@pytest.mark.parametrize("name", main.COMMANDS)
def test_help_of_a_command(runner: CliRunner, name: str) -> None:
    shown = runner.invoke(main.app, [name, "--help"], prog_name="vela-workflow", env={"COLUMNS": "500"})
    assert shown.exit_code == 0
    lines = [line.strip() for line in shown.stdout.splitlines()]
    assert lines[2] == main.COMMANDS[name].help
    examples = lines[lines.index("Examples:") + 1 :]
    assert any(f"vela-workflow {name}" in line for line in examples)


def test_help_lists_every_command(runner: CliRunner) -> None:
    shown = runner.invoke(main.app, ["-h"]).stdout
    for name, entry in main.COMMANDS.items():
        assert f"  {name} " in shown
        assert entry.help.split()[0] in shown


@pytest.mark.parametrize("name", ["def", "cluster"])
def test_help_of_a_group_cuts_no_sentence(runner: CliRunner, name: str) -> None:
    shown = runner.invoke(main.app, [name, "--help"], env={"COLUMNS": "80"}).stdout
    listed = shown.partition("Commands:")[2].partition("Examples:")[0]
    assert "..." not in listed
    assert listed.strip().endswith(".")


@pytest.mark.parametrize("arguments", ["--help", "ls --help", "completion bash"])
def test_an_output_that_cannot_be_written_is_told_in_one_line(arguments: str) -> None:
    command = [sys.executable, "-m", "vela_workflow.cli.main", *arguments.split()]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: cannot write the output: No space left on device\n")


def test_version(runner: CliRunner) -> None:
    told = runner.invoke(main.app, ["--version"]).stdout.split()
    assert told[:3:2] == ["vela-workflow", "cue"]
    assert told[1] == __version__
    lines = runner.invoke(main.app, ["version", "--client"]).stdout.splitlines()
    assert lines[0].split() == ["vela-workflow", __version__]
    assert [line.split()[0] for line in lines[1:]] == ["cue", "helm"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["lss"], "Did you mean 'ls'?", id="misspelt-command"),
        pytest.param(["list"], "No such command 'list'. Did you mean 'ls'?", id="a-command-of-others"),
        pytest.param(["def", "list"], "No such command 'list'. Did you mean 'ls'?", id="the-same-in-a-group"),
        pytest.param(["cluster", "retry"], "No such command 'retry'.", id="a-command-of-others-that-is-not-here"),
        pytest.param(["status"], "Missing argument 'NAME'", id="missing-name"),
        pytest.param(["ls", "-o", "xml"], "'--output' / '-o': 'xml' is not one of", id="unknown-format"),
        pytest.param(["ls", "--phase", "running"], 'no phase "running"', id="unknown-phase"),
        pytest.param(["wait", "a", "--timeout", "10"], "a bare number has no unit", id="bare-timeout"),
        pytest.param(["wait", "a", "--timeout", "0s"], "no time to wait", id="no-time"),
        pytest.param(["install", "-o", "yaml"], "add --dry-run", id="print-while-installing"),
    ],
)
def test_usage_errors(
    runner: CliRunner, tmp_path: Path, arguments: list[str], said: str, kubeconfig_file: Path
) -> None:
    done = runner.invoke(main.app, arguments, env={"KUBECONFIG": str(kubeconfig_file)})
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["ls"], "cannot reach the API server at https://127.0.0.1:1: Connection refused", id="no-server"),
        pytest.param(["ls", "--context", "other"], 'no context "other"', id="no-context"),
        pytest.param(["status", "../secrets"], '"../secrets" cannot be the name', id="a-path-as-a-name"),
        pytest.param(["run", "missing.yaml"], "cannot read missing.yaml: No such file", id="no-file"),
        pytest.param(["operator", "--workers", "0"], "wrong settings: workers", id="wrong-setting"),
    ],
)
def test_errors_are_one_line(runner: CliRunner, arguments: list[str], said: str, kubeconfig_file: Path) -> None:
    done = runner.invoke(main.app, arguments, env={"KUBECONFIG": str(kubeconfig_file)})
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_script(runner: CliRunner, shell: str) -> None:
    done = runner.invoke(main.app, ["completion", shell])
    assert done.exit_code == 0
    assert "_VELA_WORKFLOW_COMPLETE" in done.stdout
    assert f"complete_{shell}" in done.stdout


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        pytest.param("vela-workflow st", ["status"], id="command"),
        pytest.param("vela-workflow wait --for s", ["succeeded", "suspended"], id="value"),
        pytest.param("vela-workflow ls --phase s", ["suspending", "succeeded"], id="phase"),
        pytest.param("vela-workflow ls --phase failed,su", ["failed,suspending", "failed,succeeded"], id="next-phase"),
        pytest.param("vela-workflow ls --context h", ["here"], id="context"),
        pytest.param("vela-workflow status x", [], id="name-without-a-cluster"),
        pytest.param("vela-workflow resume x --step a", [], id="step-without-a-cluster"),
    ],
)
def test_completion(words: str, completed: list[str], kubeconfig_file: Path) -> None:
    environment = {
        "_VELA_WORKFLOW_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "KUBECONFIG": str(kubeconfig_file),
    }
    command = [sys.executable, "-m", "vela_workflow.cli.main"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == completed
    assert done.stderr == ""


def test_every_setting_of_the_operator_is_a_flag(runner: CliRunner) -> None:
    from vela_workflow.settings import Settings

    shown = runner.invoke(main.app, ["operator", "--help"]).stdout
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in shown.split()


def test_as_a_plugin_of_kubectl(tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-vela_workflow"
    plugin.write_text("from vela_workflow.cli.main import main\nmain()\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(plugin), "ls", "-h"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: kubectl vela-workflow ls")
