"""Which run or group is best by a metric.

`METRIC:min` and `METRIC:max` say which end of the metric is better. Without that, the goal that the runs
defined counts (`run.define_metric(..., goal=...)`), then the name of the metric (see `metric_names`); where
neither decides, the user is asked. Runs whose value is missing or not finite come last, whichever end is
better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pull_logs.analyze.statistics.metric_names import Direction, better_end
from pull_logs.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Goal:
    """A metric and its better end; written as `METRIC:min` or `METRIC:max`."""

    metric: str
    direction: Direction

    def __str__(self) -> str:
        return f"{self.metric}:{self.direction}"


@dataclass(frozen=True, slots=True)
class Criterion:
    """A metric that runs are to be ranked by.

    Attributes:
        metric: Its name.
        direction: Its better end; None to find it out.
    """

    metric: str
    direction: Direction | None = None

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """Read the value of `--best` or `--sort`: `METRIC`, `METRIC:min` or `METRIC:max`."""
        name, colon, end = text.rpartition(":")
        if colon and name and end in ("min", "max"):
            return cls(name, "min" if end == "min" else "max")
        return cls(text)

    def settle(self, goals: Iterable[Direction], *, option: str) -> Goal:
        """Find the better end.

        Args:
            goals: The better ends that the runs defined for the metric.
            option: The flag that named the metric, for the message.

        Raises:
            UsageError: The better end is unknown.
        """
        if self.direction is not None:
            return Goal(self.metric, self.direction)
        defined = set(goals)
        suggested = defined.pop() if len(defined) == 1 else better_end(self.metric)
        if suggested is not None:
            return Goal(self.metric, suggested)
        raise UsageError(
            f"{option} {self.metric!r} does not say which end is better",
            hint=f"write: {option} '{self.metric}:min' or {option} '{self.metric}:max'",
        )


def ranked(items: Sequence[T], number: Callable[[T], float | None], direction: Direction) -> list[T]:
    """Return the items, the best first; equal ones keep their order."""

    def rank(item: T) -> tuple[bool, float]:
        value = number(item)
        if value is None or not math.isfinite(value):
            return True, 0.0
        return False, value if direction == "min" else -value

    return sorted(items, key=rank)
