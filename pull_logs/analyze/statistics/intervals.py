"""Statistics of a few numbers: mean, spread, and an interval for the mean.

The order of the numbers does not matter. The definitions are those of known libraries:

    std      that of a sample, ddof 1, as pandas'
    median   the middle, or the mean of the two in the middle
    iqm      the interquartile mean: the mean without the floor(n / 4) least and the floor(n / 4) greatest
             numbers; `scipy.stats.trim_mean(values, 0.25)`, which is rliable's IQM
    t        mean -+ t(0.975, n - 1) * std / sqrt(n); exact for normal data
    bootstrap  the 2.5 and 97.5 percentiles of the means of 10,000 resamples, seeded; too narrow for few
             numbers (docs/statistics.md has how much)
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.statistics.quantiles import median
from pull_logs.analyze.statistics.student_t import t_quantile
from pull_logs.frames import middle

Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
IntervalKind: TypeAlias = Literal["t", "bootstrap"]

LEVEL = 0.95
"""The share of intervals that are to contain the mean."""
RESAMPLES = 10_000
_RESAMPLES_AT_ONCE = 1_000
_SEED = 0
_DRAWN_AT_ONCE = 2**22
_SORTED_AT_ONCE = 2**19
"""Draws that are sorted together: few enough for the cache of a processor."""

_BLOCKS = 512
_MOST_DRAWN = 8_192
"""Up to this many numbers, each number of a resample is drawn for the interval of an interquartile mean."""

_KEPT_NUMBERS = 2_000
"""Up to this many numbers, their resamples are kept: at most 20 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleStatistics:
    """The statistics of finite numbers; None where there are too few for one.

    Attributes:
        n: How many numbers.
        mean: Their mean.
        std: Their standard deviation, ddof 1.
        ci_low: The lower end of the interval for the mean.
        ci_high: Its upper end.
        median: Their median.
        iqm: Their interquartile mean.
        min: The least.
        max: The greatest.
    """

    n: int
    mean: float | None = None
    std: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    median: float | None = None
    iqm: float | None = None
    min: float | None = None
    max: float | None = None


def describe_sample(values: Collection[float], *, interval: IntervalKind = "t") -> SampleStatistics:
    """Return the statistics of finite numbers, in any order.

    Args:
        values: The numbers.
        interval: The kind of interval; there is none for fewer than two numbers.
    """
    ordered = np.sort(np.asarray(list(values), np.float64))
    n = len(ordered)
    if not n:
        return SampleStatistics(n=0)
    mean, std = mean_and_std(ordered)
    low, high = None, None
    if std is not None:
        low, high = t_interval(mean, std, n) if interval == "t" else bootstrap_interval(ordered)
    cut = n // 4
    with np.errstate(over="ignore", invalid="ignore"):  # sums of huge numbers may overflow to an infinity
        return SampleStatistics(
            n=n,
            mean=mean,
            std=std,
            ci_low=low,
            ci_high=high,
            median=median(ordered.tolist()),
            iqm=float(ordered[cut : n - cut].mean()),
            min=float(ordered[0]),
            max=float(ordered[-1]),
        )


def mean_and_std(values: Floats) -> tuple[float, float | None]:
    """Return the mean and, of two numbers or more, the standard deviation (ddof 1); 0 for equal numbers."""
    if values[0] == values[-1] and (values == values[0]).all():
        # Rounding would give 0.1, 0.1, 0.1 a spread, and a test between two such samples a verdict.
        return float(values[0]), 0.0 if len(values) > 1 else None
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def t_interval(mean: float, std: float, n: float) -> tuple[float, float]:
    """Return the interval of Student's t for the mean of `n` numbers, at least two."""
    half = t_quantile((1 + LEVEL) / 2, n - 1) * std / math.sqrt(n)
    return mean - half, mean + half


def bootstrap_interval(values: Floats) -> tuple[float, float]:
    """Return the percentile bootstrap interval for the mean of at least two numbers; it is reproducible."""
    ordered = np.sort(values)
    if ordered[0] == ordered[-1]:
        return float(ordered[0]), float(ordered[-1])
    with np.errstate(over="ignore", invalid="ignore"):
        means = _resampled_means(ordered)
        return middle_share(means, LEVEL)


