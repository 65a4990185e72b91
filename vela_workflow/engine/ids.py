"""Ids of steps, derived instead of random (decisions 20).

An id identifies one execution of a step: it prefixes the step's keys in the context of the run and is part of the keys
of ``once`` operations. It comes from the UID of the run, the path of the step and how often the step was restarted, so
a crash before it was written anywhere gives the same id again, and a restart gives another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from vela_workflow.api import constants

WHOLE_RUN = "*"
"""Key of the counter of restarts of the whole run, beside those of step paths."""

FROM_STEP = "*step"
"""Key of the counter of how often a run that had ended went on again from a step."""


def step_id(uid: str, path: str, restarts: Mapping[str, int]) -> str:
    """The id of the step at ``path`` (``step`` or ``group/step``) in the run with this UID."""
    return _derive(
        f"step\0{uid}\0{path}\0{restarts.get(WHOLE_RUN, 0)}\0{restarts.get(path, 0)}", constants.STEP_ID_LENGTH
    )


def execution(restarts: Mapping[str, int]) -> int:
    """Which execution of the run this is: 0, and one more each time that it begins, or goes on after its end, again."""
    return restarts.get(WHOLE_RUN, 0) + restarts.get(FROM_STEP, 0)


def span_id(uid: str, restarts: Mapping[str, int], *ids: str) -> str:
    """The trace id that ``context.spanID`` shows: a root for the run, then the ids of group and step (engine 6)."""
    root = "i-" + _derive(f"span\0{uid}\0{restarts.get(WHOLE_RUN, 0)}", 8)
    return ".".join((root, *ids))


def _derive(text: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest())
    characters = []
    for _ in range(length):
        number, digit = divmod(number, len(constants.STEP_ID_ALPHABET))
        characters.append(constants.STEP_ID_ALPHABET[digit])
    return "".join(characters)
