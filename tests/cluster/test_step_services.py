"""Step types that need a service outside, with real ones: HTTP with and without TLS, mail, Prometheus's API."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import mail, web
from tests.cluster import operator_fixture as fixture
from tests.cluster.providers.certificates import Authority
from tools.processes import free_port
from tools.rest import Api
from vela_workflow.providers.http import exchange

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

JSON = dict[str, Any]


class Service(web.Server):
    """An HTTP server whose paths say how it behaves; ``samples`` are what it measures."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context)
        self.samples: list[str] = []
        self.answers = {"/html": b"<html>"}

    def asked(self, path: str) -> list[web.Request]:
        """The requests for a path."""
        return [one for one in self.requests if one.path == path]

    def answer(self, request: web.Request) -> web.Answer:
        word, _, rest = request.path.lstrip("/").partition("/")
        match word:
            case "status":
                return web.Answer(int(rest), f"this is {rest}".encode())
            case "round":
                return web.Answer(302, headers={"Location": "/round"})
            case "api":
                return self._sample()
            case "never":
                self.closed.wait(fixture.PATIENCE)
            case "huge":
                return web.Answer(body=b"x" * (exchange.BODY_LIMIT + 1))
        return web.Answer(body=self.answers.get(request.path, b'{"ok": true}'))

    def _sample(self) -> web.Answer:
        value = self.samples.pop(0) if len(self.samples) > 1 else self.samples[0]
        result = [{"metric": {}, "value": [1700000000, value]}] if value else []
        return web.Answer.of({"status": "success", "data": {"resultType": "vector", "result": result}})


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as made:
        yield made


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


@pytest.fixture
def box() -> Iterator[mail.Mailbox]:
    with mail.served() as made:
        yield made


Keep = Callable[[str, dict[str, bytes]], None]


@pytest.fixture
def keep(admin: Api, runs: fixture.Runs) -> Keep:
    """Keeps a Secret in the namespace of the runs."""

    def kept(name: str, data: dict[str, bytes]) -> None:
        values = {key: base64.b64encode(value).decode() for key, value in data.items()}
        admin.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": values}, runs.namespace)

    return kept


def one(runs: fixture.Runs, step_type: str, properties: JSON, **more: Any) -> fixture.Run:
    """A run of a single step called ``it``."""
    return runs.start([{"name": "it", "type": step_type, "properties": properties, **more}])


def nobody() -> str:
    """An address at which nobody listens."""
    return f"http://127.0.0.1:{free_port()}/"


# request


def test_a_request_gives_its_answer(runs: fixture.Runs, service: Service, keep: Keep) -> None:
    name = fixture.unique("token")
    keep(name, {"token": b"Bearer s3cret"})
    service.answers["/orders"] = b'{"id": 9007199254740993}'
    header = {"header": "Authorization", "secret": name, "key": "token"}
    properties = {"url": f"{service.url}/orders", "method": "POST", "body": {"n": 1}, "headersFromSecret": [header]}
    run = one(runs, "request", properties, outputs=[{"name": "id", "valueFrom": "response.id"}])
    run.ended("succeeded")
    (request,) = service.asked("/orders")
    assert (request.method, request.json) == ("POST", {"n": 1})
    assert request.headers["Authorization"] == "Bearer s3cret"
    assert "id" not in run.variables(), "what came of a Secret is kept in a Secret"


REFUSED = [
    pytest.param({"url": "/status/404"}, "Action", "404 this is 404", id="404"),
    pytest.param({"url": "/status/500", "method": "POST"}, "Action", "500 this is 500", id="500"),
    pytest.param({"url": "/round"}, "Execute", "stopped after 10 redirects", id="redirects without end"),
    pytest.param({"url": "/huge"}, "Execute", "body of more than", id="a body that is too long"),
    pytest.param(
        {"url": "/never", "method": "POST", "timeout": "300ms"}, "Unknown", "may have arrived", id="a lost POST"
    ),
]


@pytest.mark.parametrize(("properties", "reason", "said"), REFUSED)
def test_an_answer_that_will_not_do_fails_the_step(
    runs: fixture.Runs, service: Service, properties: JSON, reason: str, said: str
) -> None:
    path = properties["url"]
    run = one(runs, "request", {**properties, "url": f"{service.url}{path}"})
    run.ended("failed")
    entry = fixture.step(run.status, "it")
    assert (entry["reason"], said in entry["message"]) == (reason, True), entry["message"]
    assert len(service.asked(path)) == (11 if path == "/round" else 1)


def test_a_body_that_is_no_json_is_a_text(runs: fixture.Runs, service: Service) -> None:
    run = one(runs, "request", {"url": f"{service.url}/html"}, outputs=[{"name": "page", "valueFrom": "response"}])
    run.ended("succeeded")
    assert run.variables()["page"] == "<html>"


RETRIED = [
    pytest.param(
        lambda service: {"url": f"{service.url}/never", "timeout": "300ms"}, "no answer within 0.3s", id="slow"
    ),
    pytest.param(lambda service: {"url": nobody()}, "GET http://127.0.0.1:", id="nobody listens"),
    pytest.param(
        lambda service: {
            "url": service.url,
            "headersFromSecret": [{"header": "A", "secret": "no-such-secret", "key": "k"}],
        },
        "no-such-secret",
        id="a Secret that is missing",
    ),
]


