"""HTTP requests to a real server, with Secrets on a real API server."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.cluster.providers.certificates import Authority
from tests.cluster.providers.conftest import Run
from tests.unit.providers.support import Memory
from tools.rest import Api
from vela_workflow import errors
from vela_workflow.clusters import spans
from vela_workflow.providers.http import exchange

Start = Callable[..., Awaitable["Server"]]
KeepSecret = Callable[[str, dict[str, bytes]], None]


class Server:
    """A server that answers with what it was sent."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.url = ""
        self.elsewhere = ""
        self.app = web.Application()
        self.app.router.add_route("*", "/echo", self.echo)
        self.app.router.add_route("*", "/status/{code}", self.status)
        self.app.router.add_route("*", "/redirect/{code}", self.redirect)
        self.app.router.add_route("*", "/round", self.around)
        self.app.router.add_route("*", "/never", self.never)
        self.app.router.add_route("*", "/break", self.break_off)
        self.app.router.add_route("*", "/half", self.half)
        self.app.router.add_route("*", "/long", self.long)
        self.app.router.add_route("*", "/api/v1/query", self.metric)
        self.metrics: list[Any] = []
        self._stopped = asyncio.Event()

    async def start(self, context: ssl.SSLContext | None) -> None:
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{port}"

    async def stop(self) -> None:
        self._stopped.set()
        await self._runner.cleanup()

    async def note(self, request: web.Request) -> None:
        self.requests.append(
            {
                "method": request.method,
                "path": request.path,
                "headers": dict(request.headers),
                "body": await request.text(),
                "form": dict(await request.post()),
            }
        )

    async def echo(self, request: web.Request) -> web.Response:
        await self.note(request)
        return web.json_response({"n": 1}, headers={"x-custom-name": "v"})

    async def status(self, request: web.Request) -> web.Response:
        await self.note(request)
        return web.Response(status=int(request.match_info["code"]), text="the body")

    async def redirect(self, request: web.Request) -> web.Response:
        await self.note(request)
        goal = self.elsewhere or "/echo"
        return web.Response(status=int(request.match_info["code"]), headers={"Location": goal})

    async def around(self, request: web.Request) -> web.Response:
        await self.note(request)
        return web.Response(status=302, headers={"Location": "/round"})

    async def never(self, request: web.Request) -> web.Response:
        await self.note(request)
        await self._stopped.wait()
        return web.Response()

    async def break_off(self, request: web.Request) -> web.Response:
        await self.note(request)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def half(self, request: web.Request) -> web.StreamResponse:
        await self.note(request)
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async def long(self, request: web.Request) -> web.Response:
        await self.note(request)
        return web.Response(body=b"x" * (exchange.BODY_LIMIT + int(request.query["over"])))

    async def metric(self, request: web.Request) -> web.Response:
        await self.note(request)
        return web.json_response(self.metrics.pop(0))


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    servers = []

    async def started(context: ssl.SSLContext | None = None) -> Server:
        server = Server()
        servers.append(server)
        await server.start(context)
        return server

    yield started
    for server in servers:
        await server.stop()


@pytest_asyncio.fixture
async def server(start: Start) -> Server:
    return await start()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def secret(admin: Api, namespace: str) -> KeepSecret:
    """Create a Secret in the namespace of the run."""

    def keep(name: str, data: dict[str, bytes]) -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}, namespace)

    return keep


@pytest.fixture
def start_tls(start: Start, authority: Authority, tmp_path: Path) -> Start:
    """Start a server that ``authority`` vouches for."""

    async def started(*, ask_client: bool = False) -> Server:
        return await start(authority.server_context(tmp_path, ask_client=ask_client))

    return started


async def request(run: Run, url: str, method: str = "GET", **args: Any) -> dict[str, Any]:
    outcome = await run("vela/http", "do", {"method": method, "url": url, **args})
    assert outcome.value is not None
    return outcome.value


async def test_an_answer_has_status_body_and_headers(run: Run, server: Server) -> None:
    result = await request(run, f"{server.url}/echo")
    assert result["statusCode"] == 200
    assert json.loads(result["body"]) == {"n": 1}
    assert result["header"]["X-Custom-Name"] == ["v"]
    assert result["header"]["Content-Type"] == ["application/json; charset=utf-8"]
    assert result["trailer"] == {}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
