"""Where an API server is and how to prove who we are: from a Pod's own account, a kubeconfig, or a cluster Secret.

The official ``kubernetes`` package knows the many ways in which people log in (tokens that expire, exec plugins, OIDC),
so it loads kubeconfigs and in-cluster accounts and refreshes their tokens. It is imported only when such a source is
opened. What it would leave on disk, the inline keys of a kubeconfig, is taken out of a Secret's kubeconfig beforehand.
A source can be opened again at any time: that is how renewed certificates and rotated accounts come into use.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from vela_workflow.clusters import errors

JSON = dict[str, Any]

_REFRESH_SECONDS = 60.0
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_FILE_FIELDS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to connect to: ``server`` without a trailing slash, and what TLS and proxy need."""

    server: str
    ssl: ssl.SSLContext | None = None
    server_hostname: str | None = None
    proxy: str | None = None


class Source(Protocol):
    """Credentials of one cluster."""

    async def open(self) -> Endpoint:
        """Read everything afresh; raises ``Unavailable`` with what is wrong with the credentials."""

    async def authorization(self) -> str:
        """The value of the ``Authorization`` header, refreshed when it is about to expire; empty when there is none."""


@dataclass(frozen=True, slots=True)
class _Pem:
    """Certificates as PEM texts; empty when there are none. ``verify`` is false where TLS is not to be checked."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True

    def context(self, *, ca_file: str | None = None, cert_file: str | None = None, key_file: str | None = None) -> Any:
        """The TLS context of these texts, or where they are empty of the files given."""
        context = ssl.create_default_context(cafile=ca_file if not self.ca else None, cadata=self.ca or None)
        # Certificates of cluster authorities often lack extensions that strict checking asks for; kubectl accepts them.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert and self.key:
            # The ssl module reads keys from files only; these exist for the moment of reading.
            with tempfile.TemporaryDirectory() as folder:
                cert, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
                cert.write_text(self.cert)
                key.touch(mode=0o600)
                key.write_text(self.key)
                context.load_cert_chain(cert, key)
        elif cert_file:
            context.load_cert_chain(cert_file, key_file)
        return context


class StaticSource:
    """An address with a fixed token or client certificate, as KubeVela's cluster Secrets hold them."""

    def __init__(
        self,
        server: str,
        *,
        ca: str = "",
        verify: bool = True,
        token: str = "",
        cert: str = "",
        key: str = "",
        proxy: str | None = None,
    ) -> None:
        self._server = server.rstrip("/")
        self._pem = _Pem(ca=ca, cert=cert, key=key, verify=verify)
        self._token = token
        self._proxy = proxy

    async def open(self) -> Endpoint:
        """Build the TLS context."""
        if not self._server.startswith("https://"):
            return Endpoint(self._server, proxy=self._proxy)
        try:
            return Endpoint(self._server, self._pem.context(), proxy=self._proxy)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise errors.Unavailable(f"the certificates of {self._server} cannot be used: {error}") from error

    async def authorization(self) -> str:
        """The bearer token, if that is what the Secret holds."""
        return f"Bearer {self._token}" if self._token else ""


Load = Callable[[Any], Awaitable[Any]]


class OfficialSource:
    """Credentials that the official package loads into its ``Configuration`` and keeps fresh.

    ``load`` fills a configuration and returns the package's loader when it has to be asked for fresh tokens.
    """

    def __init__(self, load: Load, what: str, pem: _Pem | None = None) -> None:
        self._load = load
        self._what = what
        self._pem = pem or _Pem()
        self._configuration: Any = None
        self._loader: Any = None
        self._refreshed_at = 0.0

    async def open(self) -> Endpoint:
        """Load everything afresh."""
        # The import takes half a second: off the loop, so that other clusters do not wait for it.
        module = await asyncio.to_thread(importlib.import_module, "kubernetes.aio.client.configuration")
        configuration = module.Configuration()
        try:
            self._loader = await self._load(configuration)
            context = self._context(configuration) if str(configuration.host).startswith("https") else None
        except Exception as error:
            # The loaders raise whatever their parsers raise; all of it means that these credentials are of no use.
            raise errors.Unavailable(f"{self._what} cannot be used: {error}") from error
        self._check_exec()
        self._configuration = configuration
        self._refreshed_at = time.monotonic()
        return Endpoint(
            str(configuration.host).rstrip("/"),
            context,
            configuration.tls_server_name or None,
            configuration.proxy or None,
        )

    async def authorization(self) -> str:
        """The header that the package gives, through its refresh hook."""
        if self._configuration is None:
            await self.open()
        if self._loader is not None and time.monotonic() - self._refreshed_at >= _REFRESH_SECONDS:
            await self._refresh()
        return await self._configuration.get_api_key_with_prefix("BearerToken") or ""

    async def _refresh(self) -> None:
        self._refreshed_at = time.monotonic()
        if self._uses_exec() and not hasattr(self._loader, "exec_plugin_expiry"):
            return  # A plugin that does not say when its token expires is asked again when the server refuses it.
        try:
            await self._loader.load_and_set(self._configuration)
        except Exception as error:
            raise errors.Unavailable(f"{self._what}: the token cannot be refreshed: {error}") from error

    def _uses_exec(self) -> bool:
        # The package offers no other way to learn which way of logging in a loader has chosen.
        return "exec" in (getattr(self._loader, "_user", None) or ())

    def _check_exec(self) -> None:
        loaded = vars(self._loader) if self._loader is not None else {}
        if self._uses_exec() and not loaded.get("token") and not loaded.get("cert_file"):
            # The package logs why and goes on without credentials.
            raise errors.Unavailable(f"{self._what}: the exec plugin gave neither a token nor a certificate")

    def _context(self, configuration: Any) -> ssl.SSLContext:
        pem = self._pem if configuration.verify_ssl else _Pem(self._pem.ca, self._pem.cert, self._pem.key, verify=False)
        context: ssl.SSLContext = pem.context(
            ca_file=configuration.ssl_ca_cert, cert_file=configuration.cert_file, key_file=configuration.key_file
        )
        return context


