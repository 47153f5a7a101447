"""The bytes of one file of a run, from the network to the spool, with only a part in memory.

An interrupted download continues where it ended if W&B reports the MD5 of the file, which proves
at the end that both parts belong together. Without an MD5 it begins again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
from anyio.to_thread import run_sync

from pull_logs.fetch.api import MOST_SECONDS, Client, Slot, check_length, following, host_of, refusal
from pull_logs.fetch.files.listing import ListedFile
from pull_logs.snapshot.format import CHUNK, FileRecord, record_of

_SLOWEST = 100_000
"""The minimum bytes per second for a large file, in addition to the time that any download has."""


class FileChangedError(Exception):
    """The bytes are not those of the listed file, which was written again, or arrived damaged."""


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """A file in the spool.

    Attributes:
        record: Its name, size and hashes.
        path: Its path in the spool.
    """

    record: FileRecord
    path: Path

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, a part at a time."""
        return _chunks(self.path)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk


async def download_file(
    client: Client, listed: ListedFile, url: str, *, path: Path, signed: bool
) -> SpooledFile:
    """Download a file, with retries.

    Args:
        client: The connections, and the limit and retries of downloads.
        listed: The file as W&B lists it.
        url: The address.
        path: The path in the spool, where an earlier attempt may have left a part.
        signed: Whether the URL is signed. If it is not and is on the API's own origin, the key is sent with
            the first request, and never after a redirect.

    Raises:
        FileChangedError: The bytes are not those of the listed file; none are kept.
        UrlRefusedError: The URL is not accepted (any more).
        NetworkError: The file could not be downloaded.
    """
    if listed.size != 0 or listed.md5 is not None:

        async def attempt(slot: Slot) -> None:
            await _attempt(client, listed, url, slot, path=path, signed=signed)

        await client.storage.run(attempt)
    return await run_sync(checked_file, listed, path)


async def _attempt(
    client: Client, listed: ListedFile, url: str, slot: Slot, *, path: Path, signed: bool
) -> None:
    key = {} if signed else await client.authorization.for_file(url, slot)
    start = await run_sync(_usable_bytes, listed, path)
    if listed.size is not None and start == listed.size > 0:
        return
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    seconds = MOST_SECONDS + (listed.size or 0) / _SLOWEST
    async with following(
        client.pool, url, headers=headers, first=key, slot=slot, seconds=seconds
    ) as response:
        host = host_of(str(response.url))
        if response.status_code == 206 and start and _continues(response, start):
            await _receive(response, listed, path, start=start, host=host)
        elif response.status_code == 200:
            await _receive(response, listed, path, start=0, host=host)
        elif response.status_code in (206, 416):
            await run_sync(lambda: path.unlink(missing_ok=True))
            raise FileChangedError("the rest of it could not be downloaded")
        else:
            raise await refusal(client.pool, response, host, secrets=client.secrets)


def _usable_bytes(listed: ListedFile, path: Path) -> int:
    """Return the number of bytes of an earlier attempt after which the download can continue."""
    size = path.stat().st_size if path.exists() else 0
    usable = listed.md5 is not None and listed.size is not None and size <= listed.size
    return size if usable else 0


def _continues(response: httpx.Response, start: int) -> bool:
    content_range: str = response.headers.get("content-range", "")
    return content_range.startswith(f"bytes {start}-")


async def _receive(
    response: httpx.Response, listed: ListedFile, path: Path, *, start: int, host: str
) -> None:
    held, size, got = [], 0, 0
    await run_sync(_truncate, path, start)
    # httpx declares an iterator. It is a generator, which must be closed when the loop ends early.
    body = cast("AsyncGenerator[bytes, None]", response.aiter_bytes())
    async with aclosing(body) as pieces:
        async for piece in pieces:
            held.append(piece)
            size += len(piece)
            got += len(piece)
            if listed.size is not None and start + got > listed.size:
                raise FileChangedError(f"it has more than the {listed.size} bytes that W&B reports")
            if size >= CHUNK:
                await run_sync(_append, path, b"".join(held))
                held, size = [], 0
    await run_sync(_append, path, b"".join(held))
    check_length(response, host, read=got)


def _truncate(path: Path, size: int) -> None:
    """Reduce a file, which need not exist, to its first bytes."""
    with path.open("ab") as out:
        out.truncate(size)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as out:
        out.write(data)


def checked_file(listed: ListedFile, path: Path) -> SpooledFile:
    """Return the file if it has the listed size and MD5, and remove it otherwise.

    Raises:
        FileChangedError: It has others.
    """
    if not path.exists():
        path.touch()
    record = record_of(listed.name, _chunks(path), mediatype=listed.mediatype)
    difference = ""
    if listed.size is not None and record.bytes != listed.size:
        difference = f"it has {record.bytes} bytes and W&B reports {listed.size}"
    elif listed.md5 is not None and record.md5 != listed.md5:
        difference = f"its MD5 is {record.md5} and W&B reports {listed.md5}"
    if difference:
        path.unlink()
        raise FileChangedError(difference)
    return SpooledFile(record, path)


def spooled_file(listed: ListedFile, path: Path) -> SpooledFile | None:
    """Return the file of an earlier attempt, if its MD5 proves that it is complete and the listed one."""
    if listed.md5 is None or not path.exists() or path.stat().st_size != listed.size:
        return None
    try:
        return checked_file(listed, path)
    except FileChangedError:
        return None