async def test_every_method_sends_its_body_and_a_content_type(method: str, run: Run, server: Server) -> None:
    await request(run, f"{server.url}/echo", method, request={"body": "bödy"})
    (seen,) = server.requests
    assert (seen["method"], seen["body"]) == (method, "bödy")
    assert seen["headers"]["Content-Type"] == "application/json"
    assert seen["headers"]["User-Agent"] == "vela-workflow"
    once = method not in ("GET", "HEAD")
    assert seen["headers"].get("Idempotency-Key") == ("run-1/abcdefghij/action/1" if once else None)


async def test_own_headers_take_the_place_of_the_default_ones(run: Run, server: Server) -> None:
    header = {"Idempotency-Key": "own", "X-A": "b", "user-agent": "me"}
    await request(run, f"{server.url}/echo", "POST", request={"header": header})
    (seen,) = server.requests
    assert seen["headers"]["User-Agent"] == "me"
    assert seen["headers"]["X-A"] == "b"
    assert seen["headers"]["Idempotency-Key"] == "own"
    assert "Content-Type" not in seen["headers"]


async def test_requests_say_which_span_they_belong_to(run: Run, server: Server) -> None:
    own = {"header": {"Traceparent": "own"}}
    with spans.inside(spans.Span(1, 2)):
        await request(run, f"{server.url}/redirect/307")
        await request(run, f"{server.url}/echo", request=own)
        server.metrics = [vector("1")]
        await run("vela/metrics", "promCheck", {**CHECK, "metricEndpoint": server.url}, variables=Memory())
    await request(run, f"{server.url}/echo")
    seen = [one["headers"].get("traceparent") or one["headers"].get("Traceparent") for one in server.requests]
    ours = f"00-{1:032x}-{2:016x}-01"
    assert seen == [ours, ours, "own", ours, None]


@pytest.mark.parametrize("code", [204, 404, 500, 503])
async def test_any_status_is_an_answer(code: int, run: Run, server: Server) -> None:
    assert (await request(run, f"{server.url}/status/{code}", "POST"))["statusCode"] == code


async def test_trailers_are_not_sent_and_that_is_said(run: Run, server: Server) -> None:
    args = {"method": "GET", "url": f"{server.url}/echo", "request": {"trailer": {"a": "b"}}}
    outcome = await run("vela/http", "do", args)
    assert outcome.warnings == ("request.trailer is not sent: bodies are sent whole, with their length",)


