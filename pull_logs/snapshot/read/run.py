"""One run of an open bundle: its facts at once, its histories when they are asked for."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pull_logs.errors import BundleDamagedError, DataError, MetricNotFoundError
from pull_logs.rows.batches import RESIDUAL, batch_keys, batch_rows, steps_of
from pull_logs.rows.canonical import STEP
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.format import (
    HISTORY,
    SYSTEM,
    Container,
    Encoded,
    Manifest,
    MemberFile,
    Resource,
    RunTable,
    Span,
    coverage_from_fields,
    files_hash,
    read_batches,
    read_groups,
    read_schema,
    read_table,
    sha256,
)
from pull_logs.snapshot.read.run_files import RunFiles

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

WHOLE = 2**20
"""Bytes of a file that is checked and read whole: that costs less than picking columns from it."""

_NEAREST = 5
_HINT = "run `pull-logs verify` to see where"


class Run:
    """A run of a bundle; the bundle has to stay open.

    Facts that are nested (`config`, `summary`, ...) are parsed when they are
    asked for and given out as dicts of the caller's own, with NaN as a float.

    Attributes:
        path: `entity/project/run_id`.
    """

    __slots__ = ("_container", "_folder", "_manifest", "_place", "_table", "path")

    def __init__(
        self, container: Container, table: RunTable, manifest: Manifest, folder: str, place: int
    ) -> None:
        self._container, self._table, self._manifest = container, table, manifest
        self._folder, self._place = folder, place
        self.path: RunPath = table.paths[place]

    def __repr__(self) -> str:
        return f"<Run {str(self.path)!r}: {self.rows} rows>"

    def _fact(self, name: str) -> Any:
        return self._table.value(name, self._place)

    def _text(self, name: str) -> str | None:
        text: str | None = self._fact(name)
        return text

    @property
    def name(self) -> str:
        """The display name; untrusted text, not unique."""
        return str(self._fact("name"))

    @property
    def state(self) -> str:
        """Its state when it was pulled."""
        return str(self._fact("state"))

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags."""
        return tuple(self._fact("tags") or ())

    @property
    def group(self) -> str | None:
        """Its group."""
        return self._text("group")

    @property
    def job_type(self) -> str | None:
        """Its job type."""
        return self._text("job_type")

    @property
    def notes(self) -> str | None:
        """Its notes; untrusted text."""
        return self._text("notes")

    @property
    def sweep(self) -> str | None:
        """The id of its sweep."""
        return self._text("sweep")

    @property
    def user(self) -> str | None:
        """Who logged it."""
        return self._text("user")

    @property
    def commit(self) -> str | None:
        """The commit of the code that logged it."""
        return self._text("commit")

    @property
    def created_at(self) -> str | None:
        """When it was created, UTC."""
        return self._text("created_at")

    @property
    def heartbeat_at(self) -> str | None:
        """When it was last heard of, UTC."""
        return self._text("heartbeat_at")

    @property
    def host(self) -> str | None:
        """The host of the API it was read from."""
        return self._text("host")

    @property
    def config(self) -> dict[str, Any]:
        """Its config, unwrapped and without internal keys."""
        return self._table.document("config", self._place)

    @property
    def config_internal(self) -> dict[str, Any]:
        """The internal keys of its config."""
        return self._table.document("config_internal", self._place)

    @property
    def summary(self) -> dict[str, Any]:
        """Its summary, nested as logged."""
        return self._table.document("summary", self._place)

    @property
    def system_summary(self) -> dict[str, Any]:
        """Its last system metrics."""
        return self._table.document("system_summary", self._place)

    @property
    def metadata(self) -> dict[str, Any]:
        """What its `wandb-metadata.json` held."""
        return self._table.document("metadata", self._place)

    @property
    def sweep_config(self) -> dict[str, Any] | None:
        """The config of its sweep; None without a sweep, and where it was not pulled."""
        return self._table.sweep_config(self._place)

    @property
    def files(self) -> RunFiles:
        """The files that it logged and that were pulled (`fetch --files`), by name."""
        held = self._manifest.files.get(self._folder, ())
        return RunFiles(self._container, held, run=str(self.path))

    @property
    def files_hash(self) -> str | None:
        """The identity of its files, by names and bytes alone: `sha256:<hex>`; None without files."""
        return files_hash(file.record for file in self._manifest.files.get(self._folder, ()))

    @property
    def info(self) -> RunInfo:
        """All facts together."""
        return self._table.row(self._place).info

    @property
    def coverage(self) -> Coverage:
        """What its history was to hold, and what of it arrived."""
        return coverage_from_fields({name: self._fact(name) for name in _COVERAGE})

    @property
    def complete(self) -> bool:
        """Whether all rows are there that W&B promised when it was pulled."""
        return bool(self._fact("complete"))

    @property
    def rows(self) -> int:
        """Rows of its history."""
        return int(self._fact("rows"))

    @property
    def first_step(self) -> int | None:
        """The first step, or None without rows."""
        step: int | None = self._fact("first_step")
        return step

    @property
    def last_step(self) -> int | None:
        """The last step, or None without rows."""
        step: int | None = self._fact("last_step")
        return step

    @property
    def rows_hash(self) -> str:
        """The identity of its rows, whichever writer encoded them: `sha256:<hex>`."""
        return self._resource(HISTORY).rows_hash or ""

    @property
    def system_rows_hash(self) -> str | None:
        """The same of its system metrics; None without them."""
        resource = self._system()
        return resource.rows_hash if resource else None

    @property
    def bundle_path(self) -> str:
        """The bundle that it is in, as it was opened."""
        return str(self._container.path)

    @property
    def bundle_metrics(self) -> str | None:
        """The regular expression of the metrics that were kept in its bundle; None if all were."""
        return self._manifest.metrics

    @property
    def bundle_redacted(self) -> bool:
        """Whether the bundle that it is in says that something was removed from it."""
        return bool(self._manifest.redacted)

    def schema(self) -> pa.Schema:
        """The columns of its batches and their types, the residual column among them.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        return self._schema(self._resource(HISTORY))

    def column_names(self) -> tuple[str, ...]:
        """Every key of its rows, `_step` first, the others in the order of their UTF-8 bytes.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        names = set(self.schema().names)
        if RESIDUAL in names:
            names.discard(RESIDUAL)
            for batch in self.batches(columns=()):
                names |= batch_keys(batch)
        return (STEP, *sorted(names - {STEP}))

    def batches(self, columns: Collection[str] | None = None) -> Iterator[pa.Table]:
        """Its rows as batches in step order, one row group in memory at a time.

        A batch always has `_step`, and the residual column where the file has
        one: it may hold cells of any key.

        Args:
            columns: The keys wanted; a key that the run does not have is passed over.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        resource = self._resource(HISTORY)
        with self._member(resource) as (file, footer):
            _announce(file, footer, columns)
            yield from read_batches(
                file,
                _listed(columns),
                footer=footer,
                expected_rows=resource.rows,
                checked=isinstance(file, bytes),
            )

    def table(self, columns: Collection[str] | None = None) -> pa.Table:
        """All its rows as one batch; as `batches` otherwise.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        return self._table_of(self._resource(HISTORY), columns)

    def _table_of(self, resource: Resource, columns: Collection[str] | None) -> pa.Table:
        with self._member(resource) as (file, footer):
            _announce(file, footer, columns)
            return read_table(
                file,
                _listed(columns),
                footer=footer,
                expected_rows=resource.rows,
                checked=isinstance(file, bytes),
            )

    def scan_history(
        self, keys: Collection[str] | None = None, min_step: int = 0, max_step: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Its rows, each a dict of the keys it has.

        Args:
            keys: Give only these keys, and only the rows that have at least one of them. (W&B's own
                `scan_history` gives the rows that have all of them.)
            min_step: The first step to give.
            max_step: The step before which to end.

        Raises:
            BundleDamagedError: The history is damaged.
        """
        wanted = None if keys is None else frozenset(keys)
        for batch in self.batches(wanted):
            steps = steps_of(batch)
            start = int(steps.searchsorted(min_step))
            end = len(steps) if max_step is None else int(steps.searchsorted(max_step))
            for row in batch_rows(batch.slice(start, max(end - start, 0)), wanted):
                if row:
                    yield row
            if end < len(steps):
                return

    def history(self, columns: Collection[str] | None = None) -> pd.DataFrame:
        """All its rows as a frame: `_step`, then a column per key; nothing is sampled.

        Numbers are float64 (int64 or Int64 where a float would round them), with NaN for a missing value as
        well as for a logged NaN; a column of several kinds of values is an object column, with None for a
        missing one. Only the columns asked for are read.

        Raises:
            MetricNotFoundError: A column that was asked for is in no row.
            BundleDamagedError: The history is damaged.
        """
        from pull_logs.snapshot.read.dataframe import to_frame

        frame = to_frame(self.table(columns), columns)
        for name in columns or ():
            if name not in frame.columns:
                raise self._no_metric(name)
        return frame

    def system_table(self) -> pa.Table | None:
        """Its system metrics as one system batch, or None if none were pulled.

        Raises:
            BundleDamagedError: They are damaged.
        """
        resource = self._system()
        return None if resource is None else self._table_of(resource, None)

    def system_rows(self) -> Iterator[dict[str, Any]]:
        """Its system metrics row by row, in the order of their time.

        Raises:
            BundleDamagedError: They are damaged.
        """
        table = self.system_table()
        return iter(()) if table is None else batch_rows(table)

    @property
    def history_encoded(self) -> Encoded:
        """Size, hashes and rows of its `history.parquet`."""
        return _encoded(self._resource(HISTORY), first=self.first_step, last=self.last_step)

    @property
    def system_encoded(self) -> Encoded | None:
        """The same of its `system.parquet`, or None without one."""
        resource = self._system()
        return _encoded(resource, first=None, last=None) if resource else None

    @property
    def writer(self) -> str:
        """The library that encoded its history."""
        return self._resource(HISTORY).writer

    def history_chunks(self) -> Iterator[bytes]:
        """The bytes of its `history.parquet`, as they are."""
        with self._container.open(self._resource(HISTORY).path) as file:
            yield from file.chunks()

    def system_chunks(self) -> Iterator[bytes]:
        """The bytes of its `system.parquet`, as they are; none without one."""
        resource = self._system()
        if resource is not None:
            with self._container.open(resource.path) as file:
                yield from file.chunks()

    def text_columns(self) -> tuple[str, ...]:
        """The columns of its history that hold text, the residual one included; reads no more than a footer.

        Raises:
            BundleDamagedError: The footer is damaged.
        """
        return _text_columns(self.schema())

    def system_text_columns(self) -> tuple[str, ...]:
        """The same of its system metrics; none without them."""
        resource = self._system()
        return _text_columns(self._schema(resource)) if resource else ()

    def _schema(self, resource: Resource) -> pa.Schema:
        """The columns of a file, of which nothing is read but its footer."""
        with self._damage_told(resource), self._container.open(resource.path) as file:
            return read_schema(_checked_footer(file, resource))

    def _resource(self, file: str) -> Resource:
        return self._manifest.resources[f"{self._folder}/{file}"]

    def _system(self) -> Resource | None:
        return self._manifest.resources.get(f"{self._folder}/{SYSTEM}")

    @contextmanager
    def _member(self, resource: Resource) -> Iterator[tuple[MemberFile | bytes, bytes]]:
        """A Parquet file and its footer, checked: a small file by its hash, a large one by its footer's."""
        with self._damage_told(resource), self._container.open(resource.path) as file:
            if resource.bytes > WHOLE:
                yield file, _checked_footer(file, resource)
                return
            small = file.read()
            _check_hash(small, resource.hash, "it")
            footer = small[resource.bytes - resource.footer_bytes :]
            _check_hash(footer, resource.footer_hash, "its footer")
            yield small, footer

    @contextmanager
    def _damage_told(self, resource: Resource) -> Iterator[None]:
        """What is wrong with a Parquet file, told with the names of the bundle, the file and the run."""
        shown, name = str(self._container.path), resource.path
        try:
            yield
        except DataError as exc:
            raise BundleDamagedError(
                f"{shown!r} is damaged: {name.rsplit('/', 1)[1]} of run {str(self.path)!r}: {exc.message}",
                path=shown,
                member=name,
                hint=_HINT,
            ) from exc

    def _no_metric(self, name: str) -> MetricNotFoundError:
        near = difflib.get_close_matches(name, self.column_names(), n=_NEAREST, cutoff=0.4)
        listed = ", ".join(map(repr, near))
        return MetricNotFoundError(
            f"run {str(self.path)!r} has no metric {name!r}", hint=f"the nearest are {listed}" if near else ""
        )


_COVERAGE = (
    "promised_rows",
    "promised_last_step",
    "received_rows",
    "received_last_step",
    "complete",
    "incomplete_reason",
)


def _check_hash(data: bytes, expected: str, what: str) -> None:
    if sha256(data) != expected:
        raise DataError(f"{what} does not have the hash that the manifest tells")


def _checked_footer(file: MemberFile, resource: Resource) -> bytes:
    footer = file.read_at(resource.bytes - resource.footer_bytes, resource.footer_bytes)
    _check_hash(footer, resource.footer_hash, "its footer")
    return footer


def _announce(file: MemberFile | bytes, footer: bytes, columns: Collection[str] | None) -> None:
    """Say which parts of a file the columns take, each row group's together."""
    wanted = None if columns is None else {STEP, RESIDUAL, *columns}

    def spans() -> Iterator[Span]:
        for group in read_groups(footer, size=None):
            chunks = group.chunks if wanted is None else [it for it in group.chunks if it.column in wanted]
            yield from ((chunk.start, chunk.end) for chunk in chunks)

    if isinstance(file, MemberFile):
        file.expect(spans)


def _text_columns(schema: pa.Schema) -> tuple[str, ...]:
    return tuple(column.name for column in schema if str(column.type) == "string")


def _listed(columns: Collection[str] | None) -> list[str] | None:
    return None if columns is None else list(columns)


def _encoded(resource: Resource, *, first: int | None, last: int | None) -> Encoded:
    return Encoded(
        rows=resource.rows,
        first_step=first,
        last_step=last,
        rows_hash=resource.rows_hash or "",
        bytes=resource.bytes,
        hash=resource.hash,
        footer_bytes=resource.footer_bytes,
        footer_hash=resource.footer_hash,
    )
