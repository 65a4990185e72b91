"""A kubeconfig of a server that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
clusters:
- name: nobody
  cluster: {server: "https://127.0.0.1:1"}
users:
- name: me
  user: {token: secret}
contexts:
- name: here
  context: {cluster: nobody, user: me, namespace: shop}
"""


@pytest.fixture
def kubeconfig_file(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG, encoding="utf-8")
    return path
