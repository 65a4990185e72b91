"""YAML as people write it, read the way kubectl reads it.

PyYAML alone reads YAML 1.1: ``2024-01-01`` becomes a date, ``1:30`` the number 90, ``1e3`` a text, and a key ``on``
becomes true. kubectl reads dates and ``1:30`` as texts and ``1e3`` as a number, so that is done here too; ``yes`` and
``on`` are truth values as there, but a *key* is always the text that was written, since ``on`` is a field of a step's
``retry``. What is written out is quoted wherever any reader could take it for something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from vela_workflow.api import yaml_style
from vela_workflow.cli.errors import CommandError

JSON = dict[str, Any]

_DIGITS: Final = "-+0123456789"
_NUMBERS: Final = (
    (
        "tag:yaml.org,2002:float",
        re.compile(
            r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
        ),
        [*_DIGITS, "."],
    ),
    (
        "tag:yaml.org,2002:int",
        re.compile(r"[-+]?(0b[01]+|0o?[0-7][0-7_]*|0x[0-9a-fA-F][0-9a-fA-F_]*|0|[1-9][0-9_]*)$"),
        [*_DIGITS],
    ),
)
_KEPT: Final = tuple(f"tag:yaml.org,2002:{word}" for word in ("null", "bool", "seq", "map", "str"))
_REPLACED: Final = ("tag:yaml.org,2002:float", "tag:yaml.org,2002:int", "tag:yaml.org,2002:timestamp")


class _Loader(yaml.SafeLoader):
    """Reads as kubectl does."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    yaml_constructors = {tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (*_KEPT, None)}  # noqa: RUF012 - as above

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Take keys as they are written, each only once."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f'key "{key.value}" is there twice', key.start_mark)
            seen.add(key.value)
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Read ``0777`` and ``0o777`` as octal."""
        text = node.value.replace("_", "")
        sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.lstrip("+"))
        return sign * int(digits, 8 if digits[0] == "0" and digits[1:].isdigit() else 0)

    def construct_number(self, node: yaml.ScalarNode) -> float | int:
        """Read ``1e3`` as the number it is, without a fraction where it has none."""
        value = self.construct_yaml_float(node)
        return int(value) if value.is_integer() else value


for _tag, _pattern, _first in reversed(_NUMBERS):
    _Loader.add_implicit_resolver(_tag, _pattern, _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


class _Dumper(yaml_style.Indented):
    """Quotes what this reader would not take for a text."""


for _tag, _pattern, _first in _NUMBERS:
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)


def documents(text: str, source: str) -> Iterator[JSON]:
    """The objects of a YAML or JSON text, the items of lists among them one by one.

    ``source`` names the text in errors. Raises ``CommandError`` when it is not YAML or holds something else.
    """
    try:
        found = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise CommandError(f"{source}: {_explained(error)}") from None
    for index, document in enumerate(found, start=1):
        if document is None:
            continue
        place = source if len(found) == 1 else f"{source}, document {index}"
        if not isinstance(document, dict) or not document.get("kind") or not document.get("apiVersion"):
            raise CommandError(f"{place}: no Kubernetes object, it needs apiVersion and kind")
        if document["kind"] == "List":
            yield from (item for item in document.get("items") or () if isinstance(item, dict))
        else:
            yield document


def value(text: str) -> Any:
    """One value as it would be read in a YAML file: ``3``, ``true``, ``[a, b]``; raises ``CommandError``."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise CommandError(f'"{text}" is not a value: {_explained(error)}') from None


def dump(data: Any) -> str:
    """``data`` as YAML."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True, default_flow_style=False)


def _explained(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}:{mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())