def in_cluster() -> OfficialSource:
    """The service account of the Pod that this program runs in; its token is read again every minute."""

    async def load(configuration: Any) -> None:
        module = importlib.import_module("kubernetes.aio.config.incluster_config")
        module.load_incluster_config(client_configuration=configuration)

    return OfficialSource(load, "the Pod's service account")


def kubeconfig_file(path: str = "", context: str = "") -> OfficialSource:
    """A kubeconfig file (several, as in ``KUBECONFIG``, are merged), at its current or the named context."""

    async def load(configuration: Any) -> Any:
        module = importlib.import_module("kubernetes.aio.config.kube_config")
        return await module.load_kube_config(
            config_file=path or module.KUBE_CONFIG_DEFAULT_LOCATION,
            context=context or None,
            client_configuration=configuration,
            persist_config=False,
        )

    return OfficialSource(load, f"kubeconfig {path}" if path else "the kubeconfig")


def in_pod(environment: Mapping[str, str]) -> bool:
    """Whether this program runs in a Pod with an account of its own."""
    return bool(environment.get("KUBERNETES_SERVICE_HOST")) and _SERVICE_ACCOUNT.exists()


def local(kubeconfig: str = "", context: str = "", *, environment: Mapping[str, str]) -> OfficialSource:
    """The cluster to run in: ``kubeconfig`` if given, else ``KUBECONFIG``, else the Pod's account, else ``~/.kube``."""
    path = kubeconfig or environment.get("KUBECONFIG", "")
    if not path and in_pod(environment):
        return in_cluster()
    return kubeconfig_file(path, context)


def kubeconfig_text(config: Mapping[str, Any], what: str, *, allow_exec: bool = False) -> OfficialSource:
    """A kubeconfig that came from a Secret; ``what`` names it in messages.

    It must be complete in itself: paths would be read from the operator's own disk, so they are refused, and commands
    (exec plugins) run only with ``allow_exec``. Raises ``Unavailable`` with what is wrong.
    """
    cluster, user = _current(config, what)
    for name in _FILE_FIELDS:
        if name in cluster or name in user:
            raise errors.Unavailable(f"{what}: {name} names a file; put its content into the kubeconfig instead")
    if "exec" in user and not allow_exec:
        raise errors.Unavailable(
            f"{what}: it logs in by running {user['exec'].get('command')!r}; commands from Secrets are switched off, "
            "join the cluster with a token or a client certificate"
        )
    pem = _Pem(
        ca=_decoded(cluster, "certificate-authority-data", what),
        cert=_decoded(user, "client-certificate-data", what),
        key=_decoded(user, "client-key-data", what),
    )
    minimal = {
        "current-context": "context",
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
        "clusters": [{"name": "cluster", "cluster": _without_data(cluster)}],
        "users": [{"name": "user", "user": _without_data(user)}],
    }

    async def load(configuration: Any) -> Any:
        module = importlib.import_module("kubernetes.aio.config.kube_config")
        return await module.load_kube_config_from_dict(minimal, client_configuration=configuration)

    return OfficialSource(load, what, pem)


def server_of(config: Mapping[str, Any]) -> str:
    """The address that a kubeconfig's current context leads to; raises ``Unavailable`` when it is not complete."""
    server: str = _current(config, "the kubeconfig")[0]["server"]
    return server


def exec_plugin(
    server: str, ca: str, text: str, what: str, *, proxy: str = "", allow_exec: bool = False
) -> OfficialSource:
    """KubeVela's ``Dynamic`` credentials: ``text`` is the JSON of a client-go ``ExecConfig``."""
    try:
        command = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise errors.Unavailable(f"{what}: exec is not JSON: {error}") from error
    cluster: JSON = {"server": server}
    if ca:
        cluster["certificate-authority-data"] = base64.b64encode(ca.encode()).decode()
    else:
        cluster["insecure-skip-tls-verify"] = True
    if proxy:
        cluster["proxy-url"] = proxy
    config = {
        "current-context": "context",
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "user", "user": {"exec": command}}],
    }
    return kubeconfig_text(config, what, allow_exec=allow_exec)


def _current(config: Mapping[str, Any], what: str) -> tuple[JSON, JSON]:
    """The cluster and the user of the current context."""
    try:
        name = config["current-context"]
        context = _named(config["contexts"], name)["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config.get("users") or [], context["user"])["user"] if context.get("user") else {}
        cluster["server"].rstrip("/")
    except (KeyError, TypeError, AttributeError) as error:
        raise errors.Unavailable(f"{what} is not a complete kubeconfig: {error} is missing") from error
    return dict(cluster), dict(user or {})


def _named(entries: list[JSON], name: str) -> JSON:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def _without_data(section: JSON) -> JSON:
    return {key: value for key, value in section.items() if not key.endswith("-data")}


def _decoded(section: JSON, name: str, what: str) -> str:
    try:
        return base64.b64decode(section.get(name) or "").decode()
    except (ValueError, TypeError) as error:
        raise errors.Unavailable(f"{what}: {name} is not base64: {error}") from error
