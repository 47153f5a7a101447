"""A bundle that lies elsewhere: `https://`, `s3://` and whatever else fsspec reaches, by requests for ranges.

What is read of a bundle is known before it is read: its index at both ends, then
of a run its footer, its steps and the columns asked for. `RemoteFile` is told so
(`expect`) and asks for each such span at once, when the first byte of it is
needed. Every byte is checked as those of a local bundle are.

A URL may carry a signature or a password. It is never shown whole: errors and
`Bundle.path` have it without its query and its user.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pull_logs.errors import (
    FileMissingError,
    NetworkError,
    PullLogsError,
    ServerError,
    SignInError,
    UsageError,
)
from pull_logs.snapshot.format import zip_layout as layout
from pull_logs.snapshot.format.container import MemberFile, ZipContainer
from pull_logs.snapshot.format.names import FORMAT, RUNS
from pull_logs.snapshot.format.urls import shown_url

if TYPE_CHECKING:
    from pull_logs.snapshot.format.container import Span

WHOLE = 2 * 2**20
"""Bytes of a member that is asked for at once: the time of another request is worth more."""

_TAIL, _MOST_TAIL = 512 * 2**10, 8 * 2**20
_EDGE, _MOST_EDGE = 256 * 2**10, 2 * 2**20
"""Bytes at both ends of a large member that are asked for at once: its steps; its footer, and the residual column."""

_LEAST, _MOST = 64 * 2**10, 16 * 2**20
"""Bytes that are asked for at once, whatever was announced."""

_GAP = 2**20
"""Bytes between two spans that are not worth a request of their own."""

_KEPT = 64 * 2**20
_MOST_EXPECTED = 4096
_ENTRY_BYTES = 450
"""Most bytes of a manifest's entry (design, section 6)."""

_RANGES_HINT = "download the bundle and open the file"


class RemoteFile:
    """The bytes of a URL, asked for in spans and kept for a while; several threads may read at once.

    Args:
        url: Any URL that fsspec opens.

    Attributes:
        shown: The URL as it may be shown.
        length: Its bytes.

    Raises:
        UsageError: fsspec, or what it needs for such a URL, is not installed; or it knows no such URL.
        FileMissingError: Nothing is there.
        SignInError: It may not be read.
        NetworkError: It cannot be asked for, or not in ranges.
    """

    def __init__(self, url: str) -> None:
        self.shown = shown_url(url)
        self._lock = threading.Lock()
        self._blocks: deque[tuple[int, bytes]] = deque()
        self._expected: deque[Span] = deque(maxlen=_MOST_EXPECTED)
        with _border(self.shown):
            self._file = _open_url(url)
            size = getattr(self._file, "size", None)
        if not isinstance(size, int):
            raise NetworkError(
                f"{self.shown!r} is not served in ranges, or its size is not told", hint=_RANGES_HINT
            )
        self.length = size
        self._closed = False

    def expect(self, spans: Callable[[], Iterable[Span]]) -> None:
        """Be told what will be read: each span is asked for at once when a byte of it is needed."""
        with self._lock:
            self._expected.extend(_joined(spans()))

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes at `offset`.

        Raises:
            AccessError: They cannot be asked for.
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
        """Forget what is kept; nothing can be read any more."""
        with self._lock:
            self._closed = True
            self._blocks.clear()
            self._file.close()

    def _block(self, offset: int, end: int) -> tuple[int, bytes]:
        """A block that has the byte at `offset`, kept or asked for now."""
        for place, (start, data) in enumerate(self._blocks):
            if start <= offset < start + len(data):
                del self._blocks[place]
                self._blocks.append((start, data))
                return start, data
        start, stop = self._span(offset, end)
        data = self._ask(start, min(stop, self.length))
        self._blocks.append((start, data))
        while len(self._blocks) > 1 and sum(len(kept) for _, kept in self._blocks) > _KEPT:
            self._blocks.popleft()
        return start, data

    def _span(self, offset: int, end: int) -> Span:
        """What to ask for where the byte at `offset` is needed, and up to `end` more."""
        for start, stop in self._expected:
            if start <= offset < stop:
                if stop - start <= _MOST:
                    self._expected.remove((start, stop))
                    return start, stop
                return offset, min(stop, offset + _MOST)
        return offset, min(max(end, offset + _LEAST), offset + _MOST)

    def _ask(self, start: int, stop: int) -> bytes:
        if self._closed:
            raise UsageError(f"{self.shown!r} is closed")
        if stop <= start:
            raise NetworkError(f"{self.shown!r} has no byte {start}")
        with _border(self.shown):
            self._file.seek(start)
            data = bytes(self._file.read(stop - start))
        if len(data) != stop - start:
            raise NetworkError(
                f"{self.shown!r} gave {len(data)} bytes where {stop - start} were asked for",
                hint=_RANGES_HINT,
            )
        return data


class RemoteContainer(ZipContainer):
    """A bundle's ZIP behind a URL: opened by three requests, four where it has thousands of runs.

    Args:
        url: Any URL that fsspec opens.
    """

    def __init__(self, url: str) -> None:
        file = RemoteFile(url)
        try:
            _expect_index(file)
        except BaseException:
            file.close()
            raise
        super().__init__(file.shown, file)

    def open(self, name: str) -> MemberFile:
        """A member as a file: a small one is asked for whole, a large one at its edges first."""
        entry = self.entries.get(name)
        if entry is not None:
            small, edge = entry.size <= WHOLE, max(_EDGE, min(entry.size >> 4, _MOST_EDGE))
            spans = [(entry.header, entry.start + _EDGE), (entry.end - edge, entry.end)]
            self._file.expect(lambda: [(entry.header, entry.end)] if small else spans)
        return super().open(name)