def iqm_interval(values: Collection[float]) -> tuple[float, float] | tuple[None, None]:
    """Return the percentile bootstrap interval for the interquartile mean; none of fewer than two numbers.

    Of very many numbers, a resample is how many of its draws fall into each of `_BLOCKS` blocks of about as
    many sorted numbers, which stand for their mean. Its time does not grow with them, and the ends of the
    interval differ by about a hundredth of its width, which is as much as they differ from seed to seed.
    """
    ordered = np.sort(np.asarray(list(values), np.float64))
    n = len(ordered)
    if n < 2:
        return None, None
    if ordered[0] == ordered[-1]:
        return float(ordered[0]), float(ordered[-1])
    with np.errstate(over="ignore", invalid="ignore"):
        parts = (
            (ordered[part].mean(axis=1) for part in _middle_indices(n))
            if n <= _MOST_DRAWN
            else _means_by_block(ordered)
        )
        means = np.concatenate([*parts])
        return middle_share(means, LEVEL)


def middle_share(values: Floats, share: float) -> tuple[float, float]:
    """Return the ends of the middle share of numbers, as `np.quantile` does; NaN if one of them is NaN.

    `np.quantile` imports another part of numpy, which takes longer.
    """
    ordered = np.sort(values)
    if np.isnan(ordered[-1]):
        return math.nan, math.nan
    return float(middle(ordered, (1 - share) / 2)), float(middle(ordered, (1 + share) / 2))


def _middle_indices(n: int) -> Iterable[Indices]:
    """Return, for each resample of `n` sorted numbers, the indices of its middle half in their order."""
    return _kept_indices(n) if n <= _KEPT_NUMBERS else _drawn_indices(n)


@lru_cache(maxsize=2)
def _kept_indices(n: int) -> Sequence[Indices]:
    """Return them kept for the next group, because the groups of a sweep have the same number of runs."""
    return tuple(part.copy() for part in _drawn_indices(n))


def _drawn_indices(n: int) -> Iterator[Indices]:
    """Draw them, some resamples at a time.

    Indices of sorted numbers are in the order of these, and short integers are sorted much faster than
    numbers.
    """
    cut = n // 4
    generator = np.random.default_rng(_SEED)
    step = max(_SORTED_AT_ONCE // n, 1)
    short = n <= np.iinfo(np.uint16).max
    for start in range(0, RESAMPLES, step):
        drawn = generator.integers(0, n, (min(step, RESAMPLES - start), n))
        indices = drawn.astype(np.uint16) if short else drawn.astype(np.uint32)
        indices.sort(axis=1, kind="stable")
        yield indices[:, cut : n - cut]


def _means_by_block(ordered: Floats) -> Iterator[Floats]:
    """Return the interquartile means of resamples of very many sorted numbers, some resamples at a time."""
    n = len(ordered)
    cut = n // 4
    starts = np.linspace(0, n, _BLOCKS, endpoint=False).astype(np.int64)
    sizes = np.diff(starts, append=n)
    means = np.add.reduceat(ordered, starts) / sizes
    generator = np.random.default_rng(_SEED)
    for _ in range(0, RESAMPLES, _RESAMPLES_AT_ONCE):
        drawn = generator.multinomial(n, sizes / n, size=_RESAMPLES_AT_ONCE)
        ends = np.cumsum(drawn, axis=1)
        kept = np.minimum(ends, n - cut) - np.maximum(ends - drawn, cut)
        yield np.maximum(kept, 0) @ means / (n - 2 * cut)


def _resampled_means(values: Floats) -> Floats:
    n = len(values)
    if n * RESAMPLES <= _DRAWN_AT_ONCE:
        return np.asarray(_shares(n) @ values)
    generator = np.random.default_rng(_SEED)
    step = max(_DRAWN_AT_ONCE // n, 1)
    return np.concatenate(
        [
            values[generator.integers(0, n, (min(step, RESAMPLES - start), n))].mean(axis=1)
            for start in range(0, RESAMPLES, step)
        ]
    )


@lru_cache(maxsize=8)
def _shares(n: int) -> Floats:
    """Return the share of each of `n` numbers in each resample: one product then gives all means."""
    drawn = np.random.default_rng(_SEED).integers(0, n, (RESAMPLES, n))
    cells = drawn + n * np.arange(RESAMPLES)[:, None]
    counted = np.bincount(cells.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n)
    return counted / n
