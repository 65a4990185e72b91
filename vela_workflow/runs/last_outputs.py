"""What steps that have not succeeded could give as outputs, as their last attempt saw it.

A step that fails in the end hands on what it has: whoever looks for the reason wants the object that did not become
ready. Most steps succeed, so little is spent on it: the values are kept packed, in memory only, and large ones not at
all. After a restart of the operator a step gives what it has from its next attempt on.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from vela_workflow.engine import result

LIMIT: Final = 32 * 1024
"""How many bytes of JSON are kept of a step."""


class LastOutputs(Mapping[str, result.Succeeded]):
    """Outputs by step id, as the engine wants them."""

    def __init__(self) -> None:
        self._packed: dict[str, tuple[bytes, bool]] = {}

    def keep(self, step_id: str, outputs: Mapping[str, Any], *, sensitive: bool) -> None:
        """Keep what the last attempt of a step saw, in place of what an earlier one did."""
        self.forget(step_id)
        text = orjson.dumps(dict(outputs))
        if outputs and len(text) <= LIMIT:
            self._packed[step_id] = zlib.compress(text), sensitive

    def forget(self, step_id: str) -> None:
        """Forget a step that has ended or begins anew."""
        self._packed.pop(step_id, None)

    def __getitem__(self, step_id: str) -> result.Succeeded:
        packed, sensitive = self._packed[step_id]
        return result.Succeeded(orjson.loads(zlib.decompress(packed)), sensitive=sensitive)

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)
