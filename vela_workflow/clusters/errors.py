"""What can go wrong with a call of an API server, told to the person who has to deal with it.

Every refusal is a ``Transient``: by decisions 9 a step that meets one is tried again, some (403, 422) not sooner than
five seconds later. The text names the object the way people do (``apps/v1 Deployment default/web``), the cluster when
it is not the local one, and then what the server said, without repeating the object. What a server says about a Secret
may quote the Secret, so for Secrets only field paths and fixed words are passed on (decisions 18).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from vela_workflow.errors import Transient

LOCAL = "local"
"""The name of the cluster where the operator runs; the empty name means the same."""

REFUSED_AFTER = 5.0
"""Seconds before a 403 or 422 is tried again (decisions 9)."""


class Target(NamedTuple):
    """What a call was about; ``cluster`` is empty for the local one."""

    cluster: str
    api_version: str
    kind: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        place = "/".join(part for part in (self.namespace, self.name) if part)
        words = " ".join(part for part in (self.api_version, self.kind, place) if part)
        return f"cluster {self.cluster}: {words}" if self.cluster not in ("", LOCAL) else words


class ApiError(Transient):
    """A call failed. ``status`` is the HTTP status (0 when there was no answer), ``reason`` the server's own word.

    ``details`` is the ``details`` part of the server's Status object; for Secrets without the texts in it.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        after: float = 0.0,
    ) -> None:
        super().__init__(message, after=after)
        self.status = status
        self.reason = reason
        self.details: Mapping[str, Any] = details or {}


class NotFound(ApiError):
    """404: there is no such object (or no such namespace to create one in)."""


class UnknownKind(ApiError):
    """The server does not serve this kind, also after its discovery was asked again."""


class AlreadyExists(ApiError):
    """409: an object of that name exists."""


class Conflict(ApiError):
    """409: somebody changed the object in between, or owns a field that was to be applied without force."""


class Unprocessable(ApiError):
    """422, or another answer which says that the content of the object is not acceptable."""


class Forbidden(ApiError):
    """403: the rights of the operator (or of the user it acts for) do not allow it."""


class Unauthorized(ApiError):
    """401: the server does not accept the credentials."""


class TooManyRequests(ApiError):
    """429: the server asks to slow down; ``after`` is the number of seconds it asks for."""


class Gone(ApiError):
    """410: a resourceVersion or a continue token is too old; list again."""


class TooLarge(ApiError):
    """The answer is larger than the limit, or the server found the request too large (413)."""


class Unavailable(ApiError):
    """No useful answer: network, DNS, TLS, time-out, 5xx, or an open circuit breaker."""

    most = 5.0  # to ask costs little, and what waits for the answer waits no longer than that when the server is back


class NotJoined(Unavailable):
    """There is no cluster of that name."""


REFUSALS = (Forbidden, Unprocessable, TooLarge)
"""The server, or what stands in front of it, does not want a write: rights, a quota, a policy, a webhook, a limit."""

_BY_REASON: dict[str, type[ApiError]] = {"AlreadyExists": AlreadyExists, "Expired": Gone}
_BY_STATUS: dict[int, type[ApiError]] = {
    400: Unprocessable,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    422: Unprocessable,
    429: TooManyRequests,
}
_WORDS: dict[type[ApiError], str] = {
    AlreadyExists: "already exists",
    Conflict: "conflict",
    Forbidden: "forbidden",
    Gone: "too old",
    NotFound: "not found",
    TooLarge: "too large",
    TooManyRequests: "the API server asks to slow down",
    Unauthorized: "the API server does not accept the credentials",
    Unavailable: "the API server failed",
    Unprocessable: "invalid",
}
_AFTER: dict[type[ApiError], float] = {Forbidden: REFUSED_AFTER, Unprocessable: REFUSED_AFTER}

# Texts of these never quote what the caller sent, so they may be shown for Secrets too.
_QUOTE_NOTHING: frozenset[type[ApiError]] = frozenset({NotFound, AlreadyExists, Gone, TooManyRequests, Unauthorized})

