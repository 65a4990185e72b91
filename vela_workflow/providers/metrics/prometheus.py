"""``#PromCheck``: one instant query to Prometheus, compared and judged over time (ops 3.7).

The time stamps of the state machine lie in the run's context under the keys of the Go controller,
``<step>.metrics.success.time`` and ``<step>.metrics.fail.time`` (Unix seconds, ``0`` when unset), with the path of the
action in them when it is not at the top level of the template, so that two checks in one step do not share them.
The result is looked at again by a timer: Prometheus tells nobody when a value changes.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
import orjson
import yarl

from vela_workflow import errors
from vela_workflow.clusters import spans
from vela_workflow.providers import arguments, web
from vela_workflow.providers.contract import Call, Outcome
from vela_workflow.providers.metrics import check, condition

TIMEOUT: Final = 10.0
"""Seconds for the whole query."""

ANSWER_LIMIT: Final = 1 << 20
LOOK_AGAIN: Final = 15.0
"""Greatest time in seconds between two looks at a check whose verdict is open."""

UNSET: Final = "0"


async def check_metric(call: Call) -> Outcome:
    """``#PromCheck``: ``message``, ``result`` (it has passed) and ``failed`` (for good).

    Raises ``Terminal`` for a condition or duration that is none, ``Transient`` when Prometheus gives no single value.
    """
    args = call.args
    rule = _rule(args)
    endpoint = _endpoint(args)
    value = await _query(endpoint, arguments.text(args, "query"), call.now.timestamp())
    try:
        holds = condition.holds(float(value), rule.condition)
    except ValueError as error:
        raise arguments.wrong(f"condition: {error}") from error
    success_key, fail_key = (_key(call, which) for which in ("success", "fail"))
    state = check.State(_seconds(call, success_key), _seconds(call, fail_key))
    verdict = check.judge(rule, state, value=value, holds=holds, now=int(call.now.timestamp()))
    _remember(call, success_key, verdict.state.success)
    _remember(call, fail_key, verdict.state.failure)
    ended = verdict.result or verdict.failed
    return Outcome(
        {"message": verdict.message, "result": verdict.result, "failed": verdict.failed},
        after=None if ended else min(max(verdict.remaining.total_seconds(), 1.0), LOOK_AGAIN),
    )


def _rule(args: dict[str, Any]) -> check.Rule:
    duration = arguments.optional_text(args, "duration") or "5m"
    fail_duration = arguments.optional_text(args, "failDuration") or "2m"
    return check.Rule(
        condition=arguments.text(args, "condition"),
        duration=duration,
        fail_duration=fail_duration,
        success_span=arguments.duration(duration, where="duration"),
        fail_span=arguments.duration(fail_duration, where="failDuration"),
    )


def _endpoint(args: dict[str, Any]) -> yarl.URL:
    """The address of Prometheus; raises ``Terminal`` when it is none."""
    name = "promAddress" if args.get("promAddress") else "metricEndpoint"
    try:
        url = yarl.URL(arguments.text(args, name).rstrip("/"))
    except ValueError as error:
        raise arguments.wrong(f"{name}: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise arguments.wrong(f"{name} must begin with http:// or https:// and name a host")
    return url


async def _query(address: yarl.URL, query: str, time: float) -> str:
    """The value of an instant query, as Prometheus writes it."""
    endpoint = str(address.with_user(None).with_query(None).with_fragment(None))  # The rest may hold credentials.
    try:
        url = yarl.URL(f"{address}/api/v1/query")
        async with asyncio.timeout(TIMEOUT), aiohttp.ClientSession(trust_env=True, headers=spans.headers()) as session:
            form = {"query": query, "time": f"{time:.3f}"}
            async with session.post(url, data=form) as response:
                if response.status in (404, 405):  # A proxy in between may allow GET only.
                    async with session.get(url, params=form) as second:
                        return _value(endpoint, second.status, await web.body(second, ANSWER_LIMIT))
                return _value(endpoint, response.status, await web.body(response, ANSWER_LIMIT))
    except TimeoutError:
        raise errors.Transient(f"Prometheus at {endpoint}: no answer within {TIMEOUT:g}s") from None
    except web.BodyTooLongError:
        raise errors.Transient(f"Prometheus at {endpoint}: the answer is longer than {ANSWER_LIMIT} bytes") from None
    except aiohttp.ClientConnectorError as error:
        raise errors.Transient(f"Prometheus at {endpoint}: {web.unreached(error)}") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise errors.Transient(f"Prometheus at {endpoint}: {error}") from error


def _value(endpoint: str, status: int, body: bytes) -> str:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict) or answer.get("status") != "success":
        said = answer.get("error", "") if isinstance(answer, dict) else "the answer is no JSON"
        raise errors.Transient(f"Prometheus at {endpoint}: status {status}: {said}")
    data = answer.get("data") or {}
    result = data.get("result")
    if data.get("resultType") == "scalar" and isinstance(result, list):
        return str(result[1])
    if data.get("resultType") != "vector" or not isinstance(result, list):
        raise errors.Transient(f"cannot handle the not query value: the result is a {data.get('resultType')}")
    if len(result) != 1:
        raise errors.Transient(
            f"the query is returning {len(result)} results when it should only return one. "
            "Please review the query to identify and fix the issue"
        )
    return str(result[0]["value"][1])


def _key(call: Call, which: str) -> str:
    inner = "".join(f".{part}" for part in call.path) if len(call.path) > 1 else ""
    return f"{call.step_id}{inner}.metrics.{which}.time"


def _seconds(call: Call, key: str) -> int:
    written = call.variables.memo(key) or UNSET
    return int(written) if written.isdecimal() else 0


def _remember(call: Call, key: str, seconds: int) -> None:
    if str(seconds) != (call.variables.memo(key) or UNSET):
        call.variables.remember(key, str(seconds))
