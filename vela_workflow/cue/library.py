"""The CUE packages that templates can import, and the operations that their definitions stand for.

A package is CUE text under a path such as ``vela/kube``. CUE itself takes a path without a domain for its standard
library, so in programs the path becomes ``<DOMAIN>/kube``; the text is laid out below ``cue.mod/pkg`` of the module
that programs run in. ``Library`` reads the definitions of every package once: which ``#do`` and ``#provider`` they
carry, whether they are of the flat (legacy) form, and which operations are nested in them (composites).
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping

from vela_workflow.cue import scanner, shapes
from vela_workflow.cue.scanner import Embed, Expr, Field, Struct

DOMAIN = "packages.vela-workflow"
"""The domain under which packages of ours are found by the ``cue`` command."""


@dataclasses.dataclass(frozen=True, slots=True)
class Action:
    """An operation as a definition names it: ``#do`` and ``#provider``; ``legacy`` for the flat form."""

    do: str
    provider: str
    legacy: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Definition:
    """A definition of a package. ``action`` is ``None`` when it is no operation itself.

    ``nested`` are the labels that lead to operations inside it, with those operations. ``shape`` tells which fields it
    takes, where its text tells that.
    """

    name: str
    action: Action | None
    nested: tuple[tuple[tuple[str, ...], Action], ...] = ()
    shape: shapes.Shape | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class CuePackage:
    """One package: its path in templates, the path in programs, the identifier it is used by, its text."""

    path: str
    program_path: str
    identifier: str
    source: str
    definitions: Mapping[str, Definition]
    names: frozenset[str]


class Library:
    """All packages that templates may import besides CUE's standard library."""

    def __init__(self, packages: Mapping[str, CuePackage]) -> None:
        self.packages = dict(packages)
        digest = hashlib.sha256()
        for path in sorted(self.packages):
            digest.update(f"{path}\0{self.packages[path].source}\0".encode())
        self.digest = digest.hexdigest()[:16]

    @classmethod
    def build(cls, sources: Mapping[str, str]) -> Library:
        """Read packages from ``path → CUE text``; raises ``scanner.ScanError`` when a text is not CUE."""
        return cls({path: _read(path, source) for path, source in sources.items()})

    def with_packages(self, sources: Mapping[str, str]) -> Library:
        """This library and further packages; those that are already there are kept as they are."""
        extra = {path: _read(path, source) for path, source in sources.items() if path not in self.packages}
        return Library({**self.packages, **extra})


def program_path(path: str, source: str, identifier: str) -> str:
    """The import path of a package inside programs: a domain of ours before a path that CUE would not resolve.

    That of a package from outside changes with its text, so that programs under way keep the text they began with.
    """
    rest = path.removeprefix("vela/")
    if rest != path and re.fullmatch(r"[\w-]+", rest):
        return f"{DOMAIN}/{rest}"
    return f"{DOMAIN}/external/{hashlib.sha256(f'{path}{source}'.encode()).hexdigest()[:16]}/{identifier}"


def _read(path: str, source: str) -> CuePackage:
    file = scanner.scan(source)
    match = re.search(r"^\s*package\s+(\w+)", source, re.MULTILINE)
    identifier = match[1] if match else re.sub(r"\W", "_", path.rsplit("/", 1)[-1])
    text = source if match else f"package {identifier}\n{source}"
    fields = {decl.name: decl for decl in file.body.decls if isinstance(decl, Field) and decl.name is not None}
    definitions = {
        name: Definition(
            name,
            _action(field, fields, set()),
            tuple(_nested(field.value, fields, (), {name})),
            shapes.of_definition(field.value, fields, frozenset({name})),
        )
        for name, field in fields.items()
        if field.is_definition
    }
    return CuePackage(path, program_path(path, text, identifier), identifier, text, definitions, frozenset(fields))


def _action(field: Field, fields: Mapping[str, Field], seen: set[str]) -> Action | None:
    return _action_of(field.value, fields, seen)


def _action_of(expr: Expr, fields: Mapping[str, Field], seen: set[str]) -> Action | None:
    for struct in scanner.child_structs(expr):
        found = written_action(struct)
        if found is not None:
            return found
    for ref in operand_refs(expr):
        target = fields.get(ref.name)
        if target is not None and not ref.tail and target.is_definition and ref.name not in seen:
            found = _action_of(target.value, fields, seen | {ref.name})
            if found is not None:
                return found
    return None


def written_action(struct: Struct) -> Action | None:
    """The operation that a struct literal writes by hand with ``#do`` (and ``#provider``), if it does."""
    words: dict[str, str] = {}
    flat = True
    for decl in struct.decls:
        if isinstance(decl, Field) and decl.name in ("#do", "#provider"):
            text = _literal(decl.value)
            if text is not None:
                words[decl.name] = text
        elif isinstance(decl, Field) and decl.name in ("$params", "$returns"):
            flat = False
    if words.get("#do", STEPS) == STEPS:
        return None
    provider = words.get("#provider", "op" if flat else "builtin")
    return Action(words["#do"], provider, legacy=flat and provider in LEGACY_PROVIDERS)


STEPS = "steps"
"""What very old templates write as ``#do`` of a struct that only holds operations (spec ops 10)."""

LEGACY_PROVIDERS = frozenset({"op", "ql"})
"""Providers whose operations have arguments and results at the top level of the action (spec ops 1)."""


def _literal(expr: Expr) -> str | None:
    return expr.operands[0].literal if len(expr.operands) == 1 and not expr.operators else None


def operand_refs(expr: Expr) -> Iterator[scanner.Ref]:
    """The references that are whole operands of a conjunction, through parentheses and embeddings."""
    if not expr.is_conjunction:
        return
    for operand in expr.operands:
        if operand.ref is not None:
            yield operand.ref
        elif operand.group is not None:
            yield from operand_refs(operand.group)
        elif operand.struct is not None:
            for decl in operand.struct.decls:
                if isinstance(decl, Embed):
                    yield from operand_refs(decl.value)


def _nested(
    expr: Expr, fields: Mapping[str, Field], path: tuple[str, ...], seen: set[str]
) -> Iterator[tuple[tuple[str, ...], Action]]:
    for struct in scanner.child_structs(expr):
        for decl in struct.decls:
            if not isinstance(decl, Field) or decl.name is None or decl.is_definition or decl.name.startswith("$"):
                continue
            action = _action_of(decl.value, fields, set(seen))
            if action is not None:
                yield (*path, decl.name), action
            yield from _nested(decl.value, fields, (*path, decl.name), seen)
    for ref in operand_refs(expr):
        target = fields.get(ref.name)
        if target is not None and not ref.tail and ref.name not in seen:
            yield from _nested(target.value, fields, path, seen | {ref.name})


def is_standard(path: str) -> bool:
    """Whether CUE resolves an import path in its own standard library: its first element has no dot."""
    return path.split(":", 1)[0] in STANDARD


STANDARD = frozenset({
    "crypto/ed25519", "crypto/hmac", "crypto/md5", "crypto/sha1", "crypto/sha256", "crypto/sha512",
    "encoding/base64", "encoding/csv", "encoding/hex", "encoding/json", "encoding/openapi", "encoding/toml",
    "encoding/yaml", "html", "list", "math", "math/bits", "net", "path", "regexp", "strconv", "strings", "struct",
    "text/tabwriter", "text/template", "time", "uuid",
})  # fmt: skip
"""The packages of CUE's standard library that only compute; those that reach outside (``tool/…``) are left out."""
