"""No text of a run is a formula in a CSV file, and every text can be restored."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pyarrow as pa
import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.cli.main import main
from pull_logs.errors import UsageError
from pull_logs.snapshot import export_runs, open_bundle
from pull_logs.snapshot.operations.csv_text import escape_formulas, escape_name

START = "=+-@\t\r"
TEXTS = st.text(st.sampled_from("=+-@\t\r'1.5e a\n"), max_size=8) | st.text(max_size=8)
NUMBER = re.compile(r"-(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def unescaped(text: str) -> str:
    return text[1:] if re.match(r"'+[=+\-@\t\r]", text) else text


@given(st.lists(st.none() | TEXTS, max_size=5))
def test_a_text_is_no_formula_and_can_be_restored(texts: list[str | None]) -> None:
    table = pa.table({"x": pa.array(texts, pa.string()), "y": pa.array([-1.5] * len(texts))})
    escaped = escape_formulas(table)
    found = escaped.column("x").to_pylist()
    for before, after in zip(texts, found, strict=True):
        if before is None or after is None:
            assert before is after
            continue
        assert not after.startswith(tuple(START)) or (after == before and NUMBER.fullmatch(after))
        assert unescaped(after) == before
    assert escaped.column("y").equals(table.column("y"))


@given(TEXTS)
def test_so_can_a_name(name: str) -> None:
    assert not escape_name(name).startswith(tuple(START))
    assert unescaped(escape_name(name)) == name


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_a_number_is_never_changed(number: float) -> None:
    text = repr(number)
    assert escape_formulas(pa.table({"x": [text]})).column("x").to_pylist() == [text]


ROWS = [
    {"_step": 0, "=loss": -1.5, "note": "=1+1", "mixed": -2, "-metric": 1},
    {"_step": 1, "=loss": -0.25, "note": "'=1", "mixed": "@SUM(A1)", "-metric": 2},
    {"_step": 2, "=loss": 3, "note": "\tx", "mixed": [1], "-metric": -3},
]


def exported(folder: Path, *, raw: bool) -> tuple[list[list[str]], dict[str, str]]:
    run = bundle_run("acme/nano/r", ROWS, name="=cmd|' /C calc'!A0", notes="+1", group="-g")
    bundle = make_bundle(folder / "a.wandb.zip", [run])
    out = folder / f"raw-{raw}"
    with open_bundle(bundle) as opened:
        export_runs(opened.runs(), out, to="csv", raw=raw)
    [history] = out.rglob("history.csv")
    with history.open(newline="") as file:
        rows = list(csv.reader(file))
    with (out / "runs.csv").open(newline="") as file:
        [record] = csv.DictReader(file)
    return rows, record


def test_an_export_has_no_formulas(tmp_path: Path) -> None:
    rows, run = exported(tmp_path, raw=False)
    assert rows == [
        ["_step", "'-metric", "'=loss", "mixed", "note"],
        ["0", "1", "-1.5", "-2", "'=1+1"],
        ["1", "2", "-0.25", '"@SUM(A1)"', "''=1"],
        ["2", "-3", "3", "[1]", "'\tx"],
    ]
    assert (run["name"], run["notes"], run["group"]) == ("'=cmd|' /C calc'!A0", "'+1", "'-g")


def test_a_raw_export_has_the_texts_as_they_are(tmp_path: Path) -> None:
    rows, run = exported(tmp_path, raw=True)
    assert rows[0] == ["_step", "-metric", "=loss", "mixed", "note"]
    assert [row[-1] for row in rows[1:]] == ["=1+1", "'=1", "\tx"]
    assert run["name"] == "=cmd|' /C calc'!A0"


def test_only_csv_can_be_raw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = make_bundle(tmp_path / "a.wandb.zip")
    assert main(["export", str(bundle), "-o", str(tmp_path / "out"), "--raw"]) == 2
    assert capsys.readouterr().err == (
        "pull-logs: error: --raw is for --format csv; other formats have no formulas to escape\n"
    )
    with open_bundle(bundle) as opened, pytest.raises(UsageError, match="parquet has no formulas to escape"):
        export_runs(opened.runs(), tmp_path / "out", to="parquet", raw=True)
    assert not (tmp_path / "out").exists()
