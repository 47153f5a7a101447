"""The facts about every column of a history, from its batches.

The facts about each batch are merged into those of the batches before it, so that memory does not grow with
the rows. How rows are divided into batches changes nothing (a law of the tests). A column of text is not
decoded, and columns of doubles without gaps are described together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pull_logs.frames.column import Column
from pull_logs.frames.flatten import join_path
from pull_logs.frames.frame import column_names
from pull_logs.frames.from_arrow import Residual, ResidualCells, Steps, read_column, read_steps
from pull_logs.frames.metric_facts import (
    MetricFacts,
    between,
    describe_cells,
    kept_cell,
    logging_interval,
    merge_facts,
    step_differences,
)
from pull_logs.frames.vector import Floats, numbers
from pull_logs.rows.arrays import doubles_of, flat, present_rows
from pull_logs.rows.batches import RESIDUAL
from pull_logs.rows.canonical import STEP, canon_number
from pull_logs.rows.hashing import NumberColumns

if TYPE_CHECKING:
    import pyarrow as pa

MAX_INTERVALS = 65_536
"""Most different distances between steps of which the median is known; with more of them it is None."""

_CELLS_TOGETHER = 1 << 18
"""How many cells are described together at most: more would not fit into a processor's cache."""

Source: TypeAlias = "str | tuple[str, ...]"
"""Where a column's cells are: a key of the history, or the keys that lead to a nested value."""


@dataclass(slots=True)
class _Intervals:
    """The distances between the steps of the cells of a column.

    Attributes:
        logged: The steps of the cells, while there is only one batch.
        counts: How often each distance occurs; None until the second batch, and when there are too many.
        last: The last step.
    """

    logged: Steps | None = None
    counts: dict[float, int] | None = None
    last: int | None = None

    def add(self, logged: Steps) -> None:
        """Add the steps of the cells of the next batch."""
        if self.last is None:
            self.logged, self.last = logged, int(logged[-1])
            return
        if self.logged is not None:
            self.counts, self.logged = _counted(self.logged), None
        if self.counts is not None:
            gap = float(int(logged[0]) - self.last)
            for distance, count in [(gap, 1), *_counted(logged).items()]:
                self.counts[distance] = self.counts.get(distance, 0) + count
            if len(self.counts) > MAX_INTERVALS:
                self.counts = None
        self.last = int(logged[-1])

    def median(self) -> int | float | None:
        """Return the median distance; None for fewer than two cells, or for too many distances."""
        if self.logged is not None:
            found = logging_interval(self.logged)
            few = len(self.logged) <= MAX_INTERVALS or len(_counted(self.logged)) <= MAX_INTERVALS
            return found if few else None
        return _median(self.counts) if self.counts else None


def _counted(logged: Steps) -> dict[float, int]:
    """Return how often each distance between these steps occurs."""
    if len(logged) < 2:
        return {}
    differences = step_differences(logged)
    if (differences == differences[0]).all():
        return {float(differences[0]): len(differences)}
    distances, counts = np.unique(differences.astype(np.float64), return_counts=True)
    return dict(zip(distances.tolist(), counts.tolist(), strict=True))


def _median(counts: Mapping[float, int]) -> int | float:
    """Return the median of distances that occur this often."""
    distances = np.array(sorted(counts), np.float64)
    ends = np.cumsum([counts[distance] for distance in distances.tolist()])
    position = 0.5 * (int(ends[-1]) - 1)
    low, high = (
        distances[np.searchsorted(ends, row, side="right")] for row in (int(position), math.ceil(position))
    )
    found: int | float = canon_number(float(between(low, high, position % 1)))
    return found


@dataclass(slots=True)
class _Described:
    """A column of the batches so far."""

    facts: MetricFacts = field(default_factory=MetricFacts)
    intervals: _Intervals = field(default_factory=_Intervals)

    def add(self, facts: MetricFacts, logged: Steps) -> None:
        """Add the facts about the next batch, and the steps of its cells."""
        if facts.cells:
            self.facts = merge_facts(self.facts, facts)
            self.intervals.add(logged)


