"""``#DingTalk``, ``#Lark`` and ``#Slack``: a message to a chat robot, by one POST (ops 10)."""

from __future__ import annotations

import dataclasses

import orjson

from vela_workflow.providers import arguments
from vela_workflow.providers.contract import Call, OperationFunction, Outcome
from vela_workflow.providers.http import exchange


def poster(address: str) -> OperationFunction:
    """The operation that posts ``message`` to the URL in the argument called ``address``."""

    async def post(call: Call) -> Outcome:
        message = arguments.struct(call.args, "message")
        request = {
            "method": "POST",
            "url": arguments.text(call.args, address),
            "request": {"body": orjson.dumps(message).decode(), "header": {"Content-Type": "application/json"}},
        }
        return await exchange.do(dataclasses.replace(call, args=request))

    return post
