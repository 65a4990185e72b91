"""A reverse proxy in front of a real API server that lets tests decide about every request.

The operator under test talks plain HTTP to it; what is forwarded is real, answers are real. A *rule* is asked before
each write in one namespace is forwarded, and tells what happens to it: nothing special, refused, lost before it
arrives, lost on the way back, or preceded by somebody else's change (which makes the server's own conflict). Watches
can be cut, and held back so that the operator sees an old world; reads can be held back, too.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import enum
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

JSON = dict[str, Any]

TURNS_TO_CLOSE = 10
"""Turns of the event loop within which connections that were aborted are closed."""

NOTHING = "\0"
"""Is part of no path."""

FORWARDED = ("Accept", "Authorization", "Content-Type", "User-Agent")


class Fate(enum.Enum):
    """What happens to a write."""

    PASS = "is forwarded"
    BEFORE = "is lost before it arrives"
    AFTER = "is carried out, but its answer is lost"


@dataclasses.dataclass(frozen=True, slots=True)
class Write:
    """A request that changes something; ``number`` counts from 1 since the last ``Proxy.follow``."""

    number: int
    method: str
    path: str

    def __str__(self) -> str:
        parts = self.path.partition("/namespaces/")[2].split("/")
        return f"{self.method} {'/'.join(parts[1:])}"


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is given in the place of the API server's: an HTTP status, or an event that ends a watch.

    ``retry_after`` are the seconds for which it asks to wait.
    """

    code: int
    reason: str
    in_stream: bool = False
    retry_after: int = 0

    @property
    def body(self) -> JSON:
        """What the API server would send."""
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": self.code}
        status |= {"reason": self.reason, "message": f"refused by the test: {self.reason}"}
        return {"type": "ERROR", "object": status} if self.in_stream else status


Rule = Callable[[Write], Fate | Refusal]
Witness = Callable[[Write], None]


def forward(write: Write) -> Fate:
    """The rule that changes nothing."""
    return Fate.PASS


def look_away(write: Write) -> None:
    """The witness that does nothing."""


