"""A Parquet file inside an open bundle, read with its hashes checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows.batches import RESIDUAL, take_apart
from pull_logs.rows.canonical import STEP
from pull_logs.rows.hashing import RowsHasher, rows_hash_of_numbers
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import (
    CHUNK,
    ROW_GROUP,
    WRITER,
    ByteRange,
    Container,
    Encoded,
    Group,
    MemberFile,
    Resource,
    divided_footer,
    overlaps,
    read_batches,
    read_batches_at,
    read_groups,
    read_schema,
    read_table,
    schema_fields,
    sha256,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from pull_logs.frames import Vector
    from pull_logs.snapshot.read.number_columns import NumberPages, NumberReader
    from pull_logs.snapshot.read.plain_history import PlainReader

SMALL_FILE = 2**20
"""Up to this many bytes, a file is read and checked completely: that costs less than selecting columns."""


class ParquetMember:
    """The history or the system metrics of a run, in its bundle.

    A small file is checked by its hash before it is used; of a large one the footer is, and its pages have
    checksums. Every method raises `BundleDamagedError` if the bytes are not those that were written.

    Attributes:
        resource: The entry of the manifest.
    """

    __slots__ = ("_container", "_run", "resource")

    def __init__(self, container: Container, resource: Resource, *, run: RunPath) -> None:
        self._container, self._run = container, run
        self.resource = resource

    def schema(self) -> pa.Schema:
        """Return the columns of the file; reads its footer only."""
        with self._located_damage(), self._container.open(self.resource.path) as file:
            return read_schema(_checked_footer(file, self.resource))

    def text_columns(self) -> tuple[str, ...]:
        """Return the names of the columns of text, including the residual one; reads the footer only."""
        schema = self.schema()
        kinds = zip(schema.names, schema.types, strict=True)
        return tuple(name for name, kind in kinds if str(kind) == "string")

    def batches(self, columns: Collection[str] | None) -> Iterator[pa.Table]:
        """Iterate over the rows as batches, at most one row group in memory at a time.

        Args:
            columns: The keys wanted; keys that the file lacks are ignored. All when None.
        """
        with self._opened() as (file, footer):
            _expect_columns(file, footer, columns)
            yield from read_batches(
                file,
                None if columns is None else list(columns),
                footer=footer,
                expected_rows=self.resource.rows,
                checked=isinstance(file, bytes),
            )

    def batches_at(
        self, columns: Collection[str] | None, rows: range | None, *, steps: bool = True
    ) -> Iterator[tuple[int, pa.Table]]:
        """Iterate over the batches that have some of these rows, each with the number of rows before it.

        Args:
            columns: As for `batches`.
            rows: The rows; row groups without any of them are not read. All are when None.
            steps: Whether `_step` is read besides the keys wanted.
        """
        with self._opened() as (file, footer):
            _expect_columns(file, footer, columns, rows, steps=steps)
            yield from read_batches_at(
                file,
                None if columns is None else list(columns),
                rows=rows,
                steps=steps,
                footer=footer,
                expected_rows=self.resource.rows,
                checked=isinstance(file, bytes),
            )

    def row_groups(self) -> tuple[Group, ...]:
        """Return the row groups of the file; reads its footer only."""
        with self._located_damage(), self._container.open(self.resource.path) as file:
            return read_groups(_checked_footer(file, self.resource), size=None)

    def table(self, columns: Collection[str] | None, *, coded: bool = False) -> pa.Table:
        """Return all rows as one batch; the arguments are those of `read_table`."""
        with self._opened() as (file, footer):
            _expect_columns(file, footer, columns)
            return read_table(
                file,
                None if columns is None else list(columns),
                footer=footer,
                expected_rows=self.resource.rows,
                checked=isinstance(file, bytes),
                coded=coded,
            )

    def numbers(self, columns: Sequence[str], reader: NumberReader) -> dict[str, Vector]:
        """Return `_step` and those of the columns that `reader` can read; none of a large file."""
        if self.resource.bytes > SMALL_FILE:
            return {}
        with self._opened() as (file, footer):
            data = file if isinstance(file, bytes) else file.readall()
            return reader.read(data, footer, columns, rows=self.resource.rows)

    def number_pages(self, columns: Sequence[str], reader: NumberReader) -> NumberPages | None:
        """Return the columns of `numbers`, not decoded yet; None where that returns none."""
        if self.resource.bytes > SMALL_FILE:
            return None
        with self._opened() as (file, footer):
            data = file if isinstance(file, bytes) else file.readall()
            return reader.pages(data, footer, columns, rows=self.resource.rows)

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes of the file, unchecked."""
        with self._container.open(self.resource.path) as file:
            yield from file.chunks()

    def encoded(self, *, first: int | None, last: int | None) -> Encoded:
        """Return size, hashes and rows of the file.

        Args:
            first: The first step of its rows; None without steps.
            last: The last step of its rows; None without steps.
        """
        resource = self.resource
        return Encoded(
            rows=resource.rows,
            first_step=first,
            last_step=last,
            rows_hash=resource.rows_hash or "",
            bytes=resource.bytes,
            hash=resource.hash,
            footer_bytes=resource.footer_bytes,
            footer_hash=resource.footer_hash,
        )

    def copy_columns(
        self,
        keep: Callable[[str], bool],
        sink: BinaryIO,
        *,
        first: int | None,
        last: int | None,
        reader: PlainReader,
    ) -> Encoded | None:
        """Write the file that some of its columns give, without encoding them again.

        Args:
            keep: Whether a column is kept, besides `_step`.
            sink: The file to append to.
            first: The first step of its rows; None without rows.
            last: The last step of its rows; None without rows.
            reader: Decodes short histories of its bundle.

        Returns:
            Size, hashes and rows of the new file; None if nothing is written, because these columns have to
            be encoded again.
        """
        if self.resource.writer != WRITER:
            return None
        from pull_logs.snapshot.read.column_copy import MAGIC, copy_columns

        with self._opened() as (file, footer):
            if isinstance(file, MemberFile):
                # No checksum covers the headers of pages.
                _check_chunks(file, self.resource)
            found = self._plain_columns(file, footer, keep, reader) or self._columns(file, footer, keep)
            if found is None:
                return None
            names, rows_hash = found
            copy = copy_columns(footer, names)
            size, digest = 0, hashlib.sha256()
            for part in chain([MAGIC], _copied_parts(file, copy.ranges), [copy.footer]):
                sink.write(part)
                digest.update(part)
                size += len(part)
        return Encoded(
            rows=self.resource.rows,
            first_step=first,
            last_step=last,
            rows_hash=rows_hash,
            bytes=size,
            hash=f"sha256:{digest.hexdigest()}",
            footer_bytes=len(copy.footer),
            footer_hash=sha256(copy.footer),
        )

    def _plain_columns(
        self, file: MemberFile | bytes, footer: bytes, keep: Callable[[str], bool], reader: PlainReader
    ) -> tuple[list[str], str] | None:
        """Return the columns that are kept of a history that `reader` decodes, and the hash of their rows.

        Such a history has one row group and no residual column, so its footer need not be parsed.
        """
        if not isinstance(file, bytes):
            return None
        fields = schema_fields(divided_footer(footer)[0])
        names = [name for name in fields if name == STEP or keep(name)]
        plain = reader.read(file, rows=self.resource.rows, names=names)
        return None if plain is None else (names, rows_hash_of_numbers(plain.steps, plain.columns))

    def _columns(
        self, file: MemberFile | bytes, footer: bytes, keep: Callable[[str], bool]
    ) -> tuple[list[str], str] | None:
        """Return the columns that are kept, and the hash of their rows.

        None if they have to be encoded again, as where one has no cell, and so is left out.
        """
        names = _copyable_columns(footer, keep)
        if names is None:
            return None
        hasher, empty = RowsHasher(), set(names) - {STEP}
        for batch in read_batches(
            file, names, footer=footer, expected_rows=self.resource.rows, checked=isinstance(file, bytes)
        ):
            cells = take_apart(batch)
            hasher.update_cells(cells)
            empty -= {name for name in empty if cells.typed[name].null_count < cells.length}
        return None if empty else (names, f"sha256:{hasher.hexdigest()}")

    @contextmanager
    def _opened(self) -> Iterator[tuple[MemberFile | bytes, bytes]]:
        """Open the file and check it: a small file by its hash, a large one by that of its footer."""
        resource = self.resource
        with self._located_damage(), self._container.open(resource.path) as file:
            if resource.bytes > SMALL_FILE:
                yield file, _checked_footer(file, resource)
                return
            data = file.read()
            _check_hash(data, resource.hash, "it")
            footer = data[resource.bytes - resource.footer_bytes :]
            _check_hash(footer, resource.footer_hash, "its footer")
            yield data, footer

    @contextmanager
    def _located_damage(self) -> Iterator[None]:
        """Add the names of the bundle, the file and the run to an error about its content."""
        bundle, name = str(self._container.path), self.resource.path
        try:
            yield
        except DataError as exc:
            raise BundleDamagedError(
                f"{bundle!r} is damaged: {name.rsplit('/', 1)[1]} of run {str(self._run)!r}: {exc.message}",
                path=bundle,
                member=name,
                hint="run `pull-logs verify` to see where",
            ) from exc


