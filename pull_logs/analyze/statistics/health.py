"""What went wrong in a run, and from which step on: the flags of `pull-logs overview`.

    nan           a number of a metric is NaN or infinite
    divergence    a loss has lost everything that it had gained, and has not recovered
    overfitting   a validation metric gets worse while its training metric gets better
    plateau       a metric has not got better for the last third of its values
    stalled       there was no row for long, while the run went on or was marked as running
    crashed       the run ended as crashed, failed, killed or preempted

`docs/health.md` has the definitions with their numbers; the constants here are the same. A metric is judged
by its *levels*, the medians of short stretches of its finite values, so that single spikes do not count. Its
*noise* is the spread of the differences from value to value. Only outcomes are judged (see `metric_names`);
other metrics can only be `nan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

import numpy as np

from pull_logs.analyze.statistics.metric_names import is_training_partner, outcome_end
from pull_logs.frames import Column, Floats, MetricFacts, Steps, middle
from pull_logs.runs import RunInfo

Flag: TypeAlias = Literal["nan", "divergence", "overfitting", "plateau", "stalled", "crashed"]

DEFINITIONS = "1"
"""The version of the definitions; it changes where runs may get other findings."""

FLAGS: tuple[Flag, ...] = ("nan", "divergence", "overfitting", "plateau", "stalled", "crashed")
"""All flags, in the order in which they are shown."""

_FEWEST = 10
"""The fewest values with which a metric can diverge or be on a plateau."""
_FEWEST_VALIDATED = 6
"""The fewest values with which a validation metric can overfit."""
_LEVELS = 100
_NOISY = 6.0
_STALL_SECONDS = 600.0
_STALL_INTERVALS = 50.0
_ENDED_BADLY = frozenset({"crashed", "failed", "killed", "preempted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFinding:
    """A flag of a run.

    Attributes:
        flag: The flag.
        step: The step where it begins; None for a run without rows.
        metric: The metric that shows it, the one with the earliest step where several do.
        message: What was found there.
        metrics: How many metrics show it.
    """

    flag: Flag
    step: int | None
    metric: str | None
    message: str
    metrics: int = 1


@dataclass(frozen=True, slots=True)
class _Curve:
    """An outcome, with its numbers negated if more is better, so that less is always better.

    Attributes:
        sign: 1 where less is better, -1 where more is.
        levels: The medians of its stretches, times `sign`.
        starts: The step of the first value of each stretch.
        noise: The spread of a single value around its level.
        width: The number of values in a stretch.
        count: The number of finite values.
    """

    sign: int
    levels: Floats
    starts: Steps
    noise: float
    width: int
    count: int

    @classmethod
    def of(cls, name: str, steps: Steps, values: Floats) -> _Curve | None:
        """Return the curve of these finite values; None if the metric cannot be judged."""
        end = outcome_end(name)
        count = len(values)
        if end is None or count < _FEWEST_VALIDATED:
            return None
        sign = 1 if end == "min" else -1
        width = max(1, min(5, count // 20), -(-count // _LEVELS))
        stretches = values[: count // width * width].reshape(-1, width)
        levels = sign * _median(stretches)
        changes = np.diff(values)
        noise = 1.4826 * float(_median(np.abs(changes - _median(changes)))) / 2**0.5
        return cls(sign, levels, steps[: len(levels) * width : width], noise, width, count)

    @property
    def level_noise(self) -> float:
        """The spread of a level."""
        return float(self.noise / self.width**0.5)

    def shown(self, level: float) -> str:
        """Return a level with the sign of the metric."""
        return f"{self.sign * level:.4g}"


def can_have_flags(facts: MetricFacts) -> bool:
    """Whether a metric may have a flag, so that its history is worth reading."""
    return facts.nonfinite > 0 or (outcome_end(facts.name) is not None and facts.numbers > 0)


def find_flags(
    info: RunInfo, metrics: Mapping[str, Column], steps: Steps, timestamps: Column | None
) -> tuple[HealthFinding, ...]:
    """Return what is wrong with a run: at most one finding of each flag, in the order of `FLAGS`.

    Args:
        info: The run.
        metrics: Its metrics by name; columns without numbers are ignored.
        steps: The step of each row.
        timestamps: Its `_timestamp`, in seconds.
    """
    with np.errstate(all="ignore"):  # sums and differences of huge numbers may overflow
        return tuple(_earliest(_findings(info, metrics, steps, timestamps)))


def _findings(
    info: RunInfo, metrics: Mapping[str, Column], steps: Steps, timestamps: Column | None
) -> list[HealthFinding]:
    found: list[HealthFinding] = []
    curves: dict[str, _Curve] = {}
    for name, column in metrics.items():
        values, numeric = column.numbers()
        finite = np.isfinite(values)
        found += _not_finite(name, steps, values, numeric & ~finite)
        kept = numeric & finite
        if curve := _Curve.of(name, steps[kept], values[kept]):
            curves[name] = curve
    diverged = {name: one for name, curve in curves.items() if (one := _divergence(name, curve))}
    overfitted = {one.metric: one for one in _overfitting(curves) if one.metric not in diverged}
    found += [*diverged.values(), *overfitted.values()]
    found += [
        one
        for name, curve in curves.items()
        if name not in diverged and name not in overfitted and (one := _plateau(name, curve))
    ]
    found += _stalled(info, steps, timestamps)
    if info.state in _ENDED_BADLY:
        step = int(steps[-1]) if len(steps) else None
        found.append(
            HealthFinding(flag="crashed", step=step, metric=None, message=f"it ended as {info.state}")
        )
    return found


def _median(values: Floats) -> Floats:
    """Return the median along the last axis; `numpy.median` is ten times slower for a few hundred numbers."""
    return middle(np.sort(values), 0.5)


def _earliest(found: Iterable[HealthFinding]) -> Iterator[HealthFinding]:
    by_flag: dict[Flag, list[HealthFinding]] = {}
    for finding in found:
        by_flag.setdefault(finding.flag, []).append(finding)
    for flag in FLAGS:
        if several := by_flag.get(flag):
            first = min(several, key=lambda one: (one.step is None, one.step or 0, one.metric or ""))
            yield HealthFinding(
                flag=flag, step=first.step, metric=first.metric, message=first.message, metrics=len(several)
            )


def _not_finite(name: str, steps: Steps, values: Floats, lost: np.ndarray) -> Iterator[HealthFinding]:
    rows = np.flatnonzero(lost)
    if not len(rows):
        return
    value = float(values[rows[0]])
    word = "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    more = f", and {len(rows) - 1} more values are not finite" if len(rows) > 1 else ""
    yield HealthFinding(flag="nan", step=int(steps[rows[0]]), metric=name, message=f"{word}{more}")


def _divergence(name: str, curve: _Curve) -> HealthFinding | None:
    if curve.sign < 0 or curve.count < _FEWEST:
        return None
    levels = curve.levels
    start, best, end = float(levels[0]), float(levels.min()), float(levels[-2:].min())
    lost = end - best
    if not lost > max(start - best, abs(start) / 2, _NOISY * curve.noise):
        return None
    begin = min(int(np.flatnonzero(levels <= best + lost / 10)[-1]) + 1, len(levels) - 1)
    return HealthFinding(
        flag="divergence",
        step=int(curve.starts[begin]),
        metric=name,
        message=f"{curve.shown(best)} at its best, {curve.shown(end)} at the end",
    )


def _overfitting(curves: Mapping[str, _Curve]) -> Iterator[HealthFinding]:
    for name, curve in curves.items():
        partner = next((other for other in curves if is_training_partner(other, name)), None)
        if partner is None or curves[partner].sign != curve.sign:
            continue
        levels = curve.levels
        best = int(np.argmin(levels))
        won = float(levels[0] - levels[best])
        end = float(_median(levels[-max(2, len(levels) // 10) :]))
        rise = end - float(levels[best])
        enough = max(won / 20, 3 * curve.level_noise)
        if len(levels) - 1 - best < max(2, len(levels) * 0.15) or won <= 0 or not rise > enough:
            continue
        begin = int(curve.starts[best])
        if _still_better(curves[partner], begin):
            yield HealthFinding(
                flag="overfitting",
                step=begin,
                metric=name,
                message=f"{curve.shown(float(levels[best]))} at its best, {curve.shown(end)} at the end, "
                f"while {partner} still got better",
            )


def _still_better(training: _Curve, step: int) -> bool:
    """Whether a training metric is clearly better at the end than it was at this step."""
    until = max(int(np.searchsorted(training.starts, step, side="right")), 1)
    then = float(_median(training.levels[max(until - 3, 0) : until]))
    now = float(_median(training.levels[-max(2, len(training.levels) // 10) :]))
    return then - now > 2 * training.level_noise


def _plateau(name: str, curve: _Curve) -> HealthFinding | None:
    if curve.count < _FEWEST:
        return None
    levels = curve.levels
    best = float(levels.min())
    won = float(levels[0]) - best
    if won <= 4 * curve.level_noise:
        begin, message = 0, f"it never got better than {curve.shown(float(levels[0]))}"
    else:
        near = best + max(won / 50, curve.level_noise)
        begin = int(np.flatnonzero(np.minimum.accumulate(levels) <= near)[0])
        message = f"{curve.shown(float(levels[begin]))}, and {curve.shown(best)} at its best since"
    if len(levels) - begin < len(levels) / 3:
        return None
    return HealthFinding(flag="plateau", step=int(curve.starts[begin]), metric=name, message=message)


def _stalled(info: RunInfo, steps: Steps, timestamps: Column | None) -> Iterator[HealthFinding]:
    if timestamps is None:
        return
    values, numeric = timestamps.numbers()
    kept = numeric & np.isfinite(values)
    times, steps = values[kept], steps[kept]
    if len(times) < 2:
        return
    gaps = np.diff(times)
    limit = max(_STALL_SECONDS, _STALL_INTERVALS * float(_median(gaps)))
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
