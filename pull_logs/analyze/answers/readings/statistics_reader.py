"""Reads the statistics of runs: those that are known, or that are not shown, are not computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pull_logs.analyze.answers.readings.identity import Identity
from pull_logs.analyze.answers.readings.run_statistics import Ends, RunStatistics
from pull_logs.analyze.questions import HistoryQuery, Slice, is_internal
from pull_logs.analyze.results import StatisticsResult
from pull_logs.analyze.statistics import (
    STATISTICS,
    STATISTICS_DEFINITIONS,
    describe_all,
    has_numbers,
    quantiles_of,
)
from pull_logs.errors import DamageError
from pull_logs.frames import Column, Frame, MetricFacts, RunLike, numbers
from pull_logs.rows.canonical import spell

_NUMBERS = frozenset({"int", "number", "bool"})
"""The types of metrics whose cells are numbers or bools."""

_FEWEST_ROWS = 1 << 17
"""The statistics of fewer rows are computed in the time in which the cache is opened."""

_OPENED = 512
"""The rows that are read in the time in which a history is opened."""


class KnownStatistics(Protocol):
    """Remembers the statistics of runs from one look to the next."""

    def find(self, identity: Identity, fields: Sequence[str]) -> dict[str, StatisticsResult] | None:
        """Return the statistics of the run with this identity; None if they are not known."""

    def keep(self, identity: Identity, found: Mapping[str, StatisticsResult]) -> None:
        """Remember the statistics of the run with this identity."""


def are_worth_keeping(runs: Sequence[RunLike]) -> bool:
    """Whether computing the statistics of runs takes longer than looking them up."""
    return sum(run.rows + _OPENED for run in runs) >= _FEWEST_ROWS


@dataclass(frozen=True, slots=True)
class StatisticsReader:
    """Reads the statistics of runs.

    Attributes:
        selection: The columns that the view selects.
        internal: Whether metrics that W&B itself writes are among them.
        quantiles: The percentiles that were asked for.
        orders: The metrics of runs so far, because thousands of runs have the same ones.
    """

    selection: HistoryQuery
    internal: bool
    quantiles: tuple[float, ...]
    orders: dict[tuple[str, ...], Mapping[str, None]] = field(default_factory=dict)

    @property
    def fields(self) -> Sequence[str]:
        """The names of the statistics of each metric."""
        return (*STATISTICS, "quantiles") if self.quantiles else STATISTICS

    def describe(self, part: Slice) -> dict[str, StatisticsResult]:
        """Return the statistics of the metrics of a slice that have numbers; bools are 0 and 1."""
        counted = {name: _counted(column) for name, column in part.columns.items()}
        metrics = {
            name: column
            for name, column in counted.items()
            if (self.internal or not is_internal(name)) and has_numbers(column)
        }
        found = describe_all(metrics, part.steps)
        for name, entry in found.items():
            column = part.columns[name]
            if column.type == "bool":
                present = np.flatnonzero(column.vector.present)
                entry["first"], entry["last"] = column.cell(int(present[0])), column.cell(int(present[-1]))
            if self.quantiles:
                entry["quantiles"] = quantiles_of(counted[name], self.quantiles)
        return found

    def read(
        self, run: RunLike, frame: Frame, names: Sequence[str], known: KnownStatistics | None
    ) -> dict[str, StatisticsResult]:
        """Return the statistics of a complete history, from those that are known if they are among them.

        Args:
            run: The run.
            frame: Its history.
            names: The selected columns.
            known: Remembers statistics.

        Raises:
            DamageError: The history is damaged.
        """
        asked = " ".join(self.fields), repr(self.quantiles)
        identity = Identity((STATISTICS_DEFINITIONS, run.rows_hash, *asked), tuple(names))
        found = None if known is None else known.find(identity, self.fields)
        if found is None:
            found = self.describe(self.selection.apply(frame))
            if known is not None:
                known.keep(identity, found)
        return found

    def on_request(
        self, run: RunLike, frame: Frame, names: Sequence[str], known: KnownStatistics | None
    ) -> RunStatistics | None:
        """Return statistics that are read when they are used; None if the index does not say enough.

        The arguments are those of `read`.

        Raises:
            DamageError: The index is damaged.
        """
        facts = frame.facts(frozenset(names), brief=True) or {}
        order = tuple(name for name in names if facts[name].numbers or facts[name].type == "bool")
        ends = _text_ends(frame, [name for name in order if _has_texts(facts[name])])
        if ends is None:
            return None

        def read() -> Mapping[str, StatisticsResult]:
            found = self.read(run, frame, names, known)
            frame.forget()
            if found.keys() != {*order}:
                raise DamageError(
                    f"the index of metrics has others than the history of {run.path}",
                    hint="run `pull-logs verify` to see where",
                )
            return found

        return RunStatistics(self.orders.setdefault(order, dict.fromkeys(order)), ends, read, self.fields)


def _counted(column: Column) -> Column:
    """Return a column of bools as numbers, 0 and 1; any other as it is."""
    if column.type != "bool":
        return column
    return Column(numbers(column.vector.floats(), column.vector.present), "number")


def _has_texts(facts: MetricFacts) -> bool:
    """Whether a cell of a metric may be a text in an answer: one that is not finite is."""
    return facts.type not in _NUMBERS or facts.nonfinite > 0


def _text_ends(frame: Frame, names: Sequence[str]) -> dict[str, Ends] | None:
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
