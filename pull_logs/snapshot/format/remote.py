"""A remote bundle: `https://`, `s3://` and every other URL that fsspec opens, read by range requests.

It is known in advance what is read of a bundle: its index at both ends, then the footer of a run, its steps
and the requested columns. These byte ranges are announced (`RemoteFile.expect`), and each is requested as a
unit when its first byte is needed. Every byte is checked as in a local bundle.

fsspec's own `cat_ranges` is not used: it sends one request per range without joining those that are close
together (101 requests instead of 7 for a run of 400,000 rows and 24 metrics), and for HTTP it accepts the
complete file from a server that ignores ranges.

A URL may contain a signature or a password. Errors and `Bundle.path` show it without query and user.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pull_logs.errors import NetworkError, UsageError
from pull_logs.snapshot.format import zip_layout as layout
from pull_logs.snapshot.format.container import MemberFile, ZipContainer
from pull_logs.snapshot.format.names import FORMAT, RUNS, shown_url
from pull_logs.snapshot.storage import RANGES_HINT, open_url, storage_errors

if TYPE_CHECKING:
    from pull_logs.snapshot.format.container import ByteRange

SMALL_MEMBER = 2 * 2**20
"""Up to this many bytes, a member is requested completely: another request would take longer."""

_TAIL = 512 * 2**10
"""Bytes requested at the end: the directory and the manifest of about a thousand runs."""

_EDGE, _MAX_EDGE = 256 * 2**10, 2 * 2**20
"""Bytes requested at both ends of a large member: its steps; its footer and the residual column."""

_MIN_REQUEST, _MAX_REQUEST = 64 * 2**10, 16 * 2**20
"""Fewest and most bytes of a request, whatever was announced."""

_GAP = 2**20
"""Up to this many bytes between two ranges, one request is made for both."""

_CACHED_BYTES = 64 * 2**20
_MAX_EXPECTED = 4096
_ENTRY_BYTES = 450
"""Most bytes of an entry of the manifest (docs/bundle-format.md, "The manifest")."""


class RemoteFile:
    """The bytes of a URL, requested in ranges and cached for a while; several threads can read at once.

    Args:
        url: Any URL that fsspec opens.

    Attributes:
        shown: The part of the URL that may be shown.
        length: The size of the file.

    Raises:
        UsageError: fsspec, or a library it needs for such a URL, is not installed; or fsspec does not
            support this kind of URL.
        FileMissingError: There is no such file.
        SignInError: It may not be read.
        NetworkError: The server cannot be reached, or does not support range requests.
    """

    def __init__(self, url: str) -> None:
        self.shown = shown_url(url)
        self._lock = threading.Lock()
        self._blocks: deque[tuple[int, bytes]] = deque()
        self._expected: deque[ByteRange] = deque(maxlen=_MAX_EXPECTED)
        with storage_errors(self.shown):
            self._file = open_url(url, shown=self.shown)
            size = getattr(self._file, "size", None)
        if not isinstance(size, int):
            raise NetworkError(
                f"{self.shown!r} is not served in ranges, or its size is unknown", hint=RANGES_HINT
            )
        self.length = size
        self._closed = self._in_order = False

    def expect_all(self) -> None:
        """Announce that every byte will be read, about in order: large parts are requested, each once."""
        with self._lock:
            self._in_order = True

    def expect(self, ranges: Callable[[], Iterable[ByteRange]]) -> None:
        """Announce what will be read; each range is requested as a unit when a byte of it is needed."""
        with self._lock:
            self._expected.extend(_joined(ranges()))

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`.

        Raises:
            AccessError: They cannot be downloaded.
        """
        end, parts = offset + size, []
        with self._lock:
            while offset < end:
                start, block = self._block(offset, end)
                part = block[offset - start : end - start]
                parts.append(part)
                offset += len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close the file and drop its cache; nothing can be read any longer."""
        with self._lock:
            self._closed = True
            self._blocks.clear()
            self._file.close()

    def _block(self, offset: int, end: int) -> tuple[int, bytes]:
        """Return a block that has the byte at `offset`, from the cache or by a request."""
        for index, (start, data) in enumerate(self._blocks):
            if start <= offset < start + len(data):
                del self._blocks[index]
                self._blocks.append((start, data))
                return start, data
        start, stop = self._range_to_request(offset, end)
        data = self._request(start, min(stop, self.length))
        self._blocks.append((start, data))
        while len(self._blocks) > 1 and sum(len(block) for _, block in self._blocks) > _CACHED_BYTES:
            self._blocks.popleft()
        return start, data

    def _range_to_request(self, offset: int, end: int) -> ByteRange:
        """Return the range to request when the byte at `offset` is needed, and probably those up to `end`."""
        if self._in_order:
            start = offset - offset % _MAX_REQUEST
            return start, start + _MAX_REQUEST
        for start, stop in self._expected:
            if start <= offset < stop:
                if stop - start <= _MAX_REQUEST:
                    self._expected.remove((start, stop))
                    return start, stop
                return offset, min(stop, offset + _MAX_REQUEST)
        return offset, min(max(end, offset + _MIN_REQUEST), offset + _MAX_REQUEST)

    def _request(self, start: int, stop: int) -> bytes:
        if self._closed:
            raise UsageError(f"{self.shown!r} is closed")
        if stop <= start:
            raise NetworkError(f"{self.shown!r} has no byte {start}")
        with storage_errors(self.shown):
            self._file.seek(start)
            data = bytes(self._file.read(stop - start))
        if len(data) != stop - start:
            raise NetworkError(
                f"{self.shown!r} returned {len(data)} bytes instead of {stop - start}",
                hint=RANGES_HINT,
            )
        return data


class RemoteContainer(ZipContainer):
    """The ZIP of a bundle at a URL: opened by three requests, four if it has thousands of runs.

    Args:
        url: Any URL that fsspec opens.
    """

    remote = True

    def __init__(self, url: str) -> None:
        self._remote = file = RemoteFile(url)
        try:
            _expect_index(file)
        except BaseException:
            file.close()
            raise
        super().__init__(file.shown, file)
        self._url = url

    @property
    def location(self) -> str:
        """The URL, with the signature or the password that it may contain."""
        return self._url

    def expect_all(self) -> None:
        """Announce that every byte will be read, about in order."""
        self._remote.expect_all()

    def open(self, name: str) -> MemberFile:
        """Open a member as a file; a small one is requested completely, a large one at both ends first."""
        entry = self.entries.get(name)
        if entry is not None:
            small, edge = entry.size <= SMALL_MEMBER, max(_EDGE, min(entry.size >> 4, _MAX_EDGE))
            edges = [(entry.header, entry.start + _EDGE), (entry.end - edge, entry.end)]
            self._file.expect(lambda: [(entry.header, entry.end)] if small else edges)
        return super().open(name)


def _expect_index(file: RemoteFile) -> None:
    """Announce the ranges of the index according to the end of the file, which is checked later."""
    length = file.length
    tail = min(length, _TAIL)
    file.expect(lambda: [(length - tail, length)])
    count, start = _end_record(file.read_at(length - tail, tail)) if tail else (0, 0)
    if not 0 < start < length:
        return
    before = min(_ENTRY_BYTES * count + 2 * _MIN_REQUEST, _MAX_REQUEST)
    file.expect(lambda: [(max(start - before, 0), length - tail)])
    head = file.read_at(start, min(4 * layout.CENTRAL.size, length - start))
    until = _end_of_runs(head)
    file.expect(lambda: [(0, min(until, length))])


def _end_record(tail: bytes) -> tuple[int, int]:
    """Return the number of members and the offset of the directory; zeros without an end record."""
    offset = len(tail) - layout.END.size
    if offset < 0 or tail[offset : offset + 4] != layout.END_SIGNATURE:
        return 0, 0
    *_, count, _, start, _ = layout.END.unpack_from(tail, offset)
    offset -= layout.LOCATOR64.size + layout.END64.size
    if offset >= 0 and tail[offset : offset + 4] == layout.END64_SIGNATURE:
        *_, count, _, start = layout.END64.unpack_from(tail, offset)
    return count, start


def _end_of_runs(directory: bytes) -> int:
    """Return the offset past `runs.parquet`, the second member, according to the directory."""
    offset = layout.CENTRAL.size + len(FORMAT)
    if (
        directory[offset : offset + 4] != layout.CENTRAL_SIGNATURE
        or len(directory) < offset + layout.CENTRAL.size
    ):
        return _MIN_REQUEST
    fields = layout.CENTRAL.unpack_from(directory, offset)
    size, header = fields[9], fields[-1]
    return int(header + layout.LOCAL.size + len(RUNS) + size)


def _joined(ranges: Iterable[ByteRange]) -> list[ByteRange]:
    """Return the ranges in order, those that are close together joined."""
    joined: list[ByteRange] = []
    for start, stop in sorted(given for given in ranges if given[0] < given[1]):
        if joined and start - joined[-1][1] <= _GAP and stop - joined[-1][0] <= _MAX_REQUEST:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined
