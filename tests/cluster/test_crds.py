"""The CRDs on a real API server: it takes them, takes what users and other controllers write, and shows it well."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

import pytest
import yaml

from tools.kubectl import Kubectl
from tools.rest import Api, ApiError
from tools.waiting import wait_for
from vela_workflow import errors
from vela_workflow.api import constants, crd, model, package, stepdefinition, workflow, workflowrun

JSON = dict[str, Any]
RUN = constants.WORKFLOW_RUN

MODELS: dict[str, type[model.Resource]] = {
    "WorkflowRun": workflowrun.WorkflowRun,
    "Workflow": workflow.Workflow,
    "WorkflowStepDefinition": stepdefinition.WorkflowStepDefinition,
    "Package": package.Package,
}


@pytest.fixture(scope="module", autouse=True)
def installed(kubectl: Kubectl) -> None:
    """The CRDs, in use by the API server and known to ``kubectl explain``."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crd.DIRECTORY))
    names = [f"crd/{definition.kind.crd_name}" for definition in crd.DEFINITIONS]
    kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
    for definition in crd.DEFINITIONS:
        resource = f"{definition.kind.plural}.{definition.kind.group}"
        wait_for(partial(explained, kubectl, resource), what=f"explain of {resource}")


def explained(kubectl: Kubectl, resource: str) -> bool:
    return kubectl.run("explain", resource).returncode == 0


@pytest.mark.parametrize(
    "definition", [pytest.param(definition, id=definition.kind.plural) for definition in crd.DEFINITIONS]
)
def test_the_server_finds_nothing_wrong_with_a_definition(kubectl: Kubectl, definition: crd.Definition) -> None:
    found = kubectl.json("get", "crd", definition.kind.crd_name)
    conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    # Set when a schema is not structural.
    assert conditions.get("NonStructuralSchema", "False") == "False"
    stored = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert stored == crd.schema(definition.model)


SEED_RUN = """
apiVersion: core.oam.dev/v1alpha1
kind: WorkflowRun
metadata:
  name: build-push-image
spec:
  workflowSpec:
   steps:
    - name: build-push
      type: build-push-image
      properties:
        context:
          git: github.com/FogDong/simple-web-demo
          branch: main
        image: fogdong/simple-web-demo:v1
        credentials:
          image:
            name: image-secret
"""

SEED_STEPS = """
apiVersion: core.oam.dev/v1alpha1
kind: Workflow
metadata:
  name: deploy-database-and-web
steps:
  - name: deploy-database
    type: apply-and-wait
    outputs:
      - name: db-conn
        exportKey: dbConn
    properties:
      component: database
      resourceType: StatefulSet
      resourceAPIVersion: apps/v1beta2
      names:
        - mysql
  - name: deploy-web
    type: apply-and-wait
    inputs:
      - from: db-conn # input comes from the output from `deploy-database` step
        parameterKey: mysqlConn
    properties:
      component: web
      resourceType: Deployment
      resourceAPIVersion: apps/v1
      names:
        - my-web
"""

SEED_DEFINITION = """
apiVersion: core.oam.dev/v1beta1
kind: WorkflowStepDefinition
metadata:
  name: step-def
spec:
  schematic:
    cue:
      template: |
        import (
        \t"vela/op"
        )

        parameter: {
          component: string
          names: [...string]
          resourceType: string
          resourceAPIVersion: string
        }

        // apply the component
        apply: op.#ApplyComponent & {
          component: parameter.component
        }
"""

EVERY_STEP_FIELD = """
apiVersion: core.oam.dev/v1alpha1
kind: WorkflowRun
metadata:
  name: every-step-field
  annotations:
    workflowrun.oam.dev/debug: "true"
spec:
  context:
    name: zz
    stepName: override
    foo-bar: 1
    nested: {list: [1, 2.5, null, {deep: true}]}
  mode: {steps: DAG, subSteps: StepByStep}
  workflowRef: also-there
  ttlSecondsAfterFinished: 0
  workflowSpec:
    steps:
      - name: group
        type: step-group
        mode: null
        meta: {alias: The group}
        subSteps:
          - name: sub
            type: suspend
            meta: {alias: x}
            if: context.env == "dev"
            timeout: 1d
            dependsOn: [other, other]
            properties: {duration: 10s}
      - type: request
        if: status.group.failed
        timeout: ""
        inputs:
          - from: context.name
          - from: stars
            parameterKey: env[0].value
        outputs:
          - name: a
            valueFrom: |
              import "strconv"
              strconv.FormatInt(response["stargazers_count"], 10)
          - name: b
            exportKey: output
          - {name: c, valueFrom: ""}
        retry:
          limit: 3
          backoff: {duration: 1s, factor: 1.5, cap: 5m}
          "on": [error, fail, timeout]
"""

