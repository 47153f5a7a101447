"""An object that is read in ranges, all of them of the version that was opened."""

from __future__ import annotations

from collections.abc import Callable


class ObjectRanges:
    """An object, with what a reader of ranges uses of a file.

    Args:
        size: Its size.
        read: Requests the bytes from one offset to another.

    Attributes:
        size: Its size.
    """

    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        self.size = size
        self._read = read
        self._offset = 0

    def seek(self, offset: int) -> None:
        """Let the next read begin at an offset."""
        self._offset = offset

    def read(self, size: int) -> bytes:
        """Request bytes."""
        return self._read(self._offset, self._offset + size)

    def close(self) -> None:
        """Keep the connections, which other objects share."""
