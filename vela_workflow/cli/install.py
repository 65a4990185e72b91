"""``install``: what the operator needs in a cluster before it can carry out runs.

Everything is written by server-side apply, so installing again repairs and upgrades, and says what it changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from vela_workflow.api import constants
from vela_workflow.cli import kube, lazy, options, output, resources
from vela_workflow.cli.errors import ApiError, CommandError, Gone, NotFound
from vela_workflow.cli.kube import Deadline, Kube, Resource
from vela_workflow.cli.output import TextFormat

JSON = dict[str, Any]

ESTABLISHED_SECONDS: Final = 60.0

app = lazy.family()


@dataclass(frozen=True, slots=True)
class Package:
    """What is installed: definitions by kind of object go where their CRD says. It may be CRDs and nothing else."""

    crds: tuple[JSON, ...]
    namespace: JSON | None
    definitions: tuple[JSON, ...]

    @property
    def objects(self) -> list[JSON]:
        """All of it, in the order in which it is written."""
        return [*self.crds, *([self.namespace] if self.namespace else []), *self.definitions]

    def resource(self, definition: JSON) -> Resource:
        """Where objects of the kind of a definition are, by the CRDs."""
        for crd in self.crds:
            spec = crd["spec"]
            group, _, version = str(definition["apiVersion"]).partition("/")
            served = {one["name"] for one in spec["versions"]}
            if (spec["group"], spec["names"]["kind"]) == (group, definition["kind"]) and version in served:
                return Resource(definition["apiVersion"], spec["names"]["plural"], spec["scope"] == "Namespaced")
        raise CommandError(f"{definition['metadata']['name']}: there is no CRD for the kind {definition['kind']}")


def load(system_namespace: str, *, crds_only: bool = False) -> Package:
    """Read what comes with this program; raises ``WorkflowError`` when files are missing or faulty."""
    import yaml

    from vela_workflow.authoring import definitions

    files = sorted(resources.folder("crds").glob("*.yaml"))
    crds = tuple(yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)
    if crds_only:
        return Package(crds, None, ())
    found = definitions.load_all(resources.folder("definitions"))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": system_namespace}}
    placed = tuple({**one, "metadata": {**one["metadata"], "namespace": system_namespace}} for one in found)
    return Package(crds, namespace, placed)


@app.command(
    epilog=lazy.examples(
        "vela-workflow install",
        "vela-workflow install --namespace workflows --dry-run",
        "vela-workflow install --dry-run -o yaml > install.yaml",
        "vela-workflow install --crds-only",
        "",
        "To uninstall, first delete what it wrote into the system namespace, then the CRDs. With a CRD all",
        "objects of its kind vanish, also the runs:",
        "kubectl delete workflowstepdefinitions -n vela-system -l app.kubernetes.io/part-of=vela-workflow",
        "kubectl delete crd workflowruns.core.oam.dev workflows.core.oam.dev \\",
        "  workflowstepdefinitions.core.oam.dev packages.cue.oam.dev",
    )
)
def install(
    namespace: Annotated[
        str,
        typer.Option("--namespace", "-n", metavar="NAME", help="System namespace, where definitions for all go."),
    ] = constants.DEFAULT_SYSTEM_NAMESPACE,
    *,
    crds_only: Annotated[
        bool, typer.Option("--crds-only", help="Only the CRDs; neither namespace nor definitions.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done; with -o, print the objects.")
    ] = False,
    form: Annotated[
        TextFormat, typer.Option("--output", "-o", help="With --dry-run: print the objects, ask no cluster.")
    ] = TextFormat.TEXT,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
) -> None:
    """Put CRDs, system namespace and built-in definitions into a cluster.

    It may be repeated at any time, also to upgrade: what is there already is brought up to date. The operator itself
    is started by the Helm chart, or by the command operator.
    """
    package = load(namespace, crds_only=crds_only)
    if form is not TextFormat.TEXT:
        if not dry_run:
            raise typer.BadParameter("-o prints the objects instead of installing them; add --dry-run")
        output.data({"apiVersion": "v1", "kind": "List", "items": package.objects}, form)
        return
    with kube.Kube(kubeconfig, context) as cluster:
        for line in _install(cluster, package, dry_run=dry_run):
            output.say(f"{line} (dry run)" if dry_run else line)


def _install(cluster: Kube, package: Package, *, dry_run: bool) -> Iterator[str]:
    """Write everything; yields a line for each object."""
    known: set[str] = set()
    for crd in package.crds:
        before = cluster.get_or_none(kube.CRDS, crd["metadata"]["name"])
        if before is not None:
            known.add(crd["metadata"]["name"])
        yield _apply(cluster, kube.CRDS, crd, before, dry_run=dry_run)
    if not dry_run:
        for crd in package.crds:
            established(cluster, crd["metadata"]["name"], Deadline(ESTABLISHED_SECONDS))
    if package.namespace is None:
        return
    name = package.namespace["metadata"]["name"]
    before = cluster.get_or_none(kube.NAMESPACES, name)
    fresh = before is None
    yield _apply(cluster, kube.NAMESPACES, package.namespace, before, dry_run=dry_run)
    there: dict[Resource, dict[str, JSON]] = {}
    for definition in package.definitions:
        resource = package.resource(definition)
        if dry_run and (fresh or resource.full_name not in known):
            # The server cannot try what needs a namespace or a kind that is not there yet.
            yield f"{output.full_name(definition)} created"
            continue
        if resource not in there:
            there[resource] = {one["metadata"]["name"]: one for one in cluster.list(resource, name)}
        yield _apply(
            cluster, resource, definition, there[resource].get(definition["metadata"]["name"]), dry_run=dry_run
        )


def _apply(cluster: Kube, resource: Resource, body: JSON, before: JSON | None, *, dry_run: bool) -> str:
    applied = cluster.apply(resource, body, str(body["metadata"].get("namespace") or ""), dry_run=dry_run)
    return f"{output.full_name(applied)} {_done(before, applied)}"


def _done(before: JSON | None, after: JSON) -> str:
    if before is None:
        return "created"
    return "unchanged" if _lasting(before) == _lasting(after) else "configured"


def _lasting(body: JSON) -> JSON:
    """An object without what changes by itself; a dry run gives no new resourceVersion, so that one cannot tell."""
    metadata = {
        key: value for key, value in body["metadata"].items() if key not in {"resourceVersion", "managedFields"}
    }
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}


def established(cluster: Kube, name: str, deadline: Deadline) -> None:
    """Wait, by a watch, until the API server serves a CRD; raises ``CommandError`` when it refuses the names in it."""
    while True:
        crd = cluster.get(kube.CRDS, name)
        if _is_established(crd):
            return
        since = crd["metadata"]["resourceVersion"]
        try:
            for kind, changed in cluster.watch(kube.CRDS, name, "", since=since, seconds=deadline.left):
                if kind == "DELETED":
                    raise NotFound(f"{name} was deleted while it was being installed")
                if _is_established(changed):
                    return
        except Gone:
            pass  # read it again
        deadline.check(f"{name}: the API server does not serve it after {ESTABLISHED_SECONDS:g} s")


def _is_established(crd: JSON) -> bool:
    conditions = {one["type"]: one for one in (crd.get("status") or {}).get("conditions") or ()}
    refused = conditions.get("NamesAccepted", {})
    if refused.get("status") == "False":
        raise ApiError(f"{crd['metadata']['name']}: its names are taken: {refused.get('message', '')}")
    return bool(conditions.get("Established", {}).get("status") == "True")