@pytest.mark.parametrize(
    ("code", "method", "second"),
    [
        (301, "POST", "GET"),
        (302, "PUT", "GET"),
        (303, "DELETE", "GET"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
        (302, "HEAD", "HEAD"),
    ],
)
async def test_redirects_are_followed(code: int, method: str, second: str, run: Run, server: Server) -> None:
    result = await request(run, f"{server.url}/redirect/{code}", method, request={"body": "b"})
    assert result["statusCode"] == 200
    assert [(seen["method"], seen["path"]) for seen in server.requests] == [
        (method, f"/redirect/{code}"),
        (second, "/echo"),
    ]
    assert server.requests[1]["body"] == ("b" if second == method and method != "HEAD" else server.requests[1]["body"])


async def test_redirects_without_end_are_final(run: Run, server: Server) -> None:
    with pytest.raises(errors.Terminal, match="stopped after 10 redirects"):
        await request(run, f"{server.url}/round")
    assert len(server.requests) == exchange.REDIRECTS + 1


async def test_credentials_are_not_taken_to_another_server(run: Run, start: Start, secret: KeepSecret) -> None:
    first, second = await start(), await start()
    first.elsewhere = f"{second.url}/echo"
    secret("s", {"token": b"word\n"})
    headers = {"Authorization": "Bearer x", "X-Plain": "y"}
    private = [{"header": "X-Token", "secret": "s", "key": "token"}]
    args = {"url": f"{first.url}/redirect/307", "request": {"header": headers, "headersFromSecret": private}}
    outcome = await run("vela/http", "do", args)
    assert outcome.sensitive
    assert {"Authorization", "X-Token", "X-Plain"} <= set(first.requests[0]["headers"])
    assert first.requests[0]["headers"]["X-Token"] == "word"
    assert set(second.requests[0]["headers"]) & {"Authorization", "X-Token", "X-Plain"} == {"X-Plain"}


async def test_headers_from_secrets_that_are_missing(
    run: Run, server: Server, secret: KeepSecret, namespace: str
) -> None:
    wanted = {"headersFromSecret": [{"header": "A", "secret": "s", "key": "k"}]}
    with pytest.raises(errors.Transient, match=f'secret "s" not found in namespace "{namespace}" for header "A"'):
        await request(run, f"{server.url}/echo", "POST", request=wanted)
    secret("s", {"other": b"x"})
    with pytest.raises(errors.Transient, match='key "k" not found in secret "s"'):
        await request(run, f"{server.url}/echo", "POST", request=wanted)
    assert server.requests == []


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("url", "why"),
    [
        pytest.param(
            "http://127.0.0.1:{port}/", "cannot connect to 127.0.0.1:{port}: Connection refused", id="refused"
        ),
        pytest.param("http://no-such-host.invalid/", "cannot connect to no-such-host.invalid:80: ", id="name"),
    ],
)
async def test_what_was_certainly_not_sent_may_be_sent_again(method: str, url: str, why: str, run: Run) -> None:
    port = free_port()
    with pytest.raises(errors.Transient, match=f"^{method} http://") as raised:
        await request(run, url.format(port=port), method, request={"timeout": "20s"})
    assert why.format(port=port) in str(raised.value)


LIMITS = {"never": "1s", "break": "30s", "half": "30s"}
"""Only a server that never answers is to be given up by the clock, and a busy machine has to connect before that."""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["never", "break", "half"])
async def test_what_may_have_arrived_is_sent_once_only(path: str, method: str, run: Run, server: Server) -> None:
    with pytest.raises(errors.OutcomeUnknown, match="may have arrived and is not sent again"):
        await request(run, f"{server.url}/{path}", method, request={"timeout": LIMITS[path]})
    assert len(server.requests) == 1


@pytest.mark.parametrize("args", [{}, {"method": "POST", "repeat": True}], ids=["GET", "repeated POST"])
@pytest.mark.parametrize("path", ["never", "break", "half"])
async def test_what_may_be_repeated_is_tried_again_by_the_step(
    path: str, args: dict[str, Any], run: Run, server: Server
) -> None:
    with pytest.raises(errors.Transient):
        await request(run, f"{server.url}/{path}", request={"timeout": LIMITS[path]}, **args)
    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_redirect_to_nowhere_leaves_the_outcome_unknown(method: str, run: Run, server: Server) -> None:
    server.elsewhere = f"http://127.0.0.1:{free_port()}/"
    with pytest.raises(errors.OutcomeUnknown):
        await request(run, f"{server.url}/redirect/307", method)


async def test_a_name_that_no_host_can_have_is_final(run: Run) -> None:
    with pytest.raises(errors.Terminal, match="cannot be the name of a host"):
        await request(run, f"http://{'a' * 70}.example/")


async def test_header_bytes_that_are_no_text_become_text(run: Run) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX-Odd: \xff-\xc3\xbc\r\nContent-Length: 2\r\n\r\n\xff!")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        result = await request(run, f"http://127.0.0.1:{port}/")
    assert result["header"]["X-Odd"] == ["\ufffd-ü"]
    assert result["body"] == "\ufffd!"


async def test_the_time_limit_is_told(run: Run, server: Server) -> None:
    with pytest.raises(errors.Transient, match=r"no answer within 0\.2s"):
        await request(run, f"{server.url}/never", request={"timeout": "200ms"})


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_body_over_the_limit_is_final(method: str, run: Run, server: Server) -> None:
    assert len((await request(run, f"{server.url}/long?over=0", method))["body"]) == exchange.BODY_LIMIT
    with pytest.raises(errors.Terminal, match="answered 200 with a body of more than 1048576 bytes"):
        await request(run, f"{server.url}/long?over=1", method)


