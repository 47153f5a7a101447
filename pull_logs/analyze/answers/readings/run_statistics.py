"""The statistics of a run that an index has, which are computed where they are used.

A text of thousands of runs is cut to a few of them, so that the histories of the others are never opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from pull_logs.analyze.result_values import Cell
from pull_logs.analyze.results import StatisticsResult

Ends: TypeAlias = tuple[Cell, Cell]
"""The first and the last cell of a metric."""


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
        fields: Sequence[str],
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
        return RunStatistics(names, self.ends, lambda: self.plain, self.fields)


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
