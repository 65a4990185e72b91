"""``install`` and ``version``."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Cli

from tools.controlplane import ControlPlane
from tools.rest import Api
from vela_workflow.api import constants, crd
from vela_workflow.authoring import definitions

DEFINITION = constants.STEP_DEFINITION


@pytest.fixture
def system(admin: Api) -> Iterator[str]:
    """A name for a system namespace, which is not there yet."""
    name = f"system-{secrets.token_hex(4)}"
    yield name
    admin.delete("v1", "Namespace", name)


def install(cli: Cli, system: str, *more: str) -> Counter[str]:
    """Install; returns how many objects were created, configured, unchanged."""
    done = cli("install", f"--namespace={system}", *more, namespace=False)
    assert (done.code, done.err) == (0, "")
    return Counter(line.split(" ", 1)[1] for line in done.lines)


def test_install_is_idempotent_and_repairs(cli: Cli, admin: Api, system: str, installed_crds: None) -> None:
    count = len(definitions.load_all())
    crds = len(crd.DEFINITIONS)
    assert install(cli, system, "--dry-run")["created (dry run)"] == count + 1
    assert admin.get("v1", "Namespace", system) is None, "a dry run changes nothing"
    assert install(cli, system)["created"] == count + 1
    found = admin.list(DEFINITION.api_version, DEFINITION.kind, system)
    assert {one["metadata"]["name"] for one in found} == {one["metadata"]["name"] for one in definitions.load_all()}
    assert install(cli, system) == {"unchanged": count + 1 + crds}
    spoilt = {"spec": {"schematic": {"cue": {"template": "spoilt"}}}}
    admin.patch(DEFINITION.api_version, DEFINITION.kind, "suspend", spoilt, system)
    assert install(cli, system, "--dry-run")["configured (dry run)"] == 1
    assert install(cli, system)["configured"] == 1
    mended = admin.get(DEFINITION.api_version, DEFINITION.kind, "suspend", system)
    assert mended is not None
    assert mended["spec"]["schematic"]["cue"]["template"] != "spoilt"


def test_only_crds_leave_all_else_alone(cli: Cli, admin: Api, system: str, installed_crds: None) -> None:
    assert install(cli, system, "--crds-only") == {"unchanged": len(crd.DEFINITIONS)}
    assert install(cli, system, "--crds-only", "--dry-run") == {"unchanged (dry run)": len(crd.DEFINITIONS)}
    assert admin.get("v1", "Namespace", system) is None


def test_install_into_an_empty_cluster(control_plane: ControlPlane) -> None:
    with control_plane.second("empty") as empty, Cli(empty.kubeconfig, "default") as cli:
        before = cli("version", namespace=False)
        assert "WorkflowRun    not installed" in before.out
        assert cli("ls").err.startswith("error: the cluster does not know workflowruns.core.oam.dev")
        tried = cli("install", "--dry-run", namespace=False)
        assert tried.code == 0
        assert all(line.endswith("created (dry run)") for line in tried.lines)
        done = cli("install", namespace=False)
        assert (done.code, done.err) == (0, "")
        assert done.lines[0].startswith("customresourcedefinition.apiextensions.k8s.io/")
        assert "namespace/vela-system created" in done.lines
        assert "workflowstepdefinition.core.oam.dev/apply-object created" in done.lines
        after = cli("version", namespace=False)
        assert "WorkflowRun    v1alpha1" in after.out
        assert empty.url in after.out
        assert cli("ls").code == 0


def test_printing_asks_no_cluster() -> None:
    with Cli(Path("/nonexistent"), "") as cli:
        done = cli("install", "--dry-run", "-o", "json", "--namespace=elsewhere", namespace=False)
    items = json.loads(done.out)["items"]
    assert Counter(item["kind"] for item in items) == {
        "CustomResourceDefinition": len(crd.DEFINITIONS),
        "Namespace": 1,
        **Counter(one["kind"] for one in definitions.load_all()),
    }
    assert {item["metadata"].get("namespace") for item in items if item["kind"] == DEFINITION.kind} == {"elsewhere"}
