"""What a running operator tells: metrics, probes, log lines and traces."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import web
from tests.cluster import operator_fixture as fixture
from tests.cluster.conftest import namespace_for_runs
from tests.cluster.replicas import Replica
from tools.kubectl import Kubectl
from tools.rest import Api
from tools.waiting import wait_for
from vela_workflow.operator import tracing

JSON = dict[str, Any]

GO_NAMES = {
    "workflowrun_reconcile_time_seconds": "histogram",
    "generate_task_runners_time_seconds": "histogram",
    "workflowrun_phase_number": "gauge",
    "workflowrun_finished_time_seconds": "histogram",
    "workflowrun_initialized_num": "unknown",
    "workflowrun_step_phase_number": "gauge",
    "workflowrun_step_duration_ms": "histogram",
    "kubevela_workflow_cue_compat_rewrite": "counter",
    "kubevela_workflow_cue_compat_upgrade_duration_seconds": "histogram",
    "kubevela_workflow_cue_compat_cache_evictions": "counter",
    "kubevela_controller_client_request_time_seconds": "histogram",
}
"""Metrics that keep the names they have in the Go controller (engine 10.5); counters have ``_total`` behind them."""

REQUESTS = "kubevela_controller_client_request_time_seconds"
COMPAT = "kubevela_workflow_cue_compat"


class Collector(web.Server):
    """An OpenTelemetry collector that keeps what it gets; ``parents`` is what requests to other paths belong to."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Any] = []
        self.parents: dict[str, str | None] = {}

    def answer(self, request: web.Request) -> web.Answer:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        if request.method == "GET":
            self.parents[request.path] = request.headers.get("traceparent")
            return web.Answer()
        encoding = request.headers.get("Content-Encoding") or ""
        data = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(encoding, bytes)(request.body)
        for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return web.Answer()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.proto")
    with Collector() as made:
        yield made


@pytest.fixture(scope="module")
def place(admin: Api, installed: None) -> Iterator[str]:
    with namespace_for_runs(admin) as name:
        yield name


@pytest.fixture(scope="module")
def replica(
    place: str, collector: Collector, operator_kubeconfig: Path, cue_command: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Replica]:  # fmt: skip
    log = tmp_path_factory.mktemp("replica") / "operator.log"
    with Replica(
        "only", kubeconfig=operator_kubeconfig, cue=cue_command, namespace=place, log=log, lease_namespace=place,
        log_format="json", log_level="debug", trace_endpoint=collector.url,
    ) as started:  # fmt: skip
        yield started


@pytest.fixture(scope="module")
def own_runs(admin: Api, kubectl: Kubectl, place: str, replica: Replica) -> Iterator[fixture.Runs]:
    with fixture.Recorder(kubectl, place) as recorder:
        yield fixture.Runs(admin, recorder, place)


STEPS = """
- {name: touch, type: touch, properties: {name: touched}}
- name: group
  type: step-group
  subSteps:
    - {name: wait, type: await, properties: {name: later}}
- {name: refused, type: fail, if: always}
"""


@pytest.fixture(scope="module")
def ended(own_runs: fixture.Runs) -> fixture.Run:
    """A run that has applied, waited, been woken and failed, and one whose template is written in older CUE."""
    own_runs.definition("older", "all: [1] + parameter.more\nparameter: more: [...int]")
    own_runs.start("[{name: added, type: older, properties: {more: [2]}}]").ended("succeeded")
    run = own_runs.start(STEPS)
    run.until_step("wait", "running", "Wait")
    own_runs.config_map("later", {"ready": "yes"})
    run.ended("failed")
    return run