class FactsBuilder:
    """Collects the facts about the columns of a history, batch by batch."""

    def __init__(self) -> None:
        self._columns: dict[Source, _Described] = {STEP: _Described()}

    def add(self, batch: pa.Table) -> None:
        """Add the next rows; every batch has the same columns.

        Raises:
            DataError: A cell of the residual is not a JSON object.
        """
        steps, residual = read_steps(batch), Residual.read(batch)
        own = [name for name in batch.column_names if name not in (STEP, RESIDUAL)]
        self._add(STEP, describe_cells(Column(numbers(steps), "number"), steps), steps)
        dense: dict[str, Floats] = {}
        for key in own:
            array, cells = flat(batch.column(key)), residual.by_key.pop(key, None)
            if cells is None and _is_dense(array):
                dense[key] = doubles_of(array)
            else:
                self._add(key, *_describe(batch.column(key), cells, steps))
        for key, facts in _describe_dense(dense, steps):
            self._add(key, facts, steps)
        for source, cells in _residual_cells(residual):
            logged = steps[cells.rows]
            self._add(source, describe_cells(Column.from_cells(cells.values), logged), logged)

    def add_numbers(self, steps: Steps, columns: Iterable[NumberColumns]) -> None:
        """Add the next rows, which have doubles alone.

        Args:
            steps: The step of each row.
            columns: Their columns; each has a cell.
        """
        self._add(STEP, describe_cells(Column(numbers(steps), "number"), steps), steps)
        for some in columns:
            logged = steps if some.values.shape[1] == len(steps) else steps[some.present]
            for name, facts in _describe_numbers(some.names, some.values, logged):
                self._add(name, facts, logged)

    def _add(self, source: Source, facts: MetricFacts, logged: Steps) -> None:
        self._columns.setdefault(source, _Described()).add(facts, logged)

    def facts(self) -> tuple[MetricFacts, ...]:
        """Return the facts about all columns: `_step`, then the others in the order of their names."""
        nested = {join_path(source): source for source in self._columns if isinstance(source, tuple)}
        keys = [source for source in self._columns if isinstance(source, str) and source != STEP]
        names: dict[str, Source] = {**column_names(keys, nested), **nested}
        ordered: list[tuple[str, Source]] = [(STEP, STEP), *sorted(names.items())]
        medians = self._medians()
        return tuple(
            self._columns[source].facts._replace(name=name, interval=medians[source])
            for name, source in ordered
        )

    def _medians(self) -> dict[Source, int | float | None]:
        """Return the median distance between the cells of each column.

        Most columns have a cell in each row: their steps are one array, and are looked at once.
        """
        intervals = {source: column.intervals for source, column in self._columns.items()}
        once = {id(one.logged): one for one in intervals.values() if one.logged is not None}
        shared = {key: one.median() for key, one in once.items()}
        return {
            source: one.median() if one.logged is None else shared[id(one.logged)]
            for source, one in intervals.items()
        }


def _residual_cells(residual: Residual) -> Iterator[tuple[Source, ResidualCells]]:
    yield from residual.by_key.items()
    yield from residual.by_path.items()


def _is_dense(array: pa.Array) -> bool:
    return len(array) > 0 and not array.null_count and str(array.type) == "double"


def _describe(typed: pa.ChunkedArray, cells: ResidualCells | None, steps: Steps) -> tuple[MetricFacts, Steps]:
    """Return the facts about the typed cells of a key and those in the residual, and the steps of all."""
    if cells is None and str(typed.type) == "string":
        return _describe_texts(flat(typed), steps)
    column = read_column(typed, cells, length=len(steps))
    return describe_cells(column, steps), steps[column.vector.present]


def _describe_texts(array: pa.StringArray, steps: Steps) -> tuple[MetricFacts, Steps]:
    rows = np.flatnonzero(present_rows(array))
    if not len(rows):
        return MetricFacts(), steps[rows]
    first, last = int(rows[0]), int(rows[-1])
    facts = MetricFacts(
        type="string",
        cells=len(rows),
        first_step=int(steps[first]),
        last_step=int(steps[last]),
        first=kept_cell(array[first].as_py()),
        last=kept_cell(array[last].as_py()),
    )
    return facts, steps[rows]


def _describe_dense(columns: Mapping[str, Floats], steps: Steps) -> Iterator[tuple[str, MetricFacts]]:
    """Return the facts about columns of doubles that have no gaps."""
    together = max(_CELLS_TOGETHER // max(len(steps), 1), 1)
    names = list(columns)
    for start in range(0, len(names), together):
        some = names[start : start + together]
        yield from _describe_numbers(some, np.stack([columns[name] for name in some]), steps)


def _describe_numbers(
    names: Sequence[str], matrix: Floats, steps: Steps
) -> Iterator[tuple[str, MetricFacts]]:
    """Return the facts about columns of doubles, each a row of a matrix, at these steps."""
    finite: list[bool] = np.logical_and.reduce(np.isfinite(matrix), axis=1).tolist()
    lows, highs = matrix.argmin(axis=1), matrix.argmax(axis=1)
    integral: list[bool] = np.logical_and.reduce(matrix == np.floor(matrix), axis=1).tolist()
    every = np.arange(len(matrix))
    values = (matrix[:, 0], matrix[:, -1], matrix[every, lows], matrix[every, highs])
    ends = (int(steps[0]), int(steps[-1]), steps[lows].tolist(), steps[highs].tolist())
    kept = zip(names, finite, integral, *(column.tolist() for column in values), *ends[2:], strict=True)
    for row, (name, sound, whole, *cells, low_step, high_step) in enumerate(kept):
        if not sound:
            yield name, describe_cells(Column(numbers(matrix[row]), "number"), steps)
            continue
        first, last, least, greatest = map(canon_number, cells)
        yield (
            name,
            MetricFacts(
                type="int" if whole else "number",
                cells=len(steps),
                numbers=len(steps),
                first_step=ends[0],
                last_step=ends[1],
                first=first,
                last=last,
                last_number=last,
                last_number_step=ends[1],
                last_finite=last,
                min=least,
                min_step=low_step,
                max=greatest,
                max_step=high_step,
            ),
        )
