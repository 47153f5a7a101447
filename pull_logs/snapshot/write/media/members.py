"""The index of media and the tables of a new bundle, derived from its rows, files and artifacts.

They depend on the runs alone, so a bundle that is merged, cut or redacted has those of its new content. A
bundle that has none of the files that its rows point to has neither.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import BinaryIO

import pyarrow as pa

from pull_logs.frames import MetricFacts
from pull_logs.rows.file_pointers import record_pointers
from pull_logs.snapshot.format import (
    CHUNK,
    MEDIA,
    WRITER,
    MediaRecord,
    MediaWriter,
    Resource,
    file_members,
    member_folders,
    parse_records,
    sha256,
)
from pull_logs.snapshot.read import MediaFiles, MediaTables, media_records
from pull_logs.snapshot.write.members import Member, SealedRun, table_member

_PLAIN = frozenset({"int", "number", "bool", "string", "empty"})
"""The types of columns without values that point to files."""


def media_members(runs: Sequence[SealedRun], *, index: BinaryIO, tables: BinaryIO) -> dict[str, Member]:
    """Return the index of media and the tables of runs in path order; nothing without files to point to.

    Args:
        runs: The runs.
        index: A new file for the index.
        tables: A new file for the tables.

    Raises:
        BundleDamagedError: A run that is read is damaged.
        DataError: The rows of a run, or the entries of an artifact, are damaged.
        OSError: A file cannot be written.
    """
    if not any(run.files or run.artifacts is not None for run in runs):
        return {}
    folders = member_folders(run.path for run in runs)
    writer, members, found = MediaWriter(index), dict[str, Member](), False
    for run in runs:
        records = _records(run, folders[run.path], partial(_add_table, members, tables))
        for record in records:
            found = found or record.file is not None or record.table is not None
            writer.add([record])
    writer.close()
    if not found:
        return {}
    return {MEDIA: table_member(MEDIA, index, rows=writer.rows), **members}


def _records(
    run: SealedRun, folder: str, add_table: Callable[[str, bytes, int], object]
) -> Iterator[MediaRecord]:
    info, facts = run.described()
    nested = _has_nested(facts)
    if not nested and not any(record_pointers(info.summary)):
        return iter(())
    names = file_members(folder, [record.name for record in run.files]) if run.files else {}
    files = {source.record.name: source for source in run.file_sources()}
    artifacts = run.artifacts
    held = MediaFiles(
        files,
        lambda: () if artifacts is None else parse_records(b"".join(artifacts.table.chunks())),
        lambda: () if artifacts is None else artifacts.contents,
    )
    batches: Callable[[], Iterable[pa.Table]] = run.nested_batches if nested else lambda: ()
    return media_records(run.path, batches, info.summary, held, MediaTables(folder, names, add_table))


def _has_nested(facts: Iterable[MetricFacts]) -> bool:
    """Return whether a column may have values that point to files."""
    return any(one.type not in _PLAIN for one in facts)


def _add_table(members: dict[str, Member], file: BinaryIO, name: str, data: bytes, rows: int) -> None:
    start = file.seek(0, io.SEEK_END)
    file.write(data)
    footer = 8 + int.from_bytes(data[-8:-4], "little")
    resource = Resource(
        path=name,
        bytes=len(data),
        hash=sha256(data),
        rows=rows,
        rows_hash=None,
        footer_bytes=footer,
        footer_hash=sha256(data[-footer:]),
        writer=WRITER,
    )
    members[name] = Member(resource, len(data), partial(_part, file, start, len(data)))


def _part(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    while size > 0:
        file.seek(start)
        chunk = file.read(min(size, CHUNK))
        yield chunk
        start, size = start + len(chunk), size - len(chunk)
