"""`sql` as a user runs it: every format, a Parquet file, budgets, and messages."""

from __future__ import annotations

import json
import math
import sys
from importlib.resources import files
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bundlekit import bundle_run, make_bundle
from jsonschema import Draft202012Validator

from pull_logs.cli.main import main
from pull_logs.cli.render.tokens import count_tokens

SCHEMA = Draft202012Validator(json.loads((files("pull_logs") / "data" / "schemas" / "sql.json").read_text()))
BEST = "SELECT run, min(loss) AS best FROM history GROUP BY run ORDER BY run"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"_step": step, "loss": 1 / (step + 1), "note": "=1+1\n[RUNS]"} for step in range(300)]
    made = [bundle_run("acme/nano/a", rows), bundle_run("acme/nano/b", rows[:3])]
    return make_bundle(tmp_path_factory.mktemp("sql") / "a.wandb.zip", made)


def said(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    assert main(["sql", *map(str, words)]) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


def test_an_answer_in_every_format(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "-b", bundle, BEST) == (
        '[SQL] rows_total=2 rows_shown=2\nrun,best\n"a",0.00333333\n"b",0.333333\n'
    )
    assert said(capsys, "-b", bundle, BEST, "--format", "csv") == (
        "run,best\na,0.0033333333333333335\nb,0.3333333333333333\n"
    )
    assert "| a | 0.00333333 |" in said(capsys, "-b", bundle, BEST, "--format", "markdown")
    assert r"a & 0.00333333 \\" in said(capsys, "-b", bundle, BEST, "--format", "latex")
    found = json.loads(said(capsys, "-b", bundle, BEST, "--json"))
    SCHEMA.validate(found)
    assert found["sql"] == {
        "columns": [{"name": "run", "type": "VARCHAR"}, {"name": "best", "type": "DOUBLE"}],
        "rows": [["a", 1 / 300], ["b", 1 / 3]],
        "rows_total": 2,
        "rows_shown": 2,
    }


USAGE = "write the query last, in quotes: pull-logs sql sweep.wandb.zip 'SELECT run FROM runs'"


def test_bundles_may_come_before_the_query(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, bundle, BEST) == said(capsys, "-b", bundle, BEST)
    for words in ([bundle], ["SELECT 1", bundle]):
        expected = f"pull-logs: error: {str(bundle)!r} is a bundle and not a query; {USAGE}\n"
        assert said(capsys, *words, code=2) == expected
    found = said(capsys, "-b", bundle, *BEST.split(), code=2)
    assert found == f"pull-logs: error: 'SELECT' is not a bundle; {USAGE}\n"
    assert said(capsys, "no.wandb.zip", BEST, code=3) == (
        "pull-logs: error: no file or folder at 'no.wandb.zip'\n"
    )


def test_values_that_json_does_not_have(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = (
        "SELECT 'nan'::DOUBLE, '-inf'::DOUBLE, 170141183460469231731687303715884105727::HUGEINT,"
        " 1.50::DECIMAL(5,2), [1, NULL], {'a': 'inf'::DOUBLE}, DATE '2026-11-28', "
        "TIMESTAMPTZ '2026-11-28 10:00:00+00', '\\xAA'::BLOB"
    )
    (row,) = json.loads(said(capsys, "-b", bundle, query, "--json"))["sql"]["rows"]
    assert row == [
        "NaN",
        "-Infinity",
        2**127 - 1,
        1.5,
        [1, None],
        {"a": "Infinity"},
        "2026-11-28",
        "2026-11-28T10:00:00Z",
        "aa",
    ]


def test_the_first_rows_are_shown_and_all_are_counted(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = "SELECT * FROM history"
    text = said(capsys, "-b", bundle, every, "--max-tokens", 0)
    assert text.splitlines()[1] == "[SQL] rows_total=303 rows_shown=200"
    assert text.startswith(
        "# the first 200 of 303 rows; --max-rows, --max-tokens or -o FILE.parquet shows more\n"
    )
    assert len(said(capsys, "-b", bundle, every, "--format", "csv").splitlines()) >= 304
    for tokens in (300, 1000):
        assert count_tokens(said(capsys, "-b", bundle, every, "--max-tokens", tokens)) <= tokens
        cut = said(capsys, "-b", bundle, every, "--max-tokens", 2 * tokens, "--json")
        assert count_tokens(cut) <= 2 * tokens
        found = json.loads(cut)
        SCHEMA.validate(found)
        assert {len(row) for row in found["sql"]["rows"]} == {len(found["sql"]["columns"])}
        assert found["sql"]["rows_shown"] == len(found["sql"]["rows"])


def test_a_cell_forges_no_section_and_no_formula(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT note FROM history LIMIT 1"
    assert said(capsys, "-b", bundle, query).splitlines()[2:] == ['"=1+1\\n[RUNS]"']
    assert said(capsys, "-b", bundle, query, "--format", "csv").splitlines()[1].startswith(("'=", "\"'="))


def test_all_rows_as_a_parquet_file(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.parquet"
    assert main(["sql", "-b", str(bundle), "SELECT run, _step, loss FROM history", "-o", str(out)]) == 0
    assert capsys.readouterr().err == f"{out}: 303 rows, 0.00 MB\n"
    assert pq.read_table(out).column("loss").to_pylist()[:2] == [1.0, 0.5]
    again = said(capsys, "-b", bundle, BEST, "-o", out, code=2)
    assert again == (f"pull-logs: error: '{out}' exists; pass --force to replace it, or name another file\n")
    failing = "SELECT 1 // (CASE WHEN _step > 250 THEN error('odd') ELSE 1 END) AS x FROM history"
    assert said(capsys, "-b", bundle, failing, "-o", out, "--force", code=2).startswith(
        "pull-logs: error: SQL: odd"
    )
    assert pq.read_table(out).num_rows == 303
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.parquet"]
    twice = said(capsys, "-b", bundle, "SELECT 1 AS a, 2 AS a", "-o", out, "--force", code=2)
    assert "two columns of the answer have the name 'a'" in twice
    assert said(capsys, "-b", bundle, BEST, "-o", tmp_path / "a.txt", code=2).startswith(
        "pull-logs: error: -o '"
    )


def test_several_bundles_and_a_run_that_is_in_two(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_bundle(
        tmp_path / "b.wandb.zip", [bundle_run("acme/nano/c", [{"_step": 0, "loss": math.nan}])]
    )
    found = json.loads(said(capsys, "-b", bundle, "-b", other, BEST, "--json"))
    assert found["sql"]["rows"] == [["a", 1 / 300], ["b", 1 / 3], ["c", "NaN"]]
    filtered = said(
        capsys, "-b", bundle, "-b", other, "--filter", 'run_id == "c"', "SELECT count(*) FROM runs"
    )
    assert filtered.splitlines()[-1] == "1"
    copy = tmp_path / "copy.wandb.zip"
    copy.write_bytes(bundle.read_bytes())
    assert said(capsys, "-b", bundle, "-b", copy, BEST, code=2) == (
        f"pull-logs: error: run 'acme/nano/a' is in '{bundle}' and in '{copy}';"
        " name one of them, or merge them with `pull-logs merge`\n"
    )


def test_errors_have_a_caret_and_the_exit_codes_of_other_commands(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = said(capsys, "-b", bundle, "SELECT los FROM history", code=2)
    assert wrong.startswith('pull-logs: error: SQL: Referenced column "los" not found in FROM clause!')
    assert wrong.endswith("\n    SELECT los FROM history\n           ~~^\n")
    slow = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3"
    assert said(capsys, "-b", bundle, slow, "--timeout", "0.2", code=8) == (
        "pull-logs: error: the query took longer than 0.2 seconds and was stopped; narrow it, or give"
        " --timeout more\n"
    )
    assert "is not an amount of memory" in said(capsys, "-b", bundle, "SELECT 1", "--memory", "x", code=2)
    assert said(capsys, "SELECT 1", code=2).startswith("pull-logs: error: no source was given")


def test_without_duckdb_the_message_says_what_to_install(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert said(capsys, "-b", bundle, "SELECT 1", code=2) == (
        "pull-logs: error: SQL needs DuckDB, which is not installed; pip install 'wandb-pull-logs[sql]'\n"
    )