def _expect_index(file: RemoteFile) -> None:
    """Say where the index lies, as far as the end of the file tells; whether that is true is checked later."""
    length = file.length
    tail = min(length, max(_TAIL, min(length >> 10, _MOST_TAIL)))
    file.expect(lambda: [(length - tail, length)])
    count, start = _end_record(file.read_at(length - tail, tail)) if tail else (0, 0)
    if not 0 < start < length:
        return
    before = min(_ENTRY_BYTES * count + 2 * _LEAST, _MOST)
    file.expect(lambda: [(max(start - before, 0), length - tail)])
    head = file.read_at(start, min(4 * layout.CENTRAL.size, length - start))
    until = _end_of_runs(head)
    file.expect(lambda: [(0, min(until, length))])


def _end_record(tail: bytes) -> tuple[int, int]:
    """How many members the end of a ZIP claims, and where its directory starts; zeros where it is no end."""
    place = len(tail) - layout.END.size
    if place < 0 or tail[place : place + 4] != layout.END_SIGNATURE:
        return 0, 0
    *_, count, _, start, _ = layout.END.unpack_from(tail, place)
    place -= layout.LOCATOR64.size + layout.END64.size
    if place >= 0 and tail[place : place + 4] == layout.END64_SIGNATURE:
        *_, count, _, start = layout.END64.unpack_from(tail, place)
    return count, start


def _end_of_runs(directory: bytes) -> int:
    """Where `runs.parquet`, the second member, ends, as the directory claims."""
    place = layout.CENTRAL.size + len(FORMAT)
    if (
        directory[place : place + 4] != layout.CENTRAL_SIGNATURE
        or len(directory) < place + layout.CENTRAL.size
    ):
        return _LEAST
    fields = layout.CENTRAL.unpack_from(directory, place)
    size, header = fields[9], fields[-1]
    return int(header + layout.LOCAL.size + len(RUNS) + size)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, those that lie close together as one."""
    joined: list[Span] = []
    for start, stop in sorted(span for span in spans if span[0] < span[1]):
        if joined and start - joined[-1][1] <= _GAP and stop - joined[-1][0] <= _MOST:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def _open_url(url: str) -> Any:
    """The file behind a URL; what it is asked for, it asks for, and no more."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as exc:
        raise UsageError(
            f"{shown_url(url)!r} is a URL, and fsspec is not installed",
            hint="pip install 'wandb-pull-logs[remote]', or download the bundle",
        ) from exc
    options = _http_options(url) if re.match(r"https?://", url) else {}
    system, path = url_to_fs(url, skip_instance_cache=True, **options)
    return system.open(path, "rb", cache_type="none")


def _http_options(url: str) -> dict[str, Any]:
    """A time limit, and the proxy of the environment: aiohttp's own way to it would send what netrc holds."""
    from urllib.request import getproxies, proxy_bypass

    import aiohttp

    limit = aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=60)
    options: dict[str, Any] = {
        "client_kwargs": {"timeout": limit},
        "headers": {"Accept-Encoding": "identity"},
        "encoded": re.fullmatch("[!-~]+", url) is not None,  # a signature holds for the URL as it is
    }
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        options["proxy"] = proxy
    return options


@contextmanager
def _border(shown: str) -> Iterator[None]:
    """What fsspec and the library below it raise, as ours; their texts may hold the URL, and are not told."""
    try:
        yield
    except PullLogsError:
        raise
    except ImportError as exc:
        raise UsageError(
            f"{shown!r} needs a library that is not installed: {exc}",
            hint="install it, or pip install 'wandb-pull-logs[remote]' for https",
        ) from exc
    except Exception as exc:  # every library below fsspec has a tree of its own
        raise _told(shown, exc) from exc


def _told(shown: str, exc: Exception) -> PullLogsError:
    # fsspec says of every HTTP error that the file was not found; its cause knows.
    cause = exc.__cause__ if isinstance(exc, FileNotFoundError) and exc.__cause__ else exc
    status = getattr(cause, "status", None)
    if status in (401, 403) or isinstance(cause, PermissionError):
        return SignInError(f"{shown!r} may not be read", hint="its link may have run out, or needs a sign-in")
    if status in (404, 410) or isinstance(cause, FileNotFoundError):
        return FileMissingError(f"nothing is at {shown!r}")
    if isinstance(cause, ValueError) and "Protocol not known" in str(cause):
        return UsageError(f"{shown!r} is no kind of URL that fsspec knows", hint=_RANGES_HINT)
    if isinstance(cause, ValueError) and "range requests" in str(cause):
        return NetworkError(f"{shown!r} is not served in ranges", hint=_RANGES_HINT)
    if isinstance(status, int):
        return ServerError(f"{shown!r} cannot be read: the server answered {status}", status=status)
    reason = "no answer came in time" if isinstance(cause, TimeoutError) else type(cause).__name__
    return NetworkError(f"{shown!r} cannot be read: {reason}")
