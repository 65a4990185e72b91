"""Paths into JSON values, as users write them: ``a.b``, ``list[0].name``, ``a["dash-key"]``.

The same form serves names of variables, ``from`` and ``parameterKey`` of inputs and names of outputs (engine 5). Unlike
the Go implementation, which parses them as CUE and drops what CUE cannot say without quotes, labels may hold any
character but ``.``, ``[``, ``]`` and ``"``; quoted labels may hold those too.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

Path = tuple[str | int, ...]

INDEX_GAP_LIMIT: Final = 1000
"""How far beyond the end of a list an index may reach; a typing error must not fill the memory."""

_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_FIRST: Final = re.compile(rf'\[({_QUOTED})\]|({_QUOTED})|([^.\[\]"]+)')
_NEXT: Final = re.compile(rf'\[([0-9]+)\]|\[({_QUOTED})\]|\.({_QUOTED})|\.([^.\[\]"]+)')
_PLAIN: Final = re.compile(rf"[A-Za-z_$][\w$-]*(?:\.[\w$-]+|\.{_QUOTED}|\[[0-9]+\]|\[{_QUOTED}\])*")


class PathError(ValueError):
    """The text is no path, or the path does not fit the value; the message says why."""


def parse(text: str) -> Path:
    """Split a path into labels and list indices; raises ``PathError`` when it cannot be read."""
    text = text.strip()
    match = _FIRST.match(text)
    if match is None:
        raise PathError(f'"{text}" is not a path; write it like a.b, list[0] or a["some key"]')
    bracketed, quoted, plain = match.groups()
    parts: list[str | int] = [plain if plain is not None else _unquote(bracketed or quoted)]
    position = match.end()
    while position < len(text):
        match = _NEXT.match(text, position)
        if match is None:
            raise PathError(f'"{text}" is not a path: "{text[position:]}" cannot follow "{text[:position]}"')
        index, bracketed, quoted, plain = match.groups()
        if index is not None:
            parts.append(_index(text, index))
        else:
            parts.append(plain if plain is not None else _unquote(bracketed or quoted))
        position = match.end()
    return tuple(parts)


def is_plain(text: str) -> bool:
    """Whether a text reads as a path rather than as a CUE expression (engine 5.1, step 1); dashes are allowed."""
    return _PLAIN.fullmatch(text.strip()) is not None


def show(path: Path) -> str:
    """Write a path so that ``parse`` gives it back."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r'[^.\[\]"\s]+', part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def lookup(value: Any, path: Path) -> Any:
    """The value at a path; raises ``KeyError`` with the part of the path that does not exist."""
    for position, part in enumerate(path):
        inside_list = isinstance(part, int) and isinstance(value, list) and part < len(value)
        inside_object = isinstance(part, str) and isinstance(value, dict) and part in value
        if not inside_list and not inside_object:
            raise KeyError(show(path[: position + 1]))
        value = value[part]
    return value


def assign(root: dict[str, Any], path: Path, value: Any, *, force: bool = False) -> None:
    """Put ``value`` at a path below ``root``, in place; what was there is replaced, not unified (decisions 6).

    Missing objects and lists are made; a list index beyond the end extends the list, gaps are filled with ``{}``
    (engine 5.2). ``null`` on the way counts as missing. Raises ``PathError`` when the path leads through a value of
    another type; with ``force`` such a value is replaced.
    """
    holder: Any = root
    for position, part in enumerate(path[:-1]):
        following = path[position + 1]
        fitting = list if isinstance(following, int) else dict
        _accept(holder, part, path[:position])
        child = _child(holder, part)
        if not isinstance(child, fitting):
            if child is not None and not force:
                raise PathError(_misfit(path[: position + 1], following, child))
            child = fitting()
            _store(holder, part, child, path)
        holder = child
    _accept(holder, path[-1], path[:-1])
    _store(holder, path[-1], value, path)


def remove(root: dict[str, Any], path: Path) -> bool:
    """Take away what is at a path below ``root``, and objects that become empty by that; tells whether it was there."""
    holders: list[Any] = [root]
    for part in path[:-1]:
        try:
            holders.append(lookup(holders[-1], (part,)))
        except KeyError:
            return False
    last, holder = path[-1], holders[-1]
    if not isinstance(last, str) or not isinstance(holder, dict) or last not in holder:
        return False
    del holder[last]
    for depth in range(len(path) - 1, 0, -1):
        above, label = holders[depth - 1], path[depth - 1]
        if holders[depth] != {} or not isinstance(above, dict):
            break
        del above[label]
    return True


def overlap(one: Path, other: Path) -> bool:
    """Whether one path is equal to, above or below the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _unquote(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        raise PathError(f"{text} is not a quoted label") from None


def _index(text: str, digits: str) -> int:
    if len(digits) > 9:
        raise PathError(f'the index [{digits}] in "{text}" is too large')
    return int(digits)


def _accept(holder: Any, part: str | int, above: Path) -> None:
    fits = isinstance(holder, list) if isinstance(part, int) else isinstance(holder, dict)
    if not fits:
        raise PathError(_misfit(above, part, holder))


def _misfit(above: Path, part: str | int, value: Any) -> str:
    wanted = f"a list that [{part}] could be in" if isinstance(part, int) else f'an object with the field "{part}"'
    return f"{show(above) or 'the top level'} is {kind(value)}, not {wanted}"


def kind(value: Any) -> str:
    """What a JSON value is, for messages; never the value itself."""
    names = ((bool, "a bool"), (int, "a number"), (float, "a number"), (str, "a string"), (list, "a list"))
    if value is None:
        return "null"
    return next((name for type_, name in names if isinstance(value, type_)), "an object")


def _child(holder: Any, part: str | int) -> Any:
    try:
        return lookup(holder, (part,))
    except KeyError:
        return None


def _store(holder: Any, part: str | int, value: Any, path: Path) -> None:
    if isinstance(part, int):
        if part > len(holder) + INDEX_GAP_LIMIT:
            raise PathError(f"the index [{part}] in {show(path)} is far beyond the end of a list of {len(holder)}")
        holder.extend({} for _ in range(len(holder), part + 1))
    holder[part] = value
