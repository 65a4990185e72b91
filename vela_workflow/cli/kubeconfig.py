"""Where the API server is and who asks: the kubeconfig, found and merged the way kubectl does it.

The order is ``--kubeconfig``, the files of ``KUBECONFIG`` merged, ``~/.kube/config``, and inside a Pod its service
account. What comes out is a document with one context and plain credentials, ready for the client library: exec
plugins have been asked, token files read, inline certificates written to a folder that only this user can read and
that vanishes with the process (the library would leave keys in the shared temporary folder).
"""

from __future__ import annotations

import atexit
import base64
import binascii
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from vela_workflow.cli.errors import CommandError

JSON = dict[str, Any]

_NAMED: Final = {"clusters": "cluster", "contexts": "context", "users": "user"}
_FILES: Final = {
    "clusters": ("certificate-authority",),
    "users": ("client-certificate", "client-key", "tokenFile"),
    "contexts": (),
}
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_EXEC_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Access:
    """One cluster as one user; ``renewable`` when the credentials can be had anew."""

    server: str
    namespace: str
    cluster: JSON = field(default_factory=dict)
    user: JSON = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    proxy: str = ""
    renewable: bool = False

    def document(self) -> JSON:
        """A kubeconfig of this alone."""
        return {
            "clusters": [{"name": "it", "cluster": {"server": self.server, **self.cluster}}],
            "users": [{"name": "it", "user": self.user}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": self.namespace}}],
            "current-context": "it",
        }


def load(path: str = "", context: str = "") -> Access:
    """Find the cluster to talk to; raises ``CommandError`` that says what is missing where."""
    paths = _paths(path)
    if not path and not context and not any(p.is_file() for p in paths) and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _in_cluster()
    merged = _merge(paths, required=bool(path))
    name = context or merged["current-context"]
    where = os.pathsep.join(map(str, paths))
    if not name:
        raise CommandError(f"no cluster is chosen: {where} has no current-context; use --context or --kubeconfig")
    chosen = _named(merged, "contexts", name, where)
    cluster = _named(merged, "clusters", str(chosen.get("cluster") or ""), where)
    user = _named(merged, "users", str(chosen["user"]), where) if chosen.get("user") else {}
    if not cluster.get("server"):
        raise CommandError(f'cluster "{chosen.get("cluster")}" in {where} has no server')
    return _access(cluster, user, str(chosen.get("namespace") or "default"))


def contexts(path: str = "") -> list[str]:
    """The names of the contexts that can be chosen; raises ``CommandError`` when no kubeconfig can be read."""
    return [str(name) for name in _merge(_paths(path), required=bool(path))["contexts"]]


def _paths(path: str) -> list[Path]:
    if path:
        return [Path(path).expanduser()]
    from_env = [Path(part).expanduser() for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return from_env or [Path("~/.kube/config").expanduser()]


def _merge(paths: list[Path], *, required: bool) -> dict[str, Any]:
    """The files as one; of what is there twice the first counts. Paths in a file are relative to its folder."""
    import yaml

    merged: dict[str, Any] = {"clusters": {}, "contexts": {}, "users": {}, "current-context": ""}
    found = False
    for path in paths:
        if not path.is_file():
            if required:
                raise CommandError(f"there is no kubeconfig {path}")
            continue
        found = True
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
            raise CommandError(f"cannot read the kubeconfig {path}: {' '.join(str(error).split())}") from None
        if not isinstance(document, dict):
            raise CommandError(f"{path} is no kubeconfig")
        merged["current-context"] = merged["current-context"] or document.get("current-context") or ""
        for section, word in _NAMED.items():
            for entry in document.get(section) or ():
                item = dict(entry.get(word) or {})
                for key in _FILES[section]:
                    if item.get(key):
                        item[key] = str(path.parent / item[key])
                merged[section].setdefault(entry.get("name"), item)
    if not found:
        shown = os.pathsep.join(map(str, paths))
        raise CommandError(f"no cluster is configured: there is no {shown}; use --kubeconfig or set KUBECONFIG")
    return merged


def _named(merged: Mapping[str, Any], section: str, name: str, where: str) -> JSON:
    if name not in merged[section]:
        known = ", ".join(str(one) for one in merged[section]) or "none"
        raise CommandError(f'there is no {_NAMED[section]} "{name}" in {where} (it has: {known})')
    item: JSON = merged[section][name]
    return item


def _access(cluster: JSON, user: JSON, namespace: str) -> Access:
    tls = {key: cluster[key] for key in ("certificate-authority", "tls-server-name") if cluster.get(key)}
    if cluster.get("certificate-authority-data"):
        tls["certificate-authority"] = _private_file(cluster["certificate-authority-data"], "certificate-authority")
    if cluster.get("insecure-skip-tls-verify"):
        tls.pop("certificate-authority", None)
        tls["insecure-skip-tls-verify"] = True
    headers: dict[str, str] = {}
    if user.get("as"):
        headers["Impersonate-User"] = str(user["as"])
    groups = [str(group) for group in user.get("as-groups") or ()]
    if len(groups) > 1:
        raise CommandError("the kubeconfig impersonates several groups (as-groups); only one is possible here")
    if groups:
        headers["Impersonate-Group"] = groups[0]
    return Access(
        server=str(cluster["server"]).rstrip("/"),
        namespace=namespace,
        cluster=tls,
        user=_credentials(user, cluster),
        headers=headers,
        proxy=str(cluster.get("proxy-url") or ""),
        renewable="exec" in user or "tokenFile" in user,
    )


def _credentials(user: JSON, cluster: JSON) -> JSON:
    """What proves who the user is, in the forms that the client library knows."""
    plain = {key: user[key] for key in ("username", "password", "token", "auth-provider") if user.get(key)}
    for key in ("client-certificate", "client-key"):
        if user.get(f"{key}-data"):
            plain[key] = _private_file(user[f"{key}-data"], key)
        elif user.get(key):
            plain[key] = user[key]
    if not plain.get("token") and user.get("tokenFile"):
        plain["token"] = _read(Path(user["tokenFile"]))
    if user.get("exec") and not plain:
        return _from_plugin(user["exec"], cluster)
    return plain


def _from_plugin(config: JSON, cluster: JSON) -> JSON:
    """Ask an exec plugin (``client.authentication.k8s.io``) for credentials."""
    command = str(config.get("command") or "")
    info: JSON = {
        "apiVersion": config.get("apiVersion"),
        "kind": "ExecCredential",
        "spec": {"interactive": sys.stdin.isatty() and config.get("interactiveMode") != "Never"},
    }
    if config.get("provideClusterInfo"):
        known = {"server": "server", "tls-server-name": "tls-server-name", "proxy-url": "proxy-url"}
        known |= {"certificate-authority-data": "certificate-authority-data"}
        info["spec"]["cluster"] = {there: cluster[here] for here, there in known.items() if cluster.get(here)}
    environment = {**os.environ, "KUBERNETES_EXEC_INFO": json.dumps(info)}
    environment |= {str(one["name"]): str(one["value"]) for one in config.get("env") or ()}
    arguments = [str(argument) for argument in config.get("args") or ()]
    try:
        done = subprocess.run(
            [command, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=_EXEC_SECONDS
        )
        status = json.loads(done.stdout)["status"]
    except FileNotFoundError:
        hint = " ".join(str(config.get("installHint") or "install it, or choose another context").split())
        raise CommandError(f'the kubeconfig logs in with the command "{command}", which is not there: {hint}') from None
    except (subprocess.SubprocessError, OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f'the log-in command "{command}" of the kubeconfig failed: {error}') from None
    plain = {"token": status["token"]} if status.get("token") else {}
    if status.get("clientCertificateData") and status.get("clientKeyData"):
        plain["client-certificate"] = _private_text(status["clientCertificateData"], "exec-certificate")
        plain["client-key"] = _private_text(status["clientKeyData"], "exec-key")
    return plain


def _in_cluster() -> Access:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=_read(SERVICE_ACCOUNT / "namespace"),
        cluster={"certificate-authority": str(SERVICE_ACCOUNT / "ca.crt")},
        user={"token": _read(SERVICE_ACCOUNT / "token")},
        renewable=True,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from None


@cache
def _private_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="vela-workflow-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _private_file(encoded: str, name: str) -> str:
    try:
        text = base64.b64decode("".join(encoded.split()), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise CommandError(f"{name}-data in the kubeconfig is not base64 of a PEM text") from None
    return _private_text(text, name)


def _private_text(text: str, name: str) -> str:
    """The path of a file that only this user can read; every text has its own, also from several kubeconfigs."""
    path = _private_folder() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.pem"
    path.touch(mode=0o600)
    path.write_text(text, encoding="ascii")
    return str(path)