async def test_the_rate_limiter_counts_over_calls(run: Run, server: Server) -> None:
    settings = {"ratelimiter": {"limit": 1, "period": "1h"}}
    await request(run, f"{server.url}/echo?a=1", request=settings)
    with pytest.raises(errors.Transient, match="request exceeds the rate limiter") as raised:
        await request(run, f"{server.url}/echo?a=2", request=settings)
    assert 3500 < raised.value.after <= 3600
    assert len(server.requests) == 1


@pytest.fixture
def tls(start_tls: Start, authority: Authority, secret: KeepSecret) -> tuple[Start, Authority, KeepSecret]:
    """Everything that a test of TLS needs."""
    return start_tls, authority, secret


def tls_data(authority: Authority, *, client: bool, twice: bool) -> dict[str, bytes]:
    data = {"ca.crt": authority.pem}
    if client:
        pair = authority.sign("client")
        data |= {"client.crt": pair.certificate, "client.key": pair.key}
    return {key: base64.b64encode(value) for key, value in data.items()} if twice else data


@pytest.mark.parametrize("twice", [False, True], ids=["plain", "base64 twice"])
@pytest.mark.parametrize("known", [False, True], ids=["authority only", "client certificate"])
async def test_tls_with_the_material_of_a_secret(
    known: bool, twice: bool, run: Run, tls: tuple[Start, Authority, KeepSecret], namespace: str
) -> None:
    start_tls, authority, secret = tls
    server = await start_tls(ask_client=known)
    secret("tls", tls_data(authority, client=known, twice=twice))
    args = {"method": "POST", "url": f"{server.url}/echo", "tls_config": {"secret": "tls"}}
    outcome = await run("vela/http", "do", args)
    assert outcome.sensitive
    assert outcome.value is not None
    assert outcome.value["statusCode"] == 200
    for place in ({"secret": f"{namespace}/tls"}, {"secret": "tls", "namespace": namespace}):
        again = {**args, "tls_config": place}
        assert (await run("vela/http", "do", again, run_namespace="default")).value is not None


async def test_a_server_that_nobody_vouches_for_gets_nothing(run: Run, start_tls: Start, secret: KeepSecret) -> None:
    server = await start_tls()
    secret("tls", {"ca.crt": Authority.make().pem})
    for args in ({}, {"tls_config": {"secret": "tls"}}):
        with pytest.raises(errors.Transient, match="TLS: the certificate is not trusted: "):
            await request(run, f"{server.url}/echo", "POST", **args)
    assert server.requests == []


# reason: what the Secret holds, part of the message
BAD_MATERIAL: dict[str, tuple[dict[str, bytes], str]] = {
    "nothing": ({"other": b"x"}, r"it has neither ca\.crt nor client\.crt and client\.key"),
    "no key": ({"client.crt": b"-----BEGIN CERTIFICATE-----"}, r"it has no client\.key"),
    "no certificate": ({"client.key": b"-----BEGIN PRIVATE KEY-----"}, r"it has no client\.crt"),
    "no PEM": ({"ca.crt": b"certificate"}, r"ca\.crt is neither PEM nor PEM in base64"),
    "broken PEM": ({"ca.crt": b"-----BEGIN CERTIFICATE-----\nx"}, "cannot be used"),
}


@pytest.mark.parametrize(("data", "message"), BAD_MATERIAL.values(), ids=BAD_MATERIAL)
async def test_material_that_is_no_use_is_never_ignored(
    data: dict[str, bytes], message: str, run: Run, server: Server, secret: KeepSecret
) -> None:
    secret("tls", data)
    with pytest.raises(errors.Transient, match=f'^TLS material in secret "test-.*/tls": .*{message}'):
        await request(run, f"{server.url}/echo", tls_config={"secret": "tls"})
    assert server.requests == []


async def test_a_missing_secret_is_named(run: Run, server: Server, namespace: str) -> None:
    with pytest.raises(errors.Transient, match=f'secret "tls" not found in namespace "{namespace}" for tls_config'):
        await request(run, f"{server.url}/echo", tls_config={"secret": "tls"})


