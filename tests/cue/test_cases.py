"""Templates that are easy to get wrong; each was found by trying."""

from __future__ import annotations

from typing import Any

import pytest
from harness import attempt

from vela_workflow import errors
from vela_workflow.api.constants import Reason
from vela_workflow.cli.rehearsal import Rehearsed
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.engine import result

READ_POD = '{$params: value: {apiVersion: "v1", kind: "Pod", metadata: name: "x"}}'

GUARDED_FAIL = f"""
import ("vela/kube"
"vela/builtin")
r: kube.#Read & {READ_POD}
wait: builtin.#ConditionalWait & {{$params: continue: r.$returns.value.status.phase == "Succeeded"}}
if r.$returns.value.status.phase == "Running" {{fail: builtin.#Fail & {{$params: message: "it's {{running}} \\(r.$returns.value.status.n)"}}}}
after: kube.#Apply & {{$params: value: {{kind: "X"}}}}
"""

IF_ELSE = f"""
import "vela/kube"
import "vela/builtin"
r: kube.#Read & {READ_POD}
if r.$returns.err != _|_ {{
  mk: kube.#Apply & {{$params: value: {{kind: "Made"}}}}
}}
if r.$returns.err == _|_ {{
  m: builtin.#Message & {{$params: message: "exists \\(r.$returns.value.data.x)"}}
}}
"""

EVERYTHING = r'''
package main // }{
import (
	"vela/kube" // comment with "quote
	b "vela/builtin"
	"strings"
	"list"
)
// } unbalanced { [ (
let base = {apiVersion: "v1", kind: "ConfigMap"} // let }
_hid: kube.#Apply & {$params: value: base & {metadata: name: "hid"}}
X=obj: kube.#Apply & {$params: value: base & {metadata: name: strings.ToLower("OBJ {\(context.name)} \"q\" }")}} @step(2)
second: kube.#Apply & {
	$params: value: base & {metadata: name: "sec-\(X.$returns.value.data.x)", data: txt: """
		multi { \(context.stepName) "quotes" }
		// not a comment
		"""}
} @step(3)
opt?: b.#Message & {$params: message: #"raw \(no) "x" } \#(context.name)"#}
lst: [
	kube.#Apply & {$params: value: base & {metadata: name: "l0"}},
	kube.#Read & {$params: value: {kind: "X", metadata: name: "l1-\(lst[0].$returns.value.data.x)"}},
]
gen: [for i, n in ["a", "b"] {kube.#Apply & {$params: value: base & {metadata: name: "g-\(n)"}}}]
first: kube.#Apply & {$params: value: base & {metadata: name: "first"}} @step(1)
hand: {#do: "read", #provider: "kube", $params: {cluster: "", value: kind: "H"}, $returns?: {...}}
#tmpl: b.#Message & {$params: message: "viadef"}
viadef: #tmpl
n: {inner: {deep: b.#Message & {$params: message: "deep"}}}
for i, x in parameter.items if x.on if i < 5 let y = x.name {"it-\(y)": kube.#Apply & {$params: value: base & {metadata: name: y, data: idx: "\(i)"}}}
parameter: {
	items: *[] | [...{name: string, on: *true | bool}]
	mode: *"a" | "b" // }
	x?: string
}
context: _
summary: {
	if parameter.x != _|_ {x: parameter.x}
	names: [for k in list.Range(0, 2, 1) {"\(k)"}]
}
'''

PARAMETERS = """
import "vela/kube"
import "strings"
#port: {name: string, port: int & >0 & <65536}
r: kube.#Apply & {$params: value: {kind: "X", metadata: name: parameter.name}}
parameter: {
	name: strings.MinRunes(3)
	kind: "a" | "b"
	replicas: *1 | int
	must: string
	ports: [...#port]
	nested: deep: list: [...{k: string}]
	ns: *context.namespace | string
}
"""


def failed(run: Rehearsed) -> result.Failed:
    assert isinstance(run.result, result.Failed), run.result
    return run.result


def succeeded(run: Rehearsed) -> result.Succeeded:
    assert isinstance(run.result, result.Succeeded), run.result
    return run.result


async def test_a_guarded_fail_fires_behind_a_wait_that_is_not_met(evaluator: Evaluator) -> None:
    run = await attempt(evaluator, GUARDED_FAIL, canned={"r": {"value": {"status": {"phase": "Running", "n": 3}}}})
    assert (failed(run).reason, failed(run).message) == (Reason.ACTION, "it's {running} 3")
    assert run.paths == ["r", "fail"]


