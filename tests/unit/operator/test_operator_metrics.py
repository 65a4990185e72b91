"""Counting, log lines and the port for probes, without a cluster."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import yaml

from deploy.release import CHART
from tools.processes import free_port
from vela_workflow import errors
from vela_workflow.clusters.transport import FinishedCall
from vela_workflow.cue import compat
from vela_workflow.operator import dashboard, health, logs, metrics
from vela_workflow.operator.standing import Readiness

KEY = ("shop", "one")


def run_status(phase: str, *steps: tuple[str, str, str]) -> dict[str, object]:
    """The status of a run with steps of (type, phase, reason)."""
    entries = [{"type": kind, "phase": step, "reason": reason} for kind, step, reason in steps]
    return {"status": phase, "steps": entries}


def test_the_census_follows_a_run() -> None:
    census = metrics.Census()
    census.seen(KEY, {})
    assert dict(census.runs) == {"": 1}
    census.seen(KEY, run_status("executing", ("apply", "running", "Wait")))
    census.seen(KEY, run_status("executing", ("apply", "running", "Wait")))
    census.seen(("shop", "two"), run_status("executing", ("apply", "running", "Wait")))
    assert dict(census.runs) == {"executing": 2}
    assert dict(census.steps) == {("apply", "running", "Wait"): 2}
    census.seen(KEY, run_status("failed", ("apply", "failed", "Timeout")))
    assert dict(census.runs) == {"executing": 1, "failed": 1}
    census.gone(KEY)
    census.gone(KEY)
    census.gone(("shop", "two"))
    assert not census.runs and not census.steps


def test_runs_are_counted_by_whoever_leads_their_shard() -> None:
    told = metrics.Metrics()
    told.seen(KEY, 0, run_status("executing"))
    told.seen(("shop", "two"), 1, run_status("executing"))
    assert b'workflowrun_phase_number{phase="executing"}' not in told.text()
    told.leads = lambda: {1}
    assert b'workflowrun_phase_number{phase="executing"} 1.0' in told.text()
    told.seen(KEY, 1, run_status("executing"))
    assert b'workflowrun_phase_number{phase="executing"} 2.0' in told.text()


def test_durations_of_steps_are_milliseconds() -> None:
    told = metrics.Metrics()
    told.attempted("apply", 0.25)
    assert b'workflowrun_step_duration_ms_sum{controller="workflowrun",step_type="apply"} 250.0' in told.text()


def test_types_that_users_make_up_do_not_make_ever_more_series() -> None:
    told, many = metrics.Metrics(), 2 * metrics.MOST_TYPES
    told.leads = lambda: [0]
    for number in range(many):
        told.attempted(f"type-{number}", 0.1)
        step = {"type": f"type-{number}", "phase": "failed", "reason": "Rendering"}
        told.seen(("here", f"run-{number}"), 0, {"status": "failed", "steps": [step]})
    for name in ("workflowrun_step_duration_ms_count{", "workflowrun_step_phase_number{"):
        series = [line for line in told.text().decode().splitlines() if line.startswith(name)]
        assert len(series) == metrics.MOST_TYPES + 1
        (other,) = [line for line in series if f'step_type="{metrics.OTHER_TYPES}"' in line]
        assert float(other.rpartition(" ")[2]) == many - metrics.MOST_TYPES


def test_requests_are_counted_by_what_they_are_about() -> None:
    told = metrics.Metrics()
    told.api_call(FinishedCall("far", "patch", 200, 0.25, "apps/v1", "Deployment"))
    labels = 'apiVersion="apps/v1",cluster="far",controller="workflowrun",kind="Deployment",unstructured="true"'
    name = "kubevela_controller_client_request_time_seconds"
    assert f'{name}_sum{{{labels},verb="patch"}} 0.25'.encode() in told.text()
    assert b'vela_workflow_api_request_seconds_sum{cluster="far",code="200",verb="patch"} 0.25' in told.text()


def test_older_spellings_are_counted_by_what_was_replaced() -> None:
    told = metrics.Metrics()
    labels = 'definition_kind="WorkflowStepDefinition",template_area="template"'
    name = "kubevela_workflow_cue_compat"

    def counted(upgrade: str, times: float) -> bytes:
        what = f'upgrade_id="{upgrade}",upgrade_version="0.14"'
        return f"{name}_rewrite_total{{{labels},{what}}} {times}".encode()

    assert counted("list-arithmetic", 0.0) in told.text(), "there from the start"
    told.upgraded(compat.upgrade("a: [1] + [2]"))
    told.upgraded(compat.upgrade("a: 1"))
    told.evicted()
    text = told.text()
    assert counted("list-arithmetic", 1.0) in text
    assert counted("no-exist", 0.0) in text
    duration = f"{name}_upgrade_duration_seconds"
    assert f'{duration}_count{{definition_kind="WorkflowStepDefinition"}} 2.0'.encode() in text
    assert f'{name}_cache_evictions_total{{reason="capacity"}} 1.0'.encode() in text


METRIC = re.compile(r"\b(?:vela_workflow|kubevela|workflowrun|generate_task|process)_\w+")


def queries() -> list[str]:
    """All that the alerts and the dashboard of the chart ask Prometheus."""
    alerts = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
    asked = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    return asked + [query for panel in dashboard.PANELS for _, query in panel.lines]


def samples(told: metrics.Metrics) -> set[str]:
    """The names of everything that is shown, also of what has no series yet."""
    live = metrics.Live(
        gauges=lambda: dict.fromkeys(metrics.GAUGES, 0.0),
        counters=lambda: dict.fromkeys(metrics.COUNTERS, 0.0),
        leader=lambda: {"0": 1.0},
    )
    told.look_at(live, {"version": "1"})
    found = set()
    for line in told.text().decode().splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            found |= {name + end for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return found


def test_alerts_and_dashboard_ask_for_what_is_there() -> None:
    shown = samples(metrics.Metrics())
    asked = {name for query in queries() for name in METRIC.findall(query)}
    assert len(asked) > 20
    assert asked - shown == set()


@pytest.fixture
def json_logger() -> Iterator[tuple[logging.Logger, list[str]]]:
    """A logger and the lines that it writes."""
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Handler()
    handler.addFilter(logs._bind)
    handler.setFormatter(logs.JsonFormatter())
    logger = logging.getLogger("vela_workflow.test")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield logger, lines
    logger.removeHandler(handler)


async def test_lines_carry_what_is_bound(json_logger: tuple[logging.Logger, list[str]]) -> None:
    logger, lines = json_logger

    async def step(name: str) -> None:
        with logs.bound(step=name, cluster=None):
            await asyncio.sleep(0)
            logger.info("in %s", name)

    with logs.bound(run="shop/one"):
        await asyncio.gather(step("a"), step("b"))
    logger.warning("outside")
    told = [json.loads(line) for line in lines]
    assert [{key: one[key] for key in ("run", "step", "message") if key in one} for one in told] == [
        {"run": "shop/one", "step": "a", "message": "in a"},
        {"run": "shop/one", "step": "b", "message": "in b"},
        {"message": "outside"},
    ]
    assert "cluster" not in told[0]
    assert told[2]["level"] == "warning"


def test_an_error_is_one_line(json_logger: tuple[logging.Logger, list[str]]) -> None:
    logger, lines = json_logger
    logger.error("it failed", exc_info=ValueError("no\nsuch"))
    (line,) = lines
    assert "\n" not in line
    assert "ValueError: no\nsuch" in json.loads(line)["error"]


async def ask(port: int, path: str) -> tuple[int, str]:
    """Status and text that a port answers, asked from another thread."""

    def asked() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(asked)


async def test_the_port_tells_of_the_loop_and_of_readiness() -> None:
    problem = "starting"

    async def ready() -> str:
        return problem

    endpoint = health.Endpoint("127.0.0.1", free_port(), health.Routes(lambda: b"x 1\n", ready), patience=0.2)
    endpoint.start()
    try:
        assert await ask(endpoint.port, "/readyz") == (503, "starting\n")
        problem = ""
        assert await ask(endpoint.port, "/readyz") == (200, "ok\n")
        assert await ask(endpoint.port, "/healthz?verbose") == (200, "ok\n")
        assert await ask(endpoint.port, "/metrics") == (200, "x 1\n")
        stuck = asyncio.create_task(ask(endpoint.port, "/healthz"))
        await asyncio.sleep(0)
        time.sleep(0.6)  # noqa: ASYNC251 - the loop does nothing else meanwhile, and that is to be noticed
        assert (await stuck)[0] == 503
        assert await ask(endpoint.port, "/healthz") == (200, "ok\n")
    finally:
        await asyncio.to_thread(endpoint.close)


async def test_a_port_that_is_taken_is_told() -> None:
    async def ready() -> str:
        return ""

    first = health.Endpoint("127.0.0.1", 0, health.Routes(lambda: b"", ready))
    first.start()
    try:
        second = health.Endpoint("127.0.0.1", first.port, health.Routes(lambda: b"", ready))
        with pytest.raises(
            errors.WorkflowError, match=rf"cannot listen on 127.0.0.1:{first.port} .*: Address already in use$"
        ):
            second.start()
    finally:
        await asyncio.to_thread(first.close)


class Server:
    """Something that can be asked for its version, or cannot."""

    def __init__(self) -> None:
        self.error: errors.WorkflowError | None = None
        self.asked = 0

    async def version(self) -> dict[str, object]:
        """The version."""
        self.asked += 1
        if self.error is not None:
            raise self.error
        return {}


async def test_readiness_tells_the_truth() -> None:
    server, watching, now = Server(), asyncio.Event(), [100.0]
    readiness = Readiness(server, watching, clock=lambda: now[0])
    assert "starting" in await readiness.problem()
    watching.set()
    assert await readiness.problem() == ""
    server.error = errors.Transient("no route")
    assert await readiness.problem() == "", "an answer is good for a while"
    now[0] += 6
    assert "no route" in await readiness.problem()
    server.error = None
    assert await readiness.problem() == ""
    readiness.stopping = True
    assert await readiness.problem() == "stopping"
    assert server.asked == 3
