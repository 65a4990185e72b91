"""Several clusters: joined, used, renamed and left by commands, with two real API servers and a real operator."""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import operator_fixture as fixture
from tests.cluster.cli.cli_support import Cli
from tools.apiserver import ApiServer
from tools.controlplane import ControlPlane
from tools.rest import Api
from vela_workflow.api import constants
from vela_workflow.cli import cluster_secrets
from vela_workflow.cli.errors import CommandError
from vela_workflow.clusters import secrets

JSON = dict[str, Any]
SYSTEM = constants.DEFAULT_SYSTEM_NAMESPACE


@pytest.fixture
def cli(kubeconfig: Path, installed: None) -> Iterator[Cli]:
    with Cli(kubeconfig, "default") as made:
        yield made


@pytest.fixture
def name(admin: Api) -> Iterator[str]:
    """A name for a cluster; whatever joins under it leaves in the end."""
    chosen = fixture.unique("far")
    yield chosen
    admin.delete("v1", "Secret", chosen, SYSTEM)


def config_map(target: str, cluster: str, data: str = "here") -> JSON:
    """A step that makes a ConfigMap in a cluster."""
    value = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": target, "namespace": "default"},
        "data": {"is": data},
    }
    return {"name": "apply", "type": "apply-object", "properties": {"value": value, "cluster": cluster}}


def found_in(api: Api, target: str) -> bool:
    return api.get("v1", "ConfigMap", target, "default") is not None


def test_a_cluster_is_joined_used_renamed_and_left(
    cli: Cli, runs: fixture.Runs, admin: Api, second_cluster: ApiServer, name: str
) -> None:
    joined = cli("cluster", "join", f"--from={second_cluster.kubeconfig}", f"--name={name}", "--label=region=eu")
    assert (joined.code, joined.out, joined.err) == (0, f"cluster {name} joined\n", "")
    runs.start([config_map(name, name)]).ended("succeeded")
    assert found_in(second_cluster.api, name)
    assert not found_in(admin, name)

    shown = {one["name"]: one for one in json.loads(cli("cluster", "ls", "-o", "json").out)}
    assert shown["local"]["labels"] == {secrets.CONTROL_PLANE_LABEL: "true"}
    assert shown[name]["credential"] == "ServiceAccountToken"
    assert shown[name]["endpoint"] == second_cluster.url
    assert shown[name]["labels"]["region"] == "eu"
    assert any(line.startswith(name) and "region=eu" in line for line in cli("cluster", "ls").lines)
    assert cli("cluster", "labels", name, "tier=test", "region-").out == "tier=test\n"

    probed = json.loads(cli("cluster", "probe", name, "local", "-o", "json").out)
    assert [one["name"] for one in probed] == ["local", name]
    assert probed[0]["version"] == probed[1]["version"]

    new = f"{name}-new"
    try:
        assert cli("cluster", "rename", name, new).out == f"cluster {name} is now {new}\n"
        assert cli("cluster", "labels", new).out == "tier=test\n"
        runs.start([config_map(new, new)]).ended("succeeded")
        assert found_in(second_cluster.api, new)
        assert f'there is no cluster "{name}"' in cli("cluster", "probe", name).err
    finally:
        left = cli("cluster", "detach", new)
    assert left.out == f"cluster {new} detached\n"
    assert cli("cluster", "detach", new).code == 1


def test_a_step_waits_for_its_cluster_to_join(
    cli: Cli, runs: fixture.Runs, admin: Api, second_cluster: ApiServer, name: str
) -> None:
    run = runs.start([config_map(name, name)])
    entry = run.until_step("apply", "failed", "Execute")
    assert f"cluster {name}: no such cluster" in entry["message"]
    assert "vela-workflow cluster join" in entry["message"]
    cli("cluster", "join", f"--from={second_cluster.kubeconfig}", f"--name={name}")
    run.ended("succeeded")
    assert found_in(second_cluster.api, name)
    assert not found_in(admin, name)


