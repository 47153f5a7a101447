"""What an answer reads of a history: named columns with one step per row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from pull_logs.frames.column import Column
from pull_logs.frames.from_arrow import Steps


class History(Protocol):
    """The rows of a run, column by column; a `Frame`, or some rows of one with computed columns."""

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

    def column(self, name: str) -> Column:
        """Return one column; raises KeyError if no column has that name."""

    def load(self, names: Collection[str]) -> None:
        """Read these columns together; names that do not exist are ignored."""
