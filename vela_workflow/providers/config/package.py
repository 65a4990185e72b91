"""The package ``vela/config`` and its operations."""

from __future__ import annotations

from typing import Final

from vela_workflow.providers import schema
from vela_workflow.providers.config import operations
from vela_workflow.providers.contract import Effect, Operation, Package

OPERATIONS: Final = {
    "create": Operation(operations.create, Effect.IDEMPOTENT),
    "read": Operation(operations.read, Effect.READ, legacy={"config": "config"}),
    "list": Operation(operations.listing, Effect.READ, legacy={"configs": "configs"}),
    "delete": Operation(operations.delete, Effect.IDEMPOTENT),
}
"""What carries out each ``#do``; in ``vela/op`` each has ``-config`` appended."""

PACKAGE: Final = Package("vela/config", "config", schema.read("config", "config"), OPERATIONS)
