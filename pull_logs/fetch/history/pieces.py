"""The pieces of one run as they arrive: in memory while they are few, in the spool from then on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pull_logs.fetch.history.line_count import Lines, Tally
from pull_logs.rows.batches import select_keys
from pull_logs.rows.canonical import STEP, TIMESTAMP
from pull_logs.rows.merge import Lane, LanedBatch
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot import Spool
from pull_logs.snapshot.format import FileSource

_IN_MEMORY = 4 * 2**20
"""Bytes of a run that may be lost to a crash: a smaller run is asked for anew, and costs one file."""

LIVE = "live"


@dataclass(frozen=True, slots=True)
class _Piece:
    lane: Lane
    key: str
    batch: pa.Table


class Pieces:
    """Keeps the pieces of one run. Its methods work: call them in a worker thread.

    Attributes:
        tally: Counts what arrived, before columns are left out.
        rows: Rows that this attempt brought, repeats included.
        shards_done: The exported files that are whole.
        windows_done: The windows of live rows that are whole.
    """

    def __init__(self, spool: Spool, path: RunPath, *, keep: Callable[[str], bool] | None) -> None:
        """Keep pieces.

        Args:
            spool: Where they go when there are many.
            path: The run.
            keep: Which keys are kept; None for all.
        """
        self._spool = spool
        self._path = path
        self._keep = keep
        self._held: list[_Piece] = []
        self._size = 0
        self._known: set[str] = set()
        self._spooled = False
        self._lock = threading.Lock()
        self.tally = Tally()
        self.rows = 0
        self.shards_done: set[str] = set()
        self.windows_done: list[tuple[int, int]] = []

    def recover(self) -> None:
        """Take over what an earlier attempt left in the spool."""
        for frame in self._spool.frames(self._path):
            self._spooled = True
            self.tally.add(source_of(frame.key), Lines.of(frame.load((STEP, TIMESTAMP))))
            if not frame.more:
                self._note(frame.key)

    def _note(self, key: str) -> None:
        """Remember a piece and what it completes."""
        self._known.add(key)
        kind, _, rest = key.partition(":")
        if kind == LIVE:
            start, _, stop = rest.partition(":")
            self.windows_done.append((int(start), int(stop)))
        elif key.endswith("!"):
            self.shards_done.add(source_of(key))

    def add_window(self, batch: pa.Table, *, start: int, stop: int) -> None:
        """Keep all live rows of the steps `start <= step < stop`."""
        self._add(Lane.LIVE, f"{LIVE}:{start}:{stop}", batch)

    def add_part(self, batch: pa.Table, *, shard: str, number: int, last: bool) -> None:
        """Keep a part of an exported file, unless an earlier attempt did."""
        self._add(Lane.SHARD, f"shard:{shard}#{number}{'!' if last else ''}", batch)

    def _add(self, lane: Lane, key: str, batch: pa.Table) -> None:
        lines = Lines.of(batch)
        if self._keep is not None:
            batch = select_keys(batch, self._keep)
        with self._lock:
            if key in self._known:
                return
            self._note(key)
            self.tally.add(source_of(key), lines)
            self.rows += batch.num_rows
            self._held.append(_Piece(lane, key, batch))
            self._size += batch.nbytes
            if self._size >= _IN_MEMORY:
                self._flush()

    def _flush(self) -> None:
        while self._held:
            piece = self._held[0]
            self._spool.append(self._path, piece.lane, piece.batch, key=piece.key)
            self._spooled = True
            self._held.pop(0)
        self._size = 0

    def batches(self) -> list[LanedBatch]:
        """All that was kept, that of earlier attempts included."""
        with self._lock:
            frames = self._spool.frames(self._path) if self._spooled else ()
            return [
                *(LanedBatch(frame.lane, frame.load()) for frame in frames),
                *(LanedBatch(piece.lane, piece.batch) for piece in self._held),
            ]

    def finish(
        self,
        info: RunInfo,
        coverage: Coverage,
        *,
        system: pa.Table | None,
        files: Sequence[FileSource] = (),
    ) -> None:
        """Merge and encode the run from its pieces."""
        with self._lock:
            if not self._spooled:
                batches: Sequence[LanedBatch] = [LanedBatch(piece.lane, piece.batch) for piece in self._held]
                self._spool.store(info, coverage, batches, system=system, files=files)
                self._held.clear()
                return
            self._flush()
        self._spool.finish(info, coverage, system=system, files=files)


def source_of(key: str) -> str:
    """The exported file that a piece is a part of; one for all live pages together."""
    kind, _, rest = key.partition(":")
    return LIVE if kind == LIVE else rest.rpartition("#")[0]


def keeper(matches: Callable[[str], object]) -> Callable[[str], bool]:
    """Which keys are kept for `--metrics`: those that match, and the time by which lines are told apart."""
    return lambda key: key == TIMESTAMP or bool(matches(key))
