"""What the server reads of its bundles, kept in bounds: tables, exports, their links."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pull_logs.errors import NotFoundError
from pull_logs.replay.bounded import BoundedCache
from pull_logs.replay.catalog import Catalog
from pull_logs.replay.exports import encode, plain_table
from pull_logs.replay.history import Table
from pull_logs.replay.links import LinkSigner, object_path
from pull_logs.replay.records import metadata_bytes
from pull_logs.runs import LIVE_STATES, RunPath
from pull_logs.snapshot.bundle import Run
from pull_logs.snapshot.columns import RESIDUAL

MEMORY = 256_000_000
"""Bytes that tables, and again exports, may take by default."""

METADATA = "wandb-metadata.json"

_COLUMN_COST = 1500
"""Bytes that a column of a table takes beside its cells."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that a link leads to.

    Attributes:
        tag: Its ETag, without quotes.
    """

    body: bytes
    media_type: str
    tag: str


class Library:
    """Reads histories when asked, each once, and forgets the least used ones.

    Args:
        catalog: The runs.
        signer: Signs links to exports.
        memory: Bytes that decoded tables, and again encoded exports, may take.
        shard_rows: Rows that one export has at most, the runs longer than that having several; None
            gives each run one.
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
        self._shard_rows = shard_rows
        self._tables = BoundedCache[RunPath, Table](limit=memory, size=_table_bytes)
        self._exports = BoundedCache[tuple[RunPath, int], Stored](
            limit=memory, size=lambda stored: len(stored.body)
        )
        self._exact: dict[RunPath, bool] = {}

    def table(self, run: Run) -> Table:
        """The whole history of a run."""
        return self._tables.get(run.path, lambda: Table(run.table()))

    def export_links(self, run: Run, base_url: str) -> list[str]:
        """The links to the run's Parquet files; none for a run that is served live.

        A run that may still log is live; so is one that plain Parquet would change.
        """
        if run.state in LIVE_STATES or run.rows == 0:
            return []
        if run.path not in self._exact:
            self._exact[run.path] = self._is_exact(run)
        names = self._shard_names(run) if self._exact[run.path] else []
        return [self.link(run.path, name, base_url) for name in names]

    def link(self, path: RunPath, name: str, base_url: str) -> str:
        """The signed link to an object of a run."""
        return self.signer.link(base_url, object_path(path, name))

    def files(self, run: Run) -> list[str]:
        """The names of the files of a run: its metadata, where it has some."""
        return [METADATA] if run.metadata else []

    def stored(self, path: RunPath, name: str) -> Stored | None:
        """The object `name` of a run; None if there is no such object."""
        run = self.catalog.find(path)
        if run is None:
            return None
        if name == METADATA and run.metadata:
            return _stored(metadata_bytes(run), "application/json")
        names = self._shard_names(run)
        if name in names:
            number = names.index(name)
            return self._exports.get((path, number), lambda: self._export(run, number))
        return None

    def _shard_names(self, run: Run) -> list[str]:
        """Another name for other rows: whoever keeps a file by its link's path keeps it rightly."""
        stem = run.rows_hash.removeprefix("sha256:")[:16]
        if self._shard_rows is None or run.rows <= self._shard_rows:
            return [f"{stem}.runhistory.parquet"]
        shards = -(-run.rows // self._shard_rows)
        return [f"{stem}-{number}-of-{shards}.runhistory.parquet" for number in range(shards)]

    def _is_exact(self, run: Run) -> bool:
        """Whether plain Parquet carries the run; a look at its first rows tells where nothing is in the way."""
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
    """What a table takes; of a short one, its columns take more than its cells."""
    return int(table.rows.nbytes) + _COLUMN_COST * int(table.rows.num_columns)


def _stored(body: bytes, media_type: str) -> Stored:
    return Stored(body, media_type, hashlib.md5(body, usedforsecurity=False).hexdigest())
