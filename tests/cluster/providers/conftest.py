"""Operations on a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.unit.providers import support
from vela_workflow.clusters import api, credentials, errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.providers import registry
from vela_workflow.providers.contract import Outcome

Run = Callable[..., Awaitable[Outcome]]


class OneCluster:
    """The clusters of an operator to which no other cluster was joined."""

    def __init__(self, local: ClusterClient) -> None:
        self._local = local

    def client(self, cluster: str) -> ClusterClient:
        if cluster not in ("", "local"):
            raise errors.Unavailable(f"cluster {cluster} is not joined")
        return self._local


@pytest_asyncio.fixture
async def client(kubeconfig: Path) -> AsyncIterator[ClusterClient]:
    """The real client of the cluster under test."""
    made = api.connect("local", credentials.kubeconfig_file(str(kubeconfig)))
    yield made
    await made.close()


@pytest_asyncio.fixture
async def run(client: ClusterClient, namespace: str) -> Run:
    """Carry out an operation for a run in ``namespace``: ``await run("vela/kube", "apply", {…}, again=True)``."""

    async def run_operation(path: str, do: str, args: dict[str, Any], **changes: Any) -> Outcome:
        settings = {"clusters": OneCluster(client), "run_namespace": namespace, **changes}
        return await registry.packages()[path].operations[do].run(support.call(args, **settings))

    return run_operation
