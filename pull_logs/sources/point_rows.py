"""The rows of one segment: what a run logged between two starts, as batches in scratch files.

Points are gathered a block at a time. Those of the greatest step of a block wait for the next block, which
may have more of the same step, so that a log in the order of its steps needs no merging.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pull_logs.rows.arrays import Floats, Ints, Mask
from pull_logs.rows.canonical import TIMESTAMP
from pull_logs.rows.cells import Column, column_of_values
from pull_logs.sources.stored_rows import RESERVED, RUNTIME, load_batch, store_batch
from pull_logs.suggestions import joined

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_CELLS = 2**22
"""The most cells of a batch, unless it is one row: many tags with steps of their own have sparse columns."""


_SMALL = 2**15


@dataclass(frozen=True, slots=True)
class Points:
    """Numbers of some tags.

    Attributes:
        tags: The index of the tag of each.
        steps: Its step.
        times: Its time.
        values: The number.
    """

    tags: Ints
    steps: Ints
    times: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class OtherValue:
    """A value that is not a number: text, a list, a histogram, a pointer to a file."""

    tag: str
    step: int
    time: float
    value: Any


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows of a segment.

    Attributes:
        files: The files with its rows.
        first: The least step of each column.
        start: The step from which earlier segments are obsolete; None if the segment names none.
        points: The number of values, before those of one step were put together.
        repeated: How many of them have a later value of the same tag and step.
    """

    files: tuple[Path, ...]
    first: Mapping[str, int]
    start: int | None
    points: int
    repeated: int

    def batches(self, cuts: Mapping[str, int], start: int | None) -> Iterator[tuple[pa.Table, int]]:
        """Read the rows that later segments leave; with each batch, the number of values that they do not.

        Args:
            cuts: The step from which values of a column are obsolete.
            start: The step from which all are.
        """
        for file in self.files:
            yield _cut(load_batch(file), cuts, start)


def _cut(batch: pa.Table, cuts: Mapping[str, int], start: int | None) -> tuple[pa.Table, int]:
    from pull_logs.rows.arrays import filter_rows, present_rows
    from pull_logs.rows.batches import assemble, steps_of, take_apart

    steps = steps_of(batch)
    if start is not None and steps[-1] >= start:
        kept, lost = filter_rows(batch, steps < start), filter_rows(batch, steps >= start)
        shorter, more = _cut(kept, cuts, None) if kept.num_rows else (kept, 0)
        return shorter, more + _cells(lost)
    if not any(cut <= steps[-1] for cut in cuts.values()):
        return batch, 0
    cells = take_apart(batch)
    columns: dict[str, Column] = {}
    present: Mask = np.zeros(batch.num_rows, dtype=np.bool_)
    for name in {*cells.typed, *cells.rest}:
        cut = cuts.get(name)
        keep = np.ones(len(steps), dtype=np.bool_) if cut is None else steps < cut
        typed = _masked(cells.typed.get(name), keep)
        rest = {row: value for row, value in cells.rest.get(name, {}).items() if keep[row]}
        if name not in RESERVED:
            present |= False if typed is None else present_rows(typed)
            present[list(rest)] = True
        columns[name] = Column(typed, rest)
    left = filter_rows(assemble(columns, steps=steps, length=batch.num_rows), present)
    return left, _cells(batch) - _cells(left)


def _masked(array: pa.Array | None, keep: Mask) -> pa.Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if array is None or keep.all():
        return array
    return pc.if_else(pa.array(keep), array, pa.scalar(None, array.type))


def _cells(batch: pa.Table) -> int:
    """Return the number of values of a batch, without the columns that this library adds."""
    from pull_logs.rows.batches import take_apart

    cells = take_apart(batch)
    typed = sum(
        int(len(array) - array.null_count) for name, array in cells.typed.items() if name not in RESERVED
    )
    return typed + sum(len(rest) for name, rest in cells.rest.items() if name not in RESERVED)


