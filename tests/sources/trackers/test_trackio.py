"""Projects of Trackio: databases of several releases, and the files that they export."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trackerkit import database

from pull_logs.errors import DamageError, FileMissingError
from pull_logs.rows.batches import batch_rows
from pull_logs.sources.tracked_runs import ReadOptions, TrackedRun
from pull_logs.sources.trackio import Trackio


def _read(location: Path, scratch: Path) -> dict[str, TrackedRun]:
    found = {}
    for number, run in enumerate(Trackio().find(str(location))):
        folder = scratch / str(number)
        folder.mkdir(parents=True)
        found[run.run.name] = run.read(folder, ReadOptions())
    return found


def _rows(run: TrackedRun) -> list[dict[str, Any]]:
    return [row for batch in run.run.batches() for row in batch_rows(batch)]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return database(tmp_path / "trackio" / "oracle.db", "trackio/oracle")


def test_calls_of_one_step_and_readings_of_the_system(db: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(db)) as connection:
        (run_id,) = connection.execute(
            "SELECT DISTINCT run_id FROM metrics WHERE run_name = 'fast'"
        ).fetchone()
        later = "2099-01-01T00:00:00+00:00"
        logged = json.dumps({"train/loss": "NaN", "extra": "Infinity", "_step": 5})
        connection.execute(
            "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES (?, ?, 'fast', 3, ?)",
            (run_id, later, logged),
        )
        connection.execute(
            "INSERT INTO system_metrics (run_id, timestamp, run_name, metrics) VALUES (?, ?, 'fast', ?)",
            (run_id, later, json.dumps({"gpu": 0.5})),
        )
        connection.commit()
    run = _read(db, tmp_path / "scratch")["fast"]
    (row,) = (row for row in _rows(run) if row["_step"] == 3)
    assert row["train/loss"] != row["train/loss"]
    assert (row["extra"], row["trackio/_step"]) == (float("inf"), 5)
    (note,) = run.notes
    assert note == (
        f"{run.run.info.path}: 1 call of 41 have the step of another, and were merged with it; of two values"
        " of a metric the later is kept"
    )
    assert run.run.system is not None
    assert [row["system.gpu"] for row in batch_rows(run.run.system)] == [0.5]


def test_a_database_of_an_earlier_release_names_runs_by_name(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            "CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step INTEGER,"
            " metrics TEXT)"
        )
        connection.execute(
            "INSERT INTO metrics VALUES (1, '2026-01-01T00:00:00', 'first', 0, '{\"loss\": 0.5}')"
        )
        connection.commit()
    (run,) = _read(file, tmp_path / "scratch").values()
    assert str(run.run.info.path) == "local/old/first"
    assert _rows(run) == [{"_step": 0, "_timestamp": 1767225600, "_runtime": 0, "loss": 0.5}]


def test_exported_files_give_the_same_rows(db: Path, tmp_path: Path) -> None:
    expected = _read(db, tmp_path / "scratch")
    out = tmp_path / "exported"
    out.mkdir()
    with closing(sqlite3.connect(db)) as connection:
        connection.row_factory = sqlite3.Row
        for table, column, part in (("metrics", "metrics", ""), ("configs", "config", "_configs")):
            rows = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
            logged = [json.loads(row.pop(column)) for row in rows]
            flat = [{**row, **values} for row, values in zip(rows, logged, strict=True)]
            names = list(dict.fromkeys(name for row in flat for name in row))
            table_of = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in flat])
            pq.write_table(table_of, out / f"oracle{part}.parquet")
    found = _read(out, tmp_path / "again")
    assert found.keys() == expected.keys()
    for name, run in found.items():
        assert _rows(run) == _rows(expected[name])
        assert run.run.info == expected[name].run.info


def test_damaged_and_other_files(db: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"SQLite format 3\0" + bytes(100))
    assert not Trackio().recognizes(str(other))
    with pytest.raises(FileMissingError) as caught:
        Trackio().find(str(other))
    assert str(caught.value) == (
        f"no run of Trackio in {str(other)!r}; name a database PROJECT.db, PROJECT.parquet, or their folder"
        " (TRACKIO_DIR)"
    )
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE metrics SET metrics = '[1]' WHERE id = 1")
        connection.commit()
    with pytest.raises(DamageError, match=r"a call in '.*oracle\.db' is not a JSON object"):
        _read(db, tmp_path / "scratch")
