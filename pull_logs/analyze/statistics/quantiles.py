"""Sums, means and medians that do not overflow, and percentiles that a view asks for: `--quantiles 50,95`."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from pull_logs.errors import UsageError
from pull_logs.frames import Column, middle
from pull_logs.rows.canonical import canon_number, spell

_HINT = "write percentages, as in --quantiles 50,95,99.9"


def parse_quantiles(text: str) -> tuple[float, ...]:
    """Read the value of `--quantiles`: percentages with commas between them.

    Raises:
        UsageError: One is not a number from 0 to 100, or all are shares below 1.
    """
    percents = [_percent(word) for word in text.split(",")]
    if not all(0 <= percent <= 100 for percent in percents):
        raise UsageError(f"--quantiles {text!r} has something else than numbers from 0 to 100", hint=_HINT)
    if all(0 < percent < 1 for percent in percents):
        meant = ",".join(f"{100 * percent:g}" for percent in percents)
        raise UsageError(
            f"--quantiles {text!r} are percentages, from 0 to 100", hint=f"write --quantiles {meant}"
        )
    return tuple(dict.fromkeys(percents))


def _percent(word: str) -> float:
    """Return a word as a number; NaN where it cannot be read as one."""
    try:
        return float(word)
    except ValueError:
        return math.nan


def quantiles_of(column: Column, percents: Sequence[float]) -> dict[str, Any]:
    """Return percentiles of the finite numbers by name (`p95`), as `[STATS]` does; None without any."""
    values, numeric = column.numbers()
    ordered = np.sort(values[numeric & np.isfinite(values)])
    return {
        f"p{percent:g}": spell(canon_number(float(middle(ordered, percent / 100)))) if len(ordered) else None
        for percent in percents
    }


def median(values: Collection[float]) -> float:
    """Return the middle of finite numbers, or the mean of the two in the middle, which never overflows."""
    ordered = sorted(values)
    low, high = float(ordered[(len(ordered) - 1) // 2]), float(ordered[len(ordered) // 2])
    total = low + high
    return total / 2 if math.isfinite(total) else low / 2 + high / 2


def total(values: Collection[float]) -> float:
    """Return the sum of finite numbers, rounded once; an infinity where it is too large for a double."""
    try:
        return math.fsum(values)
    except OverflowError:
        return math.copysign(math.inf, math.fsum(value / len(values) for value in values))


def mean(values: Collection[float]) -> float:
    """Return the mean of at least one finite number, which never overflows."""
    found = total(values) / len(values)
    return found if math.isfinite(found) else math.fsum(value / len(values) for value in values)
