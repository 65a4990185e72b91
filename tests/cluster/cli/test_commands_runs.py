"""Starting, seeing and steering runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_support import EXECUTING, FAILED, RUN, STEPS, SUCCEEDED, SUSPENDED, UNATTENDED, Cli, Runs, entry

from tools.rest import Api
from vela_workflow.api import constants
from vela_workflow.cli import kube
from vela_workflow.cli import runs as on_cluster
from vela_workflow.engine import commands

JSON = dict[str, Any]


def document(name: str = "one", **more: Any) -> JSON:
    spec = {"workflowSpec": {"steps": STEPS}}
    return {
        "apiVersion": RUN.api_version,
        "kind": RUN.kind,
        "metadata": {"name": name, "annotations": UNATTENDED},
        "spec": spec,
        **more,
    }


def settings(name: str = "settings", **metadata: Any) -> JSON:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"on": "true"}}


WORKFLOW: JSON = {
    "apiVersion": constants.WORKFLOW.api_version,
    "kind": constants.WORKFLOW.kind,
    "metadata": {"name": "flow"},
    "steps": STEPS,
}


# --- run and rerun


def test_run_a_file_with_other_objects(cli: Cli, runs: Runs, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump_all([document(), settings()]), encoding="utf-8")
    done = cli("run", str(file), "--set", "image=nginx:1.29", "--set", "steps.build.retries=3", "--debug")
    assert (done.code, done.err) == (0, "")
    assert done.lines == ["configmap/settings applied", "workflowrun.core.oam.dev/one created"]
    found = runs.get("one")
    assert found["spec"]["context"] == {"image": "nginx:1.29"}
    assert found["spec"]["workflowSpec"]["steps"][0]["properties"] == {"retries": 3}
    assert found["metadata"]["annotations"] == {**UNATTENDED, constants.ANNOTATION_DEBUG: "true"}
    again = cli("run", str(file))
    assert again.code == 1
    assert "the run one is there already" in again.err
    assert "vela-workflow rerun one" in again.err


def test_run_a_workflow_alone(cli: Cli, runs: Runs) -> None:
    done = cli("run", "-", "-o", "name", stdin=json.dumps(WORKFLOW))
    assert done.code == 0
    (name,) = runs.names()
    assert done.lines == [f"workflowrun.core.oam.dev/{name}"]
    assert name.startswith("flow-")
    assert runs.get(name)["spec"] == {"workflowRef": "flow"}
    shown = cli("status", name)
    assert [line.split()[2] for line in shown.lines[1:]] == ["build", "approve", "release"], "the steps of the Workflow"


def test_run_under_another_name_and_with_generated_names(cli: Cli, runs: Runs) -> None:
    generated = document()
    generated["metadata"] = {"generateName": "gen-", "annotations": UNATTENDED}
    assert cli("run", "-", "--name", "chosen", stdin=json.dumps(generated)).code == 0
    assert cli("run", "-", stdin=json.dumps(generated)).code == 0
    other, chosen = sorted(runs.names(), key=lambda name: name == "chosen")
    assert chosen == "chosen"
    assert other.startswith("gen-")


def test_retry_on_keeps_its_name(cli: Cli, runs: Runs) -> None:
    text = yaml.safe_dump(document()).replace("type: apply-job", "type: apply-job\n      retry: {on: [fail]}")
    assert cli("run", "-", stdin=text).code == 0
    assert runs.get("one")["spec"]["workflowSpec"]["steps"][0]["retry"] == {"on": ["fail"]}


@pytest.mark.parametrize(
    ("documents", "arguments", "said"),
    [
        pytest.param([settings()], [], "no WorkflowRun and no Workflow either", id="nothing-to-run"),
        pytest.param([document(), document("b")], ["--name", "x"], "--name fits one run", id="a-name-for-two"),
        pytest.param(
            [document(), settings(namespace="kube-system")], [], "the file says namespace kube-system", id="namespace"
        ),
        pytest.param(
            [document(), {"apiVersion": "v1", "kind": "Nothing", "metadata": {"name": "x"}}],
            [],
            "the cluster has no kind Nothing in v1",
            id="unknown-kind",
        ),
        pytest.param(
            [document("Not A Name")], [], 'metadata.name: Invalid value: "Not A Name"', id="refused-by-the-server"
        ),
        pytest.param([document(spec={"workflowSpec": {"steps": [{"name": "x"}]}})], [], "type: Required", id="schema"),
        pytest.param([document(spec={"steps": []})], [], 'unknown field "spec.steps"', id="a-field-in-the-wrong-place"),
    ],
)
def test_run_that_is_refused(cli: Cli, runs: Runs, documents: list[JSON], arguments: list[str], said: str) -> None:
    done = cli("run", "-", *arguments, stdin=yaml.safe_dump_all(documents))
    assert (done.code, done.out) == (1, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert runs.names() == []


def test_what_the_server_warns_of_is_told_once(cli: Cli, runs: Runs) -> None:
    warned = [document(name, metadata={"name": name, "finalizers": ["x"]}) for name in ("a", "b")]
    done = cli("run", "-", stdin=yaml.safe_dump_all(warned))
    assert (done.code, len(done.lines)) == (0, 2)
    assert done.err.startswith('warning: metadata.finalizers: "x"')
    assert done.err.count("\n") == 1
    for name in "ab":
        runs.admin.patch(RUN.api_version, RUN.kind, name, {"metadata": {"finalizers": None}}, runs.namespace)


def test_rerun(cli: Cli, runs: Runs) -> None:
    runs.create("old", FAILED, labels={"team": "shop"}, annotations={constants.ANNOTATION_RESTART: "*"})
    assert cli("rerun", "old", "--set", "image=b").code == 0
    assert cli("rerun", "old", "--name", "new").lines == ["workflowrun.core.oam.dev/new created"]
    new = runs.get("new")
    assert new["metadata"]["labels"] == {"team": "shop"}
    assert new["metadata"]["annotations"] == UNATTENDED
    assert new["spec"] == runs.get("old")["spec"]
    assert not runs.status("new")
    (generated,) = set(runs.names()) - {"old", "new"}
    assert generated.startswith("old-")
    assert runs.get(generated)["spec"]["context"] == {"image": "b"}


# --- ls, status, show


def test_ls(cli: Cli, runs: Runs) -> None:
    assert cli("ls").err == f"no runs in namespace {runs.namespace}\n"
    runs.create("a", EXECUTING, labels={"team": "shop"})
    runs.create("b", FAILED)
    runs.create("c")
    lines = [line.split() for line in cli("ls").lines]
    assert lines[0] == ["NAME", "PHASE", "STEPS", "STEP", "SINCE", "AGE"]
    assert [line[:3] for line in lines[1:3]] == [["a", "executing", "0/3"], ["b", "failed", "3/3"]]
    assert " ".join(lines[3][:3]) == "c not started"
    assert [line.split()[0] for line in cli("ls", "--phase", "failed,executing", "-l", "team=shop").lines] == [
        "NAME",
        "a",
    ]
    assert cli("ls", "-o", "name", "--phase", "failed").lines == ["workflowrun.core.oam.dev/b"]
    assert 'step "build" failed (Action): no' in cli("ls", "-o", "wide").out
    everywhere = [line.split()[:2] for line in cli("ls", "-A").lines]
    assert [runs.namespace, "a"] in everywhere
    assert everywhere[0] == ["NAMESPACE", "NAME"]


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_ls_for_programs(cli: Cli, runs: Runs, form: str, read: Any) -> None:
    runs.create("a", EXECUTING)
    found = read(cli("ls", "-o", form).out)
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    (item,) = found["items"]
    assert (item["apiVersion"], item["kind"]) == (RUN.api_version, RUN.kind)
    assert item["status"]["currentStep"] == "build"
    assert "managedFields" not in item["metadata"]


def test_ls_reads_all_chunks(cli: Cli, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "LIST_CHUNK", 2)
    for name in "abcde":
        runs.create(name)
    assert cli("ls", "-o", "name").out.count("/") == 5


def test_status_and_show(cli: Cli, runs: Runs) -> None:
    runs.create("a", SUSPENDED)
    assert [line.rstrip() for line in cli("status", "a").lines] == [
        "‖ a  suspending  1/3 steps",
        '  step "approve": please look',
        "├── ✔ build (x)  succeeded  5s",
        cli("status", "a").lines[3],
        "│     please look",
        "└── ○ release (apply-object)  not started",
    ]
    assert cli("status", "a").lines[3].startswith("├── ‖ approve (x)  suspending Suspend  ")
    assert yaml.safe_load(cli("show", "a").out)["status"]["suspend"] is True
    assert json.loads(cli("show", "a", "-o", "json").out)["metadata"]["name"] == "a"
    missing = cli("status", "b")
    assert (missing.code, missing.err) == (
        1,
        f'error: workflowruns.core.oam.dev "b" not found in namespace {runs.namespace}\n',
    )


# --- suspend, resume, terminate, restart, delete


def test_suspend_and_resume(cli: Cli, runs: Runs) -> None:
    runs.create("a", EXECUTING)
    assert cli("suspend", "a").lines == ["Successfully suspend workflow: a"]
    status = runs.status("a")
    assert (status["suspend"], status["steps"][0]["phase"]) == (True, "suspending")
    assert cli("resume", "a", "--step", "build").lines == ["Successfully resume workflow a from step build"]
    status = runs.status("a")
    assert (status["suspend"], status["steps"][0]["phase"]) == (False, "running")
    version = runs.get("a")["metadata"]["resourceVersion"]
    assert cli("resume", "a").lines == ["nothing to do: a is not suspended"]
    assert runs.get("a")["metadata"]["resourceVersion"] == version, "nothing to do, nothing written"


def test_terminate(cli: Cli, runs: Runs) -> None:
    runs.create("a", SUSPENDED)
    assert cli("terminate", "a").lines == ["Successfully terminate workflow: a"]
    status = runs.status("a")
    assert (status["terminated"], status["suspend"]) == (True, False)
    assert (status["steps"][1]["phase"], status["steps"][1]["reason"]) == ("failed", "Terminate")
    assert status["steps"][0]["phase"] == "succeeded"


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        pytest.param(["suspend"], FAILED, "can not suspend a terminated workflow", id="suspend-ended"),
        pytest.param(["suspend", "--step", "x"], EXECUTING, "can not find step x", id="suspend-unknown-step"),
        pytest.param(["resume"], FAILED, "can not resume a terminated workflow", id="resume-ended"),
        pytest.param(["resume", "--step", "build"], SUSPENDED, "can not find step build", id="resume-running-step"),
        pytest.param(["restart", "--step", "x"], FAILED, 'no step "x" that was run', id="restart-unknown-step"),
        pytest.param(["restart", "--step", "release"], EXECUTING, "there are: build", id="restart-step-not-run"),
        pytest.param(["restart", "--step", "build"], EXECUTING, "has not ended, it is running", id="restart-running"),
    ],
)
def test_what_makes_no_sense_is_refused(cli: Cli, runs: Runs, command: list[str], status: JSON, said: str) -> None:
    before = runs.create("a", status)
    done = cli(command[0], "a", *command[1:])
    assert (done.code, done.out) == (1, "")
    assert said in done.err
    assert runs.get("a")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_a_change_in_between_is_not_overwritten(cli: Cli, runs: Runs) -> None:
    runs.create("a", EXECUTING)
    asked: list[JSON] = []

    def suspend(status: JSON) -> commands.Command:
        asked.append(status)
        if len(asked) == 1:
            runs.write("a", steps=[entry("build", "succeeded"), entry("approve", "running")])
        return commands.suspend(status, "a")

    with kube.Kube(str(cli.kubeconfig), namespace=runs.namespace) as cluster:
        on_cluster.command(cluster, "a", suspend)
    assert len(asked) == 2
    phases = {step["name"]: step["phase"] for step in runs.status("a")["steps"]}
    assert phases == {"build": "succeeded", "approve": "suspending"}


def test_restart_asks_the_operator_once(cli: Cli, runs: Runs) -> None:
    runs.create("a", FAILED)
    assert cli("restart", "a", "--step", "build").lines == ["restart of a asked for, from step build on"]
    asked = runs.get("a")["metadata"]["annotations"][constants.ANNOTATION_RESTART]
    assert asked.partition("#")[0] == "build"
    assert asked.partition("#")[2]
    again = cli("restart", "a")
    assert again.code == 1
    assert "asked for already" in again.err
    runs.create("b", SUCCEEDED)
    assert cli("restart", "b").code == 0
    assert runs.get("b")["metadata"]["annotations"][constants.ANNOTATION_RESTART].startswith("*#")


def test_delete(cli: Cli, runs: Runs) -> None:
    for name in "abc":
        runs.create(name)
    assert cli("delete", "a", "b").lines == [f"workflowrun.core.oam.dev/{name} deleted" for name in "ab"]
    assert runs.names() == ["c"]
    runs.create("build-image")
    done = cli("delete", "a", "c", "biuld-image")
    assert (done.code, done.lines) == (1, ["workflowrun.core.oam.dev/c deleted"])
    missing = f'error: workflowruns.core.oam.dev "{{}}" not found in namespace {runs.namespace}'
    assert done.err.splitlines() == [
        missing.format("a"),
        f"{missing.format('biuld-image')}; did you mean build-image?",
    ]


@pytest.mark.parametrize(
    "command", ["status", "show", "explain", "wait", "suspend", "restart", "rerun", "logs", "debug"]
)
def test_a_misspelt_name_is_put_right(cli: Cli, runs: Runs, command: str) -> None:
    runs.create("build-image")
    done = cli(command, "biuld-image")
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("; did you mean build-image?\n")


# --- who asks


def test_rights_are_those_of_the_user(cli: Cli, runs: Runs, tmp_path: Path) -> None:
    with _as(cli, "jane", tmp_path) as jane:
        done = jane("ls")
    assert done.code == 1
    assert done.err.startswith('error: workflowruns.core.oam.dev is forbidden: User "jane" cannot list')


def _as(cli: Cli, user: str, folder: Path) -> Cli:
    """The same cluster and namespace for another user."""
    config = yaml.safe_load(cli.kubeconfig.read_text(encoding="utf-8"))
    for one in config["users"]:
        one["user"]["as"] = user
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return Cli(file, cli.namespace)


def test_a_user_who_may_only_read_runs_sees_what_they_say(cli: Cli, runs: Runs, admin: Api, tmp_path: Path) -> None:
    runs.create("one", EXECUTING)
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [constants.GROUP], "resources": [RUN.plural], "verbs": ["get"]}
    role = {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": {"name": "reader"}, "rules": [rule]}
    reader = {"kind": "User", "apiGroup": rbac, "name": "reader"}
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "reader"},
        "subjects": [reader],
    }
    for body in (role, binding):
        admin.create(body, runs.namespace)
    with _as(cli, "reader", tmp_path) as reading:
        explained = reading("explain", "one")
        assert explained.code == 0
        assert explained.lines[0].startswith("one is executing")
        assert 'not shown: configmaps "workflow-one-context" is forbidden' in explained.err
        missing = reading("status", "onne")
        assert missing.err == f'error: workflowruns.core.oam.dev "onne" not found in namespace {runs.namespace}\n'
        told = reading("version", namespace=False)
        assert (told.code, told.err) == (0, "")
        assert "WorkflowRun    v1alpha1" in told.out


def test_wrong_credentials(cli: Cli, tmp_path: Path) -> None:
    config = yaml.safe_load(cli.kubeconfig.read_text(encoding="utf-8"))
    for user in config["users"]:
        user["user"] = {"token": "wrong"}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    with Cli(file, "default") as nobody:
        done = nobody("ls")
    assert done.code == 1
    assert "does not accept these credentials" in done.err


def test_an_untrusted_server(cli: Cli, tmp_path: Path) -> None:
    config = yaml.safe_load(cli.kubeconfig.read_text(encoding="utf-8"))
    for cluster in config["clusters"]:
        del cluster["cluster"]["certificate-authority-data"]
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    with Cli(file, "default") as careful:
        done = careful("ls")
        assert done.code == 1
        assert "certificate verify failed" in done.err
    for cluster in config["clusters"]:
        cluster["cluster"]["insecure-skip-tls-verify"] = True
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    with Cli(file, "default") as careless:
        assert careless("ls", "-A").code == 0


@pytest.mark.parametrize(
    ("command", "words", "offered"),
    [
        pytest.param("status", "dep", ["deploy-1", "deploy-2"], id="run"),
        pytest.param("resume", "build --step a", ["approve"], id="step"),
        pytest.param("resume", "build --step", ["build", "approve", "release"], id="every-step"),
        pytest.param("debug", "build re", ["release"], id="step-as-an-argument"),
        pytest.param("def show", "say", ["say-hello"], id="step-type"),
        pytest.param("ls", "--namespace kube-s", ["kube-system"], id="namespace"),
    ],
)
def test_names_are_completed(
    cli: Cli, runs: Runs, monkeypatch: pytest.MonkeyPatch, command: str, words: str, offered: list[str]
) -> None:
    for name in ("deploy-1", "deploy-2", "build"):
        runs.create(name)
    step_type = constants.STEP_DEFINITION
    metadata = {"name": "say-hello", "namespace": runs.namespace}
    schematic = {"cue": {"template": "parameter: {}"}}
    definition = {"apiVersion": step_type.api_version, "kind": step_type.kind, "metadata": metadata}
    runs.admin.create({**definition, "spec": {"schematic": schematic}}, runs.namespace)
    typed = f"vela-workflow {command} --kubeconfig {cli.kubeconfig} -n {runs.namespace} {words}"
    empty = words.endswith("--step")
    for key, value in {
        "_VELA_WORKFLOW_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - (not empty)),
    }.items():
        monkeypatch.setenv(key, value)
    process = cli.start()
    assert process.stdout is not None
    assert process.stdout.read().split() == offered
