"""What users get wrong, by accident or on purpose: each ends in a message that names step and cause, and hurts nobody.

All runs of the table are under way together, beside good ones, on an operator with tight limits for CUE.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import operator_fixture as fixture
from tests.cluster.conftest import namespace_for_runs
from tests.cluster.runaway import RUNAWAY
from tools.kubectl import Kubectl
from tools.rest import Api, ApiError

JSON = dict[str, Any]

CUE_SECONDS = 5
PATIENCE = 60.0
"""Seconds; the explosions below keep both cores busy until they meet their limits."""

TEMPLATES = {
    "no-cue": "apply: kube.#Apply & {\n\t{{\n",
    "no-such-package": 'import "vela/nope"\nx: nope.#Do & {}\nparameter: {}',
    "no-such-operation": 'import "vela/kube"\nx: kube.#Explode & {$params: {}}\nparameter: {}',
    "no-such-reference": "x: nowhere.field\nresult: x\nparameter: {}",
    "shell": 'import "tool/exec"\nx: exec.Run & {cmd: "id"}\nparameter: {}',
    "embed": '@extern(embed)\npackage p\nx: _ @embed(file="/etc/passwd", type=text)\nparameter: {}',
    "strict": 'parameter: {\n\tport: int & >0 & <65536\n\tname: string\n\tmode: *"a" | "b"\n}\nresult: parameter.name',
    "conflict": 'import "vela/builtin"\nm: builtin.#Message & {$params: message: "a" & "b"}\nparameter: {}',
    "incomplete": 'import "vela/builtin"\nm: builtin.#Message & {$params: message: x}\nx: string\nparameter: {}',
    "wrong-wait": 'import "vela/builtin"\nw: builtin.#ConditionalWait & {$params: continue: "yes"}\nparameter: {}',
    "misspelt": 'import "vela/op"\nw: op.#Suspend & {durations: "1s"}\nparameter: {}',
    "of-applications": 'import "vela/op"\nx: op.#Load\nparameter: {}',
    "secret": """
import ("encoding/base64", "vela/op")
made: op.#Apply & {value: {apiVersion: "v1", kind: "Secret", metadata: name: "kept", stringData: key: "s3cret"}}
key: op.#ConvertString & {bt: base64.Decode(null, made.value.data.key)}
m: op.#Message & {message: key.str & "another"}
parameter: {}
""",
    **RUNAWAY,
    "cycle": "a: b + 1\nb: a - 1\nresult: a\nparameter: {}",
    "not-a-struct": '"just a string"',
    "empty": "",
    "empty-bits": "   \n// nothing\n",
    "large": "\n".join(f'field{n}: "{"x" * 90}"' for n in range(3000)) + "\nresult: field7\nparameter: {}",
    "huge": "\n".join(f'field{n}: "{"x" * 90}"' for n in range(8000)) + "\nresult: field7\nparameter: {}",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A bad step ``a`` (or steps), what it ends as, and what its message has to name."""

    reason: str
    steps: str
    ends: str
    names: tuple[str, ...]
    step: str = "a"
    spec: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    run: str = "failed"


def of_type(kind: str, ends: str, *names: str, **more: Any) -> Row:
    """A row whose step is of a bad type."""
    step = {"name": "a", "type": f"bad-{kind}", **more}
    return Row(f"template-{kind}", json.dumps([step]), ends, names)


REFUSED = """
- name: a
  type: apply-object
  retry: {limit: 0}
  properties: {value: %s}
"""

