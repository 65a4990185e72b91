"""Finding and building tools, and the locks that let several processes do it at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import binaries, cli, gobuild, kind, locks
from tools.errors import ToolError

UPSTREAM = """\
module k8s.io/kubernetes

go 1.24.0

require (
	github.com/some/thing v1.2.3
	k8s.io/api v0.0.0
	k8s.io/client-go v0.0.0
	k8s.io/klog/v2 v2.130.1
	k8s.io/utils v0.0.0-20250604170112-4c0f3b243397
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/client-go => ./staging/src/k8s.io/client-go
	github.com/forked/module => github.com/fork/module v1.0.0
)

replace k8s.io/kubectl => ./staging/src/k8s.io/kubectl
"""

# A stand-in for the go command: it answers `go mod download`, and writes what `go build` would write, slowly enough
# for another process to come meanwhile. It counts builds, and fails when it is told to.
FAKE_GO = """\
#!{python}
import json, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
if sys.argv[1] == "mod":
    print(json.dumps({{"GoMod": str(here / "upstream.mod")}}))
    sys.exit()
(here / "builds").open("a").write(pathlib.Path("go.mod").read_text())
(here / "arguments").write_text(" ".join(sys.argv))
if (here / "fail").exists():
    sys.exit("undefined: Something")
while (here / "slow").exists():
    time.sleep(0.01)
target = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
target.write_text("#!/bin/sh")
target.chmod(0o755)
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Folders for the places where tools are looked for, and nothing of this machine."""
    found = {name: tmp_path / name for name in ("assets", "path", "cache")}
    for folder in found.values():
        folder.mkdir()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(found["assets"]))
    monkeypatch.setenv("PATH", str(found["path"]))
    monkeypatch.setenv("VELA_WORKFLOW_CACHE", str(found["cache"]))
    return found


def program(path: Path, says: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def fake_go(folder: Path) -> Path:
    go = folder / "go"
    go.write_text(FAKE_GO.format(python=sys.executable))
    go.chmod(0o755)
    (folder / "upstream.mod").write_text(UPSTREAM)
    return go


@pytest.mark.parametrize(
    ("tool", "there", "expected"),
    [
        pytest.param("etcd", {"assets": "", "path": "", "cache": ""}, "assets", id="KUBEBUILDER_ASSETS come first"),
        pytest.param("etcd", {"path": "etcd Version: 3.5.1", "cache": ""}, "path", id="PATH as it is"),
        pytest.param("etcd", {"cache": ""}, "cache", id="an earlier build"),
        pytest.param("etcd", {}, None, id="nowhere"),
        pytest.param("cue", {"path": "cue version v0.17.1", "cache": ""}, "path", id="the pinned cue"),
        pytest.param("cue", {"path": "cue version v0.16.0", "cache": ""}, "cache", id="another cue"),
        pytest.param("cue", {"path": "cue version v0.17.10", "cache": ""}, "cache", id="a version that begins alike"),
        pytest.param("cue", {"path": "cue version v0.16.0"}, None, id="only another cue"),
    ],
)
def test_search_order(tool: str, there: dict[str, str], expected: str | None, places: dict[str, Path]) -> None:
    wanted = binaries.TOOLS[tool]
    made = {}
    for place, says in there.items():
        made[place] = program(binaries.cached_path(wanted) if place == "cache" else places[place] / tool, says)
    assert binaries.find(wanted) == (made[expected] if expected else None)


def test_a_file_that_cannot_be_run_is_not_a_tool(places: dict[str, Path]) -> None:
    (places["assets"] / "etcd").write_text("")
    assert binaries.find(binaries.TOOLS["etcd"]) is None


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"VELA_WORKFLOW_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/vela-workflow"),
        ({"HOME": "/c"}, "/c/.cache/vela-workflow"),
    ],
    ids=["own", "XDG", "home"],
)
def test_cache_directory(environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VELA_WORKFLOW_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert binaries.cache_directory() == Path(expected)


def test_go_mod_replaces_staging_modules_only() -> None:
    source = gobuild.Source("k8s.io/kubernetes/cmd/kubectl", "k8s.io/kubernetes", "v1.34.4", staged="v0.34.4")
    assert gobuild.go_mod(source, UPSTREAM).splitlines() == [
        "module tools.invalid/build",
        "",
        "go 1.24.0",
        "",
        "require k8s.io/kubernetes v1.34.4",
        "",
        "replace (",
        "\tk8s.io/api => k8s.io/api v0.34.4",
        "\tk8s.io/client-go => k8s.io/client-go v0.34.4",
        "\tk8s.io/kubectl => k8s.io/kubectl v0.34.4",
        ")",
    ]


def test_go_mod_of_a_plain_module_replaces_nothing() -> None:
    source = gobuild.Source("example.org/tool/cmd", "example.org/tool", "v1.0.0")
    assert gobuild.go_mod(source, "module example.org/tool\n\ngo 1.25\n").split("\n") == [
        "module tools.invalid/build",
        "",
        "go 1.25",
        "",
        "require example.org/tool v1.0.0",
        "",
    ]


def test_kubernetes_is_told_its_version() -> None:
    stamps = dict(gobuild.kubernetes_stamps("v1.34.4"))
    assert stamps["k8s.io/component-base/version.gitVersion"] == "v1.34.4"
    assert stamps["k8s.io/component-base/version.gitMajor"] == "1"
    assert stamps["k8s.io/client-go/pkg/version.gitMinor"] == "34"


def test_a_missing_tool_is_built_once(places: dict[str, Path]) -> None:
    fake_go(places["path"])
    told: list[str] = []
    first = binaries.ensure(["kube-scheduler"], tell=told.append)["kube-scheduler"]
    assert first == places["cache"] / "bin" / "kube-scheduler-v1.34.4"
    assert "k8s.io/api => k8s.io/api v0.34.4" in (places["path"] / "builds").read_text()
    arguments = (places["path"] / "arguments").read_text()
    assert "-trimpath" in arguments
    assert "gitVersion=v1.34.4" in arguments
    assert arguments.endswith("k8s.io/kubernetes/cmd/kube-scheduler")
    assert "built in" in told[-1]

    (places["path"] / "builds").unlink()
    assert binaries.ensure(["kube-scheduler"], tell=told.append)["kube-scheduler"] == first
    assert not (places["path"] / "builds").exists()
    assert {path.name for path in first.parent.iterdir() if path.is_dir()} == set()


def test_a_build_that_fails_leaves_nothing_behind_and_can_be_repeated(places: dict[str, Path]) -> None:
    fake_go(places["path"])
    (places["path"] / "fail").touch()
    with pytest.raises(ToolError, match=r"building etcd-v3\.6\.8 failed(.|\n)*undefined: Something"):
        binaries.ensure(["etcd"], tell=lambda _line: None)
    assert binaries.find(binaries.TOOLS["etcd"]) is None

    (places["path"] / "fail").unlink()
    assert binaries.ensure(["etcd"], tell=lambda _line: None)["etcd"].exists()


def test_what_a_killed_build_left_is_no_obstacle(places: dict[str, Path]) -> None:
    fake_go(places["path"])
    work = places["cache"] / "bin" / ".etcd-v3.6.8.build"
    work.mkdir(parents=True)
    (work / "out").write_text("half")
    (work.parent / ".etcd-v3.6.8.lock").touch()
    built = binaries.ensure(["etcd"], tell=lambda _line: None)["etcd"]
    assert built.read_text() == "#!/bin/sh"
    assert not work.exists()


def test_two_at_once_build_once(places: dict[str, Path]) -> None:
    fake_go(places["path"])
    slow = places["path"] / "slow"
    slow.touch()
    waiting, compiling = threading.Event(), threading.Event()
    results: list[dict[str, Path]] = []

    def build(word: str, event: threading.Event) -> Callable[[], None]:
        def tell(line: str) -> None:
            if word in line:
                event.set()

        return lambda: results.append(binaries.ensure(["etcd"], tell=tell))

    first = threading.Thread(target=build("compiling", compiling))
    second = threading.Thread(target=build("waiting for another process", waiting))
    first.start()
    assert compiling.wait(20)
    second.start()
    assert waiting.wait(20)
    slow.unlink()
    for thread in (first, second):
        thread.join(20)
    assert len(results) == 2
    assert results[0] == results[1]
    assert (places["path"] / "builds").read_text().count("module tools.invalid/build") == 1


def test_without_go_the_message_says_what_to_do(places: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ensure", "kwok"]) == 1
    told = capsys.readouterr().err
    assert "kwok-v0.8.0 is not installed and cannot be built" in told
    assert "Install Go" in told
    assert "KUBEBUILDER_ASSETS" in told


def test_an_unknown_tool_is_named(places: dict[str, Path]) -> None:
    with pytest.raises(ToolError, match=r"no such tool: minikube\. There are: cue, etcd"):
        binaries.ensure(["cue", "minikube"])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        pytest.param("minikube", "CLUSTER=minikube is not known", id="unknown"),
        pytest.param("kind", "needs a Docker engine, and none answers", id="kind without Docker"),
    ],
)
def test_a_cluster_that_cannot_be_had(
    choice: str,
    expected: str,
    places: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLUSTER", choice)
    assert cli.main(["up", f"--folder={places['cache'] / 'state'}"]) == 1
    assert expected in capsys.readouterr().err


# Stand-ins for docker, which answers, and for kind, which keeps its clusters in a file and notes how it was called.
FAKE_KIND = """\
#!/bin/sh
echo "$@" >> {here}/calls
case "$1 $2" in
"get clusters") /bin/cat {here}/clusters 2>/dev/null || true ;;
"create cluster") echo vela-workflow > {here}/clusters ;;
"delete cluster") /bin/rm {here}/clusters ;;
esac
"""


def test_a_kind_cluster_is_made_once_and_deleted_once(places: dict[str, Path], tmp_path: Path) -> None:
    program(places["path"] / "docker")
    program(places["path"] / "kind").write_text(FAKE_KIND.format(here=tmp_path))
    folder = tmp_path / "state"
    for _ in range(2):
        assert kind.up(folder, lambda _line: None) == folder / "kubeconfig"
    assert kind.down(folder, lambda _line: None)
    assert not kind.down(folder, lambda _line: None)
    calls = [line for line in (tmp_path / "calls").read_text().splitlines() if line != "get clusters"]
    assert [" ".join(call.split()[:2]) for call in calls] == ["create cluster", "export kubeconfig", "delete cluster"]
    assert all("--name vela-workflow" in call and f"--kubeconfig {folder / 'kubeconfig'}" in call for call in calls)


@pytest.mark.parametrize(
    ("first", "second", "granted"),
    [(False, False, False), (False, True, False), (True, False, False), (True, True, True)],
    ids=["exclusive twice", "shared after exclusive", "exclusive after shared", "shared twice"],
)
def test_who_gets_a_lock(first: bool, second: bool, granted: bool, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    with locks.acquire(path, shared=first):
        other = locks.try_acquire(path, shared=second)
        assert (other is not None) is granted
        if other is not None:
            other.release()
    after = locks.try_acquire(path)
    assert after is not None
    after.release()


def test_a_lock_on_a_deleted_file_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locks.acquire(path):
        path.unlink()
        new = locks.try_acquire(path)
        assert new is not None
        assert locks.try_acquire(path) is None
        new.release()


def test_who_waits_for_a_file_that_is_deleted_gets_the_lock_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    old = locks.acquire(path)
    got: list[locks.Lock] = []
    waiter = threading.Thread(target=lambda: got.append(locks.acquire(path)))
    waiter.start()
    path.unlink()
    old.release()
    waiter.join(20)
    assert len(got) == 1
    assert locks.try_acquire(path) is None
    got[0].release()
