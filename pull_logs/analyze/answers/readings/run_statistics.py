"""The statistics of a run: of a run that an index has, they are computed where they are used.

A text of thousands of runs is cut to a few of them, so that the histories of the others are never opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from pull_logs.analyze.questions import Slice, is_internal
from pull_logs.analyze.result_values import Cell
from pull_logs.analyze.results import StatisticsResult
from pull_logs.analyze.statistics import STATISTICS, describe_all, has_numbers, quantiles_of
from pull_logs.frames import Column, Frame, MetricFacts, numbers
from pull_logs.rows.canonical import spell

Ends: TypeAlias = tuple[Cell, Cell]
"""The first and the last cell of a metric."""


_NUMBERS = frozenset({"int", "number", "bool"})
"""The types of metrics whose cells are numbers or bools."""


def describe_metrics(
    part: Slice, *, internal: bool, quantiles: Sequence[float] = ()
) -> dict[str, StatisticsResult]:
    """Return the statistics of the metrics of a slice that have numbers; bools are 0 and 1.

    Args:
        part: The rows and columns.
        internal: Whether metrics that W&B itself writes are among them.
        quantiles: The percentiles that were asked for.
    """
    counted = {name: _counted(column) for name, column in part.columns.items()}
    metrics = {
        name: column
        for name, column in counted.items()
        if (internal or not is_internal(name)) and has_numbers(column)
    }
    found = describe_all(metrics, part.steps)
    for name, entry in found.items():
        column = part.columns[name]
        if column.type == "bool":
            present = np.flatnonzero(column.vector.present)
            entry["first"], entry["last"] = column.cell(int(present[0])), column.cell(int(present[-1]))
        if quantiles:
            entry["quantiles"] = quantiles_of(counted[name], quantiles)
    return found


def _counted(column: Column) -> Column:
    """Return a column of bools as numbers, 0 and 1; any other as it is."""
    if column.type != "bool":
        return column
    return Column(numbers(column.vector.floats(), column.vector.present), "number")


def has_texts(facts: MetricFacts) -> bool:
    """Whether a cell of a metric may be a text in an answer: one that is not finite is."""
    return facts.type not in _NUMBERS or facts.nonfinite > 0


def text_ends(frame: Frame, names: Sequence[str]) -> dict[str, Ends] | None:
    """Return the ends of metrics from the index; None if it does not have one of them.

    Args:
        frame: The history, which an index has.
        names: The metrics, which have cells.

    Raises:
        DamageError: The index is damaged.
    """
    facts = (frame.facts(frozenset(names)) or {}) if names else {}
    if any(facts[name].first is None or facts[name].last is None for name in names):
        return None
    return {name: (spell(facts[name].first), spell(facts[name].last)) for name in names}


class RunStatistics(Mapping[str, "MetricStatistics"]):
    """The statistics of the metrics of a run, computed when one of them is used first.

    The bundle has to be open then.

    Attributes:
        names: The metrics in order; those of thousands of runs are one mapping.
        ends: The first and the last cell of each metric that may have texts.
        fields: The names of the statistics of each metric.
    """

    __slots__ = ("_known", "_read", "ends", "fields", "names")

    def __init__(
        self,
        names: Mapping[str, None],
        ends: Mapping[str, Ends],
        read: Callable[[], Mapping[str, StatisticsResult]],
        *,
        fields: Sequence[str] = STATISTICS,
    ) -> None:
        self.names, self.ends, self.fields = names, ends, fields
        self._read = read
        self._known: Mapping[str, StatisticsResult] | None = None

    @property
    def plain(self) -> Mapping[str, StatisticsResult]:
        """All of them.

        Raises:
            DamageError: The history is damaged.
        """
        if self._known is None:
            self._known = self._read()
        return self._known

    def __getitem__(self, name: str) -> MetricStatistics:
        if name not in self.names:
            raise KeyError(name)
        return MetricStatistics(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def in_order(self, names: Mapping[str, None]) -> RunStatistics:
        """Return the same statistics with the metrics in another order."""
        return RunStatistics(names, self.ends, lambda: self.plain, fields=self.fields)


class MetricStatistics(Mapping[str, Any]):
    """The statistics of one metric of a run, as `StatisticsResult` has them."""

    __slots__ = ("_name", "_run")

    def __init__(self, run: RunStatistics, name: str) -> None:
        self._run, self._name = run, name

    @property
    def texts(self) -> Sequence[Cell]:
        """Its first and its last cell if one of them may be a text; all else are numbers."""
        return self._run.ends.get(self._name, ())

    def __getitem__(self, field: str) -> Any:
        if field not in self._run.fields:
            raise KeyError(field)
        entry: Mapping[str, Any] = self._run.plain[self._name]
        return entry[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self._run.fields)

    def __len__(self) -> int:
        return len(self._run.fields)

    def __contains__(self, field: object) -> bool:
        return field in self._run.fields
