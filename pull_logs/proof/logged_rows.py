"""What became of the rows of a log: which arrived in a stored history, and which did not.

A row that is not stored with its step and values is, in this order:

- `moved`: a row with the same values is stored with another step, and is not a row of that step in the log;
- `overwritten`: its step is stored, with other values;
- `missing`: it is not stored.

A stored row that none of these accounts for is `extra`. Rows with the same values are matched in the order of
their steps. Both histories are read once if they are equal, else up to three times, one row group at a time;
the steps of both are in memory, and a digest of each row that differs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from pull_logs.rows.arrays import filter_rows
from pull_logs.rows.batches import batch_rows, steps_of
from pull_logs.rows.canonical import STEP, canonical_text
from pull_logs.rows.cells import utf8_order
from pull_logs.rows.diff import compare_histories

if TYPE_CHECKING:
    import pyarrow as pa

    from pull_logs.rows.arrays import Ints

RowKind = Literal["missing", "overwritten", "moved", "extra"]

KINDS: tuple[RowKind, ...] = ("missing", "overwritten", "moved", "extra")
"""What can become of rows, in the order in which it is shown."""

MOST_CELLS = 100
"""Cells of overwritten rows that are kept; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRange:
    """Consecutive rows of a history to which the same happened.

    Attributes:
        kind: What happened.
        first: The first step: of the log, or of the stored history if the rows are `extra`.
        last: The last step.
        rows: The number of rows.
        shift: What was added to the steps of rows that were `moved`; else None.
    """

    kind: RowKind
    first: int
    last: int
    rows: int
    shift: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OverwrittenCell:
    """A value of an overwritten row; None where a side has no value."""

    step: int
    key: str
    logged: Any
    stored: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRows:
    """What became of the rows of a log.

    Attributes:
        logged: The number of rows in the log.
        stored: The number of rows in the stored history.
        ranges: The rows that did not arrive as they were logged, by kind and step.
        keys: The number of overwritten rows by key.
        cells: The first cells that were overwritten, at most `MOST_CELLS`.
    """

    logged: int
    stored: int
    ranges: tuple[RowRange, ...] = ()
    keys: Mapping[str, int]
    cells: tuple[OverwrittenCell, ...] = ()

    def count(self, kind: RowKind) -> int:
        """Return the number of rows of a kind."""
        return sum(found.rows for found in self.ranges if found.kind == kind)


Batches: TypeAlias = "Callable[[], Iterable[pa.Table]]"
"""Reads a history from its start: batches in step order, one row per step."""


def trace_rows(logged: Batches, stored: Batches) -> LoggedRows:
    """Return what became of the rows of a log.

    Args:
        logged: The rows of the log.
        stored: The rows of the stored history.

    Raises:
        DataError: Steps do not ascend, or a residual column is not valid.
    """
    steps = _DifferingSteps(logged, stored)
    if not (len(steps.logged) or len(steps.stored)):
        return LoggedRows(logged=len(steps.all_logged), stored=len(steps.all_stored), keys={})
    moved = _moved(logged, stored, steps)
    sources = np.array(list(moved), np.int64)
    targets = np.array(list(moved.values()), np.int64)
    left = np.setdiff1d(steps.logged, sources)
    here = np.isin(left, steps.all_stored)
    overwritten = left[here]
    extra = np.setdiff1d(np.setdiff1d(steps.stored, targets), overwritten)
    keys, cells = _overwritten_cells(logged, stored, overwritten)
    return LoggedRows(
        logged=len(steps.all_logged),
        stored=len(steps.all_stored),
        ranges=(
            *_ranges("missing", left[~here], steps.all_logged),
            *_ranges("overwritten", overwritten, steps.all_logged),
            *_ranges("moved", np.sort(sources), steps.all_logged, moved),
            *_ranges("extra", extra, steps.all_stored),
        ),
        keys=keys,
        cells=cells,
    )


