"""``vela-workflow def``: step types from the first line to the cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.cluster.cli.cli_support import Cli, Done
from tools.rest import Api
from vela_workflow.api import constants
from vela_workflow.authoring import definitions
from vela_workflow.cli import main

JSON = dict[str, Any]
STEP = constants.STEP_DEFINITION
ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "cue" / "definitions"
GUIDE = ROOT / "docs" / "authoring.md"
Def = Callable[..., Done]

GOOD = """\
import "vela/builtin"

"{name}": {{
	type:        "workflow-step"
	description: "Say something."
}}
template: {{
	tell: builtin.#Message & {{$params: message: parameter.text}}
	parameter: {{
		// What to say.
		text: string
	}}
}}
"""

GREETER = """\
package greeter

#Greet: {
	#do:       "greet"
	#provider: "greeter"
	$params: name: string
	...
}
"""

PACKAGE: JSON = {
    "apiVersion": "cue.oam.dev/v1alpha1",
    "kind": "Package",
    "metadata": {"name": "greeter"},
    "spec": {
        "path": "ext/greeter",
        "templates": {"greeter.cue": GREETER},
        "provider": {"protocol": "http", "endpoint": "http://127.0.0.1:1"},
    },
}

USES_PACKAGE = """\
import "ext/greeter"

