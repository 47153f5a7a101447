"""The lines of a history that arrived, counted before rows of one step are merged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pull_logs.rows.arrays import doubles_of, flat
from pull_logs.rows.batches import distinct_steps, steps_of
from pull_logs.rows.canonical import TIMESTAMP

if TYPE_CHECKING:
    from pull_logs.fetch.discovery import Steps

Stamps = npt.NDArray[np.float64]

_WIDE = 2**32
_APART = 16_384
_MARKS_IN_A_RANGE = 16


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a part of a history, each identified by its step and its time.

    Attributes:
        steps: The steps, ascending.
        stamps: The `_timestamp` of each line, -inf where it has none.
    """

    steps: Steps
    stamps: Stamps

    @classmethod
    def of(cls, batch: pa.Table) -> Lines:
        """Return the lines of a batch; call it before columns are removed."""
        steps = steps_of(batch)
        stamps = np.full(len(steps), -np.inf)
        if TIMESTAMP in batch.column_names and pa.types.is_floating(batch.schema.field(TIMESTAMP).type):
            logged = doubles_of(flat(batch.column(TIMESTAMP)))
            stamps = np.where(np.isnan(logged), -np.inf, logged)
        return cls(steps, stamps)


@dataclass(frozen=True, slots=True)
class _Packed:
    """Lines in little memory: steps without gaps need none, others four bytes each where that suffices."""

    source: str
    first: int
    last: int
    offsets: npt.NDArray[np.uint32] | Steps | None
    stamps: Stamps

    @classmethod
    def of(cls, source: str, lines: Lines) -> _Packed:
        steps = lines.steps
        first, last = int(steps[0]), int(steps[-1])
        offsets: npt.NDArray[np.uint32] | Steps | None
        if last - first == len(steps) - 1 and (steps[1:] > steps[:-1]).all():
            offsets = None
        elif last - first < _WIDE:
            offsets = (steps - first).astype(np.uint32)
        else:
            offsets = steps.copy()  # a view would keep the column of the batch in memory
        return cls(source, first, last, offsets, lines.stamps)

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def steps(self) -> Steps:
        if self.offsets is None:
            return np.arange(self.first, self.last + 1, dtype=np.int64)
        if self.offsets.dtype == np.uint32:
            return self.offsets.astype(np.int64) + self.first
        return self.offsets.astype(np.int64, copy=False)

    def between(self, low: int, high: int) -> Lines:
        """Return the lines with `low <= step <= high`."""
        steps = self.steps
        part = slice(int(steps.searchsorted(low)), int(steps.searchsorted(high, "right")))
        return Lines(steps[part], self.stamps[part])


class ReceivedLines:
    """Counts the lines of one run that arrived, independent of the source and of repeated downloads.

    A line that arrived from several sources (an exported file and the live pages, or two files)
    is one line. Lines that one source holds several times are that many. So a line counts as
    often as the source that has it most often, and a file that overlaps another cannot hide
    that rows are missing.

    It needs 8 to 16 bytes per line.
    """

    def __init__(self) -> None:
        self._pieces: list[_Packed] = []
        self._counted = 0, 0

    def add(self, source: str, lines: Lines) -> None:
        """Count lines from `source`: one file, or all live pages together."""
        if len(lines.steps):
            self._pieces.append(_Packed.of(source, lines))

    @property
    def last_step(self) -> int | None:
        """The last step that arrived; None without lines."""
        return max((piece.last for piece in self._pieces), default=None)

    def missing(self, steps: Steps) -> int:
        """Return how many of the steps, which must ascend, did not arrive."""
        left = steps
        for piece in self._pieces:
            if not len(left):
                break
            start, end = left.searchsorted(piece.first), left.searchsorted(piece.last, "right")
            if start < end:
                near = left[start:end]
                left = np.concatenate([left[:start], near[~np.isin(near, piece.steps)], left[end:]])
        return len(left)

    def count(self) -> int:
        """Return how many different lines arrived."""
        pieces = sorted(self._pieces, key=lambda piece: piece.first)
        if self._counted[0] != len(pieces):
            self._counted = len(pieces), sum(map(_count, _clusters(pieces)))
        return self._counted[1]


def _clusters(pieces: list[_Packed]) -> Iterator[list[_Packed]]:
    """Yield groups of pieces whose steps overlap."""
    cluster: list[_Packed] = []
    end = 0
    for piece in pieces:
        if cluster and piece.first > end:
            yield cluster
            cluster = []
        end = max(end, piece.last) if cluster else piece.last
        cluster.append(piece)
    if cluster:
        yield cluster


def _count(cluster: list[_Packed]) -> int:
    """Return the number of different lines of overlapping pieces, counted in ranges of steps."""
    if len({piece.source for piece in cluster}) == 1:
        return sum(map(len, cluster))
    marks = np.sort(np.concatenate([piece.steps[::_APART] for piece in cluster]))
    lows = distinct_steps(marks[::_MARKS_IN_A_RANGE]).tolist()
    highs = [low - 1 for low in lows[1:]] + [max(piece.last for piece in cluster)]
    total = 0
    for low, high in zip(lows, highs, strict=True):
        near = [piece for piece in cluster if piece.first <= high and piece.last >= low]
        total += _different([(piece.source, piece.between(low, high)) for piece in near])
    return total


def _different(pieces: list[tuple[str, Lines]]) -> int:
    """Return the number of different lines: for each line, the maximum number in one source."""
    names = {source: number for number, source in enumerate(sorted({source for source, _ in pieces}))}
    if len(names) <= 1:
        return sum(len(lines.steps) for _, lines in pieces)
    steps = np.concatenate([lines.steps for _, lines in pieces])
    stamps = np.concatenate([lines.stamps for _, lines in pieces])
    sources = np.concatenate([np.full(len(lines.steps), names[source]) for source, lines in pieces])
    order = np.lexsort((sources, stamps, steps))
    steps, stamps, sources = steps[order], stamps[order], sources[order]
    other_line = np.r_[True, (steps[1:] != steps[:-1]) | (stamps[1:] != stamps[:-1])]
    other_source = other_line | np.r_[True, sources[1:] != sources[:-1]]
    starts = np.flatnonzero(other_source)
    counts = np.diff(np.r_[starts, len(steps)])
    return int(np.maximum.reduceat(counts, np.flatnonzero(other_line[starts])).sum())
