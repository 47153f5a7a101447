"""Reductions: one number for all rows of a run, such as a mean or the step at which a condition first holds.

A reduction is over the *finite* numbers, as `[STATS]` is: missing cells, NaN and the infinities are left out.
It is missing where it is undefined: without any finite number (`count` is 0), of one number for `std`, `auc`
and `slope`. `at` reads as `--at` does, so a number that is not finite is read too.

Each function gets numbers and the steps of their rows, and returns None where it is undefined. Steps ascend.
"""

from __future__ import annotations

import numpy as np

from pull_logs.frames import Floats, Mask, middle


def mean(values: Floats) -> float | None:
    """Return the arithmetic mean."""
    return float(values.sum() / len(values)) if len(values) else None


def total(values: Floats) -> float | None:
    """Return the sum; that of no number is undefined, so that an absent metric does not sum up to 0."""
    return float(values.sum()) if len(values) else None


def deviation(values: Floats) -> float | None:
    """Return the standard deviation of a sample, with ddof 1, as `[STATS]` does."""
    if len(values) < 2:
        return None
    return float(np.sqrt(np.square(values - values.sum() / len(values)).sum() / (len(values) - 1)))


def quantile(values: Floats, share: float) -> float | None:
    """Return the quantile, interpolated linearly between neighbours."""
    return float(middle(np.sort(values), share)) if len(values) else None


def slope(values: Floats, steps: Floats, size: int) -> float | None:
    """Return the slope per step of the least-squares line through the last `size` numbers.

    It is undefined where there are fewer, as a rolling mean is.
    """
    if len(values) < size:
        return None
    along = steps[-size:] - steps[-size:].sum() / size
    above = values[-size:] - values[-size:].sum() / size
    spread = float(np.square(along).sum())
    return float((along * above).sum() / spread) if spread else None


def area(values: Floats, steps: Floats) -> float | None:
    """Return the area under the line through the numbers over their steps, by the trapezoid rule."""
    if len(values) < 2:
        return None
    return float((np.diff(steps) * (values[1:] + values[:-1]) / 2).sum())


def value_at(values: Floats, steps: Floats, step: float) -> float | None:
    """Return the number at a step, interpolated linearly between its neighbours; nothing is extrapolated."""
    after = int(np.searchsorted(steps, step, side="right"))
    if not after:
        return None
    low = steps[after - 1]
    if low == step:
        return float(values[after - 1])
    if after == len(steps):
        return None
    share = (step - low) / (steps[after] - low)
    return float(values[after - 1] * (1 - share) + values[after] * share)


def first_step(holds: Mask, steps: Floats) -> float | None:
    """Return the first step at which a condition holds."""
    rows = np.flatnonzero(holds)
    return float(steps[rows[0]]) if len(rows) else None


def last_step(holds: Mask, steps: Floats) -> float | None:
    """Return the last step at which a condition holds."""
    rows = np.flatnonzero(holds)
    return float(steps[rows[-1]]) if len(rows) else None
