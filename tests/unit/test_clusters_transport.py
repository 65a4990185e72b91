"""What the connections do with servers that are slow, overloaded, broken or hostile; a plain HTTP server plays them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
import pytest_asyncio
from aiohttp import web

from vela_workflow.clusters import breaker, credentials, errors, spans, transport

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

TARGET = errors.Target("far", "v1", "ConfigMap", "default", "settings")
FAST = transport.Limits(timeout=0.5, connect_timeout=0.5, tries=3, max_bytes=100_000, watch_seconds=1)


class Server:
    """Gives its answers one after the other, then ``{}`` for ever."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Answer] = []
        self.requests: list[web.BaseRequest] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else success
        return await answer(request)  # type: ignore[arg-type]


async def success(request: web.Request) -> web.Response:
    return web.json_response({})


def refusal(status: int, after: str = "") -> Answer:
    async def answer(request: web.Request) -> web.Response:
        headers = {"Retry-After": after} if after else {}
        return web.json_response({"message": "busy"}, status=status, headers=headers)

    return answer


async def disconnect(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def hang(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


def body(data: bytes, **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=data, headers={key.replace("_", "-"): value for key, value in headers.items()})

    return answer


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture
async def connections(server: Server) -> AsyncIterator[transport.Transport]:
    made = transport.Transport("far", credentials.StaticSource(server.url), limits=FAST)
    yield made
    await made.close()


def request(method: str = "GET", *, repeat: bool = False, **more: Any) -> transport.Request:
    return transport.Request("get", method, "/x", TARGET, repeat=repeat, **more)


REPEATED = [
    pytest.param([refusal(429, "0")], request("POST"), 2, id="429-was-not-carried-out"),
    pytest.param([refusal(503, "1")], request(repeat=True), 2, id="503-may-be-read-again"),
    pytest.param([disconnect], request("PATCH", repeat=True), 2, id="broken-apply"),
]


@pytest.mark.parametrize(("answers", "asked", "count"), REPEATED)
async def test_what_is_repeated(
    server: Server, connections: transport.Transport, *, answers: list[Answer], asked: transport.Request, count: int
) -> None:
    server.answers = list(answers)
    async with asyncio.timeout(10):
        assert await connections.call(asked) == {}
    assert len(server.requests) == count


NOT_REPEATED = [
    pytest.param([refusal(503, "1")], request("POST"), errors.Unavailable, 1.0, id="503-may-have-been-carried-out"),
    pytest.param([refusal(503)], request(repeat=True), errors.Unavailable, 0.0, id="503-without-a-time"),
    pytest.param([refusal(429, "60")], request(), errors.TooManyRequests, 60.0, id="429-for-too-long"),
    pytest.param([refusal(500)], request(repeat=True), errors.Unavailable, 0.0, id="500"),
    pytest.param([disconnect], request("POST"), errors.Unavailable, 0.0, id="broken-create"),
]


@pytest.mark.parametrize(("answers", "asked", "expected", "after"), NOT_REPEATED)
async def test_what_is_not_repeated(
    server: Server,
    connections: transport.Transport,
    *,
    answers: list[Answer],
    asked: transport.Request,
    expected: type[errors.ApiError],
    after: float,
) -> None:
    server.answers = list(answers)
    with pytest.raises(expected) as caught:
        await connections.call(asked)
    assert len(server.requests) == 1
    assert caught.value.after == after


async def test_tries_are_bounded(server: Server, connections: transport.Transport) -> None:
    server.answers = [refusal(429, "0")] * 10
    async with asyncio.timeout(20):
        with pytest.raises(errors.TooManyRequests, match="busy"):
            await connections.call(request())
    assert len(server.requests) == FAST.tries


async def test_a_silent_server_costs_no_more_than_the_limit(server: Server, connections: transport.Transport) -> None:
    server.answers = [hang]
    async with asyncio.timeout(5):
        with pytest.raises(errors.Unavailable, match=r"no answer within 0.5 s"):
            await connections.call(request())


TOO_LARGE = [
    pytest.param(body(b" " * 100_001), id="length-told"),
    pytest.param(body(gzip.compress(b" " * 10_000_000), Content_Encoding="gzip"), id="compressed"),
]


@pytest.mark.parametrize("answer", TOO_LARGE)
async def test_large_answers_are_cut_off(server: Server, connections: transport.Transport, answer: Answer) -> None:
    server.answers = [answer]
    with pytest.raises(errors.TooLarge, match="cluster far"):
        await connections.call(request())
    assert await connections.call(request()) == {}, "the connection is fit for use again"


async def test_credentials_do_not_follow_redirects(server: Server, connections: transport.Transport) -> None:
    async def redirect(request: web.Request) -> web.Response:
        return web.json_response({}, status=302, headers={"Location": f"{server.url}/elsewhere"})

    server.answers = [redirect]
    with pytest.raises(errors.Unavailable, match="redirects"):
        await connections.call(request())
    assert [one.path for one in server.requests] == ["/x"]


async def test_a_stream_gives_whole_lines_however_they_come(server: Server, connections: transport.Transport) -> None:
    async def lines(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in (b'{"a"', b":1}\n{", b'"b":2}\n\n{"c":3}\n'):
            await response.write(part)
        return response

    server.answers = [lines]
    found = [orjson.loads(line) async for line in connections.stream(request())]
    assert found == [{"a": 1}, {"b": 2}, {"c": 3}]


async def test_a_silent_stream_ends(server: Server, connections: transport.Transport) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    server.answers = [silent]
    async with asyncio.timeout(10):
        assert [line async for line in connections.stream(request())] == []


async def test_a_stream_with_an_endless_line_is_refused(server: Server, connections: transport.Transport) -> None:
    server.answers = [body(b"x" * 200_000)]
    with pytest.raises(errors.TooLarge):
        async for _ in connections.stream(request()):
            pass


async def test_silent_servers_open_the_breaker(server: Server) -> None:
    circuit = breaker.Breaker(breaker.BreakerSettings(threshold=2, first=30.0))
    made = transport.Transport("far", credentials.StaticSource(server.url), limits=FAST, circuit=circuit)
    server.answers = [hang, hang]
    for _ in range(2):
        with pytest.raises(errors.Unavailable):
            await made.call(request())
    with pytest.raises(errors.Unavailable, match=r"no answer within 0.5 s; it failed several times"):
        await made.call(request())
    with pytest.raises(errors.Unavailable, match="failed several times"):
        async for _ in made.stream(request()):
            pass
    assert len(server.requests) == 2
    await made.close()


async def test_refusals_are_answers_to_the_breaker(server: Server) -> None:
    circuit = breaker.Breaker(breaker.BreakerSettings(threshold=1))
    made = transport.Transport("far", credentials.StaticSource(server.url), limits=FAST, circuit=circuit)
    server.answers = [refusal(500), refusal(404)]
    for _ in range(2):
        with pytest.raises(errors.ApiError):
            await made.call(request())
    assert await made.call(request()) == {}
    await made.close()


CALLS = [
    pytest.param(TARGET, ("v1", "ConfigMap"), id="objects"),
    pytest.param(errors.Target("far", "made.up/v1", ""), ("", ""), id="discovery-of-what-somebody-wrote"),
]


@pytest.mark.parametrize(("target", "about"), CALLS)
async def test_a_finished_call_tells_what_it_was_about(
    server: Server, target: errors.Target, about: tuple[str, str]
) -> None:
    calls: list[transport.FinishedCall] = []
    made = transport.Transport("far", credentials.StaticSource(server.url), limits=FAST, on_call=calls.append)
    await made.call(transport.Request("get", "GET", "/x", target))
    await made.close()
    (call,) = calls
    assert (call.api_version, call.kind) == about
    assert (call.cluster, call.verb, call.status) == ("far", "get", 200)


async def test_requests_say_which_span_they_belong_to(server: Server, connections: transport.Transport) -> None:
    with spans.inside(spans.Span(0xABC, 0xDEF)):
        await connections.call(request())
    await connections.call(request())
    inside, outside = (one.headers.get("traceparent") for one in server.requests)
    assert inside == "00-00000000000000000000000000000abc-0000000000000def-01"
    assert outside is None
