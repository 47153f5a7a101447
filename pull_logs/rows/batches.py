"""Rows to batches and back.

A batch is a `pyarrow.Table` in bundle shape: `_step` first (int64, never
null), then a column per key sorted by the UTF-8 bytes of its name, then the
residual column where there is need of one. A column of numbers is a double
column; it is int64 only where some value is an integer that is not exactly a
double and every number fits. The residual column holds, per row, the canonical
JSON object of the keys whose cells do not fit their column. System batches
have no `_step` column.

    raw rows, W&B exports  ->  batch  ->  spool, history.parquet  ->  batch  ->  rows
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pull_logs.errors import DataError
from pull_logs.rows.canonical import (
    STEP,
    TIMESTAMP,
    canon_members,
    canon_step,
    canon_text,
    canon_value,
    canonical_text,
    parse_json,
)
from pull_logs.rows.cells import (
    Column,
    Ints,
    Spelled,
    canonical_arrays,
    cell_text,
    column_kind,
    column_of_values,
    flat,
    missing,
    present_integers,
    python_values,
    text_array,
    utf8_order,
)
from pull_logs.rows.wandb_exports import column_of_arrow, columns_by_name, only, steps_of_arrow

RESIDUAL = "_wpl_rest"
"""The column of what does not fit; a logged key of this name goes into it too."""

RESIDUAL_ONLY = frozenset({RESIDUAL, STEP})
"""Keys that never have a typed column of their own but the step itself."""

_ROWS_AT_ONCE = 4096
_DECODER = json.JSONDecoder(strict=False)


def batch_from_rows(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A batch of raw rows: every value canonical, sorted by step.

    Rows of one step stay as many as they are, in the order they came.

    Raises:
        DataError: A row has no `_step` or a bad one, or a value that is not JSON-like.
    """
    held = rows if isinstance(rows, list) else list(rows)
    gathered = _gather(held)
    places, values = gathered.pop(STEP, ([], []))
    if len(places) != len(held):
        canon_step(None)
    steps = _steps_of(values)
    columns = {
        name: column_of_values(
            cells, rows=None if len(at) == len(held) else np.array(at, dtype=np.int64), length=len(held)
        )
        for name, (at, cells) in gathered.items()
    }
    return sort_by_step(assemble(columns, steps=steps, length=len(held)))


def batch_from_arrow(table: pa.Table) -> pa.Table:
    """A batch of a table as W&B exports it; what each Arrow type means is told in `exports`.

    Rows whose `_step` is null are dropped; a table without that column gives no rows.

    Raises:
        DataError: A column is of a type that is refused or holds what its type does not allow, two columns
            have one name, or a step is no whole number of 64 bits.
    """
    found = columns_by_name(table)
    if STEP not in found:
        return assemble({}, steps=np.array([], dtype=np.int64), length=0)
    array = flat(found[STEP])
    keep = ~missing(array) if array.null_count else None
    stepped = array if keep is None else only(array, keep)
    steps = steps_of_arrow(stepped)
    if steps is None:
        steps = _steps_of(stepped.to_pylist())
    columns = {
        name: column_of_arrow(column, name=name, keep=keep) for name, column in found.items() if name != STEP
    }
    return sort_by_step(assemble(columns, steps=steps, length=len(steps)))


def _gather(rows: list[Mapping[str, Any]]) -> dict[str, tuple[list[int], list[Any]]]:
    """Per canonical key, the rows that have a value and these values."""
    found: dict[Any, tuple[list[int], list[Any]]] = {}
    for row, members in enumerate(rows):
        for key, value in members.items():
            if value is None:
                continue
            pair = found.get(key)
            if pair is None:
                pair = found[key] = ([], [])
            pair[0].append(row)
            pair[1].append(value)
    if all(type(key) is str and canon_text(key) == key for key in found):
        return found
    # Two keys may be one after canon: let it decide row by row which of them stays.
    return _gather([canon_members(members) for members in rows])


def _steps_of(values: list[Any]) -> Ints:
    if set(map(type, values)) <= {int}:
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            pass
    return np.array([canon_step(value) for value in values], dtype=np.int64)


