"""The CUE packages with the real ``cue`` command: they are sound, and actions export before anything ran."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vela_workflow.providers import registry

DOMAIN = "packages.test"
PACKAGES = registry.packages()

# id: import, action, what it exports
ACTIONS: dict[str, tuple[str, str, Any]] = {
    "wait by default": ("vela/builtin", "builtin.#ConditionalWait", {"$params": {"continue": False}}),
    "wait, undecided": (
        "vela/builtin",
        "builtin.#ConditionalWait & {if 1 > 2 {$params: continue: true}}",
        {"$params": {"continue": False}},
    ),
    "wait, met": (
        "vela/builtin",
        "builtin.#ConditionalWait & {$params: continue: true}",
        {"$params": {"continue": True}},
    ),
    "flat wait": (
        "vela/op",
        'op.#ConditionalWait & {continue: false, message: "m"}',
        {"continue": False, "message": "m"},
    ),
    "suspend": (
        "vela/builtin",
        'builtin.#Suspend & {$params: {duration: "3s", message: "m"}}',
        {"$params": {"duration": "3s", "message": "m"}},
    ),
    "flat suspend": ("vela/op", 'op.#Suspend & {duration: "3s"}', {"duration": "3s"}),
    "fail": ("vela/builtin", 'builtin.#Fail & {$params: message: "m"}', {"$params": {"message": "m"}}),
    "flat fail": ("vela/op", 'op.#Fail & {message: "m"}', {"message": "m"}),
    "break": ("vela/builtin", "builtin.#Break", {"$params": {}}),
    "flat break": ("vela/op", "op.#Break", {}),
    "message": ("vela/builtin", "builtin.#Message", {"$params": {}}),
    "flat message": ("vela/op", 'op.#Message & {message: "m"}', {"message": "m"}),
    "get a variable": (
        "vela/builtin",
        'builtin.#DoVar & {$params: path: "a.b"}',
        {"$params": {"method": "Get", "path": "a.b"}},
    ),
    "put a variable": (
        "vela/op",
        'op.#DoVar & {method: "Put", path: "a", value: [1]}',
        {"method": "Put", "path": "a", "value": [1]},
    ),
    "group": ("vela/builtin", "builtin.#Steps & {a: 1}", {"a": 1}),
    "flat group": ("vela/op", "op.#Steps & {a: 1}", {"a": 1}),
    "apply": (
        "vela/kube",
        'kube.#Apply & {$params: value: {kind: "A"}, extra: 1}',
        {"$params": {"cluster": "", "value": {"kind": "A"}}, "extra": 1},
    ),
    "apply with patch": (
        "vela/kube",
        "kube.#Apply & {$params: {value: {}, patch: spec: a: 1}}",
        {"$params": {"cluster": "", "value": {}, "patch": {"spec": {"a": 1}}}},
    ),
    "flat apply": ("vela/op", 'op.#Apply & {value: kind: "A"}', {"cluster": "", "value": {"kind": "A"}}),
    "apply in parallel": (
        "vela/kube",
        "kube.#ApplyInParallel & {$params: value: [{a: 1}, {b: 2}]}",
        {"$params": {"cluster": "", "value": [{"a": 1}, {"b": 2}]}},
    ),
    "flat apply in parallel": (
        "vela/op",
        'op.#ApplyInParallel & {cluster: "c", value: [{a: 1}]}',
        {"cluster": "c", "value": [{"a": 1}]},
    ),
    "patch": (
        "vela/kube",
        "kube.#Patch & {$params: {value: {}, patch: a: 1}}",
        {"$params": {"cluster": "", "value": {}, "patch": {"a": 1}}},
    ),
    "flat patch": (
        "vela/op",
        "op.#Patch & {value: {}, patch: a: 1}",
        {"cluster": "", "value": {}, "patch": {"a": 1}},
    ),
    "read": (
        "vela/kube",
        'kube.#Read & {$params: value: kind: "A"}',
        {"$params": {"cluster": "", "value": {"kind": "A"}}},
    ),
    "flat read": ("vela/op", 'op.#Read & {value: kind: "A"}', {"cluster": "", "value": {"kind": "A"}}),
    "list": (
        "vela/kube",
        'kube.#List & {$params: {resource: {apiVersion: "v1", kind: "Pod"}, filter: matchingLabels: a: "b"}}',
        {
            "$params": {
                "cluster": "",
                "resource": {"apiVersion": "v1", "kind": "Pod"},
                "filter": {"namespace": "", "matchingLabels": {"a": "b"}},
            }
        },
    ),
    "flat list": (
        "vela/op",
        'op.#List & {resource: {apiVersion: "v1", kind: "Pod"}}',
        {"cluster": "", "resource": {"apiVersion": "v1", "kind": "Pod"}},
    ),
    "delete of a whole manifest": (
        "vela/kube",
        'kube.#Delete & {$params: value: {apiVersion: "v1", kind: "A", metadata: {name: "a", labels: x: "y"}, '
        "spec: {}}}",
        {
            "$params": {
                "cluster": "",
                "value": {
                    "apiVersion": "v1",
                    "kind": "A",
                    "metadata": {"name": "a", "labels": {"x": "y"}},
                    "spec": {},
                },
            }
        },
    ),
    "delete with a namespace that has a default of its own": (
        "vela/op",
        'op.#Delete & {value: {apiVersion: "v1", kind: "A", metadata: {name: "a", namespace: *"here" | string}}}',
        {"cluster": "", "value": {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "namespace": "here"}}},
    ),
    "request": (
        "vela/http",
        'http.#HTTPDo & {$params: {method: "PUT", url: "u", request: {timeout: "1s", header: {}}, repeat: true}}',
        {"$params": {"method": "PUT", "url": "u", "request": {"timeout": "1s", "header": {}}, "repeat": True}},
    ),
    **{
        f"{method.lower()} request": (
            "vela/http",
            f'http.#HTTP{method} & {{$params: url: "u"}}',
            {"$params": {"method": method.upper(), "url": "u"}},
        )
        for method in ("Get", "Post", "Put", "Delete")
    },
    "flat request": (
        "vela/op",
        'op.#HTTPDo & {url: "u", request: {body: "b", header: a: "b"}, tls_config: secret: "s"}',
        {
            "method": "GET",
            "url": "u",
            "request": {"body": "b", "header": {"a": "b"}},
            "tls_config": {"secret": "s"},
        },
    ),
    **{
        f"flat {method.lower()} request": (
            "vela/op",
            f'op.#HTTP{method} & {{url: "u"}}',
            {"method": method.upper(), "url": "u"},
        )
        for method in ("Get", "Post", "Put", "Delete")
    },
    "request with the method beside the parameters, as old templates have it": (
        "vela/http",
        'http.#HTTPPost & {method: "POST", $params: url: "u"}',
        {"method": "POST", "$params": {"method": "POST", "url": "u"}},
    ),
    "DingTalk": (
        "vela/op",
        'op.#DingTalk & {message: text: "t", dingUrl: "u"}',
        {"message": {"text": "t"}, "dingUrl": "u"},
    ),
    "Lark": ("vela/op", 'op.#Lark & {message: {}, larkUrl: "u"}', {"message": {}, "larkUrl": "u"}),
    "Slack": ("vela/op", 'op.#Slack & {message: {}, slackUrl: "u"}', {"message": {}, "slackUrl": "u"}),
    "mail": (
        "vela/email",
        'email.#SendEmail & {$params: {from: {address: "a", password: "p", host: "h", port: 25}, '
        'content: {subject: "s", body: "b"}}}',
        {
            "$params": {
                "from": {"address": "a", "password": "p", "host": "h", "port": 25},
                "to": [],
                "content": {"subject": "s", "body": "b"},
            }
        },
    ),
    "flat mail": (
        "vela/op",
        'op.#SendEmail & {from: {address: "a", alias: "A", password: "p", host: "h", port: 25}, to: ["x"], '
        'content: {subject: "s", body: "b"}}',
        {
            "from": {"address": "a", "alias": "A", "password": "p", "host": "h", "port": 25},
            "to": ["x"],
            "content": {"subject": "s", "body": "b"},
        },
    ),
    "merge": (
        "vela/util",
        "util.#PatchK8sObject & {$params: {value: a: 1, patch: b: 2}}",
        {"$params": {"value": {"a": 1}, "patch": {"b": 2}}},
    ),
    "flat merge": (
        "vela/op",
        "op.#PatchK8sObject & {value: a: 1, patch: b: 2}",
        {"value": {"a": 1}, "patch": {"b": 2}},
    ),
    "string of bytes": ("vela/util", "util.#ConvertString & {$params: bt: 'ab'}", {"$params": {"bt": "YWI="}}),
    "flat string of bytes": ("vela/op", "op.#ConvertString & {bt: 'ab'}", {"bt": "YWI="}),
    "log": ("vela/util", 'util.#Log & {$params: data: "x"}', {"$params": {"data": "x", "level": 3}}),
    "log with a URL": (
        "vela/util",
        'util.#Log & {$params: source: url: "u"}',
        {"$params": {"level": 3, "source": {"url": "u"}}},
    ),
    "flat log with resources": (
        "vela/op",
        'op.#Log & {data: {a: 1}, level: 5, source: resources: [{name: "n", labelSelector: a: "b"}]}',
        {"data": {"a": 1}, "level": 5, "source": {"resources": [{"name": "n", "labelSelector": {"a": "b"}}]}},
    ),
    "time stamp": (
        "vela/time",
        'time.#DateToTimestamp & {$params: date: "d"}',
        {"$params": {"date": "d", "layout": ""}},
    ),
    "flat time stamp": ("vela/op", 'op.#DateToTimestamp & {date: "d"}', {"date": "d", "layout": ""}),
    "date": (
        "vela/time",
        "time.#TimestampToDate & {$params: timestamp: 0}",
        {"$params": {"timestamp": 0, "layout": ""}},
    ),
    "flat date": ("vela/op", 'op.#TimestampToDate & {timestamp: 1, layout: "l"}', {"timestamp": 1, "layout": "l"}),
    "metric": (
        "vela/metrics",
        'metrics.#PromCheck & {$params: {query: "q", condition: ">1"}}',
        {
            "$params": {
                "query": "q",
                "metricEndpoint": "http://prometheus-server.o11y-system.svc:9090",
                "condition": ">1",
                "duration": "5m",
                "failDuration": "2m",
            }
        },
    ),
    "flat metric": (
        "vela/op",
        'op.#PromCheck & {query: "q", condition: ">1", promAddress: "p", metricEndpoint: "e", duration: "1s"}',
        {
            "query": "q",
            "metricEndpoint": "e",
            "promAddress": "p",
            "condition": ">1",
            "duration": "1s",
            "failDuration": "2m",
        },
    ),
    **{
        f"{form} {name} of a configuration": (
            path,
            f"{path.removeprefix('vela/')}.#{name}Config & {opening}{arguments}{closing}",
            result,
        )
        for name, arguments, exported in (
            (
                "Create",
                '{name: "n", namespace: "s", config: a: 1}',
                {"name": "n", "namespace": "s", "config": {"a": 1}},
            ),
            ("Read", '{name: "n", namespace: "s"}', {"name": "n", "namespace": "s"}),
            ("List", '{template: "t", namespace: "s"}', {"template": "t", "namespace": "s"}),
            ("Delete", '{name: "n", namespace: "s"}', {"name": "n", "namespace": "s"}),
        )
        for form, path, opening, closing, result in (
            ("new", "vela/config", "{$params: ", "}", {"$params": exported}),
            ("flat", "vela/op", "", "", exported),
        )
    },
    "base64": ("vela/base64", 'base64.#Encode & {$params: "ab"}', {"$params": "ab", "$returns": "YWI="}),
    "base64 back": ("vela/base64", 'base64.#Decode & {$params: "YWI="}', {"$params": "YWI=", "$returns": "ab"}),
}

# id: import, action, part of the message
REFUSED: dict[str, tuple[str, str, str]] = {
    "unknown parameter": ("vela/builtin", "builtin.#Fail & {$params: massage: 1}", "not allowed"),
    "unknown field at a closed root": ("vela/op", "op.#ConditionalWait & {other: 1}", "not allowed"),
    "unknown method": ("vela/http", 'http.#HTTPDo & {$params: {method: "GETT", url: "u"}}', "conflicting values"),
    "method that contradicts the definition": (
        "vela/http",
        'http.#HTTPGet & {$params: {method: "POST", url: "u"}}',
        "conflicting values",
    ),
    "missing argument": ("vela/http", "http.#HTTPDo", "incomplete"),
    "log with two kinds of sources": (
        "vela/util",
        'util.#Log & {$params: source: {url: "u", resources: []}}',
        "not allowed",
    ),
}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("module")
    (root / "cue.mod").mkdir()
    (root / "cue.mod" / "module.cue").write_text('module: "test.example"\nlanguage: version: "v0.17.0"\n', "utf-8")
    for path, package in PACKAGES.items():
        folder = root / "cue.mod" / "pkg" / DOMAIN / path.removeprefix("vela/")
        folder.mkdir(parents=True)
        (folder / f"{folder.name}.cue").write_text(package.source, "utf-8")
    return root


def run(command: Path, module: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([command, *arguments], cwd=module, capture_output=True, text=True, check=False)


def export(command: Path, module: Path, path: str, actions: dict[str, str]) -> subprocess.CompletedProcess[str]:
    fields = "\n".join(f"{json.dumps(name)}: {text}" for name, text in actions.items())
    program = module / "program.cue"
    program.write_text(f'package program\nimport "{DOMAIN}/{path.removeprefix("vela/")}"\n{fields}\n', "utf-8")
    return run(command, module, "export", program.name)


@pytest.mark.parametrize("path", sorted(PACKAGES))
def test_a_package_is_sound_and_formatted(path: str, cue_command: Path, module: Path) -> None:
    name = path.removeprefix("vela/")
    file = f"cue.mod/pkg/{DOMAIN}/{name}/{name}.cue"
    assert run(cue_command, module, "vet", "-c=false", file).stderr == ""
    checked = run(cue_command, module, "fmt", "--check", file)
    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.mark.parametrize("path", sorted(PACKAGES))
def test_actions_export_before_they_ran(path: str, cue_command: Path, module: Path) -> None:
    rows = {name: row for name, row in ACTIONS.items() if row[0] == path}
    result = export(cue_command, module, path, {name: text for name, (_, text, _) in rows.items()})
    assert result.stderr == ""
    assert json.loads(result.stdout) == {name: expected for name, (_, _, expected) in rows.items()}


@pytest.mark.parametrize(("path", "action", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(path: str, action: str, message: str, cue_command: Path, module: Path) -> None:
    result = export(cue_command, module, path, {"action": action})
    assert result.returncode != 0
    assert message in result.stderr


def definitions(source: str) -> dict[str, str]:
    """The definitions of a package and the text of each, its doc comment included."""
    parts = re.split(r"^((?://.*\n)*)(#\w+):", source, flags=re.M)
    return {name: doc + body for doc, name, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)}


@pytest.mark.parametrize("path", sorted(PACKAGES))
def test_every_operation_has_a_definition_and_the_other_way_round(path: str) -> None:
    package = PACKAGES[path]
    assert set(re.findall(r'#do:\s+"([^"]+)"', package.source)) == set(package.operations)
    assert set(re.findall(r'#provider:\s+"([^"]+)"', package.source)) <= {package.provider}


@pytest.mark.parametrize("path", sorted(PACKAGES))
def test_every_definition_is_documented_and_tried(path: str) -> None:
    package = PACKAGES[path]
    tried = " ".join(text for where, text, _ in ACTIONS.values() if where == path)
    for name, text in definitions(package.source).items():
        assert text.startswith("// "), f"{name} has no doc comment"
        assert re.search(rf"{name}\b", tried), f"{name} is in no row of ACTIONS"


def test_the_flat_package_offers_every_operation_of_the_others() -> None:
    everywhere = {
        name
        for path, package in PACKAGES.items()
        if path not in ("vela/op", "vela/base64")
        for name in definitions(package.source)
    }
    missing = everywhere - set(definitions(PACKAGES["vela/op"].source))
    assert not missing, "these are to be in vela_workflow/providers/legacy/op.cue too, in the flat form"


def test_comparing_with_what_does_not_exist_harms_nobody(cue_command: Path, module: Path) -> None:
    program = module / "program.cue"
    program.write_text(f'package program\nimport "{DOMAIN}/op"\nif 1 == op.NoExist {{a: 1}}\nb: 2\n', "utf-8")
    result = run(cue_command, module, "export", "-e", "b", program.name)
    assert result.stdout == "2\n"
