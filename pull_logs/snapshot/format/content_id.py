"""What a history and a bundle are called by their content alone.

The rows hash is over canonical cells, so it depends neither on how rows were
cut into batches, nor on which cells are in typed columns and which in the
residual one, nor on the Parquet writer. Per column there are three running
SHA-256 streams: a kind byte a row (`CellKind`), the little-endian bytes of the
doubles (of the int64 for `_step`), and the length-prefixed UTF-8 of text,
integers that are no doubles, and canonical JSON of lists and dicts. The hash is
over the row count, then name and streams of each column in UTF-8 order.

    rows = sha256( u64 rows, { u64 length, name, kinds, doubles, texts } ... )

The content id of a bundle is over, per run in path order, what a run is
(`content_id`) and its rows hash. Times of fetching, hosts, users and writers
are no part of it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pull_logs.rows.batches import BatchCells, take_apart
from pull_logs.rows.canonical import STEP, canon_record
from pull_logs.rows.cells import (
    CellKind,
    ColumnKind,
    Floats,
    Ints,
    canonical_doubles,
    cell_kind,
    cell_text,
    cells_of,
    column_kind,
    dense,
    exact_doubles,
    missing,
    present_doubles,
    present_integers,
    utf8_order,
)
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import RunInfo

_BLANK = bytes(1 << 16)
_LOCKED, _SHORT = 2_000, 1 << 16

_FACTS = {field.name: field.reader for field in RUN_FIELDS if field.identified}


def _length(size: int) -> bytes:
    return struct.pack("<Q", size)


@dataclass(slots=True)
class _Streams:
    """The running hashes of one column."""

    rows: int = 0
    present: bool = False
    kinds: Any = field(default_factory=hashlib.sha256)
    doubles: Any = field(default_factory=hashlib.sha256)
    texts: Any = field(default_factory=hashlib.sha256)

    def pad(self, rows: int) -> None:
        """Count the cells up to `rows` as missing."""
        while self.rows < rows:
            count = min(rows - self.rows, len(_BLANK))
            self.kinds.update(memoryview(_BLANK)[:count])
            self.rows += count


class RowsHasher:
    """The rows hash of batches as they come, in step order."""

    def __init__(self) -> None:
        self._rows = 0
        self._columns: dict[str, _Streams] = {}

    def update(self, batch: pa.Table) -> None:
        """Add a batch, of any layout of its cells.

        Raises:
            DataError: Its residual column is not what a batch may hold.
        """
        self.update_cells(take_apart(batch))

    def update_cells(self, cells: BatchCells) -> None:
        """Add a batch that has been taken apart already."""
        if cells.steps is not None:
            streams = self._streams(STEP)
            streams.kinds.update(bytes([CellKind.STEP]) * cells.length)
            streams.doubles.update(np.ascontiguousarray(cells.steps, dtype="<i8"))
            streams.rows += cells.length
            streams.present = streams.present or cells.length > 0
        for name in {*cells.typed, *cells.rest}:
            self._add(name, cells.typed.get(name), cells.rest.get(name, {}), cells.length)
        self._rows += cells.length

    def hexdigest(self) -> str:
        """The hash of what was added so far, 64 hexadecimal digits."""
        whole = hashlib.sha256(_length(self._rows))
        for name in utf8_order(self._columns):
            streams = self._columns[name]
            if not streams.present:
                continue
            streams.pad(self._rows)
            encoded = name.encode()
            whole.update(_length(len(encoded)) + encoded)
            for stream in (streams.kinds, streams.doubles, streams.texts):
                whole.update(stream.digest())
        return whole.hexdigest()

    def _streams(self, name: str) -> _Streams:
        streams = self._columns.setdefault(name, _Streams())
        streams.pad(self._rows)
        return streams

    def _add(self, name: str, typed: pa.Array | None, rest: Mapping[int, Any], length: int) -> None:
        streams = self._streams(name)
        if rest:
            self._add_mixed(streams, typed, rest, length)
        elif typed is not None:
            _add_typed(streams, typed)
            streams.present = streams.present or typed.null_count < length
            streams.rows += length

    @staticmethod
    def _add_mixed(streams: _Streams, typed: pa.Array | None, rest: Mapping[int, Any], length: int) -> None:
        cells = {**rest, **(dict(cells_of(typed)) if typed is not None else {})}
        kinds = bytearray(length)
        for row in sorted(cells):
            value = cells[row]
            kind = cell_kind(value)
            kinds[row] = kind
            if kind is CellKind.DOUBLE:
                streams.doubles.update(canonical_doubles(np.array([value], dtype="<f8")))
            elif kind is CellKind.STRING:
                _add_text(streams, value)
            elif kind in (CellKind.INTEGER, CellKind.OTHER):
                _add_text(streams, cell_text(value))
        streams.kinds.update(kinds)
        streams.rows += length
        streams.present = True


def _add_text(streams: _Streams, text: str) -> None:
    encoded = text.encode()
    streams.texts.update(_length(len(encoded)) + encoded)


def _add_typed(streams: _Streams, typed: pa.Array) -> None:
    kind = column_kind(typed.type)
    if kind is ColumnKind.DOUBLE and not typed.null_count:
        _feed(streams.doubles, dense(typed).astype("<f8", copy=False))
        streams.kinds.update(bytes([CellKind.DOUBLE]) * len(typed))
        return
    present = ~missing(typed)
    codes = present.astype(np.uint8)
    if kind is ColumnKind.DOUBLE:
        codes *= int(CellKind.DOUBLE)
        streams.doubles.update(present_doubles(typed).astype("<f8", copy=False))
    elif kind is ColumnKind.INTEGER:
        values = present_integers(typed)
        exact = exact_doubles(values)
        codes[present] = np.where(exact, CellKind.DOUBLE, CellKind.INTEGER)
        streams.doubles.update(values[exact].astype("<f8"))
        for value in values[~exact].tolist():
            _add_text(streams, str(value))
    elif kind is ColumnKind.BOOL:
        truth: NDArray[np.bool_] = dense(typed.fill_null(False))
        codes[present] = np.where(truth[present], CellKind.TRUE, CellKind.FALSE)
    else:
        codes *= int(CellKind.STRING)
        streams.texts.update(_prefixed(typed))
    streams.kinds.update(codes)


def _feed(digest: Any, values: Floats) -> None:
    """Hash the bytes of doubles.

    hashlib gives the interpreter's lock away for 2,048 bytes and more. A short column is hashed sooner than
    another thread has taken the lock and given it back.
    """
    if values.nbytes > _SHORT:
        digest.update(values)
        return
    octets = values.view(np.uint8)
    for start in range(0, len(octets), _LOCKED):
        digest.update(octets[start : start + _LOCKED])


def _prefixed(typed: pa.Array) -> NDArray[np.uint8]:
    """The text of the cells that are not null, each behind its length."""
    array = typed.drop_null() if typed.null_count else typed
    if not len(array):
        return np.zeros(0, dtype=np.uint8)
    _, offsets_buffer, data_buffer = array.buffers()
    start = 4 * array.offset
    offsets: Ints = np.frombuffer(offsets_buffer, np.int32, len(array) + 1, start).astype(np.int64)
    lengths = np.diff(offsets)
    starts = offsets[:-1] - offsets[0] + 8 * np.arange(len(array), dtype=np.int64)
    out = np.zeros(int(lengths.sum()) + 8 * len(array), dtype=np.uint8)
    out[starts[:, None] + np.arange(8)] = lengths.astype("<u8").view(np.uint8).reshape(-1, 8)
    if data_buffer is not None and len(out) > 8 * len(array):
        data = np.frombuffer(data_buffer, dtype=np.uint8)[offsets[0] : offsets[-1]]
        place = np.arange(len(data)) + 8 * np.repeat(np.arange(1, len(array) + 1), lengths)
        out[place] = data
    return out


def rows_hash(batches: Iterable[pa.Table]) -> str:
    """The rows hash of a history: `sha256:` and 64 hexadecimal digits.

    Args:
        batches: In step order, cut anywhere.

    Raises:
        DataError: A residual column is not what a batch may hold.
    """
    hasher = RowsHasher()
    for batch in batches:
        hasher.update(batch)
    return f"sha256:{hasher.hexdigest()}"


class ContentHasher:
    """The content id of runs as they come, in path order."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()

    def add(self, info: RunInfo, rows: str) -> None:
        """Add a run and the rows hash of its history.

        Raises:
            DataError: A config or summary holds a value that is not JSON-like.
        """
        facts = {name: read(info) for name, read in _FACTS.items()}
        facts |= {"path": str(info.path), "tags": sorted(info.tags)}
        for value in (canon_record(facts), canon_record(info.config), canon_record(info.summary)):
            encoded = cell_text(value).encode()
            self._whole.update(_length(len(encoded)) + encoded)
        self._whole.update(_length(len(rows)) + rows.encode())

    def content_id(self) -> str:
        """The content id of what was added so far."""
        return f"sha256:{self._whole.hexdigest()}"


def content_id(runs: Iterable[tuple[RunInfo, str]]) -> str:
    """What a bundle holds, in one hash: `sha256:` and 64 hexadecimal digits.

    Args:
        runs: Each run and the rows hash of its history, in any order.

    Raises:
        DataError: A config or summary holds a value that is not JSON-like.
    """
    hasher = ContentHasher()
    for info, rows in sorted(runs, key=lambda run: run[0].path):
        hasher.add(info, rows)
    return hasher.content_id()
