"""The chart without a cluster: lint, schema, what several sets of values render to, what is generated."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import generate
from vela_workflow import settings

JSON = dict[str, Any]

CHART = generate.CHART
SETS = sorted((CHART / "ci").glob("*-values.yaml"))
SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = "UPDATE_SNAPSHOTS"
"""Set this variable to write the snapshots anew, then look at the difference."""


class Chart:
    """The chart, rendered by helm."""

    def __init__(self, helm: Path) -> None:
        self._helm = helm

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run helm."""
        environment = {"PATH": os.defpath, "HOME": "/nonexistent"}
        return subprocess.run(
            [self._helm, *arguments], capture_output=True, text=True, check=False, timeout=60, env=environment
        )

    def text(self, *arguments: str | Path) -> str:
        """What the chart renders to."""
        done = self.run("template", "r", CHART, "--namespace", "vs", "--kube-version", "1.34", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, *arguments: str | Path) -> list[JSON]:
        """The objects that the chart renders to."""
        return [found for found in yaml.safe_load_all(self.text(*arguments)) if found]

    def refusal(self, *arguments: str) -> str:
        """Why helm does not render it."""
        done = self.run("template", "r", CHART, "--kube-version", "1.34", *arguments)
        assert done.returncode != 0, "helm rendered it"
        return done.stderr


@pytest.fixture(scope="module")
def chart(helm_command: Path) -> Chart:
    return Chart(helm_command)


def environment(objects: list[JSON]) -> dict[str, str]:
    """The environment of the operator."""
    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    return {one["name"]: one["value"] for one in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_generated_files_are_up_to_date() -> None:
    found = generate.outputs()
    stale = [path for path, text in found.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    assert stale + generate.superfluous(found) == [], "run `python -m deploy.generate`"


def test_there_are_sets_of_values() -> None:
    assert len(SETS) >= 4


@pytest.mark.parametrize("values", SETS, ids=lambda path: path.stem)
def test_lint_is_content(chart: Chart, values: Path) -> None:
    done = chart.run("lint", CHART, "--strict", "--kube-version", "1.34", "--values", values)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("values", SETS, ids=lambda path: path.stem)
def test_it_renders_as_before(chart: Chart, values: Path) -> None:
    snapshot = SNAPSHOTS / f"{values.stem.removesuffix('-values')}.yaml"
    # The definitions are held equal to their sources by the test of generated files.
    text = chart.text("--values", values, "--set", "definitions.install=false")
    if os.environ.get(UPDATE):
        snapshot.write_text(text, encoding="utf-8")
    before = snapshot.read_text(encoding="utf-8") if snapshot.exists() else ""
    difference = "\n".join(difflib.unified_diff(before.splitlines(), text.splitlines(), "before", "now", lineterm=""))
    assert not difference, f"{difference}\n\nIf that is meant: {UPDATE}=1 pytest tests/chart"


@pytest.mark.parametrize("values", SETS, ids=lambda path: path.stem)
def test_the_operator_takes_the_environment_of_the_chart(chart: Chart, values: Path) -> None:
    settings.load({}, environment(chart.objects("--values", values)))


def test_every_setting_can_be_given(chart: Chart) -> None:
    """Those without a value of their own, by name; large numbers stay as they are."""
    schema = settings.Settings.model_json_schema()["properties"]
    names = [name for name in schema if name not in generate.BY_VALUES and name not in generate.OUTSIDE]
    given: dict[str, Any] = {name: _another(schema[name]) for name in names}
    arguments = [f"--set-json=settings.{generate.camel(name)}={json.dumps(value)}" for name, value in given.items()]
    found = settings.load({}, environment(chart.objects(*arguments)))
    assert {name: getattr(found, name) for name in names} == given


def _another(told: JSON) -> Any:
    """A value that the schema of a setting allows and that is not its default."""
    if "enum" in told:
        return next(value for value in told["enum"] if value != told["default"])
    if told["type"] == "boolean":
        return not told["default"]
    if told["type"] == "string":
        return "another"
    # Large numbers must not become 3e+06 on the way.
    return told["exclusiveMaximum"] - 1 if "exclusiveMaximum" in told else told.get("maximum", 3_000_000)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        pytest.param("settings.workres=4", "workres", id="unknown-setting"),
        pytest.param("settings.workers=many", "workers", id="setting-of-the-wrong-type"),
        pytest.param("rbac.scope=admin", "scope", id="unknown-scope"),
        pytest.param("replicas=3", "replicas", id="unknown-value"),
        pytest.param("image.digest=latest", "digest", id="no-digest"),
        pytest.param("leaderElection.enabled=false", "several replicas need leaderElection", id="nobody-elected"),
        pytest.param("logging.level=TRACE", "level", id="unknown-level"),
        pytest.param(
            "replicaCount=1,leaderElection.enabled=false,sharding.shards=2", "several shards need", id="shards"
        ),
        pytest.param("leaderElection.leaseTrusted=20", "leaseTrusted, and that less", id="trusted-for-too-long"),
        pytest.param("leaderElection.leaseRetry=10", "leaseRetry must be less", id="retry-too-slow"),
        pytest.param("fullnameOverride=1-name", "fullnameOverride", id="no-name-for-a-service"),
    ],
)
def test_wrong_values_are_refused(chart: Chart, argument: str, said: str) -> None:
    assert said in chart.refusal(f"--set={argument}")