def assemble(columns: Mapping[str, Column], *, steps: Ints | None, length: int) -> pa.Table:
    """The batch of these columns, in bundle order, with the rest of each in the residual column.

    Columns in which no cell is present vanish.

    Args:
        columns: Per key, its cells.
        steps: The step of each row; None for a system batch.
        length: Rows of the batch.
    """
    arrays: list[Any] = []
    fields: list[Any] = []
    if steps is not None:
        arrays.append(pa.array(steps, pa.int64()))
        fields.append(pa.field(STEP, pa.int64(), nullable=False))
    rest: dict[int, dict[str, Any]] = {}
    for name in utf8_order(columns):
        column = columns[name]
        typed, others = column.typed, column.rest
        if name in RESIDUAL_ONLY and typed is not None:
            others = {
                **others,
                **{row: cell for row, cell in enumerate(python_values(typed)) if cell is not None},
            }
            typed = None
        if typed is not None and typed.null_count < length:
            arrays.append(typed)
            fields.append(pa.field(name, typed.type))
        for row, cell in others.items():
            rest.setdefault(row, {})[name] = cell
    if rest:
        arrays.append(residual_array(rest, length=length))
        fields.append(pa.field(RESIDUAL, pa.string()))
    return pa.Table.from_arrays(canonical_arrays(arrays), schema=pa.schema(fields))


def residual_array(rest: Mapping[int, Mapping[str, Any]], *, length: int) -> pa.Array:
    """The residual column of these cells, by row and key."""
    texts: list[str | None] = [None] * length
    for row, members in rest.items():
        spelled = (f"{canonical_text(name)}:{cell_text(members[name])}" for name in sorted(members))
        texts[row] = f"{{{','.join(spelled)}}}"
    return text_array(texts)


def sort_by_step(batch: pa.Table) -> pa.Table:
    """The batch with its rows in step order; rows of one step keep their order."""
    steps = steps_of(batch)
    if (steps[1:] >= steps[:-1]).all():
        return batch
    return batch.take(pa.array(np.argsort(steps, kind="stable")))


def steps_of(batch: pa.Table) -> Ints:
    """The steps of a history batch."""
    return present_integers(flat(batch.column(STEP)))