UNKNOWN_MODE = """
apiVersion: core.oam.dev/v1alpha1
kind: WorkflowRun
metadata: {name: unknown-mode}
spec:
  mode: {steps: Whatever}
  workflowSpec:
    steps:
      - {name: group, type: step-group, mode: Whatever}
      - {type: nobody-knows, timeout: soon}
      - {type: nobody-knows}
"""

EMPTY_RUN = """
apiVersion: core.oam.dev/v1alpha1
kind: WorkflowRun
metadata: {name: empty}
"""

ON_WITHOUT_QUOTES = """
apiVersion: core.oam.dev/v1alpha1
kind: WorkflowRun
metadata: {name: on-without-quotes}
spec:
  workflowSpec:
    steps:
      - type: request
        retry:
          limit: 3
          on: [error]
"""

TERRAFORM = """
apiVersion: core.oam.dev/v1beta1
kind: WorkflowStepDefinition
metadata:
  name: terraform
  labels: {custom.definition.oam.dev/scope: WorkflowRun}
spec:
  version: 1.0.0
  definitionRef: {name: things.example.com, version: v1}
  schematic:
    helm: {release: {chart: {}}}
    terraform:
      configuration: resource
      customRegion: north
      path: modules/a
      gitCredentialsSecretReference: {name: git, namespace: default}
      providerRef: {name: aws}
      writeConnectionSecretToRef: {name: out}
"""

PACKAGE = """
apiVersion: cue.oam.dev/v1alpha1
kind: Package
metadata: {name: my-sql}
spec:
  path: ext/db/my-sql
  templates:
    db.cue: "package mysql\\n"
  provider:
    protocol: grpc
    endpoint: http://example.invalid/db
    header: {Authorization: none}
"""


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SEED_RUN, id="seed-run"),
        pytest.param(SEED_STEPS, id="seed-steps"),
        pytest.param(SEED_DEFINITION, id="seed-definition"),
        pytest.param(EVERY_STEP_FIELD, id="every-step-field"),
        pytest.param(UNKNOWN_MODE, id="words-that-only-the-controller-judges"),
        pytest.param(EMPTY_RUN, id="no-spec"),
        pytest.param(ON_WITHOUT_QUOTES, id="on-without-quotes"),
        pytest.param(TERRAFORM, id="terraform-definition"),
        pytest.param(PACKAGE, id="package"),
    ],
)
def test_what_users_have_is_accepted_and_kept(kubectl: Kubectl, namespace: str, text: str) -> None:
    # kubectl asks for strict validation: a field that the schema does not know is refused, not dropped.
    kubectl("apply", "--namespace", namespace, "-f", "-", stdin=text)
    # By way of JSON, since kubectl makes "true" of the key that PyYAML makes True of.
    written = json.loads(json.dumps(yaml.safe_load(text)))
    stored = kubectl.json("get", "--namespace", namespace, written["kind"], written["metadata"]["name"])
    assert missing(written, stored) == []


def missing(written: Any, stored: Any, path: str = "") -> list[str]:
    """Paths that are written and not, or not so, stored; ``null`` in an object is the same as absent."""
    if isinstance(written, dict) and isinstance(stored, dict):
        return [
            place
            for key, value in written.items()
            if value is not None
            for place in missing(value, stored.get(key), f"{path}.{key}")
        ]
    if isinstance(written, list) and isinstance(stored, list) and len(written) == len(stored):
        return [
            place
            for index, (left, right) in enumerate(zip(written, stored, strict=True))
            for place in missing(left, right, f"{path}[{index}]")
        ]
    return [] if written == stored else [path]


