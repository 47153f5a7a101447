"""The members of a new bundle: the files of its runs, with what the manifest says about each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Protocol

import pyarrow as pa

from pull_logs.frames import MetricFacts
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.format import (
    ARTIFACTS,
    CHUNK,
    CONSOLE,
    HISTORY,
    SYSTEM,
    WRITER,
    AnyResource,
    ArtifactsSource,
    ConsoleRecord,
    ConsoleResource,
    ContentResource,
    ContentSource,
    Encoded,
    FileRecord,
    FileResource,
    FileSource,
    Resource,
    content_member,
    file_members,
    folder_of_file,
    member_folders,
    sha256,
)
from pull_logs.snapshot.read import MemberBytes


class SealedRun(Protocol):
    """A run whose bytes are ready to be sealed."""

    @property
    def path(self) -> RunPath:
        """The path of the run."""

    @property
    def coverage(self) -> Coverage:
        """What the server promised and what arrived."""

    @property
    def history(self) -> Encoded:
        """Size, hashes and number of rows of its `history.parquet`."""

    @property
    def system(self) -> Encoded | None:
        """The same for its `system.parquet`; None without system metrics."""

    @property
    def writer(self) -> str:
        """The library that encoded them."""

    @property
    def optional(self) -> frozenset[str]:
        """The optional columns of the table of runs for which it has a value."""

    @property
    def files(self) -> Sequence[FileRecord]:
        """The files that it logged, in the order of a bundle."""

    @property
    def console(self) -> ConsoleRecord | None:
        """The record of its console log; None without one."""

    @property
    def artifacts(self) -> ArtifactsSource | None:
        """The artifacts that it logged and used; None without any."""

    @property
    def redacted(self) -> Mapping[str, int]:
        """The number of redaction markers of each kind in it."""

    def described(self) -> tuple[RunInfo, Sequence[MetricFacts]]:
        """Return its facts, and those about the columns of its history."""

    def history_chunks(self) -> Iterator[bytes]:
        """Return the bytes of its `history.parquet` in chunks."""

    def nested_batches(self) -> Iterable[pa.Table]:
        """Iterate over the steps and the nested values of its rows."""

    def system_chunks(self) -> Iterator[bytes]:
        """Return the bytes of its `system.parquet` in chunks."""

    def file_sources(self) -> Iterator[FileSource]:
        """Iterate over its files, in the order of a bundle."""

    def console_chunks(self) -> Iterator[bytes]:
        """Return the bytes of its compressed console log in chunks."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the bundle that the manifest names.

    Attributes:
        resource: Its entry in the manifest.
        size: The number of its bytes.
        chunks: Returns them in parts.
        stored: The same file of an open bundle, if it is from one.
    """

    resource: AnyResource
    size: int
    chunks: Callable[[], Iterator[bytes]]
    stored: MemberBytes | None = None


def members_of(runs: Iterable[SealedRun]) -> dict[str, Member]:
    """Return the members of all runs by name, in the order of a bundle."""
    by_path = {run.path: run for run in runs}
    members: dict[str, Member] = {}
    for path, folder in member_folders(by_path).items():
        run = by_path[path]
        parts = [(f"{folder}/{HISTORY}", run.history, run.history_chunks)]
        if run.system is not None:
            parts.append((f"{folder}/{SYSTEM}", run.system, run.system_chunks))
        for name, encoded, chunks in parts:
            members[name] = Member(_resource(name, run, encoded), encoded.bytes, chunks)
        names = file_members(folder, [record.name for record in run.files]) if run.files else {}
        for source in run.file_sources():
            record = source.record
            name = names[record.name]
            members[name] = _text_member(FileResource(path=name, record=record), source)
        if run.console is not None:
            name = f"{folder}/{CONSOLE}"
            console = ConsoleResource(path=name, record=run.console)
            members[name] = Member(console, run.console.bytes, run.console_chunks)
        if run.artifacts is not None:
            name = f"{folder}/{ARTIFACTS}"
            table = run.artifacts.table
            members[name] = _text_member(ContentResource(name, table.record), table)
            for content in run.artifacts.contents:
                name = content_member(content.record.hash)
                resource = ContentResource(name, content.record)
                members.setdefault(name, _text_member(resource, content))
    return dict(sorted(members.items()))


def _text_member(resource: FileResource | ContentResource, source: FileSource | ContentSource) -> Member:
    """Return a member that may be compressed later."""
    stored = source if isinstance(source, MemberBytes) else None
    return Member(resource, resource.record.bytes, lambda: iter(source.chunks()), stored=stored)


def resources_of(
    members: Mapping[str, Member],
) -> tuple[
    dict[str, Resource],
    dict[str, list[FileResource]],
    dict[str, ConsoleResource],
    dict[str, ContentResource],
]:
    """Return the resources of the manifest: files by the folder of their run, all others by member."""
    resources, files = dict[str, Resource](), dict[str, list[FileResource]]()
    consoles, contents = dict[str, ConsoleResource](), dict[str, ContentResource]()
    for name, member in members.items():
        if isinstance(member.resource, FileResource):
            files.setdefault(folder_of_file(name) or "", []).append(member.resource)
        elif isinstance(member.resource, ConsoleResource):
            consoles[name] = member.resource
        elif isinstance(member.resource, ContentResource):
            contents[member.resource.path] = member.resource
        else:
            resources[name] = member.resource
    return resources, files, consoles, contents


def _resource(name: str, run: SealedRun, encoded: Encoded) -> Resource:
    return Resource(
        path=name,
        bytes=encoded.bytes,
        hash=encoded.hash,
        rows=encoded.rows,
        rows_hash=encoded.rows_hash,
        footer_bytes=encoded.footer_bytes,
        footer_hash=encoded.footer_hash,
        writer=run.writer,
    )


def table_member(name: str, file: BinaryIO, *, rows: int) -> Member:
    """Return a table about all runs as a member of the bundle."""
    size = file.seek(0, os.SEEK_END)
    file.seek(size - 8)
    footer_bytes = 8 + int.from_bytes(file.read(4), "little")
    file.seek(size - footer_bytes)
    footer = file.read(footer_bytes)
    digest = hashlib.sha256()
    for chunk in _file_chunks(file):
        digest.update(chunk)
    resource = Resource(
        path=name,
        bytes=size,
        hash=f"sha256:{digest.hexdigest()}",
        rows=rows,
        rows_hash=None,
        footer_bytes=footer_bytes,
        footer_hash=sha256(footer),
        writer=WRITER,
    )
    return Member(resource, size, partial(_file_chunks, file))


def _file_chunks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(CHUNK):
        yield chunk
