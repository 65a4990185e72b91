"""Admission by the real API server, asked over TLS at a real operator: what is refused, warned of, filled in.

The operator makes its certificate itself and writes the authority into webhook configurations that were there before
it, as the chart installs them. They concern one namespace only, so other tests do not meet them. Most requests are dry
runs: the API server asks its webhooks all the same, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.cluster import conftest
from tests.cluster import operator_fixture as fixture
from tools.kubectl import Kubectl
from tools.rest import Api, ApiError
from tools.waiting import wait_for
from vela_workflow.api import constants
from vela_workflow.clusters import api, credentials
from vela_workflow.operator import admission, certificates

JSON = dict[str, Any]
RUN, WORKFLOW, DEFINITION = constants.WORKFLOW_RUN, constants.WORKFLOW, constants.STEP_DEFINITION

AT = "spec.workflowSpec.steps"
TIMEOUT = 2.0

TYPED = """
#Env: {name: string, value?: string}
parameter: {
	image:     string
	replicas?: int & >0
	env?: [...#Env]
	labels?: [string]: string
	resources?: {cpu?: string}
	data: {}
	extra?: *{} | {kind: string, spec: { }}
	who: context.name
}
"""

SETS_VARIABLES = """
import "vela/builtin"

put: builtin.#DoVar & {$params: {method: "Put", path: "surprise", value: 1}}
"""

SLOW = """
import "list"

parameter: {
	count: int
	same:  len([for a in list.Range(0, 4000, 1) for b in list.Range(0, 4000, 1) if a == b {a}])
}
"""


@dataclasses.dataclass(frozen=True)
class Guarded:
    """A namespace whose objects are judged, and who judges them."""

    api: Api
    kubectl: Kubectl
    namespace: str
    name: str
    operator: fixture.OperatorProcess

    def create(self, body: JSON, **query: str) -> JSON:
        """Create an object, by default as a dry run."""
        path = self.api.path(body["apiVersion"], body["kind"], self.namespace)
        return self.api.request("POST", path, body, query={"dryRun": "All", **query})

    def refusal(self, body: JSON) -> str:
        """The words in which an object is refused."""
        try:
            self.create(body)
        except ApiError as error:
            assert error.code == 422, error
            return str(error.body["message"])
        raise AssertionError(f"not refused; the operator says:\n{self.operator.output()[-4000:]}")

    def warnings(self, body: JSON) -> list[str]:
        """The warnings with which an object is taken."""
        done = self.kubectl.run("create", "--dry-run=server", "-n", self.namespace, "-f", "-", stdin=json.dumps(body))
        assert done.returncode == 0, done.stderr
        return [line.removeprefix("Warning: ") for line in done.stderr.splitlines()]


def workflow_run(steps: str | None = None, name: str = "judged", **spec: Any) -> JSON:
    if steps is not None:
        spec["workflowSpec"] = {"steps": yaml.safe_load(steps)}
    return {"apiVersion": RUN.api_version, "kind": RUN.kind, "metadata": {"name": name}, "spec": spec}


def workflow(steps: str, name: str = "judged", **fields: Any) -> JSON:
    body = {"apiVersion": WORKFLOW.api_version, "kind": WORKFLOW.kind, "metadata": {"name": name}}
    return {**body, "steps": yaml.safe_load(steps), **fields}


@pytest.fixture(scope="module")
def log(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("admission") / "operator.log"


@pytest.fixture(scope="module")
def judged_namespace(admin: Api, installed: None) -> Iterator[str]:
    with conftest.namespace_for_runs(admin) as name:
        yield name


@pytest.fixture(scope="module")
def guarded(
    admin: Api, kubectl: Kubectl, operator_kubeconfig: Path, cue_command: Path, log: Path, judged_namespace: str
) -> Iterator[Guarded]:
    name = f"admission-{secrets.token_hex(4)}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    selector = {"matchLabels": {"kubernetes.io/metadata.name": judged_namespace}}
    for manifest in admission.configurations(name, url=f"https://127.0.0.1:{port}", namespaces=selector):
        admin.create(manifest)
    templates = {"typed": TYPED, "sets-variables": SETS_VARIABLES, "slow": SLOW, "bare": "parameter: {}"}
    for step_type, template in templates.items():
        admin.apply(fixture.definition(step_type, template), judged_namespace)
    process = fixture.OperatorProcess(
        kubeconfig=operator_kubeconfig,
        cue=cue_command,
        namespace=judged_namespace,
        log=log,
        admission_port=port,
        admission_address="127.0.0.1",
        admission_configuration=name,
        admission_secret=name,
        admission_timeout=TIMEOUT,
    )
    with process:
        found = Guarded(admin, kubectl, judged_namespace, name, process)
        wait_until_judged(found)
        yield found
    for kind in certificates.CONFIGURATION_KINDS:
        admin.delete(certificates.CONFIGURATION_API, kind, name)
    admin.delete("v1", "Secret", name, conftest.SYSTEM)


def wait_until_judged(guarded: Guarded) -> None:
    """Wait until the API server has learnt of the webhooks and the operator answers."""

    def judged() -> bool:
        named = None
        try:
            named = guarded.create(workflow_run("[{type: suspend}]"))["spec"]["workflowSpec"]["steps"][0].get("name")
            guarded.create(workflow_run("[{name: a, type: suspend, dependsOn: [b]}]"))
        except ApiError as error:
            assert error.code == 422, error
            return named == "step-0"
        return False

    wait_for(judged, what="webhooks that are asked")


@dataclasses.dataclass(frozen=True)
class Row:
    """What is refused: every problem, by field path (below the steps when it starts with a bracket)."""

    reason: str
    body: JSON
    problems: Mapping[str, str]


REFUSED = [
    Row(
        "duplicates-in-groups-too",
        workflow_run(
            "[{name: a, type: suspend}, {name: a, type: suspend},"
            " {name: g, type: step-group, subSteps: [{name: a, type: suspend}]}]"
        ),
        {"[1].name": 'duplicated step name "a"', "[2].subSteps[0].name": 'duplicated step name "a"'},
    ),
    Row(
        "a-name-that-an-unnamed-step-gets",
        workflow_run("[{name: step-1, type: suspend}, {type: suspend}]"),
        {"[1].name": 'duplicated step name "step-1"'},
    ),
    Row(
        "unknown-types",
        workflow_run("[{name: a, type: nowhere}, {name: b, type: suspend}, {name: c, type: elsewhere}]"),
        {"[0].type": 'no WorkflowStepDefinition "nowhere"', "[2].type": 'no WorkflowStepDefinition "elsewhere"'},
    ),
    Row(
        "bad-timeouts",
        workflow_run(
            "[{name: a, type: suspend, timeout: '10'},"
            " {name: g, type: step-group, subSteps: [{name: b, type: suspend, timeout: 1 hour}]}]"
        ),
        {"[0].timeout": "10", "[1].subSteps[0].timeout": "1 hour"},
    ),
    Row(
        "unknown-depends-on",
        workflow_run("[{name: a, type: suspend, dependsOn: [x, y]}]"),
        {"[0].dependsOn[0]": 'there is no step "x"', "[0].dependsOn[1]": 'there is no step "y"'},
    ),
    Row(
        "cycle",
        workflow_run(
            "[{name: a, type: suspend, dependsOn: [b]}, {name: b, type: suspend, dependsOn: [a]}]",
            mode={"steps": "DAG"},
        ),
        {"[0].dependsOn[0]": "a → b → a", "[1].dependsOn[0]": "b → a → b"},
    ),
    Row(
        "inputs-that-nobody-gives",
        workflow_run("[{name: a, type: typed, inputs: [{from: ghost, parameterKey: image}]}]"),
        {"[0].inputs[0].from": 'no step has an output "ghost"'},
    ),
    Row(
        "parameters-all-at-once",
        workflow_run(
            "[{name: a, type: typed, properties: {replicas: 0, env: [{name: x}, {value: 3}], labels: {app: 1}}},"
            " {name: g, type: step-group, subSteps: [{name: b, type: typed, properties: {image: 7}}]}]"
        ),
        {
            "[0].properties.image": "is required",
            "[0].properties.replicas": "0",
            "[0].properties.env[1].name": "is required",
            "[0].properties.env[1].value": "3 is not string",
            "[0].properties.labels.app": "1 is not string",
            "[1].subSteps[0].properties.image": "7 is not string",
        },
    ),
    Row(
        "properties-that-a-closed-definition-forbids",
        workflow_run("[{name: a, type: typed, properties: {image: x, env: [{name: a, vlaue: b}]}}]"),
        {"[0].properties.env[0].vlaue": "not allowed"},
    ),
    Row(
        "parameters-with-odd-names",
        workflow_run("[{name: a, type: typed, properties: {image: x, labels: {app.kubernetes.io/name: 1}}}]"),
        {'[0].properties.labels["app.kubernetes.io/name"]': ""},
    ),
    Row(
        "parameters-of-built-in-types",
        workflow_run("[{name: a, type: suspend, properties: {duration: 30}}]"),
        {"[0].properties.duration": "30 is not string"},
    ),
    Row(
        "expressions-that-are-none",
        workflow_run("[{name: a, type: suspend, if: 'status.a.failed &&& (('}]"),
        {"[0].if": "is not a CUE expression"},
    ),
    Row(
        "everything-wrong-at-once",
        workflow_run(
            "[{name: a, type: nowhere, timeout: '5', dependsOn: [x]}, {name: a, type: typed, properties: {}}]"
        ),
        {
            "[0].type": "nowhere",
            "[0].timeout": "5",
            "[0].dependsOn[0]": "x",
            "[1].name": "duplicated",
            "[1].properties.image": "is required",
        },
    ),
    Row("nothing-to-run", workflow_run(), {"spec": "neither workflowSpec nor workflowRef"}),
    Row("a-workflow-that-is-not-there", workflow_run(workflowRef="gone"), {"spec.workflowRef": "gone"}),
    Row(
        "a-workflow",
        workflow("[{name: a, type: nowhere, timeout: '5'}, {name: a, type: suspend}]"),
        {"steps[0].type": "nowhere", "steps[0].timeout": "5", "steps[1].name": "duplicated"},
    ),
    Row(
        "templates-that-do-not-compile",
        fixture.definition("broken", "parameter: {}\nx: nothing\ny: alsonothing\n"),
        {
            "spec.schematic.cue.template, line 2": '"nothing" not found',
            "spec.schematic.cue.template, line 3": "alsonothing",
        },
    ),
    Row(
        "templates-that-do-not-parse",
        fixture.definition("broken", "parameter: {\n"),
        {"spec.schematic.cue.template": ""},
    ),
    Row(
        "operations-that-do-not-exist",
        fixture.definition("broken", 'import "vela/kube"\nx: kube.#Explode & {}\n'),
        {"spec.schematic.cue.template, line 2": "#Explode"},
    ),
    Row(
        "imports-that-do-not-exist",
        fixture.definition("broken", 'import "vela/magic"\nx: magic.#Do & {}\n'),
        {"spec.schematic.cue.template": "vela/magic"},
    ),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.reason)
def test_refused_with_all_problems(guarded: Guarded, row: Row) -> None:
    message = guarded.refusal(row.body)
    assert f"validating.{row.body['kind'].lower()}s.core.oam.dev" in message
    lines = message.split("denied the request: ", 1)[1].splitlines()
    listed = [line.removeprefix("- ") for line in lines if not line.endswith(" problems:")]
    paths = {f"{AT}{path}" if path.startswith("[") else path: text for path, text in row.problems.items()}
    for path, text in paths.items():
        assert any(line.startswith(path) and text in line for line in listed), f"{path}: {text}\nin\n{message}"
    assert len(listed) == len(paths), message


TAKEN = [
    pytest.param(workflow_run("[{name: a, type: suspend, timeout: 1d}]"), id="days"),
    pytest.param(workflow_run("[{name: a, type: typed, properties: {image: x}}]"), id="parameters-that-fit"),
    pytest.param(
        workflow_run(
            "[{name: a, type: echo, outputs: [{name: o, valueFrom: result}]},"
            " {name: b, type: typed, inputs: [{from: o, parameterKey: image}], properties: {replicas: 0}}]"
        ),
        id="values-from-inputs-are-not-known",
    ),
    pytest.param(
        workflow_run(
            "[{name: a, type: typed, properties: {image: x, data: {a: {b: 1}}, extra: {kind: y, spec: {c: 2}}}}]"
        ),
        id="what-is-declared-as-an-empty-struct",
    ),
    pytest.param(workflow_run("[{name: a, type: apply-deployment, properties: {image: x}}]"), id="system-types"),
    pytest.param(fixture.definition("fine", TYPED), id="a-definition"),
    pytest.param(workflow("[{name: a, type: typed, properties: {image: x}}]"), id="a-workflow"),
]


@pytest.mark.parametrize("body", TAKEN)
def test_taken_without_a_word(guarded: Guarded, body: JSON) -> None:
    assert guarded.warnings(body) == []


WARNED = [
    pytest.param(
        workflow_run("[{name: a, type: typed, properties: {image: x, imgae: y, resources: {gpu: 1}}}]"),
        [
            f"{AT}[0].properties.imgae: unknown property: the step type does not know it; did you mean image?",
            f"{AT}[0].properties.resources.gpu: unknown property",
        ],
        id="unknown-properties",
    ),
    pytest.param(
        workflow_run(
            "[{name: a, type: echo, outputs: [{name: o, valueFrom: result}]},"
            " {name: b, type: typed, properties: {imgae: x}, inputs: [{from: o, parameterKey: image},"
            " {from: o, parameterKey: 'env[3].nmae'}, {from: o, parameterKey: data.any}]}]"
        ),
        [
            f"{AT}[1].properties.imgae: unknown property: the step type does not know it; did you mean image?",
            f"{AT}[1].inputs[1].parameterKey: unknown property: the step type does not know it; did you mean name?",
        ],
        id="unknown-properties-beside-inputs",
    ),
    pytest.param(
        workflow_run("[{name: a, type: bare, properties: {b: 2}}]"),
        [f"{AT}[0].properties.b: unknown property"],
        id="no-property-is-known-where-there-is-none",
    ),
    pytest.param(
        workflow_run("[{name: a, type: suspend}]", mode={"steps": "dag"}),
        ['spec.mode.steps: unknown mode "dag" counts as StepByStep'],
        id="unknown-mode",
    ),
    pytest.param(
        fixture.definition("suspend", "parameter: {}"), ["metadata.name: the step type"], id="a-built-in-name"
    ),
    pytest.param(
        {**fixture.definition("other", ""), "spec": {"schematic": {"terraform": {"configuration": "x"}}}},
        ["spec.schematic.cue.template: there is no CUE template"],
        id="no-template",
    ),
    pytest.param(
        workflow_run("[{name: a, type: sets-variables}, {name: b, type: echo, inputs: [{from: surprise}]}]"),
        [f'{AT}[1].inputs[0].from: no step has an output "surprise"'],
        id="inputs-that-a-template-may-set",
    ),
]


@pytest.mark.parametrize(("body", "warnings"), WARNED)
def test_taken_with_warnings(guarded: Guarded, body: JSON, warnings: list[str]) -> None:
    told = guarded.warnings(body)
    assert len(told) == len(warnings), told
    for found, wanted in zip(sorted(told), sorted(warnings), strict=True):
        assert found.startswith(wanted), told


def test_unnamed_steps_get_names_and_retries_their_on(guarded: Guarded) -> None:
    body = workflow_run(
        "[{type: suspend}, {name: g, type: step-group, subSteps: [{name: x, type: suspend}, {type: suspend}]},"
        " {type: suspend, retry: {limit: 1, 'true': [timeout]}}]"
    )
    steps = guarded.create(body)["spec"]["workflowSpec"]["steps"]
    assert [step["name"] for step in steps] == ["step-0", "g", "step-2"]
    assert [step["name"] for step in steps[1]["subSteps"]] == ["x", "step-1-1"]
    assert steps[2]["retry"] == {"limit": 1, "on": ["timeout"]}


def test_a_workflow_gets_names_too(guarded: Guarded) -> None:
    assert guarded.create(workflow("[{type: suspend}]"))["steps"][0]["name"] == "step-0"


def test_a_run_of_a_workflow_is_judged_by_its_steps(guarded: Guarded) -> None:
    body = workflow("[{name: a, type: typed, properties: {image: x}}]", fixture.unique("flow"))
    name = guarded.api.create(body, guarded.namespace)["metadata"]["name"]
    assert guarded.warnings(workflow_run(workflowRef=name)) == []
    broken = {"steps": [{"name": "a", "type": "typed", "properties": {"image": 7}}]}
    with pytest.raises(ApiError):
        guarded.api.patch(WORKFLOW.api_version, WORKFLOW.kind, name, broken, guarded.namespace)


def test_a_definition_counts_the_moment_it_is_there(guarded: Guarded) -> None:
    for _ in range(5):
        step_type = fixture.unique("new")
        body = workflow_run(f"[{{name: a, type: {step_type}}}]")
        assert step_type in guarded.refusal(body)
        guarded.api.create(fixture.definition(step_type, "parameter: {}"), guarded.namespace)
        guarded.create(body)


def test_only_changes_of_the_spec_are_judged(guarded: Guarded) -> None:
    step_type = fixture.unique("vanishing")
    guarded.api.create(fixture.definition(step_type, "parameter: {n: int}"), guarded.namespace)
    name = fixture.unique("changing")
    steps = [{"name": "wait", "type": "suspend"}, {"name": "a", "type": step_type, "properties": {"n": 1}}]
    body = workflow_run(name=name, workflowSpec={"steps": steps})
    body["metadata"]["finalizers"] = ["example.com/test"]
    guarded.api.create(body, guarded.namespace)
    guarded.api.delete(DEFINITION.api_version, DEFINITION.kind, step_type, guarded.namespace)

    def patch(changes: JSON, **options: str) -> JSON:
        return guarded.api.patch(RUN.api_version, RUN.kind, name, changes, guarded.namespace, **options)

    patch({"metadata": {"labels": {"a": "b"}}})
    patch({"status": {"suspend": True}}, subresource="status")
    changed = [steps[0], {**steps[1], "properties": {"n": 2}}]
    patch({"spec": {"workflowSpec": {"steps": changed}}})
    wrong = [{**steps[0], "dependsOn": ["nobody"]}]
    with pytest.raises(ApiError, match="nobody"):
        patch({"spec": {"workflowSpec": {"steps": wrong}}})
    guarded.api.delete(RUN.api_version, RUN.kind, name, guarded.namespace)
    patch({"spec": {"workflowSpec": {"steps": wrong}}})
    patch({"metadata": {"finalizers": None}})


def test_a_slow_template_holds_nobody_up(guarded: Guarded) -> None:
    (told,) = guarded.warnings(workflow_run("[{name: a, type: slow, properties: {count: 1}}]"))
    assert told.startswith(f"{AT}[0].properties: the parameters were not checked: that took longer than 2 s")
    assert "timeout" in guarded.refusal(workflow_run("[{name: a, type: slow, timeout: '5'}]")), "the rest is judged"


def test_nobody_is_held_up_when_the_operator_is_gone(guarded: Guarded) -> None:
    wrong = workflow_run("[{name: a, type: suspend, dependsOn: [nobody]}]")
    assert "nobody" in guarded.refusal(wrong)
    guarded.operator.kill()
    assert guarded.create(wrong)["metadata"]["uid"]
    guarded.operator.start()
    wait_until_judged(guarded)
    assert "nobody" in guarded.refusal(wrong)


def test_a_lost_authority_is_put_back_at_the_next_start(guarded: Guarded) -> None:
    def bundles() -> set[str]:
        found = (
            guarded.api.get(certificates.CONFIGURATION_API, kind, guarded.name)
            for kind in certificates.CONFIGURATION_KINDS
        )
        return {webhook["clientConfig"].get("caBundle", "") for one in found if one for webhook in one["webhooks"]}

    (before,) = bundles()
    secret = guarded.api.get("v1", "Secret", guarded.name, conftest.SYSTEM)
    assert secret is not None
    assert secret["data"]["ca.crt"] == before
    guarded.operator.stop()
    guarded.api.delete("v1", "Secret", guarded.name, conftest.SYSTEM)
    guarded.operator.start()
    (after,) = bundles()
    assert after != before
    wait_until_judged(guarded)


# Certificates, shared and renewed.


@pytest_asyncio.fixture
async def client(kubeconfig: Path) -> AsyncIterator[api.HttpClient]:
    made = api.connect("local", credentials.kubeconfig_file(str(kubeconfig)))
    yield made
    await made.close()


@pytest.fixture
def place(admin: Api, namespace: str) -> Iterator[certificates.Place]:
    """Webhook configurations that concern no namespace, and a Secret that is not there yet."""
    name = fixture.unique("certified")
    nowhere = {"matchLabels": {"kubernetes.io/metadata.name": "nowhere"}}
    for manifest in admission.configurations(name, service=(namespace, "workflow"), namespaces=nowhere):
        admin.create(manifest)
    yield certificates.Place(namespace, name, certificates.service_names("workflow", namespace), name)
    for kind in certificates.CONFIGURATION_KINDS:
        admin.delete(certificates.CONFIGURATION_API, kind, name)


def known_authorities(admin: Api, place: certificates.Place) -> set[bytes]:
    """What the webhooks of both configurations trust."""
    found = (
        admin.get(certificates.CONFIGURATION_API, kind, place.configuration) or {}
        for kind in certificates.CONFIGURATION_KINDS
    )
    return {base64.b64decode(webhook["clientConfig"]["caBundle"]) for one in found for webhook in one["webhooks"]}


async def test_replicas_that_start_together_serve_one_certificate(
    client: api.HttpClient, admin: Api, place: certificates.Place
) -> None:
    keepers = [certificates.Keeper(client, place) for _ in range(4)]
    await asyncio.gather(*(keeper.check() for keeper in keepers))
    assert len({keeper.path.read_bytes() for keeper in keepers}) == 1
    assert keepers[0].path.stat().st_mode & 0o077 == 0, "the key is for nobody else"
    assert known_authorities(admin, place) == {keepers[0].authorities}
    for keeper in keepers:
        await keeper.close()
        assert not keeper.path.exists()


async def test_renewal(client: api.HttpClient, admin: Api, place: certificates.Place) -> None:
    now = datetime.now(UTC)
    keeper = certificates.Keeper(client, place, lambda: now)
    await keeper.check()
    first, authorities = keeper.path.read_bytes(), keeper.authorities
    await keeper.check()
    assert keeper.path.read_bytes() == first, "a good certificate stays"
    now += timedelta(days=300)
    await keeper.check()
    assert keeper.path.read_bytes() != first
    assert keeper.authorities == authorities
    now += timedelta(days=3000)
    await keeper.check()
    assert keeper.authorities.endswith(authorities), "who still serves the old one is trusted"
    assert len(keeper.authorities) > len(authorities)
    assert known_authorities(admin, place) == {keeper.authorities}
    await keeper.close()


async def test_a_configuration_that_comes_later_is_served(
    client: api.HttpClient, admin: Api, place: certificates.Place
) -> None:
    for kind in certificates.CONFIGURATION_KINDS:
        admin.delete(certificates.CONFIGURATION_API, kind, place.configuration)
    keeper = certificates.Keeper(client, place)
    await keeper.check()
    assert keeper.path.exists()
    for manifest in admission.configurations(place.configuration, service=(place.namespace, "workflow")):
        for webhook in manifest["webhooks"]:
            webhook["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": "nowhere"}}
        admin.create(manifest)
    await keeper.check()
    assert known_authorities(admin, place) == {keeper.authorities}
    await keeper.close()
