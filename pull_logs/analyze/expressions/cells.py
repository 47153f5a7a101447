"""Cells of columns whose cells are of several kinds, one by one: comparing them and searching in them.

A list in a cell is searched item by item: `contains` is about its items, and `matches` and `starts_with` hold
where they do for one of its texts. In a text, `contains` finds a part of it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from pull_logs.analyze.expressions.nodes import Bool, Comparator, Negate, Number, SearchWord, String
from pull_logs.frames import JoinedTexts, Kind, Mask, Vector, cell_number, kind_of_cell
from pull_logs.rows.patterns import TextPattern

_CELLS: Final[Mapping[Comparator, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def literal(item: Number | Negate | String | Bool) -> float | str | bool:
    """Return the value of an item of a list or of a search."""
    if isinstance(item, Negate):
        assert isinstance(item.operand, Number)  # noqa: S101 - for the type checker: the grammar says so
        return -item.operand.value
    return item.value


def comparable(cell: object) -> tuple[Kind | None, object]:
    """Return a cell with its kind, so that a bool is not a number; a JSON value is replaced by None."""
    kind = kind_of_cell(cell)
    return kind, cell_number(cell) if kind == "number" else None if kind == "other" else cell


def compare_cells(left: Vector, sign: Comparator, right: Vector) -> Mask:
    """Return where two columns of any kinds compare so."""
    if not (left.present & right.present).any():
        return np.zeros(len(left), np.bool_)
    pairs = zip(map(comparable, left.to_list()), map(comparable, right.to_list()), strict=True)
    return np.array([_cells_compare(*one, sign, *other) for one, other in pairs], np.bool_)


def _cells_compare(
    left_kind: Kind | None, left: object, sign: Comparator, right_kind: Kind | None, right: object
) -> bool:
    if left_kind is None or right_kind is None:
        return False
    ordered = sign not in {"==", "!="}
    if left_kind != right_kind or left_kind == "other" or (ordered and left_kind == "bool"):
        return sign == "!="
    return bool(_CELLS[sign](left, right))


def search_cells(vector: Vector, word: SearchWord, wanted: float | str | bool) -> Mask:  # noqa: FBT001 - a value
    """Return the cells in which something is found; a missing cell and a dict contain nothing."""
    cells = vector.to_list()
    if word == "contains":
        return np.fromiter((_contains(cell, wanted) for cell in cells), np.bool_, len(cells))
    texts = [_texts(cell) for cell in cells]
    distinct = list(dict.fromkeys(text for found in texts for text in found))
    if word == "matches":
        hits = TextPattern(str(wanted)).search_all(distinct)
    else:
        hits = [text.startswith(str(wanted)) for text in distinct]
    holding = {text for text, hit in zip(distinct, hits, strict=True) if hit}
    return np.fromiter((not holding.isdisjoint(found) for found in texts), np.bool_, len(cells))


def _contains(cell: object, wanted: float | str | bool) -> bool:  # noqa: FBT001 - a value
    if isinstance(cell, str) and not isinstance(cell, JoinedTexts):
        return isinstance(wanted, str) and wanted in cell
    return any(comparable(item) == comparable(wanted) for item in _items(cell))


def _texts(cell: object) -> list[str]:
    if isinstance(cell, str) and not isinstance(cell, JoinedTexts):
        return [cell]
    return [item for item in _items(cell) if isinstance(item, str)]


def _items(cell: object) -> tuple[object, ...]:
    if isinstance(cell, JoinedTexts):
        return cell.items
    return tuple(cell) if isinstance(cell, (list, tuple)) else ()
