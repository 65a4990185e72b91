r"""Operations that one comprehension makes for several clusters, when some of the clusters cannot do theirs.

``for cluster in clusters {"\(cluster)": kube.#Apply & {…}}`` is one operation, written once, for each of the clusters.
What goes wrong in one of them must not keep the others from getting theirs, or the order of a list would decide who
does. So within one attempt of a step a cluster that fails is *missed*: it is not asked again, the operations that the
same text makes for other clusters are still carried out, and only then the step waits or fails, telling all that was
missed. Nothing of it holds for operations that refer to each other, nor for what is written elsewhere.
"""

from __future__ import annotations

import dataclasses

from vela_workflow import errors
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.cue.evaluator import Act
from vela_workflow.engine import result
from vela_workflow.steps import outcome as outcomes
from vela_workflow.steps import placing

BACK = "the step goes on when the cluster is back"


@dataclasses.dataclass(slots=True)
class Missed:
    """The clusters that were missed in one attempt, by the text that wanted something of them."""

    _dead: dict[tuple[int, str], str] = dataclasses.field(default_factory=dict)
    _failed: dict[tuple[int, str], result.Failed] = dataclasses.field(default_factory=dict)

    def take(self, act: Act, error: Exception, place: str) -> bool:
        """Remember what went wrong with an action, if that is no reason to end the attempt at once."""
        if not isinstance(error, cluster_errors.ApiError):
            return False
        if isinstance(error, cluster_errors.Unavailable) and outcomes.is_dead_cluster(act, error):
            self._dead[_key(act)] = f"{place}: {error}" if place else str(error)
            return True
        if not _is_spread(act):
            return False
        self._failed[_key(act)] = outcomes.of_error(error, place=place)
        return True

    def has(self, act: Act) -> bool:
        """Whether the cluster of an action was missed by the same text."""
        if not (self._dead or self._failed):
            return False
        return _key(act) in self._dead or _key(act) in self._failed

    def passes(self, act: Act) -> bool:
        """Whether an action is still to be carried out although others were missed: it is for another cluster."""
        texts = {text for text, _ in (*self._dead, *self._failed)}
        return id(act.site) in texts and _is_spread(act) and not self.has(act)

    def waiting(self) -> result.Waiting:
        """What the step waits for."""
        told = "; ".join(self._dead.values())
        return result.Waiting(errors.bounded(f"{told}; {BACK}" if told else ""), outcomes.DEAD_CLUSTER_AFTER)

    def failed(self) -> result.Failed | None:
        """How the step fails, if a cluster did otherwise than by not answering: by what no retry can help first."""
        found = sorted(self._failed.values(), key=lambda one: one.retriable)
        if not found:
            return None
        told = [*(one.message for one in found), *self._dead.values()]
        after = max(one.after for one in found)
        return dataclasses.replace(found[0], message=errors.bounded("; ".join(told)), after=after)


def _is_spread(act: Act) -> bool:
    """Whether an action is one of several that a comprehension makes independently of each other."""
    return not act.site.is_static and act.site.identity not in act.site.reach


def _key(act: Act) -> tuple[int, str]:
    cluster = placing.arguments(act.value or {}, legacy=act.action.legacy).get("cluster")
    return id(act.site), str(cluster or cluster_errors.LOCAL)
