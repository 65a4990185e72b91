"""The CUE files of the providers, as text.

They lie beside the Python that carries their operations out and are part of the installed package, so they are read
as package resources and never by a path in a checkout.
"""

from __future__ import annotations

from importlib import resources


def read(folder: str, name: str) -> str:
    """Return the text of ``<name>.cue`` in the folder of a provider (``"kube"``, ``"kube"``)."""
    return resources.files(f"vela_workflow.providers.{folder}").joinpath(f"{name}.cue").read_text("utf-8")
