"""Which run or group is best by a metric, and which end of a metric is good.

`METRIC:min` and `METRIC:max` say it. Without the end, it is the goal that the
runs defined for the metric (`run.define_metric(..., goal=...)`), else what the
name suggests (`loss` is good when small); a name that suggests nothing is asked
about. Runs whose value is missing or not finite come last, whatever the end.
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
class Criterion:
    """A metric and the end of it that is good.

    Attributes:
        metric: Its name.
        direction: `min` or `max`; None for whatever the metric itself suggests.
    """

    metric: str
    direction: Direction | None = None

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """What `--best` or `--sort` was given: `METRIC`, `METRIC:min` or `METRIC:max`."""
        name, colon, end = text.rpartition(":")
        if colon and name and end in ("min", "max"):
            return cls(name, "min" if end == "min" else "max")
        return cls(text)

    def settle(self, goals: Iterable[Direction], *, option: str) -> Direction:
        """The end that is good.

        Args:
            goals: What the runs defined.
            option: The flag that named the metric.

        Raises:
            UsageError: Nothing tells.
        """
        if self.direction is not None:
            return self.direction
        defined = set(goals)
        if len(defined) == 1:
            return defined.pop()
        if suggested := better_end(self.metric):
            return suggested
        raise UsageError(
            f"{option} {self.metric!r} does not say which end is good",
            hint=f"write: {option} '{self.metric}:min' or {option} '{self.metric}:max'",
        )


def ranked(items: Sequence[T], number: Callable[[T], float | None], direction: Direction) -> list[T]:
    """The items, the best first; equal ones in the order they had."""

    def place(item: T) -> tuple[bool, float]:
        value = number(item)
        if value is None or not math.isfinite(value):
            return True, 0.0
        return False, value if direction == "min" else -value

    return sorted(items, key=place)
