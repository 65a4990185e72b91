"""Results of operations in the text of a program.

The result of an operation that has run stands in the place of what was written: ``a: [{…result…}, <text>][0]``. The
text stays, so that imports and aliases are still used, but decides nothing: what the server added or changed never
conflicts with it, nor with what other declarations of the same object say. Only hidden fields and definitions, which a
result does not hold, still come from it. Under computed labels one text stands for many operations, so their results
are looked up in a table by their labels; in lists that comprehensions make, and in text that stands elsewhere, results
are unified.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vela_workflow.cue import syntax, values
from vela_workflow.cue.naming import Naming
from vela_workflow.cue.rewrite import Rewrite
from vela_workflow.cue.survey import Anchor, Computed, Key, Path, Position, Segment, Site, unlabelled
from vela_workflow.cue.syntax import Expr, Field

SEPARATOR = "\u001f"
"""Joins computed labels to one table key; it cannot occur in a label that anybody types."""
SEPARATOR_ESCAPE = "\\u001f"
"""The same as CUE text writes it."""


class Results:
    """The results of one pass, on their way into the program."""

    def __init__(self, text: str, sites: Sequence[Site], results: Mapping[Path, Any], names: Naming) -> None:
        self.text = text
        self.sites = sites
        self.results = results
        self.names = names

    def put_in(self, edit: Rewrite) -> None:
        """Put the results into the text of the template, each in the place of its operation."""
        if not self.results:
            return
        anchors: set[tuple[int, int, int]] = set()
        for site in self.sites:
            found = [path for path in self.results if matches(site, path)]
            if not found:
                continue
            if site.anchor is not None:
                key = (site.anchor.start, site.anchor.end, site.anchor.depth)
                if key not in anchors:
                    anchors.add(key)
                    self._unify(site, edit)
            elif site.is_static:
                self._replace(site, values.as_json(self.results[found[0]]), edit)
                for start, end in site.additions:
                    edit.wrap(start, end, "[_, {", "}][0]")
            else:
                entry = self._entry(site.path, site.number)
                self._replace(site, entry, edit, there=f"if {entry} != _|_ ")

    def _replace(self, site: Site, result: str, edit: Rewrite, *, there: str = "") -> None:
        """Put a result in the place of the text, with ``there`` only if that holds.

        What JSON does not hold of an action still comes from the text.
        """
        whole = self.names.name("T")
        kept = ", ".join(f"{name}: {whole}.{name}" for name in dict.fromkeys(_unwritten(site)))
        if kept:
            after = f"[{there}{{{result} & {{{kept}}}}}, {whole}][0]"
            edit.wrap(site.start, site.end, f"[for {whole} in [", f"] {{{after}}}][0]")
        else:
            edit.wrap(site.start, site.end, f"[{there}{{{result}}}, ", "][0]")

    def _entry(self, path: Sequence[Segment], number: int) -> str:
        labels = [self._label(segment) for segment in path if isinstance(segment, Computed)]
        key = SEPARATOR_ESCAPE.join(f"\\({label})" for label in labels)
        return f'{self.names.name("R")}.r{number}["{key}"]'

    def _label(self, segment: Computed) -> str:
        """What a computed label is; the program gives it a name, unless the field has an alias."""
        field = segment.field
        return self.text[field.label_start : field.label_end] if field.alias else self.names.label(segment.number)

    def _unify(self, site: Site, edit: Rewrite) -> None:
        anchor = site.anchor
        assert anchor is not None
        prefix = site.path[: anchor.depth]
        if any(isinstance(segment, Computed) for segment in prefix):
            entry = self._entry(prefix, self._anchor_number(anchor))
            added = f"[if {entry} != _|_ {{{entry}}}, _][0]"
        else:
            added = values.cue(self._below(tuple(written(segment) for segment in prefix)))
        opened, closed = ("({", "})") if anchor.chained else ("(", ")")
        edit.wrap(anchor.start, anchor.end, opened, f"{closed} & {added}", rank=3)

    @staticmethod
    def _anchor_number(anchor: Anchor) -> int:
        return 1_000_000 + anchor.start

    def _below(self, prefix: Path) -> Any:
        """All results below a path, as one nested value; gaps in lists are ``Top``."""
        tree: Any = None
        for path, result in self.results.items():
            if path[: len(prefix)] == prefix:
                tree = values.put(tree, path[len(prefix) :], result)
        return tree

    def tables(self) -> str:
        """The results of operations under computed labels, by site and labels."""
        tables: dict[str, dict[str, Any]] = {}
        for site in self.sites:
            for path in self.results:
                if not matches(site, path) or site.is_static:
                    continue
                if site.anchor is None:
                    key = _computed(site.path, path)
                    tables.setdefault(f"r{site.number}", {})[key] = self.results[path]
                    continue
                prefix = site.path[: site.anchor.depth]
                if any(isinstance(segment, Computed) for segment in prefix):
                    key = _computed(prefix, path)
                    table = tables.setdefault(f"r{self._anchor_number(site.anchor)}", {})
                    table[key] = self._below(path[: site.anchor.depth])
        if not tables:
            return ""
        return f"let {self.names.name('R')} = {values.cue(tables)}\n"


def _unwritten(site: Site) -> Iterator[str]:
    """The hidden fields and definitions that an action declares for others to refer to."""
    value = site.text.value if isinstance(site.text, Field) else site.text
    if not isinstance(value, Expr):
        return
    for struct in syntax.child_structs(value):
        for decl in struct.decls:
            if isinstance(decl, Field) and not decl.quoted and decl.optional_at < 0:
                name = decl.name or ""
                if name.startswith(("_", "#")) and name not in ("#do", "#provider"):
                    yield name


def _computed(segments: Sequence[Segment], path: Path) -> str:
    """The key of a table: the computed labels in a path."""
    labels = (str(part) for segment, part in zip(segments, path, strict=False) if isinstance(segment, Computed))
    return SEPARATOR.join(unlabelled(part) for part in labels)


def matches(site: Site, path: Path) -> bool:
    """Whether a path that an evaluation told can be that of a site."""
    if len(site.path) != len(path):
        return False
    for segment, part in zip(site.path, path, strict=True):
        if isinstance(segment, Key) and segment.name != part:
            return False
        if isinstance(segment, Position) and (not isinstance(part, int) or segment.index not in (None, part)):
            return False
    return True


def static_path(site: Site) -> Path:
    """The path of a site without open segments."""
    return tuple(written(segment) for segment in site.path)


def written(segment: Segment) -> str | int:
    """The part of a path that a segment without gaps stands for."""
    if isinstance(segment, Key):
        return segment.name
    if isinstance(segment, Position) and segment.index is not None:
        return segment.index
    return ""