ROWS = [
    of_type("no-cue", "failed/Rendering", "line 2", "brace"),
    of_type("no-such-package", "failed/Rendering", "vela/nope"),
    of_type("no-such-operation", "failed/Rendering", "#Explode"),
    of_type("no-such-reference", "failed/Rendering", "nowhere"),
    of_type("huge", "failed/Rendering", "512 KiB"),
    of_type("shell", "failed/Rendering", "tool/exec"),
    of_type("embed", "failed/Rendering", "@extern"),
    of_type("strict", "failed/Rendering", "port", "name", "mode", properties={"port": 70000, "mode": "c"}),
    of_type("conflict", "failed/Execute", "m", "conflicting"),
    of_type("misspelt", "failed/Rendering", 'no field "durations"', 'did you mean "duration"'),
    of_type("of-applications", "failed/Rendering", "#Load", "Application"),
    of_type("secret", "failed/FailedAfterRetries", "conflicting values … and …", retry={"limit": 0}),
    of_type("incomplete", "failed/Execute", "m", "incomplete value string"),
    of_type("wrong-wait", "failed/Execute", "w"),
    of_type("endless", "failed/Rendering", "5 s", outputs=[{"name": "o", "valueFrom": "result"}]),
    of_type("glutton", "failed/Rendering", "the evaluation", outputs=[{"name": "o", "valueFrom": "result"}]),
    of_type("doubling", "failed/Rendering", "", outputs=[{"name": "o", "valueFrom": "result"}]),
    of_type("cycle", "failed/Rendering", "cycle", outputs=[{"name": "o", "valueFrom": "result"}]),
    Row(
        "parameters-of-a-wrong-type",
        "[{name: a, type: print-message-in-status, properties: {message: 5}}]",
        "failed/Rendering",
        ("message", "string"),
    ),
    Row(
        "parameter-missing",
        "[{name: a, type: print-message-in-status}]",
        "failed/Rendering",
        ("message",),
    ),
    Row("depends-on-nobody", "[{name: a, type: echo, dependsOn: [ghost]}]", "failed/DependsOn", ("ghost",)),
    Row(
        "depends-in-a-circle",
        "[{name: a, type: echo, dependsOn: [b]}, {name: b, type: echo, dependsOn: [a]}]",
        "failed/DependsOn",
        ("b",),
        spec={"mode": {"steps": "DAG"}},
    ),
    Row("depends-on-itself", "[{name: a, type: echo, dependsOn: [a]}]", "failed/DependsOn", ("a",)),
    Row(
        "input-of-nobody",
        "[{name: a, type: echo, inputs: [{from: ghost, parameterKey: value}]}]",
        "failed/Input",
        ("ghost",),
    ),
    Row(
        "input-through-a-scalar",
        "[{name: a, type: echo, properties: {value: s}, inputs: [{from: context.name, parameterKey: value.x}]}]",
        "failed/Input",
        ("value",),
    ),
    Row(
        "output-that-does-not-exist",
        "[{name: a, type: echo, outputs: [{name: o, valueFrom: result.deep.er}]}]",
        "failed/Output",
        ("o", "result.deep.er"),
    ),
    Row(
        "output-that-is-no-cue",
        "[{name: a, type: echo, outputs: [{name: o, valueFrom: 'result} evil: {'}]}]",
        "failed/Output",
        ("o",),
    ),
    Row(
        "refused-as-invalid",
        REFUSED % "{apiVersion: v1, kind: ConfigMap, metadata: {name: Not_A_Name}}",
        "failed/FailedAfterRetries",
        ("metadata.name",),
    ),
    Row(
        "refused-as-forbidden",
        REFUSED % "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: GUARDED}, "
        "spec: {hostNetwork: true, containers: [{name: c, image: x}]}}",
        "failed/FailedAfterRetries",
        ("forbidden",),
    ),
    Row(
        "unknown-kind",
        REFUSED % "{apiVersion: example.com/v1, kind: Unicorn, metadata: {name: u}}",
        "failed/FailedAfterRetries",
        ("Unicorn",),
    ),
    Row(
        "unknown-cluster",
        "[{name: a, type: apply-object, retry: {limit: 0}, properties: {cluster: mars, value: {apiVersion: v1, "
        "kind: ConfigMap, metadata: {name: x}}}}]",
        "failed/FailedAfterRetries",
        ("mars",),
    ),
    Row("if-is-no-bool", """[{name: a, type: echo, if: '"yes"'}]""", "failed/Rendering", ("if:", "bool")),
    Row("if-of-nobody", "[{name: a, type: echo, if: status.ghost.failed}]", "failed/Rendering", ("if:", "ghost")),
    Row("if-is-no-cue", "[{name: a, type: echo, if: '} ) evil: {'}]", "failed/Rendering", ("if:",)),
    Row("if-without-quotes", "[{name: a, type: echo, if: status.a-b.failed}]", "failed/Rendering", ("if:",)),
    Row("timeout-without-a-unit", '[{name: a, type: echo, timeout: "10"}]', "failed/Rendering", ("timeout", "10")),
    Row("timeout-of-nonsense", "[{name: a, type: echo, timeout: soon}]", "failed/Rendering", ("timeout", "soon")),
    Row(
        "suspend-for-nonsense", "[{name: a, type: suspend, properties: {duration: soon}}]", "failed/Execute", ("soon",)
    ),
    Row(
        "bad-step-behind-good-ones",
        "[{name: good, type: echo}, {name: a, type: bad-no-cue}, {name: clean-up, type: echo, if: always}]",
        "failed/Rendering",
        ("line 2",),
    ),
    Row(
        "bad-sub-step",
        "[{name: group, type: step-group, subSteps: [{name: good, type: echo}, {name: a, type: bad-no-cue}]}]",
        "failed/Rendering",
        ("line 2",),
    ),
]

