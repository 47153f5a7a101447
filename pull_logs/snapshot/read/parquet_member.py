"""A Parquet file inside an open bundle, read with its hashes checked."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows.batches import RESIDUAL
from pull_logs.rows.canonical import STEP
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import (
    ByteRange,
    Container,
    Encoded,
    MemberFile,
    Resource,
    read_batches,
    read_groups,
    read_schema,
    read_table,
    sha256,
)

if TYPE_CHECKING:
    import pyarrow as pa

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
        return tuple(column.name for column in self.schema() if str(column.type) == "string")

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


def _expect_columns(file: MemberFile | bytes, footer: bytes, columns: Collection[str] | None) -> None:
    """Announce the byte ranges that will be read, so that a remote file is requested in few parts."""
    wanted = None if columns is None else {STEP, RESIDUAL, *columns}

    def ranges() -> Iterator[ByteRange]:
        for group in read_groups(footer, size=None):
            for chunk in group.chunks:
                if wanted is None or chunk.column in wanted:
                    yield chunk.start, chunk.end

    if isinstance(file, MemberFile):
        file.expect(ranges)
