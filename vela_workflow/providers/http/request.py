"""From the arguments of ``#HTTPDo`` to a request that is ready to be sent (ops 3.3)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import multidict
import yarl

from vela_workflow import errors
from vela_workflow.providers import arguments, secrets
from vela_workflow.providers.contract import JSON, Call, Effect
from vela_workflow.providers.http import limiter, tls

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
TIMEOUT: Final = timedelta(seconds=3)
"""Time limit for a whole request that does not set one."""

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
LIMITER: Final = limiter.Limiter()


@dataclass(frozen=True, slots=True)
class Request:
    """A request. ``private`` names the headers that came from Secrets, ``sensitive`` tells that any Secret was used."""

    method: str
    url: yarl.URL
    headers: multidict.CIMultiDict[str]
    body: bytes | None
    timeout: timedelta
    tls: ssl.SSLContext | None
    private: frozenset[str]
    sensitive: bool
    once: bool
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Method and URL for messages: without user, query and fragment, which may hold credentials."""
        return f"{self.method} {self.url.with_user(None).with_query(None).with_fragment(None)}"


class UnusableURL(errors.Terminal):
    """The URL leads nowhere, so nothing can be sent."""


def tolerant(args: JSON) -> bool:
    """Whether a request that gets no answer is a result with ``err`` instead of an error.

    Raises ``Terminal`` when ``request.tolerant`` is no boolean.
    """
    found = (arguments.optional_struct(args, "request") or {}).get("tolerant", False)
    if not isinstance(found, bool):
        raise arguments.wrong(f"request.tolerant must be true or false, not {found!r}")
    return found


def effect(args: JSON) -> Effect:
    """GET, HEAD and what asks to be repeated may be sent at every look at the step, anything else once."""
    if args.get("repeat") is True or args.get("method", "GET") in ("GET", "HEAD"):
        return Effect.READ
    return Effect.ONCE


async def prepare(call: Call) -> Request:
    """Read the arguments, and the Secrets that they name.

    Raises ``Terminal`` for arguments that make no request and ``Transient`` when the rate limiter or a Secret stands in
    the way. Nothing has been sent in either case.
    """
    args = call.args
    method = arguments.optional_text(args, "method") or "GET"
    if method not in METHODS:
        raise arguments.wrong(f"method must be one of {', '.join(METHODS)}, not {method}")
    url = _url(arguments.text(args, "url"))
    request = arguments.optional_struct(args, "request") or {}
    written = arguments.optional_text(request, "timeout", where="request")
    timeout = arguments.duration(written, where="request.timeout") if written else TIMEOUT
    if timeout <= timedelta(0):
        raise arguments.wrong(f"request.timeout must be longer than nothing, not {written}")
    body = arguments.optional_text(request, "body", where="request")
    _limit(method, url, request)
    once = effect(args) is Effect.ONCE
    headers = _headers(call, request, once=once)
    private = await _private_headers(call, request)
    for name, value in private.items():
        headers[name] = value
    tls_config = arguments.optional_struct(args, "tls_config")
    return Request(
        method=method,
        url=url,
        headers=headers,
        body=body.encode() if body else None,
        timeout=timeout,
        tls=await _tls(call, tls_config) if tls_config is not None else None,
        private=frozenset(name.lower() for name in private),
        sensitive=bool(private) or tls_config is not None,
        once=once,
        warnings=("request.trailer is not sent: bodies are sent whole, with their length",)
        if request.get("trailer")
        else (),
    )


def _url(text: str) -> yarl.URL:
    try:
        url = yarl.URL(text)
    except ValueError as error:
        raise UnusableURL(f"url: {error}", reason=arguments.REASON) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise UnusableURL("url must begin with http:// or https:// and name a host", reason=arguments.REASON)
    return url


def _limit(method: str, url: yarl.URL, request: Mapping[str, Any]) -> None:
    name = "rateLimiter" if "rateLimiter" in request else "ratelimiter"
    settings = arguments.optional_struct(request, name, where="request")
    if settings is None:
        return
    where = f"request.{name}"
    limit = arguments.integer(settings, "limit", where=where)
    period = arguments.duration(arguments.text(settings, "period", where=where), where=f"{where}.period")
    if limit < 1 or period <= timedelta(0):
        raise arguments.wrong(f"{where}: limit and period must be greater than 0")
    now = asyncio.get_running_loop().time()
    wait = LIMITER.take(f"{method}-{url.with_query(None)}", limit, period.total_seconds(), now)
    if wait > 0:
        raise errors.Transient("request exceeds the rate limiter", after=wait)


def _headers(call: Call, request: Mapping[str, Any], *, once: bool) -> multidict.CIMultiDict[str]:
    given = arguments.optional_struct(request, "header", where="request") or {}
    headers = multidict.CIMultiDict[str]()
    for name in given:
        headers[name] = _clean(arguments.optional_text(given, name, where="request.header"), name)
    if not headers:
        headers["Content-Type"] = "application/json"
    if once:
        headers.setdefault(IDEMPOTENCY_KEY, call.key)
    return headers


async def _private_headers(call: Call, request: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for index, entry in enumerate(arguments.items(request, "headersFromSecret", where="request")):
        where = f"request.headersFromSecret[{index}]"
        if not isinstance(entry, dict):
            raise arguments.wrong(f"{where} must be a struct")
        name, secret_name, key = (arguments.text(entry, part, where=where) for part in ("header", "secret", "key"))
        secret = await secrets.read(call, secret_name, purpose=f'header "{name}"')
        value = secret.get(key)
        if value is None:
            raise errors.Transient(f'key "{key}" not found in secret "{secret_name}" for header "{name}"')
        # A value that was made with `echo | base64` ends in a line feed, which no header can hold.
        found[name] = _clean(value.decode("utf-8", "replace").strip("\r\n"), name)
    return found


def _clean(value: str, name: str) -> str:
    if any(character in value or character in name for character in "\r\n\0"):
        raise arguments.wrong(f'header "{name.splitlines()[0]}" has a line break in its name or value')
    return value


async def _tls(call: Call, settings: JSON) -> ssl.SSLContext:
    name = arguments.text(settings, "secret", where="tls_config")
    return await tls.context(call, name, arguments.optional_text(settings, "namespace", where="tls_config"))