@dataclass(slots=True)
class SegmentWriter:
    """Writes the rows of a segment to files of a folder.

    Attributes:
        folder: The folder, which exists.
        tracker: The kind of source, for columns that need another name.
        started: The time of the start of the run, from which `_runtime` counts.
        tags: The index of each tag of `Points`.
        start: See `Segment.start`.
    """

    folder: Path
    tracker: str
    started: float
    tags: Mapping[str, int]
    start: int | None = None
    _files: list[Path] = field(default_factory=list)
    _first: dict[str, int] = field(default_factory=dict)
    _points: int = 0
    _repeated: int = 0
    _held: tuple[Points, Sequence[OtherValue]] | None = None

    def add(self, points: Points, others: Sequence[OtherValue]) -> None:
        """Add the values of a block."""
        if self._held is not None:
            points, others = together(self._held[0], points), [*self._held[1], *others]
            self._held = None
        steps = np.concatenate([points.steps, _steps(others)])
        if not len(steps):
            return
        last = int(steps.max())
        waits = points.steps == last
        self._held = select(points, waits), [other for other in others if other.step == last]
        self._write(select(points, ~waits), [other for other in others if other.step != last])

    def close(self) -> Segment:
        """Return the segment, after its last block."""
        if self._held is not None:
            self._write(*self._held)
            self._held = None
        return Segment(tuple(self._files), self._first, self.start, self._points, self._repeated)

    def _write(self, points: Points, others: Sequence[OtherValue]) -> None:
        steps = np.unique(np.concatenate([points.steps, _steps(others)]))
        tags = len(np.unique(points.tags)) + len({other.tag for other in others})
        if not len(steps):
            return
        if len(steps) > 1 and len(steps) * tags > _MOST_CELLS:
            middle = steps[len(steps) // 2]
            first = points.steps < middle
            self._write(select(points, first), [other for other in others if other.step < middle])
            self._write(select(points, ~first), [other for other in others if other.step >= middle])
            return
        self._points += len(points.steps) + len(others)
        file = self.folder / f"{len(self._files):06d}.arrow"
        store_batch(self._batch(steps, points, others), file)
        self._files.append(file)

    def _batch(self, steps: Ints, points: Points, others: Sequence[OtherValue]) -> pa.Table:
        from pull_logs.rows.arrays import double_array
        from pull_logs.rows.batches import assemble

        points, others = _by_time(points), sorted(others, key=lambda other: other.time)
        columns = self._number_columns(steps, points, {other.tag for other in others})
        columns |= self._other_columns(steps, points, others)
        times = np.full(len(steps), -np.inf)
        times[np.searchsorted(steps, points.steps)] = points.times
        for other in others:
            row = np.searchsorted(steps, other.step)
            times[row] = max(times[row], other.time)
        columns[TIMESTAMP] = Column(double_array(times, None, len(steps)))
        columns[RUNTIME] = Column(double_array(np.maximum(times - self.started, 0.0), None, len(steps)))
        return assemble(columns, steps=steps, length=len(steps))

    def _number_columns(self, steps: Ints, points: Points, mixed: set[str]) -> dict[str, Column]:
        """Return the columns of tags that have numbers only."""
        from pull_logs.rows.arrays import double_array

        columns: dict[str, Column] = {}
        # Small integers are sorted by their digits, which is several times as fast.
        small = points.tags.astype(np.int16) if len(self.tags) < _SMALL else points.tags
        order = np.argsort(small, kind="stable")
        tags, at, values = points.tags[order], points.steps[order], points.values[order]
        present = np.flatnonzero(np.bincount(tags)) if len(tags) else tags
        starts = np.searchsorted(tags, present, "left").tolist()
        ends = np.searchsorted(tags, present, "right").tolist()
        names = list(self.tags)
        for tag, start, end in zip(present.tolist(), starts, ends, strict=True):
            if names[tag] in mixed:
                continue
            rows = np.searchsorted(steps, at[start:end])
            # Of several values at one row the last is kept, and that is the latest.
            spread = np.zeros(len(steps))
            spread[rows] = values[start:end]
            distinct = np.flatnonzero(np.bincount(rows, minlength=len(steps)))
            columns[self._column(names[tag], int(steps[distinct[0]]))] = Column(
                double_array(spread[distinct], None if len(distinct) == len(steps) else distinct, len(steps))
            )
            self._repeated += end - start - len(distinct)
        return columns

    def _other_columns(self, steps: Ints, points: Points, others: Sequence[OtherValue]) -> dict[str, Column]:
        """Return the columns of tags that have other values, and maybe numbers too."""
        found: dict[str, list[OtherValue]] = {}
        for other in others:
            found.setdefault(other.tag, []).append(other)
        columns = {}
        for tag, own in found.items():
            mine = points.tags == self.tags.get(tag, -1)
            numbers = zip(points.steps[mine], points.times[mine], points.values[mine], strict=True)
            values = [*own, *(OtherValue(tag, int(step), float(time), float(x)) for step, time, x in numbers)]
            values.sort(key=lambda value: value.time)
            cells = {int(np.searchsorted(steps, value.step)): value.value for value in values}
            rows = np.array(sorted(cells), dtype=np.int64)
            columns[self._column(tag, int(steps[rows[0]]))] = column_of_values(
                [cells[row] for row in rows.tolist()], rows=rows, length=len(steps)
            )
            self._repeated += len(values) - len(cells)
        return columns

    def _column(self, tag: str, step: int) -> str:
        name = column_name(tag, self.tracker)
        self._first[name] = min(step, self._first.get(name, step))
        return name


def column_name(tag: str, tracker: str) -> str:
    """Return the name of the column of a tag: the tag, unless this library adds a column of that name."""
    return f"{tracker}/{tag}" if tag in RESERVED else tag


def renamed_note(columns: Collection[str], tracker: str) -> list[str]:
    """Return the note on the tags whose columns have another name; empty if there are none."""
    renamed = [tag for tag in sorted(RESERVED) if f"{tracker}/{tag}" in columns]
    if not renamed:
        return []
    names = joined(renamed)
    return [f"the metrics {names} are named {tracker}/NAME, because all runs have columns of these names"]


def select(points: Points, keep: Mask) -> Points:
    """Return some of the points."""
    return Points(points.tags[keep], points.steps[keep], points.times[keep], points.values[keep])


def together(first: Points, second: Points) -> Points:
    """Return the points of both."""
    return Points(
        np.concatenate([first.tags, second.tags]),
        np.concatenate([first.steps, second.steps]),
        np.concatenate([first.times, second.times]),
        np.concatenate([first.values, second.values]),
    )


def _by_time(points: Points) -> Points:
    times: Floats = points.times
    if (times[1:] >= times[:-1]).all():
        return points
    order = np.argsort(times, kind="stable")
    return Points(points.tags[order], points.steps[order], times[order], points.values[order])


def _steps(others: Sequence[OtherValue]) -> Ints:
    return np.array([other.step for other in others], dtype=np.int64)
