"""Batches as pandas data frames, for `Run.history`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from pull_logs.rows.arrays import flat
from pull_logs.rows.batches import RESIDUAL, residual_rows
from pull_logs.rows.canonical import STEP

_ALONE = 16_384
"""Rows up to which one thread makes a frame sooner than several, which must be started first."""


def to_frame(table: pa.Table, columns: Collection[str] | None = None) -> pd.DataFrame:
    """Return a data frame with one column per key, `_step` first; `Run.history` describes the types.

    Args:
        table: The batch, including the residual column where the history has one.
        columns: The keys wanted besides `_step`; all when None.
    """
    typed = table.select([name for name in table.column_names if name != RESIDUAL])
    series = {name: _wide_integers(column) for name, column in _columns(typed) if _is_sparse(column)}
    for name, cells in _residual_cells(table).items():
        if columns is None or name == STEP or name in columns:
            held = table.column(name).to_pylist() if name in typed.column_names else [None] * len(table)
            series[name] = pd.Series([cells.get(row, value) for row, value in enumerate(held)], dtype=object)
    frame = typed.to_pandas(use_threads=len(typed) > _ALONE)
    if not series:
        return frame
    order = [STEP, *sorted({*typed.column_names, *series} - {STEP})]
    return pd.DataFrame({name: series[name] if name in series else frame[name] for name in order})


def _columns(table: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    return zip(table.column_names, table.columns, strict=True)


def _is_sparse(column: pa.ChunkedArray) -> bool:
    """Return whether these are integers, some of them missing: Arrow would convert them to floats."""
    return bool(column.type == pa.int64() and column.null_count)


def _wide_integers(column: pa.ChunkedArray) -> pd.Series:
    return pd.Series(column.to_pylist(), dtype="Int64")


def _residual_cells(table: pa.Table) -> Mapping[str, Mapping[int, Any]]:
    """Return the cells of the residual column: key, then row, then value."""
    cells: dict[str, dict[int, Any]] = {}
    if RESIDUAL in table.column_names:
        for row, _, members in residual_rows(flat(table.column(RESIDUAL))):
            for name, value in members.items():
                cells.setdefault(name, {})[row] = value
    return cells
