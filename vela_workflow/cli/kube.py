"""The API server, as far as commands need it: a thin layer over pykube-ng, and the only module that imports it.

pykube brings the session, TLS and log-ins of a kubeconfig; requests are made straight on its ``HTTPClient``, because
its object classes copy every object and have neither server-side apply nor status patches nor resumable watches.
Objects are the JSON the server sends. Everything that can go wrong comes out as one of ``cli.errors``.
"""

from __future__ import annotations

import json
import re
import ssl
import time
import urllib.parse
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import requests
import requests.utils
import urllib3

from vela_workflow import __version__
from vela_workflow.api import constants
from vela_workflow.cli import kubeconfig, output
from vela_workflow.cli.errors import (
    AlreadyExists,
    ApiError,
    CommandError,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    TimedOut,
    Unreachable,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # pykube is quiet since 2023, Python is not
    import pykube

JSON = dict[str, Any]

FIELD_MANAGER: Final = "vela-workflow-cli"
REQUEST_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 10.0
LIST_CHUNK: Final = 500
WATCH_SECONDS: Final = 300
"""How long one watch lasts before it is asked for again; a proxy in between may cut longer ones without a word."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Where objects of a kind are."""

    api_version: str
    plural: str
    namespaced: bool = True

    @property
    def full_name(self) -> str:
        """As kubectl prints it: ``workflowruns.core.oam.dev``."""
        group, _, version = self.api_version.rpartition("/")
        return f"{self.plural}.{group}" if group and version else self.plural


def of(kind: constants.Kind) -> Resource:
    """The resource of one of our kinds."""
    return Resource(kind.api_version, kind.plural)


RUNS: Final = of(constants.WORKFLOW_RUN)
WORKFLOWS: Final = of(constants.WORKFLOW)
CONFIG_MAPS: Final = Resource("v1", "configmaps")
PODS: Final = Resource("v1", "pods")
NAMESPACES: Final = Resource("v1", "namespaces", namespaced=False)
CRDS: Final = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False)

_WARNING: Final = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_CONFLICTS: Final[dict[str, type[ApiError]]] = {"AlreadyExists": AlreadyExists, "Conflict": Conflict}