class Proxy:
    """The proxy, in a thread of its own; use it as a context manager."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        config = json.loads(kubeconfig.read_text(encoding="utf-8"))
        cluster = config["clusters"][0]["cluster"]
        self._config = config
        self._target: str = cluster["server"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        self._part = f"/namespaces/{namespace}/"
        self._rule: Rule = forward
        self._witness: Witness = look_away
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._watches: set[asyncio.Task[Any]] = set()
        self._flow = asyncio.Event()
        self._held = self._held_reads = NOTHING
        self._to_refuse: tuple[str, Refusal] | None = None
        self.writes: list[Write] = []
        self.refused = self.held = 0
        self.url = ""

    def __enter__(self) -> Proxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here, for the same user."""
        cluster = {"name": "proxy", "cluster": {"server": self.url}}
        context = {**self._config["contexts"][0]["context"], "cluster": "proxy"}
        config = {
            **self._config,
            "clusters": [cluster],
            "contexts": [{"name": "proxy", "context": context}],
            "current-context": "proxy",
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    # What tests do.

    def follow(self, rule: Rule = forward, witness: Witness = look_away) -> None:
        """Ask ``rule`` about every write from now on, tell ``witness`` when it was carried out, count them anew."""
        with self._lock:
            self._rule, self._witness = rule, witness
            self.writes = []

    def cut_watches(self) -> int:
        """Break all watches that are open, as a network does; returns how many there were."""

        async def cut() -> int:
            found = list(self._watches)
            for task in found:
                task.cancel()
            return len(found)

        return asyncio.run_coroutine_threadsafe(cut(), self._loop).result()

    def hold_watches(self, part: str) -> None:
        """Let no event through, of watches with ``part`` in their path, until ``release``."""

        async def hold() -> None:
            self._held = part
            self._flow.clear()

        asyncio.run_coroutine_threadsafe(hold(), self._loop).result()

    def hold_reads(self, part: str) -> None:
        """Let no read with ``part`` in its path through until ``release``; ``held`` counts those that wait."""

        async def hold() -> None:
            self._held_reads, self.held = part, 0
            self._flow.clear()

        asyncio.run_coroutine_threadsafe(hold(), self._loop).result()

    def release(self) -> None:
        """Let all through, of events those that were held back first."""

        async def release() -> None:
            self._held = self._held_reads = NOTHING
            self._flow.set()

        asyncio.run_coroutine_threadsafe(release(), self._loop).result()

    def refuse(self, part: str, refusal: Refusal) -> None:
        """Answer all reads with ``part`` in their path so, until ``admit``; watches that are open are broken.

        A refusal ``in_stream`` meets watches only. ``refused`` counts the answers since.
        """

        async def refuse() -> None:
            self._to_refuse, self.refused = (part, refusal), 0

        asyncio.run_coroutine_threadsafe(refuse(), self._loop).result()
        self.cut_watches()

    def admit(self) -> None:
        """Refuse nothing any longer."""

        async def admit() -> None:
            self._to_refuse = None

        asyncio.run_coroutine_threadsafe(admit(), self._loop).result()

    # How it works.

    async def _open(self) -> None:
        self._flow.set()
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        application = web.Application(client_max_size=1 << 26)
        application.router.add_route("*", "/{path:.*}", self._serve)
        # A handler ends when its client goes away, as killed ones do in the middle of a watch.
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"

    async def _close(self) -> None:
        for task in list(self._watches):
            task.cancel()
        await self._runner.cleanup()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        connector = self._session.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        await connector.close(abort_ssl=True)
        await self._session.close()
        for _ in range(TURNS_TO_CLOSE):
            await asyncio.sleep(0)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            self.refused += 1
            return web.json_response(refusal.body, status=200 if refusal.in_stream else refusal.code)
        if "watch" in request.query:
            return await self._watch(request)
        body = await request.read()
        write = self._count(request)
        if request.method == "GET" and self._held_reads in request.path:
            self.held += 1
            await self._flow.wait()
        # Rules and witnesses may take their time: they kill processes and change objects.
        fate = await asyncio.to_thread(self._rule, write) if write else Fate.PASS
        if isinstance(fate, Refusal):
            headers = {"Retry-After": str(fate.retry_after)} if fate.retry_after else None
            return web.json_response(fate.body, status=fate.code, headers=headers)
        if fate is Fate.BEFORE:
            return _lost(request)
        async with self._asked(request, body) as answer:
            content = await answer.read()
            if write:
                await asyncio.to_thread(self._witness, write)
            if fate is Fate.AFTER:
                return _lost(request)
            return web.Response(body=content, status=answer.status, headers=_kept(answer))

    def _count(self, request: web.Request) -> Write | None:
        """The write that a request is; ``None`` for reads, Events and other namespaces."""
        path = request.path
        if request.method == "GET" or self._part not in path or f"{self._part}events" in path:
            return None
        with self._lock:
            write = Write(len(self.writes) + 1, request.method, path)
            self.writes.append(write)
        return write

    def _refusal(self, request: web.Request) -> Refusal | None:
        if self._to_refuse is None or request.method != "GET":
            return None
        part, refusal = self._to_refuse
        if part not in request.path or (refusal.in_stream and "watch" not in request.query):
            return None
        return refusal

    @contextlib.asynccontextmanager
    async def _asked(self, request: web.Request, body: bytes | None) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request; one that is broken off takes its connection with it."""
        async with self._send(request, body) as answer:
            try:
                yield answer
            except BaseException:
                if answer.connection is not None and answer.connection.transport is not None:
                    answer.connection.transport.abort()
                raise

    def _send(self, request: web.Request, body: bytes | None) -> Any:
        headers = {name: request.headers[name] for name in FORWARDED if name in request.headers}
        headers["Accept-Encoding"] = "identity"
        return self._session.request(
            request.method,
            self._target + request.raw_path,
            data=body or None,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            async with self._asked(request, None) as answer:
                response = web.StreamResponse(status=answer.status, headers=_kept(answer))
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    if self._held in request.path:
                        await self._flow.wait()
                    await response.write(chunk)
                return response
        except ConnectionError:
            return _lost(request)
        except asyncio.CancelledError:
            return _lost(request)
        finally:
            self._watches.discard(task)


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name: answer.headers[name] for name in ("Content-Type", "Retry-After") if name in answer.headers}


def _lost(request: web.Request) -> web.Response:
    """Break the connection: the client gets no answer at all."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
