"""The package ``vela/util`` and its operations."""

from __future__ import annotations

from typing import Final

from vela_workflow.providers import schema
from vela_workflow.providers.contract import Effect, Operation, Package
from vela_workflow.providers.util import operations

OPERATIONS: Final = {
    "string": Operation(operations.convert_string, Effect.READ, legacy={"str": "str"}),
    "patch-k8s-object": Operation(operations.patch_object, Effect.READ, legacy={"result": "result", "err": "err"}),
    "log": Operation(operations.log, Effect.IDEMPOTENT),
}
"""What carries out each ``#do``."""

PACKAGE: Final = Package("vela/util", "util", schema.read("util", "util"), OPERATIONS)
