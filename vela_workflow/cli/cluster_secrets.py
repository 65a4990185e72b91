"""From a kubeconfig to the Secret of a joined cluster, and what may be done with such a Secret.

KubeVela's format is written wherever it can say what the kubeconfig says. It knows neither another name for TLS nor a
server that a public authority vouches for (without ``ca.crt`` nothing is verified); then the Secret holds a whole
kubeconfig instead, which the operator reads as well.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from vela_workflow import errors
from vela_workflow.cli import kubeconfig
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


def from_kubeconfig(file: str, context: str, *, name: str, labels: Mapping[str, str], alias: str) -> JSON:
    """The Secret of the cluster that a kubeconfig leads to; raises ``CommandError`` when it cannot be joined so."""
    path = Path(file).expanduser()
    chosen, user = _chosen(path, context)
    name = name or chosen
    check_name(name)
    if any(is_reserved(key) for key in labels):
        raise CommandError("labels of cluster.core.oam.dev say how the cluster is reached; choose others")
    if "exec" in user or "auth-provider" in user:
        raise CommandError(
            f'the user of context "{chosen}" logs in by a command, which the operator cannot run; make a service '
            "account in that cluster and join it with a kubeconfig that has its token"
        )
    access = kubeconfig.load(str(path), context)
    if access.headers:
        raise CommandError(f'context "{chosen}" impersonates another user, which cannot be kept; use that user itself')
    kind, data = _credentials(access, chosen)
    metadata: JSON = {"name": name, "labels": {**labels, **kind}}
    if alias:
        metadata["annotations"] = {secrets.ALIAS_ANNOTATION: alias}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": _encoded(data)}


def _chosen(path: Path, context: str) -> tuple[str, JSON]:
    """The name of the context and its user, as they are written."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError:
        config = None
    if not isinstance(config, dict):
        raise CommandError(f"{path} is no kubeconfig")
    name = context or str(config.get("current-context") or "")
    entry = _named(config, "contexts", name).get("context") or {}
    user: JSON = _named(config, "users", str(entry.get("user") or "")).get("user") or {}
    return name, user


def _named(config: JSON, section: str, name: str) -> JSON:
    return next((entry for entry in config.get(section) or () if entry.get("name") == name), {})


def _credentials(access: kubeconfig.Access, context: str) -> tuple[dict[str, str], dict[str, str]]:
    """The labels that tell the format, and the data."""
    token = str(access.user.get("token") or "")
    certificate, key = (_file(access.user, word) for word in ("client-certificate", "client-key"))
    if not token and not (certificate and key):
        raise CommandError(f'the user of context "{context}" has neither a token nor a client certificate with its key')
    ca = _file(access.cluster, "certificate-authority")
    insecure = bool(access.cluster.get("insecure-skip-tls-verify"))
    if access.cluster.get("tls-server-name") or not (ca or insecure):
        return {secrets.KUBECONFIG_LABEL: "true"}, {secrets.KUBECONFIG_KEY: _whole(access, ca, certificate, key)}
    common = {"endpoint": access.server, "ca.crt": ca, "proxy-url": access.proxy}
    kind = {secrets.ENDPOINT_TYPE_LABEL: ENDPOINT_CONST}
    if token:
        return {**kind, secrets.CREDENTIAL_TYPE_LABEL: "ServiceAccountToken"}, {**common, "token": token}
    return (
        {**kind, secrets.CREDENTIAL_TYPE_LABEL: "X509Certificate"},
        {**common, "tls.crt": certificate, "tls.key": key},
    )


def _whole(access: kubeconfig.Access, ca: str, certificate: str, key: str) -> str:
    """A kubeconfig of this cluster alone, with all files in it."""
    document = access.document()
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    for section, word, text in (
        (cluster, "certificate-authority", ca),
        (user, "client-certificate", certificate),
        (user, "client-key", key),
    ):
        section.pop(word, None)
        if text:
            section[f"{word}-data"] = base64.b64encode(text.encode()).decode()
    if access.proxy:
        cluster["proxy-url"] = access.proxy
    return json.dumps({"apiVersion": "v1", "kind": "Config", **document})


def _file(section: Mapping[str, Any], word: str) -> str:
    if not section.get(word):
        return ""
    try:
        return Path(section[word]).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read the {word} {section[word]}: {error}") from None


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