class _DifferingSteps:
    """The steps of two histories, and those of the rows that the other one does not have with these values.

    Attributes:
        all_logged: The steps of the log.
        all_stored: The steps of the stored history.
        logged: The steps of the log whose rows are not stored as they were logged.
        stored: The steps of the stored history whose rows were not logged so.
    """

    def __init__(self, logged: Batches, stored: Batches) -> None:
        here: list[Ints] = []
        there: list[Ints] = []
        all_logged: list[Ints] = []
        all_stored: list[Ints] = []
        for window in compare_histories(logged(), stored()):
            common = steps_of(window.old)
            touched = np.zeros(len(common), dtype=np.bool_)
            for changes in window.keys.values():
                touched |= changes.rows
            changed = common[touched]
            here += window.gone, changed
            there += window.added, changed
            all_logged += window.gone, common
            all_stored += window.added, common
        self.logged, self.stored, self.all_logged, self.all_stored = map(
            _sorted, (here, there, all_logged, all_stored)
        )


def _sorted(parts: Sequence[Ints]) -> Ints:
    return np.sort(np.concatenate([np.empty(0, np.int64), *parts]))


def _moved(logged: Batches, stored: Batches, steps: _DifferingSteps) -> dict[int, int]:
    """Return the new step of each row that is stored with another step, by its step in the log."""
    if not (len(steps.logged) and len(steps.stored)):
        return {}
    free: dict[bytes, deque[int]] = {}
    for step, digest in _digests(stored, steps.stored):
        free.setdefault(digest, deque()).append(step)
    found: dict[int, int] = {}
    for step, digest in _digests(logged, steps.logged):
        if others := free.get(digest):
            found[step] = others.popleft()
    return found


def _digests(batches: Batches, steps: Ints) -> Iterator[tuple[int, bytes]]:
    """Yield the steps of the chosen rows, each with a digest of its values."""
    for row in _chosen_rows(batches, steps):
        step = row.pop(STEP)
        yield step, blake2b(canonical_text(row).encode(), digest_size=16).digest()


def _chosen_rows(batches: Batches, steps: Ints) -> Iterator[dict[str, Any]]:
    """Yield the rows of these steps, in the order of their steps."""
    for batch in batches():
        chosen = np.isin(steps_of(batch), steps)
        if chosen.any():
            yield from batch_rows(filter_rows(batch, chosen))


def _overwritten_cells(
    logged: Batches, stored: Batches, steps: Ints
) -> tuple[dict[str, int], tuple[OverwrittenCell, ...]]:
    """Return the number of overwritten rows by key, and the first cells."""
    if not len(steps):
        return {}, ()
    keys: dict[str, int] = {}
    cells: list[OverwrittenCell] = []
    for window in compare_histories(_filtered(logged, steps), _filtered(stored, steps)):
        found = steps_of(window.old)
        room = MOST_CELLS - len(cells)
        first: list[tuple[int, str]] = []
        for key, changes in window.keys.items():
            rows = np.flatnonzero(changes.rows)
            keys[key] = keys.get(key, 0) + len(rows)
            first += ((row, key) for row in rows[:room].tolist())
        first.sort(key=lambda item: item[0])
        for row, key in first[:room]:
            here, there = window.values(key, row)
            cells.append(OverwrittenCell(step=int(found[row]), key=key, logged=here, stored=there))
    return {key: keys[key] for key in utf8_order(keys)}, tuple(cells)


def _filtered(batches: Batches, steps: Ints) -> Iterator[pa.Table]:
    for batch in batches():
        chosen = np.isin(steps_of(batch), steps)
        if chosen.any():
            yield filter_rows(batch, chosen)


def _ranges(
    kind: RowKind, steps: Ints, history: Ints, moved: Mapping[int, int] | None = None
) -> Iterator[RowRange]:
    """Join rows that follow each other in their history, and were moved alike, to ranges."""
    if not len(steps):
        return
    positions = np.searchsorted(history, steps).tolist()
    shifts = [moved[step] - step if moved else None for step in steps.tolist()]
    breaks = [
        index
        for index in range(1, len(steps))
        if positions[index] != positions[index - 1] + 1 or shifts[index] != shifts[index - 1]
    ]
    for start, end in pairwise([0, *breaks, len(steps)]):
        yield RowRange(
            kind=kind,
            first=int(steps[start]),
            last=int(steps[end - 1]),
            rows=end - start,
            shift=shifts[start],
        )
