"""Batches: rows as Arrow tables, and back.

A batch is a `pyarrow.Table` with the columns of a bundle: `_step` first (int64, never null), then one column
per key in the order of the UTF-8 bytes of its name, then the residual column where it is needed. A column of
numbers is a double column; it is int64 only where some value is an integer that is not exactly a double and
every number fits. The residual column holds, per row, the canonical JSON object of the keys whose cells do
not fit their column. System batches have no `_step` column.

    raw rows, W&B exports  ->  batch  ->  spool, history.parquet  ->  batch  ->  rows

See docs/bundle-format.md, "Histories and system metrics".
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
from pull_logs.rows.arrays import (
    Ints,
    canonical_arrays,
    dictionary_codes,
    filter_cells,
    flat,
    integer_array,
    integral_values,
    present_integers,
    present_rows,
    python_values,
    take_rows,
    text_array,
)
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
from pull_logs.rows.cells import Column, JsonText, cell_text, column_kind, column_of_values, utf8_order
from pull_logs.rows.wandb_exports import column_of_arrow, columns_by_name

RESIDUAL = "_wpl_rest"
"""The column of cells that do not fit; a logged key of this name is stored in it too."""

RESIDUAL_ONLY = frozenset({RESIDUAL, STEP})
"""Keys whose cells are never in a typed column; the column `_step` holds steps only."""

_ROWS_AT_ONCE = 4096
_RESIDUAL_AT_ONCE = 64
_DECODER = json.JSONDecoder(strict=False)


def batch_from_rows(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return the batch of raw rows: every value canonical, sorted by step.

    Rows of one step are not merged; they keep their order.

    Raises:
        DataError: A row has no `_step` or a bad one, or a value that is not JSON-like.
    """
    listed = rows if isinstance(rows, list) else list(rows)
    length = len(listed)
    gathered = _gather(listed)
    with_step, values = gathered.pop(STEP, ([], []))
    if len(with_step) != length:
        canon_step(None)
    steps = _canonical_steps(values)
    columns = {
        name: column_of_values(
            cells, rows=None if len(found) == length else np.array(found, dtype=np.int64), length=length
        )
        for name, (found, cells) in gathered.items()
    }
    return sort_by_step(assemble(columns, steps=steps, length=length))


def batch_from_arrow(table: pa.Table) -> pa.Table:
    """Return the batch of a table as W&B exports it (`wandb_exports`).

    Rows whose `_step` is null are dropped; a table without that column gives no rows.

    Raises:
        DataError: A column has a type that is refused or content that is not valid for its type, two columns
            have one name, or a step is not a whole number of 64 bits.
    """
    found = columns_by_name(table)
    if STEP not in found:
        return assemble({}, steps=np.array([], dtype=np.int64), length=0)
    array = flat(found[STEP])
    keep = present_rows(array) if array.null_count else None
    present = array if keep is None else filter_cells(array, keep)
    steps = integral_values(present)
    if steps is None:
        steps = _canonical_steps(present.to_pylist())
    columns = {
        name: column_of_arrow(column, name=name, keep=keep) for name, column in found.items() if name != STEP
    }
    return sort_by_step(assemble(columns, steps=steps, length=len(steps)))


def _gather(rows: list[Mapping[str, Any]]) -> dict[str, tuple[list[int], list[Any]]]:
    """Return, per canonical key, the rows that have a value, and the values."""
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
    # Two keys may have the same canonical form; `canon_members` decides row by row which one is kept.
    return _gather([canon_members(members) for members in rows])


def _canonical_steps(values: list[Any]) -> Ints:
    if set(map(type, values)) <= {int}:
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            pass
    return np.array([canon_step(value) for value in values], dtype=np.int64)


def assemble(columns: Mapping[str, Column], *, steps: Ints | None, length: int) -> pa.Table:
    """Return the batch of these columns, in bundle order, with the rest of each in the residual column.

    Columns without any cell are left out.

    Args:
        columns: The cells of each key.
        steps: The step of each row; None for a system batch.
        length: Rows of the batch.
    """
    arrays: list[Any] = []
    fields: list[Any] = []
    if steps is not None:
        arrays.append(integer_array(steps))
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
    """Return the residual column of these cells, given by row and key."""
    texts: list[str | None] = [None] * length
    for row, members in rest.items():
        parts = (f"{canonical_text(name)}:{cell_text(members[name])}" for name in sorted(members))
        texts[row] = f"{{{','.join(parts)}}}"
    return text_array(texts)


