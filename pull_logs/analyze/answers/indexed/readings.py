"""The metrics of runs at their last step, metric by metric, as the indexes of their bundles have them.

A tuple for each metric of each run takes longer to make than all else that a comparison of thousands of runs
does. Here each value of a metric is an array over the runs, and a reading is made where one is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.questions import Reading, indexed_readings
from pull_logs.frames import Floats, Frame, History, Mask, MetricIndex, NumberColumns, by_bundle
from pull_logs.rows.arrays import Ints
from pull_logs.rows.canonical import INT_LIMIT, spell

Field: TypeAlias = Literal["value", "x", "min", "min_step", "max", "max_step"]

FIELDS: tuple[Field, ...] = ("value", "x", "min", "min_step", "max", "max_step")
"""The values of a reading that an index has."""

_RANGE = frozenset({"min", "min_step", "max", "max_step"})
_STEPS = frozenset({"x", "min_step", "max_step"})


@dataclass(frozen=True, slots=True, eq=False)
class MetricReadings:
    """One metric of several runs, those that have numbers of it.

    Attributes:
        positions: The positions of these runs, ascending.
        arrays: Their values.
        numeric: Of which of them all cells are known to be numbers.
        ranged: Which of them have finite numbers, and so extremes.
        exact: The readings that the arrays do not hold, by their index.
        rows: The values of each run as Python objects, made when the first reading is.
    """

    positions: Ints
    arrays: Mapping[Field, npt.NDArray[Any]]
    numeric: Mask
    ranged: Mask
    exact: Mapping[int, Reading]
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def cells(self, field: Field, positions: Ints) -> list[Any]:
        """Return a value of the runs at these positions as strict JSON has it, None where there is none."""
        rows, known = self._rows(positions)
        found: list[Any] = [None] * len(positions)
        for index, cell in zip(np.flatnonzero(known).tolist(), self._cells(field, rows[known]), strict=True):
            found[index] = cell
        return found

    def any_cell(self, field: Field, positions: Ints) -> bool:
        """Whether any of these cells is there."""
        if self.exact:
            return any(cell is not None for cell in self.cells(field, positions))
        rows, known = self._rows(positions)
        return bool((known & self.ranged[rows] if field in _RANGE else known).any())

    def texts(self, field: Field, positions: Ints) -> list[str]:
        """Return those of these cells that are texts, such as NaN."""
        rows, known = self._rows(positions)
        odd = known & ~np.isfinite(self.arrays[field][rows])
        if self.exact:
            odd |= known & np.array([row in self.exact for row in rows.tolist()], np.bool_)
        return [cell for cell in self.cells(field, positions[odd]) if isinstance(cell, str)]

    def _rows(self, positions: Ints) -> tuple[Ints, Mask]:
        """Return the index of the run at each position, and which of them are there."""
        rows = np.minimum(np.searchsorted(self.positions, positions), len(self.positions) - 1)
        return rows, self.positions[rows] == positions

    def _cells(self, field: Field, rows: Ints) -> list[Any]:
        values = self.arrays[field][rows]
        found: list[Any] = values.tolist()
        if field not in _STEPS:
            with np.errstate(invalid="ignore"):
                integral = (values == np.floor(values)) & (np.abs(values) < float(INT_LIMIT))
            for index in np.flatnonzero(integral).tolist():
                found[index] = int(found[index])
            for index in np.flatnonzero(~np.isfinite(values)).tolist():
                found[index] = spell(found[index])
        if field in _RANGE:
            for index in np.flatnonzero(~self.ranged[rows]).tolist():
                found[index] = None
        for index, row in enumerate(rows.tolist()) if self.exact else ():
            if row in self.exact:
                found[index] = spell(getattr(self.exact[row], field))
        return found

    def numbers(self) -> list[float]:
        """Return the last number of each run as a double."""
        found: list[float] = self.arrays["value"].tolist()
        for index, reading in self.exact.items():
            if (number := reading.number) is not None:
                found[index] = number
        return found

    def reading(self, index: int) -> Reading:
        """Return the reading of one run."""
        if index in self.exact:
            return self.exact[index]
        if not self.rows:
            columns = (self.arrays[name].tolist() for name in FIELDS)
            self.rows.extend(zip(self.ranged.tolist(), *columns, strict=True))
        ranged, number, x, low, low_step, high, high_step = self.rows[index]
        if not ranged:
            return Reading(canonical(number), x)
        return Reading(canonical(number), x, False, canonical(low), low_step, canonical(high), high_step)

    def index_of(self, position: int) -> int | None:
        """Return the index of a run by its position; None if it has no numbers of the metric."""
        if len(self.positions) > position and self.positions[position] == position:
            return position  # the positions of runs all of which have numbers are their indices
        index = int(np.searchsorted(self.positions, position))
        return index if index < len(self.positions) and self.positions[index] == position else None


def canonical(number: float) -> int | float:
    """Return a number of an index as the facts of a column have it."""
    return int(number) if number.is_integer() and abs(number) < INT_LIMIT else number


class IndexedMetrics:
    """The metrics of many runs at their last step.

    Attributes:
        names: The metrics of which some run has numbers.
        runs: The number of runs.
    """

    def __init__(self, metrics: Mapping[str, MetricReadings], runs: int) -> None:
        self.names = tuple(metrics)
        self.runs = runs
        self._metrics = metrics
        self._numbers: dict[str, list[float | None]] = {}

    @classmethod
    def read(cls, frames: Sequence[History], names: frozenset[str]) -> IndexedMetrics | None:
        """Read these metrics; None if an index lacks one of the runs.

        Raises:
            DamageError: An index is damaged.
        """
        parts = _Parts()
        for positions in by_bundle(frame.bundle_id if isinstance(frame, Frame) else "" for frame in frames):
            if not parts.add_bundle(frames, positions, names):
                return None
        return cls(parts.joined(), len(frames))

    def metric(self, name: str) -> MetricReadings:
        """Return the readings of one metric; raises KeyError for one that no run has numbers of."""
        return self._metrics[name]

    def last_cells(self, name: str) -> Floats | None:
        """Return the last cell of a column in each run, NaN where it is not known to be exactly a double.

        None for a column that no run has numbers of.
        """
        if name not in self._metrics:
            return None
        metric = self._metrics[name]
        known = metric.numeric.copy()
        known[list(metric.exact)] = False
        cells = np.full(self.runs, np.nan)
        cells[metric.positions[known]] = metric.arrays["value"][known]
        return cells

    def numbers(self, name: str) -> Sequence[float | None]:
        """Return the last number of a metric in each run as a double, None where there is none."""
        found = self._numbers.get(name)
        if found is None:
            found = [None] * self.runs
            if name in self._metrics:
                metric = self._metrics[name]
                for position, number in zip(metric.positions.tolist(), metric.numbers(), strict=True):
                    found[position] = number
            self._numbers[name] = found
        return found


class IndexedRun(Mapping[str, Reading]):
    """The metrics of one run.

    Attributes:
        table: Those of all runs.
        position: The position of the run among them.
    """

    __slots__ = ("_names", "position", "table")

    def __init__(self, table: IndexedMetrics, position: int, names: Sequence[str]) -> None:
        self.table, self.position, self._names = table, position, names

    def __getitem__(self, name: str) -> Reading:
        metric = self.table.metric(name)
        index = metric.index_of(self.position)
        if index is None:
            raise KeyError(name)
        return metric.reading(index)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.table.numbers(name)[self.position] is not None

    def __iter__(self) -> Iterator[str]:
        return filter(self.__contains__, self._names)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_FLAGS = ("numeric", "ranged")


class _Part(NamedTuple):
    """One metric of some runs: their positions, and the values of `MetricReadings` and its flags."""

    positions: Ints
    arrays: Mapping[str, npt.NDArray[Any]]


class _Parts:
    """Collects the readings of metrics, metric by metric, so that all are in memory once."""

    def __init__(self) -> None:
        self._parts: dict[str, list[_Part]] = {}
        self._runs: dict[str, dict[int, Reading]] = {}
        self._exact: dict[str, dict[int, Reading]] = {}

    def add_bundle(self, frames: Sequence[History], positions: Iterable[int], names: frozenset[str]) -> bool:
        """Add the readings of the runs of one bundle; return whether its index has all of them."""
        indexed: dict[MetricIndex, dict[int, int]] = {}
        for position in positions:
            frame = frames[position]
            entry = frame.index_entry if isinstance(frame, Frame) else None
            numbers = None if entry is None else indexed.setdefault(entry.index, {})
            if entry is not None and numbers is not None and entry.number not in numbers:
                numbers[entry.number] = position
                continue
            facts = frame.facts(names)
            if facts is None:
                return False
            self.add_run(position, indexed_readings(facts, facts.keys() & names))
        for index, numbered in indexed.items():
            for columns in index.numbers(list(numbered), names):
                self.add_columns(columns, numbered)
        return True

    def add_run(self, position: int, readings: Mapping[str, Reading]) -> None:
        """Add the readings of one run."""
        for name, reading in readings.items():
            self._runs.setdefault(name, {})[position] = reading

    def add_columns(self, columns: NumberColumns, positions: Mapping[int, int]) -> None:
        """Add some of an index, with the position of each of its runs."""
        order = np.argsort(columns.name, kind="stable")
        found = np.fromiter(map(positions.__getitem__, columns.run.tolist()), np.int64, len(order))
        ends = np.cumsum(np.bincount(columns.name, minlength=len(columns.names)))
        for name, rows in zip(columns.names, np.split(order, ends[:-1]), strict=True):
            if len(rows):
                arrays = {field: getattr(columns, field)[rows] for field in (*FIELDS, *_FLAGS)}
                self._parts.setdefault(name, []).append(_Part(found[rows], arrays))
        for row, facts in columns.exact.items():
            reading = indexed_readings({"": facts}, [""])[""]
            self._exact.setdefault(columns.names[columns.name[row]], {})[int(found[row])] = reading

    def joined(self) -> dict[str, MetricReadings]:
        """Return the readings of each metric; what was added is taken away."""
        names = dict.fromkeys((*self._parts, *self._runs))
        return {
            name: _joined(self._parts.pop(name, []), self._runs.pop(name, {}), self._exact.pop(name, {}))
            for name in names
        }


def _joined(
    parts: Sequence[_Part], runs: Mapping[int, Reading], exact: Mapping[int, Reading]
) -> MetricReadings:
    """Return the readings of a metric: those of parts, of which some are exact, and those of single runs."""
    positions = np.concatenate([*(part.positions for part in parts), np.fromiter(runs, np.int64, len(runs))])
    order = np.argsort(positions, kind="stable")

    def joined(field: str) -> npt.NDArray[Any]:
        kind = np.bool_ if field in _FLAGS else np.int64 if field in _STEPS else np.float64
        return np.concatenate([*(part.arrays[field] for part in parts), np.zeros(len(runs), kind)])[order]

    positions, exact = positions[order], {**runs, **exact}
    indices = np.searchsorted(positions, list(exact)).tolist() if exact else []
    return MetricReadings(
        positions=positions,
        arrays={field: joined(field) for field in FIELDS},
        numeric=joined("numeric"),
        ranged=joined("ranged"),
        exact=dict(zip(indices, exact.values(), strict=True)),
    )