@pytest.mark.parametrize("text", [SEED_RUN, SEED_STEPS, SEED_DEFINITION, EVERY_STEP_FIELD, TERRAFORM, PACKAGE])
def test_models_read_what_the_server_stores(kubectl: Kubectl, namespace: str, text: str) -> None:
    stored = json.loads(kubectl("create", "--namespace", namespace, "-f", "-", "-o", "json", stdin=text))
    assert model.parse(MODELS[stored["kind"]], stored).to_object() == stored


def run_of(steps: Any, **spec: Any) -> JSON:
    return {
        "apiVersion": RUN.api_version,
        "kind": RUN.kind,
        "metadata": {"name": "refused"},
        "spec": {"workflowSpec": {"steps": steps}, **spec},
    }


REFUSED = [
    pytest.param(run_of([{"name": "a"}]), "steps[0].type", id="no-type"),
    pytest.param(run_of([{"type": "a", "inputs": [{"parameterKey": "x"}]}]), "inputs[0].from", id="no-from"),
    pytest.param(run_of([{"type": "a", "outputs": [{"valueFrom": "x"}]}]), "outputs[0].name", id="no-output-name"),
    pytest.param(run_of([{"type": "a", "outputs": [{"name": "x"}]}]), "outputs[0]", id="no-output-source"),
    pytest.param(run_of([{"type": "a", "timeout": 60}]), "steps[0].timeout", id="timeout-number"),
    pytest.param(run_of([{"type": "a", "properties": "x"}]), "steps[0].properties", id="properties-no-object"),
    pytest.param(run_of([{"type": "a", "retry": {"limit": -1}}]), "retry.limit", id="retry-limit"),
    pytest.param(run_of([{"type": "a", "retry": {"on": ["always"]}}]), "retry.on[0]", id="retry-on"),
    pytest.param(run_of([{"type": "a", "retry": {"backoff": {"factor": 0.5}}}]), "backoff.factor", id="factor"),
    pytest.param(run_of([], ttlSecondsAfterFinished=-1), "spec.ttlSecondsAfterFinished", id="ttl"),
]


@pytest.mark.parametrize(("document", "path"), REFUSED)
def test_what_the_server_refuses_the_models_refuse(admin: Api, namespace: str, document: JSON, path: str) -> None:
    with pytest.raises(ApiError) as caught:
        admin.create(document, namespace)
    assert caught.value.code == 422
    assert path in str(caught.value)
    with pytest.raises(errors.Invalid) as invalid:
        model.parse(workflowrun.WorkflowRun, document)
    assert path in str(invalid.value)


@pytest.fixture
def stored_run(admin: Api, namespace: str) -> JSON:
    """A run that nobody works on."""
    body = run_of([{"name": "a", "type": "suspend"}, {"name": "b", "type": "suspend"}])
    return admin.create({**body, "metadata": {"name": "run"}}, namespace)


EMPTY_STATUS = {
    "mode": {},
    "status": "",
    "suspend": False,
    "terminated": False,
    "finished": False,
    "startTime": None,
    "endTime": None,
}
FINISHED_STATUS = {
    "conditions": [
        {
            "type": "WorkflowRun",
            "status": "True",
            "lastTransitionTime": "2026-11-22T02:28:02Z",
            "reason": "Available",
        }
    ],
    "mode": {"steps": "StepByStep", "subSteps": "DAG"},
    "status": "succeeded",
    "suspend": False,
    "terminated": False,
    "finished": True,
    "contextBackend": {
        "kind": "ConfigMap",
        "namespace": "default",
        "name": "workflow-run-context",
        "uid": "6a0d1c3e",
        "apiVersion": "v1",
    },
    "steps": [
        {
            "id": "23qq9ode11",
            "name": "a",
            "type": "step-group",
            "phase": "succeeded",
            "firstExecuteTime": "2026-11-22T02:28:02Z",
            "lastExecuteTime": "2026-11-22T02:28:02Z",
            "subSteps": [{"id": "", "firstExecuteTime": None, "lastExecuteTime": None}],
        },
        {"id": "", "firstExecuteTime": None, "lastExecuteTime": None},
    ],
    "startTime": "2026-11-22T02:28:02Z",
    "endTime": None,
}


