"""Merge rows of one step: one row per step, whatever the order in which the rows arrived.

`merge_rows` defines the result, on Python rows. `merge_batches` gives the same rows on batches, without
making Python rows of most of them: most fragments do not overlap, and where they do, the rows are mostly
equal (a live page repeats the last rows of an export). Only the steps whose rows differ go through Python.

See docs/concepts/rows.md, "One row per step".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa

from pull_logs.rows.arrays import Ints, Mask, filter_rows, flat, same_cells, take_rows
from pull_logs.rows.batches import batch_from_rows, batch_rows, steps_of, take_apart
from pull_logs.rows.canonical import STEP, TIMESTAMP, canonical_text
from pull_logs.rows.layout import LayoutBuilder, lay_out

_ROWS_AT_ONCE = 8192
"""About how many rows that differ are Python rows at a time."""


class Lane(IntEnum):
    """The source of a row; on a conflict the greater lane wins."""

    SHARD = 1
    LIVE = 2


@dataclass(frozen=True, slots=True)
class Fragment:
    """A canonical row, or a part of one, and its source."""

    lane: Lane
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LanedBatch:
    """A batch and the source of its rows."""

    lane: Lane
    batch: pa.Table


def merge_rows(fragments: Iterable[Fragment]) -> list[dict[str, Any]]:
    """Merge canonical fragments, in any order, into one row per step, in step order.

    Where fragments of a step conflict on a key, the greater lane wins, then the greater `_timestamp` of the
    fragment, then the greater canonical text (its UTF-8 bytes).
    """
    steps: dict[int, list[Fragment]] = {}
    for fragment in fragments:
        steps.setdefault(fragment.row[STEP], []).append(fragment)
    return [
        dict(found[0].row) if len(found) == 1 else _merge_step(found) for _, found in sorted(steps.items())
    ]


def _merge_step(fragments: Sequence[Fragment]) -> dict[str, Any]:
    ranked: dict[str, tuple[tuple[int, float, bytes], Any]] = {}
    for fragment in fragments:
        timestamp = fragment.row.get(TIMESTAMP)
        if isinstance(timestamp, bool) or not isinstance(timestamp, (int, float)) or timestamp != timestamp:
            timestamp = -math.inf
        for key, value in fragment.row.items():
            rank = (int(fragment.lane), timestamp, canonical_text(value).encode())
            if key not in ranked or rank > ranked[key][0]:
                ranked[key] = (rank, value)
    return {key: value for key, (_, value) in ranked.items()}


def merge_batches(fragments: Sequence[LanedBatch]) -> Iterator[pa.Table]:
    """Merge the rows of all fragments into one row per step, in step order.

    Args:
        fragments: Batches of one history in any order, each in step order; their steps may overlap, and a
            batch may have several rows of one step.

    Yields:
        Batches of any size whose steps follow each other. Each has its own columns.

    Raises:
        DataError: A residual column is not valid.
    """
    filled = [fragment for fragment in fragments if fragment.batch.num_rows]
    filled.sort(key=lambda fragment: int(fragment.batch.column(STEP)[0].as_py()))
    cluster: list[LanedBatch] = []
    reach = 0
    for fragment in filled:
        steps = fragment.batch.column(STEP)
        if cluster and steps[0].as_py() > reach:
            yield from _merge_cluster(cluster)
            cluster = []
        last = steps[-1].as_py()
        reach = max(reach, last) if cluster else last
        cluster.append(fragment)
    if cluster:
        yield from _merge_cluster(cluster)


def _merge_cluster(cluster: Sequence[LanedBatch]) -> Iterator[pa.Table]:
    """Merge fragments whose steps overlap; rows before and after the overlap stay as they are."""
    steps = np.sort(np.concatenate([steps_of(fragment.batch) for fragment in cluster]))
    repeated = steps[1:][steps[1:] == steps[:-1]]
    if not len(repeated):
        yield cluster[0].batch if len(cluster) == 1 else _stack(cluster)[0]
        return
    first, last = int(repeated[0]), int(repeated[-1])
    below, within, above = [], [], []
    for fragment in cluster:
        own = steps_of(fragment.batch)
        start, end = np.searchsorted(own, first, "left"), np.searchsorted(own, last, "right")
        below.append(LanedBatch(fragment.lane, fragment.batch.slice(0, start)))
        within.append(LanedBatch(fragment.lane, fragment.batch.slice(start, end - start)))
        above.append(LanedBatch(fragment.lane, fragment.batch.slice(end)))
    yield from merge_batches(below)
    yield _merge_overlap([fragment for fragment in within if fragment.batch.num_rows])
    yield from merge_batches(above)


def _merge_overlap(cluster: Sequence[LanedBatch]) -> pa.Table:
    """Merge fragments that have steps in common."""
    table, lanes = _stack(cluster)
    steps = steps_of(table)
    follows = np.concatenate(([False], steps[1:] == steps[:-1]))
    differs = follows & ~_repeats(table)
    group = np.cumsum(~follows) - 1
    conflicting = np.zeros(int(group[-1]) + 1, dtype=np.bool_)
    conflicting[group[differs]] = True
    if not conflicting.any():
        return filter_rows(table, ~follows)
    in_conflict = conflicting[group]
    equal = filter_rows(table, ~follows & ~in_conflict)
    merged = _merge_conflicts(filter_rows(table, in_conflict), lanes[in_conflict])
    stacked, _ = _stack([LanedBatch(Lane.LIVE, batch) for batch in (equal, *merged)])
    return stacked


def _merge_conflicts(table: pa.Table, lanes: Ints) -> Iterator[pa.Table]:
    """Merge rows that differ, a part at a time, because Python rows take much memory."""
    steps = steps_of(table)
    start = 0
    while start < len(steps):
        reach = steps[min(start + _ROWS_AT_ONCE, len(steps)) - 1]
        end = int(np.searchsorted(steps, reach, "right"))
        rows = batch_rows(table.slice(start, end - start))
        sources = lanes[start:end].tolist()
        yield batch_from_rows(
            merge_rows([Fragment(Lane(lane), row) for lane, row in zip(sources, rows, strict=True)])
        )
        start = end


def _stack(fragments: Sequence[LanedBatch]) -> tuple[pa.Table, Ints]:
    """Return all rows in step order, in columns that fit all of them, and the lane of each row."""
    builder = LayoutBuilder(steps=True)
    parts = [take_apart(fragment.batch) for fragment in fragments]
    for part in parts:
        builder.add(part)
    layout = builder.layout()
    table = pa.concat_tables([lay_out(part, layout) for part in parts])
    lanes = np.repeat([int(fragment.lane) for fragment in fragments], [part.length for part in parts])
    order = np.argsort(steps_of(table), kind="stable")
    return take_rows(table, order), lanes[order].astype(np.int64)


def _repeats(table: pa.Table) -> Mask:
    """Return which rows equal the row before them, cell for cell; the first does not."""
    same = np.ones(table.num_rows, dtype=np.bool_)
    same[:1] = False
    for column in table.columns:
        array = flat(column)
        same[1:] &= same_cells(array.slice(1), array.slice(0, len(array) - 1))
    return same
