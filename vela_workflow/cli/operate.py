"""``operator``: run the operator in the foreground. Its flags are the fields of ``settings.Settings``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from vela_workflow import settings
from vela_workflow.cli import lazy

app = lazy.family()


def _with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each setting; what is not given is left to environment and defaults."""
    parameters = []
    for name, field in settings.Settings.model_fields.items():
        option = typer.Option(
            f"--{name.replace('_', '-')}",
            help=f"{field.description} [default: {field.default}]" if field.default != "" else field.description,
            metavar=name.rpartition("_")[2].upper(),
            show_default=False,
        )
        kind = inspect.Parameter.KEYWORD_ONLY
        annotation = Annotated[field.annotation | None, option]  # type: ignore[name-defined]
        parameters.append(inspect.Parameter(name, kind, default=None, annotation=annotation))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


@app.command(
    name="operator",
    epilog=lazy.examples(
        "vela-workflow operator --kubeconfig ~/.kube/config",
        "vela-workflow operator --namespace shop --log-level DEBUG",
        f"{settings.PREFIX}WORKERS=64 vela-workflow operator",
        "",
        f"Every option can be given as an environment variable, {settings.PREFIX}<OPTION>.",
    ),
)
@_with_flags
def operate(**flags: Any) -> None:
    """Run the operator in the foreground.

    Without --kubeconfig it uses the account of its Pod, else the default kubeconfig. Ctrl-C ends it; runs go on when
    it is started again.
    """
    chosen = settings.load(flags)
    # Imported here: kopf and the Kubernetes client are for the operator alone.
    importlib.import_module("vela_workflow.operator.main").run(chosen)
