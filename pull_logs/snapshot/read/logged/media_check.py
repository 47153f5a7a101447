"""Compare the index of media and the tables of a bundle with what its rows, files and artifacts give."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pull_logs.errors import BundleDamagedError
from pull_logs.snapshot.format import (
    MEDIA,
    WRITER,
    Manifest,
    MediaWriter,
    Resource,
    folder_of_table,
    sha256,
)
from pull_logs.snapshot.read.logged.media_index import MediaTables, media_records
from pull_logs.snapshot.read.logged.pointers import MediaFiles

if TYPE_CHECKING:
    from pull_logs.runs import RunPath
    from pull_logs.snapshot.format import Container
    from pull_logs.snapshot.read.logged.artifacts import RunArtifacts
    from pull_logs.snapshot.read.logged.contents import Content
    from pull_logs.snapshot.read.logged.media_index import Batches
    from pull_logs.snapshot.read.run_files import RunFile


class CheckedRun(Protocol):
    """A run of the bundle."""

    @property
    def path(self) -> RunPath:
        """Its path."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """Its summary."""

    @property
    def files(self) -> Mapping[str, RunFile]:
        """Its files by name."""

    @property
    def artifacts(self) -> RunArtifacts | None:
        """Its artifacts."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The tables that the rows of a bundle give: the hash of each by its member."""

    tables: dict[str, str]

    def add(self, member: str, data: bytes, _rows: int) -> None:
        self.tables[member] = sha256(data)


class _Hash(io.RawIOBase):
    """Hashes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return len(data)


def media_problems(
    container: Container, manifest: Manifest, runs: Iterable[tuple[CheckedRun, str, Batches]]
) -> Iterator[BundleDamagedError]:
    """Yield what is wrong with the index of media and the tables of a bundle.

    What another version of pyarrow encoded has other bytes: then only the names of the tables are compared.

    Args:
        container: The bundle.
        manifest: Its manifest.
        runs: The runs in their order, each with its folder and a function that returns its batches.

    Raises:
        BundleDamagedError: A run cannot be read.
        DataError: Likewise.
    """
    held = {name: one for name, one in manifest.resources.items() if folder_of_table(name) is not None}
    resource = manifest.resources.get(MEDIA)
    if resource is None and not held:
        return
    sink, found = _Hash(), _Found({})
    writer = MediaWriter(sink)  # type: ignore[arg-type]
    for run, folder, batches in runs:
        members = {file.record.name: file.path for file in manifest.files.get(folder, ())}
        artifacts = run.artifacts
        files: MediaFiles[RunFile, Content] = MediaFiles(
            run.files,
            lambda artifacts=artifacts: () if artifacts is None else artifacts.records,  # type: ignore[misc]
            lambda artifacts=artifacts: () if artifacts is None else artifacts.contents,  # type: ignore[misc]
        )
        for record in media_records(
            run.path, batches, run.summary, files, MediaTables(folder, members, found.add)
        ):
            writer.add([record])
    writer.close()
    path = str(container.path)
    yield from _table_problems(held, found.tables, path)
    if resource is None or resource.rows != writer.rows or _differs(resource, sink.digest.hexdigest()):
        yield _problem(path, MEDIA, "the index of media is not that of the rows")


def _differs(resource: Resource, digest: str) -> bool:
    return resource.writer == WRITER and resource.hash != f"sha256:{digest}"


def _table_problems(
    held: Mapping[str, Resource], found: Mapping[str, str], path: str
) -> Iterator[BundleDamagedError]:
    for member in sorted(held.keys() ^ found.keys()):
        reason = "no row points to it" if member in held else "a row points to it, and it is missing"
        yield _problem(path, member, f"table {member!r}: {reason}")
    for member in sorted(held.keys() & found.keys()):
        if held[member].writer == WRITER and held[member].hash != found[member]:
            yield _problem(path, member, f"table {member!r} does not have the cells of its file")


def _problem(path: str, member: str, reason: str) -> BundleDamagedError:
    return BundleDamagedError(f"{path!r} is damaged: {reason}", path=path, member=member)