class Deadline:
    """An end of waiting, ``seconds`` from now; ``None`` waits for ever."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds that are left, not below 0; ``None`` for ever."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def check(self, message: str) -> None:
        """Raise ``TimedOut`` with ``message`` when the time is over."""
        if self.left == 0:
            raise TimedOut(message)


class Kube:
    """One API server, as one user.

    ``namespace`` is where a command works unless it says otherwise; ``chosen_namespace`` is empty unless it was asked
    for by the user, rather than taken from the kubeconfig.
    """

    def __init__(self, path: str = "", context: str = "", namespace: str = "") -> None:
        self._source = (path, context)
        self._access = kubeconfig.load(path, context)
        self.chosen_namespace = namespace
        self.namespace = namespace or self._access.namespace
        self._http = self._client()
        self._warned: set[str] = set()

    def __enter__(self) -> Kube:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.session.close()

    @property
    def server(self) -> str:
        """The address of the API server."""
        return self._access.server

    def get(self, resource: Resource, name: str, namespace: str = "") -> JSON:
        """One object; raises ``NotFound``."""
        return self._json("GET", resource, namespace, name)

    def get_or_none(self, resource: Resource, name: str, namespace: str = "") -> JSON | None:
        """One object, or ``None`` when it does not exist."""
        try:
            return self.get(resource, name, namespace)
        except NotFound:
            return None

    def list(
        self, resource: Resource, namespace: str | None = "", *, labels: str = "", fields: str = ""
    ) -> Iterator[JSON]:
        """Objects that the selectors choose, read in chunks; ``namespace`` ``None`` means all of them."""
        params: dict[str, Any] = {"limit": LIST_CHUNK}
        params |= {key: text for key, text in (("labelSelector", labels), ("fieldSelector", fields)) if text}
        while True:
            page = self._json("GET", resource, namespace, params=params)
            for item in page.get("items") or ():
                item.setdefault("apiVersion", page["apiVersion"])
                item.setdefault("kind", page["kind"].removesuffix("List"))
                yield item
            following = page["metadata"].get("continue")
            if not following:
                return
            params["continue"] = following

    def create(self, resource: Resource, body: JSON, namespace: str = "") -> JSON:
        """Create an object; raises ``AlreadyExists``. A field that its kind does not have is an error."""
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return self._json("POST", resource, namespace, params=params, body=body)

    def apply(self, resource: Resource, body: JSON, namespace: str = "", *, dry_run: bool = False) -> JSON:
        """Server-side apply: the fields of ``body`` become as it says, whoever set them before."""
        params = {"fieldManager": FIELD_MANAGER, "force": "true", **({"dryRun": "All"} if dry_run else {})}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        name = str(body["metadata"]["name"])
        return self._json("PATCH", resource, namespace, name, params=params, body=body, headers=headers)

    def patch(self, resource: Resource, name: str, body: JSON, namespace: str = "", *, subresource: str = "") -> JSON:
        """A JSON merge patch; raises ``Conflict`` when the ``resourceVersion`` in it is not the newest."""
        headers = {"Content-Type": "application/merge-patch+json"}
        params = {"fieldManager": FIELD_MANAGER}
        return self._json("PATCH", resource, namespace, name, subresource, params=params, body=body, headers=headers)

    def delete(self, resource: Resource, name: str, namespace: str = "") -> None:
        """Delete an object and, in the background, what it owns; raises ``NotFound``."""
        self._json("DELETE", resource, namespace, name, params={"propagationPolicy": "Background"})

    def watch(
        self, resource: Resource, name: str, namespace: str, *, since: str, seconds: float | None
    ) -> Iterator[tuple[str, JSON]]:
        """Events of one object after version ``since``, as (type, object), until the server or ``seconds`` end it.

        Raises ``Gone`` when ``since`` is too old.
        """
        limit = WATCH_SECONDS if seconds is None else min(WATCH_SECONDS, max(1, int(seconds + 0.999)))
        params = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": since,
            "timeoutSeconds": str(limit),
        }
        for line in self.lines(resource, namespace, params=params, idle_seconds=limit + REQUEST_SECONDS):
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise _error(int(event["object"].get("code") or 500), event["object"], self.server)
            yield event["type"], event["object"]

    def lines(
        self,
        resource: Resource,
        namespace: str,
        name: str = "",
        subresource: str = "",
        *,
        params: Mapping[str, Any],
        idle_seconds: float | None,
    ) -> Iterator[bytes]:
        """The lines of a streamed answer as they come; ``idle_seconds`` without a byte are an error."""
        response = self._request(
            "GET", resource, namespace, name, subresource, params=params, stream=True, read_seconds=idle_seconds
        )
        rest = b""
        try:
            for chunk in response.iter_content(chunk_size=None):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line for line in whole if line or subresource)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Unreachable(f"the connection to {self.server} broke: {_cause(error)}") from None
        finally:
            response.close()
        if rest:
            yield rest

    def discover(self, api_version: str, kind: str) -> Resource:
        """Find what a kind is called in URLs; raises ``CommandError`` when the server does not know it."""
        found = self.discover_or_none(api_version, kind)
        if found is None:
            raise CommandError(f"the cluster has no kind {kind} in {api_version}{_install_hint(api_version)}")
        return found

    def discover_or_none(self, api_version: str, kind: str) -> Resource | None:
        """What a kind is called in URLs, or ``None`` when the server does not know it. Every user may ask that."""
        try:
            found = self._answer("GET", api_version, [])
        except NotFound:
            return None
        for one in found.get("resources") or ():
            if one["kind"] == kind and "/" not in one["name"]:
                return Resource(api_version, one["name"], bool(one["namespaced"]))
        return None

    def server_version(self) -> str:
        """The version of Kubernetes, such as ``v1.34.4``."""
        return str(self._answer("GET", "", [], base="/version").get("gitVersion") or "")

    def _client(self) -> pykube.HTTPClient:
        access = self._access
        client = pykube.HTTPClient(pykube.KubeConfig(access.document()), timeout=REQUEST_SECONDS)
        session = client.session
        # A ~/.netrc would win over the kubeconfig; of the environment only the proxies count.
        session.trust_env = False
        proxies = {"http": access.proxy, "https": access.proxy}
        session.proxies = proxies if access.proxy else requests.utils.get_environ_proxies(access.server)
        session.verify = ssl.get_default_verify_paths().cafile or True
        if access.cluster.get("insecure-skip-tls-verify"):
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        session.headers.update({"User-Agent": f"vela-workflow/{__version__}", **access.headers})
        return client

    def _json(
        self, method: str, resource: Resource, namespace: str | None, name: str = "", subresource: str = "", **more: Any
    ) -> JSON:
        answer: JSON = self._request(method, resource, namespace, name, subresource, **more).json()
        return answer

    def _answer(self, method: str, api_version: str, parts: Sequence[str], **more: Any) -> JSON:
        answer: JSON = self._send(method, api_version, parts, **more).json()
        return answer

    def _request(
        self, method: str, resource: Resource, namespace: str | None, name: str = "", subresource: str = "", **more: Any
    ) -> requests.Response:
        parts = [resource.plural, name, subresource]
        if resource.namespaced and namespace is not None:
            parts = ["namespaces", namespace or self.namespace, *parts]
        for part in parts:
            if "/" in part or part in {".", ".."}:
                raise CommandError(f'"{part}" cannot be the name of anything')
        try:
            return self._send(method, resource.api_version, [part for part in parts if part], **more)
        except NotFound as error:
            if error.what and error.what == name and resource.namespaced:
                place = f"in namespace {namespace or self.namespace}"
                text = f'{resource.full_name} "{name}" not found {place}'
                raise NotFound(text, code=error.code, what=name) from None
            if error.what:
                raise
            hint = _install_hint(resource.api_version)
            raise NotFound(f"the cluster does not know {resource.full_name}{hint}", code=error.code) from None

    def _send(
        self,
        method: str,
        api_version: str,
        parts: Sequence[str],
        *,
        base: str = "",
        params: Mapping[str, Any] | None = None,
        body: JSON | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        read_seconds: float | None = REQUEST_SECONDS,
    ) -> requests.Response:
        """One request, again with fresh credentials when the server does not accept those we have."""
        options: JSON = {
            "version": api_version,
            "url": "/".join(urllib.parse.quote(part, safe="") for part in parts),
            "params": dict(params or {}),
            "headers": {"Accept": "application/json", "Content-Type": "application/json", **(headers or {})},
            "stream": stream,
            "timeout": (CONNECT_SECONDS, read_seconds),
        }
        if base:
            options["base"] = base
        if body is not None:
            options["data"] = json.dumps(body).encode()
        response = self._try(method, options)
        if response.status_code == 401 and self._access.renewable:
            self.close()
            self._access = kubeconfig.load(*self._source)
            self._http = self._client()
            response = self._try(method, options)
        for warning in _warnings(response.headers.get("Warning", "")):
            if warning not in self._warned:
                self._warned.add(warning)
                output.tell(f"warning: {warning}")
        if not response.ok:
            raise _error(response.status_code, _status(response), self.server)
        return response

    def _try(self, method: str, options: JSON) -> requests.Response:
        try:
            response: requests.Response = self._http.request(method, **options)
        except requests.exceptions.SSLError as error:
            raise Unreachable(f"TLS with {self.server} failed: {_cause(error)}") from None
        except requests.exceptions.Timeout:
            raise Unreachable(f"the API server at {self.server} does not answer in time") from None
        except requests.RequestException as error:
            raise Unreachable(f"cannot reach the API server at {self.server}: {_cause(error)}") from None
        except (pykube.exceptions.PyKubeError, NotImplementedError, ImportError) as error:
            raise CommandError(f"cannot log in with this kubeconfig: {error}") from None
        return response


def _status(response: requests.Response) -> JSON:
    try:
        status = response.json()
    except requests.exceptions.JSONDecodeError:
        status = None
    finally:
        response.close()
    return status if isinstance(status, dict) else {"message": response.reason or ""}


def _warnings(header: str) -> Iterator[str]:
    """What the API server and its webhooks want to be known although they do as asked (RFC 7234, code 299)."""
    for quoted in _WARNING.findall(header):
        yield re.sub(r"\\(.)", r"\1", quoted)


def _error(code: int, status: JSON, server: str) -> ApiError:
    message = " ".join(str(status.get("message") or f"the API server answered {code}").split())
    if code == 401:
        return ApiError(f"{server} does not accept these credentials: {message}", code=code)
    if code == 409:
        return _CONFLICTS.get(str(status.get("reason")), Conflict)(message, code=code)
    if code == 404:
        return NotFound(message, code=code, what=str((status.get("details") or {}).get("name") or ""))
    return {403: Forbidden, 410: Gone}.get(code, ApiError)(message, code=code)


def _cause(error: BaseException) -> str:
    """The innermost reason that the system gives, below the nested errors of requests and urllib3."""
    found, seen = str(error), [error]
    for one in seen:
        if isinstance(one, OSError) and one.strerror:
            found = str(one.strerror)
        inner = (getattr(one, "reason", None), *one.args, one.__cause__, one.__context__)
        seen += [other for other in inner if isinstance(other, BaseException) and other not in seen]
    return found or type(error).__name__


def _install_hint(api_version: str) -> str:
    ours = api_version.partition("/")[0] in {constants.GROUP, constants.PACKAGE_GROUP}
    return "; are the CRDs there? `vela-workflow install` puts them in" if ours else ""
