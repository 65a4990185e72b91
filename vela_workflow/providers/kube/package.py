"""The package ``vela/kube`` and its operations."""

from __future__ import annotations

from typing import Final

from vela_workflow.providers import schema
from vela_workflow.providers.contract import Effect, Operation, Package
from vela_workflow.providers.kube import look, write

OPERATIONS: Final = {
    "apply": Operation(write.apply, Effect.IDEMPOTENT, legacy={"value": "value"}),
    "apply-in-parallel": Operation(write.apply_in_parallel, Effect.IDEMPOTENT, legacy={"value": "value"}),
    "patch": Operation(write.patch, Effect.IDEMPOTENT, legacy={"result": "result"}),
    "read": Operation(look.read, Effect.READ, legacy={"value": "value", "err": "err"}),
    "list": Operation(look.listing, Effect.READ, legacy={"values": "list"}),
    "delete": Operation(write.delete, Effect.IDEMPOTENT),
}
"""What carries out each ``#do``."""

PACKAGE: Final = Package("vela/kube", "kube", schema.read("kube", "kube"), OPERATIONS)
