"""The mean difference of two groups over several tasks: whether it is within a margin, and what would decide.

The tasks are fixed, and the runs of a task are a sample: the difference is the mean over tasks of the
difference of the means, and its variance is the sum of the variances of these means, each with the degrees of
freedom of its own runs (Satterthwaite). With one task it is Welch's test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pull_logs.analyze.inference.power import POWER, Decision, least_size, t_test_power, tost_power
from pull_logs.analyze.inference.significance import t_statistic
from pull_logs.analyze.inference.tasks import Scores
from pull_logs.analyze.statistics import t_interval, upper_tail


@dataclass(frozen=True, slots=True)
class StratifiedDifference:
    """The mean difference of two groups over tasks, the first minus the second.

    Attributes:
        difference: The mean over tasks of the difference of the means.
        variances: The variance of the runs in each task and group, divided by the squared number of tasks.
        sizes: The number of these runs.
    """

    difference: float
    variances: tuple[float, ...]
    sizes: tuple[int, ...]

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 95% interval."""
        error, df = self.precision(0)
        low, high = t_interval(self.difference, error * math.sqrt(df + 1), df + 1)
        return low, high

    def precision(self, size: int) -> tuple[float, float]:
        """Return the standard error and its degrees of freedom, if each task and group has `size` runs."""
        sizes = [max(size, have) for have in self.sizes]
        parts = [variance / n for variance, n in zip(self.variances, sizes, strict=True)]
        total = sum(parts)
        freedom = sum(part**2 / (n - 1) for part, n in zip(parts, sizes, strict=True))
        known = freedom > 0 and math.isfinite(total)
        return math.sqrt(total), total**2 / freedom if known else float(sum(sizes) - len(sizes))

    def p_within(self, margin: float) -> float:
        """Return the p value of TOST: small if the difference is certainly between -margin and margin."""
        error, df = self.precision(0)
        return max(upper_tail(t_statistic(sign * self.difference + margin, error), df) for sign in (1, -1))

    def seeds_to_decide(self, alpha: float, *, margin: float | None = None) -> tuple[int, Decision] | None:
        """Return how many runs of each group in each task would decide at a power of 80%.

        Args:
            alpha: The significance level.
            margin: The largest difference that does not matter.

        Returns:
            The number, and what would be found; None if it is above `MOST_RUNS`.
        """
        questions: list[tuple[Decision, Callable[[int], bool]]] = [
            ("difference", lambda size: self._finds(size, alpha))
        ]
        if margin is not None and abs(self.difference) < margin:
            questions.append(("equivalence", lambda size: self._finds_equivalent(size, alpha, margin)))
        plans = [
            (size, decision)
            for decision, enough in questions
            if (size := least_size(enough, min(self.sizes))) is not None
        ]
        return min(plans) if plans else None

    def _finds(self, size: int, alpha: float) -> bool:
        error, df = self.precision(size)
        if error == 0:
            return self.difference != 0
        return t_test_power(abs(self.difference) / error, df, alpha) >= POWER

    def _finds_equivalent(self, size: int, alpha: float, margin: float) -> bool:
        error, df = self.precision(size)
        return error == 0 or tost_power(self.difference / error, margin / error, df, alpha) >= POWER


@np.errstate(over="ignore", invalid="ignore")
def stratified_difference(first: Scores, second: Scores) -> StratifiedDifference | None:
    """Return the mean difference of two groups over the same tasks.

    Args:
        first: The scores of the first group.
        second: Those of the second, over the same tasks in the same order.

    Returns:
        None if a group has fewer than two runs in a task, or if the numbers overflow.
    """
    cells = [*first, *second]
    if min(map(len, cells)) < 2:
        return None
    count = len(first)
    means = [left.mean() - right.mean() for left, right in zip(first, second, strict=True)]
    variances = [float(cell.var(ddof=1)) / count**2 for cell in cells]
    difference = float(np.mean(means))
    if not (math.isfinite(difference) and all(map(math.isfinite, variances))):
        return None
    return StratifiedDifference(difference, tuple(variances), tuple(map(len, cells)))