async def test_neither_branch_runs_before_the_read(evaluator: Evaluator) -> None:
    run = await attempt(evaluator, IF_ELSE, canned={"r": {"value": {}, "err": "not found"}, "mk": {"value": {}}})
    assert succeeded(run).message == ""
    assert run.paths == ["r", "mk"]


async def test_the_other_branch(evaluator: Evaluator) -> None:
    run = await attempt(evaluator, IF_ELSE, canned={"r": {"value": {"data": {"x": 1}}}})
    assert succeeded(run).message == "exists 1"
    assert run.paths == ["r", "m"]


async def test_every_place_where_an_operation_can_stand(evaluator: Evaluator) -> None:
    items = [{"name": "p"}, {"name": "q", "on": False}, {"name": 'r"}{'}]
    run = await attempt(
        evaluator,
        EVERYTHING,
        parameter={"items": items},
        canned={"*": lambda call: {"value": {**call.args["value"], "data": {"x": 1}}}},
        outputs={
            "names": "summary.names",
            "kind": 'import "strings"\nstrings.ToUpper(obj.$returns.value.kind) + "!"',
            "second": "second.$returns.value.metadata.name",
        },
    )
    assert succeeded(run).outputs == {"names": ["0", "1"], "kind": "CONFIGMAP!", "second": "sec-1"}
    order = "first obj second _hid opt lst.0 lst.1 gen.0 gen.1 hand viadef n.inner.deep it-p".split()
    assert run.paths == [*order, 'it-r"}{']


async def test_an_error_that_nobody_uses_hides_nothing(evaluator: Evaluator) -> None:
    template = """
import "vela/kube"
import "encoding/json"
r: kube.#Apply & {$params: value: {kind: "X"}}
bad: json.Unmarshal("nojson")
conf: 1 & 2
s: {z: kube.#Apply & {$params: value: {kind: "Y"}}, q: r.$returns.value.data.nope.deeper}
"""
    run = await attempt(evaluator, template, canned={"*": {"value": {"kind": "X"}}})
    succeeded(run)
    assert run.paths == ["r", "s.z"]
    assert [warning.split(":")[0] for warning in run.warnings] == ["bad", "conf"]


async def test_all_problems_of_the_parameters_at_once(evaluator: Evaluator) -> None:
    wrong: dict[str, Any] = {
        "name": "a",
        "kind": "zzz",
        "replicas": "x",
        "ports": [{"name": "a", "port": 70000}, {"port": "s"}],
        "nested": {"deep": {"list": [{"k": 1}]}},
    }
    run = await attempt(evaluator, PARAMETERS, parameter=wrong)
    assert failed(run).reason is Reason.RENDERING
    paths = "name kind replicas ports.0.port ports.1.port nested.deep.list.0.k must ports.1.name".split()
    assert [
        path for path in paths if f"{path}:" not in failed(run).message and f"{path}," not in failed(run).message
    ] == []
    assert run.operations == ()


@pytest.mark.parametrize(
    ("reason", "template", "line", "column", "text"),
    [
        ("undefined operation", 'import "vela/kube"\nr: kube.#Nope & {$params: value: {}}', 2, 4, "#Nope"),
        ("brace not closed", 'import "vela/kube"\nr: kube.#Apply & {$params: value: {kind: "x"}\n', 2, 18, "not closed"),
        ("two values", 'import "vela/kube"\nr: kube.#Apply & {$params: value: {kind: "x" "y"}}', 2, 46, '"y"'),
        ("a brace closes the wrapper", 'r: 1\n}\nevil: 1\nz: {\n', 2, 1, "was not opened"),
        ("unknown import", 'import "vela/nope"\nr: nope.#X', 1, 8, "vela/nope"),
        ("a package that reaches outside", 'import "tool/exec"\nr: exec.#X', 1, 8, "tool/exec"),
        (
            "a reference to nothing",
            'import "vela/kube"\nr: kube.#Apply & {$params: value: {kind: nosuch}}',
            2,
            42,
            '"nosuch" not found',
        ),
        (
            "a name that is only declared under a guard",
            'r: {if true {x: 1}, y: x}',
            1,
            24,
            '"x" not found',
        ),
        ("embedding files", '@extern(embed)\nr: 1', 1, 1, "@extern"),
    ],
    ids=lambda value: value if isinstance(value, str) and "\n" not in value else "",
)  # fmt: skip
async def test_templates_that_are_refused_before_anything_is_evaluated(
    evaluator: Evaluator, reason: str, template: str, line: int, column: int, text: str
) -> None:
    with pytest.raises(errors.Invalid) as raised:
        evaluator.prepare(template)
    problem = raised.value.problems[0]
    assert (problem.line, problem.column) == (line, column)
    assert text in problem.message


