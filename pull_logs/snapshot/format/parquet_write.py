"""The border to Parquet, one way: batches into `history.parquet` and `system.parquet`.

The writer's settings are frozen for the format version (bundle format facts,
section 5), so that the same rows give the same bytes for one pyarrow version:
zstd at level 3, data pages of version 2 with checksums, row groups of 131,072
rows, statistics on `_step` alone, no Arrow schema in the metadata. A double
column is PLAIN if each of its values has at most six decimals, else
BYTE_STREAM_SPLIT; int64 is DELTA_BINARY_PACKED, text a dictionary, bools RLE,
the residual column PLAIN. `parquetreading` is the way back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import DataError
from pull_logs.rows.batches import RESIDUAL, BatchCells, take_apart
from pull_logs.rows.canonical import STEP
from pull_logs.rows.cells import ColumnKind
from pull_logs.rows.layout import Layout, Survey, lay_out
from pull_logs.snapshot.format.content_id import RowsHasher
from pull_logs.snapshot.format.sinks import HashingSink

WRITER = f"pyarrow {pa.__version__}"
"""What the bytes of a file depend on besides its rows."""

ROW_GROUP = 131_072
_BUFFER = 1 << 20
"""Bytes that are handed to a sink at once."""

_TOGETHER = 16_384
"""Rows up to which small batches are laid out as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What `write_table` has written.

    Attributes:
        rows: Rows.
        first_step: The first step; None without rows, and for system metrics.
        last_step: The last step, likewise.
        rows_hash: `sha256:` and the hash of the rows (`identity`).
        bytes: Size of the file.
        hash: `sha256:` and the hash of the file.
        footer_bytes: Size of the footer: the last bytes of the file, its length field and magic included.
        footer_hash: `sha256:` and the hash of the footer.
    """

    rows: int
    first_step: int | None
    last_step: int | None
    rows_hash: str
    bytes: int
    hash: str
    footer_bytes: int
    footer_hash: str


def write_table(
    batches: Callable[[], Iterable[pa.Table]], sink: BinaryIO, *, system: bool = False
) -> Encoded:
    """Write rows as one Parquet file, in constant memory.

    Args:
        batches: Gives the batches, in step order and one row a step; called a second time if they are more
            than fit together, and has to give the same rows both times. How rows are cut into batches does not
            change a byte.
        sink: Where the bytes go; left open.
        system: Whether these are system batches, which have no steps.

    Raises:
        DataError: The steps do not ascend, or a batch is not what a batch may be.
        OSError: The sink's own.
    """
    survey = Survey(steps=not system)
    hasher = RowsHasher()
    rows, first, last = 0, None, None
    pieces, cells = 0, None
    for cells in _pieces(batches(), system=system):
        pieces += 1
        survey.add(cells)
        hasher.update_cells(cells)
        rows += cells.length
        if cells.steps is not None and cells.length:
            start, end = int(cells.steps[0]), int(cells.steps[-1])
            if (last is not None and start <= last) or not (cells.steps[1:] > cells.steps[:-1]).all():
                raise DataError(f"steps do not ascend between {start if last is None else last} and {end}")
            first, last = start if first is None else first, end
    layout = survey.layout()
    tally = HashingSink(sink)
    again = [cells] if cells and pieces == 1 else _pieces(batches(), system=system, parse=layout.moves)
    _write(layout, again, tally)
    footer = bytes(tally.tail or b"")
    size = int.from_bytes(footer[-8:-4], "little") + 8
    return Encoded(
        rows=rows,
        first_step=first,
        last_step=last,
        rows_hash=f"sha256:{hasher.hexdigest()}",
        bytes=tally.size,
        hash=f"sha256:{tally.digest.hexdigest()}",
        footer_bytes=size,
        footer_hash=f"sha256:{hashlib.sha256(footer[-size:]).hexdigest()}",
    )


def _pieces(batches: Iterable[pa.Table], *, system: bool, parse: bool = True) -> Iterator[BatchCells]:
    """The batches taken apart, small ones together, none longer than a row group."""
    for batch in _together(batches):
        if (STEP in batch.column_names) is system:
            raise DataError("a system batch has a _step column" if system else "a batch has no _step column")
        for start in range(0, batch.num_rows, ROW_GROUP):
            yield take_apart(batch.slice(start, ROW_GROUP), parse=parse)


def _together(batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small batches that follow each other as one, where their columns have the same types.

    A run of thousands of keys that come in hundreds of pages is laid out ten times as fast by it.
    """
    held: list[pa.Table] = []
    types: dict[str, pa.DataType] = {}
    count = 0
    for batch in batches:
        own = dict(zip(batch.schema.names, batch.schema.types, strict=True))
        fits = (STEP in own) is (STEP in types) and all(
            types.get(name, kind) == kind for name, kind in own.items()
        )
        if held and not (fits and count + batch.num_rows <= _TOGETHER):
            yield _joined(held)
            held, types, count = [], {}, 0
        held.append(batch)
        types.update(own)
        count += batch.num_rows
    if held:
        yield _joined(held)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")


def _write(layout: Layout, pieces: Iterable[BatchCells], tally: HashingSink) -> None:
    """Write the rows in groups of exactly `ROW_GROUP`, but for the last."""
    # Each write to a Python sink waits for its turn among the threads.
    buffered = pa.BufferedOutputStream(pa.PythonFile(tally, mode="w"), _BUFFER)
    writer = pq.ParquetWriter(buffered, layout.schema, **_settings(layout))
    held: list[pa.Table] = []
    count = 0
    for cells in pieces:
        held.append(lay_out(cells, layout))
        count += cells.length
        while count >= ROW_GROUP:
            table = pa.concat_tables(held)
            # One chunk a column: where chunks end would show in the pages.
            writer.write_table(table.slice(0, ROW_GROUP).combine_chunks(), row_group_size=ROW_GROUP)
            held = [table.slice(ROW_GROUP)]
            count -= ROW_GROUP
    if count:
        writer.write_table(pa.concat_tables(held).combine_chunks(), row_group_size=ROW_GROUP)
    buffered.flush()
    tally.mark()  # what follows is the footer
    writer.close()
    buffered.flush()


def _settings(layout: Layout) -> dict[str, Any]:
    encodings = {STEP: "DELTA_BINARY_PACKED"} if layout.steps else {}
    for name, kind in layout.kinds.items():
        if kind is ColumnKind.DOUBLE:
            encodings[name] = "PLAIN" if name in layout.rounded else "BYTE_STREAM_SPLIT"
        elif kind is ColumnKind.INTEGER:
            encodings[name] = "DELTA_BINARY_PACKED"
        elif kind is ColumnKind.BOOL:
            encodings[name] = "RLE"
    if layout.rest:
        encodings[RESIDUAL] = "PLAIN"
    return {
        "compression": "zstd",
        # Level 9 takes three times as long for files 2.6 % smaller (benchmarks/bundle.py, float32).
        "compression_level": 3,
        "version": "2.6",
        "data_page_version": "2.0",
        "use_dictionary": [name for name, kind in layout.kinds.items() if kind is ColumnKind.STRING],
        "column_encoding": encodings,
        "write_statistics": [STEP] if layout.steps else False,
        "write_page_checksum": True,
        "store_schema": False,
    }
