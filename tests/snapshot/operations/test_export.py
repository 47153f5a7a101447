"""Plain files say what the bundle says, as far as their format can, and other people's tools read them."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bundlekit import SYSTEM_ROWS, bundle_run, make_bundle, two_runs, unzipped
from checkout import RECORDED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rowkit import calm_rows, canonical, nasty_rows, same_rows

from pull_logs.errors import FileMissingError, PullLogsError, UsageError
from pull_logs.rows.canonical import canon_row, canonical_text, parse_json, same
from pull_logs.snapshot import ExportReport, export_runs, open_bundle, write_bundle
from pull_logs.snapshot.operations.exported_runs import Format

PAGE = (RECORDED.parents[1] / "docs" / "operations.md").read_text()
FORMATS: tuple[Format, ...] = ("parquet", "csv", "ndjson")

Rows = list[dict[str, Any]]
Read = dict[str, list[Any]]
"""Columns by name."""


def export(bundle: Path, out: Path, to: Format, *, force: bool = False) -> ExportReport:
    with open_bundle(bundle) as opened:
        return export_runs(opened.runs(), out, to=to, force=force)


def histories(folder: Path, to: Format) -> list[Path]:
    return sorted(folder.rglob(f"history.{to}"))


def kind_of(values: Sequence[Any]) -> str:
    """The one kind that all values of a key have, or `json`."""
    kinds = {
        "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
        for value in values
        if not isinstance(value, (list, dict))
    }
    nested = any(isinstance(value, (list, dict)) for value in values)
    wide = any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in values)
    return "json" if nested or wide or len(kinds) != 1 else min(kinds)


def check_column(kind: str, cells: Sequence[Any], values: Sequence[Any], *, text: bool) -> None:
    """A column holds the values of a key: as they are, or each as canonical JSON."""
    if kind in ("bool", "string"):
        assert text is (kind == "string")
    if kind == "json":
        assert text
    if text and kind != "string":
        assert list(cells) == [None if value is None else canonical_text(value) for value in values]
        return
    assert same([None if cell is None else canon_row({"_step": 0, "": cell})[""] for cell in cells], values)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(nasty_rows | calm_rows, min_size=1, max_size=3))
def test_every_row_comes_back_from_parquet_csv_and_ndjson(tmp_path: Path, runs: Sequence[Rows]) -> None:
    bundle = tmp_path / "a.wandb.zip"
    expected = [canonical(rows) for rows in runs]
    write_bundle(bundle, [bundle_run(f"acme/nano/{n}", rows) for n, rows in enumerate(expected)], force=True)
    folders = {to: tmp_path / to for to in FORMATS}
    for to, folder in folders.items():
        report = export(bundle, folder, to, force=True)
        assert (report.runs, report.rows, report.files) == (len(runs), sum(map(len, expected)), len(runs) + 1)
    every = [row for rows in expected for row in rows]
    kinds = {key: kind_of([row[key] for row in every if key in row]) for row in every for key in row}
    for number, rows in enumerate(expected):
        lines = histories(folders["ndjson"], "ndjson")[number].read_bytes().split(b"\n")[:-1]
        assert same_rows([canon_row(parse_json(line)) for line in lines], rows)
        table = pq.read_table(histories(folders["parquet"], "parquet")[number], partitioning=None)
        keys = sorted({key for row in rows for key in row} - {"_step"}, key=str.encode)
        assert table.column_names == ["_step", *keys]
        read = csv_columns(histories(folders["csv"], "csv")[number])
        assert list(read) == table.column_names
        for index, key in enumerate(table.column_names):
            values = [row.get(key) for row in rows]
            text = table.schema.field(index).type == pa.string()
            check_column(kinds.get(key, "number"), table.column(index).to_pylist(), values, text=text)
            check_csv(read[key], table.column(index).to_pylist())


def csv_columns(file: Path) -> Read:
    """The cells of a CSV file without the apostrophes that keep texts from being formulas."""
    with file.open(encoding="utf-8", newline="") as source:
        header, *lines = csv.reader(source)
    return {unescaped(name): [unescaped(line[index]) for line in lines] for index, name in enumerate(header)}


def unescaped(text: str) -> str:
    """As docs/operations.md says."""
    return text[1:] if re.match(r"'+[=+\-@\t\r]", text) else text


def check_csv(cells: Sequence[str], plain: Sequence[Any]) -> None:
    """A CSV column spells the cells of the Parquet one; no text and no cell are the same to most readers."""
    for cell, value in zip(cells, plain, strict=True):
        if isinstance(value, float):
            assert same(float(cell), value)
        elif isinstance(value, bool):
            assert cell == str(value).lower()
        else:
            assert cell == ("" if value is None else str(value))


def test_the_types_of_a_metric_are_those_of_all_runs_together(tmp_path: Path) -> None:
    runs = [
        bundle_run("a/b/1", [{"_step": 0, "loss": 1, "odd": 1.5, "seed": 2**53 + 1, "name": "x"}]),
        bundle_run(
            "a/b/2", [{"_step": 0, "loss": 0.5, "odd": "none", "flag": True, "pic": {"n": [1, None]}}]
        ),
        bundle_run("a/b/3", []),
    ]
    export(make_bundle(tmp_path / "a.wandb.zip", runs), tmp_path / "out", "parquet")
    first, second, third = (pq.read_schema(file) for file in histories(tmp_path / "out", "parquet"))
    assert {field.name: str(field.type) for field in first} == {
        "_step": "int64",
        "loss": "double",
        "name": "string",
        "odd": "string",
        "seed": "int64",
    }
    assert {field.name: str(field.type) for field in second} == {
        "_step": "int64",
        "flag": "bool",
        "loss": "double",
        "odd": "string",
        "pic": "string",
    }
    assert third.names == ["_step"]
    read = pq.read_table(histories(tmp_path / "out", "parquet")[1], partitioning=None).to_pylist()
    assert read == [{"_step": 0, "flag": True, "loss": 0.5, "odd": '"none"', "pic": '{"n":[1,null]}'}]


@pytest.mark.parametrize("to", FORMATS)
def test_the_table_of_runs_names_the_folder_of_each(tmp_path: Path, to: Format) -> None:
    runs = [
        bundle_run("acme/nano/A", tags=("a,b", 'c"'), config={"lr": 0.1}, summary={"loss": math.nan}),
        bundle_run("acme/nano/a", [], name="no rows"),
    ]
    out = tmp_path / "out"
    export(make_bundle(tmp_path / "a.wandb.zip", runs), out, to)
    table: list[dict[str, Any]]
    if to == "ndjson":
        table = [json.loads(line) for line in (out / "runs.ndjson").read_text().splitlines()]
        assert table[0]["config"] == {"lr": 0.1}
        assert table[0]["summary"] == {"loss": "NaN"}
    elif to == "parquet":
        table = pq.read_table(out / "runs.parquet").to_pylist()
    else:
        table = pd.read_csv(out / "runs.csv").to_dict("records")
        table = [row | {"tags": json.loads(row["tags"])} for row in table]
    if to != "ndjson":
        assert json.loads(table[0]["config"]) == {"lr": 0.1}
    assert [row["tags"] for row in table] == [["a,b", 'c"'], []]
    assert [(row["run_id"], row["rows"]) for row in table] == [("A", 3), ("a", 0)]
    assert table[1]["name"] == "no rows"
    for row in table:
        assert (out / row["folder"] / f"history.{to}").is_file()


@pytest.mark.parametrize("to", FORMATS)
def test_system_metrics_are_a_file_next_to_the_history(tmp_path: Path, to: Format) -> None:
    out = tmp_path / "out"
    report = export(make_bundle(tmp_path / "a.wandb.zip"), out, to)
    (file,) = out.rglob(f"system.{to}")
    assert report.files == 4
    readers = {"parquet": pd.read_parquet, "csv": pd.read_csv}
    read = pd.read_json(file, lines=True) if to == "ndjson" else readers[to](file)
    assert read.to_dict("records") == list(SYSTEM_ROWS)


Cells = dict[tuple[str, int], tuple[Any, ...]]
METRICS = ("train/loss", "val/acc")


@pytest.fixture(scope="module")
def recorded() -> Cells:
    """Two metrics of every recorded row, NaN where one is missing: what most readers give for it."""
    with open_bundle(RECORDED) as bundle:
        return {
            (run.path.run_id, row["_step"]): tuple(row.get(name, math.nan) for name in METRICS)
            for run in bundle.runs()
            for row in run.scan_history()
        }


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Format, Path]:
    folder = tmp_path_factory.mktemp("exported")
    for to in FORMATS:
        export(RECORDED, folder / to, to)
    return {to: folder / to for to in FORMATS}


def cells(rows: Iterator[Sequence[Any]]) -> Cells:
    return {
        (str(run), int(step)): tuple(
            math.nan if value is None else float(value.strip('"') if isinstance(value, str) else value)
            for value in rest
        )
        for run, step, *rest in rows
    }


@pytest.mark.parametrize("to", FORMATS)
def test_duckdb_reads_all_files_of_an_export_as_one_table(
    exported: Mapping[Format, Path], recorded: Cells, to: Format
) -> None:
    reader = {"parquet": "read_parquet", "csv": "read_csv", "ndjson": "read_json"}[to]
    files = f"{exported[to]}/runs/**/history.{to}"
    query = f"""SELECT run, _step, "train/loss", "val/acc"
        FROM {reader}('{files}', hive_partitioning = true, union_by_name = true)"""
    assert same_cells(cells(iter(duckdb.sql(query).fetchall())), recorded)


@pytest.mark.parametrize("to", ["parquet", "csv"])
def test_polars_reads_all_files_of_an_export_as_one_table(
    exported: Mapping[Format, Path], recorded: Cells, to: Format
) -> None:
    found: Cells = {}
    for file in histories(exported[to], to):
        run = file.parent.name.removeprefix("run=")
        read = pl.read_csv(file, infer_schema_length=None) if to == "csv" else pl.read_parquet(file)
        known = [name if name in read.columns else pl.lit(None).alias(name) for name in METRICS]
        found |= cells((run, *row) for row in read.select("_step", *known).iter_rows())
    assert same_cells(found, recorded)


@pytest.mark.parametrize("to", FORMATS)
def test_pandas_reads_each_file_of_an_export(
    exported: Mapping[Format, Path], recorded: Cells, to: Format
) -> None:
    found: Cells = {}
    for file in histories(exported[to], to):
        run = file.parent.name.removeprefix("run=")
        if to == "ndjson":
            read = pd.read_json(file, lines=True, precise_float=True)
        else:
            read = pd.read_csv(file) if to == "csv" else pd.read_parquet(file, partitioning=None)
        chosen = read.reindex(columns=["_step", *METRICS])
        found |= cells((run, *row) for row in chosen.itertuples(index=False))
    assert same_cells(found, recorded)


def test_the_query_of_the_page_is_so(
    exported: Mapping[Format, Path], recorded: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    (query,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(exported["parquet"].parent)
    exported["parquet"].rename("plain")
    try:
        found = dict(duckdb.sql(query).fetchall())
    finally:
        Path("plain").rename(exported["parquet"])
    for run, best in found.items():
        losses = [float(loss) for (name, _), (loss, _) in recorded.items() if name == run]
        known = [loss for loss in losses if not math.isnan(loss)]
        assert best == min(known, default=best)


def same_cells(found: Cells, expected: Cells) -> bool:
    floats = {cell: tuple(map(float, values)) for cell, values in expected.items()}
    return found.keys() == floats.keys() and all(
        left == right or (left != left and right != right)
        for cell, values in found.items()
        for left, right in zip(values, floats[cell], strict=True)
    )


def refused(bundle: Path, out: Path, *, force: bool) -> str:
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UsageError) as caught:
        export(bundle, out, "csv", force=force)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    return str(caught.value)


@pytest.mark.parametrize(
    "files",
    [
        ["notes.txt"],
        ["runs/exp1/events.out.tfevents"],
        ["runs.csv", "runs/exp1/events.csv"],
        ["runs.csv", "model.pt"],
        ["runs.csv", "runs/entity=a/project=b/run=c/history.parquet"],
        ["runs.csv", "runs/entity=a/project=b/run=c/weights.csv"],
        ["runs.csv", "runs.parquet"],
        ["runs.xlsx"],
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_nothing_but_an_export_is_ever_replaced(tmp_path: Path, files: list[str], *, force: bool) -> None:
    bundle, out = make_bundle(tmp_path / "a.wandb.zip"), tmp_path / "out"
    for name in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("precious")
    assert refused(bundle, out, force=force) == (
        f"{str(out)!r} exists and is not an export; name a folder that does not exist"
    )


def test_a_bundle_and_a_file_are_never_replaced_and_a_link_is_followed(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "a.wandb.zip")
    folder = unzipped(bundle, tmp_path / "unzipped")
    export(bundle, tmp_path / "real", "csv")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    inside = tmp_path / "inside"
    export(bundle, inside, "csv")
    (inside / "runs" / "entity=acme" / "project=nano" / "run=b" / "history.csv").unlink()
    (inside / "runs" / "entity=acme" / "project=nano" / "run=b" / "history.csv").symlink_to(bundle)
    for out in (folder, bundle, inside):
        assert "exists and is not an export" in refused(bundle, out, force=True)
    assert bundle.is_file()
    assert refused(bundle, link, force=False) == f"{str(link)!r} already exists; pass --force to replace it"
    export(bundle, link, "ndjson", force=True)
    assert link.is_symlink()
    assert (tmp_path / "real" / "runs.ndjson").is_file()
    assert not (tmp_path / "real" / "runs.csv").exists()


def test_an_export_is_replaced_when_that_is_asked_for(tmp_path: Path) -> None:
    bundle, out = make_bundle(tmp_path / "a.wandb.zip"), tmp_path / "out"
    out.mkdir()
    export(bundle, out, "csv")
    assert refused(bundle, out, force=False) == (f"{str(out)!r} already exists; pass --force to replace it")
    with open_bundle(bundle) as opened:
        export_runs([opened["b"]], out, to="ndjson", force=True)
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == ["history.ndjson", "runs.ndjson"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.wandb.zip", "out"}


def test_no_runs_are_an_export_that_can_be_replaced(tmp_path: Path) -> None:
    for to in FORMATS:
        report = export_runs([], tmp_path / "out", to=to, force=True)
        assert (report.runs, report.files) == (0, 1)


def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, out = make_bundle(tmp_path / "a.wandb.zip"), tmp_path / "out"
    export(bundle, out, "csv")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr("pull_logs.snapshot.disk.exchange", lambda _, __: False)  # as elsewhere than on Linux
    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(PullLogsError) as caught:
        export(bundle, out, "parquet", force=True)
    hint = "check the disk, or choose a path on another one"
    assert str(caught.value) == f"{str(out)!r} cannot be written: Input/output error; {hint}"
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.wandb.zip", "out"}


def test_a_missing_folder_and_a_run_given_twice_are_reported(tmp_path: Path) -> None:
    bundle, out = make_bundle(tmp_path / "a.wandb.zip", two_runs()), tmp_path / "no" / "out"
    with pytest.raises(FileMissingError) as missing:
        export(bundle, out, "csv")
    assert (
        str(missing.value)
        == f"{str(out)!r} cannot be written: its folder does not exist; make the folder first"
    )
    with open_bundle(bundle) as opened, pytest.raises(UsageError) as twice:
        export_runs([opened["b"], opened["b"]], tmp_path / "out", to="csv")
    assert str(twice.value) == "run 'acme/nano/b' is given twice"