def system_batch_from_rows(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A batch of raw system rows, sorted by `_timestamp`, then by canonical text.

    A row without a numeric `_timestamp` comes first; one that says nothing is dropped.

    Raises:
        DataError: A value is not JSON-like.
    """
    held = [row for row in map(canon_members, rows) if row]
    held.sort(key=_system_rank)
    columns = {
        name: column_of_values(cells, rows=np.array(at, dtype=np.int64), length=len(held))
        for name, (at, cells) in _gather(list(held)).items()
    }
    return assemble(columns, steps=None, length=len(held))


def _system_rank(row: Mapping[str, Any]) -> tuple[float, bytes]:
    stamp = row.get(TIMESTAMP)
    known = isinstance(stamp, (int, float)) and not isinstance(stamp, bool) and not math.isnan(stamp)
    return (stamp if known and stamp is not None else -math.inf, cell_text(row).encode())


@dataclass(frozen=True, slots=True)
class BatchCells:
    """A batch taken apart: its typed arrays, and what its residual column holds.

    Attributes:
        length: Rows of the batch.
        steps: The steps; None for a system batch.
        typed: Per key, the array of the cells that have a typed column; its doubles are canonical.
        rest: Per key, the other cells by row; lists and dicts as they are spelled.
        residual: The residual column as it stands; None without one.
    """

    length: int
    steps: Ints | None
    typed: Mapping[str, pa.Array]
    rest: Mapping[str, Mapping[int, Any]]
    residual: pa.Array | None


def take_apart(batch: pa.Table, *, parse: bool = True) -> BatchCells:
    """The typed arrays of a batch and the cells of its residual column.

    Args:
        batch: A batch.
        parse: Whether the residual column is to be parsed; if not, `rest` is empty.

    Raises:
        DataError: A column is not what a batch may hold.
    """
    held = {}
    for name, column in zip(batch.column_names, batch.columns, strict=True):
        if name in RESIDUAL_ONLY:
            continue
        if column_kind(column.type) is None:
            raise DataError(f"column {name!r} of type {column.type} has no place in a batch")
        held[name] = flat(column)
    typed = dict(zip(held, canonical_arrays(list(held.values())), strict=True))
    steps = steps_of(batch) if STEP in batch.column_names else None
    residual = flat(batch.column(RESIDUAL)) if RESIDUAL in batch.column_names else None
    rest: dict[str, dict[int, Any]] = {}
    if residual is not None and parse:
        for row, text in enumerate(residual.to_pylist()):
            for name, cell in _spelled_members(text) if text is not None else ():
                if (name in typed and typed[name][row].is_valid) or (name == STEP and steps is not None):
                    raise DataError(f"key {name!r} has two values in one row")
                rest.setdefault(name, {})[row] = cell
    return BatchCells(batch.num_rows, steps, typed, rest, residual)


def _spelled_members(text: str) -> Iterator[tuple[str, Any]]:
    """The members of a residual cell, lists and dicts as they are spelled.

    Raises:
        DataError: The text is not the canonical JSON of an object; what nests in a member is not looked at.
    """
    place, last = 0, ""
    while place < len(text) - 1:
        name, cell, end = _spelled_member(text, place)
        if place and name <= last:
            raise _bad_residual(text)
        yield name, cell
        place, last = end, name
    if not place or text[place:] != "}":
        raise _bad_residual(text)


def _spelled_member(text: str, place: int) -> tuple[str, Any, int]:
    """Name and cell of the member behind this place, and where it ends."""
    try:
        name, colon = _DECODER.raw_decode(text, place + 1)
        value, end = _DECODER.raw_decode(text, colon + 1)
    except (ValueError, RecursionError) as exc:
        raise _bad_residual(text) from exc
    framed = text[place] == ("," if place else "{") and text[colon] == ":" and isinstance(name, str)
    if not framed or value is None or value == {}:
        raise _bad_residual(text)
    nested = isinstance(value, (list, dict))
    return name, Spelled(text[colon + 1 : end]) if nested else canon_value(value), end


def _bad_residual(text: str) -> DataError:
    return DataError(f"the residual of a row is not the canonical JSON of an object: {text[:80]!r}")


def residual_rows(residual: pa.Array) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Row, text and canonical members of each cell of a residual column.

    Raises:
        DataError: A cell is not a JSON object.
    """
    for row, text in enumerate(residual.to_pylist()):
        if text is not None:
            yield row, text, _members(text)


def _members(text: str) -> dict[str, Any]:
    members = parse_json(text)
    if not isinstance(members, dict):
        raise _bad_residual(text)
    return canon_members(members)


def batch_rows(batch: pa.Table, columns: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """The canonical rows of a batch, one dict a row, without the keys that a row lacks.

    Args:
        batch: Of a history or of system metrics.
        columns: The keys wanted, `_step` among them if it is; all when None.

    Raises:
        DataError: The residual column is not what a batch may hold.
    """
    for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
        yield from _some_rows(batch.slice(start, _ROWS_AT_ONCE), columns)


def _some_rows(batch: pa.Table, columns: Collection[str] | None) -> list[dict[str, Any]]:
    dense: dict[str, list[Any]] = {}
    sparse: dict[str, pa.Array] = {}
    for place, name in enumerate(batch.column_names):
        if name != RESIDUAL and (columns is None or name in columns):
            array = flat(batch.column(place))
            if array.null_count:
                sparse[name] = array
            else:
                dense[name] = python_values(array)
    if dense:
        rows = [dict(zip(dense, cells, strict=True)) for cells in zip(*dense.values(), strict=True)]
    else:
        rows = [{} for _ in range(batch.num_rows)]
    for name, array in sparse.items():
        places = np.flatnonzero(~missing(array)).tolist()
        for place, cell in zip(places, python_values(array.drop_null()), strict=True):
            rows[place][name] = cell
    if RESIDUAL in batch.column_names:
        _add_residual(rows, flat(batch.column(RESIDUAL)), columns)
    return rows


def _add_residual(rows: list[dict[str, Any]], residual: pa.Array, columns: Collection[str] | None) -> None:
    marks = None if columns is None else [f"{canonical_text(canon_text(name))}:" for name in columns]
    for place, text in enumerate(residual.to_pylist()):
        if text is None or (marks is not None and not any(mark in text for mark in marks)):
            continue
        for name, cell in _members(text).items():
            if columns is None or name in columns:
                if name in rows[place]:
                    raise DataError(f"key {name!r} has two values in one row")
                rows[place][name] = cell


def batch_keys(batch: pa.Table) -> frozenset[str]:
    """Every key of the rows of a batch, those in the residual column included."""
    names = {name for name in batch.column_names if name != RESIDUAL}
    if RESIDUAL in batch.column_names:
        for _, _, members in residual_rows(flat(batch.column(RESIDUAL))):
            names.update(members)
    return frozenset(names)


def select_keys(batch: pa.Table, keep: Callable[[str], bool]) -> pa.Table:
    """The batch with only the keys that `keep` holds for, and `_step`; no row is dropped."""
    cells = take_apart(batch)
    names = {name for name in {*cells.typed, *cells.rest} if keep(name)}
    return assemble(
        {name: Column(cells.typed.get(name), cells.rest.get(name, {})) for name in names},
        steps=cells.steps,
        length=cells.length,
    )
