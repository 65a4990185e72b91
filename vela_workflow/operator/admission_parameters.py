"""Whether the properties of a step fit its type, asked of CUE before the run starts.

The declarations that decide what ``parameter`` may be are cut out of the template and held against the properties. That
they fit is asked in a batch with other programs; only when they do not are the problems asked for one by one. Answers
are kept: the same workflow is usually run many times. Names that a schema does not know are accepted by CUE, since
structs are open; here the schema is closed to find them, and only names that it mentions nowhere count, since a closed
disjunction refuses more than its author meant.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from vela_workflow import errors
from vela_workflow.api import json_tree
from vela_workflow.cue import command, messages, parameters, program
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.cue.program import Data
from vela_workflow.cue.template import Template
from vela_workflow.operator.admission_rules import Review

JSON = dict[str, Any]

ANSWERS: Final = 1024
"""How many answers are kept."""

COMMANDS: Final = 2
"""How many commands of its own admission runs at the same time, so that runs are not held up."""

_EMPTY = re.compile(r"(?P<whole>\bparameter\s*:\s*)?\{\s*\}")
_NOT_ALLOWED = re.compile(r"^field not allowed$")
_LABEL = re.compile(r'([\w$-]+)"?[?!]?:')
_WORD = re.compile(r"[\w$#-]+")


class ParameterChecker:
    """Holds properties against templates."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._answers: OrderedDict[tuple[str, str, bytes], Review] = OrderedDict()
        self._commands = asyncio.Semaphore(COMMANDS)

    async def check(self, found: Template, properties: JSON, context: Mapping[str, Any]) -> Review:
        """Problems and unknown names, with paths relative to the properties.

        Raises ``WorkflowError`` when the question could not be answered.
        """

        async def answer(data: Data, schema: str) -> Review:
            told = await self._review(found, data)
            paths = {problem.path for problem in told.problems}
            unknown = await self._unknown(found, data, schema)
            return told + Review(warnings=tuple(name for name in unknown if name.path not in paths))

        return await self._kept("all", found, properties, context, answer)

    async def check_names(self, found: Template, properties: JSON, context: Mapping[str, Any]) -> Review:
        """Unknown names only: for properties of which not all values are known yet."""

        async def answer(data: Data, schema: str) -> Review:
            return Review(warnings=await self._unknown(found, data, schema))

        return await self._kept("names", found, properties, context, answer)

    async def _kept(
        self,
        question: str,
        found: Template,
        properties: JSON,
        context: Mapping[str, Any],
        answer: Callable[[Data, str], Awaitable[Review]],
    ) -> Review:
        """The answer that is kept, or a new one."""
        if not found.parameter_spans:
            return Review()
        schema = "".join(found.text[start:end] for start, end in found.parameter_spans)
        data = Data(properties, context if "context" in schema else {})
        key = (question, found.key, orjson.dumps([data.parameter, data.context], option=orjson.OPT_SORT_KEYS))
        if key not in self._answers:
            self._answers[key] = await answer(data, schema)
            if len(self._answers) > ANSWERS:
                self._answers.popitem(last=False)
        return self._answers[key]

    async def _review(self, found: Template, data: Data) -> Review:
        if await self._fits(found, data):
            return Review()
        async with self._commands:
            checked = await self._evaluator.check_parameters(found, data)
        return Review(_placed(checked.problems, data), _placed(checked.doubts, data))

    async def _fits(self, found: Template, data: Data) -> bool:
        """The quick question; a refusal of the command is answered by the thorough one."""
        written = program.Builder(found).check_program(data, dropped=frozenset())
        head, body = _split(written.text)
        alias = f"J_{written.tag}"
        text = f'{head}import {alias} "encoding/json"\n{body}{program.OUT}: fits: ({alias}.Marshal(parameter)) != _|_\n'
        answer = await self._evaluator.cue.export(text)
        return isinstance(answer, bytes) and command.loads(answer).get("fits") is True

    async def _unknown(self, found: Template, data: Data, schema: str) -> tuple[errors.Problem, ...]:
        mentioned = set(_WORD.findall(schema))
        strange = {name for name in _names(data.parameter) if name not in mentioned}
        if not strange:
            return ()
        open_data = Data({}, data.context)
        written = program.Builder(found).check_program(open_data, dropped=frozenset())
        head, body = _split(written.text)
        given = json.dumps(data.parameter, ensure_ascii=False)
        text = (
            f"{head}#P_{written.tag}: {{\n{_opened(body)}}}\n{program.OUT}: #P_{written.tag} & {{parameter: {given}}}\n"
        )
        async with self._commands:
            _, _, stderr = await self._evaluator.cue.run(text, "vet", "-c=false", "-E")
        paths = [
            report.path.removeprefix(f"{program.OUT}.parameter.")
            for report in messages.parse(stderr)
            if _NOT_ALLOWED.match(report.message)
        ]
        known = _LABEL.findall(schema)
        return tuple(
            errors.Problem(_unknown_property(parameters.parts(path)[-1], known), _field_path(path, data.parameter))
            for path in dict.fromkeys(paths)
            if parameters.parts(path)[-1] in strange
        )


def _placed(problems: list[errors.Problem], data: Data) -> tuple[errors.Problem, ...]:
    return tuple(errors.Problem(problem.message, _field_path(problem.path, data.parameter)) for problem in problems)


def _opened(schema: str) -> str:
    """A schema with ``{...}`` for ``{}``: an empty struct inside of it is where users put what they like."""
    return _EMPTY.sub(lambda found: found[0] if found["whole"] else "{...}", schema)


def _unknown_property(name: str, known: list[str]) -> str:
    return f"unknown property: the step type does not know it{errors.did_you_mean(name, known)}"


def _split(text: str) -> tuple[str, str]:
    """The package clause and imports of a program of ours, and the rest."""
    lines = text.splitlines(keepends=True)
    count = 1
    while count < len(lines) and lines[count].startswith("import "):
        count += 1
    return "".join(lines[:count]), "".join(lines[count:])


def _names(value: Any) -> Iterator[str]:
    """All names in a value, at every level."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, Mapping):
            yield from item
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)


def _field_path(path: str, properties: Any) -> str:
    """A CUE path (``env.0.name``) as a field path (``properties.env[0].name``)."""
    shown, value = "properties", properties
    if path == "parameter":
        return shown
    for name in parameters.parts(path):
        if isinstance(value, list) and name.isdigit():
            shown = json_tree.field_path(shown, int(name))
            value = value[int(name)] if int(name) < len(value) else None
        else:
            shown = json_tree.field_path(shown, name)
            value = value.get(name) if isinstance(value, Mapping) else None
    return shown
