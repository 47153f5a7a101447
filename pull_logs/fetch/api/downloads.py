"""Downloads from storage, without the key; redirects are followed and history files are checked."""

from __future__ import annotations

import io
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import anyio
from anyio.to_thread import run_sync

from pull_logs.errors import NetworkError, ServerError
from pull_logs.fetch.api.connection import ConnectionPool, check_length
from pull_logs.fetch.api.errors import TransientError, UrlRefusedError
from pull_logs.fetch.api.failures import FINAL_STATUSES, Secrets, body_text, temporary_status
from pull_logs.fetch.api.http_library import httpx
from pull_logs.fetch.api.rate_limit import Slot
from pull_logs.fetch.api.retry import Retrier
from pull_logs.fetch.api.urls import host_of, join_url, split_url

MAGIC = b"PAR1"
MOST_REDIRECTS = 5
MOST_SECONDS = 600.0
"""The maximum duration of one download, however steadily it progresses."""

_IN_MEMORY = 4 * 2**20
"""Bytes of a file that are kept in memory; a larger one goes to an unnamed file on disk."""

_BAD_FILE_ATTEMPTS = 3


class Download:
    """The bytes of a downloaded file, in memory or on disk.

    Attributes:
        size: The number of bytes.
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

    @property
    def in_memory(self) -> bool:
        """Whether nothing of it is on disk."""
        return self._file is None

    def read(self) -> bytes:
        """Return the bytes of a file that is in memory."""
        self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    def open(self) -> BinaryIO:
        """Return the bytes as a file, at its beginning; `close` closes it."""
        if self._file is None:
            return io.BytesIO(self.read())
        self._spill()
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Release the bytes."""
        self._pieces.clear()
        if self._file is not None:
            self._file.close()


async def download(
    pool: ConnectionPool, retrier: Retrier, url: str, *, folder: Path | None = None
) -> Download:
    """Download an exported history file, with retries; the caller closes it.

    Args:
        pool: Connections without the key.
        retrier: Limits and retries downloads.
        url: A signed URL, used as it is.
        folder: The folder for the temporary file of a large download.

    Raises:
        UrlRefusedError: Storage does not accept the URL (any more).
        NetworkError: The file could not be downloaded.
    """
    return await retrier.run(lambda slot: _attempt(pool, url, slot, folder))


async def _attempt(pool: ConnectionPool, url: str, slot: Slot, folder: Path | None) -> Download:
    headers = {"Accept-Encoding": "identity"}
    async with following(pool, url, headers=headers, slot=slot, seconds=MOST_SECONDS) as response:
        return await _read(pool, response, folder)


@asynccontextmanager
async def following(
    pool: ConnectionPool,
    url: str,
    *,
    headers: dict[str, str],
    slot: Slot,
    seconds: float,
    first: Mapping[str, str] | None = None,
) -> AsyncIterator[httpx.Response]:
    """Send a GET request and follow redirects; inside the block the body is unread.

    Args:
        pool: Connections without the key.
        url: The address.
        headers: Sent to every address, also after a redirect.
        slot: The permission to send it.
        seconds: The maximum duration of each exchange.
        first: Headers for `url` alone, for example a key, which are never sent after a redirect.

    Raises:
        TransientError: No answer arrived, or it broke off.
        NetworkError: An address is malformed, not secure, or part of endless redirects.
    """
    sent = headers | dict(first or {})
    for _ in range(MOST_REDIRECTS):
        _check_scheme(url)
        async with pool.exchange("GET", url, headers=sent, slot=slot, seconds=seconds) as response:
            if not response.has_redirect_location:
                yield response
                return
            target = join_url(url, response.headers["location"])
            if split_url(url).scheme == "https" and split_url(target).scheme != "https":
                raise NetworkError(f"{host_of(url)} redirects to an address that is not secure")
            url, sent = target, headers
    raise NetworkError(f"{host_of(url)} redirects without end")


def _check_scheme(url: str) -> None:
    parts = split_url(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NetworkError("the server named a file that is not at an http(s) address")


async def _read(pool: ConnectionPool, response: httpx.Response, folder: Path | None) -> Download:
    host = host_of(str(response.url))
    if response.status_code != 200:
        raise await refusal(pool, response, host)
    found = Download(folder)
    try:
        async for piece in response.aiter_bytes():
            await found.add(piece)
        check_length(response, host, read=found.size)
        if found.in_memory:
            _check_magic(found, host)
        else:
            await run_sync(_check_magic, found, host)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await run_sync(found.close)
        raise
    return found


async def refusal(
    pool: ConnectionPool, response: httpx.Response, host: str, *, secrets: Secrets | None = None
) -> Exception:
    """Return the error for an unsuccessful answer: a new URL may help, another attempt may help, or nothing.

    Args:
        pool: The connections that it arrived on.
        response: The answer, its body unread.
        host: The host that sent it.
        secrets: What is removed from the text of the error.
    """
    content = await response.aread()
    text = body_text(secrets.remove_from(content) if secrets else content)
    status = response.status_code
    error = ServerError(f"{host} answered {status}" + (f": {text}" if text else ""), status=status)
    if status in FINAL_STATUSES and status != 501:
        return UrlRefusedError(error)
    if status in FINAL_STATUSES or status < 400:
        return error
    return temporary_status(response, error, wall=pool.clock.wall())


def _check_magic(found: Download, host: str) -> None:
    """Make sure that a 200 answer is neither an error page nor a file that is truncated in storage."""
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
