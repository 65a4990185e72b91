"""``cluster``: join further clusters, and see how they are.

A joined cluster is a Secret in the system namespace, in the form that KubeVela uses: one key per credential. The
operator follows these Secrets, so what is done here takes effect at once, and a cluster that was joined by other means
is shown and changed just as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vela_workflow.api import constants
from vela_workflow.cli import lazy, options, output
from vela_workflow.cli.errors import AlreadyExists, CommandError, ExitCode, NotFound
from vela_workflow.cli.output import Format, TextFormat
from vela_workflow.errors import did_you_mean

if TYPE_CHECKING:
    from rich.text import Text

    from vela_workflow.cli.kube import Kube, Resource
    from vela_workflow.clusters.registry import Probe
    from vela_workflow.clusters.secrets import Cluster

JSON = dict[str, Any]

LOCAL: Final = "local"
PROBE_SECONDS: Final = 10.0

app = lazy.family()
group = typer.Typer(cls=lazy.FullHelp, rich_markup_mode=None, no_args_is_help=True)
app.add_typer(
    group,
    name="cluster",
    help="Join further clusters, and see how they are.",
    epilog=lazy.examples(
        "vela-workflow cluster join --from ~/.kube/shanghai.yaml --name shanghai",
        "vela-workflow cluster ls",
        "vela-workflow cluster probe shanghai",
    ),
)

System = Annotated[
    str, typer.Option("--system-namespace", metavar="NAME", help="Namespace where the Secrets of clusters are.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the cluster.", show_default=False)]
SYSTEM: Final = constants.DEFAULT_SYSTEM_NAMESPACE


def _resource() -> Resource:
    from vela_workflow.cli import kube

    return kube.Resource("v1", "secrets")


def _labels(words: Iterable[str] | None, *, removals: bool = False) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for word in words or ():
        key, equals, value = word.partition("=")
        if not equals and removals and key.endswith("-"):
            found[key[:-1]] = None
        elif key and equals:
            found[key] = value
        else:
            also = ", or as KEY- to remove it" if removals else ""
            raise CommandError(f'"{word}" is no label: write it as KEY=VALUE{also}')
    return found


@group.command(
    epilog=lazy.examples(
        "vela-workflow cluster join --from ~/.kube/shanghai.yaml --name shanghai --label region=asia",
        "vela-workflow cluster join --from ~/.kube/config --from-context us-west --name us-west",
        "",
        "--from is the kubeconfig of the cluster that joins; --kubeconfig that of the cluster it joins.",
        "Its user needs a certificate or a token of its own: log-ins by command do not work in the operator.",
    )
)
@options.connected
def join(
    cluster: Kube,
    *,
    source: Annotated[
        str,
        typer.Option("--from", metavar="FILE", help="Kubeconfig of the cluster that joins.", show_default=False),
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Its name in workflows; by default that of its context.")
    ] = "",
    source_context: Annotated[
        str, typer.Option("--from-context", metavar="NAME", help="Context in that file; by default its current one.")
    ] = "",
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="KEY=VALUE", help="Label to choose it by. May be repeated.", show_default=False
        ),
    ] = None,
    alias: Annotated[str, typer.Option("--alias", metavar="TEXT", help="Name for people.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Give new credentials to a cluster that has joined already.")
    ] = False,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Do not ask the cluster whether the credentials work.")
    ] = False,
    system_namespace: System = SYSTEM,
) -> None:
    """Let workflows act on a further cluster.

    Its address and credentials are kept as a Secret in the system namespace. The cluster is asked for its version
    first, with exactly what will be kept.
    """
    from vela_workflow.cli import cluster_secrets

    labels = {key: value for key, value in _labels(label).items() if value is not None}
    body = cluster_secrets.from_kubeconfig(source, source_context, name=name, labels=labels, alias=alias)
    name = body["metadata"]["name"]
    if not unchecked:
        found = asyncio.run(_probe(body, system_namespace))
        if found.problem:
            raise CommandError(f"{found.problem}; nothing was kept (--unchecked joins it nevertheless)")
    before = cluster.get_or_none(_resource(), name, system_namespace)
    if before is not None and not (replace and cluster_secrets.is_cluster(before)):
        what = "has joined already; --replace gives it new credentials"
        other = f"is a Secret in {system_namespace} that is no cluster; choose another --name"
        raise AlreadyExists(f"{name} {what if cluster_secrets.is_cluster(before) else other}")
    if before is None:
        cluster.create(_resource(), body, system_namespace)
    else:
        cluster.patch(_resource(), name, cluster_secrets.replacing(before, body), system_namespace)
    output.say(f"cluster {name} {'joined' if before is None else 'has new credentials'}")


@group.command(epilog=lazy.examples("vela-workflow cluster ls", "vela-workflow cluster ls -o json"))
@options.connected
def ls(
    cluster: Kube,
    system_namespace: System = SYSTEM,
    form: output.List = Format.TABLE,
) -> None:
    """List the clusters that workflows can act on."""
    from rich.text import Text

    from vela_workflow.cli import render
    from vela_workflow.clusters import secrets

    found = [secrets.LOCAL_CLUSTER, *(secrets.describe(one) for one in _secrets(cluster, system_namespace))]
    if form is Format.NAME:
        for one in found:
            output.say(one.name)
        return
    if form in {Format.JSON, Format.YAML}:
        output.data([_data(one) for one in found], form)
        return
    headers = ["NAME", "ALIAS", "CREDENTIAL", "ENDPOINT", "LABELS"]
    rows: list[list[str | Text]] = [[Text(output.clean(cell)) for cell in _cells(one)] for one in found]
    output.show(render.table(headers, rows, output.columns()))


def _cells(one: Cluster) -> Iterator[str]:
    from vela_workflow.clusters import secrets

    yield from (one.name, one.alias, one.credential, one.endpoint)
    yield ",".join(f"{key}={value}" for key, value in one.labels.items() if key != secrets.CONTROL_PLANE_LABEL)


def _data(one: Cluster) -> JSON:
    told = {"name": one.name, "alias": one.alias, "credential": one.credential, "endpoint": one.endpoint}
    return {**{key: value for key, value in told.items() if value}, "labels": dict(one.labels)}


@group.command(epilog=lazy.examples("vela-workflow cluster rename shanghai cn-east-1"))
@options.connected
def rename(
    cluster: Kube,
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.", show_default=False)],
    system_namespace: System = SYSTEM,
) -> None:
    """Give a joined cluster another name.

    Workflows that use the old name do not find it any longer.
    """
    from vela_workflow.cli import cluster_secrets

    body = _secret(cluster, name, system_namespace)
    cluster_secrets.check_name(new)
    cluster.create(_resource(), cluster_secrets.renamed(body, new), system_namespace)
    cluster.delete(_resource(), name, system_namespace)
    output.say(f"cluster {name} is now {new}")


@group.command(epilog=lazy.examples("vela-workflow cluster detach shanghai"))
@options.connected
def detach(cluster: Kube, name: Name, system_namespace: System = SYSTEM) -> None:
    """Let workflows no longer act on a joined cluster.

    Its Secret is deleted; what workflows have made in the cluster stays there.
    """
    _secret(cluster, name, system_namespace)
    cluster.delete(_resource(), name, system_namespace)
    output.say(f"cluster {name} detached")


@group.command(
    epilog=lazy.examples(
        "vela-workflow cluster probe",
        "vela-workflow cluster probe shanghai us-west -o json",
        "",
        "Exit code 1 when one of them does not answer.",
    )
)
@options.connected
def probe(
    cluster: Kube,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Names of clusters; by default all.", show_default=False)
    ] = None,
    system_namespace: System = SYSTEM,
    form: output.Text = TextFormat.TEXT,
) -> None:
    """Ask clusters for their version, with the credentials that workflows use.

    That is done from here: the operator may reach a cluster that this machine does not, and the other way round.
    """
    bodies = {one["metadata"]["name"]: one for one in _secrets(cluster, system_namespace)}
    wanted = names or [LOCAL, *bodies]
    for name in wanted:
        if name != LOCAL and name not in bodies:
            raise _unknown(name, bodies)
    found = asyncio.run(_probes([bodies[name] for name in wanted if name != LOCAL], system_namespace))
    told = [_told(one) for one in found]
    if LOCAL in wanted:
        told.insert(0, {"name": LOCAL, "version": cluster.server_version()})
    if form is not TextFormat.TEXT:
        output.data(told, form)
    else:
        for one in told:
            output.say(f"{one['name']}: {one.get('problem') or one['version']}")
    if any("problem" in one for one in told):
        raise typer.Exit(ExitCode.FAILED)


def _told(found: Probe) -> JSON:
    if found.problem:
        return {"name": found.name, "problem": found.problem.removeprefix(f"cluster {found.name}: ")}
    return {"name": found.name, "version": found.version, "seconds": round(found.seconds, 3)}


async def _probes(bodies: Iterable[JSON], system_namespace: str) -> list[Probe]:
    return list(await asyncio.gather(*(_probe(body, system_namespace) for body in bodies)))


async def _probe(body: JSON, system_namespace: str) -> Probe:
    """Ask the cluster of a Secret for its version, as the operator does."""
    from vela_workflow.cli import cluster_secrets

    return await cluster_secrets.probe(body, system_namespace, PROBE_SECONDS)


@group.command(
    epilog=lazy.examples(
        "vela-workflow cluster labels shanghai",
        "vela-workflow cluster labels shanghai region=asia tier-",
    )
)
@options.connected
def labels(
    cluster: Kube,
    name: Name,
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE|KEY-", help="Labels to set, or to remove.", show_default=False),
    ] = None,
    system_namespace: System = SYSTEM,
) -> None:
    """Show or change the labels by which policies choose a cluster."""
    from vela_workflow.cli import cluster_secrets
    from vela_workflow.clusters import secrets

    body = _secret(cluster, name, system_namespace)
    wanted = _labels(changes, removals=True)
    reserved = [key for key in wanted if cluster_secrets.is_reserved(key)]
    if reserved:
        raise CommandError(f"{reserved[0]} says how the cluster is reached and is not for choosing it")
    if wanted:
        metadata = {"labels": wanted, "resourceVersion": body["metadata"]["resourceVersion"]}
        body = cluster.patch(_resource(), name, {"metadata": metadata}, system_namespace)
    for key, value in secrets.describe(body).labels.items():
        if key != secrets.CONTROL_PLANE_LABEL:
            output.say(f"{key}={value}")


def _secrets(cluster: Kube, system_namespace: str) -> list[JSON]:
    """The Secrets of joined clusters, in either format, by name."""
    from vela_workflow.clusters import secrets

    found: dict[str, JSON] = {}
    for selector in (secrets.CREDENTIAL_TYPE_LABEL, secrets.KUBECONFIG_LABEL):
        for one in cluster.list(_resource(), system_namespace, labels=selector):
            found[one["metadata"]["name"]] = one
    return [found[name] for name in sorted(found)]


def _secret(cluster: Kube, name: str, system_namespace: str) -> JSON:
    """The Secret of a joined cluster; raises ``CommandError`` when there is none."""
    if name == LOCAL:
        raise CommandError(f'"{LOCAL}" is the cluster of the operator, which has no Secret')
    found = {one["metadata"]["name"]: one for one in _secrets(cluster, system_namespace)}
    if name not in found:
        raise _unknown(name, found)
    return found[name]


def _unknown(name: str, known: Mapping[str, JSON]) -> NotFound:
    joined = f"joined: {', '.join(known)}" if known else "none has joined"
    return NotFound(f'there is no cluster "{name}" ({joined}){did_you_mean(name, known)}')
