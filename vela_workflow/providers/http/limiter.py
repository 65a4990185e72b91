"""Token buckets that limit how often a URL is requested, over all runs of this process (ops 3.3).

A bucket holds ``limit`` tokens and gains one per ``period``; a request takes one. Buckets are known by method and URL
without its query, and only the 128 that were used last are kept. Time is an argument: seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

BUCKETS: Final = 128


@dataclass(slots=True)
class _Bucket:
    limit: int
    period: float
    tokens: float
    filled: float

    def take(self, now: float) -> float:
        self.tokens = min(float(self.limit), self.tokens + (now - self.filled) / self.period)
        self.filled = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) * self.period


@dataclass(slots=True)
class Limiter:
    """The buckets of this process."""

    size: int = BUCKETS
    _buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)

    def take(self, key: str, limit: int, period: float, now: float) -> float:
        """Take a token; 0 when there was one, else the seconds until there is.

        A bucket whose ``limit`` or ``period`` (in seconds) differs from before is a new one, and full.
        """
        bucket = self._buckets.get(key)
        if bucket is None or (bucket.limit, bucket.period) != (limit, period):
            bucket = _Bucket(limit, period, float(limit), now)
            self._buckets[key] = bucket
        self._buckets.move_to_end(key)
        while len(self._buckets) > self.size:
            self._buckets.popitem(last=False)
        return bucket.take(now)
