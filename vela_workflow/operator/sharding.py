"""Sharing runs out over several active replicas.

Every run belongs to one shard: the one that its label ``controller.core.oam.dev/scheduled-shard-id`` names, else the
one that its uid hashes to. Each shard has a Lease, and whoever holds that carries out its runs, so every run is carried
out by exactly one replica, also while replicas come and go. Replicas tell each other by a Lease of their own that they
are alive; free shards go to those with the fewest, and a replica that has two more than another gives one up.

The label is meant to be set when a run is made. Replicas that were told of another number of shards would share out
differently, so a replica takes nothing while such others hold a Lease: that is what makes a roll-out with a new number
safe.

What is here only decides; ``leader.py`` acts.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from vela_workflow.api import constants


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """What a replica sees.

    ``holders`` are the live holders by shard, empty where a shard is free; ``members`` the replicas that are alive;
    ``others`` is true while replicas with another number of shards hold a Lease; ``leases`` are all Leases by name.
    """

    identity: str
    holders: Mapping[int, str]
    members: frozenset[str] = frozenset()
    others: bool = False
    leases: Mapping[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """How many shards each live replica holds."""
        counts = Counter(dict.fromkeys(self.members | {self.identity}, 0))
        counts.update(holder for holder in self.holders.values() if holder)
        return counts


def shard_of(metadata: Mapping[str, Any], shards: int) -> int:
    """The shard, from 0, of the object with this metadata; a label that names none of them counts as missing."""
    if shards <= 1:
        return 0
    label = str((metadata.get("labels") or {}).get(constants.LABEL_SHARD, ""))
    if label.isascii() and label.isdigit() and int(label) < shards:
        return int(label)
    digest = hashlib.sha256(str(metadata["uid"]).encode()).digest()
    return int.from_bytes(digest[:8], "big") % shards


def to_take(view: View) -> list[int]:
    """The shard that this replica should try to take now, if any: a free one, when nobody has fewer than it."""
    free = [shard for shard, holder in view.holders.items() if not holder]
    if not free or view.others:
        return []
    counts = view.counts
    if counts[view.identity] > min(counts.values()):
        return []
    # Replicas that start together try different ones first.
    start = int(short(view.identity), 36) % len(free)
    return [free[start]]


def to_give(view: View) -> list[int]:
    """The shard that this replica should give up now, if any: when somebody has at least two fewer."""
    counts = view.counts
    own = [shard for shard, holder in view.holders.items() if holder == view.identity]
    if own and len(own) - min(counts.values()) >= 2:
        return [own[-1]]
    return []


def short(identity: str) -> str:
    """Ten letters and digits that stand for an identity, fit for a name."""
    return hashlib.sha256(identity.encode()).hexdigest()[:10]
