"""A curve with fewer points that looks the same: every minimum, maximum and value that is not finite stays.

The rows of a long curve are split into buckets of as many rows each. Of a bucket, the page gets the smallest
and the largest value with their steps, the number of its finite values and their mean, so that smoothing and
means over runs do not depend on the reduction. The first and the last row are buckets of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pull_logs.frames import Floats

Codes: TypeAlias = npt.NDArray[np.uint8]

NAN, ABOVE, BELOW = 0, 1, 2
"""The codes of the marks: NaN, infinity, and minus infinity."""

MEAN_LEVELS = 255
"""A mean is stored as one of so many levels between the minimum and the maximum of its bucket."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The points of one metric of one run, in the order of their steps.

    Attributes:
        steps: The step of each point.
        values: The value of each point; finite.
        counts: How many finite values each bucket has, if the curve is reduced; then two points in a row
            are the extremes of a bucket. Empty if every value is a point.
        means: The mean of each bucket: 0 for its minimum, `MEAN_LEVELS` for its maximum.
        mark_steps: The steps of values that are not finite; of a bucket, the first of each kind.
        mark_codes: Their kinds: `NAN`, `ABOVE` or `BELOW`.
    """

    steps: Floats
    values: Floats
    counts: Floats
    means: Codes
    mark_steps: Floats
    mark_codes: Codes


def reduce_curve(steps: Floats, values: Floats, *, limit: int) -> Curve:
    """Return a curve with about `limit` points at most.

    Args:
        steps: The step of each value, ascending.
        values: The values, NaN and infinities among them.
        limit: The most points; marks are not counted.
    """
    finite = np.isfinite(values)
    codes = np.where(np.isnan(values), NAN, np.where(values > 0, ABOVE, BELOW)).astype(np.uint8)
    marked = ~finite
    if len(values) <= max(limit, 2):
        none = np.empty(0, np.float64)
        return Curve(steps[finite], values[finite], none, none.astype(np.uint8), steps[marked], codes[marked])
    starts = _bucket_starts(len(values), max(limit // 2, 2))
    points, counts, means = _extremes(values, finite, starts)
    kept = _first_marks(codes, np.flatnonzero(marked), starts)
    return Curve(steps[points], values[points], counts, means, steps[kept], codes[kept])


def _bucket_starts(rows: int, buckets: int) -> npt.NDArray[np.intp]:
    """Return the first row of each bucket: the first and the last row alone, the rest in equal parts."""
    inner = np.linspace(1, rows - 1, max(buckets - 1, 2)).astype(np.intp)
    return np.unique(np.concatenate(([0], inner)))


def _extremes(
    values: Floats, finite: npt.NDArray[np.bool_], starts: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], Floats, Codes]:
    """Return the rows of the extremes of each bucket in their order, counts, and levels of the means."""
    counts = np.add.reduceat(finite.astype(np.float64), starts)
    bucket = np.searchsorted(starts, np.arange(len(values)), side="right") - 1
    low = np.minimum.reduceat(np.where(finite, values, np.inf), starts)
    high = np.maximum.reduceat(np.where(finite, values, -np.inf), starts)
    # The reversed assignment leaves the first row that has the value of the extreme.
    rows = np.arange(len(values) - 1, -1, -1)
    lowest, highest = np.zeros(len(starts), np.intp), np.zeros(len(starts), np.intp)
    for extreme, found in ((low, lowest), (high, highest)):
        hits = rows[finite[rows] & (values[rows] == extreme[bucket[rows]])]
        found[bucket[hits]] = hits
    used = counts > 0
    pairs = np.stack([np.minimum(lowest, highest)[used], np.maximum(lowest, highest)[used]], axis=1)
    low, high, counts = low[used], high[used], counts[used]
    # A sum that overflows costs the position of one mean, never an extreme.
    with np.errstate(all="ignore"):
        means = np.add.reduceat(np.where(finite, values, 0.0), starts)[used] / counts
        share = np.nan_to_num((means - low) / (high - low))
    return pairs.reshape(-1), counts, np.rint(np.clip(share, 0, 1) * MEAN_LEVELS).astype(np.uint8)


def _first_marks(
    codes: Codes, rows: npt.NDArray[np.intp], starts: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Return of each bucket the first row of each kind of mark, ascending."""
    bucket = np.searchsorted(starts, rows, side="right") - 1
    _, first = np.unique(bucket * 3 + codes[rows], return_index=True)
    return np.sort(rows[first])
