"""Histories as the live side of W&B's API gives them: pages, samples, keys.

A window is two steps, the first inclusive; where it holds more rows than were
asked for, rows are taken out of it evenly, its first and last among them (read
API facts, section 3.5).
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

Places = npt.NDArray[np.int64]
T = TypeVar("T")

_SPEC = ("minStep", "maxStep", "samples")
_KIND_NAMES = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "map"}


@dataclass(frozen=True)
class Table:
    """The whole history of a run in bundle shape, and what is asked of it again and again.

    Attributes:
        rows: Columns as `batch_from_rows` gives them, sorted by `_step`.
    """

    rows: pa.Table

    @cached_property
    def steps(self) -> Places:
        """The step of each row."""
        steps: Places = self.rows.column(STEP).to_numpy()
        return steps

    @cached_property
    def residual(self) -> Mapping[int, Mapping[str, Any]]:
        """What does not fit a column, by row: canonical members."""
        if RESIDUAL not in self.rows.column_names:
            return {}
        texts = flat(self.rows.column(RESIDUAL))
        return {row: members for row, _, members in residual_rows(texts)}

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys that at least one row has."""
        names = {name for name in self.rows.column_names if name != RESIDUAL}
        return frozenset(names.union(*self.residual.values()))

    def window(self, min_step: int | None, stop_step: int | None) -> Places:
        """The places of the rows from `min_step` on and before `stop_step`."""
        first = 0 if min_step is None else int(np.searchsorted(self.steps, min_step))
        stop = len(self.steps) if stop_step is None else int(np.searchsorted(self.steps, stop_step))
        return np.arange(first, max(first, stop), dtype=np.int64)

    def having(self, places: Places, keys: Sequence[str]) -> Places:
        """Those of the places whose rows have all the keys."""
        for key in keys:
            has = np.zeros(len(self.steps), dtype=bool)
            if key in self.rows.column_names and key != RESIDUAL:
                has |= self.rows.column(key).is_valid().to_numpy()
            has[[place for place, members in self.residual.items() if key in members]] = True
            places = places[has[places]]
        return places

    def take(self, places: Places, keys: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The rows at these places, with only those keys if any are named."""
        if keys is None:
            return list(batch_rows(self.rows.take(places)))
        columns = [name for name in self.rows.column_names if name == RESIDUAL or name in keys]
        if not columns:
            return [{} for _ in places]
        return list(batch_rows(self.rows.select(columns).take(places), keys))


def thin(places: Places, samples: int | None) -> Places:
    """At most `samples` of the places, evenly; all of them without a number."""
    if samples is None or len(places) <= samples:
        return places
    return places[np.linspace(0, len(places) - 1, max(samples, 0)).round().astype(np.int64)]


def thin_rows(rows: Sequence[T], samples: int | None) -> list[T]:
    """At most `samples` of the rows, evenly."""
    return [rows[at] for at in thin(np.arange(len(rows)), samples).tolist()]


def page(table: Table, *, min_step: int | None, stop_step: int | None, samples: int | None) -> list[str]:
    """The rows from `min_step` on and before `stop_step`, as JSON strings."""
    chosen = table.rows.take(thin(table.window(min_step, stop_step), samples))
    if _is_plain_json(chosen):
        return [orjson.dumps(row, option=orjson.OPT_SORT_KEYS).decode() for row in batch_rows(chosen)]
    return [canonical_text(row) for row in batch_rows(chosen)]


def _is_plain_json(rows: pa.Table) -> bool:
    """Whether the quick encoder may write the rows: it makes null of NaN and does not know huge integers."""
    columns = [column for column in rows.columns if pa.types.is_float64(column.type)]
    return RESIDUAL not in rows.column_names and all(
        pc.all(pc.is_finite(column), min_count=0).as_py() for column in columns
    )


def sampled(table: Table, spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that one spec of `sampledHistory` asks for, as JSON objects; `maxStep` is inclusive.

    A spec with keys gets only the rows that have all of them. SDKs before 0.26
    ask for pages of as many steps as samples and take `maxStep` for exclusive:
    for such a spec it is, so that they see no row twice and miss none.
    """
    keys = list(dict.fromkeys(map(str, spec.get("keys") or ()))) or None
    first, last, samples = (None if value is None else int(value) for value in map(spec.get, _SPEC))
    stop = None if last is None else last + 1
    if first is not None and last is not None and last - first == samples:
        stop = last
    places = table.window(first, stop)
    if keys is not None:
        places = table.having(places, keys)
    rows = table.take(thin(places, samples), keys)
    return [strict_json(row) for row in rows]


def live_data(table: Table, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The given keys of every row, as JSON objects."""
    if list(keys) == [STEP]:
        return [{STEP: step} for step in table.steps.tolist()]
    return [strict_json(row) for row in table.take(table.window(None, None), keys)]


def strict_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A canonical row with NaN and the infinities as the strings that W&B sends for them."""
    spelled: dict[str, Any] = json.loads(canonical_text(row))
    return spelled


def history_keys(table: Table, *, last_step: int | None = None) -> dict[str, Any] | None:
    """What a run's `historyKeys` tells of each key; None for a run without rows.

    Args:
        table: Its rows.
        last_step: The step that it is told to go to, where that is behind its last row.
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
