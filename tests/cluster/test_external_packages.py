"""Packages from outside: ``Package`` objects on a real API server, carried out by a real service."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import web
from tests.cluster import operator_fixture as fixture
from tests.cluster.conftest import SYSTEM
from tests.cluster.providers.certificates import Authority
from tools.rest import Api
from vela_workflow.api import constants

JSON = dict[str, Any]
KIND = constants.PACKAGE


class Service(web.Server):
    """A service that answers by the last part of the path, and else with what it was sent."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context)
        self.answers: dict[str, web.Answer] = {}

    def answer(self, request: web.Request) -> web.Answer:
        return self.answers.get(request.path.rpartition("/")[2], web.Answer(body=request.body))

    def sent(self, do: str) -> list[JSON]:
        """The bodies of the requests for an operation."""
        return [one.json for one in self.requests if one.path.endswith(f"/{do}")]


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as made:
        yield made


Install = Callable[..., str]


@pytest.fixture
def install(admin: Api, runs: fixture.Runs, service: Service) -> Iterator[Install]:
    """Applies a Package whose name is new, and returns that name; all are deleted in the end."""
    made: list[str] = []

    def apply(
        text: str, *, name: str = "", path: str = "", provider: JSON | None = None, more: JSON | None = None
    ) -> str:
        name = name or f"ext-{secrets.token_hex(3)}"
        where = {"protocol": "http", "endpoint": f"http://{service.address}/v1/"} if provider is None else provider
        spec: JSON = {"path": path or f"ext/{name}", "templates": {"a.cue": text.replace("NAME", name), **(more or {})}}
        if where:
            spec["provider"] = where
        body = {"apiVersion": KIND.api_version, "kind": KIND.kind, "metadata": {"name": name}, "spec": spec}
        admin.apply(body, runs.namespace)
        if name not in made:
            made.append(name)
        return name

    yield apply
    for name in made:
        admin.delete(KIND.api_version, KIND.kind, name, runs.namespace)


GREET = """\
package greeter
#Greet: {
	#do:       "greet"
	#provider: "NAME"
	$params: {
		// Whom.
		name: string
		times: *1 | int
	}
	$returns?: {...}
	...
}
"""

STEP = """\
import "ext/NAME"

greet: greeter.#Greet & {$params: name: parameter.name}
said: greet.$returns
parameter: name: string
"""


def start(runs: fixture.Runs, package: str, template: str = STEP, **properties: Any) -> fixture.Run:
    """A run of one step that uses a package."""
    step_type = fixture.unique("uses")
    runs.definition(step_type, template.replace("NAME", package))
    step = {
        "name": "greet",
        "type": step_type,
        "properties": properties or {"name": "you"},
        "outputs": [{"name": "said", "valueFrom": "said"}],
    }
    return runs.start([step])


def test_an_operation_is_a_post_to_the_service(runs: fixture.Runs, service: Service, install: Install) -> None:
    service.answers["greet"] = web.Answer(201, b'{"text": "hello you", "count": 3, "big": 9007199254740993}')
    header = {"Authorization": "Bearer t"}
    where = {"protocol": "http", "endpoint": f"http://{service.address}/v1/", "header": header}
    run = start(runs, install(GREET, provider=where))
    run.ended("succeeded")
    assert run.variables()["said"] == {"text": "hello you", "count": 3, "big": 9007199254740993}
    (request,) = service.requests
    assert request.path == "/v1/greet"
    assert request.json == {"name": "you", "times": 1}
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == "Bearer t"
    assert request.headers["Idempotency-Key"].startswith(run.uid)


def test_a_service_may_be_named_without_its_protocol(runs: fixture.Runs, service: Service, install: Install) -> None:
    run = start(runs, install(GREET, provider={"protocol": "http", "endpoint": service.address}))
    run.ended("succeeded")
    assert service.requests[0].path == "/greet"


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        pytest.param(b"[1, 2]", {"value": [1, 2]}, id="a list"),
        pytest.param(b'"text"', {"value": "text"}, id="a text"),
        pytest.param(b"", {}, id="nothing"),
    ],
)
def test_any_json_is_an_answer(
    runs: fixture.Runs, service: Service, install: Install, answer: bytes, value: JSON
) -> None:
    service.answers["greet"] = web.Answer(200, answer)
    run = start(runs, install(GREET))
    run.ended("succeeded")
    assert run.variables()["said"] == value


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(web.Answer(500, b'{"error": "no"}'), 'answered greet with status 500: {"error": "no"}', id="500"),
        pytest.param(web.Answer(404, b""), "answered greet with status 404", id="404"),
        pytest.param(web.Answer(200, b"<html>"), "answered greet with something else than JSON", id="no JSON"),
    ],
)
def test_other_answers_fail_the_step_once(
    runs: fixture.Runs, service: Service, install: Install, answer: web.Answer, said: str
) -> None:
    service.answers["greet"] = answer
    run = start(runs, install(GREET))
    run.ended("failed")
    entry = run.status["steps"][0]
    assert said in entry["message"]
    assert len(service.requests) == 1


def test_a_service_that_is_down_is_tried_again(runs: fixture.Runs, service: Service, install: Install) -> None:
    with Service() as with_nobody:
        pass
    name = install(GREET, provider={"protocol": "http", "endpoint": with_nobody.address})
    run = start(runs, name)
    entry = run.until_step("greet", "failed", "Execute")
    assert f"POST http://{with_nobody.address}/greet" in entry["message"]
    install(GREET, name=name)
    run.ended("succeeded")
    assert service.sent("greet") == [{"name": "you", "times": 1}]


