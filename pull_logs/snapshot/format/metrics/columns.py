"""Facts of a row group of `metrics.parquet`, fact by fact: for totals over runs, and to compare runs.

Rows are chosen with numpy: pyarrow's functions for it take longer to import than all of this takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pull_logs.errors import DataError
from pull_logs.frames import (
    DOUBLES,
    EXACT,
    INTEGERS,
    Floats,
    Mask,
    MetricColumns,
    NumberColumns,
    SchemaColumns,
    hash_of_plain_facts,
)
from pull_logs.rows.arrays import (
    Ints,
    canonical_doubles,
    dictionary_codes,
    doubles_of,
    flat,
    present_integers,
    present_rows,
    stored_integers,
)
from pull_logs.rows.canonical import canon_record, parse_json

MAX_TEXT = 1 << 28
"""Most bytes of decoded text of one row group."""

_COUNTS = ("count", "numbers", "nonfinite")

TOTAL_COLUMNS = (
    "metric",
    "type",
    *_COUNTS,
    "first_step",
    "last_step",
    "last",
    "last_number",
    "last_finite",
    "rest",
)
"""The columns that totals over runs are added up from."""

NUMBER_COLUMNS = (
    "metric",
    *_COUNTS,
    "last_step",
    "last",
    "last_number",
    "last_number_step",
    "min",
    "min_step",
    "max",
    "max_step",
    "rest",
)
"""The columns that runs are compared by."""


def _wanted(rows: Mask, names: frozenset[str], table: pa.Table) -> tuple[list[str], Ints, Ints]:
    """Return the distinct names; of these rows that are wanted, the index of the name, and the row."""
    metrics = one_array(table.column("metric"))
    known, metric = text_list(metrics), dictionary_codes(metrics)
    kept = np.flatnonzero(rows & np.array([name in names for name in known], np.bool_)[metric])
    return known, metric[kept], kept


def _counted(rows: Mask, names: frozenset[str], table: pa.Table) -> tuple[dict[str, Any], Ints]:
    """Return the attributes of `CountedColumns` of those of these rows that are wanted, and the rows."""
    known, metric, kept = _wanted(rows, names, table)
    types = one_array(table.column("type"))
    found = {
        "names": known,
        "name": metric,
        "types": text_list(types),
        "type": dictionary_codes(types)[kept],
        "cells": present_integers(flat(table.column("count")))[kept],
        "nonfinite": present_integers(flat(table.column("nonfinite")))[kept],
    }
    return found, kept


def total_columns(rows: Mask, names: frozenset[str], table: pa.Table) -> tuple[MetricColumns, Ints, Mask]:
    """Return facts without what is in `rest`, the row of each, and which of them have a rest."""
    steps = [flat(table.column(name)) for name in ("first_step", "last_step")]
    counted, kept = _counted(rows & present_rows(steps[0]) & present_rows(steps[1]), names, table)
    numbers = present_integers(flat(table.column("numbers")))[kept]
    last = doubles_of(flat(table.column("last")))
    last_number, last_finite = (flat(table.column(name)) for name in ("last_number", "last_finite"))
    # As `_facts_of` does: a value that is null repeats another where the column has such numbers.
    number = np.where(present_rows(last_number), doubles_of(last_number), last)
    finite = np.where(present_rows(last_finite), doubles_of(last_finite), number)
    found = MetricColumns(
        **counted,
        first_step=stored_integers(steps[0])[kept],
        last_step=stored_integers(steps[1])[kept],
        last_finite=canonical_doubles(finite[kept]),
        has_finite=present_rows(last_finite)[kept] | (numbers != counted["nonfinite"]),
    )
    return found, kept, present_rows(flat(table.column("rest")))[kept]


def number_columns(rows: Mask, names: frozenset[str], table: pa.Table) -> tuple[NumberColumns, Mask]:
    """Return the numbers of columns that have any, each with its row as its run, and which have a rest."""
    counts = present_integers(flat(table.column("numbers")))
    known, metric, kept = _wanted(rows & (counts > 0), names, table)

    def present(name: str) -> Mask:
        return present_rows(flat(table.column(name)))[kept]

    def doubles(name: str) -> Floats:
        return doubles_of(flat(table.column(name)))[kept]

    def integers(name: str) -> Ints:
        return stored_integers(flat(table.column(name)))[kept]

    found = NumberColumns(
        names=known,
        name=metric,
        run=kept,
        numbers=counts[kept],
        nonfinite=present_integers(flat(table.column("nonfinite")))[kept],
        numeric=counts[kept] == integers("count"),
        # A value that is null repeats another one.
        value=np.where(present("last_number"), doubles("last_number"), doubles("last")),
        x=np.where(present("last_number_step"), integers("last_number_step"), integers("last_step")),
        ranged=present("min"),
        min=doubles("min"),
        min_step=integers("min_step"),
        max=doubles("max"),
        max_step=integers("max_step"),
        exact={},
    )
    return found, present("rest")


SCHEMA_COLUMNS = (
    "metric",
    "type",
    "count",
    "nonfinite",
    "first_step",
    "last_step",
    "interval",
    "min",
    "max",
    "rest",
)
"""The columns of a schema."""

_EXTREMES = ("min", "max")

VALUES = ("first", "last", "last_number", "last_finite", *_EXTREMES)
"""The columns of values, which are in `rest` where they are not exactly doubles."""


def rest_values(text: str) -> dict[str, Any]:
    """Return the values in a text of `rest`, canonical.

    Raises:
        DataError: It is not an object of such values.
    """
    values = parse_json(text)
    if not isinstance(values, dict) or not values.keys() <= set(VALUES):
        raise DataError(f"a rest is not an object of facts: {text[:80]!r}")
    return canon_record(values)


def unrepeated(values: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Return values, None for each that is the same as the other value of its row."""
    return [None if _repeats(value, other) else value for value, other in zip(values, others, strict=True)]


