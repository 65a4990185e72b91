"""The package ``vela/base64``; it has no operations."""

from __future__ import annotations

from typing import Final

from vela_workflow.providers import schema
from vela_workflow.providers.contract import Package

PACKAGE: Final = Package("vela/base64", "base64", schema.read("base64", "base64"), {})