def samples(replica: Replica) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples by name and labels."""
    status, text = replica.read("/metrics")
    assert status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    """The sum of a metric over all series with these labels."""
    return sum(value for (one, own), value in found.items() if one == name and labels.items() <= dict(own).items())


def test_metrics_have_the_names_and_types_of_the_go_controller(replica: Replica, ended: fixture.Run) -> None:
    families = {family.name: family.type for family in text_string_to_metric_families(replica.read("/metrics")[1])}
    assert {name: families.get(name) for name in GO_NAMES} == GO_NAMES


@pytest.mark.parametrize(
    ("name", "labels", "least"),
    [
        ("workflowrun_initialized_num", {}, 1),
        ("workflowrun_phase_number", {"phase": "failed"}, 1),
        ("workflowrun_step_phase_number", {"step_type": "fail", "phase": "failed", "reason": "Action"}, 1),
        ("workflowrun_finished_time_seconds_count", {"phase": "failed"}, 1),
        ("workflowrun_reconcile_time_seconds_count", {"begin_phase": "", "end_phase": "executing"}, 1),
        ("workflowrun_reconcile_time_seconds_count", {"begin_phase": "executing", "end_phase": "failed"}, 1),
        ("generate_task_runners_time_seconds_count", {"controller": "workflowrun"}, 2),
        ("workflowrun_step_duration_ms_count", {"step_type": "touch"}, 1),
        ("workflowrun_step_duration_ms_sum", {"step_type": "touch"}, 1.0),
        ("vela_workflow_operation_seconds_count", {"operation": "apply", "outcome": "ok"}, 1),
        ("vela_workflow_api_request_seconds_count", {"cluster": "local", "verb": "patch", "code": "200"}, 1),
        (f"{REQUESTS}_count", {"verb": "patch", "kind": "ConfigMap", "apiVersion": "v1", "cluster": "local"}, 1),
        (f"{REQUESTS}_count", {"controller": "workflowrun", "kind": "WorkflowRun", "unstructured": "true"}, 1),
        (f"{REQUESTS}_count", {"verb": "watch", "kind": "ConfigMap"}, 1),
        (f"{COMPAT}_rewrite_total", {"upgrade_id": "list-arithmetic", "upgrade_version": "0.14"}, 1),
        (f"{COMPAT}_upgrade_duration_seconds_count", {"definition_kind": "WorkflowStepDefinition"}, 3),
        ("vela_workflow_queue_wait_seconds_count", {}, 2),
        ("vela_workflow_wake_seconds_count", {}, 1),
        ("vela_workflow_wakes_total", {}, 1),
        ("vela_workflow_cue_commands_total", {}, 1),
        ("vela_workflow_cue_programs_total", {}, 2),
        ("vela_workflow_cue_cache_misses_total", {}, 1),
        ("vela_workflow_leader", {"shard": "0"}, 1),
        ("vela_workflow_workers", {}, 32),
        ("vela_workflow_definitions", {}, 20),
        ("vela_workflow_info", {"cue": "v0.17.1"}, 1),
        ("process_resident_memory_bytes", {}, 1e7),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_shows(name: str, labels: dict[str, str], least: float, replica: Replica, ended: fixture.Run) -> None:
    assert total(samples(replica), name, **labels) >= least


def test_units_are_those_of_the_names(replica: Replica, ended: fixture.Run) -> None:
    """A step that did one small thing takes milliseconds, and far less than a minute of them."""
    found = samples(replica)
    count = total(found, "workflowrun_step_duration_ms_count", step_type="touch")
    mean = total(found, "workflowrun_step_duration_ms_sum", step_type="touch") / count
    assert 1 < mean < 10_000
    assert total(found, "workflowrun_finished_time_seconds_sum") < 60


def test_no_label_names_a_run(replica: Replica, own_runs: fixture.Runs, ended: fixture.Run) -> None:
    """The number of series does not grow with runs, and nobody's names are among their labels."""
    own_runs.start("[{name: said, type: echo}]").ended("succeeded")
    before = samples(replica).keys()
    for _ in range(3):
        own_runs.start("[{name: said, type: echo}]").ended("succeeded")
    after = samples(replica).keys()
    # A phase in which there is a run just now may come and go; there are as many as phases.
    assert {name for name, _ in after ^ before} <= {"workflowrun_phase_number", "workflowrun_step_phase_number"}
    values = {value for _, labels in after for _, value in labels}
    assert not values & {ended.name, ended.uid, ended.namespace, "said"}


def test_a_deleted_run_is_counted_no_longer(replica: Replica, own_runs: fixture.Runs, admin: Api) -> None:
    run = own_runs.start("[{name: hold, type: suspend}]")
    run.until_phase("suspending")
    wait_for(lambda: total(samples(replica), "workflowrun_phase_number", phase="suspending") == 1, 10, "the count")
    admin.delete(fixture.RUN.api_version, fixture.RUN.kind, run.name, run.namespace)
    wait_for(lambda: total(samples(replica), "workflowrun_phase_number", phase="suspending") == 0, 10, "the count")


