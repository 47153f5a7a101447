"""What metrics are over many runs: how many runs have them, their types and counts, and how they ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pull_logs.analyze.results import MetricTotals
from pull_logs.analyze.statistics.quantiles import median
from pull_logs.frames import MetricColumns, MetricFacts
from pull_logs.rows.arrays import Ints
from pull_logs.rows.canonical import canon_number


@dataclass(slots=True)
class _Metric:
    """A metric over all runs so far."""

    types: set[str] = field(default_factory=set)
    runs: int = 0
    count: int = 0
    nonfinite: int = 0
    first_step: int | None = None
    last_step: int | None = None
    lasts: list[float] = field(default_factory=list)

    def add(
        self, types: Iterable[str], *, runs: int, count: int, nonfinite: int, first: int, last: int
    ) -> None:
        """Add the metric of more runs, without its last numbers."""
        self.types.update(types)
        self.runs += runs
        self.count += count
        self.nonfinite += nonfinite
        self.first_step = first if self.first_step is None else min(self.first_step, first)
        self.last_step = last if self.last_step is None else max(self.last_step, last)

    def totals(self, name: str) -> MetricTotals:
        """Return the totals; `name` is that of the metric."""
        types = sorted(self.types)
        lasts = self.lasts
        return {
            "name": name,
            "type": "number" if types == ["int", "number"] else "|".join(types) or "empty",
            "runs": self.runs,
            "count": self.count,
            "nonfinite": self.nonfinite,
            "first_step": self.first_step,
            "last_step": self.last_step,
            "last_min": canon_number(min(lasts)) if lasts else None,
            "last_median": canon_number(median(lasts)) if lasts else None,
            "last_max": canon_number(max(lasts)) if lasts else None,
        }


class MetricTotalsBuilder:
    """The totals of metrics over runs that are added one after the other, or many at once.

    Attributes:
        names: The metrics.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._metrics = {name: _Metric() for name in names}
        self.names = self._metrics.keys()

    def add(self, name: str, facts: MetricFacts) -> None:
        """Add a metric of one more run."""
        first, last = facts.first_step, facts.last_step
        if first is None or last is None:
            return
        metric = self._metrics[name]
        metric.add(
            (facts.type,), runs=1, count=facts.cells, nonfinite=facts.nonfinite, first=first, last=last
        )
        if facts.last_finite is not None:
            metric.lasts.append(float(facts.last_finite))

    def add_columns(self, columns: MetricColumns) -> None:
        """Add metrics of many runs at once; the totals are those that `add` gives for each of them."""
        if not len(columns.name):
            return
        order = np.argsort(columns.name, kind="stable")
        codes = columns.name[order]
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        runs = np.diff(starts, append=len(codes)).tolist()
        counts, nonfinite = (_exact_sums(of[order], starts) for of in (columns.cells, columns.nonfinite))
        firsts = np.minimum.reduceat(columns.first_step[order], starts).tolist()
        lasts = np.maximum.reduceat(columns.last_step[order], starts).tolist()
        types, finite = columns.type[order], columns.has_finite[order]
        numbers = columns.last_finite[order]
        for number, (start, length) in enumerate(zip(starts.tolist(), runs, strict=True)):
            rows = slice(start, start + length)
            metric = self._metrics[columns.names[int(codes[start])]]
            metric.add(
                (columns.types[code] for code in np.flatnonzero(np.bincount(types[rows])).tolist()),
                runs=length,
                count=counts[number],
                nonfinite=nonfinite[number],
                first=firsts[number],
                last=lasts[number],
            )
            metric.lasts += numbers[rows][finite[rows]].tolist()

    def totals(self) -> list[MetricTotals]:
        """Return the totals of the metrics that any run has, in the order of the names."""
        return [metric.totals(name) for name, metric in self._metrics.items() if metric.runs]


def _exact_sums(values: Ints, starts: Ints) -> Sequence[int]:
    """Return the sum of each part of the values as an int of any size."""
    high = np.add.reduceat(values >> 32, starts).tolist()
    low = np.add.reduceat(values & 0xFFFFFFFF, starts).tolist()
    return [(above << 32) + below for above, below in zip(high, low, strict=True)]
