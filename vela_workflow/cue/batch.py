"""Several programs as one, so that one command answers them all.

Starting the command costs as much as evaluating ten programs. Each program becomes a struct of its own in one file; the
imports, which only a file can have, stand before them all. The names of the structs are drawn by lot, so that no
template can reach the data of another. One error empties the answer of all: ``named`` tells whose it is.
"""

from __future__ import annotations

import bisect
import dataclasses
import re
import secrets

from vela_workflow.cue import messages
from vela_workflow.cue.naming import OUT
from vela_workflow.cue.template import BUILTINS

_HEAD = "package p\n"
_IMPORT = re.compile(r'import (\w+) ("[^"\n]*")\n')
_ELEMENT_ENDS = re.compile(rb"^    \},?$", re.MULTILINE)
_POSITION = re.compile(rf"^\s+{re.escape(messages.PROGRAM_FILE)}:(\d+):\d+$", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A program taken apart: the packages it imports by the names it gives them, and the rest of its text."""

    imports: dict[str, str]
    body: str

    @classmethod
    def of(cls, text: str) -> Part:
        """Take apart a program in the form in which ``Builder`` writes it: its imports first, a line each."""
        at, imports = len(_HEAD), {}
        while match := _IMPORT.match(text, at):
            imports[match[1]] = match[2]
            at = match.end()
        return cls(imports, text[at:])


class Batch:
    """Programs that go together; ``add`` them one by one."""

    def __init__(self) -> None:
        self._secret = secrets.token_hex(8)
        self._imports: dict[str, str] = {}
        self._users: dict[str, set[int]] = {}
        self._bodies: list[str] = []
        self._starts: list[int] = []
        self._end = 0

    def add(self, part: Part) -> bool:
        """Take in another program; false when it cannot share a file with those that are in already.

        A name stands for one package in a whole file, and would hide what CUE itself calls so from programs that do
        not import it.
        """
        for name, path in part.imports.items():
            if name in BUILTINS or self._imports.get(name, path) != path:
                return False
        for name, path in part.imports.items():
            self._imports[name] = path
            self._users.setdefault(name, set()).add(len(self._bodies))
        self._bodies.append(part.body)
        return True

    def text(self) -> str:
        """The file."""
        lines = [_HEAD, *(f"import {name} {path}\n" for name, path in self._imports.items())]
        line = len(lines) + 1
        self._starts = []
        for index, body in enumerate(self._bodies):
            self._starts.append(line)
            lines.append(f"{self._name(index)}: {{\n{body}\n}}\n")
            line += body.count("\n") + 3
        self._end = line
        listed = ", ".join(f"{self._name(index)}.{OUT}" for index in range(len(self._bodies)))
        lines.append(f"{OUT}: [{listed}]\n")
        return "".join(lines)

    def named(self, stderr: str) -> set[int]:
        """The programs that an error message speaks of, by number; those that share an import line are all meant."""
        found: set[int] = set()
        users = list(self._users.values())
        for match in _POSITION.finditer(stderr):
            line = int(match[1])
            if self._starts[0] <= line < self._end:
                found.add(bisect.bisect_right(self._starts, line) - 1)
            elif 2 <= line < len(users) + 2:
                found |= users[line - 2]
        return found

    def _name(self, index: int) -> str:
        return f"B{index}_{self._secret}"


def answers(output: bytes) -> list[bytes]:
    """The answers of the programs, cut out of the list that the command prints with an indentation of four."""
    parts = _ELEMENT_ENDS.split(output)
    return [part[part.index(b"{") :] + b"}" for part in parts[:-1]]
