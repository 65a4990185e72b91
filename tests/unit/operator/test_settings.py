"""Settings: flags, environment, what is refused and how that is told."""

from __future__ import annotations

import pytest

from deploy import generate
from vela_workflow import errors, settings


@pytest.mark.parametrize(
    ("environment", "flags", "field", "value"),
    [
        pytest.param({}, {}, "workers", 32, id="default"),
        pytest.param({"VELA_WORKFLOW_WORKERS": "64"}, {}, "workers", 64, id="environment"),
        pytest.param({"VELA_WORKFLOW_WORKERS": "64"}, {"workers": 8}, "workers", 8, id="flag-wins"),
        pytest.param({"VELA_WORKFLOW_WORKERS": "64"}, {"workers": None}, "workers", 64, id="flag-that-is-not-given"),
        pytest.param({"VELA_WORKFLOW_LOG_LEVEL": "debug"}, {}, "log_level", "DEBUG", id="level-in-small-letters"),
        pytest.param({"VELA_WORKFLOW_LEADER_ELECTION": "true"}, {}, "leader_election", True, id="truth"),
        pytest.param({"VELA_WORKFLOW_NAMESPACE": "a, b,a,"}, {}, "namespaces", ("a", "b"), id="namespaces"),
        pytest.param({}, {}, "namespaces", (), id="all-namespaces"),
        pytest.param({"VELA_WORKFLOW_CACHE": "/x"}, {}, "workers", 32, id="variable-of-the-tools"),
        pytest.param({"WORKERS": "x", "VELA_WORKERS": "x"}, {}, "workers", 32, id="variables-of-others"),
    ],
)
def test_they_are_read(environment: dict[str, str], flags: dict[str, object], field: str, value: object) -> None:
    assert getattr(settings.load(flags, environment), field) == value


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        pytest.param({"VELA_WORKFLOW_WORKRES": "4"}, "is VELA_WORKFLOW_WORKERS meant?", id="misspelt"),
        pytest.param({"VELA_WORKFLOW_SOMETHING": "4"}, "VELA_WORKFLOW_SOMETHING: there is no such", id="unknown"),
        pytest.param({"VELA_WORKFLOW_workers": "4"}, "VELA_WORKFLOW_workers: there is no such", id="small-letters"),
        pytest.param({"VELA_WORKFLOW_WORKERS": "many"}, "workers: ", id="no-number"),
        pytest.param({"VELA_WORKFLOW_WORKERS": "0"}, "workers: ", id="too-small"),
        pytest.param({"VELA_WORKFLOW_LOG_LEVEL": "LOUD"}, "log_level: ", id="no-level"),
        pytest.param({"VELA_WORKFLOW_TRACE_ENDPOINT": "collector"}, "trace_endpoint: ", id="no-address"),
        pytest.param({"VELA_WORKFLOW_SHARDS": "2"}, "wrong settings: shards are shared", id="shards-without-election"),
        pytest.param({"VELA_WORKFLOW_LEASE_RETRY": "11"}, "lease_retry must be less", id="retry-too-slow"),
        pytest.param({"VELA_WORKFLOW_LEASE_TRUSTED": "15"}, "lease_trusted", id="trusted-too-long"),
    ],
)
def test_what_is_wrong_stops_the_start(environment: dict[str, str], told: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        settings.load({}, environment)
    assert told in str(caught.value)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(errors.Invalid) as caught:
        settings.load({}, {"VELA_WORKFLOW_WORKERS": "x", "VELA_WORKFLOW_SHARDS": "x", "VELA_WORKFLOW_NONE": "x"})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    "name",
    ["PORT", "SERVICE_HOST", "SERVICE_PORT_METRICS", "PORT_443_TCP_ADDR", "WEB_SERVICE_HOST", "WEB_PORT_80_TCP"],
)
def test_what_kubernetes_tells_of_services_is_no_setting(name: str) -> None:
    assert settings.load({}, {f"VELA_WORKFLOW_{name}": "tcp://10.0.0.1:443"}) == settings.Settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings.Settings().workers = 1  # type: ignore[misc]


@pytest.mark.parametrize("field", settings.Settings.model_fields)
def test_every_field_is_documented(field: str) -> None:
    assert settings.Settings.model_fields[field].description
    assert f"## `{field}`" in generate.REFERENCE.read_text(encoding="utf-8")
