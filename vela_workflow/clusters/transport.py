"""One cluster's HTTP connections: requests with a time limit, bounded in number and size, retried where that is safe.

A request is repeated here only when the server certainly did not carry it out (it said 429, or there was no connection)
or when repeating it cannot matter (``repeat``: reads and server-side apply). Everything else is for the step to decide.
The connections are opened with the first request, so a joined cluster that nobody uses costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from vela_workflow.api import json_tree
from vela_workflow.clusters import breaker, credentials, errors, pulse, spans

JSON = dict[str, Any]

ACCEPT_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one cluster's connections; times in seconds, sizes in bytes."""

    timeout: float = 30.0
    connect_timeout: float = 5.0
    concurrency: int = 64
    max_bytes: int = 32 * 1024 * 1024
    tries: int = 4
    max_retry_after: float = 5.0
    watch_seconds: int = 300


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """One HTTP request that has ended, for metrics; ``status`` is 0 when there was no answer.

    ``api_version`` and ``kind`` are those of the objects that it was about; of requests about no kind (discovery, the
    version of the server) both are empty. They only ever name kinds that the server knows.
    """

    cluster: str
    verb: str
    status: int
    seconds: float
    api_version: str = ""
    kind: str = ""


OnCall = Callable[[FinishedCall], None]


@dataclass(frozen=True, slots=True)
class Request:
    """One request: ``verb`` is what RBAC calls it, ``target`` what it is about."""

    verb: str
    method: str
    path: str
    target: errors.Target
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    content_type: str = ACCEPT_JSON
    accept: str = ACCEPT_JSON
    headers: tuple[tuple[str, str], ...] = ()
    repeat: bool = False


class _Refused(Exception):
    """An answer that says to come back in ``after`` seconds; ``error`` is for when there are no tries left."""

    def __init__(self, error: errors.ApiError, after: float) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


_REFUSED_DELAYS = (0.1, 0.4)
_REOPEN_SECONDS = 10.0
_LOOPBACK = ("127.", "localhost", "::1")


