"""Step types that need a service outside, with real ones: HTTP with and without TLS, mail, Prometheus's API."""

from __future__ import annotations

import base64
import email
import email.policy
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiosmtpd import controller, smtp

from tests.cluster import operator_fixture as fixture
from tests.cluster.providers.certificates import Authority
from tools.processes import free_port
from tools.rest import Api
from vela_workflow.providers.http import exchange

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

JSON = dict[str, Any]


class Service:
    """An HTTP server whose paths say how it behaves; ``requests`` are what it was asked, ``samples`` what it measures."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[JSON] = []
        self.samples: list[str] = []
        self.answers: dict[str, bytes] = {}
        self.closed = threading.Event()
        service = self

        class Handler(_Handler):
            outside = service

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.closed.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def asked(self, path: str) -> list[JSON]:
        """The requests for a path."""
        return [one for one in self.requests if one["path"] == path]


class _Handler(http.server.BaseHTTPRequestHandler):
    outside: ClassVar[Service]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path, _, query = self.path.partition("?")
        asked = {"method": self.command, "path": path, "query": query, "headers": dict(self.headers), "body": body}
        self.outside.requests.append(asked)
        word, _, rest = path.lstrip("/").partition("/")
        match word:
            case "status":
                self._answer(int(rest), f"this is {rest}".encode())
            case "never":
                self.outside.closed.wait(fixture.PATIENCE)
            case "round":
                self._answer(302, b"", Location="/round")
            case "huge":
                self._answer(200, b"x" * (exchange.BODY_LIMIT + 1))
            case "html":
                self._answer(200, b"<html>")
            case "api":
                self._answer(200, self._sample())
            case _:
                self._answer(200, self.outside.answers.get(path, b'{"ok": true}'))

    do_POST = do_GET  # noqa: N815 - of the library

    def _sample(self) -> bytes:
        samples = self.outside.samples
        value = samples.pop(0) if len(samples) > 1 else samples[0]
        result = [{"metric": {}, "value": [1700000000, value]}] if value else []
        return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


class Mailbox:
    """A mail server that takes mail from those who know the password, and none for ``refused``."""

    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address.startswith("refused"):
            return "550 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"

    @staticmethod
    def log_in(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> smtp.AuthResult:
        return smtp.AuthResult(success=data.password == b"open sesame", handled=False)


@pytest.fixture
def mail() -> Iterator[tuple[Mailbox, int]]:
    box, port = Mailbox(), free_port()
    made = controller.Controller(
        box, hostname="127.0.0.1", port=port, authenticator=box.log_in, auth_require_tls=False, auth_required=True
    )
    made.start()
    yield box, port
    made.stop()


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
    assert (request["method"], json.loads(request["body"])) == ("POST", {"n": 1})
    assert request["headers"]["Authorization"] == "Bearer s3cret"
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
    service = Service(authority.server_context(tmp_path, ask_client=True))
    try:
        distrusted = one(runs, "request", {"url": service.url})
        assert "certificate" in distrusted.until_step("it", "failed", "Execute")["message"].lower()
        distrusted.patch_status({"terminated": True})
        keep(name, {"ca.crt": authority.pem, "client.crt": pair.certificate, "client.key": pair.key})
        trusted = one(runs, "request", {"url": service.url, "tls": {"secret": name}})
        trusted.ended("succeeded")
        assert len(service.requests) == 1
    finally:
        service.close()


# notification


def message(service: Service, port: int, **channels: Any) -> JSON:
    """Properties of a notification to Slack, DingTalk and by mail."""
    sender = {"address": "ci@example.com", "host": "127.0.0.1", "port": port, "password": {"value": "open sesame"}}
    return {
        "slack": {"url": {"value": f"{service.url}/slack"}, "message": {"text": "released"}},
        "email": {"from": sender, "to": ["team@example.com"], "content": {"subject": "Released", "body": "<b>out</b>"}},
        "timeout": "500ms",
        **channels,
    }


def test_a_notification_goes_to_all(
    runs: fixture.Runs, service: Service, mail: tuple[Mailbox, int], keep: Keep
) -> None:
    box, port = mail
    name = fixture.unique("robot")
    keep(name, {"url": f"{service.url}/ding".encode()})
    ding = {"url": {"secretRef": {"name": name, "key": "url"}}, "message": {"text": {"content": "released"}}}
    run = one(runs, "notification", message(service, port, dingding=ding))
    run.ended("succeeded")
    assert fixture.step(run.status, "it")["message"] == "dingding: sent; slack: sent; email: sent"
    assert [json.loads(request["body"])["text"] for request in service.asked("/slack")] == ["released"]
    assert len(service.asked("/ding")) == 1
    (sent,) = box.mails
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
    runs: fixture.Runs, service: Service, mail: tuple[Mailbox, int], address: Callable[[Service], str], said: str
) -> None:
    box, port = mail
    lark = {"url": {"value": address(service)}, "message": {"msg_type": "text", "content": "{}"}}
    run = one(runs, "notification", message(service, port, lark=lark))
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
    runs: fixture.Runs, service: Service, mail: tuple[Mailbox, int], change: JSON, said: str
) -> None:
    box, port = mail
    properties = message(service, port)
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
    run.ended("succeeded", timeout=30)
    queries = service.asked("/api/v1/query")
    assert len(queries) >= 2


def test_a_metric_that_stays_bad_fails_the_step(runs: fixture.Runs, service: Service) -> None:
    service.samples = ["0.2"]
    run = one(runs, "check-metrics", metric(service))
    run.ended("failed", timeout=30)
    entry = fixture.step(run.status, "it")
    assert entry["reason"] == "Action"
    assert "0.2" in entry["message"]
