"""What a start needs, looked at before anything is started.

A start that is in vain ends with one line that says what is missing and what to do. What may come right by itself, an
API server that does not answer yet, say, is none of this: it is waited for (``reach``).
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from vela_workflow import errors
from vela_workflow.clusters import credentials
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.cue import sandbox
from vela_workflow.cue.command import CUE_VERSION
from vela_workflow.settings import Settings

logger = logging.getLogger(__name__)

_CUE_HINT: Final = (
    f"install cue {CUE_VERSION} (https://cuelang.org), or say where it is with --cue or VELA_WORKFLOW_CUE"
)


class Unprepared(errors.WorkflowError):
    """Something is missing without which the operator cannot start."""


def check(settings: Settings, environment: Mapping[str, str]) -> None:
    """Look at what was chosen: the kubeconfig and the ports; raises ``Unprepared``."""
    _check_kubeconfig(settings, environment)
    if settings.admission_port:
        _check_port(settings.admission_address, settings.admission_port)


def cue_command(name: str) -> str:
    """The path of the ``cue`` command; raises ``Unprepared``."""
    found = shutil.which(name)
    if found is None:
        where = f"there is no {name}" if os.sep in name else f"there is no command {name} on PATH"
        raise Unprepared(f"{where}; {_CUE_HINT}")
    return found


async def cue_version(binary: str) -> str:
    """The version of the ``cue`` command; raises ``Unprepared`` when it is another command."""
    version = await sandbox.version(binary)
    if not version.startswith("v"):
        raise Unprepared(f"`{binary} version` does not tell a version of cue; {_CUE_HINT}")
    if version != CUE_VERSION:
        logger.warning("cue is %s; templates are tested with %s and may behave otherwise", version, CUE_VERSION)
    return version


def refused(error: cluster_errors.Forbidden) -> Unprepared:
    """What to say when the API server does not let the operator read what it cannot do without."""
    return Unprepared(
        f"the operator may not do its work: {error}; give its account the rights that the Helm chart gives, or "
        "let it look after some namespaces only (--namespace)"
    )


def _check_kubeconfig(settings: Settings, environment: Mapping[str, str]) -> None:
    """See that there is a kubeconfig with the context that was chosen, unless the account of a Pod is used."""
    chosen = settings.kubeconfig or environment.get("KUBECONFIG", "")
    if not chosen and credentials.in_pod(environment):
        return
    paths = [Path(part).expanduser() for part in (chosen or "~/.kube/config").split(os.pathsep) if part]
    where = os.pathsep.join(map(str, paths))
    found = [_read(path) for path in paths if path.is_file()]
    if not found:
        raise Unprepared(f"there is no kubeconfig {where}; choose one with --kubeconfig or KUBECONFIG")
    contexts = [str(one.get("name")) for document in found for one in document.get("contexts") or ()]
    wanted = settings.context or next((one["current-context"] for one in found if one.get("current-context")), "")
    if not wanted:
        raise Unprepared(f"the kubeconfig {where} has no current-context; choose one of its contexts with --context")
    if wanted not in contexts:
        known = ", ".join(contexts) or "none"
        raise Unprepared(f'the kubeconfig {where} has no context "{wanted}" (it has: {known})')


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Unprepared(f"the kubeconfig {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise Unprepared(f"{path} is no kubeconfig")
    return document


def _check_port(address: str, port: int) -> None:
    """See that nobody else listens where the webhooks are to be served: their server would end only later."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            place = f"{address or '*'}:{port}"
            raise Unprepared(f"cannot listen on {place} for admission webhooks: {error.strerror}") from error
