"""``Package``: a CUE package from outside that templates can import (ops 8.2).

It brings definitions, and where it names a provider, each operation among them is an HTTP request to that address.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vela_workflow.api.model import Model, ObjectMeta, Resource


class Provider(Model):
    """The service that carries out the operations of the package."""

    protocol: str = Field(description="http or https.")
    endpoint: str = Field(
        description="Address of the service; an operation <do> is a POST of its parameters, as JSON, to "
        "<endpoint>/<do>. The answer is a JSON object."
    )
    header: dict[str, str] = Field(default_factory=dict, description="Headers added to every request.")


class PackageSpec(Model):
    """Import path, CUE files and the service behind them."""

    path: str = Field(description="Path by which templates import the package, such as ext/db.")
    templates: dict[str, str] = Field(description="The CUE files of the package: file name to text.")
    provider: Provider | None = Field(
        default=None,
        description="The service that carries out the operations. Without it the package has definitions only.",
    )


class Package(Resource):
    """A CUE package that templates can import, with the service that carries out its operations."""

    api_version: Literal["cue.oam.dev/v1alpha1"] = "cue.oam.dev/v1alpha1"
    kind: Literal["Package"] = "Package"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: PackageSpec = Field(description="Import path, CUE files and the service behind them.")
