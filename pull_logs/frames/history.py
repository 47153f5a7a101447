"""What an answer reads of a history: named columns with one step per row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from pull_logs.frames.column import Column
from pull_logs.frames.from_arrow import Steps
from pull_logs.frames.metric_facts import MetricFacts


class History(Protocol):
    """Rows of a run, column by column.

    A `Frame`, the samples of system metrics, a history with these, or some rows with computed columns.
    """

    @property
    def length(self) -> int:
        """The number of rows."""

    @property
    def names(self) -> Sequence[str]:
        """All columns."""

    @property
    def steps(self) -> Steps:
        """`_step` of every row, ascending."""

    def __contains__(self, name: object) -> bool: ...

    def facts(
        self, names: frozenset[str] | None = None, *, brief: bool = False
    ) -> Mapping[str, MetricFacts] | None:
        """Return the facts about these columns, all by default, from an index; None where there is none.

        In `brief`, the first and last cells and numbers and the steps of the extremes are left out.
        """

    def column(self, name: str) -> Column:
        """Return one column; raises KeyError if no column has that name."""

    def load(self, names: Collection[str]) -> None:
        """Read these columns together; names that do not exist are ignored."""

    def forget_columns(self, names: Collection[str]) -> None:
        """Drop the cells of these columns, so that long ones can be read one after the other."""

    def forget(self) -> None:
        """Drop everything but the names of the columns."""
