"""Downloads from storage: without the key, redirects followed, history files checked before they are used."""

from __future__ import annotations

import io
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import anyio
import httpx
from anyio.to_thread import run_sync

from pull_logs.errors import NetworkError, ServerError
from pull_logs.fetch.api.connection import Wire, check_length
from pull_logs.fetch.api.failures import FINAL_STATUSES, body_text, passing_status
from pull_logs.fetch.api.pacing import Lane, Slot, TransientError

MAGIC = b"PAR1"
MOST_REDIRECTS = 5
MOST_SECONDS = 600.0
"""What one download may take, however steadily it trickles."""

_IN_MEMORY = 4 * 2**20
"""Bytes of a file that are kept in memory; a longer one goes to an unnamed file on disk."""

_BAD_FILE_ATTEMPTS = 3


class UrlRefusedError(Exception):
    """Storage refused a URL; a fresh one may do (signed URLs expire: read API facts, section 3.5).

    Attributes:
        error: What to raise when it does not.
    """

    def __init__(self, error: ServerError) -> None:
        super().__init__(str(error))
        self.error = error


class Download:
    """The bytes of a file that was downloaded, in memory or on disk; a context manager.

    Attributes:
        size: How many there are.
    """

    def __init__(self, folder: Path | None) -> None:
        self.size = 0
        self._folder = folder
        self._pieces: list[bytes] = []
        self._held = 0
        self._file: BinaryIO | None = None

    async def add(self, piece: bytes) -> None:
        """Append bytes."""
        self._pieces.append(piece)
        self._held += len(piece)
        self.size += len(piece)
        if self._held >= _IN_MEMORY:
            await run_sync(self._spill)

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by `close`
        self._file.write(b"".join(self._pieces))
        self._pieces.clear()
        self._held = 0

    def open(self) -> BinaryIO:
        """The bytes as a file, at its beginning; it stays the download's."""
        if self._file is None:
            return io.BytesIO(b"".join(self._pieces))
        self._spill()
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Let the bytes go."""
        self._pieces.clear()
        if self._file is not None:
            self._file.close()


def shard_key(url: str) -> str:
    """What identifies an exported file: its URL without the query, which holds the signature.

    The order of the URLs changes from call to call (read API facts, section 0, trap 3).
    """
    parts = urlsplit(url)
    return f"{parts.netloc}{parts.path}"


async def download(wire: Wire, lane: Lane, url: str, *, folder: Path | None = None) -> Download:
    """Download an exported history file, again if need be; the caller closes it.

    Args:
        wire: Keyless connections.
        lane: The pace of storage requests.
        url: A signed URL, used as it is.
        folder: Where a large file is kept meanwhile.

    Raises:
        UrlRefusedError: Storage does not take the URL (any more).
        NetworkError: The file could not be had.
    """
    return await lane.persist(lambda slot: _attempt(wire, url, slot, folder))


async def _attempt(wire: Wire, url: str, slot: Slot, folder: Path | None) -> Download:
    headers = {"Accept-Encoding": "identity"}
    async with following(wire, url, headers=headers, slot=slot, seconds=MOST_SECONDS) as response:
        return await _read(wire, response, folder)


@asynccontextmanager
async def following(
    wire: Wire,
    url: str,
    *,
    headers: dict[str, str],
    slot: Slot,
    seconds: float,
    first: Mapping[str, str] | None = None,
) -> AsyncIterator[httpx.Response]:
    """The answer to a GET, redirects followed; its body is unread inside the block.

    Args:
        wire: Keyless connections.
        url: Where to.
        headers: Sent to every address on the way.
        slot: Leave to send it.
        seconds: What each exchange may take.
        first: Headers for `url` alone, such as a key: never sent along a redirect.

    Raises:
        TransientError: No answer came, or it broke off.
        NetworkError: An address is none, not secure, or leads in circles.
    """
    sent = headers | dict(first or {})
    for _ in range(MOST_REDIRECTS):
        _check_scheme(url)
        async with wire.exchange("GET", url, headers=sent, slot=slot, seconds=seconds) as response:
            if not response.has_redirect_location:
                yield response
                return
            target = urljoin(url, response.headers["location"])
            if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
                raise NetworkError(f"{host_of(url)} redirects to an address that is not secure")
            url, sent = target, headers
    raise NetworkError(f"{host_of(url)} redirects without end")


def _check_scheme(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise NetworkError("the server named a file that is not at an http(s) address")


def host_of(url: str) -> str:
    """The host and port of a URL, as errors name it."""
    return urlsplit(url).netloc.rpartition("@")[2]


async def _read(wire: Wire, response: httpx.Response, folder: Path | None) -> Download:
    host = host_of(str(response.url))
    if response.status_code != 200:
        raise await refusal(wire, response, host)
    found = Download(folder)
    try:
        async for piece in response.aiter_bytes():
            await found.add(piece)
        check_length(response, host, read=found.size)
        await run_sync(_check_magic, found, host)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await run_sync(found.close)
        raise
    return found


async def refusal(
    wire: Wire, response: httpx.Response, host: str, *, clean: Callable[[bytes], bytes] = bytes
) -> Exception:
    """The error for an answer of storage that is no success: another URL, another attempt, or the end.

    Args:
        wire: The connections that it came over.
        response: The answer, its body unread.
        host: Who gave it.
        clean: Takes out of a body what no error may hold.
    """
    said = body_text(clean(await response.aread()))
    status = response.status_code
    error = ServerError(f"{host} answered {status}" + (f": {said}" if said else ""), status=status)
    if status in FINAL_STATUSES and status != 501:
        return UrlRefusedError(error)
    if status in FINAL_STATUSES or status < 400:
        return error
    return passing_status(response, error, wall=wire.clock.wall())


def _check_magic(found: Download, host: str) -> None:
    """A 200 answer may still be an error page, or a file that was cut where it is stored."""
    file = found.open()
    start = file.read(4096)
    end = b""
    if found.size >= 2 * len(MAGIC):
        file.seek(-len(MAGIC), io.SEEK_END)
        end = file.read()
    if start.startswith(MAGIC) and end == MAGIC:
        return
    kind = body_text(start) or ("the beginning of a file" if start.startswith(MAGIC) else "something else")
    raise TransientError(
        ServerError(f"{host} sent {kind} for a history file", status=200), attempts=_BAD_FILE_ATTEMPTS
    )
