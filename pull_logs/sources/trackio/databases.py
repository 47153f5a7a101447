"""Projects of Trackio: a SQLite database, or the Parquet files that it exports for one.

A row of `metrics` is one call of `log`: the run, the step, the time, and a JSON object. Databases of earlier
releases name runs by their names alone; later ones give each run an id.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from pull_logs.errors import DamageError

_MAGIC = b"SQLite format 3\0"
_COLUMNS = frozenset({"timestamp", "run_name", "step"})
_OWN = frozenset({"id", "run_id", "timestamp", "run_name", "step", "log_id", "space_id", "created_at"})
"""The columns of exported files that are not values."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of `log`, or a reading of the system.

    Attributes:
        step: The step; None for a reading of the system.
        time: The time, as ISO 8601.
        values: What was logged.
    """

    step: int | None
    time: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProjectRun:
    """A run of a project.

    Attributes:
        run_id: Its id; its name in a database of an earlier release.
        name: Its name.
        config: Its config, with what Trackio itself adds.
    """

    run_id: str
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)


class Project(Protocol):
    """A project, in a database or in files."""

    @property
    def file(self) -> Path:
        """The file with the metrics."""

    def runs(self) -> list[ProjectRun]:
        """Return the runs, in the order of their first call."""

    def calls(self, run: ProjectRun) -> Iterator[Call]:
        """Yield the calls of a run, in order."""

    def readings(self, run: ProjectRun) -> Iterator[Call]:
        """Yield the readings of the system of a run, in order."""


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for reading.

    Raises:
        DamageError: It cannot be read.
    """
    try:
        uri = f"file:{quote(str(file.resolve()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            yield connection
    except (sqlite3.Error, ValueError) as exc:
        raise DamageError(
            f"the database {str(file)!r} cannot be read: {exc}",
            hint="copy it, and check the copy with sqlite3",
        ) from exc


def is_database(file: Path) -> bool:
    """Return whether a file is a database of Trackio.

    Raises:
        OSError: The file cannot be read.
    """
    with file.open("rb") as source:
        if source.read(len(_MAGIC)) != _MAGIC:
            return False
    try:
        with _opened(file) as connection:
            return {*_COLUMNS, "metrics"} <= _columns(connection, "metrics")
    except DamageError:
        return False


def is_exported(file: Path) -> bool:
    """Return whether a file is a Parquet file of metrics of Trackio.

    Raises:
        OSError: The file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open("rb") as source:
            return set(pq.read_schema(source).names) >= _COLUMNS
    except pa.ArrowInvalid:
        return False


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


@dataclass(frozen=True, slots=True)
class Database:
    """A project in a SQLite database; see `Project`."""

    file: Path

    def runs(self) -> list[ProjectRun]:
        """Return the runs, in the order of their first call.

        Raises:
            DamageError: The database cannot be read.
        """
        with _opened(self.file) as connection:
            key = self._key(connection)
            found = connection.execute(
                f"SELECT {key}, max(run_name) FROM metrics GROUP BY {key} ORDER BY min(id)"  # noqa: S608
            ).fetchall()
            configs: dict[str, Any] = {}
            if "config" in (columns := _columns(connection, "configs")):
                own = "run_id" if "run_id" in columns else "run_name"
                rows = connection.execute(f"SELECT {own}, run_name, config FROM configs ORDER BY id")  # noqa: S608
                for run_id, name, text in rows:
                    configs[run_id] = json.loads(text)
                    if run_id not in {known for known, _ in found}:
                        found.append((run_id, name))
        return [ProjectRun(run_id, name, configs.get(run_id, {})) for run_id, name in found]

    def calls(self, run: ProjectRun) -> Iterator[Call]:
        """Yield the calls of a run, in order.

        Raises:
            DamageError: The database cannot be read, or a call is not a JSON object.
        """
        with _opened(self.file) as connection:
            key = self._key(connection)
            query = f"SELECT step, timestamp, metrics FROM metrics WHERE {key} = ? ORDER BY step, id"  # noqa: S608
            for step, time, text in connection.execute(query, (run.run_id,)):
                yield Call(step, time, _object(text, self.file))

    def readings(self, run: ProjectRun) -> Iterator[Call]:
        """Yield the readings of the system of a run, in order.

        Raises:
            DamageError: See `calls`.
        """
        with _opened(self.file) as connection:
            columns = _columns(connection, "system_metrics")
            if not columns:
                return
            key = "run_id" if "run_id" in columns else "run_name"
            query = f"SELECT timestamp, metrics FROM system_metrics WHERE {key} = ? ORDER BY id"  # noqa: S608
            for time, text in connection.execute(query, (run.run_id,)):
                yield Call(None, time, _object(text, self.file))

    def _key(self, connection: sqlite3.Connection) -> str:
        return "run_id" if "run_id" in _columns(connection, "metrics") else "run_name"


def _object(text: str | bytes, file: Path) -> Mapping[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise DamageError(
            f"a call in {str(file)!r} is not a JSON object", hint="restore the database from a copy"
        )
    return found


@dataclass(frozen=True, slots=True)
class ExportedFiles:
    """A project in Parquet files: `NAME.parquet`, `NAME_system.parquet`, `NAME_configs.parquet`."""

    file: Path

    def runs(self) -> list[ProjectRun]:
        """Return the runs, in the order of their first call."""
        configs = {row.get("run_id") or row["run_name"]: row for row in self._rows("_configs")}
        found: dict[str, ProjectRun] = {}
        for row in [*self._rows(""), *configs.values()]:
            run_id = row.get("run_id") or row["run_name"]
            config = _values(configs.get(run_id, {}))
            found.setdefault(run_id, ProjectRun(run_id, row["run_name"], config))
        return list(found.values())

    def calls(self, run: ProjectRun) -> Iterator[Call]:
        """Yield the calls of a run, in order."""
        mine = [row for row in self._rows("") if (row.get("run_id") or row["run_name"]) == run.run_id]
        for row in sorted(mine, key=lambda row: row["step"]):
            yield Call(row["step"], row["timestamp"], _values(row))

    def readings(self, run: ProjectRun) -> Iterator[Call]:
        """Yield the readings of the system of a run, in order."""
        for row in self._rows("_system"):
            if (row.get("run_id") or row["run_name"]) == run.run_id:
                yield Call(None, row["timestamp"], _values(row))

    def _rows(self, part: str) -> list[dict[str, Any]]:
        from pull_logs.rows.arrow import open_parquet

        file = self.file.with_name(f"{self.file.stem}{part}.parquet")
        if not file.exists():
            return []
        with file.open("rb") as source:
            rows: list[dict[str, Any]] = open_parquet(source).read(use_threads=False).to_pylist()
        return rows


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _OWN and value is not None}
