"""`media.parquet`: the index of the files that rows and summaries point to, with one row per file and value.

It is derived from the rows, the files and the artifacts of a bundle, so that other tools need not read them.
Its rows are in the order of the runs, then of the steps, then of the keys; what only a summary points to
follows. A bundle that has none of these files has no index. See docs/bundle-format.md, "Media".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.snapshot.format.parquet_write import FILE_OPTIONS

_GROUP_ROWS = 32_768

SCHEMA = pa.schema(
    [
        pa.field("entity", pa.string(), nullable=False),
        pa.field("project", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("step", pa.int64()),
        pa.field("key", pa.string(), nullable=False),
        pa.field("index", pa.int64()),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("caption", pa.string()),
        pa.field("width", pa.int64()),
        pa.field("height", pa.int64()),
        pa.field("format", pa.string()),
        pa.field("file", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("table", pa.string()),
    ]
)
"""The columns of `media.parquet`."""

_TEXTS = [one.name for one in SCHEMA if one.type == pa.string()]
_COUNTS = [one.name for one in SCHEMA if one.type == pa.int64()]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRecord:
    """A file that a value points to, as a row of the index.

    Attributes:
        entity: The entity of the run.
        project: The project of the run.
        run_id: The id of the run.
        step: The step of the row; None for a value that only the summary has.
        key: The flat key of the value; nested keys are joined with `.`.
        index: The position of the file in a list; None outside lists.
        kind: The type of the value, `image-file`.
        name: The name of the file in the run, or the address of an entry of an artifact.
        caption: The caption.
        width: The width of an image or video in pixels.
        height: The height of it.
        format: Its format, `png`.
        file: The member with the bytes; None where the bundle does not have them.
        sha256: The SHA-256 of the bytes in hex.
        bytes: Their number.
        table: The member with a table as Parquet.
    """

    entity: str
    project: str
    run_id: str
    step: int | None
    key: str
    index: int | None
    kind: str
    name: str
    caption: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    file: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    table: str | None = None


class MediaWriter:
    """Writes `media.parquet`; the same records in the same order give the same bytes for one pyarrow version.

    Attributes:
        rows: The number of records.
    """

    def __init__(self, sink: BinaryIO) -> None:
        self._writer = pq.ParquetWriter(
            sink,
            SCHEMA,
            **FILE_OPTIONS,
            use_dictionary=_TEXTS,
            column_encoding=dict.fromkeys(_COUNTS, "DELTA_BINARY_PACKED"),
            write_statistics=["entity", "project", "run_id", "key"],
        )
        self._held: list[MediaRecord] = []
        self.rows = 0

    def add(self, records: Sequence[MediaRecord]) -> None:
        """Add records in order."""
        for record in records:
            self._held.append(record)
            self.rows += 1
            if len(self._held) == _GROUP_ROWS:
                self._write_group()

    def close(self) -> None:
        """Write what is left, and the footer; the sink stays open."""
        if self._held:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        columns: dict[str, Sequence[Any]] = {
            name: [getattr(record, name) for record in self._held] for name in SCHEMA.names
        }
        self._writer.write_table(pa.table(columns, schema=SCHEMA), row_group_size=_GROUP_ROWS)
        self._held = []
