"""The Parquet files of a bundle as its manifest describes them, kept as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pull_logs.snapshot.format.packed import Columns, ColumnsBuilder, MemberMap, MemberNames

_PREFIX = "sha256:"
_DIGEST = 32
_NO_HASH = "00" * _DIGEST


class Resource(NamedTuple):
    """A Parquet file of the bundle.

    Attributes:
        path: The name of its member.
        bytes: Its size.
        hash: `sha256:` and the hex digest of its bytes.
        rows: Its rows.
        rows_hash: The rows hash of a history or of system metrics; None for any other table.
        footer_bytes: Size of the Parquet footer at the end of the file.
        footer_hash: `sha256:` and the hex digest of the footer.
        writer: The library that encoded it.
    """

    path: str
    bytes: int
    hash: str
    rows: int
    rows_hash: str | None
    footer_bytes: int
    footer_hash: str
    writer: str


class Resources(MemberMap[Resource]):
    """The Parquet files of a bundle by name, in their order in it.

    Args:
        columns: What `ResourcesBuilder` collects.
        writers: The libraries that encoded them.

    Attributes:
        repeated: A name that is there twice; None if all are different.
    """

    __slots__ = ("_bytes", "_footers", "_hashed", "_hashes", "_rows", "_writer_codes", "_writers", "repeated")

    def __init__(self, columns: Columns, writers: Sequence[str]) -> None:
        super().__init__(MemberNames(columns.texts), self._resource)
        self._bytes, self._footers, self._rows, self._writer_codes, self._hashed = columns.numbers
        self._hashes, self._writers = columns.data, writers
        self.repeated = self._names.repeated

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> Resources:
        """Return these."""
        builder = ResourcesBuilder()
        for one in resources:
            builder.add(one)
        return builder.resources()

    def rows(self, path: str) -> int | None:
        """Return the rows of a file; None if there is no such file."""
        number = self._names.find(path)
        return None if number is None else self._rows[number]

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Iterate over the names and sizes of the files."""
        return zip(self._names, self._bytes, strict=True)

    def _resource(self, number: int) -> Resource:
        start = 3 * _DIGEST * number
        own, footer, rows = (
            _PREFIX + self._hashes[start + offset : start + offset + _DIGEST].hex()
            for offset in (0, _DIGEST, 2 * _DIGEST)
        )
        return Resource(
            path=self._names[number],
            bytes=self._bytes[number],
            hash=own,
            rows=self._rows[number],
            rows_hash=rows if self._hashed[number] else None,
            footer_bytes=self._footers[number],
            footer_hash=footer,
            writer=self._writers[self._writer_codes[number]],
        )


class ResourcesBuilder:
    """Collects Parquet files of a bundle."""

    def __init__(self) -> None:
        self._columns = ColumnsBuilder("qqqIb")
        self._writers: dict[str, int] = {}

    def add(self, resource: Resource) -> None:
        """Add a file."""
        hashes = (resource.hash, resource.footer_hash, resource.rows_hash or _NO_HASH)
        self.add_packed(
            resource.path,
            (resource.bytes, resource.footer_bytes, resource.rows),
            bytes.fromhex("".join(one.removeprefix(_PREFIX) for one in hashes)),
            writer=resource.writer,
            hashed=resource.rows_hash is not None,
        )

    def add_packed(
        self, path: str, sizes: tuple[int, int, int], hashes: bytes, *, writer: str, hashed: bool = True
    ) -> None:
        """Add a file by its columns.

        Args:
            path: The name of its member.
            sizes: Its bytes, those of its footer, and its rows.
            hashes: The digests of its bytes, of its footer and of its rows.
            writer: The library that encoded it.
            hashed: Whether it has a hash of its rows.
        """
        code = self._writers.setdefault(writer, len(self._writers))
        self._columns.add(path, (*sizes, code, hashed), hashes)

    def resources(self) -> Resources:
        """Return the files."""
        return Resources(self._columns.columns(), list(self._writers))