@pytest.mark.parametrize(("properties", "said"), RETRIED)
def test_what_may_pass_is_tried_again(
    runs: fixture.Runs, service: Service, properties: Callable[[Service], JSON], said: str
) -> None:
    run = one(runs, "request", properties(service))
    assert said in run.until_step("it", "failed", "Execute")["message"]
    assert not run.status.get("finished")
    run.patch_status({"terminated": True})
    run.until(lambda body: (body.get("status") or {}).get("finished"), "its end")


def test_tls_is_verified_with_the_secret(runs: fixture.Runs, keep: Keep, authority: Authority, tmp_path: Path) -> None:
    name = fixture.unique("tls")
    pair = authority.sign("client")
    with Service(authority.server_context(tmp_path, ask_client=True)) as service:
        distrusted = one(runs, "request", {"url": service.url})
        assert "certificate" in distrusted.until_step("it", "failed", "Execute")["message"].lower()
        distrusted.patch_status({"terminated": True})
        keep(name, {"ca.crt": authority.pem, "client.crt": pair.certificate, "client.key": pair.key})
        trusted = one(runs, "request", {"url": service.url, "tls": {"secret": name}})
        trusted.ended("succeeded")
        assert len(service.requests) == 1


# notification


def message(service: Service, port: int, **channels: Any) -> JSON:
    """Properties of a notification to Slack, DingTalk and by mail."""
    sender = {"address": "ci@example.com", "host": "127.0.0.1", "port": port, "password": {"value": mail.PASSWORD}}
    return {
        "slack": {"url": {"value": f"{service.url}/slack"}, "message": {"text": "released"}},
        "email": {"from": sender, "to": ["team@example.com"], "content": {"subject": "Released", "body": "<b>out</b>"}},
        "timeout": "500ms",
        **channels,
    }


def test_a_notification_goes_to_all(runs: fixture.Runs, service: Service, box: mail.Mailbox, keep: Keep) -> None:
    name = fixture.unique("robot")
    keep(name, {"url": f"{service.url}/ding".encode()})
    ding = {"url": {"secretRef": {"name": name, "key": "url"}}, "message": {"text": {"content": "released"}}}
    run = one(runs, "notification", message(service, box.port, dingding=ding))
    run.ended("succeeded")
    assert fixture.step(run.status, "it")["message"] == "dingding: sent; slack: sent; email: sent"
    assert [request.json["text"] for request in service.asked("/slack")] == ["released"]
    assert len(service.asked("/ding")) == 1
    (sent,) = box.messages
    assert (sent["Subject"], sent["To"]) == ("Released", "team@example.com")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        pytest.param(lambda _: nobody(), "lark: POST http://127.0.0.1:", id="nobody listens"),
        pytest.param(lambda service: f"{service.url}/never", "may have arrived and is not sent again", id="no answer"),
        pytest.param(lambda service: f"{service.url}/round", "stopped after 10 redirects", id="redirects without end"),
        pytest.param(lambda _: "lark.example.com", "url must begin with http://", id="no address at all"),
        pytest.param(lambda service: f"{service.url}/status/500", "answered 500 this is 500", id="500"),
    ],
)
def test_a_channel_that_fails_does_not_stop_the_others(
    runs: fixture.Runs, service: Service, box: mail.Mailbox, address: Callable[[Service], str], said: str
) -> None:
    lark = {"url": {"value": address(service)}, "message": {"msg_type": "text", "content": "{}"}}
    run = one(runs, "notification", message(service, box.port, lark=lark))
    run.ended("failed")
    entry = fixture.step(run.status, "it")
    assert entry["reason"] == "Action"
    assert entry["message"].startswith("lark: ")
    assert said in entry["message"]
    assert entry["message"].endswith("slack: sent; email: sent")
    assert len(service.asked("/slack")) == len(box.mails) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"to": ["refused@example.com"]}, "the server refused all recipients", id="the recipient"),
        pytest.param({"from": {"password": {"value": "wrong"}}}, "535", id="the password"),
    ],
)
def test_a_mail_that_is_refused_fails_the_step(
    runs: fixture.Runs, service: Service, box: mail.Mailbox, change: JSON, said: str
) -> None:
    properties = message(service, box.port)
    letter = properties["email"]
    properties["email"] = {**letter, **change, "from": {**letter["from"], **change.get("from", {})}}
    run = one(runs, "notification", properties)
    run.until(lambda body: fixture.step(body.get("status") or {}, "it").get("phase") == "failed", "a failed step")
    entry = fixture.step(run.status, "it")
    assert said in entry["message"]
    assert "wrong" not in entry["message"]
    assert box.mails == []
    assert len(service.asked("/slack")) == 1
    run.patch_status({"terminated": True})


# check-metrics


def metric(service: Service, **more: str) -> JSON:
    times = {"duration": "1s", "failDuration": "1s"}
    return {"query": "up", "condition": ">=0.95", "metricEndpoint": service.url, **times, **more}


def test_a_metric_that_becomes_good_lets_the_run_go_on(runs: fixture.Runs, service: Service) -> None:
    service.samples = ["0.2", "0.99"]
    run = one(runs, "check-metrics", metric(service, failDuration="1m"))
    run.ended("succeeded")
    queries = service.asked("/api/v1/query")
    assert len(queries) >= 2


def test_a_metric_that_stays_bad_fails_the_step(runs: fixture.Runs, service: Service) -> None:
    service.samples = ["0.2"]
    run = one(runs, "check-metrics", metric(service))
    run.ended("failed")
    entry = fixture.step(run.status, "it")
    assert entry["reason"] == "Action"
    assert "0.2" in entry["message"]
