"""Frames that overlap into frames that do not, in bounded memory.

What overlaps nothing stays where it is. What overlaps is merged a range of
steps at a time, by the law of `merging`, and lies in a scratch file then: so it
is merged once, though it is read twice. All rows of a step are in one range, so
the rows are those of a merge of everything at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pull_logs.rows.batches import steps_of
from pull_logs.rows.merge import Lane, LanedBatch, merge_batches
from pull_logs.snapshot.write.page_file import Frame, write_frames

RANGE_BYTES = 16 << 20
"""What the rows of a range take in memory, about; merging takes a few times that."""

HELD_BYTES = 64 << 20
"""What frames that reach into the next range may take until then; the others are loaded again."""


def settle_frames(frames: Sequence[Frame], scratch: Path) -> list[Frame]:
    """Frames with the same rows, one per step, in step order.

    Args:
        frames: Of one history, in any order, each in step order; their steps may overlap.
        scratch: A file to be, for the rows of frames that overlap.

    Raises:
        BundleDamagedError: A frame is damaged.
        DataError: A residual column is not what a batch may hold.
        OSError: The disk does not take it.
    """
    settled: list[Frame] = []
    with scratch.open("wb") as out:
        for cluster in _clusters(frames):
            if len(cluster) == 1 and cluster[0].distinct:
                settled += cluster
                continue
            for batch in _sweep(cluster):
                settled += write_frames(out, scratch, Lane.LIVE, batch, key="merged")
    return settled


def _reach(frame: Frame) -> tuple[int, int]:
    """The first and the last step of a frame that has rows."""
    return frame.marks[0], frame.last if frame.last is not None else frame.marks[-1]


def _clusters(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """Frames whose steps overlap, together; frames without rows are left out."""
    cluster: list[Frame] = []
    end = 0
    for frame in sorted((frame for frame in frames if frame.rows), key=_reach):
        first, last = _reach(frame)
        if cluster and first > end:
            yield cluster
            cluster = []
        end = max(end, last) if cluster else last
        cluster.append(frame)
    if cluster:
        yield cluster


def _sweep(cluster: Sequence[Frame]) -> Iterator[pa.Table]:
    """The rows of a cluster, one per step, in step order."""
    shelf = _Shelf()
    waiting = list(reversed(cluster))
    active: list[Frame] = []
    for low, high in _ranges(cluster):
        while waiting and waiting[-1].marks[0] <= high:
            active.append(waiting.pop())
        yield from merge_batches([LanedBatch(frame.lane, shelf.part(frame, low, high)) for frame in active])
        active = [frame for frame in active if _reach(frame)[1] > high]


def _ranges(cluster: Sequence[Frame]) -> Iterator[tuple[int, int]]:
    """First and last step of each range: together all steps of the cluster, none in two of them."""
    marks = sorted((mark, frame.weight // len(frame.marks)) for frame in cluster for mark in frame.marks)
    low, weight = marks[0][0], 0
    for mark, share in marks:
        if weight >= RANGE_BYTES and mark > low:
            yield low, mark - 1
            low, weight = mark, 0
        weight += share
    yield low, max(_reach(frame)[1] for frame in cluster)


class _Shelf:
    """Loads frames, and holds some of those that will be asked for again."""

    def __init__(self) -> None:
        self._held: dict[int, pa.Table] = {}
        self._weight = 0

    def part(self, frame: Frame, low: int, high: int) -> pa.Table:
        """The rows of a frame with `low <= step <= high`; ranges are asked for in ascending order."""
        table = self._held.pop(frame.start, None)
        if table is None:
            table = frame.load()
        else:
            self._weight -= frame.weight
        steps = steps_of(table)
        start, end = int(np.searchsorted(steps, low)), int(np.searchsorted(steps, high, "right"))
        part = table.slice(start, end - start)
        if _reach(frame)[1] > high:
            if self._weight + frame.weight > HELD_BYTES:
                # A copy: a slice would keep all of the frame in memory.
                return part.take(pa.array(np.arange(part.num_rows)))
            self._held[frame.start] = table
            self._weight += frame.weight
        return part
