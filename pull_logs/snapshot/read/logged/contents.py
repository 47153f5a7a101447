"""A content of a bundle: bytes that are there once, named by their SHA-256."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pull_logs.errors import BundleDamagedError, UnsafeFileError
from pull_logs.snapshot.disk import disk_errors

if TYPE_CHECKING:
    from pull_logs.snapshot.format import Container, ContentRecord, ContentResource, MemberFile


class Content:
    """Bytes of a bundle; the bundle has to stay open.

    Attributes:
        record: Their number and their hash.
    """

    __slots__ = ("_container", "_member", "record")

    def __init__(self, container: Container, resource: ContentResource) -> None:
        self._container, self._member = container, resource.path
        self.record: ContentRecord = resource.record

    def __repr__(self) -> str:
        return f"<Content {self._member!r}: {self.size} bytes>"

    @property
    def size(self) -> int:
        """Their number."""
        return self.record.bytes

    def read(self, *, limit: int | None = None) -> bytes:
        """Return all of them, checked against their hash.

        Args:
            limit: The most bytes to read.

        Raises:
            UnsafeFileError: There are more than the limit.
            BundleDamagedError: They are not those that were written.
        """
        if limit is not None and self.size > limit:
            raise UnsafeFileError(
                f"{str(self._container.path)!r} is not safe to use: {self._member!r} has {self.size} bytes,"
                f" more than {limit}"
            )
        data = b"".join(self.chunks())
        self._check(hashlib.sha256(data).hexdigest())
        return data

    def check(self) -> None:
        """Check their hash, reading them once in parts.

        Raises:
            BundleDamagedError: They are not those that were written.
        """
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        self._check(digest.hexdigest())

    def save(self, path: Path | str) -> None:
        """Write them to a file, which gets its name once all are written and checked.

        Raises:
            BundleDamagedError: They are not those that were written; no file is left.
            PullLogsError: The disk is full or the file cannot be written.
        """
        path = Path(path)
        temp = path.with_name(f".saving-{secrets.token_hex(8)}")
        digest = hashlib.sha256()
        with disk_errors(path, hint="free some space and try again"):
            try:
                with temp.open("wb") as out:
                    for chunk in self.chunks():
                        out.write(chunk)
                        digest.update(chunk)
                self._check(digest.hexdigest())
                temp.replace(path)
            except BaseException:
                temp.unlink(missing_ok=True)
                raise

    def open(self) -> MemberFile:
        """Return them as a seekable file, **not checked**: see `check`.

        Raises:
            BundleDamagedError: They no longer exist.
        """
        return self._container.open(self._member)

    def chunks(self) -> Iterator[bytes]:
        """Iterate over them in parts, **not checked**: see `check`."""
        with self.open() as file:
            file.expect(lambda: [(0, self.size)])
            yield from file.chunks()

    def damaged(self, reason: str) -> BundleDamagedError:
        """Return the error for what is wrong with them."""
        shown = str(self._container.path)
        return BundleDamagedError(
            f"{shown!r} is damaged: {reason}",
            path=shown,
            member=self._member,
            hint="run `pull-logs verify` to see where",
        )

    def _check(self, digest: str) -> None:
        if f"sha256:{digest}" != self.record.hash:
            raise self.damaged(f"{self._member!r} does not have its hash")
