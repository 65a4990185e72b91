"""A small synchronous client of a Kubernetes API server, for the local cluster and for tests.

It takes and returns plain JSON and finds out by discovery what a kind is called. It is not what the operator uses.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

JSON = dict[str, Any]
FIELD_MANAGER = "vela-workflow-tools"


class ApiError(Exception):
    """The server refused; ``code`` is the HTTP status, ``body`` its Status object (or ``{}``)."""

    def __init__(self, code: int, body: JSON, request: str) -> None:
        super().__init__(f"{request}: {code} {body.get('message', '')}".rstrip())
        self.code = code
        self.body = body


class Api:
    """One API server, as one user."""

    def __init__(self, url: str, *, ca: str = "", token: str = "", client: tuple[str, str] | None = None) -> None:
        """``ca`` is PEM text; ``client`` is a certificate and its key as PEM text."""
        self.url = url.rstrip("/")
        self.token = token
        self._context = ssl.create_default_context(cadata=ca or None)
        if client is not None:
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:  # the ssl module reads files only
                pem.write("\n".join(client))
                pem.flush()
                self._context.load_cert_chain(pem.name)
        self._resources: dict[str, dict[str, JSON]] = {}

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Api:
        """The server and user of the current context; credentials must be in the file itself, as JSON.

        ``kubectl config view --raw --flatten -o json`` brings any kubeconfig into that form.
        """
        config = json.loads(path.read_text(encoding="utf-8"))
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        client = None
        if "client-certificate-data" in user:
            client = (_decoded(user["client-certificate-data"]), _decoded(user["client-key-data"]))
        ca = _decoded(cluster.get("certificate-authority-data", ""))
        return cls(cluster["server"], ca=ca, token=user.get("token", ""), client=client)

    def request(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None, content: str = ""
    ) -> JSON:
        """Send one request and return the JSON answer; raises ``ApiError``, or ``OSError`` when nobody answers."""
        url = f"{self.url}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = content or "application/json"
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._context) as response:
                return _json(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, _json(error.read()), f"{method} {path}") from None

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> JSON | None:
        """One object, or ``None`` when there is no such object."""
        try:
            return self.request("GET", self.path(api_version, kind, namespace, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def list(self, api_version: str, kind: str, namespace: str = "", *, labels: str = "") -> list[JSON]:
        """The objects of a kind, in one namespace or in all."""
        query = {"labelSelector": labels} if labels else None
        items: list[JSON] = self.request("GET", self.path(api_version, kind, namespace), query=query)["items"]
        return items

    def create(self, body: JSON, namespace: str = "") -> JSON:
        """Create an object; one without a namespace of its own goes to ``namespace``."""
        where = body["metadata"].get("namespace") or namespace
        return self.request("POST", self.path(body["apiVersion"], body["kind"], where), body)

    def apply(self, body: JSON, namespace: str = "") -> JSON:
        """Apply an object on the server's side; one without a namespace of its own goes to ``namespace``."""
        meta = body["metadata"]
        path = self.path(body["apiVersion"], body["kind"], meta.get("namespace") or namespace, meta["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return self.request("PATCH", path, body, query=query, content="application/apply-patch+yaml")

    def patch(
        self, api_version: str, kind: str, name: str, body: Any, namespace: str = "", *, subresource: str = ""
    ) -> JSON:
        """Merge ``body`` into an object or into a subresource of it."""
        path = self.path(api_version, kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return self.request("PATCH", path, body, content="application/merge-patch+json")

    def delete(self, api_version: str, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object in the background; one that is not there is fine."""
        query = {"propagationPolicy": "Background"}
        try:
            self.request("DELETE", self.path(api_version, kind, namespace, name), query=query)
        except ApiError as error:
            if error.code != 404:
                raise

    def path(self, api_version: str, kind: str, namespace: str = "", name: str = "") -> str:
        """The URL path of a kind or of one object; ``namespace`` is left out for kinds that have none."""
        resource = self._resource(api_version, kind)
        parts = [_group(api_version)]
        if resource["namespaced"] and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(resource["name"])
        if name:
            parts.append(urllib.parse.quote(name, safe=""))
        return "/".join(parts)

    def _resource(self, api_version: str, kind: str) -> JSON:
        for fresh in (False, True):
            if fresh or api_version not in self._resources:
                found = self.request("GET", _group(api_version))["resources"]
                self._resources[api_version] = {one["kind"]: one for one in found if "/" not in one["name"]}
            if kind in self._resources[api_version]:
                return self._resources[api_version][kind]
        raise ApiError(404, {"message": f"no kind {kind} in {api_version}"}, f"GET {_group(api_version)}")


def _group(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _named(entries: list[JSON], name: str) -> JSON:
    return next(entry for entry in entries if entry["name"] == name)


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode()


def _json(data: bytes) -> JSON:
    try:
        value = json.loads(data)
    except ValueError:
        return {"message": data.decode("utf-8", "replace")}
    return value if isinstance(value, dict) else {"message": str(value)}
