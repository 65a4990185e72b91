"""The package ``vela/op`` and its operations."""

from __future__ import annotations

import dataclasses
from typing import Final

from vela_workflow.providers import schema
from vela_workflow.providers.builtin import package as builtin
from vela_workflow.providers.config import package as config
from vela_workflow.providers.contract import Call, Effect, Operation, Outcome, Package
from vela_workflow.providers.email import package as email
from vela_workflow.providers.http import package as http
from vela_workflow.providers.kube import look
from vela_workflow.providers.kube import package as kube
from vela_workflow.providers.legacy import chat
from vela_workflow.providers.metrics import package as metrics
from vela_workflow.providers.time import package as time
from vela_workflow.providers.util import package as util

CHATS: Final = {"ding-talk": "dingUrl", "lark": "larkUrl", "slack": "slackUrl"}
"""The chat operations, and which argument holds the address of the robot."""


async def read(call: Call) -> Outcome:
    """``#Read`` of the flat form: the live object also as ``workload``, as older templates have it (decisions 41)."""
    outcome = await look.read(call)
    value = outcome.value or {}
    return dataclasses.replace(outcome, value={**value, "workload": value["value"]})


OPERATIONS: Final = {
    **builtin.OPERATIONS,
    **kube.OPERATIONS,
    "read": Operation(read, Effect.READ, legacy={"value": "value", "workload": "workload", "err": "err"}),
    **http.OPERATIONS,
    **email.OPERATIONS,
    **util.OPERATIONS,
    **time.OPERATIONS,
    **metrics.OPERATIONS,
    **{f"{do}-config": operation for do, operation in config.OPERATIONS.items()},
    **{
        do: Operation(chat.poster(address), Effect.ONCE, legacy={name: f"do.response.{name}" for name in http.RESULTS})
        for do, address in CHATS.items()
    },
}
"""What carries out each ``#do``."""

PACKAGE: Final = Package("vela/op", "op", schema.read("legacy", "op"), OPERATIONS)
