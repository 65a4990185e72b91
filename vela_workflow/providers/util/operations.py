"""Strings, merging, logs.

``#Log`` does two unrelated things, as the API has it: it writes ``data`` to the log of the operator, and it keeps a
note in the run's context (key ``logConfig``) where the logs of each step are to be found, which the command line
reads.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from typing import Any, Final

import orjson

from vela_workflow.api import constants
from vela_workflow.providers import arguments, merge
from vela_workflow.providers.contract import Call, Outcome

INFORMATION: Final = 3
"""The greatest ``level`` of ``#Log`` that is written at level INFO; what is more verbose is written at DEBUG."""

logger = logging.getLogger(__name__)


async def convert_string(call: Call) -> Outcome:
    """``#ConvertString``: the text of the bytes ``bt`` as ``str`` (ops 3.5). CUE exports bytes in base64."""
    written = arguments.optional_text(call.args, "bt")
    try:
        return Outcome({"str": base64.b64decode(written, validate=True).decode("utf-8")})
    except (binascii.Error, UnicodeDecodeError):
        # The bytes themselves may be a secret: they are not repeated here.
        raise arguments.wrong("bt is not text in UTF-8") from None


async def patch_object(call: Call) -> Outcome:
    """``#PatchK8sObject``: ``patch`` merged into ``value`` as ``result``, or why that cannot be as ``err`` (ops 5)."""
    value = arguments.struct(call.args, "value")
    patch = arguments.struct(call.args, "patch")
    try:
        return Outcome({"result": merge.merge(value, patch, call.tags)})
    except merge.MergeError as error:
        return Outcome({"err": f"result check err: {error}"})


async def log(call: Call) -> Outcome:
    """``#Log``: a line in the log of the operator and the note where the step's logs are (ops 3.5)."""
    level = arguments.integer({"level": INFORMATION, **call.args}, "level")
    data = call.args.get("data")
    if data is not None:
        logger.log(
            logging.INFO if level <= INFORMATION else logging.DEBUG,
            "%s",
            data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, sort_keys=True),
            extra={
                "run": call.run_name,
                "namespace": call.run_namespace,
                "step": call.step_name,
                "step_id": call.step_id,
            },
        )
    source = arguments.optional_struct(call.args, "source")
    _note(call, with_data=data is not None, source=source)
    return Outcome()


def _note(call: Call, *, with_data: bool, source: dict[str, Any] | None) -> None:
    """Update ``logConfig``: a map from step names to ``{data, source: {url, resources}}``; what is not said stays."""
    written = call.variables.memo(constants.CONTEXT_LOG_CONFIG)
    try:
        known = orjson.loads(written) if written else {}
    except orjson.JSONDecodeError:
        known = {}  # Somebody edited the context: the note is written anew.
    if not isinstance(known, dict):
        known = {}
    step = dict(known.get(call.step_name) or {})
    if with_data:
        step["data"] = True
    told = {key: source[key] for key in ("url", "resources") if key in source} if source else {}
    if told:
        step["source"] = {**(step.get("source") or {}), **told}
    if step and step != known.get(call.step_name):
        note = orjson.dumps({**known, call.step_name: step}, option=orjson.OPT_SORT_KEYS).decode()
        call.variables.remember(constants.CONTEXT_LOG_CONFIG, note)