@pytest.mark.parametrize(("path", "answer"), [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/", 404)])
def test_the_port_answers(path: str, answer: int, replica: Replica) -> None:
    assert replica.read(path)[0] == answer


def test_log_lines_say_which_run_and_step(replica: Replica, own_runs: fixture.Runs) -> None:
    own_runs.definition("logs", 'import "vela/kube"\nr: kube.#Read & {$params: {cluster: "gone", value: {apiVersion: '
                        '"v1", kind: "ConfigMap", metadata: name: "x"}}}\nparameter: {}')  # fmt: skip
    steps = [{"name": "broken", "type": "logs"}]
    run = own_runs.start(steps)
    run.until_step("broken", "failed", "Execute")
    lines = [json.loads(line) for line in replica.output().splitlines()]
    about = [line for line in lines if line.get("run") == f"{run.namespace}/{run.name}"]
    assert any(line.get("step") == "broken" and line["attempt"] == "1" and line["cluster"] == "gone" for line in about)


def spans_of(collector: Collector, run: fixture.Run, execution: int = 0) -> dict[str, Any]:
    """The spans that have come of one execution of a run, by name."""
    trace = tracing.trace_id(run.uid, execution).to_bytes(16, "big")
    return {span.name: span for span in list(collector.spans) if span.trace_id == trace}


def test_traces_go_from_the_run_to_the_request(
    replica: Replica, collector: Collector, own_runs: fixture.Runs, ended: fixture.Run
) -> None:
    wanted = {"run", "step touch", "step await", "operation kube.apply"}
    wait_for(lambda: wanted <= spans_of(collector, ended).keys(), 20, "the trace")
    found = spans_of(collector, ended)
    assert found["run"].parent_span_id == b""
    assert found["step touch"].parent_span_id == found["run"].span_id
    assert found["step await"].parent_span_id == found["step step-group"].span_id
    assert found["operation kube.apply"].parent_span_id == found["step touch"].span_id
    assert found["request patch"].parent_span_id == found["operation kube.apply"].span_id
    assert found["step fail"].status.message.startswith("oops")
    assert found["run"].end_time_unix_nano >= found["step await"].end_time_unix_nano


def test_http_operations_say_which_span_they_belong_to(
    replica: Replica, collector: Collector, own_runs: fixture.Runs
) -> None:
    own_runs.definition("asks", 'import "vela/http"\nask: http.#HTTPDo & {$params: {url: parameter.url, if '
                        "parameter.own != _|_ {request: header: traceparent: parameter.own}}}\n"
                        "parameter: {url: string, own?: string}")  # fmt: skip
    own = f"00-{7:032x}-{8:016x}-00"
    asked, steered = fixture.unique("/asked"), fixture.unique("/own")
    run = own_runs.start([
        {"name": "asks", "type": "asks", "properties": {"url": collector.url + asked}},
        {"name": "own", "type": "asks", "properties": {"url": collector.url + steered, "own": own}},
    ])  # fmt: skip
    run.ended("succeeded")
    assert collector.parents[steered] == own
    trace = tracing.trace_id(run.uid).to_bytes(16, "big")

    def operations() -> set[str]:
        found = [one for one in list(collector.spans) if one.trace_id == trace and one.name == "operation http.do"]
        return {f"00-{trace.hex()}-{one.span_id.hex()}-01" for one in found}

    wait_for(lambda: len(operations()) == 2, 20, "the spans of both operations")
    assert collector.parents[asked] in operations()


@pytest.mark.parametrize("step", ["*", "b"])
def test_a_restarted_run_begins_a_trace_that_is_linked_to_the_one_before(
    step: str, replica: Replica, collector: Collector, own_runs: fixture.Runs
) -> None:
    run = own_runs.start(
        [{"name": "a", "type": "echo"}, {"name": "b", "type": "touch", "properties": {"name": fixture.unique("made")}}]
    )
    run.ended("succeeded")
    run.restart(step)
    run.ended("succeeded")
    wanted = {"run", "step touch", "operation kube.apply", "request patch"}
    for execution in (0, 1):
        wait_for(lambda number=execution: wanted <= spans_of(collector, run, number).keys(), 20, "the trace")
    first, second = spans_of(collector, run), spans_of(collector, run, 1)
    assert [(link.trace_id, link.span_id) for link in second["run"].links] == [
        (first["run"].trace_id, first["run"].span_id)
    ]
    assert not first["run"].links
    assert second["step touch"].parent_span_id == second["run"].span_id
    assert second["step touch"].span_id != first["step touch"].span_id
    assert ("step echo" in second) == (step == "*"), "what is not done again stays where it was"
