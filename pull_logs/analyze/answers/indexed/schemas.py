"""The schemas of runs as an index has them, whose entries are made when they are used.

An entry for each column of each run takes longer to make than all else that a schema of thousands of runs
does, and a text shows none of them: it joins the runs by column. The facts are then read from the index
column by column, and those of each run only where the index does not have them exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, overload

import numpy as np

from pull_logs.analyze.answers.indexed.readings import canonical
from pull_logs.analyze.results import ColumnResult
from pull_logs.analyze.statistics import column_entry
from pull_logs.frames import Array, IndexEntry, MetricFacts, MetricIndex, SchemaColumns
from pull_logs.rows.arrays import Ints

Schemas: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]
"""The entries for the columns of a history, by run label."""

ReadFacts: TypeAlias = Callable[[], Mapping[str, MetricFacts] | None]
"""Reads the facts about the columns of a run, by name."""


class IndexedSchema(Sequence[ColumnResult]):
    """The schema of one run.

    Attributes:
        names: The columns, in the order of the entries.
        rows: How many rows the history has.
        entry: Where an index of many runs has the facts.
    """

    __slots__ = ("_known", "_read", "entry", "names", "rows")

    def __init__(
        self, read: ReadFacts, names: Sequence[str], rows: int, entry: IndexEntry | None = None
    ) -> None:
        self.names, self.rows, self.entry = names, rows, entry
        self._read = read
        self._known: Mapping[str, MetricFacts] | None = None

    @property
    def facts(self) -> Mapping[str, MetricFacts]:
        """The facts about the columns, by name; read when they are used first.

        Raises:
            DamageError: The index is damaged.
        """
        if self._known is None:
            self._known = self._read() or {}
        return self._known

    @overload
    def __getitem__(self, index: int) -> ColumnResult: ...
    @overload
    def __getitem__(self, index: slice) -> list[ColumnResult]: ...
    def __getitem__(self, index: int | slice) -> ColumnResult | list[ColumnResult]:
        if isinstance(index, slice):
            return [column_entry(self.facts[name], rows=self.rows) for name in self.names[index]]
        return column_entry(self.facts[self.names[index]], rows=self.rows)

    def __len__(self) -> int:
        return len(self.names)

    def in_order(self, names: Sequence[str]) -> IndexedSchema:
        """Return the same schema with its entries in another order."""
        return IndexedSchema(self._read, names, self.rows, self.entry)


def schema_names(entries: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """Return the names of the columns of a schema, in the order of its entries."""
    if isinstance(entries, IndexedSchema):
        return entries.names
    return [entry["name"] for entry in entries]


def join_indexed(schemas: Schemas) -> Mapping[str, tuple[ColumnResult, frozenset[str]]] | None:
    """Return one entry for each column of all runs, and the labels of the runs that have it.

    Counts are summed, ranges and steps combined, as `join_columns` does with the entries of each run. None if
    a schema is not that of an index.

    Raises:
        DamageError: An index is damaged.
    """
    alike: dict[tuple[str, ...], dict[str, IndexedSchema]] = {}
    for label, schema in schemas.items():
        if not isinstance(schema, IndexedSchema):
            return None
        alike.setdefault(tuple(schema.names), {})[label] = schema
    runs: dict[str, list[_Alike]] = {}
    for names, members in alike.items():
        found = _Alike(members.values(), frozenset(members), sum(one.rows for one in members.values()))
        for name in names:
            runs.setdefault(name, []).append(found)
    columns = _read_columns(alike)
    return {
        name: (
            _joined(name, groups) if columns is None else columns[name].entry(name, groups),
            _labels(groups),
        )
        for name, groups in runs.items()
    }


class _Alike(NamedTuple):
    """Runs with the same columns: their schemas, their labels, and the number of their rows."""

    schemas: Iterable[IndexedSchema]
    labels: frozenset[str]
    rows: int


def _labels(groups: Sequence[_Alike]) -> frozenset[str]:
    return groups[0].labels if len(groups) == 1 else frozenset().union(*(group.labels for group in groups))


_LEAST = frozenset({"min", "first_step"})
"""The facts of which the least counts; of the others, the greatest."""


@dataclass(slots=True)
class _Column:
    """A column of many runs, of which an index has the facts as arrays."""

    types: set[str] = field(default_factory=set)
    cells: int = 0
    nonfinite: int = 0
    ends: dict[str, Any] = field(default_factory=dict)
    intervals: list[Array] = field(default_factory=list)

    def add(self, found: SchemaColumns, elements: Ints) -> None:
        """Add the facts about more runs, which are these elements of the columns."""
        codes = np.flatnonzero(np.bincount(found.type[elements])).tolist()
        self.types.update(map(found.types.__getitem__, codes))
        self.cells += sum(found.cells[elements].tolist())
        self.nonfinite += sum(found.nonfinite[elements].tolist())
        for fact, (values, present) in found.ranges.items():
            having = values[elements][present[elements]]
            if not len(having):
                continue
            if fact == "interval":
                self.intervals.append(having)
            else:
                self._extend(fact, having)

    def _extend(self, fact: str, values: Array) -> None:
        """Take the least or the greatest of values and of those before."""
        choose, found = (min, values.min()) if fact in _LEAST else (max, values.max())
        end = _plain(found)
        self.ends[fact] = choose(self.ends[fact], end) if fact in self.ends else end

    def entry(self, name: str, groups: Sequence[_Alike]) -> ColumnResult:
        """Return the entry of the column."""
        return {
            "name": name,
            "type": joined_type(self.types),
            "count": self.cells,
            "missing": sum(group.rows for group in groups) - self.cells,
            "nonfinite": self.nonfinite,
            "min": self.ends.get("min"),
            "max": self.ends.get("max"),
            "first_step": self.ends.get("first_step"),
            "last_step": self.ends.get("last_step"),
            "interval": self._middle(),
        }

    def _middle(self) -> Any:
        if not self.intervals:
            return None
        return _plain(middle_interval(np.concatenate(self.intervals).tolist()))


def _plain(value: Any) -> Any:
    """Return a number of an array as the facts have it."""
    number = value.item() if isinstance(value, np.generic) else value
    return canonical(number) if isinstance(number, float) else number


def _read_columns(alike: Mapping[tuple[str, ...], Mapping[str, IndexedSchema]]) -> dict[str, _Column] | None:
    """Return the columns of runs as their indexes have them as arrays.

    None if a run is there twice, or its facts are not exactly those of the arrays.
    """
    indexed: dict[MetricIndex, set[int]] = {}
    expected = 0
    for names, members in alike.items():
        expected += len(set(names)) * len(members)
        for schema in members.values():
            if schema.entry is None:
                return None
            indexed.setdefault(schema.entry.index, set()).add(schema.entry.number)
    if sum(map(len, indexed.values())) != sum(map(len, alike.values())):
        return None
    columns = {name: _Column() for names in alike for name in names}
    for index, numbers in indexed.items():
        for found in index.schemas(sorted(numbers), frozenset(columns)):
            if not found.exact:
                return None
            for name, elements in _by_name(found):
                columns[name].add(found, elements)
            expected -= len(found.name)
    return None if expected else columns


def _by_name(found: SchemaColumns) -> Iterator[tuple[str, Ints]]:
    """Iterate over the names of columns, each with the elements that have it."""
    order = np.argsort(found.name, kind="stable")
    starts = np.flatnonzero(np.diff(found.name[order], prepend=-1))
    for elements in np.split(order, starts[1:]) if len(order) else ():
        yield found.names[int(found.name[elements[0]])], elements


def _joined(name: str, groups: Sequence[_Alike]) -> ColumnResult:
    facts = [schema.facts[name] for group in groups for schema in group.schemas]
    columns = dict(zip(MetricFacts._fields, zip(*facts, strict=True), strict=True))

    def present(field: str) -> list[Any]:
        return [value for value in columns[field] if value is not None]

    cells, rows = sum(columns["cells"]), sum(group.rows for group in groups)
    return {
        "name": name,
        "type": joined_type(columns["type"]),
        "count": cells,
        "missing": rows - cells,
        "nonfinite": sum(columns["nonfinite"]),
        "min": min(present("min"), default=None),
        "max": max(present("max"), default=None),
        "first_step": min(present("first_step"), default=None),
        "last_step": max(present("last_step"), default=None),
        "interval": middle_interval(present("interval")),
    }


def joined_type(types: Iterable[str]) -> str:
    """Return the type of a column whose cells have these types in several runs."""
    found = sorted({*types} - {"empty"}) or ["empty"]
    return "number" if found == ["int", "number"] else "|".join(found)


def middle_interval(intervals: Iterable[float]) -> int | float | None:
    """Return the middle one of the logging intervals of several runs."""
    found = sorted(intervals)
    return found[len(found) // 2] if found else None