_SUBJECT = re.compile(
    r'^(?:Operation cannot be fulfilled on )?\S+ "[^"]*"(?: is invalid| is forbidden| not found| already exists|):? ?',
    re.S,
)
_RBAC = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)"|(?P<everywhere> at the cluster scope))?'
)
_UNDECLARED = re.compile(
    r"failed to create (?:typed|manager for existing|typed patch|typed live) \S*|field not declared in schema"
)
_RENDERED = re.compile(r"^(\w+ value: )[\w.&*]*[{\[].*[}\]](?=: )", re.S)
"""In the message of a cause: a value that is no scalar, as JSON or as Go writes it, with a reason behind it."""
_EXCERPT = 300


def from_status(http_status: int, body: Any, target: Target, *, after: float = 0.0) -> ApiError:
    """The error for an answer of ``http_status``, whose body is a Status object or (from a proxy) something else.

    ``after`` is the Retry-After of the answer in seconds, 0 when there was none.
    """
    status = body if isinstance(body, dict) else {}
    code = http_status if http_status >= 400 else _code(status.get("code"))
    reason = str(status.get("reason") or "")
    text = str(status.get("message") or "") if status else str(body or "")[:_EXCERPT]
    details: Mapping[str, Any] = status["details"] if isinstance(status.get("details"), dict) else {}
    error = _class(code, reason, text)
    sensitive = target.kind == "Secret"
    if sensitive:
        details = _without_texts(details)
    return error(
        _message(error, code, text, details, target, sensitive=sensitive),
        status=code,
        reason=reason,
        details=details,
        after=max(after, _AFTER.get(error, 0.0)),
    )


def _code(value: Any) -> int:
    return value if isinstance(value, int) and value >= 400 else 500


def _class(code: int, reason: str, text: str) -> type[ApiError]:
    if code == 500 and _UNDECLARED.search(text):
        # Server-side apply answers 500 where it means that the object does not fit the schema of its kind.
        return Unprocessable
    if code >= 500:
        return Unavailable
    return _BY_REASON.get(reason) or _BY_STATUS.get(code) or ApiError


def _message(
    error: type[ApiError], code: int, text: str, details: Mapping[str, Any], target: Target, *, sensitive: bool
) -> str:
    words = _WORDS.get(error, "refused")
    if error is Unavailable or error is ApiError:
        words = f"{words} ({code})"
    said = _rbac(text) if error is Forbidden else ""
    if not said and sensitive and error not in _QUOTE_NOTHING:
        said = _field_paths(details)
    elif not said:
        said = _without_subject(_without_objects(text, details), error, details, target)
    return f"{target}: {words}: {said}" if said else f"{target}: {words}"


def _without_objects(text: str, details: Mapping[str, Any]) -> str:
    """``text`` without the objects that it quotes: they hide what is wrong with them, and tell what is in them."""
    for cause in _causes(details):
        said = str(cause.get("message") or "")
        text = text.replace(said, _RENDERED.sub(r"\1{…}", said))
    return text


def _without_subject(text: str, error: type[ApiError], details: Mapping[str, Any], target: Target) -> str:
    if details.get("name") == target.name or not details.get("name"):
        rest = _SUBJECT.sub("", text, count=1).strip()
        return "" if rest.lower().rstrip(".") == _WORDS.get(error, "") else rest
    return text


def _rbac(text: str) -> str:
    """The refusal of the RBAC authoriser in the words of somebody who writes a Role; empty when it is another's."""
    match = _RBAC.search(text)
    if match is None:
        return ""
    user = match["user"]
    if user.startswith("system:serviceaccount:"):
        user = "ServiceAccount " + "/".join(user.split(":")[2:])
    else:
        user = f"User {user}"
    resource = ".".join(part for part in (match["resource"], match["group"]) if part)
    scope = f" in namespace {match['namespace']}" if match["namespace"] else ""
    scope = " in the whole cluster" if match["everywhere"] else scope
    return f"{user} cannot {match['verb']} {resource}{scope}"


def _causes(details: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    causes = details.get("causes")
    return [cause for cause in causes if isinstance(cause, dict)] if isinstance(causes, list) else []


def _field_paths(details: Mapping[str, Any]) -> str:
    fields = [str(cause["field"]) for cause in _causes(details) if cause.get("field")]
    return ", ".join(dict.fromkeys(fields))


def _without_texts(details: Mapping[str, Any]) -> dict[str, Any]:
    safe = {key: details[key] for key in ("name", "group", "kind", "uid", "retryAfterSeconds") if key in details}
    causes = [{key: cause[key] for key in ("reason", "field") if key in cause} for cause in _causes(details)]
    return {**safe, "causes": causes} if causes else safe
