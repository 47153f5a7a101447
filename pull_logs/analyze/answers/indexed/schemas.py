"""The schemas of runs as an index has them, whose entries are made when they are used.

An entry for each column of each run takes longer to make than all else that a schema of thousands of runs
does, and a text shows none of them: it joins the runs by column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, overload

from pull_logs.analyze.results import ColumnResult
from pull_logs.analyze.statistics import column_entry
from pull_logs.frames import MetricFacts

Schemas: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]
"""The entries for the columns of a history, by run label."""


class IndexedSchema(Sequence[ColumnResult]):
    """The schema of one run.

    Attributes:
        names: The columns, in the order of the entries.
        facts: The facts about them, by name.
        rows: How many rows the history has.
    """

    __slots__ = ("facts", "names", "rows")

    def __init__(self, facts: Mapping[str, MetricFacts], names: Sequence[str], rows: int) -> None:
        self.facts, self.names, self.rows = facts, names, rows

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
        return IndexedSchema(self.facts, names, self.rows)


def join_indexed(schemas: Schemas) -> Mapping[str, tuple[ColumnResult, frozenset[str]]] | None:
    """Return one entry for each column of all runs, and the labels of the runs that have it.

    Counts are summed, ranges and steps combined, as `join_columns` does with the entries of each run. None if
    a schema is not that of an index.
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
    return {name: _joined(name, groups) for name, groups in runs.items()}


class _Alike(NamedTuple):
    """Runs with the same columns: their schemas, their labels, and the number of their rows."""

    schemas: Iterable[IndexedSchema]
    labels: frozenset[str]
    rows: int


def _joined(name: str, groups: Sequence[_Alike]) -> tuple[ColumnResult, frozenset[str]]:
    facts = [schema.facts[name] for group in groups for schema in group.schemas]
    columns = dict(zip(MetricFacts._fields, zip(*facts, strict=True), strict=True))

    def present(field: str) -> list[Any]:
        return [value for value in columns[field] if value is not None]

    cells, rows = sum(columns["cells"]), sum(group.rows for group in groups)
    entry: ColumnResult = {
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
    labels = groups[0].labels if len(groups) == 1 else frozenset().union(*(group.labels for group in groups))
    return entry, labels


def joined_type(types: Iterable[str]) -> str:
    """Return the type of a column whose cells have these types in several runs."""
    found = sorted({*types} - {"empty"}) or ["empty"]
    return "number" if found == ["int", "number"] else "|".join(found)


def middle_interval(intervals: Iterable[float]) -> int | float | None:
    """Return the middle one of the logging intervals of several runs."""
    found = sorted(intervals)
    return found[len(found) // 2] if found else None
