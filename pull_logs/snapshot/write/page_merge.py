"""Merge the pages of a run whose steps overlap, in bounded memory.

A frame that overlaps no other one is used as it is. Frames that overlap are merged one range of steps at a
time, by the rules of `pull_logs.rows.merge`, and the result is written to a scratch file: a run is encoded in
two passes, and this way it is merged only once. All rows of a step are in one range, so the result is the same
as that of merging everything at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pull_logs.rows.batches import steps_of
from pull_logs.rows.merge import Lane, LanedBatch, merge_batches
from pull_logs.snapshot.write.page_file import PageFrame, write_frames

RANGE_BYTES = 16 << 20
"""The approximate size in memory of the rows of one range; merging takes a few times as much."""

CACHE_BYTES = 64 << 20
"""The most memory for frames that are needed again for the next range; the others are loaded again."""


def settle_frames(frames: Sequence[PageFrame], scratch: Path) -> list[PageFrame]:
    """Return frames that hold the same rows, merged to one row per step, in step order.

    Args:
        frames: The frames of one history, in any order, each in step order; their steps may overlap.
        scratch: A new file, for the rows of frames that overlap.

    Raises:
        BundleDamagedError: A frame is damaged.
        DataError: A residual column holds what a batch may not hold.
        OSError: The file cannot be written.
    """
    settled: list[PageFrame] = []
    with scratch.open("wb") as out:
        for cluster in _clusters(frames):
            if len(cluster) == 1 and cluster[0].distinct:
                settled += cluster
                continue
            for batch in _merge(cluster):
                settled += write_frames(out, scratch, Lane.LIVE, batch, key="merged")
    return settled


def _step_range(frame: PageFrame) -> tuple[int, int]:
    """Return the first and the last step of a frame that has rows."""
    return frame.marks[0], frame.last if frame.last is not None else frame.marks[-1]


def _clusters(frames: Sequence[PageFrame]) -> Iterator[list[PageFrame]]:
    """Group frames whose steps overlap; frames without rows are left out."""
    cluster: list[PageFrame] = []
    end = 0
    for frame in sorted((frame for frame in frames if frame.rows), key=_step_range):
        first, last = _step_range(frame)
        if cluster and first > end:
            yield cluster
            cluster = []
        end = max(end, last) if cluster else last
        cluster.append(frame)
    if cluster:
        yield cluster


def _merge(cluster: Sequence[PageFrame]) -> Iterator[pa.Table]:
    """Merge the rows of a cluster to one row per step, in step order."""
    cache = _FrameCache()
    waiting = list(reversed(cluster))
    active: list[PageFrame] = []
    for low, high in _ranges(cluster):
        while waiting and waiting[-1].marks[0] <= high:
            active.append(waiting.pop())
        yield from merge_batches([LanedBatch(frame.lane, cache.rows(frame, low, high)) for frame in active])
        active = [frame for frame in active if _step_range(frame)[1] > high]


def _ranges(cluster: Sequence[PageFrame]) -> Iterator[tuple[int, int]]:
    """Divide the steps of a cluster into ranges, each given by its first and last step."""
    marks = sorted((mark, frame.weight // len(frame.marks)) for frame in cluster for mark in frame.marks)
    low, weight = marks[0][0], 0
    for mark, share in marks:
        if weight >= RANGE_BYTES and mark > low:
            yield low, mark - 1
            low, weight = mark, 0
        weight += share
    yield low, max(_step_range(frame)[1] for frame in cluster)


class _FrameCache:
    """Loads frames, and keeps those in memory that the next range needs again."""

    def __init__(self) -> None:
        self._tables: dict[int, pa.Table] = {}
        self._weight = 0

    def rows(self, frame: PageFrame, low: int, high: int) -> pa.Table:
        """Return the rows with `low <= step <= high`; the ranges of a frame are read in ascending order."""
        table = self._tables.pop(frame.start, None)
        if table is None:
            table = frame.load()
        else:
            self._weight -= frame.weight
        steps = steps_of(table)
        start, end = int(np.searchsorted(steps, low)), int(np.searchsorted(steps, high, "right"))
        part = table.slice(start, end - start)
        if _step_range(frame)[1] > high:
            if self._weight + frame.weight > CACHE_BYTES:
                # A copy: a slice would keep the complete frame in memory.
                return part.take(pa.array(np.arange(part.num_rows)))
            self._tables[frame.start] = table
            self._weight += frame.weight
        return part
