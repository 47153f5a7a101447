"""What arrived of a history, counted before rows of one step are merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pull_logs.fetch.plan import Steps
from pull_logs.snapshot.canon import STEP, TIMESTAMP

Stamps = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a piece of history, each known by its step and its time.

    Attributes:
        steps: Their steps, ascending.
        stamps: Their `_timestamp`, -inf where there is none.
    """

    steps: Steps
    stamps: Stamps

    @classmethod
    def of(cls, batch: pa.Table) -> Lines:
        """The lines of a batch, before any of its columns are left out."""
        steps: Steps = _numpy(batch.column(STEP))
        stamps = np.full(len(steps), -np.inf)
        if TIMESTAMP in batch.column_names and pa.types.is_floating(batch.schema.field(TIMESTAMP).type):
            told: Stamps = _numpy(batch.column(TIMESTAMP))
            stamps = np.where(np.isnan(told), -np.inf, told)
        return cls(steps, stamps)


def _numpy(column: Any) -> Any:
    return column.combine_chunks().to_numpy(zero_copy_only=False)


class Tally:
    """Counts the lines of one run that arrived, whichever way and however often.

    A line that came by several ways (an exported file and the live pages, or two files)
    is one line; lines that one way delivered repeatedly are that many. So a line counts
    as often as the one source that held it most often did, and a file that overlaps
    another cannot hide that rows are missing.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[str, Lines]] = []

    def add(self, source: str, lines: Lines) -> None:
        """Count lines that arrived by `source`: one file, or the live pages together."""
        if len(lines.steps):
            self._pieces.append((source, lines))

    @property
    def last_step(self) -> int | None:
        """The last step that arrived."""
        return max((int(lines.steps[-1]) for _, lines in self._pieces), default=None)

    def missing(self, steps: Steps) -> int:
        """How many of the steps did not arrive."""
        if not self._pieces or not len(steps):
            return len(steps)
        arrived = np.concatenate([lines.steps for _, lines in self._pieces])
        return int(np.count_nonzero(~np.isin(steps, arrived)))

    def lines(self) -> int:
        """How many different lines arrived."""
        total, cluster, end = 0, [], None
        for piece in sorted(self._pieces, key=lambda piece: int(piece[1].steps[0])):
            steps = piece[1].steps
            if end is not None and steps[0] > end:
                total += _different(cluster)
                cluster = []
            cluster.append(piece)
            end = int(steps[-1]) if end is None else max(end, int(steps[-1]))
        return total + _different(cluster)


def _different(pieces: list[tuple[str, Lines]]) -> int:
    """Different lines of pieces that overlap: per line, the most that one source held."""
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
