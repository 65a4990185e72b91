"""Sending a request and telling what became of it (ops 3.3, decisions 19 and 32).

Any answer is a success here, whatever its status; what a status means is the template's to say. Without an answer
there are two cases, and for a request that must not be sent twice the difference matters: as long as no connection
stood, certainly nothing was sent and it may be tried again (``Transient``); after that nobody knows
(``OutcomeUnknown``).

Every request has a session of its own. That costs a fraction of a millisecond and buys that no connection of one
run is used by another, and that a failure is never one of a connection that had gone stale.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import multidict
import yarl

from vela_workflow import errors
from vela_workflow.clusters import spans
from vela_workflow.providers import arguments, web
from vela_workflow.providers.contract import JSON, Call, Outcome
from vela_workflow.providers.http import request as requests

BODY_LIMIT: Final = 1 << 20
"""The longest body of a response, in bytes."""

REDIRECTS: Final = 10
_USER_AGENT: Final = "vela-workflow"
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


async def do(call: Call) -> Outcome:
    """``#HTTPDo``: the answer as ``statusCode``, ``body``, ``header`` and ``trailer``.

    With ``request.tolerant`` a request that cannot be sent or gets no proper answer is a result too: ``err`` says why,
    ``statusCode`` is 0. That holds for a request whose outcome nobody knows as well; it is not sent again.
    """
    tolerant = requests.tolerant(call.args)
    try:
        request = await requests.prepare(call)
    except requests.UnusableURL as error:
        if not tolerant:
            raise
        return Outcome(_unanswered(error))
    try:
        value = await send(request)
    except errors.WorkflowError as error:
        if not tolerant:
            raise
        value = _unanswered(error)
    return Outcome(value, sensitive=request.sensitive, warnings=request.warnings)


def _unanswered(error: errors.WorkflowError) -> JSON:
    return {"statusCode": 0, "body": "", "err": error.message}


@dataclass(slots=True)
class _Progress:
    """How far an exchange has come: whether a connection stood, for the exchange and for the present redirect.

    It also sees to it that nothing is sent twice: aiohttp repeats GET, HEAD, PUT and DELETE by itself when a connection
    breaks. With a new connection for each request, a second one without a redirect between is such a repetition.
    """

    connected: bool = False
    here: bool = False

    def trace(self) -> aiohttp.TraceConfig:
        """A trace that keeps this up to date."""
        config = aiohttp.TraceConfig()
        config.on_connection_create_start.append(self._connecting)
        config.on_connection_create_end.append(self._connected)
        return config

    async def _connecting(self, _session: aiohttp.ClientSession, _context: SimpleNamespace, _params: Any) -> None:
        if self.here:
            raise aiohttp.ServerDisconnectedError("the server closed the connection")

    async def _connected(self, _session: aiohttp.ClientSession, _context: SimpleNamespace, _params: Any) -> None:
        self.connected = self.here = True


async def send(request: requests.Request) -> JSON:
    """Send a request, follow at most ten redirects, and return the result of the operation.

    Raises ``Transient`` when it may be sent again, ``OutcomeUnknown`` when it must not be sent twice and may have
    arrived, ``Terminal`` when the answer is too long or redirects without end.
    """
    progress = _Progress()
    try:
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None),
            trace_configs=[progress.trace()],
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(force_close=True),
            trust_env=True,
            headers={"User-Agent": _USER_AGENT},
        ) as session:
            async with asyncio.timeout(request.timeout.total_seconds()):
                return await _follow(session, request, progress)
    except aiohttp.InvalidURL as error:
        raise arguments.wrong(f"{request}: the URL {error} cannot be used") from error
    except UnicodeError as error:
        raise arguments.wrong(f"{request}: {request.url.host} cannot be the name of a host") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _failure(request, error, progress) from error


async def _follow(session: aiohttp.ClientSession, request: requests.Request, progress: _Progress) -> JSON:
    method, url, headers, body = request.method, request.url, request.headers.copy(), request.body
    for name, value in spans.headers().items():
        headers.setdefault(name, value)  # A template may belong to a trace of its own.
    for _ in range(REDIRECTS + 1):
        progress.here = False
        async with session.request(
            method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            skip_auto_headers=("Content-Type",),
            ssl=request.tls if request.tls is not None else True,
        ) as response:
            location = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return await _result(request, response)
        goal = _goal(request, url, location)
        if goal.origin() != url.origin():
            _forget_credentials(headers, request.private)
        if response.status in (301, 302, 303) and method != "HEAD":
            method, body = "GET", None
        url = goal
    raise errors.Terminal(f"{request}: stopped after {REDIRECTS} redirects", reason=arguments.REASON)


def _goal(request: requests.Request, url: yarl.URL, location: str) -> yarl.URL:
    try:
        goal = url.join(yarl.URL(location))
    except ValueError as error:
        raise arguments.wrong(f"{request}: redirected to a URL that cannot be used") from error
    if goal.scheme not in ("http", "https") or not goal.host:
        raise arguments.wrong(f"{request}: redirected to a URL that is not http:// or https://")
    return goal


def _forget_credentials(headers: multidict.CIMultiDict[str], private: frozenset[str]) -> None:
    """Drop what was meant for the first server only, before another one is asked."""
    for name in [name for name in headers if name.lower() in _CREDENTIALS or name.lower() in private]:
        headers.popall(name, None)


async def _result(request: requests.Request, response: aiohttp.ClientResponse) -> JSON:
    try:
        body = await web.body(response, BODY_LIMIT)
    except web.BodyTooLongError:
        raise errors.Terminal(
            f"{request}: answered {response.status} with a body of more than {BODY_LIMIT} bytes, which is the limit",
            reason=arguments.REASON,
        ) from None
    header: dict[str, list[str]] = {}
    for name, value in response.headers.items():
        # Bytes that are no UTF-8 come as halves of characters, which could not be written anywhere.
        readable = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        header.setdefault(_canonical(name), []).append(readable)
    return {
        "statusCode": response.status,
        "body": body.decode("utf-8", "replace"),
        "header": header,
        "trailer": {},
    }


def _canonical(name: str) -> str:
    """A header's name as Go writes it, which templates refer to: ``Content-Type``."""
    return "-".join(part.capitalize() for part in name.split("-"))


def _failure(request: requests.Request, error: Exception, progress: _Progress) -> errors.WorkflowError:
    if isinstance(error, TimeoutError):
        said = f"no answer within {request.timeout.total_seconds():g}s"
    elif isinstance(error, aiohttp.ClientConnectorError):
        said = web.unreached(error)
    elif isinstance(error, ssl.SSLError):
        said = f"TLS: {error}"
    else:
        said = str(error) or type(error).__name__
    if request.once and progress.connected:
        return errors.OutcomeUnknown(f"{request}: {said}; the request may have arrived and is not sent again")
    return errors.Transient(f"{request}: {said}")
