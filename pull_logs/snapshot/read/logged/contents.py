"""A content of a bundle: bytes that are there once, named by their SHA-256."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pull_logs.errors import UnsafeFileError
from pull_logs.snapshot.read.member_bytes import MemberBytes

if TYPE_CHECKING:
    from pull_logs.snapshot.format import Container, ContentRecord, ContentResource


class Content(MemberBytes):
    """Bytes of a bundle; the bundle has to stay open.

    Attributes:
        record: Their number and their hash.
    """

    __slots__ = ("record",)

    def __init__(self, container: Container, resource: ContentResource) -> None:
        record: ContentRecord = resource.record
        super().__init__(
            container,
            resource.path,
            shown=repr(resource.path),
            size=record.bytes,
            expected=record.hash,
            compressed=resource.compressed,
        )
        self.record = record

    def __repr__(self) -> str:
        return f"<Content {self._member!r}: {self.size} bytes>"

    def read_at_most(self, limit: int) -> bytes:
        """Return all of them, checked against their hash.

        Raises:
            UnsafeFileError: There are more than the limit.
            BundleDamagedError: They are not those that were written.
        """
        if self.size > limit:
            raise UnsafeFileError(
                f"{str(self._container.path)!r} is not safe to use: {self._member!r} has {self.size} bytes,"
                f" more than {limit}"
            )
        return self.read()
