"""Definition files: one step type (component, trait, policy) per file, in the form of ``vela def``.

A file has a head and a template::

    import "vela/kube"

    "apply-object": {
        type:        "workflow-step"
        description: "Apply an object"
        annotations: category: "Resource Management"
    }
    template: {
        apply: kube.#Apply & {$params: value: parameter.value}
        parameter: value: {...}
    }

``render`` makes the object that a cluster keeps: the head becomes its metadata (spec definitions 0.2), the template's
text is the imports and the body of ``template``, unindented, comments included. Nothing is evaluated, so no ``cue``
command is needed; whether the template is sound is for admission and for the tests to say. ``write`` is the way back.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.authoring import literals
from vela_workflow.authoring.origin import Origin
from vela_workflow.cue import rewrite, scanner
from vela_workflow.cue.scanner import Field

API_VERSION: Final = constants.STEP_DEFINITION.api_version

KINDS: Final = {
    "workflow-step": constants.STEP_DEFINITION.kind,
    "component": "ComponentDefinition",
    "trait": "TraitDefinition",
    "policy": "PolicyDefinition",
}
"""The kind of object that each ``type`` of a file makes."""

TYPES: Final = {kind: word for word, kind in KINDS.items()}

USER_PREFIX: Final = "custom.definition.oam.dev/"
"""Before the annotations and labels of a head that have no domain of their own, such as ``category`` and ``scope``."""

MANAGED_BY: Final = {"app.kubernetes.io/managed-by": "vela-workflow", "app.kubernetes.io/part-of": "vela-workflow"}
"""The labels of definitions that come with this program."""

TEMPLATE: Final = "template"

_TEXTS: Final = {
    "description": constants.ANNOTATION_DEFINITION_DESCRIPTION,
    "alias": constants.ANNOTATION_DEFINITION_ALIAS,
}
"""Words of the head that become annotations."""

_SPEC: Final = ("version",)
"""Words of the head that become fields of the spec; they can also stand among the attributes."""

_HEAD: Final = frozenset({"type", "annotations", "labels", "attributes", *_TEXTS, *_SPEC})

Definition = dict[str, Any]


def built_in() -> Path:
    """The folder of the definitions that come with this program: in the wheel, else in the checkout."""
    packed = Path(str(resources.files("vela_workflow"))) / "data" / "definitions"
    return packed if packed.is_dir() else Path(__file__).resolve().parents[2] / "definitions"


def load_all(folder: Path | None = None) -> list[Definition]:
    """All definitions below a folder (by default the built-in ones) as objects, in the order of their paths.

    They have no namespace and carry the labels ``MANAGED_BY``. Raises ``Invalid`` with the problems of all files.
    """
    folder = folder or built_in()
    found: list[Definition] = []
    problems: list[errors.Problem] = []
    origins: dict[tuple[str, str], str] = {}
    for path in sorted(folder.rglob("*.cue")):
        shown = path.relative_to(folder).as_posix()
        try:
            definition = render(path.read_text(encoding="utf-8"))
        except errors.Invalid as error:
            problems += (errors.Problem(p.message, f"{shown}", p.line, p.column) for p in error.problems)
            continue
        definition["metadata"]["labels"] = {**definition["metadata"].get("labels", {}), **MANAGED_BY}
        identity = (definition["kind"], definition["metadata"]["name"])
        if identity in origins:
            message = f"{identity[0]} {identity[1]} is also in {origins[identity]}; keep one of them"
            problems.append(errors.Problem(message, shown))
        origins[identity] = shown
        found.append(definition)
    if problems:
        raise errors.Invalid(problems, summary=f"definitions in {folder}")
    return found


def render(source: Path | str) -> Definition:
    """The object of a definition file, given as its path or its text.

    Raises ``Invalid`` with the line and column of what is wrong.
    """
    return trace(source.read_text(encoding="utf-8") if isinstance(source, Path) else source)[0]


def trace(text: str) -> tuple[Definition, Origin]:
    """The object of a definition file, and where the lines of its template stand there; raises as ``render``."""
    try:
        return _render(text)
    except (scanner.ScanError, literals.NotPlainError) as error:
        raise _invalid(text, error.message, error.offset) from None


def _render(text: str) -> tuple[Definition, Origin]:
    file = scanner.scan(text)
    head, template = _parts(file)
    words = literals.read(head.value, text)
    if not isinstance(words, dict):
        raise literals.NotPlainError(f"{head.name} must be a struct with type, description and so on", head.start)
    kind = _check_head(head, words)
    annotations = {annotation: words[word] for word, annotation in _TEXTS.items() if words.get(word)}
    annotations |= _prefixed(words.get("annotations") or {})
    labels = _prefixed(words.get("labels") or {})
    metadata: dict[str, Any] = {"name": head.name}
    if annotations:
        metadata["annotations"] = annotations
    if labels:
        metadata["labels"] = labels
    written, origin = _template(file, template)
    spec = {**words.get("attributes", {}), **{word: words[word] for word in _SPEC if word in words}}
    definition: Definition = {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "spec": {**spec, "schematic": {"cue": {"template": written}}},
    }
    return definition, origin


def _parts(file: scanner.File) -> tuple[Field, Field]:
    """The head and the template of a file."""
    heads: list[Field] = []
    templates: list[Field] = []
    for decl in file.body.decls:
        if not isinstance(decl, Field) or decl.name is None:
            raise literals.NotPlainError("expected the head of a definition or its template", decl.start)
        (templates if decl.name == TEMPLATE else heads).append(decl)
    if len(heads) != 1:
        where = heads[1].start if heads else 0
        raise literals.NotPlainError(f'a file holds one definition, "name": {{…}}; found {len(heads)}', where)
    if not templates:
        raise literals.NotPlainError("a definition needs template: {…}, and there is none", heads[0].start)
    if len(templates) > 1:
        raise literals.NotPlainError(f"a file holds one template: {{…}}; found {len(templates)}", templates[1].start)
    operands = templates[0].value.operands
    if len(operands) != 1 or operands[0].struct is None or templates[0].value.operators:
        raise literals.NotPlainError("the template must be one struct, template: {…}", templates[0].start)
    return heads[0], templates[0]


def _check_head(head: Field, words: Mapping[str, Any]) -> str:
    """The kind of the definition; raises ``NotPlainError`` when the head is not as it must be."""
    unknown = sorted(set(words) - _HEAD)
    if unknown:
        known = ", ".join(sorted(_HEAD))
        raise literals.NotPlainError(f"unknown field {unknown[0]} in the head; there are {known}", head.start)
    if words.get("type") not in KINDS:
        known = ", ".join(KINDS)
        raise literals.NotPlainError(f"type must be one of {known}, not {words.get('type')!r}", head.start)
    for word in (*_TEXTS, *_SPEC):
        if not isinstance(words.get(word, ""), str):
            raise literals.NotPlainError(f"{word} must be a string", head.start)
    for word in ("annotations", "labels", "attributes"):
        if not isinstance(words.get(word, {}), dict):
            raise literals.NotPlainError(f"{word} must be a struct", head.start)
    for word in ("annotations", "labels"):
        for key, value in words.get(word, {}).items():
            if not isinstance(value, str):
                raise literals.NotPlainError(f"{word}.{key} must be a string", head.start)
    return KINDS[words["type"]]


def _prefixed(words: Mapping[str, str]) -> dict[str, str]:
    return {key if "/" in key else USER_PREFIX + key: value for key, value in words.items()}


def _template(file: scanner.File, template: Field) -> tuple[str, Origin]:
    """The imports of the file and the body of its template, unindented; and where its lines come from."""
    body = template.value.operands[0]
    braced = _braced(file.text, body)
    start, end = (body.start + 1, body.end - 1) if braced else (body.start, body.end)
    inner = file.text[start:end]
    begin = start + len(inner) - len(inner.lstrip("\n"))
    text, shift = _unindent(inner.strip("\n").rstrip())
    imports = [span for span in file.preamble if _is_import(file.text[slice(*span)])]
    lines: list[tuple[int, int]] = []
    for from_, to in imports:
        lines += _places(file.text, from_, file.text[from_:to].count("\n") + 1, 0)
    if not imports:
        return f"{text}\n", Origin(tuple(_places(file.text, begin, text.count("\n") + 1, shift)))
    head = "\n".join(file.text[from_:to] for from_, to in imports)
    lines = [*lines, (lines[-1][0], 0), *_places(file.text, begin, text.count("\n") + 1, shift)]
    return f"{head}\n\n{text}\n", Origin(tuple(lines))


def _places(text: str, offset: int, count: int, shift: int) -> list[tuple[int, int]]:
    """The places of ``count`` lines from ``offset`` on, of which each lost ``shift`` columns."""
    line, column = rewrite.place(text, offset)
    return [(line, column - 1 + shift), *((line + number, shift) for number in range(1, count))]


def _braced(text: str, body: scanner.Operand) -> bool:
    return text[body.start] == "{" and body.struct is not None and not body.struct.implicit


def _is_import(text: str) -> bool:
    return text.startswith("import")


def _unindent(text: str) -> tuple[str, int]:
    """Take away the white space that all lines start with, and tell how much; strings keep what goes beyond that."""
    lines = text.split("\n")
    filled = [line for line in lines if line.strip()]
    if not filled:
        return "", 0
    prefix = filled[0][: len(filled[0]) - len(filled[0].lstrip())]
    while prefix and not all(line.startswith(prefix) for line in filled):
        prefix = prefix[:-1]
    return "\n".join(line.removeprefix(prefix) for line in lines), len(prefix)


def _invalid(text: str, message: str, offset: int) -> errors.Invalid:
    line, column = rewrite.place(text, offset)
    return errors.Invalid([errors.Problem(message, line=line, column=column)])


def write(definition: Mapping[str, Any]) -> str:
    """A definition object as a file, the way back of ``render``.

    Raises ``Invalid`` when the object is no definition with a CUE template.
    """
    kind, metadata, spec = definition.get("kind"), definition.get("metadata") or {}, definition.get("spec") or {}
    template = ((spec.get("schematic") or {}).get("cue") or {}).get("template")
    if kind not in TYPES or not isinstance(template, str):
        known = ", ".join(TYPES)
        raise errors.Invalid([errors.Problem(f"expected one of {known} with spec.schematic.cue.template, not {kind}")])
    try:
        file = scanner.scan(template)
    except scanner.ScanError as error:
        raise _invalid(template, error.message, error.offset) from None
    imports = "\n".join(template[start:end] for start, end in file.preamble if _is_import(template[start:end]))
    body = template
    for start, end in reversed(file.preamble):
        body = body[:start] + body[end:]
    head = f"{literals.label(metadata['name'])}: {literals.write(_head(TYPES[kind], metadata, spec))}\n"
    indented = textwrap.indent(body.strip("\n").rstrip(), "\t", lambda line: bool(line.strip()))
    return (f"{imports}\n\n" if imports else "") + f"{head}{TEMPLATE}: {{\n{indented}\n}}\n"


def _head(word: str, metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    annotations = dict(metadata.get("annotations") or {})
    head: dict[str, Any] = {"type": word}
    head |= {name: annotations.pop(key) for name, key in _TEXTS.items() if key in annotations}
    own = {key: value for key, value in (metadata.get("labels") or {}).items() if key not in MANAGED_BY}
    for name, values in (("annotations", annotations), ("labels", own)):
        if values:
            head[name] = {key.removeprefix(USER_PREFIX): value for key, value in values.items()}
    head |= {word: spec[word] for word in _SPEC if word in spec}
    attributes = {key: value for key, value in spec.items() if key not in ("schematic", *_SPEC)}
    if attributes:
        head["attributes"] = attributes
    return head
