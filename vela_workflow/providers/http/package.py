"""The package ``vela/http`` and its operations."""

from __future__ import annotations

from typing import Final

from vela_workflow.providers import schema
from vela_workflow.providers.contract import Effect, Operation, Package
from vela_workflow.providers.http import exchange, request

RESULTS: Final = ("body", "header", "trailer", "statusCode", "err")

OPERATIONS: Final = {
    "do": Operation(
        exchange.do,
        Effect.ONCE,
        legacy={name: f"response.{name}" for name in RESULTS},
        effect_of=request.effect,
    ),
}
"""What carries out each ``#do``."""

PACKAGE: Final = Package("vela/http", "http", schema.read("http", "http"), OPERATIONS)
