"""Columns of SQL views: their names, their types, and their cells as Arrow arrays.

Names of SQL ignore case, and names of metrics do not: a name that differs from an earlier one only in case
gets `_1`, `_2`, ... at its end, as DuckDB itself does.

A column is BIGINT if all of its cells are integers, DOUBLE if they are numbers, BOOLEAN or VARCHAR if they
are of that kind. Any other column has the canonical JSON of its cells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pull_logs.frames import kind_of_cell
from pull_logs.rows.arrays import array_of, text_array
from pull_logs.rows.canonical import canonical_text

if TYPE_CHECKING:
    from pull_logs.frames import Kind

_LEAST, _MOST = -(2**63), 2**63


class Type(StrEnum):
    """The type of a column, as SQL calls it."""

    BIGINT = "BIGINT"
    DOUBLE = "DOUBLE"
    BOOLEAN = "BOOLEAN"
    VARCHAR = "VARCHAR"
    JSON = "JSON"

    @property
    def arrow(self) -> pa.DataType:
        """The type of its arrays."""
        return _ARROW[self]


_ARROW: Mapping[Type, pa.DataType] = {
    Type.BIGINT: pa.int64(),
    Type.DOUBLE: pa.float64(),
    Type.BOOLEAN: pa.bool_(),
    Type.VARCHAR: pa.string(),
    Type.JSON: pa.string(),
}


@dataclass(frozen=True, slots=True)
class SqlColumn:
    """A column of a view.

    Attributes:
        name: Its name in SQL.
        source: The name of the metric or of the key.
        type: Its type.
    """

    name: str
    source: str
    type: Type

    @property
    def field(self) -> pa.Field:
        """The column as Arrow describes it."""
        return pa.field(self.name, self.type.arrow)


def sql_names(sources: Iterable[str], *, taken: Collection[str] = ()) -> dict[str, str]:
    """Return the name in SQL of each of these metrics or keys.

    Args:
        sources: Their names, all different.
        taken: Names of the view that come before them.
    """
    used, names = {name.lower() for name in taken}, {}
    for source in sources:
        plain = source.replace("\0", "\ufffd") or "_empty"
        free = (f"{plain}_{number}" if number else plain for number in count())
        name = next(name for name in free if name.lower() not in used)
        used.add(name.lower())
        names[source] = name
    return names


_KINDS: Mapping[frozenset[str], Type] = {
    frozenset({"int"}): Type.BIGINT,
    frozenset({"number"}): Type.DOUBLE,
    frozenset({"int", "number"}): Type.DOUBLE,
    frozenset({"bool"}): Type.BOOLEAN,
    frozenset({"string"}): Type.VARCHAR,
}


def type_of_metrics(types: Collection[str]) -> Type:
    """Return the type of a column by the types that the index of metrics has for it in several runs."""
    return _KINDS.get(frozenset(types) - {"empty"}, Type.JSON)


def type_of_cells(cells: Iterable[Any]) -> Type:
    """Return the type of a column of Python values, None for a missing one."""
    found = {_kind_of(cell) for cell in cells if cell is not None}
    return _KINDS.get(frozenset(found), Type.JSON)


def _kind_of(cell: Any) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool):
        return "int" if _LEAST <= cell < _MOST else "number"
    kind: Kind | None = kind_of_cell(cell)
    return str(kind)


def array_of_cells(cells: Sequence[Any], kind: Type) -> pa.Array:
    """Return Python values, None for a missing one, as an array of this type."""
    if kind is Type.JSON:
        return text_array(json_texts(cells))
    if kind is Type.DOUBLE:
        return array_of([None if cell is None else _double(cell) for cell in cells], kind.arrow)
    return array_of(cells, kind.arrow)


def json_texts(cells: Sequence[Any]) -> list[str | None]:
    """Return the canonical JSON of values, None for a missing one; that of one object is made once."""
    known: dict[int, str] = {}
    texts: list[str | None] = []
    for cell in cells:
        if cell is None:
            texts.append(None)
            continue
        text = known.get(id(cell))
        if text is None:
            text = known[id(cell)] = canonical_text(cell)
        texts.append(text)
    return texts


def _double(cell: float) -> float:
    try:
        return float(cell)
    except OverflowError:
        return float("inf") if cell > 0 else float("-inf")