AWAIT_THERE = """
import (
	"vela/kube"
	"vela/builtin"
)

read: kube.#Read & {
	$params: {
		cluster: parameter.cluster
		value: {apiVersion: "v1", kind: "ConfigMap", metadata: {name: parameter.name, namespace: "default"}}
	}
}
wait: builtin.#ConditionalWait & {$params: continue: read.$returns.value.data.ready == "yes"}
parameter: {
	cluster: string
	name:    string
}
"""


@pytest.mark.parametrize("gap", [False, True], ids=["wrong for a while", "deleted and made again"])
def test_a_step_that_waits_in_a_cluster_outlives_a_change_of_its_secret(
    cli: Cli, runs: fixture.Runs, admin: Api, second_cluster: ApiServer, name: str, gap: bool
) -> None:
    runs.definition("await-there", AWAIT_THERE)
    cli("cluster", "join", f"--from={second_cluster.kubeconfig}", f"--name={name}")
    good = admin.get("v1", "Secret", name, SYSTEM)
    assert good is not None
    run = runs.start([{"name": "a", "type": "await-there", "properties": {"cluster": name, "name": name}}])
    run.until_step("a", "running", "Wait")
    if gap:
        admin.delete("v1", "Secret", name, SYSTEM)
    else:
        admin.patch("v1", "Secret", name, {"stringData": {"token": "wrong"}}, SYSTEM)
    ready = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ready": "yes"}}
    second_cluster.api.apply(ready, "default")
    metadata = {"name": name, "labels": good["metadata"]["labels"]}
    admin.apply({**{key: good[key] for key in ("apiVersion", "kind", "type", "data")}, "metadata": metadata}, SYSTEM)
    run.ended("succeeded", timeout=30)
    second_cluster.api.delete("v1", "ConfigMap", name, "default")


def test_a_whole_kubeconfig_is_a_cluster_too(
    cli: Cli, runs: fixture.Runs, admin: Api, second_cluster: ApiServer, name: str
) -> None:
    text = base64.b64encode(second_cluster.kubeconfig.read_bytes()).decode()
    metadata = {"name": name, "labels": {secrets.KUBECONFIG_LABEL: "true"}}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"kubeconfig": text}}
    admin.create(body, SYSTEM)
    runs.start([config_map(name, name)]).ended("succeeded")
    assert found_in(second_cluster.api, name)
    assert cli("cluster", "probe", name).code == 0
    assert f"{name}: v" in cli("cluster", "probe").out


def test_a_dead_cluster_holds_up_only_what_needs_it(
    cli: Cli, runs: fixture.Runs, control_plane: ControlPlane, name: str
) -> None:
    with control_plane.second(name) as far:
        cli("cluster", "join", f"--from={far.kubeconfig}", f"--name={name}")
        runs.start([config_map(f"{name}-before", name)]).ended("succeeded")
        far.stop()
        waiting = runs.start([config_map(name, name)])
        entry = waiting.until_step("apply", "running", "Wait")
        assert f"cluster {name}" in entry["message"]

        started = time.monotonic()
        others = [
            runs.start([{"name": "touch", "type": "touch", "properties": {"name": f"{name}-{number}"}}])
            for number in range(10)
        ]
        for other in others:
            other.ended("succeeded")
        assert time.monotonic() - started < 10
        assert not waiting.status.get("finished")
        told = cli("cluster", "probe", name)
        assert told.code == 1
        assert told.out.startswith(f"{name}: ")

        far.start()
        waiting.ended("succeeded", timeout=60)
        assert found_in(far.api, name)


@dataclasses.dataclass(frozen=True)
class Half:
    """Two clusters that have joined, of which one does not answer."""

    live: str
    dead: str
    server: ApiServer
    """That of the dead one."""