@pytest.mark.parametrize(
    "status", [pytest.param(EMPTY_STATUS, id="restarted"), pytest.param(FINISHED_STATUS, id="with-everything")]
)
def test_the_status_of_the_go_controller_is_accepted(
    admin: Api, kubectl: Kubectl, stored_run: JSON, status: JSON
) -> None:
    namespace = stored_run["metadata"]["namespace"]
    # It replaces the status as a whole, with null for times that are not set.
    replaced = json.loads(
        kubectl(
            *("replace", "--subresource=status", "--namespace", namespace, "-o", "json", "-f", "-"),
            stdin=json.dumps({**stored_run, "status": status}),
        )
    )
    assert replaced["status"] == status
    # Or it sends the whole object as a merge patch, where null deletes.
    patched = admin.patch(
        RUN.api_version, RUN.kind, "run", {**replaced, "status": status}, namespace, subresource="status"
    )
    assert missing(status, patched["status"]) == []
    read = model.parse(workflowrun.WorkflowRun, patched)
    assert read.status.finished is status["finished"]


@pytest.mark.parametrize("field", ["suspend", "terminated", "finished"])
def test_users_may_patch_one_field_of_the_status(admin: Api, stored_run: JSON, field: str) -> None:
    namespace = stored_run["metadata"]["namespace"]
    patch = {"status": {field: True}}
    patched = admin.patch(RUN.api_version, RUN.kind, "run", patch, namespace, subresource="status")
    assert patched["status"] == {field: True}


def test_status_is_a_subresource(admin: Api, stored_run: JSON) -> None:
    namespace = stored_run["metadata"]["namespace"]
    patched = admin.patch(RUN.api_version, RUN.kind, "run", {"status": {"suspend": True}}, namespace)
    assert "status" not in patched


def test_conditions_of_two_managers_are_merged_by_type(kubectl: Kubectl, stored_run: JSON) -> None:
    namespace = stored_run["metadata"]["namespace"]
    for manager, condition in (("one", "WorkflowRun"), ("two", "Succeeded")):
        body = {
            "apiVersion": RUN.api_version,
            "kind": RUN.kind,
            "metadata": {"name": "run"},
            "status": {"conditions": [{"type": condition, "status": "True"}]},
        }
        kubectl(
            *("apply", "--server-side", "--subresource=status", f"--field-manager={manager}"),
            *("--namespace", namespace, "-f", "-"),
            stdin=json.dumps(body),
        )
    stored = kubectl.json("get", "wr", "run", "--namespace", namespace)
    assert {one["type"] for one in stored["status"]["conditions"]} == {"WorkflowRun", "Succeeded"}


def test_kubectl_wait_understands_the_condition(admin: Api, kubectl: Kubectl, stored_run: JSON) -> None:
    namespace = stored_run["metadata"]["namespace"]
    status = {"conditions": [{"type": constants.ConditionType.SUCCEEDED, "status": "True"}]}
    admin.patch(RUN.api_version, RUN.kind, "run", {"status": status}, namespace, subresource="status")
    said = kubectl("wait", "--for=condition=Succeeded", "--timeout=30s", "--namespace", namespace, "wr/run")
    assert "condition met" in said


def table(kubectl: Kubectl, *arguments: str) -> list[dict[str, str]]:
    """What kubectl shows, one mapping of column to text for each line; columns are told apart by their heading."""
    head, *lines = kubectl("get", *arguments).splitlines()
    columns = list(re.finditer(r"\S+", head))
    names, starts = [column.group() for column in columns], [column.start() for column in columns]
    ends = [*starts[1:], None]
    return [
        {name: line[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)}
        for line in lines
        if line
    ]


