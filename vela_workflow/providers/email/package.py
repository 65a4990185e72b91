"""The package ``vela/email`` and its operation."""

from __future__ import annotations

from typing import Final

from vela_workflow.providers import schema
from vela_workflow.providers.contract import Effect, Operation, Package
from vela_workflow.providers.email import send

OPERATIONS: Final = {"send": Operation(send.send, Effect.ONCE)}
"""What carries out each ``#do``."""

PACKAGE: Final = Package("vela/email", "email", schema.read("email", "email"), OPERATIONS)
