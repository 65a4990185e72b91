"""The outputs of a step: expressions on the values of its template (engine 5.1).

``valueFrom`` may be a path or any CUE expression, with imports of its own. Templates that moved to the new form keep
their users' paths: what is not found is looked for again with ``$returns`` put in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from vela_workflow import errors
from vela_workflow.cue import messages, scanner
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.cue.program import Data, Output
from vela_workflow.cue.survey import Key, Site
from vela_workflow.cue.syntax import Field, Ref
from vela_workflow.cue.template import Template, free_refs

_RETURNS = "$returns"
_PATH = re.compile(r"""(?!\d)[\w$#]+(?:\s*\.\s*[\w$#]+|\s*\.\s*"[^"\\]*"|\[\s*(?:\d+|"[^"\\]*")\s*\])*""")
"""A plain path, behind which a selector can be written; behind any other expression it would be a syntax error."""
_SELECTOR = r"""\s*\.\s*(?:[\w$#]+|"[^"\\]*")|\[\s*(?:\d+|"[^"\\]*")\s*\]"""
"""One selector of such a path."""
_QUOTED = re.compile(r"""\s*"(?P<label>[^"\\]+)"\s*(?=[.\[])""")
"""The beginning of a path that CUE takes for a text: a label that is no identifier."""


def plan(wanted: Iterable[tuple[str, str]], template: Template) -> tuple[tuple[Output, ...], dict[str, str]]:
    """The outputs to ask for, and why others cannot be, by name.

    ``wanted`` are pairs of name and expression. An expression that is no CUE, or refers to what the template does not
    have, would make the whole program fail, so it is told apart here.
    """
    found: list[Output] = []
    wrong: dict[str, str] = {}
    for name, expression in wanted:
        try:
            output = _output(name, expression, template)
        except scanner.ScanError as error:
            wrong[name] = error.message
            continue
        if output is None:
            unknown = ", ".join(sorted(template.unknown_names(expression)))
            wrong[name] = f"the template has no {unknown}; it has {_fields(template)}"
        else:
            found.append(output)
    return tuple(found), wrong


def _output(name: str, expression: str, template: Template) -> Output | None:
    """What to ask for; ``None`` when the expression refers to what is not there. Raises ``scanner.ScanError``."""
    declared: list[str] = []
    alias = ""
    quoted = _QUOTED.match(expression)
    if quoted is not None:
        # A label alias is the only way to refer to such a field from beside it.
        alias = f"field_{quoted['label'].encode().hex()}"
        declared.append(f'{alias}="{quoted["label"]}"?: _')
        expression = f"{alias}{expression[quoted.end() :]}"
    scanned = scanner.scan(expression)
    moved = _moved(expression, scanned, template)
    texts = dict.fromkeys([*_candidates(expression, scanned), moved])
    candidates = tuple(text for text in texts if not template.unknown_names(text) - {alias})
    if not candidates:
        return None
    reach = template.reach_of_everything if alias else template.reach_of_text(candidates[0])
    refs = {ref.name for ref, _ in free_refs(scanned)} - {alias}
    declared += [f"{ref}?: _" for ref in sorted(refs) if template.is_made(ref)]
    imports = tuple((item.name, item.path) for item in scanned.imports)
    bodies = tuple(_body(text) for text in candidates)
    return Output(
        name, bodies, imports, reach, tuple(declared), meant=candidates.index(moved) if moved in candidates else 0
    )


async def sift(
    evaluator: Evaluator, template: Template, data: Data, asked: Iterable[Output]
) -> tuple[tuple[Output, ...], dict[str, str]]:
    """The outputs that CUE takes, and why not the others, by name.

    Some mistakes in an expression only CUE finds, and they make the whole program fail. Raises ``Invalid`` when it is
    the template that does not compile.
    """
    await evaluator.evaluate(template, data)
    found: list[Output] = []
    wrong: dict[str, str] = {}
    for output in asked:
        try:
            await evaluator.evaluate(template, data, (output,))
        except errors.Invalid as error:
            wrong[output.name] = messages.of_expression(error.problems[0].message)
        else:
            found.append(output)
    return tuple(found), wrong


def _fields(template: Template) -> str:
    """The fields at the top of a template, for people who look for the right one."""
    names = [decl.name for decl in template.file.body.decls if isinstance(decl, Field) and not decl.is_definition]
    shown = [name for name in dict.fromkeys(names) if name is not None and not name.startswith("_")]
    return ", ".join(dict.fromkeys([*shown, "parameter", "context"]))


def _candidates(expression: str, scanned: scanner.File) -> list[str]:
    texts = [expression]
    single = len(scanned.body.decls) == 1 and isinstance(scanned.body.decls[0], scanner.Embed)
    if single and f"{_RETURNS}." not in expression:
        if "output." in expression:
            texts.append(expression.replace("output.", f"output.{_RETURNS}.", 1))
        elif _PATH.fullmatch(expression.strip()):
            texts.append(f"{expression.strip()}.{_RETURNS}")
    return texts


def _moved(expression: str, scanned: scanner.File, template: Template) -> str:
    """An expression with ``$returns`` behind every operation of the newer form that it looks into."""
    newer = {_names(site) for site in template.survey.sites if site.action and not site.action.legacy}
    text = expression
    for ref in sorted((ref for ref, _ in free_refs(scanned)), key=lambda ref: -ref.start):
        end = _end(text, ref, newer)
        if end:
            text = f"{text[:end]}.{_RETURNS}{text[end:]}"
    return text


def _names(site: Site) -> tuple[str | None, ...]:
    """The path of a site as a reference has it."""
    return tuple(part.name if isinstance(part, Key) else None for part in site.path)


def _end(text: str, ref: Ref, operations: Collection[tuple[str | None, ...]]) -> int:
    """Where in ``text`` the operation ends that a reference looks into; 0 when it looks into none."""
    path = (ref.name, *ref.tail)
    for size in range(len(ref.tail), 0, -1):
        follower = path[size]
        if path[:size] in operations and follower is not None and not follower.startswith("$"):
            selectors = re.compile(f"(?:{_SELECTOR}){{{size - 1}}}")
            found = selectors.match(text, ref.start + len(ref.name))
            return found.end() if found is not None else 0
    return 0


def _body(text: str) -> str:
    """An expression without its imports."""
    for start, end in reversed(scanner.scan(text).preamble):
        text = text[:start] + text[end:]
    return text.strip()


def missing(name: str, expression: str, why: str) -> str:
    """The message for an output that does not exist."""
    return errors.bounded(f"failed to get output {name} from {expression}: {why}")