def test_columns_tell_where_a_run_is(admin: Api, kubectl: Kubectl, stored_run: JSON) -> None:
    namespace = stored_run["metadata"]["namespace"]
    (fresh,) = table(kubectl, "wr", "--namespace", namespace)
    assert list(fresh) == ["NAME", "PHASE", "STEPS", "STEP", "SINCE", "AGE"]
    assert (fresh["NAME"], fresh["PHASE"], fresh["STEPS"]) == ("run", "", "")

    status = {
        "status": "executing",
        "mode": {"steps": "DAG"},
        "message": "waiting for a Deployment",
        "progress": "1/2",
        "currentStep": "b",
        "currentStepSince": stored_run["metadata"]["creationTimestamp"],
    }
    admin.patch(RUN.api_version, RUN.kind, "run", {"status": status}, namespace, subresource="status")
    (shown,) = table(kubectl, "wr", "-o", "wide", "--namespace", namespace)
    assert shown["PHASE"] == "executing"
    assert shown["STEPS"] == "1/2"
    assert shown["STEP"] == "b"
    assert re.fullmatch(r"\d+m?s", shown["SINCE"])
    assert shown["MODE"] == "DAG"
    assert shown["MESSAGE"] == "waiting for a Deployment"


def test_columns_of_the_other_kinds(kubectl: Kubectl, namespace: str) -> None:
    described = yaml.safe_load(SEED_DEFINITION)
    described["metadata"]["annotations"] = {constants.ANNOTATION_DEFINITION_DESCRIPTION: "Deploy and wait."}
    for document in (yaml.safe_load(PACKAGE), yaml.safe_load(SEED_STEPS), described):
        kubectl("create", "--namespace", namespace, "-f", "-", stdin=json.dumps(document))
    (row,) = table(kubectl, "cuepkg", "--namespace", namespace)
    assert (row["PATH"], row["PROTO"], row["ENDPOINT"]) == ("ext/db/my-sql", "grpc", "http://example.invalid/db")
    (row,) = table(kubectl, "workflowstep", "--namespace", namespace)
    assert row["DESCRIPTION"] == "Deploy and wait."
    (row,) = table(kubectl, "workflows", "--namespace", namespace)
    assert row["NAME"] == "deploy-database-and-web"


@pytest.mark.parametrize("category", crd.CATEGORIES)
def test_categories_list_all_kinds(kubectl: Kubectl, namespace: str, category: str) -> None:
    for text in (SEED_RUN, SEED_STEPS, SEED_DEFINITION, PACKAGE):
        kubectl("create", "--namespace", namespace, "-f", "-", stdin=text)

    def all_kinds() -> bool:
        found = kubectl("get", category, "--namespace", namespace, "-o", "name").split()
        return {name.split(".", 1)[0] for name in found} >= {one.kind.singular for one in crd.DEFINITIONS}

    wait_for(all_kinds, what=f"all kinds in the category {category}")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        pytest.param(
            "workflowrun.spec.workflowSpec.steps.timeout",
            ["<string>", "such as 30s, 1h30m or 2d", "unit"],
            id="timeout",
        ),
        pytest.param("workflowrun.spec.workflowSpec.steps.subSteps.retry", ["limit", "backoff", "on"], id="retry"),
        pytest.param("workflowrun.spec.ttlSecondsAfterFinished", ["<integer>", "deleted"], id="ttl"),
        pytest.param("workflowrun.status.currentStep", ["the run is at"], id="status"),
        pytest.param("workflow.steps.outputs", ["valueFrom", "exportKey"], id="workflow"),
        pytest.param("workflowstepdefinition.spec.schematic.cue.template", ["parameter", "vela/kube"], id="template"),
        pytest.param("packages.spec.provider.endpoint", ["POST"], id="package"),
    ],
)
def test_fields_are_explained(kubectl: Kubectl, path: str, words: list[str]) -> None:
    group = constants.PACKAGE_GROUP if path.startswith("packages") else constants.GROUP
    said = " ".join(kubectl("explain", path, f"--api-version={group}/{versions()[path.split('.', 1)[0]]}").split())
    assert [word for word in words if word not in said] == []


def versions() -> dict[str, str]:
    """Version of each kind, by any name that ``kubectl explain`` takes."""
    kinds = [definition.kind for definition in crd.DEFINITIONS]
    return {kind.singular: kind.version for kind in kinds} | {kind.plural: kind.version for kind in kinds}
