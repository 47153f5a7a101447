"""The facts about the columns of many runs, read from an index fact by fact instead of run by run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pull_logs.frames.metric_facts import MetricFacts
from pull_logs.frames.vector import Array, Floats, Mask
from pull_logs.rows.arrays import Ints


@dataclass(frozen=True, slots=True, eq=False)
class CountedColumns:
    """The types and the counts of columns; one element per run and column.

    Attributes:
        names: The distinct names of the columns.
        name: The index of each column's name in `names`.
        types: The distinct types of the columns.
        type: The index of each column's type in `types`.
        cells: The number of cells that are present.
        nonfinite: How many numbers are NaN or infinite.
    """

    names: Sequence[str]
    name: Ints
    types: Sequence[str]
    type: Ints
    cells: Ints
    nonfinite: Ints


@dataclass(frozen=True, slots=True, eq=False)
class MetricColumns(CountedColumns):
    """Some of what `MetricFacts` has, of columns that have cells.

    Attributes:
        first_step: The step of the first cell.
        last_step: The step of the last cell.
        last_finite: The last finite number as a double; zero without finite numbers.
        has_finite: Whether there are finite numbers.
    """

    first_step: Ints
    last_step: Ints
    last_finite: Floats
    has_finite: Mask


@dataclass(frozen=True, slots=True, eq=False)
class NumberColumns:
    """The last number and the extremes of columns that have numbers; one element per run and column.

    Attributes:
        names: The distinct names of the columns.
        name: The index of each column's name in `names`.
        run: The number of its run in the index.
        numbers: How many numbers there are.
        nonfinite: How many of them are NaN or infinite.
        numeric: Whether all cells are numbers, so that the last number is the last cell.
        value: The last number, finite or not.
        x: Its step.
        ranged: Whether there are finite numbers, and so extremes.
        min: The least finite number.
        min_step: The first step that has it.
        max: The greatest finite number.
        max_step: The first step that has it.
        exact: The facts about those elements that have a value that is not exactly a double, by their index.
    """

    names: Sequence[str]
    name: Ints
    run: Ints
    numbers: Ints
    nonfinite: Ints
    numeric: Mask
    value: Floats
    x: Ints
    ranged: Mask
    min: Floats
    min_step: Ints
    max: Floats
    max_step: Ints
    exact: Mapping[int, MetricFacts]


@dataclass(frozen=True, slots=True, eq=False)
class SchemaColumns(CountedColumns):
    """What a schema says of columns.

    Attributes:
        ranges: The first and the last step, the logging interval and the extremes, each by the name of the
            fact with a mask of the columns that have it.
        exact: Whether all extremes are exactly doubles, so that `ranges` has them.
    """

    ranges: Mapping[str, tuple[Array, Mask]]
    exact: bool


class MetricIndex(Protocol):
    """An index that has the facts about the columns of several runs."""

    def numbers(self, runs: Sequence[int], names: frozenset[str]) -> Iterator[NumberColumns]:
        """Iterate over the last numbers and the extremes of columns, as many at a time as `columns`.

        Args:
            runs: The numbers of the runs in the index.
            names: The columns wanted; those that do not exist are ignored.

        Raises:
            DamageError: The index is damaged.
        """

    def schemas(self, runs: Sequence[int], names: frozenset[str]) -> Iterator[SchemaColumns]:
        """Iterate over what schemas say of columns, as many at a time as `columns`.

        Args:
            runs: The numbers of the runs in the index.
            names: The columns wanted; those that do not exist are ignored.

        Raises:
            DamageError: The index is damaged.
        """

    def plain_hash(self, index: int) -> bytes | None:
        """Return the hash of the facts about a run of numbers (see `PlainFacts`).

        None if its facts cannot be said like that, and without an index.

        Args:
            index: The number of the run in the index.

        Raises:
            DamageError: The index is damaged.
        """

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
