"""Histories as the live side of W&B's API serves them: pages, samples, keys.

A window is given by two steps, the first inclusive. Where it holds more rows than requested, rows are picked
at even distances, its first and last row among them. See docs/protocol.md, "History".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pull_logs.rows.arrays import flat
from pull_logs.rows.batches import RESIDUAL, batch_rows, residual_rows
from pull_logs.rows.canonical import STEP, canonical_text

Indices = npt.NDArray[np.int64]
T = TypeVar("T")

_SPEC = ("minStep", "maxStep", "samples")
_KIND_NAMES = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "map"}


@dataclass(frozen=True)
class Table:
    """The complete history of a run, with the lookups that answers share.

    Attributes:
        rows: Columns in the layout of `batch_from_rows`, sorted by `_step`.
    """

    rows: pa.Table

    @cached_property
    def steps(self) -> Indices:
        """The step of each row."""
        steps: Indices = self.rows.column(STEP).to_numpy()
        return steps

    @cached_property
    def residual(self) -> Mapping[int, Mapping[str, Any]]:
        """The canonical values that do not fit a column, by row."""
        if RESIDUAL not in self.rows.column_names:
            return {}
        texts = flat(self.rows.column(RESIDUAL))
        return {row: members for row, _, members in residual_rows(texts)}

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys that at least one row has."""
        names = {name for name in self.rows.column_names if name != RESIDUAL}
        return frozenset(names.union(*self.residual.values()))

    def window(self, min_step: int | None, stop_step: int | None) -> Indices:
        """Return the indices of the rows from `min_step` on and before `stop_step`."""
        first = 0 if min_step is None else int(np.searchsorted(self.steps, min_step))
        stop = len(self.steps) if stop_step is None else int(np.searchsorted(self.steps, stop_step))
        return np.arange(first, max(first, stop), dtype=np.int64)

    @cached_property
    def residual_values(self) -> int:
        """The number of values that do not fit a column."""
        return sum(map(len, self.residual.values()))

    @cached_property
    def _residual_indices(self) -> Mapping[str, Indices]:
        """The rows that have each key of the residual."""
        found: dict[str, list[int]] = {}
        for row, members in self.residual.items():
            for key in members:
                found.setdefault(key, []).append(row)
        return {key: np.array(rows, dtype=np.int64) for key, rows in found.items()}

    def having(self, indices: Indices, keys: Sequence[str]) -> Indices:
        """Return those of the indices whose rows have all the keys."""
        for key in keys:
            has = np.zeros(len(self.steps), dtype=bool)
            if key in self.rows.column_names and key != RESIDUAL:
                has |= self.rows.column(key).is_valid().to_numpy()
            if key in self._residual_indices:
                has[self._residual_indices[key]] = True
            indices = indices[has[indices]]
        return indices

    def take(self, indices: Indices, keys: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return the rows at these indices, with only the given keys if there are any."""
        if keys is None:
            return list(batch_rows(self.rows.take(indices)))
        columns = [name for name in self.rows.column_names if name == RESIDUAL or name in keys]
        if not columns:
            return [{} for _ in indices]
        return list(batch_rows(self.rows.select(columns).take(indices), keys))


def thin(indices: Indices, samples: int | None) -> Indices:
    """Return at most `samples` of the indices, evenly spaced; all of them for None."""
    if samples is None or len(indices) <= samples:
        return indices
    return indices[np.linspace(0, len(indices) - 1, max(samples, 0)).round().astype(np.int64)]


def thin_rows(rows: Sequence[T], samples: int | None) -> list[T]:
    """Return at most `samples` of the rows, evenly spaced."""
    return [rows[at] for at in thin(np.arange(len(rows)), samples).tolist()]


def page(table: Table, indices: Indices) -> list[str]:
    """Return the rows at these indices, as JSON strings."""
    chosen = table.rows.take(indices)
    if _is_plain_json(chosen):
        return [orjson.dumps(row, option=orjson.OPT_SORT_KEYS).decode() for row in batch_rows(chosen)]
    return [canonical_text(row) for row in batch_rows(chosen)]


def _is_plain_json(rows: pa.Table) -> bool:
    """Return whether orjson can write the rows: it writes NaN as null and rejects huge integers."""
    columns = [column for column in rows.columns if pa.types.is_float64(column.type)]
    return RESIDUAL not in rows.column_names and all(
        pc.all(pc.is_finite(column), min_count=0).as_py() for column in columns
    )


def sampled_indices(table: Table, spec: Mapping[str, Any], keys: Sequence[str] | None) -> Indices:
    """Return the indices of the rows for one spec of `sampledHistory`; `maxStep` is inclusive.

    A spec with keys gets only the rows that have all of them. SDKs before 0.26 request pages of as many
    steps as samples and treat `maxStep` as exclusive; it is exclusive for such a spec, so that they read
    each row once.
    """
    first, last, samples = (None if value is None else int(value) for value in map(spec.get, _SPEC))
    stop = None if last is None else last + 1
    if first is not None and last is not None and last - first == samples:
        stop = last
    indices = table.window(first, stop)
    if keys is not None:
        indices = table.having(indices, keys)
    return thin(indices, samples)


def json_rows(table: Table, indices: Indices, keys: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return the rows at these indices as JSON objects, with only the given keys if there are any."""
    return [strict_json(row) for row in table.take(indices, keys)]


def live_data(table: Table, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return the given keys of every row, as JSON objects."""
    if list(keys) == [STEP]:
        return [{STEP: step} for step in table.steps.tolist()]
    return [strict_json(row) for row in table.take(table.window(None, None), keys)]


def strict_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a canonical row with NaN and the infinities as the strings that W&B sends for them."""
    spelled: dict[str, Any] = json.loads(canonical_text(row))
    return spelled


def history_keys(table: Table, *, last_step: int | None = None) -> dict[str, Any] | None:
    """Return a run's `historyKeys`: the types and counts of each key; None for a run without rows.

    Args:
        table: The rows of the run.
        last_step: The last step that W&B promised, where that is after the last row.
    """
    if not len(table.steps):
        return None
    counts = {name: _column_counts(table, name) for name in table.rows.column_names if name != RESIDUAL}
    for members in table.residual.values():
        for key, value in members.items():
            kinds = counts.setdefault(key, {})
            kind = _kind_name(value)
            kinds[kind] = kinds.get(kind, 0) + 1
    keys = {
        name: {"typeCounts": [{"type": kind, "count": count} for kind, count in kinds.items() if count]}
        for name, kinds in sorted(counts.items())
    }
    end = int(table.steps[-1])
    return {"keys": keys, "sets": [], "lastStep": end if last_step is None else max(end, last_step)}


def _column_counts(table: Table, name: str) -> dict[str, int]:
    column = table.rows.column(name)
    kind = (
        "boolean"
        if pa.types.is_boolean(column.type)
        else "string"
        if pa.types.is_string(column.type)
        else "number"
    )
    return {kind: len(column) - column.null_count}


def _kind_name(value: Any) -> str:
    if isinstance(value, dict):
        kind = value.get("_type")
        return kind if isinstance(kind, str) else "map"
    return _KIND_NAMES[type(value)]
