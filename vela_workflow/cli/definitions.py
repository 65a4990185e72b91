"""``def``: write step types, try them out, and put them into a cluster.

Here are the group and the commands that talk to a cluster; those for files alone are in ``definition_files.py``.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.cli import completing, definition_files, lazy, options, output
from vela_workflow.cli.errors import ApiError, NotFound
from vela_workflow.cli.output import Format

if TYPE_CHECKING:
    from vela_workflow.cli.kube import Kube, Resource
    from vela_workflow.cli.vetting import Source

JSON = dict[str, Any]

CATEGORY: Final = "custom.definition.oam.dev/category"

app = lazy.family()
group = typer.Typer(cls=lazy.FullHelp, rich_markup_mode=None, no_args_is_help=True)
app.add_typer(
    group,
    name="def",
    help="Write step types, try them out, and put them into a cluster.",
    epilog=lazy.examples(
        "vela-workflow def init my-step",
        "vela-workflow def test my-step.cue",
        "vela-workflow def render my-step.cue --set message=hello",
        "vela-workflow def apply my-step.cue",
    ),
)
definition_files.register(group)

System = Annotated[
    str, typer.Option("--system-namespace", metavar="NAME", help="Namespace of the definitions that all may use.")
]


class DefinitionFormat(enum.StrEnum):
    """Values of ``-o`` for one definition."""

    CUE = "cue"
    JSON = "json"
    YAML = "yaml"


@group.command(
    epilog=lazy.examples(
        "vela-workflow def apply my-step.cue",
        "vela-workflow def apply steps/ --namespace vela-system",
        "",
        "Imports, operations and names are checked first, and nothing is written when one of the files is wrong.",
    )
)
@options.connected
def apply(
    cluster: Kube,
    paths: definition_files.Paths,
    package: definition_files.PackageFiles = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the API server check them, and write nothing.")
    ] = False,
) -> None:
    """Check definitions and put them into a namespace.

    Definitions of a namespace are for its own runs; those of the system namespace are for all.
    """
    sources = definition_files.sources(paths)
    packages = [*_packages(cluster), *definition_files.package_objects(package)]
    definition_files.refuse(definition_files.unsound(sources, packages))
    for source in sources:
        name, namespace = source.name, _namespace(cluster, source)
        resource = _resource(cluster, source.definition["kind"])
        before = cluster.get_or_none(resource, name, namespace)
        after = cluster.apply(resource, source.definition, namespace, dry_run=dry_run)
        what = "created" if before is None else "unchanged" if before.get("spec") == after.get("spec") else "configured"
        output.say(f"{output.full_name(after)} {what} in {namespace}{' (dry run)' if dry_run else ''}")


def _namespace(cluster: Kube, source: Source) -> str:
    """Where a definition goes: as the command says, else as its manifest says, else where the context is."""
    return cluster.chosen_namespace or source.definition["metadata"].get("namespace") or cluster.namespace


def _packages(cluster: Kube) -> list[JSON]:
    """The packages from outside that can be used in the cluster; none where they cannot be read."""
    from vela_workflow.cli import kube, rehearsal

    try:
        found = list(cluster.list(kube.of(constants.PACKAGE), None))
    except ApiError:
        return []
    return rehearsal.usable(found)


def _resource(cluster: Kube, kind: str) -> Resource:
    from vela_workflow.cli import kube

    step = constants.STEP_DEFINITION
    return kube.of(step) if kind == step.kind else cluster.discover(step.api_version, kind)


@group.command(epilog=lazy.examples("vela-workflow def ls", "vela-workflow def ls -A -o wide"))
@options.connected
def ls(
    cluster: Kube,
    everywhere: options.AllNamespaces = False,
    system_namespace: System = constants.DEFAULT_SYSTEM_NAMESPACE,
    form: output.List = Format.TABLE,
) -> None:
    """List the step types that runs of a namespace can use.

    One of the namespace itself hides one of the same name in the system namespace.
    """
    from rich.text import Text

    from vela_workflow.cli import kube, render

    resource = kube.of(constants.STEP_DEFINITION)
    found = list(cluster.list(resource, None if everywhere else cluster.namespace))
    if not everywhere and cluster.namespace != system_namespace:
        own = {one["metadata"]["name"] for one in found}
        found += [one for one in cluster.list(resource, system_namespace) if one["metadata"]["name"] not in own]
    found.sort(key=lambda one: (one["metadata"]["name"], one["metadata"]["namespace"]))
    if form not in {Format.TABLE, Format.WIDE}:
        output.objects(found, form)
        return
    if not found:
        output.tell(f"no step types in {cluster.namespace} or {system_namespace}; `vela-workflow install` brings some")
        return
    headers = ["NAME", "NAMESPACE", "CATEGORY", "DESCRIPTION"]
    rows = [[Text(output.clean(cell)) for cell in _row(one, wide=form is Format.WIDE)] for one in found]
    output.show(render.table(headers, rows, output.columns()))


SHORT: Final = 70
"""Characters of a description that a list shows."""


def _row(definition: JSON, *, wide: bool) -> Iterator[str]:
    metadata = definition["metadata"]
    annotations = metadata.get("annotations") or {}
    yield metadata["name"]
    yield metadata["namespace"]
    yield annotations.get(CATEGORY, "")
    text = " ".join(annotations.get(constants.ANNOTATION_DEFINITION_DESCRIPTION, "").split())
    yield text if wide or len(text) <= SHORT else f"{text[: SHORT - 1]}…"


@group.command(
    epilog=lazy.examples(
        "vela-workflow def show apply-object",
        "vela-workflow def show apply-object > my-apply-object.cue",
        "vela-workflow def show apply-object -o yaml",
    )
)
@options.connected
def show(
    cluster: Kube,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Name of the step type.", show_default=False, autocompletion=completing.step_type
        ),
    ],
    system_namespace: System = constants.DEFAULT_SYSTEM_NAMESPACE,
    form: Annotated[DefinitionFormat, typer.Option("--output", "-o", help="How to show it.")] = DefinitionFormat.CUE,
) -> None:
    """Print a step type of the cluster as a definition file.

    It is looked for in the namespace, then in the system namespace, as the operator does.
    """
    from vela_workflow.authoring import definitions

    found = _find(cluster, name, system_namespace)
    if form is DefinitionFormat.CUE:
        typer.echo(definitions.write(found), nl=False)
    else:
        output.obj(found, output.ObjectFormat(form.value))


def _find(cluster: Kube, name: str, system_namespace: str) -> JSON:
    from vela_workflow.cli import kube

    resource = kube.of(constants.STEP_DEFINITION)
    namespaces = tuple(dict.fromkeys((cluster.namespace, system_namespace)))
    for namespace in namespaces:
        found = cluster.get_or_none(resource, name, namespace)
        if found is not None:
            return found
    known = [one["metadata"]["name"] for namespace in namespaces for one in cluster.list(resource, namespace)]
    hint = errors.did_you_mean(name, known) or "; see `vela-workflow def ls`"
    raise NotFound(f'there is no step type "{name}" in {" or ".join(namespaces)}{hint}')
