"""Batches as pandas data frames, for `Run.history` and `Bundle.long_frame`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from pull_logs.rows.arrays import flat, present_doubles, present_rows, python_values
from pull_logs.rows.batches import RESIDUAL, residual_rows, steps_of
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


_TIMES = ("created_at", "heartbeat_at")
_COUNTS = ("rows", "first_step", "last_step", "promised_rows", "promised_last_step")


def to_runs_frame(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Return a data frame with one row per run; `Bundle.runs_frame` describes the types.

    Args:
        columns: The values of all runs by the name of the column; `path` is one of them.
    """
    index = pd.Index(columns["path"], name="run")
    series = {name: _runs_column(name, values) for name, values in columns.items()}
    return pd.DataFrame({name: column.set_axis(index) for name, column in series.items()}, index=index)


def _runs_column(name: str, values: Sequence[Any]) -> pd.Series:
    kinds = {type(value) for value in values if value is not None}
    if name in _TIMES and kinds <= {str}:
        with suppress(ValueError):  # a time that no calendar has stays text, with those beside it
            return pd.Series(pd.to_datetime(list(values), utc=True, format="ISO8601"))
    if None in values:
        if kinds == {bool}:
            return pd.Series(values, dtype="boolean")
        if (kinds == {int} or (name in _COUNTS and not kinds)) and _fit(values):
            return pd.Series(values, dtype="Int64")
    plain = len(kinds) <= 1 and kinds <= {str, bool, float, int} and (kinds != {int} or _fit(values))
    numbers = kinds == {int, float} and all(map(_is_double, values))
    return pd.Series(values) if plain or numbers else pd.Series(values, dtype=object)


def _is_double(value: Any) -> bool:
    """Return whether a number, or a missing value, can be in a column of floats."""
    return not isinstance(value, int) or abs(value) <= 2**53


def _fit(values: Sequence[Any]) -> bool:
    """Return whether all integers of a column fit into 64 bits."""
    return all(value is None or -(2**63) <= value < 2**63 for value in values)


@dataclass(slots=True)
class _Long:
    """The cells of several runs, one after the other: parts of equal length."""

    metrics: dict[str, int] = field(default_factory=dict)
    runs: list[int] = field(default_factory=list)
    names: list[int] = field(default_factory=list)
    steps: list[npt.NDArray[np.int64]] = field(default_factory=list)
    cells: list[npt.NDArray[Any]] = field(default_factory=list)

    def add(self, run: int, name: str, steps: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> None:
        """Add the cells of one key of a run."""
        self.runs.append(run)
        self.names.append(self.metrics.setdefault(name, len(self.metrics)))
        self.steps.append(steps)
        self.cells.append(values)

    def codes(self, which: list[int]) -> npt.NDArray[np.int64]:
        """Return one of `runs` and `names` for every cell."""
        return np.repeat(np.array(which, np.int64), [len(part) for part in self.steps])


def to_long_frame(
    runs: Sequence[str], tables: Iterable[pa.Table], columns: Collection[str] | None = None
) -> pd.DataFrame:
    """Return a data frame with one row per cell; `Bundle.long_frame` describes it.

    Args:
        runs: The path of each run.
        tables: The batch of each run.
        columns: The keys wanted besides `_step`; all when None.
    """
    found = _Long()
    for run, table in enumerate(tables):
        for name, steps, values in _cells(table, columns):
            found.add(run, name, steps, values)
    kind = np.dtype(object if any(part.dtype == object for part in found.cells) else np.float64)
    return pd.DataFrame(
        {
            "run": pd.Categorical.from_codes(found.codes(found.runs), list(runs)),
            "step": np.concatenate([np.zeros(0, np.int64), *found.steps]),
            "metric": pd.Categorical.from_codes(found.codes(found.names), list(found.metrics)),
            "value": np.concatenate([np.zeros(0, kind), *(part.astype(kind) for part in found.cells)]),
        }
    )


def _cells(
    table: pa.Table, columns: Collection[str] | None
) -> Iterator[tuple[str, npt.NDArray[np.int64], npt.NDArray[Any]]]:
    """Yield each key of a batch with the steps and the values of its cells, in the order of the keys."""
    steps, residual = steps_of(table), _residual_cells(table)
    typed = {name: flat(column) for name, column in _columns(table) if name not in (STEP, RESIDUAL)}
    for name in sorted({*typed, *residual} - {STEP}):
        if columns is not None and name not in columns:
            continue
        array, others = typed.get(name), residual.get(name, {})
        if array is not None and pa.types.is_float64(array.type) and not others:
            yield name, steps[present_rows(array)], present_doubles(array)
            continue
        held = [] if array is None else python_values(array)
        cells = {row: value for row, value in enumerate(held) if value is not None} | dict(others)
        rows = sorted(cells)
        values = np.empty(len(rows), object)
        values[:] = [cells[row] for row in rows]
        yield name, steps[rows], values


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
