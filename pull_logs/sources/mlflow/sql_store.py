"""MLflow's SQLite database, read with SQL and never written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pull_logs.errors import DamageError, FileMissingError
from pull_logs.sources.local_files import CopiedFiles
from pull_logs.sources.mlflow.artifacts import local_artifacts
from pull_logs.sources.mlflow.stores import StoredRun, Value

if TYPE_CHECKING:
    from pull_logs.snapshot import FileSelection

_TABLES = frozenset({"experiments", "runs", "metrics", "params", "tags"})
_MAGIC = b"SQLite format 3\0"
_RUNS = """
SELECT r.run_uuid, r.name, e.name, r.status, r.start_time, r.end_time, r.user_id,
       r.artifact_uri, r.lifecycle_stage = 'deleted' OR e.lifecycle_stage = 'deleted'
FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id ORDER BY r.start_time, r.run_uuid
"""
_VALUES = """
SELECT key, step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY step, timestamp, key
"""


@contextmanager
def open_read_only(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a SQLite database for reading.

    Raises:
        FileMissingError: It does not exist.
        DamageError: It cannot be read.
    """
    if not file.is_file():
        raise FileMissingError(
            f"no database {str(file)!r}", hint="write sqlite:///PATH, or the path of the file"
        )
    try:
        uri = f"file:{quote(str(file.resolve()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            yield connection
    except sqlite3.Error as exc:
        raise DamageError(
            f"the database {str(file)!r} cannot be read: {exc}",
            hint="copy it, and check the copy with sqlite3",
        ) from exc


def tables_of(file: Path) -> frozenset[str]:
    """Return the tables of a SQLite database; none for another file.

    Raises:
        OSError: The file cannot be read.
    """
    with file.open("rb") as source:
        if source.read(len(_MAGIC)) != _MAGIC:
            return frozenset()
    try:
        with open_read_only(file) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return frozenset(name for (name,) in found)
    except DamageError:
        return frozenset()


def is_mlflow(file: Path) -> bool:
    """Return whether a file is a database of MLflow.

    Raises:
        OSError: The file cannot be read.
    """
    return file.is_file() and tables_of(file) >= _TABLES


@dataclass(frozen=True, slots=True)
class SqlStore:
    """A database of MLflow; see `Store`."""

    file: Path

    @property
    def version(self) -> str | None:
        """The version of the schema, a revision of Alembic."""
        with open_read_only(self.file) as connection:
            try:
                found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            except sqlite3.OperationalError:
                return None
            return str(found[0]) if found else None

    def runs(self) -> tuple[list[StoredRun], int]:
        """Return the runs that are not deleted, and the number of those that are."""
        with open_read_only(self.file) as connection:
            params, tags = _pairs(connection, "params"), _pairs(connection, "tags")
            rows = connection.execute(_RUNS).fetchall()
        runs = [
            StoredRun(
                run_id=run_id,
                name=name or tags.get(run_id, {}).get("mlflow.runName") or run_id,
                experiment=experiment,
                status=status or "RUNNING",
                started=started,
                ended=ended,
                user=user or None,
                params=params.get(run_id, {}),
                tags=tags.get(run_id, {}),
                artifacts=artifacts or "",
            )
            for run_id, name, experiment, status, started, ended, user, artifacts, deleted in rows
            if not deleted
        ]
        return runs, len(rows) - len(runs)

    def values(self, run: StoredRun) -> Iterator[Value]:
        """Yield all values of a run, by step."""
        with open_read_only(self.file) as connection:
            for key, step, time, value, is_nan in connection.execute(_VALUES, (run.run_id,)):
                yield Value(key, step, time, float("nan") if is_nan else value)

    def promised(self, run: StoredRun) -> int:
        """Return the number of values that the database has."""
        query = "SELECT count(*) FROM metrics WHERE run_uuid = ?"
        with open_read_only(self.file) as connection:
            return int(connection.execute(query, (run.run_id,)).fetchone()[0])

    def lost(self, run: StoredRun) -> list[str]:  # noqa: ARG002 - see Store
        """Return nothing: a value is read, or the database is damaged."""
        return []

    def artifacts(self, run: StoredRun, selection: FileSelection, scratch: Path) -> CopiedFiles:
        """Copy the selected artifacts of a run from a local folder."""
        return local_artifacts(run, self.file.parent, selection, scratch)


def _pairs(connection: sqlite3.Connection, table: str) -> dict[str, dict[str, str]]:
    """Return the names and values of a table by run."""
    found: dict[str, dict[str, str]] = {}
    rows: Any = connection.execute(f"SELECT run_uuid, key, value FROM {table} ORDER BY key")  # noqa: S608 - a constant
    for run_id, key, value in rows:
        found.setdefault(run_id, {})[key] = "" if value is None else str(value)
    return found