@pytest.mark.parametrize(("do", "argument"), [("ding-talk", "dingUrl"), ("lark", "larkUrl"), ("slack", "slackUrl")])
async def test_chat_messages_are_posted(do: str, argument: str, run: Run, server: Server) -> None:
    outcome = await run("vela/op", do, {"message": {"text": "hi"}, argument: f"{server.url}/echo"})
    assert outcome.value is not None
    assert outcome.value["statusCode"] == 200
    (seen,) = server.requests
    assert (seen["method"], json.loads(seen["body"])) == ("POST", {"text": "hi"})
    assert seen["headers"]["Idempotency-Key"] == "run-1/abcdefghij/action/1"


def vector(*values: str) -> dict[str, Any]:
    samples = [{"metric": {}, "value": [1700000000, value]} for value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": samples}}


CHECK = {"query": "up", "condition": ">=1", "duration": "0s", "failDuration": "1h"}


async def test_a_metric_is_asked_for_and_its_state_kept(run: Run, server: Server) -> None:
    memory = Memory()
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1700000000, "2"]}}
    server.metrics = [vector("0"), vector("1"), scalar]
    args = {**CHECK, "metricEndpoint": f"{server.url}/"}
    outcomes = [await run("vela/metrics", "promCheck", args, variables=memory) for _ in range(3)]
    verdicts = [(one.value["result"], one.value["failed"]) for one in outcomes if one.value is not None]
    assert verdicts == [(False, False), (False, False), (True, False)]
    assert [one.after for one in outcomes] == [15.0, 1.0, None]
    assert memory.memos == {
        "abcdefghij.metrics.fail.time": "0",
        "abcdefghij.metrics.success.time": "1767323045",
    }
    assert {seen["method"] for seen in server.requests} == {"POST"}
    assert server.requests[0]["form"] == {"query": "up", "time": "1767323045.000"}


# reason: the answer of Prometheus, part of the message
BAD_ANSWERS: dict[str, tuple[Any, str]] = {
    "none": (vector(), "the query is returning 0 results"),
    "many": (vector("1", "2"), "the query is returning 2 results when it should only return one"),
    "matrix": ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "the result is a matrix"),
    "error": ({"status": "error", "error": "parse error"}, "status 200: parse error"),
    "no object": ([1], "the answer is no JSON"),
}


@pytest.mark.parametrize(("answer", "message"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
async def test_answers_that_are_no_single_value(answer: Any, message: str, run: Run, server: Server) -> None:
    server.metrics = [answer]
    with pytest.raises(errors.Transient, match=message):
        await run(
            "vela/op", "promCheck", {**CHECK, "metricEndpoint": "http://unused.invalid", "promAddress": server.url}
        )


async def test_a_condition_that_is_none_is_final(run: Run, server: Server) -> None:
    server.metrics = [vector("1")]
    with pytest.raises(errors.Terminal, match='condition: "about 1" is no condition'):
        await run("vela/metrics", "promCheck", {**CHECK, "condition": "about 1", "metricEndpoint": server.url})


async def test_prometheus_that_is_not_there(run: Run) -> None:
    with pytest.raises(errors.Transient, match="Prometheus at http://127"):
        await run("vela/metrics", "promCheck", {**CHECK, "metricEndpoint": f"http://127.0.0.1:{free_port()}"})


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [("prometheus", "metricEndpoint must begin with http://"), ("http://[", "metricEndpoint: ")],
)
async def test_an_address_that_prometheus_cannot_have(run: Run, endpoint: str, message: str) -> None:
    with pytest.raises(errors.Terminal, match=message):
        await run("vela/metrics", "promCheck", {**CHECK, "metricEndpoint": endpoint})


async def test_a_prometheus_that_does_not_answer_is_named_without_what_may_be_secret(run: Run) -> None:
    port = free_port()
    with pytest.raises(errors.Transient) as caught:
        await run("vela/metrics", "promCheck", {**CHECK, "metricEndpoint": f"http://user:word@127.0.0.1:{port}"})
    where = f"127.0.0.1:{port}"
    assert caught.value.message == f"Prometheus at http://{where}: cannot connect to {where}: Connection refused"
