"""The questions that a program asks of its template.

The query is generated operation by operation, not walked: each entry asks whether one is there and what its arguments
are, and an error in one of them leaves the others as they are. Arguments come as JSON in a string: a value that cannot
be written is left out, where a plain reference would take the whole query with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from vela_workflow.cue import results, values
from vela_workflow.cue.data import Data, Output
from vela_workflow.cue.naming import OUT, Naming
from vela_workflow.cue.survey import ELEMENT, MARKER, REFERENCE, Computed, Key, Position, Site, Survey


class Query:
    """Writes the questions of one template, which has as many ``guards`` that can fail."""

    def __init__(self, survey: Survey, names: Naming, guards: int) -> None:
        self.survey = survey
        self.names = names
        self.guards = guards

    def text(self, data: Data, outputs: Sequence[Output], *, checked: bool) -> str:
        """The field ``OUT`` of a program; with ``checked`` it asks whether the parameters fit, too."""
        root = self.names.name("W")
        marshal = f"{self.names.json}.Marshal"
        lines = [f'{OUT}: {{"alive": ({root}.{self.names.sentinel}) != _|_']
        if checked:
            lines.append(f'"param": ({marshal}({self.names.parameters}.parameter)) != _|_')
        acts = [self._ask(index, site, data) for index, site in enumerate(self.survey.sites)]
        lines.append('"acts": [\n' + "".join(act for act in acts if act) + "]")
        odd = [
            f"if ({values.selector_of(root, (name,))}) == _|_ {{{json.dumps(name)}}}"
            for name in dict.fromkeys(self.survey.plain)
        ]
        if odd:
            lines.append(f'"odd": [{", ".join(odd)}]')
        if self.guards:
            failed = (f"if ({root}.{self.names.guard(number)}) == _|_ {{{number}}}" for number in range(self.guards))
            lines.append(f'"failed": [{", ".join(failed)}]')
        for index, output in enumerate(outputs):
            asked = []
            for attempt in range(len(output.candidates)):
                value = f"{marshal}({root}.{self.names.output(index, attempt)})"
                asked.append(f'if ({value}) != _|_ {{"{attempt}": {value}}}')
            lines.append(f'"out{index}": {{{", ".join(asked)}}}')
        if not any(marshal in line for line in lines):
            lines.append(f'"nothing": {marshal}(null)')  # an import that nothing uses is an error
        return ", ".join(lines) + "}\n"

    def _ask(self, index: int, site: Site, data: Data) -> str:
        """The entry of one site: present or not, its open labels, its arguments as JSON."""
        if site.is_static and results.static_path(site) in data.results:
            return ""
        marshal = f"{self.names.json}.Marshal"
        current = self.names.name("W")
        conditions: list[str] = []
        keys: list[str] = []
        indexes: list[str] = []
        for depth, segment in enumerate(site.path):
            last = depth == len(site.path) - 1
            if isinstance(segment, Key):
                if last and site.presence == MARKER:
                    conditions.append(values.there(f"{current}.{self.names.marker(site.number)}"))
                current += values.selector(segment.name)
            elif isinstance(segment, Position) and segment.index is not None:
                current += f"[{segment.index}]"
            else:
                key, inner = f"k{depth}", f"e{depth}"
                source = f"{current}.{self.names.table(segment.number)}" if isinstance(segment, Computed) else current
                conditions.append(f"{values.there(source)}for {key}, {inner} in {source} ")
                keys.append(key if isinstance(segment, Position) else f'"\\({key})"')
                if isinstance(segment, Computed):
                    indexes.append(inner)
                current += f"[{key}]"
        if site.presence == ELEMENT:
            conditions.append(values.there(f"{current}.{self.names.element(site.number)}"))
        elif site.presence == REFERENCE:
            conditions.append(values.there(f"{current}.#do"))
        return f'{"".join(conditions)}{{"s": {index}, {self._details(site, current, keys, indexes, marshal)}}},\n'

    def _details(self, site: Site, current: str, keys: list[str], indexes: list[str], marshal: str) -> str:
        parts = []
        if keys:
            parts.append(f'"k": [{", ".join(keys)}]')
        if indexes:
            parts.append(f'"i": [{", ".join(indexes)}]')
        if site.presence == REFERENCE:
            parts.append(f'if ({current}.#do) != _|_ {{"do": {current}.#do}}')
            parts.append(f'if ({current}.#provider) != _|_ {{"p": {current}.#provider}}')
            parts.append(f'if ({current}.$params) != _|_ {{"n": true}}')
        if site.action is not None and site.action.do == "wait":
            base = current if site.action.legacy else f"{current}.$params"
            for key, field in (("c", "continue"), ("m", "message")):
                value = f"{marshal}({base}.{field})"
                parts.append(f'if ({value}) != _|_ {{"{key}": {value}}}')
        else:
            parts.append(f'if ({marshal}({current})) != _|_ {{"v": {marshal}({current})}}')
        return ", ".join(parts)