class Transport:
    """The connections to one API server; ``circuit`` is the breaker, ``None`` for a cluster that needs none.

    Where there is a breaker there is a ``pulse`` too: others than those who need this cluster are not to wait for it.
    """

    def __init__(
        self,
        cluster: str,
        source: credentials.Source,
        *,
        limits: Limits | None = None,
        circuit: breaker.Breaker | None = None,
        on_call: OnCall | None = None,
        user_agent: str = "vela-workflow",
    ) -> None:
        self.cluster = cluster
        self.limits = limits or Limits()
        self._source = source
        self._circuit = circuit
        self._pulse = pulse.Pulse(self._ask_version) if circuit is not None else None
        self._on_call = on_call
        self._user_agent = user_agent
        self._gate = asyncio.Semaphore(self.limits.concurrency)
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._opening = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._outdated: aiohttp.ClientSession | None = None
        self._endpoint = credentials.Endpoint("")
        self._options: Mapping[str, Any] = MappingProxyType({})
        self._opened_at = 0.0
        self._streams: set[aiohttp.ClientResponse] = set()
        self._closed = False

    async def call(self, request: Request) -> Any:
        """Carry out ``request`` and return the decoded JSON of the answer; raises the errors of ``errors.py``."""
        return json_tree.loads(await self.fetch(request))

    async def fetch(self, request: Request) -> bytes:
        """Carry out ``request`` and return the bytes of the answer."""
        refusals = reopened = 0
        for attempt in range(1, self.limits.tries + 1):
            last = attempt == self.limits.tries
            try:
                return await self._attempt(request)
            except _Refused as refused:
                if last:
                    raise refused.error from None
                delay = refused.after
            except errors.Unauthorized:
                # The token may have been rotated: look once whether the source has a newer one.
                if last or reopened or not await self._reopen():
                    raise
                reopened, delay = 1, 0.0
            except _NotSent as error:
                if last or refusals >= len(_REFUSED_DELAYS) or not error.worth_repeating:
                    raise self._unavailable(request, error.reason) from error
                delay = _REFUSED_DELAYS[refusals]
                refusals += 1
            except _Broken as error:
                if last or refusals or not request.repeat:
                    raise self._unavailable(request, error.reason) from error
                refusals, delay = refusals + 1, 0.0
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311  (spreads load, hides nothing)
        raise AssertionError("the last attempt returns or raises")

    async def stream(self, request: Request) -> AsyncGenerator[bytes, None]:
        """The lines of an answer that goes on and on (a watch), as they come.

        Ends when the server ends it or says nothing for longer than a watch lasts; raises ``Unavailable`` when the
        connection breaks.
        """
        try:
            response = await self._start_stream(request)
        except (_NotSent, _Broken) as error:
            raise self._unavailable(request, error.reason) from error
        except _Refused as refused:
            raise refused.error from None
        self._streams.add(response)
        try:
            async for line in self._lines(response, request):
                yield line
        except TimeoutError:
            return  # Nothing for a long time: a frozen connection looks like that, so start a new one.
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(request, _reason(error, self.limits)) from error
        finally:
            self._streams.discard(response)
            _cut(response)

    async def close(self) -> None:
        """End all watches, give calls in flight a moment to end, and close the connections."""
        self._closed = True
        if self._pulse is not None:
            self._pulse.close()
        for response in list(self._streams):
            _cut(response)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.connect_timeout):
                await self._idle.wait()
        for session in (self._session, self._outdated):
            if session is not None:
                await session.close()
        await asyncio.sleep(0)  # a connection that is aborted lets go of its socket at the next turn of the loop

    async def _attempt(self, request: Request) -> bytes:
        async with self._gate:
            self._admit(request)
            session = self._session or await self._open()
            started = time.perf_counter()
            status = 0
            self._in_flight += 1
            self._idle.clear()
            try:
                async with self._alive(), await self._send(session, request) as response:
                    status = response.status
                    data = await self._read(response, request)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._failed(error)
                raise _classified(error, self.limits) from error
            finally:
                self._in_flight -= 1
                if not self._in_flight:
                    self._idle.set()
                self._finished(request, status, started)
        if self._circuit is not None:
            self._circuit.succeeded()
        if status >= 300:
            raise self._error(request, status, data, response.headers)
        return data

    async def _start_stream(self, request: Request) -> aiohttp.ClientResponse:
        self._admit(request)
        session = self._session or await self._open()
        started = time.perf_counter()
        status = 0
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.limits.connect_timeout, sock_read=self.limits.watch_seconds * 1.2
        )
        try:
            async with asyncio.timeout(self.limits.timeout):
                response = await self._send(session, request, timeout=timeout)
                status = response.status
                data = b"" if status < 300 else await self._read(response, request)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._failed(error)
            raise _classified(error, self.limits) from error
        finally:
            self._finished(request, status, started)
        if self._circuit is not None:
            self._circuit.succeeded()
        if status >= 300:
            response.close()
            raise self._error(request, status, data, response.headers)
        return response

    async def _send(self, session: aiohttp.ClientSession, request: Request, **options: Any) -> aiohttp.ClientResponse:
        headers = CIMultiDict(request.headers)
        headers.update(spans.headers())
        headers["Accept"] = request.accept
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        authorization = await self._source.authorization()
        if authorization:
            headers["Authorization"] = authorization
        query = f"?{urlencode(request.query)}" if request.query else ""
        url = URL(f"{self._endpoint.server}{request.path}{query}", encoded=True)
        return await session.request(
            request.method, url, data=request.body, headers=headers, allow_redirects=False, **self._options, **options
        )

    def _alive(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Raise ``NoPulseError`` inside of this as soon as the cluster is found dead."""
        return self._pulse.call() if self._pulse is not None else contextlib.nullcontext()

    async def _ask_version(self) -> None:
        """Get any answer at all."""
        session = self._session or await self._open()
        url = URL(f"{self._endpoint.server}/version", encoded=True)
        limit = aiohttp.ClientTimeout(total=pulse.ANSWER_WITHIN)
        try:
            async with session.get(url, allow_redirects=False, timeout=limit, **self._options):
                return
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error

    async def _open(self) -> aiohttp.ClientSession:
        """The session, opened by whoever comes first."""
        async with self._opening:
            if self._closed:
                raise errors.Unavailable(f"the connection to cluster {self.cluster} was closed", after=1.0)
            if self._session is None:
                self._endpoint = await self._source.open()
                self._session = self._new_session(self._endpoint)
                self._opened_at = time.monotonic()
            return self._session

    async def _reopen(self) -> bool:
        """Load the credentials afresh, unless that was done just now; old connections stay for calls in flight."""
        async with self._opening:
            if time.monotonic() - self._opened_at < _REOPEN_SECONDS or self._session is None:
                return False
            # Others may be in the middle of a call: one generation back stays open, no more.
            outdated, self._outdated, self._session = self._outdated, self._session, None
        if outdated is not None:
            await outdated.close()
        await self._open()
        return True

    def _new_session(self, endpoint: credentials.Endpoint) -> aiohttp.ClientSession:
        host = URL(endpoint.server).host or ""
        near = host.startswith(_LOOPBACK)
        options: dict[str, Any] = {}
        if endpoint.server_hostname:
            options["server_hostname"] = endpoint.server_hostname
        if endpoint.proxy:
            options["proxy"] = endpoint.proxy
        self._options = MappingProxyType(options)
        connector = aiohttp.TCPConnector(
            limit=0, ssl=endpoint.ssl if endpoint.ssl is not None else True, socket_factory=_kept_alive
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self.limits.timeout, sock_connect=self.limits.connect_timeout),
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity" if near else "gzip"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    def _admit(self, request: Request) -> None:
        if self._closed:
            raise self._unavailable(request, "the connection was closed")
        if self._circuit is not None and (wait := self._circuit.admit()) > 0:
            error = self._unavailable(
                request, f"{self._circuit.last_error}; it failed several times, next try in {max(1, round(wait))} s"
            )
            error.after = wait
            raise error

    def _failed(self, error: BaseException) -> None:
        if self._circuit is None:
            return
        if isinstance(error, pulse.NoPulseError):
            self._circuit.dead(_reason(error, self.limits))
        else:
            self._circuit.failed(_reason(error, self.limits))

    def _finished(self, request: Request, status: int, started: float) -> None:
        if self._on_call is None:
            return
        seconds, kind = time.perf_counter() - started, request.target.kind
        # Discovery asks about groups that a template made up; they must not become labels.
        api_version = request.target.api_version if kind else ""
        self._on_call(FinishedCall(self.cluster, request.verb, status, seconds, api_version, kind))

    def _unavailable(self, request: Request, reason: str) -> errors.Unavailable:
        return errors.Unavailable(
            f"{request.target}: cannot reach {self._endpoint.server or 'the API server'}: {reason}"
        )

    def _error(self, request: Request, status: int, data: bytes, headers: Mapping[str, str]) -> Exception:
        if status < 400:
            return self._unavailable(request, f"it redirects ({status}), so it is no API server")
        try:
            body: Any = orjson.loads(data)
        except orjson.JSONDecodeError:
            body = data.decode("utf-8", "replace")
        after = _retry_after(headers.get("Retry-After"))
        error = errors.from_status(status, body, request.target, after=after)
        # A server that is overloaded (429) did not carry the request out; one that is starting (503) may have.
        again = status == 429 or (status == 503 and after > 0 and request.repeat)
        if again and after <= self.limits.max_retry_after:
            return _Refused(error, after or 1.0)
        return error

    async def _read(self, response: aiohttp.ClientResponse, request: Request) -> bytes:
        """The whole body, bounded also when it comes compressed or without a length."""
        limit = self.limits.max_bytes
        length = response.content_length
        if length is not None and length <= limit and "Content-Encoding" not in response.headers:
            return await response.read()
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > limit:
                response.close()
                raise errors.TooLarge(
                    f"{request.target}: the answer is larger than {limit // (1024 * 1024)} MiB; ask for less, "
                    "by a name or a label selector"
                )
            chunks.append(chunk)
        return b"".join(chunks)

    async def _lines(self, response: aiohttp.ClientResponse, request: Request) -> AsyncGenerator[bytes, None]:
        rest = b""
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n") if rest else chunk.split(b"\n")
            for line in lines:
                if line:
                    yield line
            if len(rest) > self.limits.max_bytes:
                raise errors.TooLarge(f"{request.target}: an event of the watch is larger than the limit")


class _NotSent(Exception):
    """There was no connection; ``worth_repeating`` when the server seems to be restarting."""

    def __init__(self, reason: str, *, worth_repeating: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.worth_repeating = worth_repeating


class _Broken(Exception):
    """The connection broke or nothing came back in time; nobody knows whether the request was carried out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _classified(error: BaseException, limits: Limits) -> _NotSent | _Broken:
    reason = _reason(error, limits)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _NotSent(reason, worth_repeating=isinstance(error.os_error, ConnectionRefusedError))
    return _Broken(reason)


def _reason(error: BaseException, limits: Limits) -> str:
    """What went wrong with a connection, in a few words."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"TLS: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        # In the words of the system; asyncio puts its own in their place.
        said = os.strerror(error.os_error.errno) if error.os_error.errno else str(error.os_error)
        return said.lower()
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {limits.connect_timeout:g} s"
    if isinstance(error, TimeoutError) and not isinstance(error, pulse.NoPulseError):
        return f"no answer within {limits.timeout:g} s"
    return str(error) or type(error).__name__


def _cut(response: aiohttp.ClientResponse) -> None:
    """Close the connection of an answer that goes on, without waiting for the farewell that TLS asks the server for."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


def _retry_after(value: str | None) -> float:
    """A Retry-After header in seconds; API servers send whole seconds, never a date."""
    return float(value) if value is not None and value.isdecimal() else 0.0


def _kept_alive(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices within half a minute that its peer is gone; a watch would wait for ever otherwise."""
    family, kind, protocol = address[:3]
    result = socket.socket(family=family, type=kind, proto=protocol)
    result.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            result.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    return result
