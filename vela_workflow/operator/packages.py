"""Packages from outside, in step with the ``Package`` objects in the cluster.

A package that is wrong, or would take the place of another, is left out with a log line; templates that import it say
that there is no such import. Templates of all namespaces share the packages, so of several with one path or name that
of the system namespace counts: nobody else can put a service of theirs into its place.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from vela_workflow import errors
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.providers.contract import Package
from vela_workflow.providers.external import package as external
from vela_workflow.providers.external.package import Key, key_of

logger = logging.getLogger(__name__)


class ExternalPackages:
    """Adds packages to the table that steps use and to the library that templates are read with."""

    def __init__(self, table: dict[str, Package], evaluator: Evaluator, system_namespace: str) -> None:
        self._own = dict(table)
        self._table = table
        self._evaluator = evaluator
        self._base = evaluator.library
        self._found: dict[Key, Package] = {}
        self._system_namespace = system_namespace
        self._eclipsed: frozenset[Key] = frozenset()

    def known(self) -> list[Key]:
        """Namespace and name of each."""
        return list(self._found)

    def update(self, body: Mapping[str, Any]) -> None:
        """Take in a ``Package`` object that is there or has changed."""
        key = key_of(body)
        try:
            found = external.from_object(body, self._own)
        except errors.Invalid as error:
            logger.warning("package %s/%s is left out: %s", *key, error)
            self.remove(body)
            return
        known = self._found.get(key)
        if known is not None and (known.path, known.source) == (found.path, found.source):
            self._found[key] = found
            if key not in self._eclipsed:
                self._table[found.path] = found
            return
        self._found[key] = found
        self._rebuild()

    def remove(self, body: Mapping[str, Any]) -> None:
        """Forget a package."""
        if self._found.pop(key_of(body), None) is not None:
            self._rebuild()

    def _rebuild(self) -> None:
        self._table.clear()
        self._table.update(self._own)
        kept, eclipsed = external.ranked(self._found, self._system_namespace)
        self._table.update({package.path: package for package in kept.values()})
        self._tell_eclipsed(eclipsed)
        sources = {path: package.source for path, package in self._table.items() if path not in self._own}
        self._evaluator.use(self._base.with_packages(sources))

    def _tell_eclipsed(self, eclipsed: Mapping[Key, Key]) -> None:
        """Log which packages come to nothing because another has their path or, as their provider, their name."""
        for key in sorted(eclipsed.keys() - self._eclipsed):
            logger.warning("package %s/%s is left out: %s/%s has the same path or name", *key, *eclipsed[key])
        self._eclipsed = frozenset(eclipsed)
