"""How the metrics of runs ended, as indexes have it: made where it is used, not for every run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pull_logs.analyze.answers.indexed import Field, IndexedMetrics, MetricValues, RunValues
from pull_logs.analyze.answers.side_by_side import Ending, indexed_ending
from pull_logs.analyze.results import EndingResult
from pull_logs.frames import Frame
from pull_logs.rows.arrays import Ints


@dataclass(frozen=True, slots=True, eq=False)
class IndexedEndings:
    """How the metrics of one run ended, all of whose cells are finite numbers.

    Attributes:
        frame: Its history, which an index has.
        names: The metrics; those of thousands of runs are one sequence.
    """

    frame: Frame
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def plain(self) -> dict[str, Ending]:
        """The endings by metric."""
        facts = self.frame.facts() or {}
        found = ((name, indexed_ending(facts[name])) for name in self.names)
        return {name: ending for name, ending in found if ending is not None}


def compare_indexed(endings: Mapping[str, IndexedEndings]) -> list[EndingResult] | None:
    """Return what `compare_metrics` does, with values that are made when they are used.

    Args:
        endings: By run label, how its metrics ended; runs in the order to show.

    Returns:
        None if an index lacks one of the runs.

    Raises:
        DamageError: An index is damaged.
    """
    groups = {id(one.names): frozenset(one.names) for one in endings.values()}
    names = dict.fromkeys(_each_name(endings.values()))
    table = IndexedMetrics.read([one.frame for one in endings.values()], frozenset(names))
    if table is None:
        return None
    runs = _Runs(list(endings), np.arange(len(endings)), [groups[id(one.names)] for one in endings.values()])
    everywhere = frozenset.intersection(*groups.values())
    return [_entry(name, table, runs, shared=name in everywhere) for name in names]


def _each_name(endings: Iterable[IndexedEndings]) -> Iterator[str]:
    seen = set()
    for one in endings:
        if id(one.names) not in seen:
            seen.add(id(one.names))
            yield from one.names


@dataclass(frozen=True, slots=True, eq=False)
class _Runs:
    """The runs that are compared.

    Attributes:
        labels: Their labels.
        positions: Their positions.
        names: The metrics that are shown of each.
    """

    labels: Sequence[str]
    positions: Ints
    names: Sequence[frozenset[str]]

    def having(self, name: str) -> _Runs:
        """Return those of which a metric is shown."""
        kept = [position for position, names in enumerate(self.names) if name in names]
        return _Runs([self.labels[position] for position in kept], self.positions[kept], ())


def _entry(name: str, table: IndexedMetrics, runs: _Runs, *, shared: bool) -> EndingResult:
    """Return how a metric ended; `shared` is whether it is shown of every run."""

    def made(runs: _Runs, field: Field) -> MetricValues:
        return MetricValues(table.metric(name), field, runs.labels, runs.positions)

    def values(field: Field) -> RunValues:
        if name not in table.names:  # no run has a cell
            return RunValues(dict)
        return made(runs, field) if shared else RunValues(lambda: made(runs.having(name), field).plain)

    return {
        "name": name,
        "last": values("value"),
        "min": values("min"),
        "min_step": values("min_step"),
        "max": values("max"),
        "max_step": values("max_step"),
    }
