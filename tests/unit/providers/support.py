"""What an operation is called with, made for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from vela_workflow.clusters import errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.providers.contract import Call

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class NoClusters:
    """No cluster at all: for operations that must not need one."""

    def client(self, cluster: str) -> ClusterClient:
        raise errors.Unavailable(f"there is no cluster {cluster}")


@dataclass(slots=True)
class Memory:
    """Workflow variables and memos in a dictionary."""

    values: dict[str, Any] = field(default_factory=dict)
    memos: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> Any:
        return self.values[path]

    def put(self, path: str, value: Any, *, sensitive: bool = False) -> None:
        self.values[path] = value

    def memo(self, key: str) -> str | None:
        return self.memos.get(key)

    def is_sensitive(self, path: str) -> bool:
        return False

    def remember(self, key: str, value: str | None) -> None:
        if value is None:
            self.memos.pop(key, None)
        else:
            self.memos[key] = value


def call(args: dict[str, Any] | None = None, **changes: Any) -> Call:
    """A call of an operation in the field ``action`` of the step ``step``."""
    settings: dict[str, Any] = {
        "args": args or {},
        "path": ("action",),
        "run_name": "run",
        "run_namespace": "default",
        "run_uid": "0b8c3d9e-0000-4000-8000-000000000001",
        "step_name": "step",
        "step_id": "abcdefghij",
        "now": NOW,
        "key": "run-1/abcdefghij/action/1",
        "clusters": NoClusters(),
        "variables": Memory(),
        **changes,
    }
    return Call(**settings)
