"""What the operator lives on is out of the reach of steps, whatever its account may do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.cluster import conftest
from tests.cluster import operator_fixture as fixture
from tests.cluster.providers.conftest import OneCluster
from tools.rest import Api
from vela_workflow import errors
from vela_workflow.clusters import api, credentials, secrets
from vela_workflow.operator import own

JSON = dict[str, Any]

LEASE = "coordination.k8s.io/v1"

REACH = """
import "vela/kube"

parameter: {how: string, value: {...}}
let target = parameter.value
if parameter.how == "read" {do: kube.#Read & {$params: value: target}}
if parameter.how == "apply" {do: kube.#Apply & {$params: value: target}}
if parameter.how == "patch" {do: kube.#Patch & {$params: {value: target, patch: metadata: annotations: touched: "yes"}}}
if parameter.how == "join" {do: kube.#Patch & {$params: {value: target, patch: metadata: labels: "%s": "x"}}}
if parameter.how == "delete" {do: kube.#Delete & {$params: value: target}}
if parameter.how == "delete-all" {do: kube.#Delete & {$params: {
	value:  target
	filter: {namespace: target.metadata.namespace, matchingLabels: "%s": "x"}
}}}
""" % (secrets.KUBECONFIG_LABEL, secrets.KUBECONFIG_LABEL)


def secret(name: str, **more: Any) -> JSON:
    metadata = {"name": name, "namespace": conftest.SYSTEM, "labels": more.pop("labels", {})}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": "value"}, **more}


@pytest.fixture(scope="module")
def names(admin: Api, installed: None) -> Iterator[dict[str, str]]:
    """Objects of the operator in the system namespace, and a Secret that is none: their names by what they are."""
    found = {what: fixture.unique(what) for what in ("cluster", "release", "lease", "plain")}
    admin.apply(secret(found["cluster"], labels={secrets.KUBECONFIG_LABEL: "x"}), conftest.SYSTEM)
    admin.apply(secret(found["release"], type="helm.sh/release.v1"), conftest.SYSTEM)
    admin.apply(secret(found["plain"]), conftest.SYSTEM)
    metadata = {"name": found["lease"], "namespace": conftest.SYSTEM}
    admin.apply({"apiVersion": LEASE, "kind": "Lease", "metadata": metadata, "spec": {}}, conftest.SYSTEM)
    yield found
    for what in ("cluster", "release", "plain"):
        admin.delete("v1", "Secret", found[what], conftest.SYSTEM)
    admin.delete(LEASE, "Lease", found["lease"], conftest.SYSTEM)


@pytest.fixture(scope="module")
def reaching(shared_runs: fixture.Runs) -> fixture.Runs:
    """Runs that can reach for any object."""
    shared_runs.definition("reach", REACH)
    return shared_runs


REFUSED = {
    "see how to reach a cluster": ("read", "Secret", "cluster"),
    "put another cluster in its place": ("apply", "Secret", "cluster"),
    "change how to reach a cluster": ("patch", "Secret", "cluster"),
    "join a cluster by a Secret that is there": ("join", "Secret", "plain"),
    "make a cluster leave": ("delete", "Secret", "cluster"),
    "make all clusters leave": ("delete-all", "Secret", "cluster"),
    "see the values of the release": ("read", "Secret", "release"),
    "see who leads": ("read", "Lease", "lease"),
    "take the leadership": ("patch", "Lease", "lease"),
    "end the leadership": ("delete", "Lease", "lease"),
}


@pytest.mark.parametrize(("how", "kind", "what"), REFUSED.values(), ids=REFUSED.keys())
def test_a_step_cannot(
    reaching: fixture.Runs, names: dict[str, str], admin: Api, how: str, kind: str, what: str
) -> None:
    api_version = "v1" if kind == "Secret" else LEASE
    before = admin.get(api_version, kind, names[what], conftest.SYSTEM)
    value = {"apiVersion": api_version, "kind": kind, "metadata": {"name": names[what], "namespace": conftest.SYSTEM}}
    run = reaching.start([{"name": "a", "type": "reach", "properties": {"how": how, "value": value}}])
    entry = fixture.step(run.ended("failed"), "a")
    assert "the operator itself lives on it" in entry["message"], entry
    assert admin.get(api_version, kind, names[what], conftest.SYSTEM) == before


def test_a_step_cannot_join_a_cluster(reaching: fixture.Runs, names: dict[str, str], admin: Api) -> None:
    name = fixture.unique("stranger")
    value = secret(name, labels={secrets.CREDENTIAL_TYPE_LABEL: "X509Certificate"})
    run = reaching.start([{"name": "a", "type": "reach", "properties": {"how": "apply", "value": value}}])
    assert "the operator itself lives on it" in fixture.step(run.ended("failed"), "a")["message"]
    assert admin.get("v1", "Secret", name, conftest.SYSTEM) is None


@pytest_asyncio.fixture
async def local(kubeconfig: Path) -> AsyncIterator[api.HttpClient]:
    made = api.connect("local", credentials.kubeconfig_file(str(kubeconfig)))
    yield made
    await made.close()


async def test_runs_of_the_system_namespace_may(local: api.HttpClient, names: dict[str, str]) -> None:
    guarded = own.GuardedClusters(OneCluster(local), own.Own(conftest.SYSTEM, conftest.SYSTEM))
    with own.acting_for("elsewhere"), pytest.raises(errors.Terminal):
        await guarded.client("").get("v1", "Secret", conftest.SYSTEM, names["cluster"])
    with own.acting_for(conftest.SYSTEM):
        found = await guarded.client("").get("v1", "Secret", conftest.SYSTEM, names["cluster"])
    assert found["metadata"]["name"] == names["cluster"]


async def test_what_is_not_the_operators_is_reached_as_ever(local: api.HttpClient, names: dict[str, str]) -> None:
    guarded = own.GuardedClusters(OneCluster(local), own.Own(conftest.SYSTEM, conftest.SYSTEM)).client("local")
    assert (await guarded.get("v1", "Secret", conftest.SYSTEM, names["plain"]))["metadata"]["name"] == names["plain"]
    change = {"metadata": {"annotations": {"touched": "yes"}}}
    patched = await guarded.patch("v1", "Secret", conftest.SYSTEM, names["plain"], change)
    assert patched["metadata"]["annotations"] == {"touched": "yes"}
    shown = {one["metadata"]["name"] for one in (await guarded.list("v1", "Secret", conftest.SYSTEM))["items"]}
    assert names["plain"] in shown
    assert not shown & {names["cluster"], names["release"]}
