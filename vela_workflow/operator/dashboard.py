"""The Grafana dashboard, as a table of its panels; ``python -m deploy.generate`` writes it into the chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph: its title, the unit of its axis, and its lines as (legend, query)."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]


def _quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"p{round(100 * share)}", f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket[5m])))")
        for share in (0.5, 0.95, 0.99)
    )


PANELS: Final = (
    Panel("Runs by phase", "short", (("{{phase}}", "sum by (phase) (workflowrun_phase_number)"),)),
    Panel(
        "Runs that ended, per minute",
        "short",
        (("{{phase}}", "60 * sum by (phase) (rate(workflowrun_finished_time_seconds_count[5m]))"),),
    ),
    Panel("Time from start to end", "s", _quantiles("workflowrun_finished_time_seconds")),
    Panel(
        "Failed steps by reason",
        "short",
        (("{{reason}}", 'sum by (reason) (workflowrun_step_phase_number{phase="failed"})'),),
    ),
    Panel("Time of one turn", "s", _quantiles("workflowrun_reconcile_time_seconds")),
    Panel("Time of one attempt of a step", "ms", _quantiles("workflowrun_step_duration_ms")),
    Panel("Wait for a worker", "s", _quantiles("vela_workflow_queue_wait_seconds")),
    Panel(
        "Queue",
        "short",
        (
            ("waiting {{pod}}", "vela_workflow_queue_depth"),
            ("busy {{pod}}", "vela_workflow_workers_busy"),
            ("of {{pod}}", "vela_workflow_workers"),
        ),
    ),
    Panel("From a change to the turn of the run", "s", _quantiles("vela_workflow_wake_seconds")),
    Panel(
        "Evaluations",
        "short",
        (
            (
                "evaluations per command",
                "rate(vela_workflow_cue_programs_total[5m]) / rate(vela_workflow_cue_commands_total[5m])",
            ),
            ("commands per second", "rate(vela_workflow_cue_commands_total[5m])"),
            ("cache hits per second", "rate(vela_workflow_cue_cache_hits_total[5m])"),
        ),
    ),
    Panel(
        "Templates in older CUE, prepared per minute",
        "short",
        (
            (
                "{{upgrade_id}}",
                "60 * sum by (upgrade_id) (rate(kubevela_workflow_cue_compat_rewrite_total[5m]))",
            ),
            ("dropped", "60 * sum(rate(kubevela_workflow_cue_compat_cache_evictions_total[5m]))"),
        ),
    ),
    Panel(
        "Requests to API servers",
        "reqps",
        (
            (
                "{{cluster}} {{verb}} {{code}}",
                "sum by (cluster, verb, code) (rate(vela_workflow_api_request_seconds_count[5m]))",
            ),
        ),
    ),
    Panel(
        "Time of one request, by kind",
        "s",
        (
            (
                "p95 {{cluster}} {{verb}} {{kind}}",
                "histogram_quantile(0.95, sum by (le, cluster, verb, kind) "
                "(rate(kubevela_controller_client_request_time_seconds_bucket[5m])))",
            ),
        ),
    ),
    Panel(
        "Watches", "short", (("{{pod}}", "vela_workflow_watches"), ("polled {{pod}}", "vela_workflow_polled_scopes"))
    ),
    Panel("Leader", "short", (("shard {{shard}} {{pod}}", "vela_workflow_leader"),)),
    Panel(
        "Memory", "bytes", (("{{pod}}", "process_resident_memory_bytes * on (pod) group_left () vela_workflow_info"),)
    ),
)

COLUMNS: Final = 2
WIDTH, HEIGHT = 24 // COLUMNS, 8


def dashboard() -> JSON:
    """The dashboard as Grafana imports it."""
    source = {"type": "prometheus", "uid": "${source}"}
    panels = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": panel.title,
            "datasource": source,
            "gridPos": {"x": number % COLUMNS * WIDTH, "y": number // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": source}
                for index, (legend, query) in enumerate(panel.lines)
            ],
        }
        for number, panel in enumerate(PANELS)
    ]
    variable = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": "vela-workflow",
        "title": "vela-workflow",
        "tags": ["vela-workflow"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [variable]},
        "panels": panels,
    }