@pytest.fixture
def half(cli: Cli, admin: Api, control_plane: ControlPlane, second_cluster: ApiServer, name: str) -> Iterator[Half]:
    """A live and a dead cluster; the live one is ``second_cluster`` under ``name``."""
    dead = f"{name}-dead"
    with control_plane.second(dead) as far:
        cli("cluster", "join", f"--from={second_cluster.kubeconfig}", f"--name={name}")
        cli("cluster", "join", f"--from={far.kubeconfig}", f"--name={dead}")
        far.stop()
        yield Half(name, dead, far)
        admin.delete("v1", "Secret", dead, SYSTEM)
        admin.delete("v1", "ConfigMap", name, "default")


def test_one_step_per_cluster_reaches_those_that_live(
    runs: fixture.Runs, admin: Api, second_cluster: ApiServer, half: Half, name: str
) -> None:
    steps = [{**config_map(name, cluster), "name": cluster} for cluster in (half.dead, half.live, "local")]
    run = runs.start([{"name": "everywhere", "type": "step-group", "subSteps": steps}])
    run.until_step(half.live, "succeeded")
    run.until_step("local", "succeeded")
    assert found_in(second_cluster.api, name)
    assert found_in(admin, name)
    assert f"cluster {half.dead}" in fixture.step(run.status, half.dead)["message"]
    half.server.start()
    run.ended("succeeded", timeout=60)


def test_one_step_for_many_clusters_reaches_those_that_live(
    runs: fixture.Runs, admin: Api, second_cluster: ApiServer, half: Half, name: str
) -> None:
    value = config_map(name, "")["properties"]["value"]
    properties = {"value": value, "clusters": [half.dead, half.live, "local"], "until": {"data": {"is": "here"}}}
    run = runs.start([{"name": "spread", "type": "distribute-object", "properties": properties}])
    entry = run.until_step("spread", "running", "Wait")
    assert f"apply.{half.dead}: cluster {half.dead}" in entry["message"]
    assert found_in(second_cluster.api, name)
    assert found_in(admin, name)
    half.server.start()
    run.ended("succeeded", timeout=60)
    assert found_in(half.server.api, name)


# Joining.


def test_credentials_that_do_not_work_are_not_kept(
    cli: Cli, admin: Api, second_cluster: ApiServer, name: str, tmp_path: Path
) -> None:
    config = yaml.safe_load(second_cluster.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": "wrong"}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    done = cli("cluster", "join", f"--from={file}", f"--name={name}")
    assert done.code == 1
    assert f"cluster {name}" in done.err
    assert "nothing was kept" in done.err
    assert admin.get("v1", "Secret", name, SYSTEM) is None
    assert cli("cluster", "join", f"--from={file}", f"--name={name}", "--unchecked").code == 0
    assert cli("cluster", "probe", name).code == 1
    again = cli("cluster", "join", f"--from={second_cluster.kubeconfig}", f"--name={name}")
    assert "has joined already; --replace gives it new credentials" in again.err
    cli("cluster", "labels", name, "region=eu")
    replaced = cli("cluster", "join", f"--from={second_cluster.kubeconfig}", f"--name={name}", "--replace")
    assert replaced.out == f"cluster {name} has new credentials\n"
    assert cli("cluster", "labels", name).out == "region=eu\n"
    assert cli("cluster", "probe", name).code == 0


def test_a_secret_that_is_no_cluster_is_left_alone(cli: Cli, admin: Api, second_cluster: ApiServer, name: str) -> None:
    admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}, SYSTEM)
    done = cli("cluster", "join", f"--from={second_cluster.kubeconfig}", f"--name={name}", "--replace")
    assert done.code == 1
    assert "is a Secret in vela-system that is no cluster" in done.err
    assert cli("cluster", "detach", name).code == 1
    assert admin.get("v1", "Secret", name, SYSTEM) is not None