def _check_hash(data: bytes, expected: str, what: str) -> None:
    if sha256(data) != expected:
        raise DataError(f"{what} does not have the hash in the manifest")


def _checked_footer(file: MemberFile, resource: Resource) -> bytes:
    footer = file.read_at(resource.bytes - resource.footer_bytes, resource.footer_bytes)
    _check_hash(footer, resource.footer_hash, "its footer")
    return footer


def _expect_columns(
    file: MemberFile | bytes,
    footer: bytes,
    columns: Collection[str] | None,
    rows: range | None = None,
    *,
    steps: bool = True,
) -> None:
    """Announce the byte ranges that will be read, so that a remote file is requested in few parts."""
    wanted = None if columns is None else {RESIDUAL, *columns, *((STEP,) if steps else ())}

    def ranges() -> Iterator[ByteRange]:
        before = 0
        for group in read_groups(footer, size=None):
            if rows is None or overlaps(rows, before, group.rows):
                for chunk in group.chunks:
                    if wanted is None or chunk.column in wanted:
                        yield chunk.start, chunk.end
            before += group.rows

    if isinstance(file, MemberFile):
        file.expect(ranges)


def _copyable_columns(footer: bytes, keep: Callable[[str], bool]) -> list[str] | None:
    """Return the columns that are kept; None if the file of these columns is not made of their chunks.

    Cells of a kept key may be in the residual column, and may have a column of their own without the others.
    Where a row group ends depends on the text in it, or on the number of rows alone.
    """
    schema, groups = read_schema(footer), read_groups(footer, size=None)
    names = [name for name in schema.names if name == STEP or keep(name)]
    full = all(group.rows == ROW_GROUP for group in groups[:-1])
    texts = {column.name for column in schema if str(column.type) == "string"}
    return names if RESIDUAL not in schema.names and (full or texts <= set(names)) else None


def _check_chunks(file: MemberFile, resource: Resource) -> None:
    """Check the hash of a file that is too large to be read at once."""
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    if f"sha256:{digest.hexdigest()}" != resource.hash:
        raise DataError("it does not have the hash in the manifest")


def _copied_parts(file: MemberFile | bytes, ranges: Sequence[ByteRange]) -> Iterator[bytes]:
    for start, end in ranges:
        if isinstance(file, bytes):
            yield file[start:end]
        else:
            yield from (file.read_at(at, min(CHUNK, end - at)) for at in range(start, end, CHUNK))
