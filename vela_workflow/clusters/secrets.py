"""The two formats of a cluster's Secret.

KubeVela's (application.md 5.3): a label names the type of the credentials and the data holds them one by one. Ours: a
label of its own and a whole kubeconfig under the key ``kubeconfig``. The name of the Secret is that of the cluster.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import yaml

from vela_workflow.clusters import credentials, errors

JSON = dict[str, Any]

_PREFIX = "cluster.core.oam.dev/"
CREDENTIAL_TYPE_LABEL = f"{_PREFIX}cluster-credential-type"
ENDPOINT_TYPE_LABEL = f"{_PREFIX}cluster-endpoint-type"
CONTROL_PLANE_LABEL = f"{_PREFIX}control-plane"
ALIAS_ANNOTATION = f"{_PREFIX}cluster-alias"
DESCRIPTION_ANNOTATION = f"{_PREFIX}cluster-description"

KUBECONFIG_LABEL = "workflow.oam.dev/cluster-kubeconfig"
"""On a Secret, with any value: its key ``kubeconfig`` leads to a cluster (application.md 9.3, 7)."""

KUBECONFIG_KEY = "kubeconfig"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is known of a cluster without asking it.

    ``labels`` are those that can be selected on: the Secret's own and ``control-plane``. ``created`` is the time stamp
    of the Secret, ``credential`` the type of its credentials.
    """

    name: str
    labels: Mapping[str, str]
    endpoint: str = ""
    credential: str = ""
    alias: str = ""
    description: str = ""
    created: str = ""


LOCAL_CLUSTER = Cluster(errors.LOCAL, MappingProxyType({CONTROL_PLANE_LABEL: "true"}), credential="Internal")
"""The cluster that the operator runs in."""


def describe(secret: Mapping[str, Any]) -> Cluster:
    """What a cluster Secret says of its cluster; never raises, so that a broken one can be shown too."""
    metadata = secret["metadata"]
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    shown = {key: value for key, value in labels.items() if not key.startswith(_PREFIX) and key != KUBECONFIG_LABEL}
    return Cluster(
        name=metadata["name"],
        labels=MappingProxyType({**shown, CONTROL_PLANE_LABEL: "false"}),
        endpoint=_endpoint(secret),
        credential=labels.get(CREDENTIAL_TYPE_LABEL, "Kubeconfig"),
        alias=annotations.get(ALIAS_ANNOTATION, ""),
        description=annotations.get(DESCRIPTION_ANNOTATION, ""),
        created=metadata.get("creationTimestamp", ""),
    )


def source(secret: Mapping[str, Any], what: str, *, allow_exec: bool = False) -> credentials.Source:
    """The credentials in a cluster Secret; ``what`` names it in messages.

    Raises ``Unavailable`` with what is missing or wrong. Commands are run only with ``allow_exec``.
    """
    labels = secret["metadata"].get("labels") or {}
    if CREDENTIAL_TYPE_LABEL not in labels:
        return credentials.kubeconfig_text(_kubeconfig(secret, what), what, allow_exec=allow_exec)
    if labels.get(ENDPOINT_TYPE_LABEL, "Const") != "Const":
        raise errors.Unavailable(
            f"{what}: endpoints of type {labels[ENDPOINT_TYPE_LABEL]} go through KubeVela's cluster-gateway, "
            "which is not used here; join the cluster by an address that can be reached directly"
        )
    read = _reader(secret, what)
    server = read("endpoint", required=True)
    ca = read("ca.crt") or read("ca")
    proxy = read("proxy-url")
    kind = labels[CREDENTIAL_TYPE_LABEL]
    common: JSON = {"ca": ca, "verify": bool(ca), "proxy": proxy or None}
    if kind == "X509Certificate":
        return credentials.StaticSource(
            server, cert=read("tls.crt", required=True), key=read("tls.key", required=True), **common
        )
    if kind == "ServiceAccountToken":
        return credentials.StaticSource(server, token=read("token", required=True), **common)
    if kind == "Dynamic":
        text = read("exec", required=True)
        return credentials.exec_plugin(server, ca, text, what, proxy=proxy, allow_exec=allow_exec)
    raise errors.Unavailable(
        f"{what}: label {CREDENTIAL_TYPE_LABEL} is {kind!r}; known are X509Certificate, ServiceAccountToken and Dynamic"
    )


class _Reader:
    """Reads values of one Secret."""

    def __init__(self, data: Mapping[str, str], what: str) -> None:
        self._data = data
        self._what = what

    def __call__(self, key: str, *, required: bool = False) -> str:
        """The text under ``key`` without surrounding white space; empty when it is not there."""
        try:
            text = base64.b64decode(self._data.get(key) or "").decode().strip()
        except ValueError as error:
            raise errors.Unavailable(f"{self._what}: {key} is not text") from error
        if required and not text:
            raise errors.Unavailable(f"{self._what}: {key} is missing")
        return text


def _reader(secret: Mapping[str, Any], what: str) -> _Reader:
    return _Reader(secret.get("data") or {}, what)


def _kubeconfig(secret: Mapping[str, Any], what: str) -> JSON:
    text = _reader(secret, what)(KUBECONFIG_KEY, required=True)
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        # The error would quote the text, which holds credentials.
        raise errors.Unavailable(f"{what}: {KUBECONFIG_KEY} is not YAML") from error
    if not isinstance(config, dict):
        raise errors.Unavailable(f"{what}: {KUBECONFIG_KEY} is not a kubeconfig")
    return config


def _endpoint(secret: Mapping[str, Any]) -> str:
    """The address in a Secret of either format, as far as it can be read."""
    try:
        if "endpoint" in (secret.get("data") or {}):
            return _reader(secret, "")("endpoint")
        config = _kubeconfig(secret, "")
        return credentials.server_of(config)
    except errors.Unavailable:
        return ""
