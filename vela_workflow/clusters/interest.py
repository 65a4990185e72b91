"""What a waiting run waits for: objects whose change could change the answer of an operation.

An operation declares its interest in what it read or wrote; the watch hub turns interests into watches, and
``explain`` shows them. ``resource_version`` closes the gap between the operation's read and the start of a watch: it is
what the operation saw, so the hub can tell a change that happened in between from the state that is known already.
"""

from __future__ import annotations

from dataclasses import dataclass

ABSENT = "absent"
"""The ``resource_version`` of an object that was looked for and not found."""


@dataclass(frozen=True, slots=True)
class Interest:
    """Objects whose change could change the answer of an operation; an empty ``name`` stands for every object.

    ``resource_version`` is that of the object (of the list, when ``name`` is empty) as the operation saw it,
    ``ABSENT`` when there was no such object, or empty when the operation cannot tell: then the start of a watch wakes
    the run once.
    """

    cluster: str
    api_version: str
    kind: str
    namespace: str
    name: str = ""
    resource_version: str = ""