class Strict(yaml.SafeLoader):
    """Refuses what is said twice, of which the last one would count without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> JSON:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice, near line {node.start_mark.line}: {keys}"
        found: JSON = super().construct_mapping(node, deep)
        return found


@pytest.mark.parametrize("values", SETS, ids=lambda path: path.stem)
def test_nothing_is_said_twice(chart: Chart, values: Path) -> None:
    assert list(yaml.load_all(chart.text("--values", values), Strict))


def test_further_labels_replace_none_of_the_chart_and_the_nearer_ones_win(chart: Chart) -> None:
    name = r"app\.kubernetes\.io/name"
    given = f"commonLabels.{name}=x,commonLabels.team=all,podLabels.team=own,podLabels.{name}=y"
    (deployment,) = [one for one in chart.objects("--set", given) if one["kind"] == "Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert (labels["team"], deployment["metadata"]["labels"]["team"]) == ("own", "all")


@pytest.mark.parametrize("values", SETS, ids=lambda path: path.stem)
def test_no_pod_but_those_of_the_operator_is_found_by_its_selectors(chart: Chart, values: Path) -> None:
    """A Pod of a Job would keep the PodDisruptionBudget from being reckoned, and so Nodes from being drained."""
    objects = chart.objects("--values", values, "--is-upgrade")
    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    selector = deployment["spec"]["selector"]["matchLabels"].items()
    others = [
        one if one["kind"] == "Pod" else one["spec"]["template"] for one in objects if one["kind"] in {"Pod", "Job"}
    ]
    assert not [one for one in others if selector <= one["metadata"]["labels"].items()]


def test_names_of_jobs_and_services_fit_however_long_those_of_release_and_namespace_are(chart: Chart) -> None:
    name, namespace = "a" * 53, "n" * 63
    text = chart.text("--set", f"fullnameOverride={name},namespaceOverride={namespace}", "--is-upgrade")
    limited = [
        one for one in yaml.safe_load_all(text) if one and one["kind"] in {"Job", "Service", "Pod", "Deployment"}
    ]
    assert {one["kind"] for one in limited} == {"Job", "Service", "Pod", "Deployment"}
    assert max(len(one["metadata"]["name"]) for one in limited) <= 63


def test_all_is_in_the_namespace_that_is_given(chart: Chart) -> None:
    objects = chart.objects(
        "--set", "namespaceOverride=flows,metrics.dashboard.enabled=true,networkPolicy.enabled=true"
    )
    placed = {one["metadata"].get("namespace") for one in objects}
    assert placed == {"flows", None}
    of_the_cluster = {one["kind"] for one in objects if "namespace" not in one["metadata"]}
    assert of_the_cluster == {
        "ClusterRole", "ClusterRoleBinding", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
    }  # fmt: skip
    assert environment(objects)["VELA_WORKFLOW_SYSTEM_NAMESPACE"] == "flows"
    subjects = [subject for one in objects for subject in one.get("subjects", ())]
    assert {subject["namespace"] for subject in subjects} == {"flows"}


def test_without_roles_there_is_nothing_that_needs_one_of_its_own(chart: Chart) -> None:
    objects = chart.objects("--set=rbac.create=false", "--is-upgrade")
    assert {one["kind"] for one in objects} & {
        "Role",
        "ClusterRole",
        "RoleBinding",
        "ClusterRoleBinding",
        "Job",
        "Pod",
    } == set()


def test_the_job_for_crds_may_do_nothing_else(chart: Chart) -> None:
    objects = chart.objects("--is-upgrade", "--show-only=templates/crds-upgrade.yaml")
    rules = [rule for one in objects for rule in one.get("rules", ())]
    assert {resource for rule in rules for resource in rule["resources"]} == {"customresourcedefinitions"}
    assert {one["kind"] for one in objects} == {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Job"}


def test_constraints_of_ones_own_are_about_the_pods_of_the_operator(chart: Chart) -> None:
    """One without a selector matches nothing, and the API server only warns."""
    zone = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    other = {**zone, "labelSelector": {"matchLabels": {"a": "b"}}}
    objects = chart.objects(f"--set-json=topologySpreadConstraints={json.dumps([zone, other])}")
    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    selector = {"matchLabels": deployment["spec"]["selector"]["matchLabels"]}
    pod = deployment["spec"]["template"]["spec"]
    assert pod["topologySpreadConstraints"] == [{**zone, "labelSelector": selector}, other]


def test_built_in_definitions_are_not_kept_out_by_webhooks_that_nobody_serves_yet(chart: Chart) -> None:
    objects = chart.objects("--set=admission.failurePolicy=Fail")
    definitions = [one for one in objects if one["kind"] == "WorkflowStepDefinition"]
    label, built_in = "app.kubernetes.io/part-of", "vela-workflow"
    assert {one["metadata"]["labels"][label] for one in definitions} == {built_in}
    unasked = {
        webhook["rules"][0]["resources"][0]: webhook["objectSelector"]["matchExpressions"]
        for one in objects
        for webhook in one.get("webhooks", ())
        if "objectSelector" in webhook
    }
    assert unasked == {"workflowstepdefinitions": [{"key": label, "operator": "NotIn", "values": [built_in]}]}


def test_alerts_are_about_the_release_that_they_come_with(chart: Chart) -> None:
    objects = chart.objects("--set=metrics.prometheusRule.enabled=true")
    (rule,) = [one for one in objects if one["kind"] == "PrometheusRule"]
    assert "@" not in yaml.safe_dump(rule["spec"])
    down, *_ = rule["spec"]["groups"][0]["rules"]
    (service,) = [
        one["metadata"] for one in objects if one["kind"] == "Service" and one["metadata"]["name"].endswith("-metrics")
    ]
    assert f'namespace="{service["namespace"]}", service="{service["name"]}"' in down["expr"]


def grants(objects: list[JSON]) -> set[str]:
    """The roles that the operator's account is bound to, with the kind of the binding."""
    hooks = "helm.sh/hook"
    return {
        f"{one['kind']} {one['roleRef']['name']}"
        for one in objects
        if one["kind"].endswith("Binding") and hooks not in one["metadata"].get("annotations", {})
    }


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("namespaces", {"RoleBinding r-vela-workflow-system", "RoleBinding r-vela-workflow-runs", "RoleBinding edit",
                        "ClusterRoleBinding r-vela-workflow-vs"}),
        ("cluster", {"RoleBinding r-vela-workflow-system", "ClusterRoleBinding edit",
                     "ClusterRoleBinding r-vela-workflow-vs"}),
        ("clusterAdmin", {"RoleBinding r-vela-workflow-system", "ClusterRoleBinding cluster-admin",
                          "ClusterRoleBinding r-vela-workflow-vs"}),
    ],
)  # fmt: skip
def test_each_scope_grants_what_it_says(chart: Chart, scope: str, expected: set[str]) -> None:
    assert grants(chart.objects(f"--set=rbac.scope={scope}")) == expected


