"""Makes what is generated of the deployment, from the one place where each thing is said.

Settings are documented in ``vela_workflow/settings.py``, chart values in ``values.yaml``, CRDs in ``crds/``,
definitions in ``definitions/``, webhooks in ``vela_workflow/operator/admission.py``. Run ``python -m deploy.generate``
after a change of these; with ``--check`` it only tells what is not up to date, which a test does too.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from vela_workflow.api import yaml_style
from vela_workflow.authoring import definitions
from vela_workflow.operator import admission, dashboard
from vela_workflow.settings import Settings, environment_name

JSON = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parents[1]
CHART: Final = ROOT / "deploy" / "charts" / "vela-workflow"
SCHEMA: Final = ROOT / "deploy" / "values.schema.json"
REFERENCE: Final = ROOT / "docs" / "reference" / "settings.md"

BY_VALUES: Final = {
    "namespace": "rbac.namespaces",
    "system_namespace": "the namespace of the release",
    "leader_election": "leaderElection.enabled",
    "lease_name": "fullnameOverride",
    "lease_duration": "leaderElection.leaseDuration",
    "lease_trusted": "leaderElection.leaseTrusted",
    "lease_retry": "leaderElection.leaseRetry",
    "shards": "sharding.shards",
    "log_level": "logging.level",
    "log_format": "logging.format",
    "metrics_port": "metrics.port",
    "metrics_address": "metrics.address",
    "trace_endpoint": "tracing.endpoint",
    "admission_port": "admission.port",
    "admission_service": "fullnameOverride",
    "admission_secret": "fullnameOverride",
    "admission_directory": "admission.certificate.source",
    "admission_configuration": "fullnameOverride",
    "admission_unknown_types": "admission.unknownTypes",
}
"""Settings that have a chart value of their own; all others are values below ``settings``."""

OUTSIDE: Final = frozenset({"kubeconfig", "context"})
"""Settings that make no sense in a Pod."""

INTRODUCTION: Final = """\
# Settings

How the operator is set up. A setting is given as a flag of `vela-workflow operator`, as an environment variable, or as
a value of the [Helm chart](../../deploy/charts/vela-workflow/README.md); a flag wins over a variable. A wrong value
stops the start with a message that says which, and so does a variable that begins with `VELA_WORKFLOW_` and is no
setting.

Made by `python -m deploy.generate` from `vela_workflow/settings.py`.
"""


def camel(name: str) -> str:
    """The name of a setting as chart values are spelt: ``cueTimeout``."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def outputs() -> dict[Path, str]:
    """The text of every generated file."""
    found = {
        REFERENCE: reference(),
        CHART / "README.md": readme(),
        CHART / "values.schema.json": schema(),
        CHART / "files" / "webhooks.json": webhooks(),
        CHART / "files" / "dashboard.json": json.dumps(dashboard.dashboard(), indent=2) + "\n",
    }
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        found[CHART / "crds" / path.name] = path.read_text(encoding="utf-8")
    for body in definitions.load_all():
        name = f"{body['kind'].lower()}-{body['metadata']['name']}.yaml"
        found[CHART / "files" / "definitions" / name] = yaml.dump(
            body, Dumper=yaml_style.Plain, sort_keys=False, width=120
        )
    return found


def superfluous(found: dict[Path, str]) -> list[Path]:
    """Files in generated folders that are generated no longer."""
    there = [*(CHART / "crds").glob("*"), *(CHART / "files" / "definitions").glob("*")]
    return sorted(path for path in there if path not in found)


# Settings.


def reference() -> str:
    """The reference page."""
    parts = [INTRODUCTION]
    properties = Settings.model_json_schema()["properties"]
    for name, told in properties.items():
        default = told.get("default", "")
        value = BY_VALUES.get(name, "" if name in OUTSIDE else f"settings.{camel(name)}")
        shown = f"`{value}`" if "." in value or value == "fullnameOverride" else value
        rows = [
            ("Flag", f"`--{name.replace('_', '-')}`"),
            ("Variable", f"`{environment_name(name)}`"),
            *([("Chart value", shown)] if value else []),
            ("Type", _type(told)),
            ("Default", f"`{json.dumps(default)}`" if default != "" else "empty"),
        ]
        table = "\n".join(["| | |", "|---|---|", *(f"| {key} | {text} |" for key, text in rows)])
        parts.append(f"## `{name}`\n\n{told['description']}\n\n{table}\n")
    return "\n".join(parts)


def _type(told: JSON) -> str:
    if "enum" in told:
        return " or ".join(f"`{value}`" for value in told["enum"])
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}
    bounds = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "more than",
        "exclusiveMaximum": "less than",
    }
    limits = [f"{text} {told[key]:g}" for key, text in bounds.items() if key in told]
    return ", ".join([words[told["type"]], *limits])


# The chart.


def schema() -> str:
    """The schema of the chart's values: the hand-written one with the settings filled in."""
    found: JSON = json.loads(SCHEMA.read_text(encoding="utf-8"))
    wanted = {
        camel(name): {key: value for key, value in told.items() if key not in ("title", "default")}
        for name, told in Settings.model_json_schema()["properties"].items()
        if name not in BY_VALUES and name not in OUTSIDE
    }
    found["properties"]["settings"] = {"type": "object", "additionalProperties": False, "properties": wanted}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def webhooks() -> str:
    """The webhooks by kind of configuration, for the template that writes the configurations."""
    found: dict[str, list[JSON]] = {"MutatingWebhookConfiguration": [], "ValidatingWebhookConfiguration": []}
    for webhook in admission.WEBHOOKS:
        kind = "MutatingWebhookConfiguration" if webhook.mutating else "ValidatingWebhookConfiguration"
        found[kind].append(
            {
                "name": webhook.name,
                "path": f"/{webhook.id}",
                "group": webhook.kind.group,
                "version": webhook.kind.version,
                "resource": webhook.kind.plural,
            }
        )
    return json.dumps(found, indent=2) + "\n"


def documented() -> Iterator[tuple[str, str, Any]]:
    """Path, description and default of every value that ``values.yaml`` documents."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    stack: list[tuple[int, str]] = []
    told: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            told = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("# ") and told:
            told.append(stripped.removeprefix("# "))
        elif match := re.match(r"( *)([A-Za-z0-9_]+):", line):
            depth = len(match[1])
            stack = [entry for entry in stack if entry[0] < depth] + [(depth, match[2])]
            if told:
                path = [name for _, name in stack]
                yield ".".join(path), " ".join(told), _at(values, path)
            told = []


def _at(values: Any, path: list[str]) -> Any:
    for name in path:
        values = values[name]
    return values


def readme() -> str:
    """The README of the chart."""
    rows = "\n".join(f"| `{path}` | {told} | `{json.dumps(value)}` |" for path, told, value in documented())
    head = (ROOT / "deploy" / "chart-readme.md").read_text(encoding="utf-8")
    return f"{head}\n## Values\n\n| Value | Meaning | Default |\n|---|---|---|\n{rows}\n"


def main() -> int:
    """Write all files, or tell which are not up to date."""
    parser = argparse.ArgumentParser(description="Generate what is generated of the deployment.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something is not up to date")
    arguments = parser.parse_args()
    found = outputs()
    stale = [path for path, text in found.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    superseded = superfluous(found)
    for path in (*stale, *superseded):
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    if arguments.check:
        return 1 if stale or superseded else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found[path], encoding="utf-8")
    for path in superseded:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