def test_tls_is_verified(runs: fixture.Runs, install: Install, tmp_path: Path) -> None:
    with Service(Authority.make().server_context(tmp_path)) as service:
        run = start(runs, install(GREET, provider={"protocol": "https", "endpoint": service.address}))
        entry = run.until_step("greet", "failed", "Execute")
        assert "certificate" in entry["message"].lower()
        assert service.requests == []


def test_a_package_of_several_files_and_without_a_service(runs: fixture.Runs, install: Install) -> None:
    parts = {"b.cue": 'package greeter\nimport "strings"\n#Loud: {in: string, out: strings.ToUpper(in)}\n'}
    name = install('package greeter\n#Polite: {in: string, out: "dear \\(in)"}\n', provider={}, more=parts)
    template = """\
import "ext/NAME"
said: (greeter.#Loud & {in: (greeter.#Polite & {in: parameter.name}).out}).out
parameter: name: string
"""
    run = start(runs, name, template)
    run.ended("succeeded")
    assert run.variables()["said"] == "DEAR YOU"


def test_an_operation_without_a_service_is_an_error(runs: fixture.Runs, install: Install) -> None:
    name = install(GREET, provider={})
    run = start(runs, name)
    run.ended("failed")
    assert run.status["steps"][0]["message"].endswith(f"function greet not found in provider {name}")


def test_a_package_that_changes_is_used_as_it_is_then(runs: fixture.Runs, service: Service, install: Install) -> None:
    name = install(GREET)
    start(runs, name).ended("succeeded")
    changed = GREET.replace("times: *1", "times: *2")
    install(changed, name=name)
    follow(runs, name, lambda: start(runs, name), lambda: service.sent("greet")[-1] == {"name": "you", "times": 2})


def test_a_package_that_is_deleted_is_gone(admin: Api, runs: fixture.Runs, install: Install) -> None:
    name = install(GREET)
    start(runs, name).ended("succeeded")
    admin.delete(KIND.api_version, KIND.kind, name, runs.namespace)
    run = start(runs, name)
    phase = run.until(lambda body: (body.get("status") or {}).get("finished"), "its end")["status"]
    while phase == "succeeded":  # the deletion has not been heard of yet
        run = start(runs, name)
        phase = run.until(lambda body: (body.get("status") or {}).get("finished"), "its end")["status"]
    assert f'unknown import "ext/{name}"' in run.status["steps"][0]["message"]


def follow(runs: fixture.Runs, name: str, again: Callable[[], fixture.Run], holds: Callable[[], bool]) -> None:
    """Run again until a change of a package has been heard of; a few times at most."""
    for _ in range(20):
        again().ended("succeeded")
        if holds():
            return
    raise AssertionError(f"the change of {name} was not heard of")


@pytest.mark.parametrize(
    ("package", "said"),
    [
        pytest.param({"path": "vela/kube"}, "vela/kube is a package of this program", id="the path of our own"),
        pytest.param({"name": "kube"}, "kube is a provider of this program", id="the provider of our own"),
        pytest.param({"text": "package x\n#A: {"}, "is not closed", id="no CUE"),
        pytest.param(
            {"text": "@extern(embed)\npackage x\n#A: _ @embed(glob=*)"}, "attribute @extern is not allowed", id="files"
        ),
        pytest.param(
            {"provider": {"protocol": "grpc", "endpoint": "x:1"}}, "is not one of http, https", id="a protocol"
        ),
    ],
)
def test_a_package_that_cannot_be_used_is_left_out(
    runs: fixture.Runs, operator: fixture.OperatorProcess, install: Install, package: JSON, said: str
) -> None:
    before = len(operator.history())
    name = install(package.pop("text", GREET), **package)
    fixture.wait_for(lambda: said in operator.history()[before:], fixture.PATIENCE, "a line of the log")
    run = runs.start([{"name": "touch", "type": "touch", "properties": {"name": fixture.unique("still")}}])
    run.ended("succeeded")
    assert f"/{name} is left out" in operator.history()[before:]


@pytest.mark.parametrize("same", ["path", "name"])
def test_nobody_takes_the_place_of_a_package_of_the_system_namespace(
    runs: fixture.Runs, operator: fixture.OperatorProcess, admin: Api, service: Service, install: Install, same: str
) -> None:
    """Templates of all namespaces share the packages: a tenant's must not be sent what is meant for another's."""
    name = fixture.unique("shared")
    where = {"protocol": "http", "endpoint": f"http://{service.address}/system/"}
    spec = {"path": f"ext/{name}", "templates": {"a.cue": GREET.replace("NAME", name)}, "provider": where}
    body = {"apiVersion": KIND.api_version, "kind": KIND.kind, "metadata": {"name": name}, "spec": spec}
    before = len(operator.history())
    if same == "path":
        other = install(GREET.replace("#Greet", "#Other"), path=f"ext/{name}")
    else:
        other = install(GREET, name=name, path=f"ext/z-{name}")
    admin.apply(body, SYSTEM)
    try:
        told = f"package {runs.namespace}/{other} is left out: {SYSTEM}/{name} has the same path or name"
        fixture.wait_for(lambda: told in operator.history()[before:], fixture.PATIENCE, "a line of the log")
        start(runs, name).ended("succeeded")
        assert [one.path for one in service.requests] == ["/system/greet"]
    finally:
        admin.delete(KIND.api_version, KIND.kind, name, SYSTEM)
