"""The users of a local cluster and the kubeconfig files they come with.

Users are rows of a static token file: unlike client certificates, tokens need no tool to make. Each component has a
user of its own, so that the audit log tells whose request it was; all of them may do everything. Tests that are about
rights make service accounts and ask the API server for tokens.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path

ADMIN = "admin"
OPERATOR = "operator"
CONTROLLER_MANAGER = "system:kube-controller-manager"
SCHEDULER = "system:kube-scheduler"
KWOK = "kwok"
USERS = (ADMIN, OPERATOR, CONTROLLER_MANAGER, SCHEDULER, KWOK)


def write_tokens(path: Path) -> dict[str, str]:
    """Write a token file for ``USERS``, all of them in ``system:masters``; returns the tokens by user name."""
    tokens = {user: secrets.token_urlsafe(32) for user in USERS}
    lines = [f'{token},{user},{user},"system:masters"' for user, token in tokens.items()]
    _write_private(path, "\n".join(lines) + "\n")
    return tokens


def write(path: Path, *, server: str, ca: str, token: str, user: str) -> None:
    """Write a kubeconfig (as JSON, which YAML readers take as well); ``ca`` is PEM text."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "clusters": [
            {
                "name": "local",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": base64.b64encode(ca.encode()).decode(),
                },
            }
        ],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": user, "namespace": "default"}}],
    }
    _write_private(path, json.dumps(config, indent=2) + "\n")


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
