"""What is wrong with a run: the flags of all of its metrics.

    nan                 a number of a metric is NaN or infinite
    divergence          a loss has lost what it had gained, and has not recovered
    gradient_explosion  the norm of the gradients leaves what was usual by a factor of ten or more
    spike               a loss jumps, and recovers
    overfitting         a validation metric gets worse while its training metric gets better
    plateau             a loss or a score has stopped getting better
    learning_rate       a learning rate is zero or negative, jumps up after a decay, or alone does not decay
    slowdown            a throughput is lost
    stalled             there was no row for long, while the run went on or was marked as running
    crashed             the run ended as crashed, failed, killed or preempted

`docs/health.md` has the definitions with their numbers; the constants here are the same. What a metric is
judged for, its name decides (`role_of`); every metric can be `nan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from pull_logs.analyze.health.curves import FEWEST, Curve
from pull_logs.analyze.health.findings import FLAGS, Flag, HealthFinding
from pull_logs.analyze.health.optimization import gradient_flags, rate_flags
from pull_logs.analyze.health.outcomes import outcome_flags
from pull_logs.analyze.health.pace import speed_flags, stall_flags
from pull_logs.analyze.statistics import role_of
from pull_logs.frames import Column, Floats, MetricFacts, RunLike, Steps
from pull_logs.runs import RunInfo

DEFINITIONS = "3"
"""The version of the definitions; it changes where runs may get other findings."""

_LEAST_SPAN = {"gradient": 10.0, "speed": 1.4, "pace": 1.4}
"""The least factor between the numbers of a metric that may have a flag."""
_ENDED_BADLY = frozenset({"crashed", "failed", "killed", "preempted"})


def can_have_flags(facts: MetricFacts) -> bool:
    """Whether a metric may have a flag, so that its history is worth reading."""
    role = role_of(facts.name)
    low, high = facts.min, facts.max
    if facts.nonfinite or role is None or low is None or high is None:
        return facts.nonfinite > 0
    if role == "learning_rate":
        return True
    if role in ("loss", "score"):
        return facts.numbers >= FEWEST
    return facts.numbers >= FEWEST and high >= _LEAST_SPAN[role] * low


def find_flags(
    run: RunInfo | RunLike, metrics: Mapping[str, Column], steps: Steps, timestamps: Column | None
) -> tuple[HealthFinding, ...]:
    """Return what is wrong with a run: at most one finding of each flag, in the order of `FLAGS`.

    Args:
        run: The run, of which the state and the last time it was seen count.
        metrics: Its metrics by name; columns without numbers are ignored.
        steps: The step of each row.
        timestamps: Its `_timestamp`, in seconds.
    """
    with np.errstate(all="ignore"):  # sums and differences of huge numbers may overflow
        return tuple(_earliest(_findings(run, metrics, steps, timestamps)))


def _findings(
    run: RunInfo | RunLike, metrics: Mapping[str, Column], steps: Steps, timestamps: Column | None
) -> Iterator[HealthFinding]:
    curves: dict[str, Curve] = {}
    rates: dict[str, tuple[Steps, Floats]] = {}
    for name, column in metrics.items():
        role = role_of(name)
        values, numeric = column.numbers()
        kept = numeric & np.isfinite(values)
        if kept.all():
            at = steps
        else:
            yield from _not_finite(name, steps, values, numeric & ~kept)
            at, values = steps[kept], values[kept]
        if role == "learning_rate":
            rates[name] = at, values
        elif role in ("loss", "score") and len(values) >= FEWEST:
            curves[name] = Curve.of(at, values, sign=1 if role == "loss" else -1)
        elif role == "gradient":
            yield from gradient_flags(name, at, values)
        elif role in ("speed", "pace"):
            yield from speed_flags(name, at, values, sign=-1 if role == "speed" else 1)
    yield from outcome_flags(curves)
    yield from rate_flags(rates)
    if timestamps is not None:
        times, numeric = timestamps.numbers()
        kept = numeric & np.isfinite(times)
        yield from stall_flags(run, times[kept], steps[kept])
    if run.state in _ENDED_BADLY:
        step = int(steps[-1]) if len(steps) else None
        yield HealthFinding(flag="crashed", step=step, metric=None, message=f"it ended as {run.state}")


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