def test_nobody_is_administrator_by_default(chart: Chart) -> None:
    objects = chart.objects()
    assert not [grant for grant in grants(objects) if "admin" in grant]
    roles = [one for one in objects if one["kind"] in {"Role", "ClusterRole"}]
    wide = [rule for role in roles for rule in role["rules"] if "*" in rule["verbs"] or "*" in rule["apiGroups"]]
    assert wide == []


def test_in_the_scope_of_namespaces_nothing_but_the_webhooks_is_known_elsewhere(chart: Chart) -> None:
    objects = chart.objects("--set=rbac.scope=namespaces", "--set=rbac.namespaces={shop,bank}")
    (role,) = [
        one
        for one in objects
        if one["kind"] == "ClusterRole" and "helm.sh/hook" not in one["metadata"].get("annotations", {})
    ]
    assert {resource for rule in role["rules"] for resource in rule["resources"]} == {
        "customresourcedefinitions", "namespaces", "validatingwebhookconfigurations", "mutatingwebhookconfigurations",
    }  # fmt: skip
    assert settings.load({}, environment(objects)).namespaces == ("shop", "bank")
    for one in objects:
        for webhook in one.get("webhooks", []):
            (expression,) = webhook["namespaceSelector"]["matchExpressions"]
            assert expression["values"] == ["shop", "bank", "vs"]


def test_a_pod_has_no_rights_on_its_node(chart: Chart) -> None:
    for one in chart.objects():
        pod = one if one["kind"] == "Pod" else one.get("spec", {}).get("template", {})
        if "containers" not in pod.get("spec", {}):
            continue
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["enableServiceLinks"] is False
        for container in pod["spec"]["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}


def test_every_value_is_documented_and_in_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    documented = {path for path, _, _ in generate.documented()}

    def leaves(prefix: str, value: Any) -> list[str]:
        if prefix in documented or not isinstance(value, dict) or not value:
            return [prefix]
        return [leaf for key, inner in value.items() for leaf in leaves(f"{prefix}.{key}".strip("."), inner)]

    assert sorted(set(leaves("", values)) - documented) == []
