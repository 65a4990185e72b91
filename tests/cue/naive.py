"""The plainest way to carry out a template: one operation, then everything anew.

It shares nothing with the program. The packages are structs in the same text, the operations are those that a random
template is known to be able to hold, and before each of them the ``cue`` command is given the whole text again, with
what earlier operations have answered written behind it. So it has no markers, no order or reach to work out, and no
programs that go together: what it says is what the documents say that a template means.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from template_tree import GUARD, GUARD_END, PACKAGES, PLUS, PLUS_END, VALUE, VALUE_END, VALUE_MID, Possible, Template

CONTROLS = frozenset({"fail", "break", "message", "suspend"})

_IF = re.compile(rf"if {GUARD}([^{GUARD}{GUARD_END}]*){GUARD_END}")
_FOR = re.compile(rf"{GUARD}([^{GUARD}{GUARD_END}]*){GUARD_END}")
_NAME = re.compile(r"(?:\b[a-zX]\w*\d+\.)*\b_?([a-zDL]+\d+)\b")


@dataclasses.dataclass(frozen=True)
class Told:
    """What carrying out a template came to: the operations with their arguments, and the end."""

    operations: list[tuple[str, str, dict[str, Any]]]
    end: str
    message: str = ""
    outputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Refused(Exception):
    """CUE does not take the text."""


@dataclasses.dataclass
class Naive:
    """Carries out one template. ``packages`` are the sources of the packages by name, ``answer`` what operations say."""

    cue: Path
    packages: Mapping[str, str]
    template: Template
    parameter: Mapping[str, Any]
    context: Mapping[str, Any]
    answer: Callable[[str, dict[str, Any]], dict[str, Any] | None]

    def run(self) -> Told:
        """Carry it out; raises ``Refused``."""
        self.results: list[tuple[tuple[str | int, ...], dict[str, Any]]] = []
        self.done: set[str] = set()
        self.operations: list[tuple[str, str, dict[str, Any]]] = []
        self.message = ""
        self.possible = self.template.possible()
        self.body = _total(self.template.body())
        self.uses = _uses(self.template)
        for _ in range(100):
            found = self.evaluate()
            if not found["alive"]:
                return Told(self.operations, "Rendering")
            end = self.one(found)
            if end is not None:
                return end
        raise AssertionError("no end")

    def one(self, found: Mapping[str, Any]) -> Told | None:
        """Carry out the next operation with a result, and those without one before it; what is told is the end."""
        waiting = False
        for number, one in enumerate(self.possible):
            if one.text in self.done or (waiting and not self.fires(one)):
                continue
            entry = found["acts"].get(str(number), {})
            if entry.get("do") == one.node.do == "wait":
                if entry.get("go"):
                    self.done.add(one.text)
                waiting = one.text not in self.done
            elif entry.get("do") == one.node.do:
                before = len(self.results)
                end = self.carry_out(one, entry)
                if end is not None or len(self.results) > before:
                    return end
            elif not entry and not one.guarded:
                return Told(self.operations, "Execute", one.text)
        return Told(self.operations, "wait") if waiting else self.succeeded(found["outputs"])

    def carry_out(self, one: Possible, entry: Mapping[str, Any]) -> Told | None:
        """Carry out an operation that is there; what is told is the end."""
        if "value" not in entry:
            return Told(self.operations, "Execute", one.text)
        arguments = dict(entry["value"] if one.node.legacy else entry["value"]["$params"])
        self.operations.append((one.text, one.node.do, arguments))
        self.done.add(one.text)
        if one.node.do in CONTROLS:
            said = str(arguments.get("message", ""))
            if one.node.do != "message":
                return Told(self.operations, one.node.do, said)
            self.message = said
            return None
        answer = self.answer(one.text, arguments)
        if answer is not None:
            self.results.append((one.path, answer if one.node.legacy else {"$returns": answer}))
        return None

    def succeeded(self, outputs: Mapping[str, Any]) -> Told:
        """The end when nothing is left to do."""
        if set(self.template.outputs) - set(outputs):
            return Told(self.operations, "Output")
        return Told(self.operations, "success", self.message, outputs)

    def fires(self, one: Possible) -> bool:
        """Whether a guarded operation that only steers the step is not held up by a wait before it."""
        if one.node.do not in CONTROLS or not one.guarded:
            return False
        stopped = {
            other.node.name
            for other in self.possible
            if other.text not in self.done and other is not one and other.node.do not in CONTROLS | {"wait"}
        }
        reached: set[str] = set()
        waiting = _names("\n".join([one.node.text(), *one.guards]))
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting |= self.uses.get(name, set())
        return not (reached - {one.node.name}) & stopped

    def evaluate(self) -> dict[str, Any]:
        """What is there at this moment."""
        text = self.text()
        done = subprocess.run(
            [str(self.cue), "export", "--out", "json", "-e", "OUT", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Refused(done.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        for entry in found["acts"].values():
            entry.update({key: json.loads(entry[key]) for key in ("value", "go") if key in entry})
        found["outputs"] = {name: json.loads(value) for name, value in found["outputs"].items()}
        return found

    def text(self) -> str:
        """The whole text of one evaluation."""
        body = self.body
        used = {path for path in PACKAGES if re.search(rf"\b{path.rsplit('/', 1)[-1]}\.", body)}
        lines = ["package p", 'import JSON "encoding/json"', *(f'import "{path}"' for path in sorted(used))]
        if self.lists:
            lines.append('import LIST "list"')
        for name, source in self.packages.items():
            if re.search(rf"\b{name}\.", body):
                lines.append(f"let {name} = {{\n{source}\n}}")
        lines += ["let W = {", "sentinel: true", body]
        lines += [f"parameter: {json.dumps(self.parameter)}", f"context: {json.dumps(self.context)}"]
        lines += [f"out_{name}: {expression}" for name, expression in self.template.outputs.items()]
        lines += [_put(path, result) for path, result in self.results]
        live = {".".join(map(str, path)): result["value"] for path, result in self.results if "value" in result}
        lines += ["}", f"LIVE: {json.dumps(live)}", "OUT: {", "alive: W.sentinel != _|_", "acts: {"]
        lines += [self.ask(number, one) for number, one in enumerate(self.possible)]
        lines += ["}", "outputs: {"]
        for name in self.template.outputs:
            value = f"JSON.Marshal(W.out_{name})"
            lines.append(f'if {value} != _|_ {{"{name}": {value}}}')
        return "\n".join([*lines, "}", "}", "nothing: JSON.Marshal(null)", ""])

    @property
    def lists(self) -> bool:
        return "LIST." in self.body

    def ask(self, number: int, one: Possible) -> str:
        """The question whether an operation is there, and with what arguments."""
        value = "W" + "".join(_selector(part) for part in one.path)
        inside = [f"do: {value}.#do"]
        if one.node.do == "wait":
            go = f"JSON.Marshal({value}.{'continue' if one.node.legacy else '$params.continue'})"
            inside.append(f"if {go} != _|_ {{go: {go}}}")
        else:
            inside.append(f"if JSON.Marshal({value}) != _|_ {{value: JSON.Marshal({value})}}")
        there = f"if [if {value}.#do != _|_ {{true}}, false][0]"
        return f'{there} {{"{number}": {{{", ".join(inside)}}}}}'


def _total(body: str) -> str:
    """The text with guards that contribute nothing while they cannot be decided."""
    for pattern, otherwise, before in ((_IF, "false", "if "), (_FOR, "[]", "")):
        while pattern.search(body):
            body = pattern.sub(lambda found: f"{before}[if ({found[1]}) != _|_ {{{found[1]}}}, {otherwise}][0]", body)  # noqa: B023
    body = re.sub(rf"{VALUE}([^{VALUE_MID}]*){VALUE_MID}", r'[if LIVE["\1"] != _|_ {LIVE["\1"]}, ', body).replace(
        VALUE_END, "][0]"
    )
    return re.sub(rf"{PLUS}(.*?) \+ parameter\.xs{PLUS_END}", r"LIST.Concat([\1, parameter.xs])", body, flags=re.DOTALL)


def _selector(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if re.fullmatch(r"\w+", part) else f"[{json.dumps(part)}]"


def _put(path: Sequence[str | int], result: Any) -> str:
    """A declaration that adds a result at a path."""
    text = json.dumps(result)
    for part in reversed(path):
        text = (
            f"[{'_, ' * part}{text}, ...]"
            if isinstance(part, int)
            else f"{{{part if part.startswith('_') else json.dumps(part)}: {text}}}"
        )
    return text


def _uses(template: Template) -> dict[str, set[str]]:
    """What the text behind each name refers to, with the guards around it."""
    found: dict[str, set[str]] = {}

    def walk(nodes: Sequence[Any], around: str) -> None:
        for node in nodes:
            guards = f"{around}\n{node.guard}"
            if node.name:
                found.setdefault(node.name, set()).update(_names(f"{node.text()}\n{guards}"))
            walk(node.inside or [], guards)

    walk(template.nodes, "")
    return found


def _names(text: str) -> set[str]:
    return {match[1].removeprefix("D").removeprefix("L") for match in _NAME.finditer(text)}