FINE = [
    pytest.param("[{name: a, type: bad-empty}, {name: b, type: bad-empty-bits}]", id="empty-templates"),
    pytest.param(
        "[{name: a, type: bad-large, outputs: [{name: o, valueFrom: result}]}]", id="template-of-300-kilobytes"
    ),
    pytest.param(
        json.dumps([{"name": 'a" } } evil: "\\(context)', "type": "echo", "properties": {"value": "x"}}]),
        id="step-name-that-would-break-out",
    ),
    pytest.param(
        json.dumps(
            [
                {
                    "name": "a",
                    "type": "echo",
                    "properties": {
                        "value": {
                            '"}': 1,
                            "\\(x)": "\\(context.name)",
                            "#do": "apply",
                            "a\nb": "\x01\u2028",
                            "_hidden": 2,
                            'import "os"': {},
                        }
                    },
                }
            ]
        ),
        id="properties-that-look-like-cue",
    ),
    pytest.param(
        json.dumps([{"name": "a", "type": "echo", "properties": {"value": json.loads("[" * 90 + "]" * 90)}}]),
        id="properties-nested-deeply",
    ),
    pytest.param(json.dumps([{"name": f"s{n}", "type": "echo"} for n in range(150)]), id="very-many-steps"),
]

REJECTED = [
    pytest.param({"workflowSpec": {"steps": "text"}}, "steps", id="steps-are-text"),
    pytest.param({"workflowSpec": {"steps": [{"name": "a"}]}}, "type", id="step-without-a-type"),
    pytest.param({"workflowSpec": {"steps": [{"type": "x", "dependsOn": "a"}]}}, "dependsOn", id="depends-on-text"),
    pytest.param({"workflowSpec": {"steps": [{"type": "x", "timeout": 10}]}}, "timeout", id="timeout-is-a-number"),
]


@pytest.fixture(scope="module")
def namespace_of_bad(admin: Api, installed: None) -> Iterator[str]:
    with namespace_for_runs(admin) as name:
        for kind, template in TEMPLATES.items():
            admin.apply(fixture.definition(f"bad-{kind}", template), name)
        yield name


@pytest.fixture(scope="module")
def guarded_namespace(admin: Api) -> Iterator[str]:
    """A namespace in which the API server forbids Pods that want much."""
    name = fixture.unique("guarded")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    admin.delete("v1", "Namespace", name)


