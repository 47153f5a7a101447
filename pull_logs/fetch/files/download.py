"""The bytes of one file of a run, from the network to the spool, a part in memory at a time.

A download that broke off goes on where it ended, where W&B told the file's MD5: that proves
at the end that both parts belong together. Without one it begins anew.
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
"""Bytes a second at which a large file may come, beyond the time that any download has."""


class FileChangedError(Exception):
    """What came is not what was listed: the file was written anew meanwhile, or came damaged."""


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """A file that lies in the spool."""

    record: FileRecord
    place: Path

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, a part at a time."""
        return _chunks(self.place)


def _chunks(place: Path) -> Iterator[bytes]:
    with place.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk


async def fetch_file(
    client: Client, listed: ListedFile, url: str, *, place: Path, signed: bool
) -> SpooledFile:
    """Download a file, again if need be.

    Args:
        client: Connections, and the pace of storage requests.
        listed: What is known of the file.
        url: Where it is.
        place: Where to put it; what an earlier attempt left lies there.
        signed: Whether the URL lets in by itself. Else, if it is on the API's own origin, the key goes with the
            first request, and never along a redirect.

    Raises:
        FileChangedError: What came is another file than was listed; nothing is left.
        UrlRefusedError: The URL does not let in (any more).
        NetworkError: It could not be had.
    """
    if listed.size != 0 or listed.md5 is not None:

        async def attempt(slot: Slot) -> None:
            await _attempt(client, listed, url, slot, place=place, signed=signed)

        await client.storage.persist(attempt)
    return await run_sync(_finished, listed, place)


async def _attempt(
    client: Client, listed: ListedFile, url: str, slot: Slot, *, place: Path, signed: bool
) -> None:
    key = {} if signed else await client.key_for(url, slot)
    start = await run_sync(_held, listed, place)
    if listed.size is not None and start == listed.size > 0:
        return
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    seconds = MOST_SECONDS + (listed.size or 0) / _SLOWEST
    async with following(
        client.wire, url, headers=headers, first=key, slot=slot, seconds=seconds
    ) as response:
        host = host_of(str(response.url))
        if response.status_code == 206 and start and _continues(response, start):
            await _receive(response, listed, place, start=start, host=host)
        elif response.status_code == 200:
            await _receive(response, listed, place, start=0, host=host)
        elif response.status_code in (206, 416):
            await run_sync(lambda: place.unlink(missing_ok=True))
            raise FileChangedError("the rest of it could not be had")
        else:
            raise await refusal(client.wire, response, host, clean=client.without_secrets)


def _held(listed: ListedFile, place: Path) -> int:
    """Bytes of an earlier attempt that may be gone on from."""
    size = place.stat().st_size if place.exists() else 0
    usable = listed.md5 is not None and listed.size is not None and size <= listed.size
    return size if usable else 0


def _continues(response: httpx.Response, start: int) -> bool:
    told: str = response.headers.get("content-range", "")
    return told.startswith(f"bytes {start}-")


async def _receive(
    response: httpx.Response, listed: ListedFile, place: Path, *, start: int, host: str
) -> None:
    held, size, got = [], 0, 0
    await run_sync(_write, place, b"", start)
    # httpx says that it is an iterator; it is a generator, and to be closed where it is left early.
    body = cast("AsyncGenerator[bytes, None]", response.aiter_bytes())
    async with aclosing(body) as pieces:
        async for piece in pieces:
            held.append(piece)
            size += len(piece)
            got += len(piece)
            if listed.size is not None and start + got > listed.size:
                raise FileChangedError(f"it has more than the {listed.size} bytes that W&B told")
            if size >= CHUNK:
                await run_sync(_append, place, b"".join(held))
                held, size = [], 0
    await run_sync(_append, place, b"".join(held))
    check_length(response, host, read=got)


def _write(place: Path, data: bytes, start: int) -> None:
    """Cut what is there to `start` bytes."""
    with place.open("ab") as out:
        out.truncate(start)
        out.write(data)


def _append(place: Path, data: bytes) -> None:
    with place.open("ab") as out:
        out.write(data)


def _finished(listed: ListedFile, place: Path) -> SpooledFile:
    """The file, compared with what was listed; removed if it is another one."""
    if not place.exists():
        place.touch()
    record = record_of(listed.name, _chunks(place), mediatype=listed.mediatype)
    wrong = ""
    if listed.size is not None and record.bytes != listed.size:
        wrong = f"it has {record.bytes} bytes and W&B told {listed.size}"
    elif listed.md5 is not None and record.md5 != listed.md5:
        wrong = "it does not have the MD5 that W&B told"
    if wrong:
        place.unlink()
        raise FileChangedError(wrong)
    return SpooledFile(record, place)


def at_hand(listed: ListedFile, place: Path) -> SpooledFile | None:
    """The file as an earlier attempt brought it, if its MD5 proves that it is whole and the one that is listed."""
    if listed.md5 is None or not place.exists() or place.stat().st_size != listed.size:
        return None
    try:
        return _finished(listed, place)
    except FileChangedError:
        return None
