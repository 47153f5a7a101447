"""MLflow as a source: its database, its file store, or a tracking server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from pull_logs.errors import FileMissingError, UsageError
from pull_logs.runs import Coverage, RunInfo
from pull_logs.snapshot import BundleRun
from pull_logs.sources.local_files import CopiedFiles
from pull_logs.sources.mlflow.file_store import FileStore, experiments_at, run_at
from pull_logs.sources.mlflow.server_store import ServerStore
from pull_logs.sources.mlflow.sql_store import SqlStore, is_mlflow
from pull_logs.sources.mlflow.stores import PARENT, STATES, Store, StoredRun, Value, parameter
from pull_logs.sources.point_rows import Points, Segment, SegmentWriter, renamed_note
from pull_logs.sources.stored_rows import store_rows
from pull_logs.sources.times import utc_time
from pull_logs.sources.tracked_runs import Origin, ReadOptions, TrackedRun
from pull_logs.suggestions import counted

NAME = "mlflow"
_SQLITE = "sqlite:///"
_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True)
class MlflowRun:
    """A run of MLflow, not yet read.

    Attributes:
        run: Its facts.
        store: Its store.
        version: The version of the store.
        parents: The names of all runs by id, for those that have a parent.
        deleted: The number of deleted runs, which only the first run of a store reports.
    """

    run: StoredRun
    store: Store
    version: str | None
    parents: Mapping[str, str]
    deleted: int = 0

    def read(self, scratch: Path, options: ReadOptions) -> TrackedRun:
        """Read it; see `FoundRun.read`.

        Raises:
            DamageError: The store cannot be read.
            AccessError: The server could not be reached.
        """
        segment = self._values(scratch / "parts")
        rows = store_rows((batch for batch, _ in segment.batches({}, None)), scratch / "rows")
        reasons = list(self.store.lost(self.run))
        promised = self.store.promised(self.run)
        copied = CopiedFiles()
        if options.files is not None:
            copied = self.store.artifacts(self.run, options.files, scratch / "artifacts")
        if promised is not None and promised != segment.points:
            reasons.append(f"the store has {promised} values, and {segment.points} were read")
        run = BundleRun(
            info=self._info(rows.last, options),
            coverage=Coverage(
                received_rows=rows.rows,
                received_last_step=rows.last_step,
                complete=not reasons,
                reason="; ".join(reasons),
            ),
            batches=rows.batches,
            files=copied.files,
        )
        notes = [*reasons, *copied.notes, *renamed_note(rows.last.keys(), NAME)]
        if segment.repeated:
            notes.append(
                f"{counted(segment.repeated, 'value')} of {segment.points} have a later value of the same"
                " metric and step, which is kept"
            )
        if self.deleted:
            notes.append(f"{counted(self.deleted, 'deleted run')} of the store were left out")
        return TrackedRun(run, tuple(f"{run.info.path}: {note}" for note in notes))

    def _values(self, folder: Path) -> Segment:
        folder.mkdir()
        tags: dict[str, int] = {}
        writer = SegmentWriter(folder, NAME, (self.run.started or 0) / 1000, tags)
        values = self.store.values(self.run)
        while part := list(islice(values, _AT_ONCE)):
            writer.add(_points(part, tags), ())
        return writer.close()

    def _info(self, last: Mapping[str, Any], options: ReadOptions) -> RunInfo:
        run = self.run
        parent = run.tags.get(PARENT)
        return RunInfo(
            path=options.path(run.experiment, run.run_id),
            name=run.name,
            state=STATES.get(run.status, "finished"),
            tags=run.as_tags(),
            group=self.parents.get(parent, parent) if parent else None,
            notes=run.tags.get("mlflow.note.content"),
            user=run.user,
            commit=run.tags.get("mlflow.source.git.commit"),
            created_at=utc_time(None if run.started is None else run.started / 1000),
            heartbeat_at=utc_time(None if run.ended is None else run.ended / 1000),
            config={name: parameter(text) for name, text in run.params.items()},
            summary=last,
            metadata=Origin(NAME, self.version, run.run_id).as_metadata(),
        )


def _points(values: Sequence[Value], tags: dict[str, int]) -> Points:
    return Points(
        np.array([tags.setdefault(value.key, len(tags)) for value in values], dtype=np.int64),
        np.array([value.step for value in values], dtype=np.int64),
        np.array([value.time / 1000 for value in values], dtype=np.float64),
        np.array([value.value for value in values], dtype=np.float64),
    )


class Mlflow:
    """The kind of source; see `Tracker`."""

    name = NAME

    def recognizes(self, location: str) -> bool:
        """Return whether there is a store at a path or URL; whether a URL of HTTP is one is not known."""
        if location.startswith(("http://", "https://")):
            return False
        if location.startswith("sqlite:"):
            return True
        path = Path(location)
        return is_mlflow(path) or bool(run_at(path) or experiments_at(path)) or bool(_databases(path))

    def find(self, location: str) -> Sequence[MlflowRun]:
        """Return the runs of a store, by the time of their start.

        Raises:
            FileMissingError: There is no store, or it has no run.
            UsageError: The URL is not that of a store that can be read.
            AccessError: The server could not be reached.
        """
        return list(_runs(location))


def _runs(location: str) -> Iterator[MlflowRun]:
    store = _store(location)
    runs, deleted = store.runs()
    if not runs:
        raise FileMissingError(
            f"no run of MLflow in {location!r}",
            hint="write sqlite:///mlflow.db, mlruns/ or the URL of a server",
        )
    version = store.version
    parents = {run.run_id: run.name for run in runs}
    for number, run in enumerate(runs):
        yield MlflowRun(run, store, version, parents, deleted if number == 0 else 0)


def _databases(path: Path) -> list[Path]:
    """Return the databases of MLflow in a folder."""
    return [file for file in sorted(path.glob("*.db")) if is_mlflow(file)] if path.is_dir() else []


def _store(location: str) -> Store:
    """Return the store at a path or URL.

    Raises:
        UsageError: The URL is of a kind that cannot be read.
    """
    if location.startswith(("http://", "https://")):
        return ServerStore(location)
    if location.startswith(_SQLITE):
        return SqlStore(Path(unquote(location.removeprefix(_SQLITE))))
    if "://" in location and not location.startswith("file:"):
        raise UsageError(
            f"{urlsplit(location).scheme}: is not a store of MLflow that can be read",
            hint="start `mlflow server` on it, and name the URL of the server",
        )
    path = Path(unquote(urlsplit(location).path)) if location.startswith("file:") else Path(location)
    if path.is_file():
        return SqlStore(path)
    databases = [] if run_at(path) or experiments_at(path) else _databases(path)
    return SqlStore(databases[0]) if databases else FileStore(path)
