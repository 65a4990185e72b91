"""How YAML is written for people to read and compare: dumpers for ``yaml.dump``.

Equal parts are written out in full, texts of several lines as blocks. ``Indented`` also indents lists below their key,
as manifests mostly have it.
"""

from __future__ import annotations

from typing import Any

import yaml


class Plain(yaml.SafeDumper):
    """No anchors; texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal parts out in full."""
        del data
        return True


class Indented(Plain):
    """The same, with lists indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists below their key."""
        del indentless
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Plain.add_representer(str, _text)
