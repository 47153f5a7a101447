"""Trackio as a source: the databases of a folder are projects, and their runs are runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pull_logs.errors import DamageError, FileMissingError
from pull_logs.runs import Coverage, RunInfo
from pull_logs.snapshot import BundleRun
from pull_logs.sources.row_batches import merged_batches, with_runtime
from pull_logs.sources.stored_rows import RESERVED, store_rows
from pull_logs.sources.times import utc_time
from pull_logs.sources.tracked_runs import Origin, ReadOptions, TrackedRun
from pull_logs.sources.trackio.databases import (
    Call,
    Database,
    ExportedFiles,
    Project,
    ProjectRun,
    is_database,
    is_exported,
)
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "trackio"
_PARTS = ("_system.parquet", "_configs.parquet", "_traces.parquet")


@dataclass(frozen=True, slots=True)
class TrackioRun:
    """A run of Trackio, not yet read."""

    project: Project
    run: ProjectRun

    def read(self, scratch: Path, options: ReadOptions) -> TrackedRun:
        """Read it; see `FoundRun.read`.

        Raises:
            DamageError: The database cannot be read.
            DataError: A call has a value that no run can hold.
        """
        calls = list(self.project.calls(self.run))
        started = self._started(calls)
        raw = (_row(call) for call in calls)
        rows = store_rows(merged_batches(with_runtime(raw, started)), scratch / "rows")
        info = self._info(rows.last, started, calls, options)
        coverage = Coverage(received_rows=rows.rows, received_last_step=rows.last_step)
        run = BundleRun(info=info, coverage=coverage, batches=rows.batches, system=self._system(started))
        notes = []
        if len(calls) > rows.rows:
            together = counted(len(calls) - rows.rows, "call")
            notes.append(
                f"{together} of {len(calls)} have the step of another, and were merged with it; of two"
                " values of a metric the later is kept"
            )
        return TrackedRun(run, tuple(f"{info.path}: {note}" for note in notes))

    def _started(self, calls: Sequence[Call]) -> float | None:
        times = [_seconds(call.time) for call in calls]
        created = self.run.config.get("_Created")
        times += [_seconds(created)] if isinstance(created, str) else []
        return min((time for time in times if time is not None), default=None)

    def _system(self, started: float | None) -> pa.Table | None:
        from pull_logs.rows.batches import system_batch_from_rows

        rows = [
            {
                "_timestamp": _seconds(call.time),
                **{f"system.{key}": value for key, value in call.values.items()},
            }
            for call in self.project.readings(self.run)
        ]
        return system_batch_from_rows(with_runtime(rows, started)) if rows else None

    def _info(
        self, last: Mapping[str, Any], started: float | None, calls: Sequence[Call], options: ReadOptions
    ) -> RunInfo:
        config = self.run.config
        group, user = config.get("_Group"), config.get("_Username")
        times = [time for call in calls if (time := _seconds(call.time)) is not None]
        return RunInfo(
            path=options.path(self.project.file.stem, self.run.run_id),
            name=self.run.name,
            state="finished",
            group=group if isinstance(group, str) else None,
            user=user if isinstance(user, str) else None,
            created_at=utc_time(started),
            heartbeat_at=utc_time(max(times, default=None)),
            config={name: value for name, value in config.items() if not name.startswith("_")},
            summary=last,
            metadata=Origin(NAME, None, self.run.name).as_metadata(),
        )


def _row(call: Call) -> dict[str, Any]:
    values = {f"{NAME}/{name}" if name in RESERVED else name: value for name, value in call.values.items()}
    return {**values, "_step": call.step, "_timestamp": _seconds(call.time)}


def _seconds(text: str) -> float | None:
    """Return a time in seconds since 1970; a time without a zone is UTC."""
    with suppress(ValueError):
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return None


class Trackio:
    """The kind of source; see `Tracker`."""

    name = NAME

    def recognizes(self, location: str) -> bool:
        """Return whether there is a database of Trackio, or a file that it exported, at a path."""
        return any(_projects(Path(location)))

    def find(self, location: str) -> Sequence[TrackioRun]:
        """Return the runs of all projects at a path.

        Raises:
            FileMissingError: There is none.
            DamageError: A database cannot be read.
        """
        try:
            found = [
                TrackioRun(project, run) for project in _projects(Path(location)) for run in project.runs()
            ]
        except ValueError as exc:
            raise DamageError(f"{location!r} cannot be read: {exc}", hint="restore it from a copy") from exc
        if not found:
            raise FileMissingError(
                f"no run of Trackio in {location!r}",
                hint="name a database PROJECT.db, PROJECT.parquet, or their folder (TRACKIO_DIR)",
            )
        return found


def _projects(path: Path) -> Iterator[Project]:
    """Yield the projects at a path; of a database and its exported files, the database."""
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
    databases = [file for file in files if file.suffix == ".db" and file.is_file() and is_database(file)]
    yield from map(Database, databases)
    known = {file.stem for file in databases}
    for file in files:
        exported = file.suffix == ".parquet" and file.is_file() and not file.name.endswith(_PARTS)
        if exported and file.stem not in known and is_exported(file):
            yield ExportedFiles(file)