async def test_an_argument_in_conflict_is_final(evaluator: Evaluator) -> None:
    template = """import "vela/kube"

if parameter.a == 1 if parameter.a > 0 {   r: kube.#Apply & {$params: value: {kind: "K", metadata: name: parameter.nm, n: 1 & 2}}}
parameter: {a: int, nm?: string}
"""
    run = await attempt(evaluator, template, parameter={"a": 1})
    assert (failed(run).reason, failed(run).retriable) == (Reason.EXECUTE, False)
    assert "line 3" in failed(run).message
    assert "conflicting values" in failed(run).message
    assert run.operations == ()


async def test_the_live_object_replaces_what_a_legacy_template_wrote(evaluator: Evaluator) -> None:
    template = """
import "vela/op"
a: op.#Apply & {value: {kind: "D", spec: {cpu: "0.5", l: [{n: 1}]}}}
w: op.#ConditionalWait & {continue: a.value.status.ready && a.value.spec.cpu == "500m"}
"""
    live = {"kind": "D", "spec": {"cpu": "500m", "l": [{"n": 1}, {"n": 2}]}, "status": {"ready": True}}
    run = await attempt(evaluator, template, canned={"a": {"value": live}}, outputs={"l": "a.value.spec.l"})
    assert succeeded(run).outputs == {"l": [{"n": 1}, {"n": 2}]}


async def test_the_live_object_replaces_under_computed_labels(evaluator: Evaluator) -> None:
    template = """
import "vela/op"
s: op.#Steps & {for i in [0,1] {
 "a-\\(i)": op.#Apply & {value: {kind: "D", spec: {cpu: "0.5"}}}
 "w-\\(i)": op.#ConditionalWait & {continue: s["a-\\(i)"].value.spec.cpu == "500m"}
}}
"""
    run = await attempt(evaluator, template, canned={"*": {"value": {"kind": "D", "spec": {"cpu": "500m"}}}})
    succeeded(run)
    assert run.paths == ["s.a-0", "s.a-1"]


async def test_an_import_whose_name_is_also_a_field(evaluator: Evaluator) -> None:
    template = """
import "vela/http"
import "strings"
x: {strings: "a", y: strings}
r: http.#HTTPDo & {$params: {url: "u"}}
"""
    run = await attempt(evaluator, template, canned={"r": {"body": "", "statusCode": 200}})
    succeeded(run)
    assert run.paths == ["r"]


async def test_lists_are_still_added(evaluator: Evaluator) -> None:
    template = """
import "vela/builtin"
import "strings"
m: builtin.#Message & {$params: message: strings.Join(["a"]+["b"], ",")}
"""
    assert succeeded(await attempt(evaluator, template)).message == "a,b"


SEED = """
import (
	"vela/op"
)

parameter: {
  names: [...string]
  resourceType: string
  resourceAPIVersion: string
}

// iterate through given resource names and wait for them
step: op.#Steps & {
  for index, resource in parameter.names {

    // read resource object
    "resource-\\(index)": op.#Read & {
      value: {
        kind: parameter.resourceType
        apiVersion: parameter.resourceAPIVersion
        metadata: {
          name: resource
          namespace: context.namespace
        }
      }
    }

    // wait until resource object satisfy given condition. If not, it will reconcile again later
    "wait-\\(index)": op.#ConditionalWait & {
      if step["resource-\\(index)"].workload.status.ready == "true" {
        continue: true
      }
    }
  }
}
"""


@pytest.mark.parametrize(
    ("reason", "ready", "paths", "kind"),
    [
        ("nothing is ready", [], ["step.resource-0"], result.Waiting),
        ("the first is ready", ["a"], ["step.resource-0", "step.resource-1"], result.Waiting),
        ("both are ready", ["a", "b"], ["step.resource-0", "step.resource-1"], result.Succeeded),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_template_of_the_first_seed(
    evaluator: Evaluator, reason: str, ready: list[str], paths: list[str], kind: type
) -> None:
    def live(call: Any) -> dict[str, Any]:
        value = dict(call.args["value"])
        if value["metadata"]["name"] in ready:
            value["status"] = {"ready": "true"}
        return {"value": value, "workload": value}

    parameter = {"names": ["a", "b"], "resourceType": "StatefulSet", "resourceAPIVersion": "apps/v1"}
    run = await attempt(evaluator, SEED, parameter=parameter, canned={"*": live})
    assert isinstance(run.result, kind), run.result
    assert run.paths == paths
