from __future__ import annotations

import base64
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from vela_workflow.cli import kubeconfig
from vela_workflow.cli.errors import CommandError

JSON = dict[str, Any]


def config(user: JSON | None = None, cluster: JSON | None = None, name: str = "a", current: str = "a") -> JSON:
    return {
        "current-context": current,
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443/", **(cluster or {})}}],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }


def write(path: Path, content: JSON) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def test_home_is_the_default(tmp_path: Path) -> None:
    write(tmp_path / "home/.kube/config", config())
    assert kubeconfig.load().server == "https://a:6443"
    assert kubeconfig.load().namespace == "default"


def test_files_of_the_environment_are_merged_and_the_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(tmp_path / "1", config({"token": "first"}, current=""))
    second = write(tmp_path / "2", {**config({"token": "second"}), "current-context": "b"})
    third = write(tmp_path / "3", config(name="b"))
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'missing'}:{second}:{third}")
    assert kubeconfig.load().server == "https://b:6443"
    assert kubeconfig.load(context="a").user == {"token": "first"}


def test_a_named_file_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write(tmp_path / "1", config())))
    assert kubeconfig.load(str(write(tmp_path / "2", config(name="b", current="b")))).server == "https://b:6443"


def test_inline_keys_are_kept_from_others(tmp_path: Path) -> None:
    data = base64.b64encode(b"-----KEY-----").decode()
    user = {"client-certificate-data": data, "client-key-data": data}
    found = kubeconfig.load(str(write(tmp_path / "c", config(user, {"certificate-authority-data": data}))))
    key = Path(found.user["client-key"])
    assert key.read_text() == "-----KEY-----"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert Path(found.cluster["certificate-authority"]).is_file()


def test_relative_files_are_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" abc\n")
    user = {"tokenFile": "token", "client-certificate": "tls.crt", "client-key": "/etc/tls.key"}
    found = kubeconfig.load(str(write(tmp_path / "c", config(user))))
    assert found.renewable
    assert found.user == {
        "token": "abc",
        "client-certificate": str(tmp_path / "tls.crt"),
        "client-key": "/etc/tls.key",
    }


def test_a_plugin_is_asked_and_told_what_it_needs(tmp_path: Path) -> None:
    script = (
        "import json, os, sys\n"
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "token = ' '.join([info['apiVersion'], info['spec']['cluster']['server'], os.environ['EXTRA'], sys.argv[1]])\n"
        "print(json.dumps({'status': {'token': token}}))\n"
    )
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", script, "argument"],
        "env": [{"name": "EXTRA", "value": "extra"}],
        "provideClusterInfo": True,
    }
    found = kubeconfig.load(str(write(tmp_path / "c", config({"exec": plugin}))))
    assert found.user == {"token": "client.authentication.k8s.io/v1 https://a:6443/ extra argument"}
    assert found.renewable


def test_impersonation(tmp_path: Path) -> None:
    found = kubeconfig.load(str(write(tmp_path / "c", config({"as": "jane", "as-groups": ["dev"]}))))
    assert found.headers == {"Impersonate-User": "jane", "Impersonate-Group": "dev"}


def test_inside_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("abc")
    (tmp_path / "namespace").write_text("jobs")
    monkeypatch.setattr(kubeconfig, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = kubeconfig.load()
    assert (found.server, found.namespace, found.user) == ("https://[fd00::1]:443", "jobs", {"token": "abc"})


@pytest.mark.parametrize(
    ("content", "context", "said"),
    [
        pytest.param({**config(), "current-context": ""}, "", "has no current-context", id="no-current-context"),
        pytest.param(config(), "b", 'no context "b" in', id="unknown-context"),
        pytest.param({**config(), "clusters": []}, "", 'no cluster "a" in', id="unknown-cluster"),
        pytest.param({**config(), "users": []}, "", 'no user "a" in', id="unknown-user"),
        pytest.param(config(cluster={"server": ""}), "", 'cluster "a"', id="no-server"),
        pytest.param(config({"client-key-data": "%"}), "", "client-key-data in the kubeconfig is not", id="no-base64"),
        pytest.param(config({"tokenFile": "gone"}), "", "cannot read", id="no-token-file"),
        pytest.param(config({"as": "j", "as-groups": ["a", "b"]}), "", "several groups", id="many-groups"),
        pytest.param(
            config({"exec": {"command": "no-such-plugin", "installHint": "brew\ninstall it"}}),
            "",
            '"no-such-plugin", which is not there: brew install it',
            id="plugin-not-installed",
        ),
        pytest.param(config({"exec": {"command": "false"}}), "", 'command "false"', id="plugin-fails"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: JSON, context: str, said: str) -> None:
    path = write(tmp_path / "c", content)
    with pytest.raises(CommandError) as error:
        kubeconfig.load(str(path), context)
    assert said in str(error.value)


def test_nothing_is_configured(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no cluster is configured"):
        kubeconfig.load()
    with pytest.raises(CommandError, match="there is no kubeconfig"):
        kubeconfig.load(str(tmp_path / "gone"))
    (tmp_path / "bad").write_text("a: [")
    with pytest.raises(CommandError, match="cannot read the kubeconfig"):
        kubeconfig.load(str(tmp_path / "bad"))
