"""The pieces of one run as they arrive: in memory while they are small, afterwards in the spool.

A run whose only piece is one exported file is not written to the spool before it is encoded, as long as there
is memory for it: if it were, a crash would lose no less, because the file is in transit until then.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from pull_logs.fetch.context import MemoryBudget
from pull_logs.fetch.decoding import EncodedFile, Lines, ReceivedLines, batches_of_file
from pull_logs.fetch.progress import Meter
from pull_logs.rows.batches import select_keys
from pull_logs.rows.canonical import STEP, TIMESTAMP
from pull_logs.rows.merge import Lane, LanedBatch
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot import Spool
from pull_logs.snapshot.format import read_batches
from pull_logs.snapshot.write import EncodedHistory, RunExtras

_IN_MEMORY = 4 * 2**20
"""Bytes of a run that a crash may lose: a smaller run is downloaded again, and is one file in the spool."""

LIVE = "live"


@dataclass(frozen=True, slots=True)
class _Piece:
    lane: Lane
    key: str
    batch: pa.Table


@dataclass(frozen=True, slots=True)
class _EncodedPiece:
    """An exported file that was encoded, and its bytes: other pieces may have to be merged with it."""

    shard: str
    history: EncodedHistory
    data: bytes


class Pieces:
    """Keeps the pieces of one run. Its methods need the processor or the disk: call them in a worker thread.

    Attributes:
        received: Counts the lines that arrived, before columns are removed.
        rows: Rows that this attempt downloaded, including repeated ones.
        shards_done: The exported files that are complete.
        windows_done: The windows of live rows that are complete.
        only_file: Whether one exported file holds the complete history.
    """

    def __init__(
        self, spool: Spool, path: RunPath, *, keep: Callable[[str], bool] | None, budget: MemoryBudget
    ) -> None:
        """Keep pieces.

        Args:
            spool: Stores pieces that are too large for memory.
            path: The path of the run.
            keep: Returns whether a key is kept; None for all keys.
            budget: The memory for large runs.
        """
        self._budget = budget
        self._reserved = 0
        self.only_file = False
        self._spool = spool
        self._path = path
        self._keep = keep
        self._held: list[_Piece] = []
        self._size = 0
        self._known: set[str] = set()
        self._spooled = False
        self._lock = threading.Lock()
        self._encoded: _EncodedPiece | None = None
        self.received = ReceivedLines()
        self.rows = 0
        self.shards_done: set[str] = set()
        self.windows_done: list[tuple[int, int]] = []

    def recover(self) -> None:
        """Load the pieces that an earlier attempt left in the spool."""
        for frame in self._spool.frames(self._path):
            self._spooled = True
            self.received.add(source_of(frame.key), Lines.of(frame.load((STEP, TIMESTAMP))))
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
        """Keep the live rows of a window, all those with `start <= step < stop`."""
        self._add(Lane.LIVE, f"{LIVE}:{start}:{stop}", batch)

    def add_part(self, batch: pa.Table, *, shard: str, number: int, last: bool) -> None:
        """Keep a part of an exported file, unless an earlier attempt kept it."""
        self._add(Lane.SHARD, _part_key(shard, number, last=last), batch)

    def add_encoded(self, file: EncodedFile, data: bytes, *, shard: str) -> None:
        """Keep the only exported file as it is encoded.

        Args:
            file: The encoded file.
            data: The bytes of the exported file.
            shard: Its name.
        """
        with self._lock:
            self._note(_part_key(shard, 0, last=True))
            self.received.add(shard, file.lines)
            self.rows += file.rows
            self._encoded = _EncodedPiece(shard, file.history, data)

    def _decode(self) -> None:
        """Keep the batches of the encoded file instead of it, because there are other pieces."""
        encoded, self._encoded = self._encoded, None
        if encoded is None:
            return
        for number, batch in enumerate(batches_of_file(io.BytesIO(encoded.data))):
            key = _part_key(encoded.shard, number, last=False)
            self._hold(Lane.SHARD, key, batch if self._keep is None else select_keys(batch, self._keep))

    def _add(self, lane: Lane, key: str, batch: pa.Table) -> None:
        lines = Lines.of(batch)
        if self._keep is not None:
            batch = select_keys(batch, self._keep)
        with self._lock:
            if key in self._known:
                return
            self._decode()
            self._note(key)
            self.received.add(source_of(key), lines)
            self.rows += batch.num_rows
            self._hold(lane, key, batch)

    def _hold(self, lane: Lane, key: str, batch: pa.Table) -> None:
        self._held.append(_Piece(lane, key, batch))
        self._size += batch.nbytes
        if self._size >= _IN_MEMORY and not (self.only_file and self._reserve(batch.nbytes)):
            self._flush()

    def _reserve(self, size: int) -> bool:
        size = size if self._reserved else self._size
        if not self._budget.reserve(size):
            return False
        self._reserved += size
        return True

    def release(self) -> None:
        """Forget the pieces in memory."""
        self._held.clear()
        self._encoded = None
        self._budget.release(self._reserved)
        self._size = self._reserved = 0

    def _flush(self) -> None:
        while self._held:
            piece = self._held[0]
            self._spool.append(self._path, piece.lane, piece.batch, key=piece.key)
            self._spooled = True
            self._held.pop(0)
        self.release()

    def batches(self) -> list[LanedBatch]:
        """Return all batches, including those of earlier attempts."""
        with self._lock:
            self._decode()
            frames = self._spool.frames(self._path) if self._spooled else ()
            return [
                *(LanedBatch(frame.lane, frame.load()) for frame in frames),
                *(LanedBatch(piece.lane, piece.batch) for piece in self._held),
            ]

    def nested_batches(self) -> Iterator[pa.Table]:
        """Iterate over the batches with their nested values, in any order."""
        with self._lock:
            encoded = self._encoded
        if encoded is not None:
            yield from read_batches(encoded.history.data, ())
        else:
            yield from (laned.batch for laned in self.batches())

    def finish(self, info: RunInfo, coverage: Coverage, extras: RunExtras) -> None:
        """Merge and encode the run from its pieces."""
        with self._lock:
            if self._encoded is not None:
                self._spool.store_encoded(info, coverage, self._encoded.history, extras)
                self.release()
                return
            if not self._spooled:
                batches = [LanedBatch(piece.lane, piece.batch) for piece in self._held]
                self._spool.store(info, coverage, batches, extras)
                self.release()
                return
            self._flush()
        self._spool.finish(info, coverage, extras)


def _part_key(shard: str, number: int, *, last: bool) -> str:
    return f"shard:{shard}#{number}{'!' if last else ''}"


def source_of(key: str) -> str:
    """Return the source of a piece: its exported file, or one source for all live pages."""
    kind, _, rest = key.partition(":")
    return LIVE if kind == LIVE else rest.rpartition("#")[0]


class RowProgress:
    """Adds the rows that arrive in the pieces of one run to the counters of the pull."""

    def __init__(self, pieces: Pieces, meter: Meter) -> None:
        self._pieces = pieces
        self._meter = meter
        self._counted = 0

    def update(self) -> None:
        """Count the rows that arrived since the last call."""
        rows = self._pieces.rows
        self._meter.rows += rows - self._counted
        self._counted = rows
        self._meter.notify()
