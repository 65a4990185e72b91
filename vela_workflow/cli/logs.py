"""``logs``: the logs of what the steps of a run started.

A template says by ``#Log`` where the logs of its step are (engine 8.4): at a URL, or in Pods, which are chosen by name
or by labels in a namespace. The operator keeps that in the run's context. Pods are read through the API server; lines
of several containers are prefixed, so that they can be told apart.
"""

from __future__ import annotations

import json
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from vela_workflow.api import constants
from vela_workflow.cli import kube, lazy, options, output, runs
from vela_workflow.cli.errors import ApiError, CommandError, Interrupted, NotFound
from vela_workflow.cli.kube import Kube

JSON = dict[str, Any]

LOCAL: Final = ("", "local")
URL_SECONDS: Final = 30

app = lazy.family()


@dataclass(frozen=True, slots=True)
class Container:
    """One container whose log can be read."""

    namespace: str
    pod: str
    name: str

    def __str__(self) -> str:
        return f"{self.pod}/{self.name}"


@app.command(
    epilog=lazy.examples(
        "vela-workflow logs build-7x2kq",
        "vela-workflow logs build-7x2kq --step build -f",
    )
)
@options.connected
def logs(
    cluster: Kube,
    name: options.Run,
    step: options.Step = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing new lines until they end.")] = False,
    tail: Annotated[int, typer.Option(metavar="LINES", min=-1, help="Last lines of each container; -1 is all.")] = -1,
) -> None:
    """Show the logs of what the steps of a run started.

    Only steps whose template says where its logs are have any, such as build-push-image and apply-job.
    """
    run = runs.find(cluster, name)
    found = sources(runs.context(cluster, run), name, step)
    containers: list[Container] = []
    shown = False
    for step_name, source in found.items():
        if source.get("url"):
            _print_url(str(source["url"]), step_name)
            shown = True
        for resource in source.get("resources") or ():
            containers += _containers(cluster, resource, run["metadata"]["namespace"], step_name)
    if containers:
        try:
            _print(cluster, list(dict.fromkeys(containers)), follow=follow, tail=tail)
        except KeyboardInterrupt:
            raise Interrupted(f"stopped showing logs; {name} goes on") from None
    elif not shown:
        raise CommandError(_nothing(found))


def sources(context: Mapping[str, str], run: str, step: str | None) -> dict[str, JSON]:
    """Where the logs of each step are, by the run's context; raises ``CommandError`` when nothing says so."""
    try:
        config = json.loads(context.get(constants.CONTEXT_LOG_CONFIG) or "{}")
    except ValueError:
        raise CommandError(f"the log configuration in the context of {run} is not JSON") from None
    if not isinstance(config, dict) or not config:
        raise CommandError(f"no log config found for {run}: none of its steps has said where its logs are")
    if step is not None and step not in config:
        raise CommandError(f"no log config found for step {step} (there is one for: {', '.join(sorted(config))})")
    chosen = config if step is None else {step: config[step]}
    return {name: dict((entry or {}).get("source") or {}) for name, entry in chosen.items()}


def _nothing(found: Mapping[str, JSON]) -> str:
    if not any(found.values()):
        return f"the logs of {', '.join(found)} were written to the log of the operator, and are not kept elsewhere"
    return f"no pod found for {', '.join(found)}: not started yet, or deleted"


def _print_url(url: str, step: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"the logs of step {step} are at {url}, which is neither http nor https")
    try:
        with urllib.request.urlopen(url, timeout=URL_SECONDS) as response:  # noqa: S310 - checked above
            for line in response:
                typer.echo(line, nl=False)
    except (OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise CommandError(f"cannot read the logs of step {step} at {url}: {error}") from None


def _containers(cluster: Kube, resource: JSON, namespace: str, step: str) -> list[Container]:
    """The containers of the Pods that a ``#Log`` means."""
    if resource.get("cluster") not in {None, *LOCAL}:
        output.tell(
            f"the Pods of step {step} are in the cluster {resource['cluster']}; "
            "use a kubeconfig of that cluster and kubectl logs"
        )
        return []
    namespace = str(resource.get("namespace") or namespace)
    if resource.get("name"):
        try:
            pods = [cluster.get(kube.PODS, str(resource["name"]), namespace)]
        except NotFound:
            return []
    else:
        selector = ",".join(f"{key}={value}" for key, value in (resource.get("labelSelector") or {}).items())
        if not selector:
            return []
        pods = list(cluster.list(kube.PODS, namespace, labels=selector))
    return [
        Container(namespace, pod["metadata"]["name"], container["name"])
        for pod in pods
        for container in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"])
    ]


def _lines(cluster: Kube, one: Container, *, follow: bool, tail: int) -> Iterator[bytes]:
    params = {"container": one.name, "follow": str(follow).lower()} | ({"tailLines": str(tail)} if tail >= 0 else {})
    yield from cluster.lines(
        kube.PODS, one.namespace, one.pod, "log", params=params, idle_seconds=None if follow else kube.REQUEST_SECONDS
    )


def _print(cluster: Kube, containers: list[Container], *, follow: bool, tail: int) -> None:
    """Print the logs, one container after the other; followed ones as their lines come."""
    many = len(containers) > 1
    if not follow or not many:
        failed = [_print_one(cluster, one, follow=follow, tail=tail, prefix=many) for one in containers]
    else:
        failed = _print_together(cluster, containers, tail=tail)
    if all(failed):
        raise CommandError("; ".join(failed))
    for text in filter(None, failed):
        output.tell(text)


def _print_one(cluster: Kube, one: Container, *, follow: bool, tail: int, prefix: bool) -> str:
    """Print one log; returns what went wrong, since the others can be shown all the same."""
    head = f"[{one}] ".encode() if prefix else b""
    try:
        for line in _lines(cluster, one, follow=follow, tail=tail):
            typer.echo(head + line)
    except ApiError as error:
        return f"{one}: {error}"
    return ""


def _print_together(cluster: Kube, containers: list[Container], *, tail: int) -> list[str]:
    """Follow several logs at once: a thread reads each, this one prints; a line of a log is printed as a whole."""
    lines: queue.Queue[bytes | str] = queue.Queue()

    def read(one: Container) -> None:
        failed = ""
        try:
            for line in _lines(cluster, one, follow=True, tail=tail):
                lines.put(f"[{one}] ".encode() + line)
        except ApiError as error:
            failed = f"{one}: {error}"
        finally:
            lines.put(failed)

    for one in containers:
        threading.Thread(target=read, args=(one,), daemon=True).start()
    ended: list[str] = []
    while len(ended) < len(containers):
        line = lines.get()
        if isinstance(line, bytes):
            typer.echo(line)
        else:
            ended.append(line)
    return ended