def sort_by_step(batch: pa.Table) -> pa.Table:
    """Return the batch with its rows in step order; rows of one step keep their order."""
    steps = steps_of(batch)
    if (steps[1:] >= steps[:-1]).all():
        return batch
    return take_rows(batch, np.argsort(steps, kind="stable"))


def steps_of(batch: pa.Table) -> Ints:
    """Return the steps of a history batch."""
    return present_integers(flat(batch.column(STEP)))


def distinct_steps(steps: Ints) -> Ints:
    """Return the different steps, ascending; `np.unique` imports `numpy.ma` for it, to look for masks."""
    ordered = np.sort(steps)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def system_batch_from_rows(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return the batch of raw system rows, sorted by `_timestamp`, then by canonical text.

    A row without a numeric `_timestamp` comes first; an empty one is dropped.

    Raises:
        DataError: A value is not JSON-like.
    """
    filled = [row for row in map(canon_members, rows) if row]
    filled.sort(key=_system_rank)
    columns = {
        name: column_of_values(cells, rows=np.array(found, dtype=np.int64), length=len(filled))
        for name, (found, cells) in _gather(list(filled)).items()
    }
    return assemble(columns, steps=None, length=len(filled))


def _system_rank(row: Mapping[str, Any]) -> tuple[float, bytes]:
    timestamp = row.get(TIMESTAMP)
    if isinstance(timestamp, bool) or not isinstance(timestamp, (int, float)) or math.isnan(timestamp):
        timestamp = -math.inf
    return timestamp, cell_text(row).encode()


@dataclass(frozen=True, slots=True)
class BatchCells:
    """A batch taken apart into its typed arrays and the cells of its residual column.

    Attributes:
        length: Rows of the batch.
        steps: The steps; None for a system batch.
        typed: Per key, the array of the cells that have a typed column; its doubles are canonical.
        rest: Per key, the other cells by row; lists and dicts as their JSON text.
        residual: The residual column, unparsed; None without one.
    """

    length: int
    steps: Ints | None
    typed: Mapping[str, pa.Array]
    rest: Mapping[str, Mapping[int, Any]]
    residual: pa.Array | None


def take_apart(batch: pa.Table, *, parse: bool = True) -> BatchCells:
    """Take a batch apart into its typed arrays and the cells of its residual column.

    Args:
        batch: A batch.
        parse: Whether to parse the residual column; if not, `rest` is empty.

    Raises:
        DataError: A column is not valid in a batch.
    """
    arrays = {}
    for name, column in zip(batch.column_names, batch.columns, strict=True):
        if name in RESIDUAL_ONLY:
            continue
        if column_kind(column.type) is None:
            raise DataError(f"column {name!r} has type {column.type}, which a batch cannot have")
        arrays[name] = flat(column)
    typed = dict(zip(arrays, canonical_arrays(list(arrays.values())), strict=True))
    steps = steps_of(batch) if STEP in batch.column_names else None
    residual = flat(batch.column(RESIDUAL)) if RESIDUAL in batch.column_names else None
    rest: dict[str, dict[int, Any]] = {}
    if residual is not None and parse:
        for row, text in _texts(residual):
            for name, cell in _text_members(text):
                if (name in typed and typed[name][row].is_valid) or (name == STEP and steps is not None):
                    raise DataError(f"key {name!r} has two values in one row")
                rest.setdefault(name, {})[row] = cell
    return BatchCells(batch.num_rows, steps, typed, rest, residual)


def _text_members(text: str) -> Iterator[tuple[str, Any]]:
    """Iterate over the members of a residual cell; lists and dicts keep their JSON text.

    Raises:
        DataError: The text is not the canonical JSON of an object. Lists and dicts are not checked inside.
    """
    position, last = 0, ""
    while position < len(text) - 1:
        name, cell, end = _text_member(text, position)
        if position and name <= last:
            raise _bad_residual(text)
        yield name, cell
        position, last = end, name
    if not position or text[position:] != "}":
        raise _bad_residual(text)


def _text_member(text: str, position: int) -> tuple[str, Any, int]:
    """Return name and cell of the member after this position, and the position of its end."""
    try:
        name, colon = _DECODER.raw_decode(text, position + 1)
        value, end = _DECODER.raw_decode(text, colon + 1)
    except (ValueError, RecursionError) as exc:
        raise _bad_residual(text) from exc
    separated = text[position] == ("," if position else "{") and text[colon] == ":" and isinstance(name, str)
    if not separated or value is None or value == {}:
        raise _bad_residual(text)
    nested = isinstance(value, (list, dict))
    return name, JsonText(text[colon + 1 : end]) if nested else canon_value(value), end


def _bad_residual(text: str) -> DataError:
    return DataError(f"the residual of a row is not the canonical JSON of an object: {text[:80]!r}")


def residual_rows(residual: pa.Array, *, containing: str = "") -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Iterate over the cells of a residual column: row, text and canonical members of each.

    Args:
        residual: The column.
        containing: A text that a cell has to contain; other cells are not parsed.

    Raises:
        DataError: A cell is not a JSON object.
    """
    for row, text in _texts(residual):
        if containing in text:
            yield row, text, _members(text)


def _texts(residual: pa.Array) -> Iterator[tuple[int, str]]:
    """Iterate over the cells of a residual column that have a value: row and text of each."""
    for start in range(0, len(residual), _RESIDUAL_AT_ONCE):
        for row, text in enumerate(residual.slice(start, _RESIDUAL_AT_ONCE).to_pylist(), start):
            if text is not None:
                yield row, text


def distinct_members(residual: pa.ChunkedArray) -> Iterator[tuple[int, dict[str, Any]]]:
    """Iterate over the cells of a residual column: row and canonical members of each; equal cells share them.

    Raises:
        DataError: A cell is not a JSON object.
    """
    start = 0
    for chunk in residual.chunks:
        if pa.types.is_dictionary(chunk.type):
            codes = dictionary_codes(chunk).tolist()
            parsed: dict[int, dict[str, Any]] = {}
            for row, code in enumerate(codes, start):
                if code >= 0:
                    if code not in parsed:
                        parsed[code] = _members(chunk.dictionary[code].as_py())
                    yield row, parsed[code]
        else:
            yield from ((start + row, members) for row, _, members in residual_rows(chunk))
        start += len(chunk)


def _members(text: str) -> dict[str, Any]:
    members = parse_json(text)
    if not isinstance(members, dict):
        raise _bad_residual(text)
    return canon_members(members)


def batch_rows(batch: pa.Table, columns: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """Iterate over the canonical rows of a batch, each a dict of the keys that the row has.

    Args:
        batch: A batch of a history or of system metrics.
        columns: The keys wanted, including `_step` if it is wanted; all when None.

    Raises:
        DataError: The residual column is not valid.
    """
    for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
        yield from _some_rows(batch.slice(start, _ROWS_AT_ONCE), columns)


def _some_rows(batch: pa.Table, columns: Collection[str] | None) -> list[dict[str, Any]]:
    dense: dict[str, list[Any]] = {}
    sparse: dict[str, pa.Array] = {}
    for index, name in enumerate(batch.column_names):
        if name != RESIDUAL and (columns is None or name in columns):
            array = flat(batch.column(index))
            if array.null_count:
                sparse[name] = array
            else:
                dense[name] = python_values(array)
    if dense:
        rows = [dict(zip(dense, cells, strict=True)) for cells in zip(*dense.values(), strict=True)]
    else:
        rows = [{} for _ in range(batch.num_rows)]
    for name, array in sparse.items():
        present = np.flatnonzero(present_rows(array)).tolist()
        for row, cell in zip(present, python_values(array.drop_null()), strict=True):
            rows[row][name] = cell
    if RESIDUAL in batch.column_names:
        _add_residual(rows, flat(batch.column(RESIDUAL)), columns)
    return rows


def _add_residual(rows: list[dict[str, Any]], residual: pa.Array, columns: Collection[str] | None) -> None:
    prefixes = None if columns is None else [f"{canonical_text(canon_text(name))}:" for name in columns]
    for row, text in enumerate(residual.to_pylist()):
        if text is None or (prefixes is not None and not any(prefix in text for prefix in prefixes)):
            continue
        for name, cell in _members(text).items():
            if columns is None or name in columns:
                if name in rows[row]:
                    raise DataError(f"key {name!r} has two values in one row")
                rows[row][name] = cell


def batch_keys(batch: pa.Table) -> frozenset[str]:
    """Return every key of the rows of a batch, including those in the residual column."""
    names = {name for name in batch.column_names if name != RESIDUAL}
    if RESIDUAL in batch.column_names:
        for _, _, members in residual_rows(flat(batch.column(RESIDUAL))):
            names.update(members)
    return frozenset(names)


def select_keys(batch: pa.Table, keep: Callable[[str], bool]) -> pa.Table:
    """Return the batch with only the keys for which `keep` is true, and `_step`; no row is dropped."""
    cells = take_apart(batch)
    names = {name for name in {*cells.typed, *cells.rest} if keep(name)}
    return assemble(
        {name: Column(cells.typed.get(name), cells.rest.get(name, {})) for name in names},
        steps=cells.steps,
        length=cells.length,
    )
