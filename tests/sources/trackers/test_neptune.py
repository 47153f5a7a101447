"""Exports of neptune-exporter, with the columns and types of its schema (`neptune_exporter/model.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rowkit import canonical, same_rows

from pull_logs.cli.main import main
from pull_logs.errors import DamageError, FileMissingError
from pull_logs.rows.batches import batch_rows
from pull_logs.sources.neptune import Neptune
from pull_logs.sources.tracked_runs import ReadOptions, TrackedRun

DOUBLES = pa.list_(pa.float64())
SCHEMA = pa.schema(
    [
        ("project_id", pa.string()),
        ("run_id", pa.string()),
        ("attribute_path", pa.string()),
        ("attribute_type", pa.string()),
        ("step", pa.decimal128(18, 6)),
        ("timestamp", pa.timestamp("ms", "UTC")),
        ("int_value", pa.int64()),
        ("float_value", pa.float64()),
        ("string_value", pa.string()),
        ("bool_value", pa.bool_()),
        ("datetime_value", pa.timestamp("ms", "UTC")),
        ("string_set_value", pa.list_(pa.string())),
        ("file_value", pa.struct([("path", pa.string())])),
        (
            "histogram_value",
            pa.struct([("type", pa.string()), ("edges", DOUBLES), ("values", DOUBLES)]),
        ),
    ]
)  # fmt: skip
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def value(path: str, kind: str, **cells: Any) -> dict[str, Any]:
    return {
        "project_id": "lab/nano",
        "run_id": "NANO-1",
        "attribute_path": path,
        "attribute_type": kind,
        **cells,
    }


def point(path: str, step: object, number: float | None, seconds: int = 0) -> dict[str, Any]:
    time = datetime.fromtimestamp(BEGAN.timestamp() + seconds, UTC)
    return value(path, "float_series", step=Decimal(str(step)), timestamp=time, float_value=number)


def write(folder: Path, *parts: Sequence[Mapping[str, Any]], name: str = "NANO-1", first: int = 0) -> Path:
    inner = folder / "lab_nano_1a2b"
    inner.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(parts, first):
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMA)
        pq.write_table(table, inner / f"{name}_part_{number}.parquet", compression="snappy")
    return folder


def read(location: Path, scratch: Path) -> TrackedRun:
    (found,) = Neptune().find(str(location))
    scratch.mkdir()
    return found.read(scratch, ReadOptions())


def rows_of(run: TrackedRun) -> list[dict[str, Any]]:
    return [row for batch in run.run.batches() for row in batch_rows(batch)]


def test_an_export_becomes_a_run(tmp_path: Path) -> None:
    parameters = [
        value("params/lr", "float", float_value=0.1),
        value("params/layers", "int", int_value=2**60),
        value("params/name", "string", string_value="cnn"),
        value("params/amp", "bool", bool_value=True),
        value("params/date", "datetime", datetime_value=BEGAN),
        value("params/words", "string_set", string_set_value=["a", "b"]),
        value("sys/name", "string", string_value="baseline"),
        value("sys/tags", "string_set", string_set_value=["v2", "best"]),
        value("sys/failed", "bool", bool_value=True),
        value("sys/creation_time", "datetime", datetime_value=BEGAN),
        value("data/train.csv", "file", file_value={"path": "lab/train.csv"}),
    ]
    series = [
        point("loss", 0, 2.0),
        point("loss", 1, float("nan"), 5),
        point("acc", 1, 0.5, 6),
        value("log", "string_series", step=Decimal(1), timestamp=BEGAN, string_value="hello"),
        value(
            "w",
            "histogram_series",
            step=Decimal(0),
            timestamp=BEGAN,
            histogram_value={"type": "COUNTING", "edges": [0.0, 1.0], "values": [3.0]},
        ),
    ]
    run = read(write(tmp_path / "data", parameters, series), tmp_path / "scratch")
    info = run.run.info
    assert str(info.path) == "local/nano/NANO-1"
    assert (info.state, info.group, info.tags, info.created_at) == (
        "failed",
        "baseline",
        ("best", "v2"),
        "2026-01-02T03:04:05Z",
    )
    assert info.config == {
        "params/lr": 0.1,
        "params/layers": 2**60,
        "params/name": "cnn",
        "params/amp": True,
        "params/date": "2026-01-02T03:04:05Z",
        "params/words": ["a", "b"],
    }
    first, second = rows_of(run)
    assert first == {
        "_step": 0,
        "_timestamp": BEGAN.timestamp(),
        "_runtime": 0.0,
        "loss": 2.0,
        "w": {"_type": "histogram", "bins": [0.0, 1.0], "values": [3.0]},
    }
    assert second["loss"] != second["loss"]
    assert (second["acc"], second["log"], second["_runtime"]) == (0.5, "hello", 6.0)
    assert run.notes == ("local/nano/NANO-1: 1 value of type file left out",)
    assert run.run.coverage.complete


def test_steps_with_fractions_are_multiplied_and_kept(tmp_path: Path) -> None:
    run = read(
        write(tmp_path / "data", [point("loss", "0.5", 1.0), point("loss", 2, 3.0)]), tmp_path / "scratch"
    )
    assert [(row["_step"], row["neptune/step"], row["loss"]) for row in rows_of(run)] == [
        (5, 0.5, 1.0),
        (20, 2, 3.0),
    ]
    assert run.notes == (
        "local/nano/NANO-1: steps are multiplied by 10, since not all are integers; neptune/step has them",
    )


def test_rows_without_a_value_are_those_of_other_runs_and_nan(tmp_path: Path) -> None:
    """The exporter makes one table of several runs, each with the attributes of all, and NaN is null."""
    rows = [
        value("lr", "float", float_value=0.5),
        value("layers", "int"),
        value("notes", "string", string_value=""),
        point("loss", 0, 1.0),
        point("loss", 1, None),
    ]
    run = read(write(tmp_path / "data", rows), tmp_path / "scratch")
    assert dict(run.run.info.config) == {"lr": 0.5, "notes": ""}
    assert [row.get("loss") for row in rows_of(run)] == [1.0, None]
    assert run.notes == ("local/nano/NANO-1: 1 value of series are empty in the export, as NaN is there",)


def test_a_missing_part_makes_the_run_incomplete(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", [point("loss", 0, 1.0)])
    write(folder, [point("loss", 2, 3.0)], first=2)
    coverage = read(folder, tmp_path / "scratch").run.coverage
    assert (coverage.complete, coverage.reason) == (False, "part 1 is missing")


def test_the_later_of_two_values_at_a_step_is_kept_and_counted(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", [point("loss", 0, 1.0, 9), point("loss", 0, 2.0, 3)])
    run = read(folder, tmp_path / "scratch")
    assert [row["loss"] for row in rows_of(run)] == [1.0]
    assert run.notes == (
        "local/nano/NANO-1: 1 value of 2 have the metric and step of a later one, which is kept",
    )


@pytest.mark.parametrize("keep", [0, 4, 100, -4])
def test_a_cut_file_is_damage_or_no_export(tmp_path: Path, keep: int) -> None:
    folder = write(tmp_path / "data", [point("loss", 0, 1.0)])
    (file,) = folder.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:keep])
    assert not Neptune().recognizes(str(folder))
    with pytest.raises(FileMissingError) as found:
        Neptune().find(str(folder))
    assert found.value.message == f"no run of Neptune in {str(folder)!r}"


def test_a_flipped_page_is_damage_that_names_the_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", [point("loss", step, step / 3) for step in range(900)])
    (file,) = folder.rglob("*.parquet")
    data = bytearray(file.read_bytes())
    data[4:64] = bytes(60)
    file.write_bytes(data)
    with pytest.raises(DamageError, match=r"^'NANO-1_part_0\.parquet' cannot be read: "):
        read(folder, tmp_path / "scratch")


def test_two_runs_in_one_file_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", [point("loss", 0, 1.0), {**point("loss", 1, 1.0), "run_id": "NANO-2"}])
    with pytest.raises(DamageError) as found:
        read(folder, tmp_path / "scratch")
    assert found.value.message == (
        "'NANO-1_part_0.parquet' has values of run 'NANO-2' of 'lab/nano' beside those of 'NANO-1' of "
        "'lab/nano'"
    )


def test_the_command_imports_and_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "data", [point("loss", step, 1.0 / (1 + step), step) for step in range(5)])
    assert main(["import", str(folder), "-o", str(tmp_path / "n.wandb.zip")]) == 0
    assert "1 run, 5 rows" in capsys.readouterr().err
    assert main(["-r", str(folder), "--stats"]) == 0
    assert "\nloss,5,0.2," in capsys.readouterr().out


NUMBERS = st.floats(width=64)


@given(
    points=st.lists(
        st.tuples(st.sampled_from(["a", "b/c", "_runtime"]), st.integers(0, 6), NUMBERS, st.integers(0, 9)),
        min_size=1,
        max_size=12,
    ),
    cut=st.integers(0, 12),
)
def test_rows_are_the_values_by_step(
    points: list[tuple[str, int, float, int]], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("export")
    values = [point(*item) for item in points]
    parts = [part for part in (values[:cut], values[cut:]) if part]
    run = read(write(folder, *parts), folder / "scratch")
    expected: dict[int, dict[str, float]] = {}
    for path, step, number, _ in sorted(points, key=lambda item: (item[1], item[3])):
        expected.setdefault(step, {})["neptune/_runtime" if path == "_runtime" else path] = number
    own = ("_timestamp", "_runtime")
    found = [{name: cell for name, cell in row.items() if name not in own} for row in rows_of(run)]
    assert same_rows(found, canonical([{"_step": step, **expected[step]} for step in sorted(expected)]))
