"""The package ``vela/builtin`` and its operations."""

from __future__ import annotations

from typing import Final

from vela_workflow.providers import schema
from vela_workflow.providers.builtin import control, suspend
from vela_workflow.providers.contract import Effect, Operation, Package

OPERATIONS: Final = {
    "wait": Operation(control.wait, Effect.READ),
    "suspend": Operation(suspend.suspend, Effect.IDEMPOTENT),
    "fail": Operation(control.fail, Effect.READ),
    "break": Operation(control.end, Effect.READ),
    "message": Operation(control.message, Effect.READ),
    "var": Operation(control.variable, Effect.IDEMPOTENT, legacy={"value": "value"}),
}
"""What carries out each ``#do``."""

PACKAGE: Final = Package("vela/builtin", "builtin", schema.read("builtin", "builtin"), OPERATIONS)
