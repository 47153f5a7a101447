"""A place for the bytes of a file to go to, where they are counted and hashed on their way."""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO


class HashingSink(io.RawIOBase):
    """Hands bytes on, counts and hashes them, and keeps those after `mark`.

    Attributes:
        size: Bytes so far.
        digest: Their SHA-256 so far.
        tail: The bytes since `mark`; None before.
    """

    def __init__(self, sink: BinaryIO) -> None:
        super().__init__()
        self._sink = sink
        self.size = 0
        self.digest = hashlib.sha256()
        self.tail: bytearray | None = None
        self._given_up = False

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: Any) -> int:
        """Take some bytes, all of them.

        Once that has failed, what comes is dropped: pyarrow's buffers try again when they are let go, and
        complain on stderr.
        """
        if self._given_up:
            return len(data)
        self._given_up = True
        self._sink.write(data)
        self._given_up = False
        self.digest.update(data)
        if self.tail is not None:
            self.tail += data
        self.size += len(data)
        return len(data)

    def mark(self) -> None:
        """Keep what comes from here on."""
        self.tail = bytearray()