def _repeats(value: object, other: object) -> bool:
    """Whether two values are the same; NaN is NaN, and 1 is not true."""
    return (value == other and type(value) is type(other)) or (value != value and other != other)


def filled(values: Sequence[Any], repeated: Sequence[Any], *, where: Sequence[int]) -> list[Any]:
    """Return values with those filled that repeat others, in the rows that have any."""
    return [
        other if value is None and count else value
        for value, other, count in zip(values, repeated, where, strict=True)
    ]


def schema_columns(rows: Mask, names: frozenset[str], table: pa.Table) -> SchemaColumns:
    """Return what schemas say of columns in these rows."""
    counted, kept = _counted(rows, names, table)
    ranges = {}
    for name in ("first_step", "last_step", "interval", *_EXTREMES):
        array = flat(table.column(name))
        values = stored_integers(array) if name.endswith("_step") else doubles_of(array)
        ranges[name] = values[kept], present_rows(array)[kept]
    rests = one_array(table.column("rest"))
    texts = text_list(rests)
    # `np.unique` imports another part of numpy, which takes longer.
    used = np.flatnonzero(np.bincount(dictionary_codes(rests)[kept] + 1, minlength=1)[1:])
    others = {name for code in used.tolist() for name in rest_values(texts[code])}
    doubles = [ranges[name] for name in ("interval", *_EXTREMES)]
    return SchemaColumns(
        **counted,
        ranges=ranges,
        exact=others.isdisjoint(_EXTREMES)
        and not any(np.isnan(values[present]).any() for values, present in doubles),
    )


PLAIN_COLUMNS = (
    "metric",
    "type",
    *_COUNTS,
    "first_step",
    "last_step",
    "interval",
    "first",
    "last",
    "last_number",
    "last_number_step",
    "last_finite",
    "min",
    "min_step",
    "max",
    "max_step",
    "rest",
)
"""The columns of all facts."""

_PLAIN_TYPES = ("number", "int")


@dataclass(frozen=True, slots=True, eq=False)
class PlainRows:
    """The rows of a row group as `PlainFacts` has them.

    Attributes:
        names: The name of each row.
        plain: Which rows can be said like this.
        integers: The integers of each row; arbitrary where it is not plain.
        doubles: Its doubles, likewise.
    """

    names: list[str]
    plain: Mask
    integers: Ints
    doubles: Floats

    def hash(self, rows: slice) -> bytes | None:
        """Return the hash of the facts in some rows; None if one of them is not plain."""
        if not self.plain[rows].all():
            return None
        return hash_of_plain_facts(tuple(self.names[rows]), self.integers[rows], self.doubles[rows])


def plain_rows(table: pa.Table) -> PlainRows:
    """Return all facts of a row group as arrays."""
    arrays = {name: flat(table.column(name)) for name in PLAIN_COLUMNS if name not in ("metric", "type")}
    metrics, types = one_array(table.column("metric")), one_array(table.column("type"))
    codes = dictionary_codes(types)
    words = text_list(types)
    integral = np.array([word == "int" for word in words], np.bool_)[codes]
    plain = np.array([word in _PLAIN_TYPES for word in words], np.bool_)[codes]
    counts = present_integers(arrays["count"])
    plain &= (present_integers(arrays["numbers"]) == counts) & (present_integers(arrays["nonfinite"]) == 0)
    for name in ("last_number", "last_number_step", "last_finite", "rest"):
        plain &= ~present_rows(arrays[name])
    for name in (*INTEGERS[2:], *DOUBLES[1:]):
        plain &= present_rows(arrays[name])
    doubles = np.column_stack([doubles_of(arrays[name]) for name in DOUBLES]) + 0.0
    # A stored NaN is not a missing interval.
    known = present_rows(arrays["interval"])
    plain &= (np.abs(doubles[:, 1:]) < EXACT).all(axis=1) & (known != np.isnan(doubles[:, 0]))
    doubles[~known, 0] = np.nan
    steps = [stored_integers(arrays[name]) for name in INTEGERS[2:]]
    names = text_list(metrics)
    return PlainRows(
        names=list(map(names.__getitem__, dictionary_codes(metrics).tolist())),
        plain=plain,
        integers=np.column_stack([integral, counts, *steps]),
        doubles=doubles,
    )


def names_by_run(rows: Sequence[int], table: pa.Table) -> Sequence[tuple[str, ...]]:
    """Return the names in a table from each of these rows to the next, in which most runs are alike."""
    array = one_array(table.column("metric"))
    texts, codes = [*text_list(array), None], dictionary_codes(array)
    known: dict[bytes, tuple[str, ...]] = {}
    found = []
    for start, end in pairwise(rows):
        alike = codes[start:end].tobytes()
        names = known.get(alike)
        if names is None:
            names = known[alike] = tuple(str(texts[code]) for code in codes[start:end].tolist())
        found.append(names)
    return found


def one_array(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a column of texts as one array with one dictionary."""
    chunks = column.unify_dictionaries().chunks if column.num_chunks > 1 else column.chunks
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)


def text_list(array: pa.DictionaryArray) -> list[str]:
    """Return the distinct texts of a column."""
    if array.dictionary.nbytes > MAX_TEXT:
        raise DataError(f"its text takes more than {MAX_TEXT} bytes")
    texts: list[str] = array.dictionary.to_pylist()
    return texts
