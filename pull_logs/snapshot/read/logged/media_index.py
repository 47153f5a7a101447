"""The rows of the index of media, and the tables as Parquet: derived when a bundle is written and verified.

A table is encoded if its JSON is one of W&B and has at most `MAX_JSON` bytes; the file of any other table is
there as it was logged, and its row in the index names no table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pull_logs.errors import DataError
from pull_logs.snapshot.format import (
    MAX_JSON,
    LoggedTable,
    MediaRecord,
    arrow_table,
    content_member,
    encode_logged_table,
    join_tables,
    may_be_encoded,
    parse_table,
    table_folders,
    table_member,
)
from pull_logs.snapshot.read.logged.pointers import TABLE, Bytes, File, MediaFiles, Pointer, pointers_of

if TYPE_CHECKING:
    import pyarrow as pa

    from pull_logs.runs import RunPath

Batches = Callable[[], "Iterable[pa.Table]"]


@dataclass(frozen=True, slots=True)
class MediaTables:
    """Where the files of a run are in a bundle, and what takes its tables.

    Attributes:
        folder: The folder of the run.
        members: The member of each of its files by name.
        add: Takes the member of a table, its Parquet file and the number of its rows.
    """

    folder: str
    members: Mapping[str, str]
    add: Callable[[str, bytes, int], object]


def media_records(
    path: RunPath,
    batches: Batches,
    summary: Mapping[str, Any],
    files: MediaFiles[File, Bytes],
    tables: MediaTables,
) -> Iterator[MediaRecord]:
    """Iterate over the rows of the index that are about a run.

    Args:
        path: The path of the run.
        batches: Returns the batches of its history with their residual columns; called twice.
        summary: Its summary.
        files: Its files, and those of its artifacts.
        tables: Takes its tables.

    Raises:
        BundleDamagedError: The run is damaged.
        DataError: The rows or the entries of an artifact are damaged.
    """
    keys = {one.key for one in pointers_of(batches(), summary) if one.kind == TABLE and one.key}
    folders = table_folders(tables.folder, keys)
    for pointer in pointers_of(batches(), summary):
        file = files.file(pointer)
        member = None if file is None else tables.members.get(pointer.name)
        if member is None and file is not None:
            member = content_member(file.record.hash)
        table = None
        if pointer.key in folders and pointer.kind == TABLE:
            encoded = _encoded(pointer, file, files.typed(pointer))
            if encoded is not None:
                data, rows = encoded
                table = table_member(folders[pointer.key], pointer.step, pointer.index)
                tables.add(table, data, rows)
        yield MediaRecord(
            entity=path.entity,
            project=path.project,
            run_id=path.run_id,
            step=pointer.step,
            key=pointer.key,
            index=pointer.index,
            kind=pointer.kind,
            name=pointer.name,
            caption=pointer.caption,
            width=pointer.width,
            height=pointer.height,
            format=pointer.format,
            file=member,
            sha256=None if file is None else file.record.hash.removeprefix("sha256:"),
            bytes=None if file is None else file.record.bytes,
            table=table,
        )


def _encoded(pointer: Pointer, file: Any, typed: Bytes | None) -> tuple[bytes, int] | None:
    """Return a table as Parquet with the number of its rows; None if it cannot be encoded."""
    try:
        plain = _parsed(pointer, file)
        with_types = _parsed(pointer, typed)
        table = with_types or plain
        if plain is not None and with_types is not None:
            table = join_tables(plain, with_types)
        if table is None:
            return None
        return encode_logged_table(arrow_table(table)), len(table.rows)
    except DataError:
        return None


def _parsed(pointer: Pointer, file: Any) -> LoggedTable | None:
    if file is None or file.record.bytes > MAX_JSON:
        return None
    data = b"".join(file.chunks())
    return parse_table(data, name=pointer.name) if may_be_encoded(data) else None
