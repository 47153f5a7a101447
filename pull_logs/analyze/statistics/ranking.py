"""Which run or group is best by a metric, and which end of a metric is good.

`METRIC:min` and `METRIC:max` say it. Without the end, it is the goal that the
runs defined for the metric (`run.define_metric(..., goal=...)`), else what the
name suggests (`loss` is good when small); a name that suggests nothing is asked
about. Runs whose value is missing or not finite come last, whatever the end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from pull_logs.errors import UsageError

T = TypeVar("T")

Direction: TypeAlias = Literal["min", "max"]

_SMALL = re.compile(
    r"(loss|error|err|perplexity|ppl|nll|bpb|bpc|mse|rmse|mae|wer|cer|fid|kl|regret|latency|time|seconds)\d*"
)
_GREAT = re.compile(
    r"(accuracy|acc|f1|auc|auroc|map|iou|dice|bleu|rouge|score|reward|return|precision|recall|psnr|ssim|success|throughput)\d*"
)
_HELD_OUT = frozenset({"val", "valid", "validation", "eval", "evaluation", "test", "dev"})
_GOALS: Mapping[object, Direction] = {1: "min", 2: "max"}


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
        if suggested := suggested_end(self.metric):
            return suggested
        raise UsageError(
            f"{option} {self.metric!r} does not say which end is good",
            hint=f"write: {option} '{self.metric}:min' or {option} '{self.metric}:max'",
        )


def suggested_end(metric: str) -> Direction | None:
    """The end of a metric that its name says is good."""
    words = _words(metric)
    small, great = (any(map(pattern.fullmatch, words)) for pattern in (_SMALL, _GREAT))
    return None if small is great else "min" if small else "max"


def deciding_metric(names: Iterable[str]) -> str | None:
    """Of these metrics, the one that most likely decides: of validation, and with a name that says its end."""
    ends = [name for name in names if suggested_end(name)]
    held_out = [name for name in ends if _HELD_OUT.intersection(_words(name))]
    return next(iter([*held_out, *ends]), None)


def _words(metric: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", metric.lower())


def defined_goal(config_internal: Mapping[str, Any], metric: str) -> Direction | None:
    """The goal that a run defined for a metric: field 8 of its `MetricRecord` (see `aligning.defined_axes`)."""
    section = config_internal.get("_wandb")
    records = section.get("m") if isinstance(section, Mapping) else None
    for record in records if isinstance(records, list) else []:
        if isinstance(record, Mapping) and record.get("1") == metric:
            goal = record.get("8")
            return _GOALS.get(goal) if isinstance(goal, int) else None
    return None


def ranked(items: Sequence[T], number: Callable[[T], float | None], direction: Direction) -> list[T]:
    """The items, the best first; equal ones in the order they had."""

    def place(item: T) -> tuple[bool, float]:
        value = number(item)
        if value is None or not math.isfinite(value):
            return True, 0.0
        return False, value if direction == "min" else -value

    return sorted(items, key=place)