@pytest.fixture(scope="module")
def strict_operator(
    operator_kubeconfig: Path, cue_command: Path, namespace_of_bad: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[fixture.OperatorProcess]:
    """An operator whose evaluations may not take long."""
    log = tmp_path_factory.mktemp("strict-operator") / "operator.log"
    with fixture.OperatorProcess(
        kubeconfig=operator_kubeconfig, cue=cue_command, namespace=namespace_of_bad, log=log,
        cue_timeout=CUE_SECONDS, cue_memory=512,
    ) as process:  # fmt: skip
        yield process


@pytest.fixture(scope="module")
def strict_runs(
    admin: Api, kubectl: Kubectl, strict_operator: fixture.OperatorProcess, namespace_of_bad: str
) -> Iterator[fixture.Runs]:
    with fixture.Recorder(kubectl, namespace_of_bad) as recorder:
        yield fixture.Runs(admin, recorder, namespace_of_bad)


@pytest.fixture(scope="module")
def started(strict_runs: fixture.Runs, guarded_namespace: str) -> dict[str, fixture.Run]:
    """All bad runs, under way together with good ones."""
    found = {}
    for number, row in enumerate(ROWS):
        text = row.steps.replace("GUARDED", guarded_namespace)
        found[row.reason] = strict_runs.start(text, name=row.reason, **row.spec)
        if number % 6 == 0:
            good = [{"name": "a", "type": "touch", "properties": {"name": f"good-{number}"}}]
            found[f"good-{number}"] = strict_runs.start(good, name=f"good-{number}")
    return found


@pytest.mark.parametrize("row", [pytest.param(row, id=row.reason) for row in ROWS])
def test_a_bad_run_says_what_is_wrong(started: dict[str, fixture.Run], row: Row) -> None:
    status = started[row.reason].ended(row.run, timeout=PATIENCE)
    entry = fixture.step(status, row.step)
    assert f"{entry['phase']}/{entry['reason']}" == row.ends, entry
    for name in row.names:
        assert name in entry["message"]
    assert len(entry["message"].encode()) <= 1024
    for leak in ("Traceback", "internal error", "root:", "program.cue", 'File "'):
        assert leak not in entry["message"]
    # Whoever looks at the run only is told too.
    assert 'step "' in status["message"]
    condition = next(one for one in status["conditions"] if one["type"] == "Succeeded")
    assert (condition["status"], condition["message"]) == ("False", status["message"])


def test_good_runs_beside_bad_ones_succeed(started: dict[str, fixture.Run]) -> None:
    good = [run for name, run in started.items() if name.startswith("good-")]
    assert good
    for run in good:
        run.ended("succeeded", timeout=PATIENCE)


@pytest.mark.parametrize("steps", FINE)
def test_what_only_looks_bad_succeeds(strict_runs: fixture.Runs, steps: str) -> None:
    status = strict_runs.start(json.loads(steps) if steps.startswith('[{"') else steps).ended(
        "succeeded", timeout=PATIENCE
    )
    assert {entry["phase"] for entry in status["steps"]} == {"succeeded"}


@pytest.mark.parametrize(("spec", "field"), REJECTED)
def test_what_is_no_run_at_all_is_rejected_by_the_schema(strict_runs: fixture.Runs, spec: JSON, field: str) -> None:
    with pytest.raises(ApiError) as caught:
        strict_runs.create({"name": fixture.unique("rejected")}, spec)
    assert caught.value.code == 422
    assert field in str(caught.value)


def test_an_unknown_step_type_is_told_and_waited_for(strict_runs: fixture.Runs) -> None:
    run = strict_runs.start("[{name: a, type: echo}, {name: b, type: no-such-type}]")
    status = run.until_phase("initializing")
    assert 'step "b"' in status["message"]
    assert "no-such-type" in status["message"]


def test_an_unknown_workflow_is_told(strict_runs: fixture.Runs) -> None:
    run = strict_runs.start(None, workflowRef="no-such-workflow")
    assert "no-such-workflow" in run.until_phase("initializing")["message"]


def test_neither_steps_nor_a_workflow_is_told(strict_runs: fixture.Runs) -> None:
    run = strict_runs.start(None)
    assert "workflowRef" in run.until_phase("initializing")["message"]


NOTED = [
    pytest.param("[{name: a, type: echo}]", {"mode": {"steps": "dag"}}, 'unknown mode "dag" counts as StepByStep',
                 id="mode"),
    pytest.param("[{name: g, type: step-group, mode: Fast, subSteps: [{name: a, type: echo}]}]", {},
                 'unknown mode "Fast" counts as DAG', id="mode of a group"),
    pytest.param("[{name: a, type: echo}, {name: b, type: echo, if: \"status.a.phase == 'succeeded'\"}]", {},
                 "is bytes in CUE", id="bytes for a string"),
    pytest.param("[]", {}, "there are no steps", id="no steps"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "spec", "said"), NOTED)
def test_what_is_not_done_as_it_is_written_is_told_without_admission_too(
    strict_runs: fixture.Runs, steps: str, spec: JSON, said: str
) -> None:
    run = strict_runs.start(steps, **spec)
    run.ended("succeeded", timeout=PATIENCE)
    fixture.wait_for(lambda: _warned(run, said), PATIENCE, "an Event")


def _warned(run: fixture.Run, said: str) -> bool:
    return any(one["type"] == "Warning" and said in one["message"] for one in run.events())


def test_a_type_that_is_empty_is_no_type(strict_runs: fixture.Runs) -> None:
    entry = fixture.step(strict_runs.start("[{name: a, type: ''}]").ended("failed", timeout=PATIENCE), "a")
    assert entry["message"] == "the step has no type"


def test_a_good_run_after_all_that_is_carried_out_by_the_same_process(
    strict_runs: fixture.Runs, strict_operator: fixture.OperatorProcess, started: dict[str, fixture.Run]
) -> None:
    for run in started.values():
        run.until(lambda body: (body.get("status") or {}).get("finished"), "its end", PATIENCE)
    strict_runs.start("[{name: a, type: echo}]").ended("succeeded")
    assert strict_operator.running
    assert "Traceback" not in strict_operator.output()
