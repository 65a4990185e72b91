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
    ],
)
def test_wrong_values_are_refused(chart: Chart, argument: str, said: str) -> None:
    assert said in chart.refusal(f"--set={argument}")


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
