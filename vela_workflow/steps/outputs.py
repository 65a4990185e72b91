"""The outputs of a step: expressions on the values of its template (engine 5.1).

``valueFrom`` may be a path or any CUE expression, with imports of its own. Templates that moved to the new form keep
their users' paths: what is not found is looked for again with ``$returns`` put in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from vela_workflow import errors
from vela_workflow.cue import scanner
from vela_workflow.cue.program import Output
from vela_workflow.cue.template import Template

_RETURNS = "$returns"
_PATH = re.compile(r"""[\w$#]+(?:\s*\.\s*[\w$#]+|\s*\.\s*"[^"\\]*"|\[\s*(?:\d+|"[^"\\]*")\s*\])*""")
"""A plain path, behind which a selector can be written; behind any other expression it would be a syntax error."""


def plan(wanted: Iterable[tuple[str, str]], template: Template) -> tuple[tuple[Output, ...], dict[str, str]]:
    """The outputs to ask for, and why others cannot be, by name.

    ``wanted`` are pairs of name and expression. An expression that is no CUE, or refers to what the template does not
    have, would make the whole program fail, so it is told apart here.
    """
    found: list[Output] = []
    wrong: dict[str, str] = {}
    for name, expression in wanted:
        try:
            scanned = scanner.scan(expression)
            candidates = tuple(text for text in _candidates(expression, scanned) if not template.unknown_names(text))
            if not candidates:
                unknown = ", ".join(sorted(template.unknown_names(expression)))
                wrong[name] = f"the template has no {unknown}"
                continue
        except scanner.ScanError as error:
            wrong[name] = error.message
            continue
        imports = tuple((item.name, item.path) for item in scanned.imports)
        reach = template.reach_of_text(candidates[0])
        found.append(Output(name, tuple(_body(text) for text in candidates), imports, reach))
    return tuple(found), wrong


def _candidates(expression: str, scanned: scanner.File) -> list[str]:
    texts = [expression]
    single = len(scanned.body.decls) == 1 and isinstance(scanned.body.decls[0], scanner.Embed)
    if single and f"{_RETURNS}." not in expression:
        if "output." in expression:
            texts.append(expression.replace("output.", f"output.{_RETURNS}.", 1))
        elif _PATH.fullmatch(expression.strip()):
            texts.append(f"{expression.strip()}.{_RETURNS}")
    return texts


def _body(text: str) -> str:
    """An expression without its imports."""
    for start, end in reversed(scanner.scan(text).preamble):
        text = text[:start] + text[end:]
    return text.strip()


def missing(name: str, expression: str, why: str) -> str:
    """The message for an output that does not exist."""
    return errors.bounded(f"failed to get output {name} from {expression}: {why}")
