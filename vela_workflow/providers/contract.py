"""What an operation is, for those who write one and for those who run one.

A provider is a folder: its ``.cue`` file is the schema that template authors see, the Python beside it carries the
operations out. Every operation is one coroutine, ``async def op(call: Call) -> Outcome``. It is told everything it
needs in ``call`` and says everything that came of it in its ``Outcome``: the result, whether the step has to wait,
stop or fail, which objects would change its answer (*interest*: that is what the watch hub watches and what
``explain`` shows) and which warnings a user should see. Errors are raised, from the tree in ``errors.py``.

The same function serves both generations of packages. In the new form (``vela/kube``) arguments are in ``$params``
and results go to ``$returns``; in the legacy form (``vela/op``) both lie at the top level of the action and results
may have another name or place there. ``Operation.legacy`` says which.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from vela_workflow.clusters.client import ClusterClient
from vela_workflow.clusters.interest import Interest

__all__ = [
    "JSON",
    "Call",
    "Clusters",
    "Control",
    "ControlKind",
    "Effect",
    "Interest",
    "Operation",
    "OperationFunction",
    "Outcome",
    "Package",
    "Tags",
    "Variables",
]

JSON = dict[str, Any]

Tags = Mapping[tuple[str | int, ...], Mapping[str, str]]
"""Comments ``// +key=value`` above fields of an action, by the path of the field inside the action's ``patch``."""


class Effect(enum.Enum):
    """How often an operation may be carried out (design: Effects, decisions 19)."""

    READ = "read"
    IDEMPOTENT = "idempotent"
    ONCE = "once"


class ControlKind(enum.Enum):
    """What an operation can say about the step instead of acting on something."""

    WAIT = "wait"
    SUSPEND = "suspend"
    FAIL = "fail"
    BREAK = "break"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Control:
    """A say about the step; ``until`` is when a timed suspend ends."""

    kind: ControlKind
    message: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an operation.

    ``value`` is the result (what templates see in ``$returns``); ``None`` when there is none. ``sensitive`` taints the
    step: its outputs then go to a Secret. ``after`` asks for another look in so many seconds (polling operations).
    """

    value: JSON | None = None
    control: Control | None = None
    interest: tuple[Interest, ...] = ()
    sensitive: bool = False
    after: float | None = None
    warnings: tuple[str, ...] = ()


class Clusters(Protocol):
    """The clusters that operations may act on."""

    def client(self, cluster: str) -> ClusterClient:
        """The client of a cluster; ``""`` and ``local`` are where the operator runs.

        Raises ``Transient`` when there is no such cluster.
        """


class Variables(Protocol):
    """The workflow variables of a run and the small values that operations keep between passes."""

    def get(self, path: str) -> Any:
        """The variable at a dotted path; raises ``KeyError`` when there is none."""

    def is_sensitive(self, path: str) -> bool:
        """Whether the variable at a dotted path must not be seen by everybody."""

    def put(self, path: str, value: Any, *, sensitive: bool = False) -> None:
        """Set the variable at a dotted path, replacing what was there; ``sensitive`` keeps it from most eyes."""

    def memo(self, key: str) -> str | None:
        """A small text kept under ``key`` in the run's context, such as a time stamp."""

    def remember(self, key: str, value: str | None) -> None:
        """Keep (or with ``None`` drop) a small text under ``key`` in the run's context."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operation, about to be carried out.

    ``args`` are its arguments as plain JSON (``$params``, or the top level of a legacy action). ``path`` is where the
    action stands in the template. ``resumed`` tells a suspend that somebody let the step go on. ``again`` is true when
    this action already succeeded in this attempt of the step and is only looked at again after a wake (decisions 24).
    ``key`` is stable over restarts and unique per attempt: the idempotency key of a ``once`` operation. ``tags`` are
    comments of the template that steer a merge. ``sensitive`` tells that values of Secrets may be in the arguments.
    """

    args: JSON
    path: tuple[str | int, ...]
    run_name: str
    run_namespace: str
    run_uid: str
    step_name: str
    step_id: str
    now: datetime
    key: str
    clusters: Clusters
    variables: Variables
    resumed: bool = False
    again: bool = False
    tags: Tags = field(default_factory=dict)
    run_annotations: Mapping[str, str] = field(default_factory=dict)
    sensitive: bool = False

    @property
    def label(self) -> str:
        """The last element of the action's path, as templates name it; a list index is shown as such."""
        return str(self.path[-1]) if self.path else ""


OperationFunction = Callable[[Call], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table of operations.

    ``legacy`` renames result fields for the flat form of ``vela/op``: ``{"values": "list"}``; a dotted target such as
    ``"response.body"`` nests. ``replaces`` names the argument that the live object replaces in the flat form.
    ``effect_of`` refines ``effect`` by the arguments (HTTP: GET is a read, POST is not).
    """

    run: OperationFunction
    effect: Effect
    legacy: Mapping[str, str] = field(default_factory=dict)
    effect_of: Callable[[JSON], Effect] | None = None

    def classify(self, args: JSON) -> Effect:
        """The effect of this operation with these arguments."""
        return self.effect_of(args) if self.effect_of is not None else self.effect


@dataclass(frozen=True, slots=True)
class Package:
    """A CUE package that templates can import: ``path`` as they write it, ``source`` its CUE text.

    ``operations`` maps ``#do`` to what carries it out; ``provider`` is the ``#provider`` of its definitions.
    """

    path: str
    provider: str
    source: str
    operations: Mapping[str, Operation]
