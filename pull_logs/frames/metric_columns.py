"""The facts about the columns of many runs, read from an index fact by fact instead of run by run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pull_logs.frames.vector import Floats, Mask
from pull_logs.rows.arrays import Ints


@dataclass(frozen=True, slots=True, eq=False)
class MetricColumns:
    """Some of what `MetricFacts` has, of columns that have cells; one element per run and column.

    Attributes:
        names: The distinct names of the columns.
        name: The index of each column's name in `names`.
        types: The distinct types of the columns.
        type: The index of each column's type in `types`.
        cells: The number of cells that are present.
        nonfinite: How many numbers are NaN or infinite.
        first_step: The step of the first cell.
        last_step: The step of the last cell.
        last_finite: The last finite number as a double; zero without finite numbers.
        has_finite: Whether there are finite numbers.
    """

    names: Sequence[str]
    name: Ints
    types: Sequence[str]
    type: Ints
    cells: Ints
    nonfinite: Ints
    first_step: Ints
    last_step: Ints
    last_finite: Floats
    has_finite: Mask


class MetricIndex(Protocol):
    """An index that has the facts about the columns of several runs."""

    def columns(self, runs: Sequence[int], names: frozenset[str]) -> Iterator[MetricColumns]:
        """Iterate over the facts, as many at a time as the index stores together.

        Args:
            runs: The numbers of the runs in the index.
            names: The columns wanted; those that do not exist are ignored.

        Raises:
            DamageError: The index is damaged.
        """


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """Where an index has a run.

    Attributes:
        index: The index.
        number: The number of the run in it.
    """

    index: MetricIndex
    number: int
