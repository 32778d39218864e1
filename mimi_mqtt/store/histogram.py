"""Histogram of durations with fixed buckets, so that histograms are merged by adding them up; pure.

The buckets grow by a factor of 2^(1/4) from 50 ms to 25.6 s. A percentile is told as the geometric middle of
its bucket, so it is within 10 % of the true one, between these bounds, however many histograms were merged.
"""

import math
from collections.abc import Sequence
from typing import Final

LOWEST_MS: Final = 50.0
PER_DOUBLING: Final = 4
"""Buckets until the duration has doubled."""
DOUBLINGS: Final = 9
HIGHEST_MS: Final = LOWEST_MS * 2**DOUBLINGS
BUCKETS: Final = PER_DOUBLING * DOUBLINGS + 2
"""Number of buckets: the first is below `LOWEST_MS`, the last from `HIGHEST_MS` on."""


def bucket_of(ms: float) -> int:
    """The bucket of a duration in ms."""
    if not ms >= LOWEST_MS:
        return 0
    if ms >= HIGHEST_MS:
        return BUCKETS - 1
    return 1 + min(int(PER_DOUBLING * math.log2(ms / LOWEST_MS)), BUCKETS - 3)


def percentile(counts: Sequence[int], share: float) -> float | None:
    """The duration in ms below which `share` (0 to 1) of those counted in the buckets are; None without any.

    In the first bucket that is `LOWEST_MS`, and in the last one `HIGHEST_MS`: at most, and at least, that.
    """
    rank = math.ceil(share * sum(counts))
    seen = 0
    for bucket, count in enumerate(counts):
        seen += count
        if seen >= max(rank, 1):
            return _middle(bucket)
    return None


def _middle(bucket: int) -> float:
    if bucket == 0:
        return LOWEST_MS
    if bucket == BUCKETS - 1:
        return HIGHEST_MS
    return float(round(LOWEST_MS * 2 ** ((bucket - 0.5) / PER_DOUBLING), 1))