PEM = {word: base64.b64encode(f"-----BEGIN {word}-----\n".encode()).decode() for word in ("CA", "CERT", "KEY")}
SERVER: JSON = {"server": "https://far:6443/", "certificate-authority-data": PEM["CA"]}
CERTIFICATE: JSON = {"client-certificate-data": PEM["CERT"], "client-key-data": PEM["KEY"]}
Write = Callable[[JSON, JSON], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a kubeconfig with one cluster and user."""

    def written(cluster: JSON, user: JSON) -> str:
        config = {
            "current-context": "far-admin",
            "contexts": [{"name": "far-admin", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
        }
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        return str(file)

    return written


@pytest.mark.parametrize(
    ("cluster", "user", "kind", "keys"),
    [
        pytest.param(SERVER, {"token": "t"}, "ServiceAccountToken", {"endpoint", "ca.crt", "token"}, id="a token"),
        pytest.param(SERVER, CERTIFICATE, "X509Certificate", {"endpoint", "ca.crt", "tls.crt", "tls.key"}, id="X509"),
        pytest.param(
            {"server": "https://far", "insecure-skip-tls-verify": True, "proxy-url": "http://proxy:1"},
            {"token": "t"},
            "ServiceAccountToken",
            {"endpoint", "token", "proxy-url"},
            id="unverified, by a proxy",
        ),
        pytest.param({"server": "https://far"}, {"token": "t"}, None, {"kubeconfig"}, id="a public authority"),
        pytest.param({**SERVER, "tls-server-name": "x"}, CERTIFICATE, None, {"kubeconfig"}, id="another TLS name"),
    ],
)
def test_a_kubeconfig_becomes_a_secret(
    write: Write, cluster: JSON, user: JSON, kind: str | None, keys: set[str]
) -> None:
    body = cluster_secrets.from_kubeconfig(write(cluster, user), "", name="", labels={"a": "b"}, alias="Far")
    metadata = body["metadata"]
    assert metadata["name"] == "far-admin"
    assert metadata["labels"]["a"] == "b"
    assert metadata["labels"].get(secrets.CREDENTIAL_TYPE_LABEL) == kind
    assert (secrets.KUBECONFIG_LABEL in metadata["labels"]) is (kind is None)
    assert body["data"].keys() == keys
    told = secrets.describe(body)
    assert (told.alias, told.endpoint.rstrip("/")) == ("Far", cluster["server"].rstrip("/"))
    secrets.source(body, "it")
    if "tls.key" in keys:
        assert base64.b64decode(body["data"]["tls.key"]).decode() == "-----BEGIN KEY-----\n"


@pytest.mark.parametrize(
    ("user", "options", "said"),
    [
        pytest.param({"exec": {"command": "aws"}}, {}, "logs in by a command", id="a command"),
        pytest.param(
            {"username": "u", "password": "p"}, {}, "neither a token nor a client certificate", id="a password"
        ),
        pytest.param({"token": "t", "as": "root"}, {}, "impersonates another user", id="impersonation"),
        pytest.param({"token": "t"}, {"name": "local"}, "is the cluster of the operator", id="the name local"),
        pytest.param({"token": "t"}, {"name": "Far_1"}, "cannot be the name of a cluster", id="a name that cannot be"),
        pytest.param({"token": "t"}, {"context": "other"}, 'no context "other"', id="an unknown context"),
        pytest.param(
            {"token": "t"}, {"labels": {secrets.CREDENTIAL_TYPE_LABEL: "x"}}, "choose others", id="a reserved label"
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_joined(write: Write, user: JSON, options: JSON, said: str) -> None:
    chosen = {"context": "", "name": "", "labels": {}, "alias": "", **options}
    with pytest.raises(CommandError, match=said):
        cluster_secrets.from_kubeconfig(write(SERVER, user), chosen.pop("context"), **chosen)


def test_a_renamed_secret_keeps_what_it_says() -> None:
    body = {
        "metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "labels": {"x": "y"}, "annotations": {"n": "m"}},
        "type": "Opaque",
        "data": {"token": "dA=="},
    }
    assert cluster_secrets.renamed(body, "b") == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "b", "labels": {"x": "y"}, "annotations": {"n": "m"}},
        "type": "Opaque",
        "data": {"token": "dA=="},
    }
