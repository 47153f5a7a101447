"""Histories, exported files and run files of the bundles, read when requested and cached within bounds."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from pull_logs.errors import NotFoundError
from pull_logs.replay.data.artifacts import (
    CONTENT,
    MANIFEST,
    Artifacts,
    artifact_id_of,
    hex_of,
    manifest_bytes,
)
from pull_logs.replay.data.bounded_cache import BoundedCache
from pull_logs.replay.data.catalog import Catalog
from pull_logs.replay.data.console import ConsolePages
from pull_logs.replay.data.exports import encode, plain_table
from pull_logs.replay.data.history import Table
from pull_logs.replay.data.json_text import metadata_bytes
from pull_logs.replay.data.links import LinkSigner, object_path
from pull_logs.replay.data.wide_runs import is_wide, scan_advice
from pull_logs.rows.batches import RESIDUAL
from pull_logs.rows.file_pointers import count_pointers, pointers_text
from pull_logs.runs import LIVE_STATES, RunPath
from pull_logs.snapshot import Run, RunFile
from pull_logs.snapshot.read import Content, RunFiles

_LOG = logging.getLogger("pull_logs.replay")

MEMORY = 256_000_000
"""Bytes that decoded tables may take by default, and encoded exports as many again."""

METADATA = "wandb-metadata.json"
_FILE = "file-"

_COLUMN_COST = 1500
"""Bytes that a column of a table takes in addition to its cells."""


@dataclass(frozen=True, slots=True)
class FileNode:
    """A file of a run, as listed.

    Attributes:
        name: Its name, with slashes for folders.
        size: Its size in bytes.
        md5: The MD5 of its bytes in hex.
        mediatype: Its media type; None where it is unknown.
        object_name: The name of the stored object with its bytes.
    """

    name: str
    size: int
    md5: str
    mediatype: str | None
    object_name: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored object that a link leads to.

    Attributes:
        body: Its bytes.
        media_type: Its media type.
        tag: Its ETag, without quotes.
    """

    body: bytes
    media_type: str
    tag: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a run or of an artifact that a link leads to; its checked bytes are sent from the bundle."""

    file: RunFile | Content

    @property
    def media_type(self) -> str:
        """Its media type."""
        known = None if isinstance(self.file, Content) else self.file.mediatype
        return known or "application/octet-stream"

    @property
    def tag(self) -> str:
        """Its ETag, without quotes."""
        return self.file.record.hash if isinstance(self.file, Content) else self.file.md5


class Library:
    """Reads each history once when it is requested, and drops the least recently used ones.

    Args:
        catalog: The runs.
        signer: Signs links to stored objects.
        memory: Bytes that decoded tables may take, and encoded exports as many again.
        shard_rows: The most rows of one exported file; longer runs have several. None exports each run as
            one file.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        signer: LinkSigner,
        memory: int = MEMORY,
        shard_rows: int | None = None,
    ) -> None:
        self.catalog = catalog
        self.signer = signer
        self.consoles = ConsolePages()
        self._shard_rows = shard_rows
        self._tables = BoundedCache[RunPath, Table](limit=memory, size=_table_bytes)
        self._exports = BoundedCache[tuple[RunPath, int], Stored](
            limit=memory, size=lambda stored: len(stored.body)
        )
        self._exact: dict[RunPath, bool] = {}
        self._noted: set[RunPath] = set()
        self._messages: set[str] = set()
        self._checked: set[tuple[RunPath, str]] = set()
        self._run_files = lru_cache(maxsize=64)(self._files_of)

    @cached_property
    def artifacts(self) -> Artifacts:
        """The artifacts of all runs."""
        return Artifacts(self.catalog.all_runs())

    def note_once(self, message: str) -> None:
        """Log what a bundle does not have, the first time that it is requested."""
        if message not in self._messages:
            self._messages.add(message)
            _LOG.warning("%s", message)

    def table(self, run: Run, *, on_read: Callable[[], None] = lambda: None) -> Table:
        """Return the complete history of a run; `on_read` is called before it is read from its bundle."""

        def read() -> Table:
            on_read()
            return Table(run.arrow_table())

        return self._tables.get(run.path, read)

    def export_links(self, run: Run, base_url: str) -> list[str]:
        """Return the links to a run's exported Parquet files; none for a run that is served live.

        A run that may still log is live, unless its steps are far apart, and so is a run with values that
        plain Parquet would change.
        """
        if run.rows == 0 or (run.state in LIVE_STATES and not is_wide(run)):
            return []
        if run.path not in self._exact:
            self._exact[run.path] = self._is_exact(run)
        names = self._shard_names(run) if self._exact[run.path] else []
        return [self.link(run.path, name, base_url) for name in names]

    def note_scan(self, run: Run) -> None:
        """Log, once per run, what makes its scan fast if it is slow for the steps between its rows."""
        if run.path not in self._noted:
            self._noted.add(run.path)
            if advice := scan_advice(run):
                _LOG.warning("%s", advice)

    def link(self, path: RunPath, name: str, base_url: str) -> str:
        """Return the signed link to a stored object of a run."""
        return self.signer.link(base_url, object_path(path, name))

    def files(self, run: Run) -> list[FileNode]:
        """Return the files of a run, with a metadata file made from its record if the bundle has none."""
        nodes = [
            FileNode(file.name, file.size, file.md5, file.mediatype, _file_object(file.name))
            for file in self._run_files(run.path).values()
        ]
        if run.metadata and METADATA not in self._run_files(run.path):
            made = _stored(metadata_bytes(run), "application/json")
            nodes.append(FileNode(METADATA, len(made.body), made.tag, made.media_type, METADATA))
        return sorted(nodes, key=lambda file: file.name.encode())

    def pointers(self, run: Run) -> str:
        """Return which values of a run point to files that are not in its bundle; empty if none does."""
        found = count_pointers([self.table(run).rows], available=run.files.keys())
        return pointers_text(found) if found else ""

    def stored(self, path: RunPath, name: str) -> Stored | StoredFile | None:
        """Return the stored object `name` of a run; None if there is no such object.

        Raises:
            BundleDamagedError: It is a run file whose bytes do not match their hash.
        """
        run = self.catalog.find(path)
        if run is None:
            return None
        if name == METADATA and run.metadata:
            return _stored(metadata_bytes(run), "application/json")
        if name.startswith((CONTENT, MANIFEST)):
            return self._stored_artifact(run, name)
        if name.startswith(_FILE):
            return self._stored_file(run, name)
        names = self._shard_names(run)
        if name in names:
            number = names.index(name)
            return self._exports.get((path, number), lambda: self._export(run, number))
        return None

    def _files_of(self, path: RunPath) -> RunFiles:
        run = self.catalog.find(path)
        assert run is not None  # noqa: S101 - for the type checker: the caller has found it
        return run.files

    def _stored_file(self, run: Run, name: str) -> StoredFile | None:
        file = self._run_files(run.path).get(_file_of_object(name))
        if file is None:
            return None
        if (run.path, name) not in self._checked:
            file.check()
            self._checked.add((run.path, name))
        return StoredFile(file)

    def _stored_artifact(self, run: Run, name: str) -> Stored | StoredFile | None:
        """Return a file of an artifact, or the manifest of one."""
        if name.startswith(MANIFEST):
            held = self.artifacts.by_id(artifact_id_of(name))
            return None if held is None else _stored(manifest_bytes(held.artifact), "application/json")
        content_hash = f"sha256:{name.removeprefix(CONTENT)}"
        content = None if run.artifacts is None else run.artifacts.content(content_hash)
        if content is None:
            return None
        if (run.path, content_hash) not in self._checked:
            content.check()
            self._checked.add((run.path, content_hash))
        return StoredFile(content)

    def artifact_file(
        self, entity: str, digest: str, *, within: tuple[str, str] | None = None
    ) -> StoredFile | None:
        """Return a file of an artifact by its digest in hex; None if there is no such file.

        Args:
            entity: The entity of the artifact.
            digest: The digest.
            within: The project and the collection of the artifact; None for any of the entity.

        Raises:
            BundleDamagedError: Its bytes do not match their hash.
        """
        for held in self.artifacts.versions(entity, within=within):
            for entry in held.artifact.entries.values() if held.record.entries is not None else ():
                if entry.content is not None and hex_of(entry.digest) == digest:
                    name = CONTENT + entry.content.record.hash.removeprefix("sha256:")
                    found = self._stored_artifact(held.run, name)
                    return found if isinstance(found, StoredFile) else None
        return None

    def _shard_names(self, run: Run) -> list[str]:
        """Return the names of its exported files, which change with its rows: clients cache by name."""
        stem = run.rows_hash.removeprefix("sha256:")[:16]
        if self._shard_rows is None or run.rows <= self._shard_rows:
            return [f"{stem}.runhistory.parquet"]
        shards = -(-run.rows // self._shard_rows)
        return [f"{stem}-{number}-of-{shards}.runhistory.parquet" for number in range(shards)]

    def _is_exact(self, run: Run) -> bool:
        """Return whether plain Parquet can hold the run; its first rows suffice where it has no residual."""
        if RESIDUAL not in next(run.batches(columns=())).column_names:
            return True
        return plain_table(self.table(run)) is not None

    def _export(self, run: Run, number: int) -> Stored:
        plain = plain_table(self.table(run))
        if plain is None:
            raise NotFoundError(f"run {run.path} has no export")
        rows = self._shard_rows or max(plain.num_rows, 1)
        return _stored(encode(plain.slice(number * rows, rows)), "application/octet-stream")


def _table_bytes(table: Table) -> int:
    """Return the memory that a table takes; in a short one, columns take more than their cells."""
    return int(table.rows.nbytes) + _COLUMN_COST * int(table.rows.num_columns)


def _file_object(name: str) -> str:
    """Return the object name of a run file: one segment of a URL, whatever the name of the file."""
    return _FILE + base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _file_of_object(name: str) -> str:
    """Return the name of the run file of an object; empty, which no file is called, if it has none."""
    text = name.removeprefix(_FILE)
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return ""


def _stored(body: bytes, media_type: str) -> Stored:
    return Stored(body, media_type, hashlib.md5(body, usedforsecurity=False).hexdigest())
