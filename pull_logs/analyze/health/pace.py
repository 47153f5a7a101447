"""The flags of time: a throughput that is lost, and rows that do not come."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime

import numpy as np

from pull_logs.analyze.health.curves import Curve, Series, median
from pull_logs.analyze.health.findings import HealthFinding
from pull_logs.frames import Floats, RunLike, Steps
from pull_logs.runs import RunInfo

_FEWEST = 20
"""The fewest values with which a throughput can be lost."""
_SLOWER = -math.log(0.8)
_LOST = -math.log(0.7)
_STALL_SECONDS = 600.0
_STALL_INTERVALS = 50.0


def speed_series(steps: Steps, values: Floats, *, sign: int) -> Series | None:
    """Return what to judge a throughput by; None if it has too few values.

    Args:
        steps: The step of each value.
        values: Its finite values.
        sign: -1 for a speed, 1 for the time that a step takes.
    """
    positive = values > 0
    if not positive.all():
        steps, values = steps[positive], values[positive]
    return Series(steps, values, sign, positive=True) if len(values) >= _FEWEST else None


def speed_flags(name: str, curve: Curve) -> Iterator[HealthFinding]:
    """Yield where a throughput is lost, to the end or for a tenth of the run."""
    levels = curve.levels  # the logarithm of the time, up to a constant
    if float(levels.max()) - float(levels.min()) <= _LOST:
        return
    usual = min(float(median(part)) for part in np.array_split(levels, 4))
    sums = np.concatenate([[0.0], np.cumsum(levels - usual - _SLOWER)])
    end = int(np.argmax(sums - np.minimum.accumulate(sums)))
    begin = end - int(np.argmin(sums[end::-1])) if end else 0
    least = max(3, len(levels) // 10)
    if begin < least or end - begin < least:
        return
    half = begin // 2
    before, during = float(median(levels[:begin])), float(median(levels[begin:end]))
    drift = abs(float(median(levels[:half])) - float(median(levels[half:begin])))
    if during - before < max(_LOST, 4 * curve.level_noise, 3 * drift):
        return
    lasting = "to the end" if end == len(levels) else f"until step {curve.step_of(end)}"
    unit = curve.number if curve.sign > 0 else lambda value: math.exp(-value)
    yield HealthFinding(
        flag="slowdown",
        step=curve.step_of(begin),
        metric=name,
        message=f"{unit(before):.4g} before, {unit(during):.4g} {lasting}",
    )


def stall_flags(info: RunInfo | RunLike, times: Floats, steps: Steps) -> Iterator[HealthFinding]:
    """Yield where a run logged nothing for long.

    Args:
        info: The run.
        times: The finite timestamps of its rows, in seconds.
        steps: Their steps.
    """
    if len(times) < 2:
        return
    gaps = np.diff(times)
    limit = max(_STALL_SECONDS, _STALL_INTERVALS * float(median(gaps)))
    beat = _seconds(info.heartbeat_at)
    if info.state == "running" and beat is not None and beat - float(times[-1]) > limit:
        silent = beat - float(times[-1])
        yield HealthFinding(
            flag="stalled", step=int(steps[-1]), metric=None, message=f"no row for {silent:.0f} s since"
        )
    longest = int(np.argmax(gaps))
    if float(gaps[longest]) > limit:
        yield HealthFinding(
            flag="stalled",
            step=int(steps[longest]),
            metric=None,
            message=f"{float(gaps[longest]):.0f} s until the next row",
        )


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
