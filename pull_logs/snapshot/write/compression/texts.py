"""Compress the texts of a new bundle, in several threads.

A text is compressed into a temporary file of its thread, and copied from there when the bundle is written.
What a bundle that is read has compressed already is copied as it is stored.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from pull_logs.snapshot.format import (
    CHUNK,
    SUFFIX,
    Compressed,
    ContentResource,
    FileResource,
    compress_text,
    is_content_name,
)
from pull_logs.snapshot.write.members import Member

_THREADS = min(4, os.cpu_count() or 1)


@contextmanager
def compressed_members(members: Mapping[str, Member], *, folder: Path) -> Iterator[dict[str, Member]]:
    """Give out members by name, with each text compressed that gets smaller by it.

    Args:
        members: The members by name, none of them compressed.
        folder: A folder for temporary files; they are removed at the end.

    Raises:
        BundleDamagedError: A bundle that is read is damaged.
        OSError: A file cannot be written.
    """
    taken = {name.lower() for name in members if name.lower().endswith(SUFFIX)}
    texts = [name for name, member in members.items() if _may_be_compressed(name, member, taken)]
    if not texts:
        yield dict(members)
        return
    with _Scratch(folder) as scratch, ThreadPoolExecutor(_THREADS) as pool:
        found = dict(
            zip(texts, pool.map(lambda name: _compressed(members[name], scratch), texts), strict=True)
        )
        compressed = [found.get(name) or member for name, member in members.items()]
        yield {_name(member): member for member in compressed}


def _may_be_compressed(name: str, member: Member, taken: Collection[str]) -> bool:
    """Return whether a member is one that is compressed if it is text, and its name is then free."""
    is_text = isinstance(member.resource, FileResource) or is_content_name(name)
    return is_text and f"{name}{SUFFIX}".lower() not in taken


def _name(member: Member) -> str:
    resource = member.resource
    return resource.member if isinstance(resource, FileResource | ContentResource) else resource.path


def _compressed(member: Member, scratch: _Scratch) -> Member | None:
    """Return the compressed form of a member; None if it stays as it is."""
    resource = member.resource
    if not isinstance(resource, FileResource | ContentResource):
        return None
    held = member.stored
    if held is not None and held.compressed is not None:
        resource = replace(resource, compressed=held.compressed)
        return Member(resource, held.compressed.bytes, held.stored_chunks)
    with scratch.borrowed() as file:
        start = file.seek(0, os.SEEK_END)
        compressed = compress_text(member.chunks(), member.size, file)
        if compressed is None:
            return None
        resource = replace(resource, compressed=compressed)
        return Member(resource, compressed.bytes, partial(_part, file, start, compressed))


def _part(file: BinaryIO, start: int, compressed: Compressed) -> Iterator[bytes]:
    end = start + compressed.bytes
    for offset in range(start, end, CHUNK):
        file.seek(offset)
        yield file.read(min(CHUNK, end - offset))


class _Scratch(ExitStack):
    """Temporary files, each of which one thread uses at a time."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder, self._lock = folder, Lock()
        self._free: list[BinaryIO] = []

    @contextmanager
    def borrowed(self) -> Iterator[BinaryIO]:
        """Give out a file that no other thread uses meanwhile."""
        with self._lock:
            file = self._free.pop() if self._free else None
        if file is None:
            file = self.enter_context(tempfile.TemporaryFile(dir=self._folder))  # noqa: SIM115
        try:
            yield file
        finally:
            with self._lock:
                self._free.append(file)
