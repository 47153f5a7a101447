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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain

import numpy as np

from pull_logs.analyze.health.curves import CELLS_TOGETHER, FEWEST, Curve, Series, curves_of
from pull_logs.analyze.health.findings import FLAGS, Flag, HealthFinding
from pull_logs.analyze.health.optimization import gradient_flags, gradient_series, rate_flags
from pull_logs.analyze.health.outcomes import Outcomes
from pull_logs.analyze.health.pace import speed_flags, speed_series, stall_flags
from pull_logs.analyze.statistics import role_of
from pull_logs.frames import Column, Floats, Mask, MetricFacts, NumberColumns, RunLike, Steps
from pull_logs.runs import RunInfo
from pull_logs.suggestions import numbered

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


def metrics_that_can_have_flags(metrics: NumberColumns) -> Mask:
    """Return what `can_have_flags` does for each of many metrics of runs."""
    roles = [role_of(name) for name in metrics.names]
    spans = np.array([_LEAST_SPAN.get(role or "", 0.0) for role in roles])[metrics.name]
    other, outcome, rate = (
        np.array([role in some for role in roles], np.bool_)[metrics.name]
        for some in (_LEAST_SPAN, ("loss", "score"), ("learning_rate",))
    )
    with np.errstate(over="ignore"):
        spread = outcome | (other & (metrics.max >= spans * metrics.min))
    judged = rate | (spread & (metrics.numbers >= FEWEST))
    found: Mask = (metrics.nonfinite > 0) | (judged & metrics.ranged)
    for row, facts in metrics.exact.items():
        found[row] = can_have_flags(facts)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RunColumns:
    """What a run is judged by.

    Attributes:
        run: The run, of which the state and the last time it was seen count.
        metrics: Its metrics by name; columns without numbers are ignored.
        steps: The step of each row.
        timestamps: Its `_timestamp`, in seconds.
    """

    run: RunInfo | RunLike
    metrics: Mapping[str, Column]
    steps: Steps
    timestamps: Column | None


def find_flags(
    run: RunInfo | RunLike, metrics: Mapping[str, Column], steps: Steps, timestamps: Column | None
) -> tuple[HealthFinding, ...]:
    """Return what is wrong with one run; the arguments are the attributes of `RunColumns`."""
    (found,) = find_all_flags([RunColumns(run=run, metrics=metrics, steps=steps, timestamps=timestamps)])
    return found


def find_all_flags(runs: Sequence[RunColumns]) -> list[tuple[HealthFinding, ...]]:
    """Return what is wrong with each run: at most one finding of each flag, in the order of `FLAGS`.

    Those of many short runs are found much faster together.
    """
    with np.errstate(all="ignore"):  # sums and differences of huge numbers may overflow
        sorted_runs = list(map(_SortedMetrics.of, runs))
        outcomes = Outcomes([one for run in sorted_runs for one in run.outcomes.values()])
        starts = accumulate((len(run.outcomes) for run in sorted_runs), initial=0)
        curves = iter(curves_of([one for run in sorted_runs for one in run.others]))
        return [
            tuple(
                _earliest(
                    chain(_findings(run, metrics, curves), outcomes.flags(tuple(metrics.outcomes), start))
                )
            )
            for run, metrics, start in zip(runs, sorted_runs, starts, strict=False)
        ]


@dataclass(frozen=True, slots=True)
class _SortedMetrics:
    """The finite values of the metrics of a run, by what they are judged for.

    Attributes:
        outcomes: Losses and scores.
        gradients: Norms of gradients.
        speeds: Throughputs.
        rates: Learning rates.
        findings: Where metrics are not finite.
    """

    outcomes: dict[str, Series] = field(default_factory=dict)
    gradients: dict[str, Series] = field(default_factory=dict)
    speeds: dict[str, Series] = field(default_factory=dict)
    rates: dict[str, tuple[Steps, Floats]] = field(default_factory=dict)
    findings: list[HealthFinding] = field(default_factory=list)

    @property
    def others(self) -> Iterator[Series]:
        """All that become curves besides the outcomes: the gradients, then the speeds."""
        yield from self.gradients.values()
        yield from self.speeds.values()

    @classmethod
    def of(cls, run: RunColumns) -> _SortedMetrics:
        found = cls()
        names = list(run.metrics)
        together = max(CELLS_TOGETHER // max(len(run.steps), 1), 1)
        for start in range(0, len(names), together):
            some = {name: run.metrics[name].numbers() for name in names[start : start + together]}
            finite = found._finite(some, run.steps)
            for name in some:
                found._add(name, *finite[name])
        return found

    def _finite(
        self, metrics: Mapping[str, tuple[Floats, Mask]], steps: Steps
    ) -> dict[str, tuple[Steps, Floats]]:
        """Return the finite values of metrics, and find which have others; columns with one mask together."""
        alike: dict[int, list[str]] = {}
        for name, (_, numeric) in metrics.items():
            alike.setdefault(id(numeric), []).append(name)
        found: dict[str, tuple[Steps, Floats]] = {}
        for names in alike.values():
            numeric = metrics[names[0]][1]
            at, rows = steps, [metrics[name][0] for name in names]
            values = rows[0][None] if len(rows) == 1 else np.array(rows)
            if not numeric.all():
                at, values = at[numeric], values[:, numeric]
            finite = np.isfinite(values)
            found |= {name: (at, own) for name, own in zip(names, values, strict=True)}
            for row in np.flatnonzero(~finite.all(axis=1)).tolist():
                name, kept = names[row], finite[row]
                self.findings.append(_not_finite(name, at, values[row], ~kept))
                found[name] = at[kept], values[row, kept]
        return found

    def _add(self, name: str, steps: Steps, values: Floats) -> None:
        role = role_of(name)
        if role == "learning_rate":
            self.rates[name] = steps, values
        elif role in ("loss", "score"):
            if len(values) >= FEWEST:
                self.outcomes[name] = Series(steps, values, 1 if role == "loss" else -1)
        elif role == "gradient":
            if (series := gradient_series(steps, values)) is not None:
                self.gradients[name] = series
        elif role in ("speed", "pace"):
            series = speed_series(steps, values, sign=-1 if role == "speed" else 1)
            if series is not None:
                self.speeds[name] = series


def _findings(
    columns: RunColumns, metrics: _SortedMetrics, curves: Iterator[Curve]
) -> Iterator[HealthFinding]:
    """Yield what is wrong with a run besides its outcomes; the curves are those of `metrics.others`."""
    run, steps, timestamps = columns.run, columns.steps, columns.timestamps
    yield from metrics.findings
    for name in metrics.gradients:
        yield from gradient_flags(name, next(curves))
    for name in metrics.speeds:
        yield from speed_flags(name, next(curves))
    yield from rate_flags(metrics.rates)
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
                flag=flag,
                step=first.step,
                metric=first.metric,
                message=first.message,
                metrics=sum(one.metrics for one in several),
            )


def _not_finite(name: str, steps: Steps, values: Floats, lost: Mask) -> HealthFinding:
    rows = np.flatnonzero(lost)
    value = float(values[rows[0]])
    word = "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    more = len(rows) - 1
    others = f", and {more} {numbered(more, 'more value is', 'more values are')} not finite" if more else ""
    return HealthFinding(flag="nan", step=int(steps[rows[0]]), metric=name, message=f"{word}{others}")
