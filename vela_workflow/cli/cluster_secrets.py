"""From a kubeconfig to the Secret of a joined cluster, and what may be done with such a Secret.

KubeVela's format is written wherever it can say what the kubeconfig says. It knows neither another name for TLS nor a
server that a public authority vouches for (without ``ca.crt`` nothing is verified); then the Secret holds a whole
kubeconfig instead, which the operator reads as well.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from vela_workflow import errors
from vela_workflow.cli.errors import CommandError
from vela_workflow.clusters import api, secrets
from vela_workflow.clusters.registry import Probe

JSON = dict[str, Any]

ENDPOINT_CONST: Final = "Const"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_RESERVED: Final = "cluster.core.oam.dev/"


def check_name(name: str) -> None:
    """Raise ``CommandError`` when a cluster cannot have that name."""
    if name == "local":
        raise CommandError('"local" is the cluster of the operator; choose another name')
    if not _NAME.fullmatch(name):
        raise CommandError(f'"{name}" cannot be the name of a cluster: write it like eu-west-1 (--name)')


def is_reserved(key: str) -> bool:
    """Whether a label says how a cluster is reached."""
    return key.startswith(_RESERVED) or key == secrets.KUBECONFIG_LABEL


def is_cluster(body: Mapping[str, Any]) -> bool:
    """Whether a Secret is that of a joined cluster."""
    labels = body["metadata"].get("labels") or {}
    return secrets.CREDENTIAL_TYPE_LABEL in labels or secrets.KUBECONFIG_LABEL in labels


@dataclasses.dataclass(frozen=True, slots=True)
class _Way:
    """How a kubeconfig leads to a cluster: its parts as they are written, and the folder that paths start from."""

    context: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]
    folder: Path

    def pem(self, section: Mapping[str, Any], word: str) -> str:
        """A certificate or key, from the file itself or the one it names; empty when there is none."""
        try:
            if section.get(f"{word}-data"):
                return base64.b64decode("".join(str(section[f"{word}-data"]).split()), validate=True).decode("ascii")
            return (self.folder / str(section[word])).read_text(encoding="ascii") if section.get(word) else ""
        except (OSError, ValueError) as error:
            raise CommandError(f"cannot read the {word} of the kubeconfig: {error}") from None

    def token(self) -> str:
        """The token of the user; empty when there is none."""
        if self.user.get("token") or not self.user.get("tokenFile"):
            return str(self.user.get("token") or "")
        try:
            return (self.folder / str(self.user["tokenFile"])).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"cannot read the tokenFile of the kubeconfig: {error}") from None


def from_kubeconfig(file: str, context: str, *, name: str, labels: Mapping[str, str], alias: str) -> JSON:
    """The Secret of the cluster that a kubeconfig leads to; raises ``CommandError`` when it cannot be joined so."""
    way = _way(Path(file).expanduser(), context)
    name = name or way.context
    check_name(name)
    if any(is_reserved(key) for key in labels):
        raise CommandError(f"labels of {_RESERVED.rstrip('/')} say how the cluster is reached; choose others")
    kind, data = _credentials(way)
    metadata: JSON = {"name": name, "labels": {**labels, **kind}}
    if alias:
        metadata["annotations"] = {secrets.ALIAS_ANNOTATION: alias}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": _encoded(data)}


def _way(path: Path, context: str) -> _Way:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError:
        config = None
    if not isinstance(config, dict):
        raise CommandError(f"{path} is no kubeconfig")
    name = context or str(config.get("current-context") or "")
    if not name:
        raise CommandError(f"{path} has no current-context; choose one with --from-context")
    chosen = _named(config, "contexts", "context", name, path)
    cluster = _named(config, "clusters", "cluster", str(chosen.get("cluster") or ""), path)
    user = _named(config, "users", "user", str(chosen.get("user") or ""), path)
    if not cluster.get("server"):
        raise CommandError(f'cluster "{chosen.get("cluster")}" in {path} has no server')
    return _Way(name, cluster, user, path.parent)


def _named(config: JSON, section: str, word: str, name: str, path: Path) -> JSON:
    entries = {str(entry.get("name")): entry.get(word) or {} for entry in config.get(section) or ()}
    if name not in entries:
        raise CommandError(f'there is no {word} "{name}" in {path} (it has: {", ".join(entries) or "none"})')
    found: JSON = entries[name]
    return found


def _credentials(way: _Way) -> tuple[dict[str, str], dict[str, str]]:
    """The labels that tell the format, and the data."""
    user, cluster = way.user, way.cluster
    if "exec" in user or "auth-provider" in user:
        raise CommandError(
            f'the user of context "{way.context}" logs in by a command, which the operator cannot run; make a service '
            "account in that cluster and join it with a kubeconfig that has its token"
        )
    if user.get("as"):
        raise CommandError(f'context "{way.context}" impersonates another user; join with the rights of its own user')
    token = way.token()
    certificate, key = way.pem(user, "client-certificate"), way.pem(user, "client-key")
    if not token and not (certificate and key):
        raise CommandError(
            f'the user of context "{way.context}" has neither a token nor a client certificate with its key'
        )
    insecure = bool(cluster.get("insecure-skip-tls-verify"))
    ca = "" if insecure else way.pem(cluster, "certificate-authority")
    if cluster.get("tls-server-name") or not (ca or insecure):
        return {secrets.KUBECONFIG_LABEL: "true"}, {secrets.KUBECONFIG_KEY: _whole(way, ca, token, certificate, key)}
    common = {
        "endpoint": str(cluster["server"]).rstrip("/"),
        "ca.crt": ca,
        "proxy-url": str(cluster.get("proxy-url") or ""),
    }
    kind = {secrets.ENDPOINT_TYPE_LABEL: ENDPOINT_CONST}
    if token:
        return {**kind, secrets.CREDENTIAL_TYPE_LABEL: "ServiceAccountToken"}, {**common, "token": token}
    return (
        {**kind, secrets.CREDENTIAL_TYPE_LABEL: "X509Certificate"},
        {**common, "tls.crt": certificate, "tls.key": key},
    )


def _whole(way: _Way, ca: str, token: str, certificate: str, key: str) -> str:
    """A kubeconfig of this cluster alone, with all files in it."""
    kept = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
    cluster = {word: way.cluster[word] for word in kept if way.cluster.get(word)}
    cluster |= _encoded({"certificate-authority-data": ca})
    user = {"token": token} if token else _encoded({"client-certificate-data": certificate, "client-key-data": key})
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "it", "user": user}],
    }
    return json.dumps(document)


def _encoded(data: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items() if value}


def replacing(before: Mapping[str, Any], body: Mapping[str, Any]) -> JSON:
    """The merge patch that gives a joined cluster the credentials of another Secret; its own labels stay."""
    old = before["metadata"].get("labels") or {}
    gone = {key: None for key in old if is_reserved(key) and key not in body["metadata"]["labels"]}
    metadata = {**body["metadata"], "labels": {**gone, **body["metadata"]["labels"]}}
    metadata["resourceVersion"] = before["metadata"]["resourceVersion"]
    return {"metadata": metadata, "data": {**dict.fromkeys(before.get("data") or {}), **body["data"]}}


def renamed(body: Mapping[str, Any], name: str) -> JSON:
    """The Secret of a joined cluster under another name."""
    kept = {key: body["metadata"][key] for key in ("labels", "annotations") if body["metadata"].get(key)}
    same = {key: body[key] for key in ("type", "data") if key in body}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **kept}, **same}


async def probe(body: Mapping[str, Any], namespace: str, seconds: float) -> Probe:
    """Ask the cluster of a Secret for its version, as the operator does; never raises for one that does not answer."""
    name, started = str(body["metadata"]["name"]), time.perf_counter()
    try:
        client = api.connect(name, secrets.source(body, f"Secret {namespace}/{name}"))
    except errors.WorkflowError as error:
        return Probe(name, "", 0.0, error.message)
    try:
        async with asyncio.timeout(seconds):
            answer = await client.version()
    except TimeoutError:
        return Probe(name, "", seconds, f"cluster {name}: no answer within {seconds:g} s")
    except errors.WorkflowError as error:
        return Probe(name, "", time.perf_counter() - started, error.message)
    finally:
        await client.close()
    return Probe(name, str(answer.get("gitVersion", "")), time.perf_counter() - started)
