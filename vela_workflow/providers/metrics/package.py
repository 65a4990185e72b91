"""The package ``vela/metrics`` and its operation."""

from __future__ import annotations

from typing import Final

from vela_workflow.providers import schema
from vela_workflow.providers.contract import Effect, Operation, Package
from vela_workflow.providers.metrics import prometheus

OPERATIONS: Final = {
    "promCheck": Operation(
        prometheus.check_metric,
        Effect.READ,
        legacy={"message": "message", "result": "result", "failed": "failed"},
    ),
}
"""What carries out each ``#do``."""

PACKAGE: Final = Package("vela/metrics", "metrics", schema.read("metrics", "metrics"), OPERATIONS)
