"""Fragments of one history into one row per step: law 2 on batches.

The rows are those of `canon.merge_rows` on all rows of all fragments. Most
fragments do not overlap, and where they do the rows are mostly the same twice (a
live page repeats the last rows of an export), so Python looks only at the
steps whose rows disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pull_logs.rows.batches import batch_from_rows, batch_rows, steps_of, take_apart
from pull_logs.rows.canonical import STEP, Fragment, Lane, merge_rows
from pull_logs.rows.cells import Ints, Mask, dense, flat
from pull_logs.rows.layout import Survey, lay_out

_ARGUED = 8192
"""Rows that disagree which are Python rows at a time, about."""


@dataclass(frozen=True, slots=True)
class LanedBatch:
    """A batch and the lane its rows came by."""

    lane: Lane
    batch: pa.Table


def merge_batches(fragments: Sequence[LanedBatch]) -> Iterator[pa.Table]:
    """The rows of all fragments, one per step, in step order.

    Args:
        fragments: Batches of one history, each in step order, in any order; their steps may overlap, and a
            step may be in one of them more than once.

    Yields:
        Batches of any size whose steps follow each other. Each has its own columns.

    Raises:
        DataError: A residual column is not what a batch may hold.
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
    """The rows of fragments whose steps overlap, those outside of the overlap as they are."""
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
    yield _settle([fragment for fragment in within if fragment.batch.num_rows])
    yield from merge_batches(above)


def _settle(cluster: Sequence[LanedBatch]) -> pa.Table:
    """One row per step of fragments that have steps in common."""
    table, lanes = _stack(cluster)
    steps = steps_of(table)
    follows = np.concatenate(([False], steps[1:] == steps[:-1]))
    odd = follows & ~_repeats(table)
    group = np.cumsum(~follows) - 1
    disputed = np.zeros(int(group[-1]) + 1, dtype=np.bool_)
    disputed[group[odd]] = True
    if not disputed.any():
        return table.filter(pa.array(~follows))
    argued = disputed[group]
    agreed = table.filter(pa.array(~follows & ~argued))
    settled = _argue(table.filter(pa.array(argued)), lanes[argued])
    merged, _ = _stack([LanedBatch(Lane.LIVE, batch) for batch in (agreed, *settled)])
    return merged


def _argue(table: pa.Table, lanes: Ints) -> Iterator[pa.Table]:
    """One row per step of rows that disagree; some at a time, for Python's rows take much memory."""
    steps = steps_of(table)
    start = 0
    while start < len(steps):
        reach = steps[min(start + _ARGUED, len(steps)) - 1]
        end = int(np.searchsorted(steps, reach, "right"))
        rows = batch_rows(table.slice(start, end - start))
        held = lanes[start:end].tolist()
        yield batch_from_rows(
            merge_rows([Fragment(Lane(lane), row) for lane, row in zip(held, rows, strict=True)])
        )
        start = end


def _stack(fragments: Sequence[LanedBatch]) -> tuple[pa.Table, Ints]:
    """All rows in the columns that fit them as a whole, in step order, and the lane of each."""
    survey = Survey(steps=True)
    parts = [take_apart(fragment.batch) for fragment in fragments]
    for part in parts:
        survey.add(part)
    layout = survey.layout()
    table = pa.concat_tables([lay_out(part, layout) for part in parts])
    lanes = np.repeat([int(fragment.lane) for fragment in fragments], [part.length for part in parts])
    order = np.argsort(steps_of(table), kind="stable")
    return table.take(pa.array(order)), lanes[order].astype(np.int64)


def _repeats(table: pa.Table) -> Mask:
    """Which rows are, cell for cell, the row before; the first is not."""
    same = np.ones(table.num_rows, dtype=np.bool_)
    same[:1] = False
    for column in table.columns:
        array = flat(column)
        here, before = array.slice(1), array.slice(0, len(array) - 1)
        equal = pc.equal(here, before).fill_null(False)
        if pa.types.is_floating(array.type):
            nans = pc.is_nan(here).fill_null(False), pc.is_nan(before).fill_null(False)
            equal = pc.or_(equal, pc.and_(*nans))
        both_null = pc.and_(pc.is_null(here), pc.is_null(before))
        same[1:] &= dense(pc.or_(equal, both_null))
    return same