greets: type: "workflow-step"
template: {
	greet: greeter.#Greet & {$params: name: parameter.name}
	parameter: {
		// Whom to greet.
		name: string
	}
}
"""


@pytest.fixture
def run(cue_command: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Def:
    """Types commands of ``def`` in an empty folder, with no cluster in reach."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VELA_WORKFLOW_CUE", str(cue_command))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-such-kubeconfig"))

    def type_(*arguments: str) -> Done:
        done = CliRunner().invoke(main.app, ["def", *arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    return type_


# Without a cluster.


def test_a_new_step_type_works_from_the_start(run: Def, tmp_path: Path) -> None:
    made = run("init", "my-step")
    assert (made.code, made.lines) == (0, ["my-step.cue written", "my-step.test.txt written"])
    vetted = run("vet", "my-step.cue")
    assert (vetted.code, vetted.out, vetted.err) == (0, "", "1 definition, nothing wrong\n")
    tested = run("test", "my-step.cue")
    assert tested.code == 0
    assert tested.lines[-1] == "4 passed"
    again = run("init", "my-step")
    assert again.code == 1
    assert "my-step.cue is there already; nothing was written" in again.err
    assert run("init", "My_Step").code == 2
    built_in = run("init", "suspend")
    assert built_in.code == 2
    assert "is built in and wins" in built_in.err
    assert not (tmp_path / "suspend.cue").exists()


VET = [
    pytest.param("a: kube.#Aply & {}", "kube", "Aply", id="an operation that is not there"),
    pytest.param("a: kube.#Apply & {$params: cluster: 3}", "3", "conflicting values 3", id="a wrong type"),
    pytest.param('a: kube.#Apply & {$params: clutser: ""}', "clutser", "has no field", id="an unknown argument"),
    pytest.param("a: paramter.x", "paramter", "not found; did you mean parameter?", id="a misspelt name"),
    pytest.param("a: json.Marshal(1)", "json", 'import "encoding/json" is missing', id="an import of CUE's"),
    pytest.param("a: http.#HTTPGet & {}", "http", 'import "vela/http" is missing', id="an import of ours"),
    pytest.param("a: {b: 1", "{", "a brace is not closed", id="a brace"),
    pytest.param('a: 1 & "x"', '"x"', "conflicting values 1", id="a contradiction"),
    pytest.param("a: strings.ToUpper(5)", "5", "cannot use 5", id="a wrong argument of a function"),
    pytest.param("a: {b: }", "}", "expected operand", id="a value that is missing"),
]


@pytest.mark.parametrize(("line", "at", "said"), VET)
def test_vet_tells_line_and_column(run: Def, tmp_path: Path, line: str, at: str, said: str) -> None:
    head = 'import (\n\t"strings"\n\t"vela/kube"\n)\nx: type: "workflow-step"\ntemplate: {\n'
    (tmp_path / "x.cue").write_text(f"{head}\t{line}\n\tu: [strings.MinRunes(1), kube.#Read]\n}}\n", encoding="utf-8")
    done = run("vet", "x.cue")
    assert done.code == 1
    assert done.out.startswith(f"x.cue:7:{line.index(at) + 2}: "), done.out
    assert said in done.out


def test_vet_tells_every_problem_of_every_file(run: Def, tmp_path: Path) -> None:
    head = 'x: type: "workflow-step"\ntemplate: {\n'
    (tmp_path / "a.cue").write_text(f"{head}\ta: one\n\tb: two\n}}\n", encoding="utf-8")
    (tmp_path / "b.cue").write_text("x: 3\n", encoding="utf-8")
    cue = {"template": "a: 1\nb: three\n"}
    manifest = {"kind": STEP.kind, "metadata": {"name": "y"}, "spec": {"schematic": {"cue": cue}}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(manifest, default_style="|"), encoding="utf-8")
    done = run("vet", "a.cue", "b.cue", "c.yaml", "-o", "json")
    assert done.code == 1
    found = json.loads(done.out)
    assert {one["severity"] for one in found} == {"error"}
    assert sorted((one["file"], one["line"]) for one in found) == [
        ("a.cue", 3),
        ("a.cue", 4),
        ("b.cue", 1),
        ("c.yaml", _line(tmp_path / "c.yaml", "three")),
    ]


def _line(path: Path, word: str) -> int:
    text = path.read_text(encoding="utf-8")
    return text.count("\n", 0, text.index(word)) + 1


def test_vet_warns_of_what_only_readers_suffer_from(run: Def, tmp_path: Path) -> None:
    text = 'import "strings"\nx: type: "workflow-step"\ntemplate: {\n\tparameter: {\n\t\ta: string\n\t}\n}\n'
    (tmp_path / "x.cue").write_text(text, encoding="utf-8")
    done = run("vet", "x.cue")
    assert done.code == 0
    assert [line.partition(": warning: ")[0] for line in done.lines] == ["x.cue:1:8", "x.cue:5:3"]
    assert done.err == "1 definition, 2 warnings\n"


UNDECLARED = [
    pytest.param("{image: string}", "parameter.imgae", "did you mean parameter.image?", id="misspelt"),
    pytest.param("{image: string}", '"\\(parameter.imgae)"', "did you mean parameter.image?", id="in-a-string"),
    pytest.param("{if context.a {image: string}}", "parameter.x", "is used and not declared", id="guarded"),
    pytest.param("{image: string}", "parameter.image", "", id="declared"),
    pytest.param("{if context.a {image: string}}", "parameter.image", "", id="declared-in-a-guard"),
    pytest.param("{image: string, ...}", "parameter.x", "", id="open"),
    pytest.param("{[string]: string}", "parameter.x", "", id="any-name"),
    pytest.param("#A", "parameter.x", "", id="declared-elsewhere"),
    pytest.param("{image: string}", "{parameter: x: 1, b: parameter.x}", "", id="another-field-of-that-name"),
]


@pytest.mark.parametrize(("parameter", "value", "said"), UNDECLARED)
def test_vet_warns_of_parameters_that_are_not_declared(
    run: Def, tmp_path: Path, parameter: str, value: str, said: str
) -> None:
    text = f'x: type: "workflow-step"\ntemplate: {{\n\t#A: x: string\n\tparameter: {parameter}\n\ta: {value}\n}}\n'
    (tmp_path / "x.cue").write_text(text, encoding="utf-8")
    done = run("vet", "x.cue")
    assert done.code == 0
    found = [line for line in done.lines if "declared" in line]
    assert len(found) == bool(said)
    if found:
        assert found[0].startswith(f"x.cue:5:{5 + value.index('parameter')}: warning: parameter.")
        assert said in found[0]


MISREAD = [
    pytest.param("read.$return.value", "did you mean read.$returns?", id="misspelt"),
    pytest.param("read.value.data", "did you mean read.$returns.value?", id="as-in-the-flat-form"),
    pytest.param('"\\(read.err)"', "did you mean read.$returns.err?", id="in-a-string"),
    pytest.param("read.$returns.value", "", id="right"),
    pytest.param("read.$params.value", "", id="an-argument"),
    pytest.param("own.extra", "", id="a-field-of-its-own"),
    pytest.param("flat.value", "", id="the-flat-form"),
    pytest.param("{read: value: 1, b: read.value}", "", id="another-field-of-that-name"),
]


@pytest.mark.parametrize(("value", "said"), MISREAD)
def test_vet_warns_of_results_that_are_looked_for_elsewhere(run: Def, tmp_path: Path, value: str, said: str) -> None:
    arguments = '{$params: value: {apiVersion: "v1", kind: "ConfigMap", metadata: name: "a"}}'
    lines = [
        'import ("vela/kube", "vela/op")\nx: type: "workflow-step"\ntemplate: {',
        f"read: kube.#Read & {arguments}",
        f"own: kube.#Read & {arguments} & {{extra: 1}}",
        'flat: op.#Read & {value: {apiVersion: "v1", kind: "ConfigMap", metadata: name: "a"}}',
        f"a: {value}",
        "parameter: {}\n}\n",
    ]
    (tmp_path / "x.cue").write_text("\n\t".join(lines), encoding="utf-8")
    done = run("vet", "x.cue")
    assert done.code == 0, done.out
    found = [line for line in done.lines if "no such field" in line]
    assert [line.partition("; ")[2] for line in found] == ([said] if said else [])


def test_the_built_in_definitions_are_sound(run: Def) -> None:
    done = run("vet", str(definitions.built_in()))
    assert (done.code, done.out) == (0, "")


def test_render_shows_operations_and_the_end(run: Def, tmp_path: Path) -> None:
    (tmp_path / "answers.yaml").write_text("output: {value: {status: {readyReplicas: 2}}}\n", encoding="utf-8")
    (tmp_path / "properties.yaml").write_text("{image: nginx, replicas: 1}\n", encoding="utf-8")
    arguments = ["render", "apply-deployment", "-f", "properties.yaml", "--set", "replicas=2", "-o", "json"]
    waiting = json.loads(run(*arguments).out)
    assert waiting["result"] == "waiting"
    ((name, applied),) = waiting["operations"][0].items()
    assert name == "apply output"
    assert applied["value"]["spec"]["replicas"] == 2
    done = json.loads(run(*arguments, "--results", "answers.yaml", "--set-context", "stepName=web").out)
    assert done["result"] == "succeeded"
    assert done["operations"][0]["apply output"]["value"]["metadata"]["name"] == "web"


def test_render_tells_of_answers_that_fit_no_operation_and_of_those_that_lack(run: Def, tmp_path: Path) -> None:
    (tmp_path / "answers.yaml").write_text("rekwest: {statusCode: 200}\n", encoding="utf-8")
    done = run("render", "request", "--set", "url=http://a", "--results", "answers.yaml")
    assert done.code == 0
    assert done.err.splitlines() == [
        "warning: --results: no operation rekwest was carried out (there were: req)",
        "without an answer: req; --results can say what they answer",
    ]
    (tmp_path / "answers.yaml").write_text("req: {statusCode: 200, body: ok}\n", encoding="utf-8")
    assert run("render", "request", "--set", "url=http://a", "--results", "answers.yaml").err == ""


def test_a_misspelt_step_type_is_put_right(run: Def, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.cue").write_text(GOOD.format(name="mine"), encoding="utf-8")
    assert run("render", "apply-objct").err.endswith("; did you mean apply-object?\n")
    assert run("render", "mien.cue").err.endswith("; did you mean mine.cue?\n")
    assert cli("def", "apply", "mine.cue").code == 0
    assert cli("def", "show", "mien").err.endswith("; did you mean mine?\n")
    assert cli("def", "show", "zzz").err.endswith("; see `vela-workflow def ls`\n")


def test_render_tells_what_is_wrong_with_the_properties(run: Def) -> None:
    done = run("render", "apply-deployment", "--set", "replicas=two", "-o", "json")
    told = json.loads(done.out)
    assert told["result"] == "failed/Rendering"
    assert 'replicas: "two" is not' in told["message"]
    assert "image: is required but missing" in told["message"]


def test_render_warns_of_a_guard_that_fails(run: Def, tmp_path: Path) -> None:
    text = GOOD.format(name="say").replace("tell:", "if parameter.text > 3 {more: 1}\n\ttell:")
    (tmp_path / "say.cue").write_text(text, encoding="utf-8")
    told = json.loads(run("render", "say.cue", "--set", "text=hello", "-o", "json").out)
    assert told["result"] == "succeeded"
    (warning,) = told["warnings"]
    assert 'the guard "if parameter.text > 3" fails and adds nothing: invalid operands' in warning


def test_a_rendering_becomes_a_test(run: Def, tmp_path: Path) -> None:
    (tmp_path / "say.cue").write_text(GOOD.format(name="say"), encoding="utf-8")
    case = run("render", "say.cue", "--set", "text=hello", "--as-case", "says it")
    (tmp_path / "say.test.txt").write_text(case.out, encoding="utf-8")
    done = run("test", "say.cue")
    assert (done.code, done.lines) == (0, ["say", "  ✔ says it", "1 passed"])


FAILING = """\
== says it ==
-- parameter --
{text: hello}
-- expect --
operations:
- message tell: {message: bye}
result: succeeded
message: bye

== says nothing ==
-- parameter --
{}
-- expect --
operations: []
result: failed/Rendering
message: 'invalid parameters: text: is required but missing'
"""


def test_a_failing_test_shows_the_difference(run: Def, tmp_path: Path) -> None:
    (tmp_path / "say.cue").write_text(GOOD.format(name="say"), encoding="utf-8")
    (tmp_path / "say.test.txt").write_text(FAILING, encoding="utf-8")
    done = run("test", "say.cue")
    assert done.code == 1
    assert done.lines[1] == "  ✖ says it  (say.test.txt:1)"
    assert "      -message: bye" in done.lines
    assert "      +message: hello" in done.lines
    assert done.lines[-2:] == ["  ✔ says nothing", "1 passed, 1 failed"]
    told = json.loads(run("test", "say.cue", "-o", "json").out)
    verdicts = [(one["case"], one["passed"], one["line"]) for one in told]
    assert verdicts == [("says it", False, 1), ("says nothing", True, 10)]
    assert run("test", "say.cue", "-k", "NOTHING").code == 0
    assert run("test", "say.cue", "-k", "nowhere").code == 1
    assert run("test", "say.cue", "--update").lines == ["say.test.txt written"]
    assert run("test", "say.cue").lines[-1] == "2 passed"


def test_a_test_file_that_is_wrong_is_told_with_its_line(run: Def, tmp_path: Path) -> None:
    (tmp_path / "say.cue").write_text(GOOD.format(name="say"), encoding="utf-8")
    (tmp_path / "say.test.txt").write_text("== a ==\n-- parameters --\n", encoding="utf-8")
    done = run("test", "say.cue")
    assert done.code == 1
    assert done.err.startswith("say.test.txt:2:1: unknown section parameters")


def test_packages_from_outside_take_part(run: Def, tmp_path: Path) -> None:
    (tmp_path / "greets.cue").write_text(USES_PACKAGE, encoding="utf-8")
    (tmp_path / "package.yaml").write_text(yaml.safe_dump(PACKAGE), encoding="utf-8")
    assert 'unknown import "ext/greeter"' in run("vet", "greets.cue").out
    assert run("vet", "greets.cue", "--package", "package.yaml").code == 0
    done = run("render", "greets.cue", "--package", "package.yaml", "--set", "name=you", "-o", "json")
    assert json.loads(done.out) == {"operations": [{"greet greet": {"name": "you"}}], "result": "succeeded"}


def test_pages_are_written_from_comments(run: Def, tmp_path: Path) -> None:
    (tmp_path / "say.cue").write_text(GOOD.format(name="say"), encoding="utf-8")
    shown = run("doc", "say.cue")
    assert "| `text` | `string` |  | What to say. |" in shown.lines
    assert run("doc", "say.cue", "suspend", "--output", "pages").code == 0
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == ["say.md", "suspend.md"]
    assert (tmp_path / "pages" / "say.md").read_text(encoding="utf-8") == shown.out


def test_the_cue_command_is_asked_for(run: Def, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELA_WORKFLOW_CUE", "no-such-command")
    done = run("render", "suspend")
    assert done.code == 1
    assert 'there is no "no-such-command"' in done.err


# With a cluster.


@pytest.fixture
def cli(kubeconfig: Path, namespace: str, installed: None) -> Iterator[Cli]:
    with Cli(kubeconfig, namespace) as made:
        yield made


def test_definitions_go_into_the_cluster_and_come_back(cli: Cli, admin: Api, namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "say.cue"
    file.write_text(GOOD.format(name="say"), encoding="utf-8")
    dry = cli("def", "apply", str(file), "--dry-run")
    assert (dry.code, dry.out.split(" ", 1)[1]) == (0, f"created in {namespace} (dry run)\n")
    assert admin.get(STEP.api_version, STEP.kind, "say", namespace) is None
    assert " created in " in cli("def", "apply", str(file)).out
    assert " unchanged in " in cli("def", "apply", str(file)).out
    shown = cli("def", "show", "say")
    assert definitions.render(shown.out) == definitions.render(file)
    file.write_text(shown.out.replace("Say something", "Say it"), encoding="utf-8")
    file.write_text(file.read_text(encoding="utf-8").replace("tell:", "said:"), encoding="utf-8")
    assert " configured in " in cli("def", "apply", str(file)).out
    stored = admin.get(STEP.api_version, STEP.kind, "say", namespace)
    assert stored is not None
    assert "said: builtin.#Message" in stored["spec"]["schematic"]["cue"]["template"]
    assert yaml.safe_load(cli("def", "show", "say", "-o", "yaml").out)["spec"] == stored["spec"]


def test_nothing_is_written_when_one_file_is_wrong(cli: Cli, admin: Api, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "a.cue").write_text(GOOD.format(name="a"), encoding="utf-8")
    (tmp_path / "b.cue").write_text(GOOD.format(name="b").replace("#Message", "#Massage"), encoding="utf-8")
    done = cli("def", "apply", str(tmp_path))
    assert (done.code, done.out) == (1, "")
    assert f"{tmp_path / 'b.cue'}:8:" in done.err
    assert admin.list(STEP.api_version, STEP.kind, namespace) == []


def test_the_list_shows_what_runs_can_use(cli: Cli, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "s.cue").write_text(GOOD.format(name="suspend"), encoding="utf-8")
    assert cli("def", "apply", str(tmp_path)).code == 0
    rows = {line.split()[0]: line.split()[1] for line in cli("def", "ls").lines[1:]}
    assert rows["suspend"] == namespace
    assert rows["apply-object"] == constants.DEFAULT_SYSTEM_NAMESPACE
    names = [one["metadata"]["name"] for one in json.loads(cli("def", "ls", "-o", "json").out)["items"]]
    assert sorted(names) == sorted(rows)
    assert 'no step type "nothing"' in cli("def", "show", "nothing").err


def test_packages_of_the_cluster_are_known(cli: Cli, admin: Api, namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "greets.cue"
    file.write_text(USES_PACKAGE, encoding="utf-8")
    assert 'unknown import "ext/greeter"' in cli("def", "apply", str(file)).err
    # One that is wrong, or takes the place of another, costs nobody but its owner.
    wrong = {**PACKAGE["spec"], "path": "ext/wrong", "provider": {"protocol": "grpc", "endpoint": "http://127.0.0.1:1"}}
    admin.create({**PACKAGE, "metadata": {"name": "a-wrong-one"}, "spec": wrong}, namespace)
    admin.create(PACKAGE, namespace)
    admin.create({**PACKAGE, "metadata": {"name": "the-same-again"}}, namespace)
    assert cli("def", "apply", str(file)).code == 0


def test_the_guide_shows_what_works(run: Def, tmp_path: Path) -> None:
    found = re.findall(r"^```(cue|text|yaml)\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    blocks = dict(found)
    assert [kind for kind, _ in found] == ["cue", "text", "yaml"]
    (tmp_path / "announce.cue").write_text(blocks["cue"], encoding="utf-8")
    (tmp_path / "announce.test.txt").write_text(blocks["text"], encoding="utf-8")
    (tmp_path / "package.yaml").write_text(blocks["yaml"], encoding="utf-8")
    assert run("vet", "announce.cue").out == ""
    tested = run("test", "announce.cue")
    assert (tested.code, tested.lines[-1]) == (0, "2 passed"), tested.out
    using = 'import "acme/tickets"\nx: type: "workflow-step"\ntemplate: {t: tickets.#Open & {$params: title: "T"}}\n'
    (tmp_path / "x.cue").write_text(using, encoding="utf-8")
    done = run("render", "x.cue", "--package", "package.yaml", "-o", "json")
    assert json.loads(done.out)["operations"] == [{"open t": {"title": "T"}}]


def test_the_golden_files_are_tests_of_users_too(run: Def) -> None:
    done = run("test", str(definitions.built_in() / "steps"), "--tests", str(GOLDEN))
    assert done.code == 0, done.out
