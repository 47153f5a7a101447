"""The rows of a long history to show; they are neither random nor simply every n-th row.

A sample keeps the first and the last row, the rows that a caller pins, and for every metric the rows of its
least and greatest value and all rows in which it is not finite. Then come spikes, as far as they fit. The
remaining rows are spread evenly over the complete history, with the least and the greatest value of each
stretch. The same rows give the same sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Rows: TypeAlias = npt.NDArray[np.intp]
Metric: TypeAlias = tuple[Floats, Mask]
"""A metric's numbers, and where a cell is a number."""

_SPIKE = 10.0
"""A value is a spike if it is above or below both neighbours by this many times the median step."""
_MOST_SPIKES = 0.02
"""A metric of which a greater share of the values are spikes is noisy, and has none."""
_FEW_SPIKES = 3
_STEPS_COMPARED = 10_000
_TRIES = 8
"""How many metrics are searched for extremes of a stretch before its first row is taken instead."""


def sample_rows(metrics: Sequence[Metric], *, length: int, limit: int, pinned: Iterable[int] = ()) -> Rows:
    """Return the rows to show, ascending: `limit` of them, or more where more must be shown.

    Args:
        metrics: Per metric its numbers and where a cell is a number, each of `length` cells.
        length: How many rows there are.
        limit: How many to show.
        pinned: Rows to show in any case.
    """
    if length <= limit:
        return np.arange(length, dtype=np.intp)
    chosen = np.zeros(length, np.bool_)
    for tier in _tiers(metrics, length, pinned):
        chosen[tier] = True
    spikes = spike_rows(metrics)
    spikes = spikes[~chosen[spikes]]
    chosen[_spread(spikes, limit - int(np.count_nonzero(chosen)))] = True
    _fill(chosen, metrics, limit)
    return np.flatnonzero(chosen)


def rank_rows(metrics: Sequence[Metric], *, length: int, pinned: Iterable[int] = ()) -> Rows:
    """Return all rows, the most informative first, for a budget that takes the first few.

    The ends and the pinned rows come first, then extremes, then the edges of stretches that are not finite,
    then the rest of those stretches, then spikes, then all others. The first rows of each kind are evenly
    spread over it.

    Args:
        metrics: As for `sample_rows`.
        length: How many rows there are.
        pinned: Rows that count as much as the first and the last.
    """
    ranked = []
    left = np.ones(length, np.bool_)
    for tier in (*_tiers(metrics, length, pinned), spike_rows(metrics), np.arange(length)):
        rows = np.unique(np.asarray(tier, np.intp))
        rows = rows[left[rows]]
        left[rows] = False
        ranked.append(rows[_evenly(len(rows))])
    return np.concatenate(ranked)


def spike_rows(metrics: Sequence[Metric]) -> Rows:
    """Return the rows, ascending, in which a metric is far above or far below its values before and after.

    Args:
        metrics: As for `sample_rows`.
    """
    found = [_spikes(values, numeric) for values, numeric in metrics]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.intp)


def _spikes(values: Floats, numeric: Mask) -> Rows:
    rows = np.flatnonzero(numeric & np.isfinite(values))
    levels = values[rows]
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.diff(levels)
        sizes = np.abs(steps[:: max(len(steps) // _STEPS_COMPARED, 1)])
        if len(sizes) < 3 or not np.isfinite(least := _SPIKE * float(np.median(sizes))):
            return np.empty(0, np.intp)
        up, down = steps > least, steps < -least
        found = rows[1:-1][(up[:-1] & down[1:]) | (down[:-1] & up[1:])]
    return found if len(found) <= max(_MOST_SPIKES * len(rows), _FEW_SPIKES) else np.empty(0, np.intp)


def _evenly(count: int) -> Rows:
    """Return the numbers below `count` in bit-reversed order, so that the first n are evenly spread."""
    return _evenly_few(count) if count <= _FEW else _bit_reversed(count)


def _bit_reversed(count: int) -> Rows:
    numbers = np.arange(count)
    reversed_bits = np.zeros(count, np.int64)
    for bit in range(max(count - 1, 0).bit_length()):
        reversed_bits = (reversed_bits << 1) | ((numbers >> bit) & 1)
    return np.argsort(reversed_bits, kind="stable")


# Histories of one length are common.
_evenly_few = lru_cache(maxsize=64)(_bit_reversed)
_FEW = 4096


def _tiers(metrics: Sequence[Metric], length: int, pinned: Iterable[int]) -> Iterable[Sequence[int] | Rows]:
    """Return the rows that must be shown, the most important kind first."""
    yield [0, length - 1] if length else []
    yield [row for row in pinned if 0 <= row < length]
    yield list(chain.from_iterable(_extreme_rows(values, numeric) for values, numeric in metrics))
    lost = [mask for values, numeric in metrics if (mask := numeric & ~np.isfinite(values)).any()]
    yield np.concatenate([_edges(mask) for mask in lost]) if lost else []
    yield np.flatnonzero(np.logical_or.reduce(lost)) if lost else []


def _extreme_rows(values: Floats, numeric: Mask) -> tuple[int, ...]:
    finite = numeric & np.isfinite(values)
    if len(finite) and finite.all():
        return int(values.argmin()), int(values.argmax())
    found = np.flatnonzero(finite)
    if not len(found):
        return ()
    return int(found[np.argmin(values[found])]), int(found[np.argmax(values[found])])


def _edges(mask: Mask) -> Rows:
    """Return the first and last row of every stretch in which the mask is true."""
    padded = np.concatenate(([False], mask, [False]))
    turns = np.flatnonzero(padded[1:] != padded[:-1])
    return np.concatenate((turns[::2], turns[1::2] - 1))


def _spread(rows: Rows, most: int) -> Rows:
    """Return at most `most` of the rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, max(most, 0)).round().astype(np.intp)]


def _fill(chosen: Mask, metrics: Sequence[Metric], limit: int) -> None:
    """Choose further rows until there are `limit`: two per stretch, then evenly spread ones."""
    stretches = max((limit - int(np.count_nonzero(chosen))) // 2, 0)
    edges = np.linspace(0, len(chosen), stretches + 1).round().astype(np.intp).tolist()
    for number, (start, stop) in enumerate(pairwise(edges)):
        for attempt in range(min(len(metrics), _TRIES)):
            values, numeric = metrics[(number + attempt) % len(metrics)]
            if rows := _extreme_rows(values[start:stop], numeric[start:stop]):
                chosen[[start + row for row in rows]] = True
                break
        else:
            chosen[start:stop][:1] = True
    rest = np.flatnonzero(~chosen)
    chosen[_spread(rest, limit - int(np.count_nonzero(chosen)))] = True
