"""Admission with a certificate that somebody else makes, as cert-manager does: served from files, renewed with them."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

from tests.cluster import operator_fixture as fixture
from tests.cluster.conftest import namespace_for_runs
from tools.processes import free_port
from tools.rest import Api
from tools.waiting import wait_for
from vela_workflow.operator import certificates


def write(folder: Path) -> certificates.Bundle:
    """Put a new certificate into a folder, as a mounted Secret has it."""
    made = certificates.make(["localhost"], datetime.now(UTC))
    for name, text in (("tls.crt", made.certificate), ("tls.key", made.key), ("ca.crt", made.authorities)):
        fresh = folder / f".{name}.new"
        fresh.write_bytes(text)
        fresh.replace(folder / name)
    return made


def is_served(port: int, bundle: certificates.Bundle) -> bool:
    """Whether the port proves itself to those who trust the authority of the bundle."""
    trust = ssl.create_default_context(cadata=bundle.authorities.decode())
    try:
        with (
            socket.create_connection(("localhost", port), timeout=5) as plain,
            trust.wrap_socket(plain, server_hostname="localhost"),
        ):
            return True
    except (ssl.SSLCertVerificationError, ConnectionError):
        return False


def test_it_is_served_and_read_again_when_it_changes(
    admin: Api, installed: None, operator_kubeconfig: Path, cue_command: Path, tmp_path: Path
) -> None:
    port = free_port()
    folder = tmp_path / "certificate"
    folder.mkdir()
    first = write(folder)
    with namespace_for_runs(admin) as namespace, fixture.OperatorProcess(
        kubeconfig=operator_kubeconfig, cue=cue_command, namespace=namespace, log=tmp_path / "operator.log",
        admission_port=port, admission_directory=folder, admission_secret="nobody-makes-this",
    ):  # fmt: skip
        assert wait_for(lambda: is_served(port, first), fixture.PATIENCE, "the given certificate")
        second = write(folder)
        assert not is_served(port, certificates.make(["localhost"], datetime.now(UTC)))
        assert wait_for(lambda: is_served(port, second), fixture.PATIENCE, "the renewed certificate")
        assert admin.get("v1", "Secret", "nobody-makes-this", "vela-system") is None
