"""etcd and kube-apiserver as processes on the loopback address.

The API server makes its own serving certificate and the authority that signed it in its ``--cert-dir`` before it reads
any other key, so the key of that certificate serves as the key of service account tokens too: nothing has to be
generated beforehand. ``apiserver.crt`` holds the certificate followed by its authority, which is what clients trust.

Several API servers can share one etcd, each below its own prefix, and are then clusters of their own.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tools import kubeconfig
from tools.audit import AuditLog
from tools.processes import Process, free_port, wait_until
from tools.rest import Api, ApiError

AUDIT_POLICY = Path(__file__).with_name("audit-policy.yaml")


class Etcd:
    """One etcd that keeps its data in a folder and does not wait for the disk."""

    def __init__(self, binary: Path, directory: Path) -> None:
        self._binary = binary
        self._directory = directory
        self.process: Process | None = None
        self.url = ""

    def start(self) -> None:
        """Start it; it answers a moment later, which API servers wait for themselves."""
        data = self._directory / "etcd"
        data.mkdir(parents=True)
        client, peer = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        command: list[str | Path] = [
            self._binary,
            f"--data-dir={data}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--quota-backend-bytes=4294967296",
            "--log-level=warn",
        ]
        self.process = Process("etcd", command, self._directory / "logs" / "etcd.log", self._directory)
        self.url = client

    def stop(self) -> None:
        """End it; what it kept is of no use afterwards."""
        if self.process is not None:
            self.process.kill()


class ApiServer:
    """One API server with RBAC, a token for each of ``kubeconfig.USERS`` and an audit log.

    It can be stopped and started again: port, certificates, tokens and objects stay the same, so a cluster that is
    down for a while is played truly. As a context manager it is started on entry; at the end it is stopped and its
    folder removed. Start it from the main thread: it ends with the thread that started it.
    """

    def __init__(self, binary: Path, etcd_url: str, directory: Path, *, name: str = "local") -> None:
        self.name = name
        self.directory = directory
        self.url = f"https://127.0.0.1:{free_port()}"
        self.process: Process | None = None
        self.tokens: dict[str, str] = {}
        self._binary = binary
        self._etcd_url = etcd_url
        self._prefix = f"/{name}-{secrets.token_hex(4)}"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the administrator."""
        return self.kubeconfig_of(kubeconfig.ADMIN)

    @property
    def key(self) -> Path:
        """The private key of the serving certificate and of service account tokens."""
        return self.directory / "certs" / "apiserver.key"

    @property
    def ca(self) -> str:
        """What a client trusts, as PEM text."""
        return self.ca_file.read_text(encoding="ascii")

    @property
    def ca_file(self) -> Path:
        """The file of ``ca``."""
        return self.directory / "certs" / "apiserver.crt"

    @property
    def token(self) -> str:
        """The bearer token of the administrator."""
        return self.tokens[kubeconfig.ADMIN]

    @property
    def audit_log(self) -> AuditLog:
        """Every request that was answered."""
        return AuditLog(self.directory / "audit.log")

    @property
    def api(self) -> Api:
        """A client with the rights of the administrator."""
        return Api(self.url, ca=self.ca, token=self.token)

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of one of ``kubeconfig.USERS``."""
        return self.directory / f"{user.rpartition(':')[2]}.kubeconfig"

    def launch(self) -> None:
        """Start the process without waiting until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        token_file = self.directory / "tokens.csv"
        if not self.tokens:
            self.tokens = kubeconfig.write_tokens(token_file)
        command: list[str | Path] = [
            self._binary,
            f"--etcd-servers={self._etcd_url}",
            f"--etcd-prefix={self._prefix}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.url.rpartition(':')[2]}",
            f"--cert-dir={self.directory / 'certs'}",
            "--endpoint-reconciler-type=none",  # endpoints must not be loopback addresses
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            f"--token-auth-file={token_file}",
            f"--service-account-issuer={self.url}",
            "--api-audiences=https://kubernetes.default.svc",
            f"--service-account-key-file={self.key}",
            f"--service-account-signing-key-file={self.key}",
            "--allow-privileged=true",
            "--profiling=false",
            f"--audit-policy-file={AUDIT_POLICY}",
            f"--audit-log-path={self.directory / 'audit.log'}",
            "--audit-log-maxsize=4096",  # MiB: rotation would hide requests from tests
        ]
        log = self.directory / "logs" / "kube-apiserver.log"
        self.process = Process(f"kube-apiserver ({self.name})", command, log, self.directory)

    def wait_ready(self) -> None:
        """Wait until it answers that it is ready, and write the kubeconfig files; raises ``ToolError``."""
        process = self.process
        if process is None:
            raise RuntimeError(f"the API server {self.name} was not started")
        deadline = time.monotonic() + 60
        wait_until("the serving certificate", lambda: self.ca_file if self._has_certificate() else None, process)
        api = self.api
        wait_until(f"the API server {self.name}", lambda: _answer(api, "/readyz"), process, deadline - time.monotonic())
        for user, token in self.tokens.items():
            path = self.kubeconfig_of(user)
            kubeconfig.write(path, server=self.url, ca=self.ca, token=token, user=user)

    def start(self) -> Self:
        """Start it, or start it again, and wait until it is ready."""
        self.launch()
        self.wait_ready()
        return self

    def stop(self) -> None:
        """End the process; objects stay in etcd."""
        if self.process is not None:
            self.process.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _has_certificate(self) -> bool:
        """Whether the certificate and its authority are written (the key is written after them)."""
        return self.key.exists() and self.ca_file.exists() and self.ca.count("-----END CERTIFICATE-----") > 1


def _answer(api: Api, path: str) -> bool | None:
    """``True`` when the server answers a GET of ``path`` with success, else ``None``."""
    with contextlib.suppress(ApiError, OSError):
        api.request("GET", path)
        return True
    return None
