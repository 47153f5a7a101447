"""What groups of runs allow to conclude over several tasks, in the manner of rliable.

Every task has one array of scores per group, of which more is better. Runs are resampled within each task
(a stratified bootstrap), and the labels of two groups are permuted within each task, so that neither a hard
task nor an unequal number of runs is taken for a difference. All of it is seeded: the same scores give the
same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.inference.effects import probability_above
from pull_logs.analyze.statistics import median

Floats: TypeAlias = npt.NDArray[np.float64]
Scores: TypeAlias = Sequence[Floats]
"""The scores of one group, an array per task."""

RESAMPLES = 10_000
LEVEL = 0.95
_SEED = 0
_CELLS_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """The scores of one group over all tasks.

    Attributes:
        iqm: Their interquartile mean: that of all runs of all tasks.
        iqm_low: The lower end of its interval; None where no task has two runs.
        iqm_high: The upper end.
        mean: The mean of the means of the tasks.
        median: The median of the means of the tasks.
    """

    iqm: float
    iqm_low: float | None
    iqm_high: float | None
    mean: float
    median: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """How often a run of the first group is better than one of the second, on average over tasks.

    Attributes:
        probability: The probability of improvement.
        low: The lower end of its interval; None where no task has two runs of a group.
        high: The upper end.
        p: The p value of the two-sided permutation test that there is no difference, not adjusted.
    """

    probability: float
    low: float | None
    high: float | None
    p: float


@np.errstate(over="ignore", invalid="ignore")
def trimmed_mean(values: Floats) -> Floats:
    """Return the interquartile means along the last axis, without floor(n / 4) numbers at each end."""
    n = values.shape[-1]
    cut = n // 4
    return np.asarray(np.sort(values, axis=-1)[..., cut : n - cut].mean(axis=-1))


@np.errstate(over="ignore", invalid="ignore")
def aggregate_tasks(scores: Scores) -> Aggregate:
    """Return the aggregates of a group, with a stratified bootstrap of the interquartile mean."""
    means = np.array([task.mean() for task in scores])
    low = high = None
    if max(map(len, scores)) > 1:
        low, high = _interval(
            lambda generator, count: trimmed_mean(
                np.concatenate([_drawn(task, generator, count) for task in scores], axis=1)
            ),
            cells=sum(map(len, scores)),
        )
    return Aggregate(
        iqm=float(trimmed_mean(np.concatenate(list(scores)))),
        iqm_low=low,
        iqm_high=high,
        mean=float(means.mean()),
        median=median(means.tolist()),
    )


@np.errstate(over="ignore", invalid="ignore")
def compare_tasks(first: Scores, second: Scores) -> Improvement:
    """Compare two groups over the same tasks.

    Args:
        first: The scores of the first group.
        second: Those of the second, over the same tasks in the same order.
    """
    pairs = list(zip(first, second, strict=True))

    def drawn(generator: np.random.Generator, count: int) -> Floats:
        chances = []
        for left, right in pairs:
            one = _drawn(left, generator, count)
            chances.append(_above(one, _drawn(right, generator, count)))
        return np.asarray(np.mean(chances, axis=0))

    low = high = None
    if max(map(len, (*first, *second))) > 1:
        low, high = _interval(drawn, cells=max(len(left) * len(right) for left, right in pairs))
    above = [probability_above(left.tolist(), right.tolist()) for left, right in pairs]
    return Improvement(probability=float(np.mean(above)), low=low, high=high, p=permutation_p(pairs))


def profile(scores: Scores, thresholds: Floats) -> list[float]:
    """Return the share of runs, over all tasks, whose score is above each threshold."""
    runs = np.concatenate(list(scores))
    return [float(share) for share in (runs[None, :] > thresholds[:, None]).mean(axis=1)]


@np.errstate(over="ignore", invalid="ignore")
def scale_tasks(groups: Sequence[Scores]) -> list[list[Floats]]:
    """Return scores on one scale: in each task the worst run of all groups is 0 and the best is 1.

    Where all runs of a task are equal, all of them are 1.
    """
    scaled: list[list[Floats]] = [[] for _ in groups]
    for tasks in zip(*groups, strict=True):
        every = np.concatenate(tasks)
        # Scores that are too far apart for a double are so no more once each is halved.
        unit = 1.0 if np.isfinite(every.max() - every.min()) else 0.5
        low, high = unit * every.min(), unit * every.max()
        for group, values in zip(scaled, tasks, strict=True):
            group.append((unit * values - low) / (high - low) if high > low else np.ones_like(values))
    return scaled


def _drawn(values: Floats, generator: np.random.Generator, count: int) -> Floats:
    return values[generator.integers(0, len(values), (count, len(values)))]


def _above(left: Floats, right: Floats) -> Floats:
    a, b = left[:, :, None], right[:, None, :]
    return np.asarray(((a > b) + 0.5 * (a == b)).mean(axis=(1, 2)))


def _interval(statistic: Callable[[np.random.Generator, int], Floats], *, cells: int) -> tuple[float, float]:
    """Return the percentile interval of a statistic of resamples."""
    generator = np.random.default_rng(_SEED)
    step = max(_CELLS_AT_ONCE // cells, 1)
    found = np.concatenate(
        [statistic(generator, min(step, RESAMPLES - start)) for start in range(0, RESAMPLES, step)]
    )
    low, high = np.quantile(found, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


@np.errstate(over="ignore", invalid="ignore")
def permutation_p(pairs: Sequence[tuple[Floats, Floats]]) -> float:
    """Return the p value of a test that permutes the labels within each task.

    The statistic is the distance of the probability of improvement from one half. The labels of the data
    count as one of the permutations.
    """
    generator = np.random.default_rng(_SEED)
    total = np.zeros(RESAMPLES)
    observed = 0.0
    for left, right in pairs:
        n, m = len(left), len(right)
        ranks = _ranks(np.concatenate([left, right]))
        least = n * (n + 1) / 2
        observed += (ranks[:n].sum() - least) / (n * m) - 0.5
        step = max(_CELLS_AT_ONCE // (n + m), 1)
        for start in range(0, RESAMPLES, step):
            count = min(step, RESAMPLES - start)
            chosen = np.argsort(generator.random((count, n + m)), axis=1)[:, :n]
            total[start : start + count] += (ranks[chosen].sum(axis=1) - least) / (n * m) - 0.5
    as_far = np.abs(total) >= abs(observed) - 1e-12
    return float((1 + as_far.sum()) / (1 + RESAMPLES))


def _ranks(values: Floats) -> Floats:
    """Return the ranks from 1; equal numbers share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)
