"""The view `history` has every cell of every run, under any condition, and reads only what a query names."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundlekit import bundle_run, make_bundle, without_index
from hypothesis import given, settings
from hypothesis import strategies as st
from rowkit import canonical, square_rows

from pull_logs.analyze.sql import Limits, open_query, query_frame
from pull_logs.analyze.sql import history as history_module
from pull_logs.analyze.sql.columns import sql_names, type_of_metrics
from pull_logs.analyze.sql.parts import RUN_COLUMNS
from pull_logs.errors import BundleDamagedError, DamageError, ExpressionError, MachineLimitError, UsageError
from pull_logs.frames import Frame
from pull_logs.rows.canonical import STEP, canonical_text
from pull_logs.snapshot import Run, open_bundle
from pull_logs.snapshot.format import parquet_pages
from pull_logs.snapshot.read import parquet_member

LONG = 300_000


def answer(runs: Iterable[Run], query: str) -> list[tuple[Any, ...]]:
    with open_query(list(runs), query) as rows:
        return list(rows)


def expected_cell(value: Any, column: str) -> Any:
    """The value that SQL shows for a cell, in a column of this type."""
    if value is None or column in {"BOOLEAN", "VARCHAR"}:
        return value
    if column == "JSON":
        return canonical_text(value)
    if column == "BIGINT":
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def comparable(cells: Iterable[Any]) -> list[Any]:
    return ["nan" if isinstance(cell, float) and math.isnan(cell) else cell for cell in cells]


@settings(max_examples=50)
@given(rows=st.lists(square_rows(), min_size=1, max_size=3))
def test_the_view_has_every_cell_of_every_run(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[dict[str, Any]]]
) -> None:
    made = [bundle_run(f"acme/nano/r{number}", canonical(of_run)) for number, of_run in enumerate(rows)]
    path = make_bundle(tmp_path_factory.mktemp("law") / "a.wandb.zip", made)
    with open_bundle(path) as bundle:
        runs = list(bundle.runs())
        types = history_module.metric_types(runs)
        names = sql_names(types, taken=(*RUN_COLUMNS, STEP))
        with open_query(runs, "SELECT * FROM history") as found:
            assert [column.name for column in found.columns] == [
                *RUN_COLUMNS,
                STEP,
                *names.values(),
            ]
            shown = [comparable(row) for row in found]
        wanted = []
        for run in runs:
            frame = Frame(run)
            columns = {
                name: frame.column(name).cells(np.arange(frame.length))
                if name in frame
                else [None] * run.rows
                for name in types
            }
            for row, step in enumerate(frame.steps.tolist()):
                path_of = run.path
                cells = [expected_cell(columns[name][row], type_of_metrics(types[name])) for name in types]
                wanted.append(
                    comparable([str(path_of), path_of.entity, path_of.project, path_of.run_id, step, *cells])
                )
        assert shown == wanted


CONDITIONS = (
    "_step >= 2",
    "_step < 3 AND run = 'b'",
    "run IN ('a', 'c') AND loss > 0.5",
    "loss > 0.5",
    "loss <= 1",
    "loss IS NULL",
    "NOT (loss <= 1)",
    "run LIKE '%b' OR _step = 4",
    "path = 'acme/nano/c' OR loss = 'nan'",
    "entity <> 'acme'",
)


def three_runs(folder: Path) -> Path:
    rows: list[Mapping[str, Any]] = [
        {"_step": 0, "loss": 2.5, "acc": 0.1},
        {"_step": 1, "loss": math.nan},
        {"_step": 3, "acc": 0.5},
        {"_step": 4, "loss": 0.5, "is_valid(run": 1},
    ]
    shifted: list[Mapping[str, Any]] = [{**row, "_step": row["_step"] + 10} for row in rows]
    made = [
        bundle_run(f"acme/nano/{name}", kept) for name, kept in zip("abc", (rows, rows, shifted), strict=True)
    ]
    return make_bundle(folder / "three.wandb.zip", made)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_that_is_pushed_down_keeps_the_rows_that_duckdb_keeps(
    condition: str, tmp_path: Path
) -> None:
    with open_bundle(three_runs(tmp_path)) as bundle:
        query = "SELECT path, _step FROM {} WHERE {} ORDER BY ALL"
        pushed = answer(bundle.runs(), query.format("history", condition))
        # A column that is computed first cannot be pushed down.
        table = "(SELECT path, entity, run, _step + 0 AS _step, loss + 0 AS loss FROM history LIMIT 1000)"
        assert pushed == answer(bundle.runs(), query.format(table, condition))


def test_a_query_opens_only_the_runs_and_reads_only_the_columns_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, tuple[str, ...]]] = []
    numbers = Run.number_pages

    def counted(run: Run, columns: Any) -> Any:
        read.append((run.path.run_id, tuple(columns)))
        return numbers(run, columns)

    monkeypatch.setattr(Run, "number_pages", counted)
    with open_bundle(three_runs(tmp_path)) as bundle:
        runs = list(bundle.runs())
        assert answer(runs, "SELECT count(*), count(DISTINCT run) FROM history") == [(12, 3)]
        assert read == []
        assert answer(runs, "SELECT max(acc) FROM history WHERE run = 'b'") == [(0.5,)]
        assert {*read} == {("b", ("acc",))}
        read.clear()
        assert answer(runs, "SELECT run FROM history WHERE _step > 12 AND acc < 1") == [("c",)]
        assert {*read} == {("c", ("acc",))}


def test_a_long_run_is_read_by_row_groups_that_may_have_such_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bundle_run(
        "acme/nano/long", [{"_step": step, "loss": step / 7, "n": step} for step in range(LONG)]
    )
    path = make_bundle(tmp_path / "long.wandb.zip", [made])
    asked: list[range | None] = []
    names: set[str] = set()
    batches_at = parquet_member.ParquetMember.batches_at

    def counted(self: Any, columns: Any, rows: range | None, *, steps: bool) -> Any:
        asked.append(rows)
        for start, batch in batches_at(self, columns, rows, steps=steps):
            names.update(batch.column_names)
            yield start, batch

    monkeypatch.setattr(parquet_member.ParquetMember, "batches_at", counted)
    with open_bundle(path) as bundle:
        total = "SELECT count(*), sum(n), max(loss) FROM history"
        every = (LONG, LONG * (LONG - 1) // 2, (LONG - 1) / 7)
        assert answer(bundle.runs(), total) == [every]
        assert sorted(asked, key=str) == [
            range(1 << 17),
            range(1 << 17, 2 << 17),
            range(2 << 17, LONG),
        ]
        assert names == {"n", "loss"}
        asked.clear()
        late = answer(bundle.runs(), f"{total} WHERE _step >= {LONG - 10} AND loss > 0")
        assert late == [(10, sum(range(LONG - 10, LONG)), (LONG - 1) / 7)]
        assert asked == [range(2 << 17, LONG)]
        asked.clear()
        monkeypatch.setattr(parquet_pages, "_steps", lambda _: None)
        parquet_pages._parsed_large.cache_clear()
        parquet_pages._parsed_small.cache_clear()
        assert answer(bundle.runs(), f"{total} WHERE _step >= {LONG - 10} AND loss > 0") == late
        assert len(asked) == 3


def test_a_bundle_without_an_index_gives_the_same_answers(tmp_path: Path) -> None:
    path = three_runs(tmp_path)
    older = without_index(path, tmp_path / "older")
    query = "SELECT * FROM history ORDER BY ALL"
    with open_bundle(path) as one, open_bundle(older) as other:
        found, known = answer(one.runs(), query), answer(other.runs(), query)
        assert list(map(comparable, found)) == list(map(comparable, known))


def test_names_that_differ_only_in_case_or_are_those_of_a_run_get_numbers() -> None:
    assert sql_names(["Loss", "loss", "LOSS", "run", "Run", "a\0b", ""], taken=("run",)) == {
        "Loss": "Loss",
        "loss": "loss_1",
        "LOSS": "LOSS_2",
        "run": "run_1",
        "Run": "Run_2",
        "a\0b": "a\ufffdb",
        "": "_empty",
    }


def test_integers_beyond_64_bits_make_a_column_of_doubles(tmp_path: Path) -> None:
    made = [
        bundle_run("acme/nano/a", [{"_step": 0, "big": 2**63 - 1, "huge": 2**70}]),
        bundle_run("acme/nano/b", [{"_step": 0, "big": -(2**63), "huge": 1}]),
    ]
    with open_bundle(make_bundle(tmp_path / "a.wandb.zip", made)) as bundle:
        assert answer(bundle.runs(), "SELECT big, huge, typeof(big), typeof(huge) FROM history") == [
            (2**63 - 1, float(2**70), "BIGINT", "DOUBLE"),
            (-(2**63), 1.0, "BIGINT", "DOUBLE"),
        ]


def test_nested_and_mixed_cells_are_dotted_columns_and_json(tmp_path: Path) -> None:
    rows = [
        {"_step": 0, "opt": {"lr": 0.5}, "mixed": "a", "pair": [1, None]},
        {"_step": 1, "mixed": 2.5, "opt": {"lr": 1}},
    ]
    with open_bundle(make_bundle(tmp_path / "a.wandb.zip", [bundle_run("acme/nano/a", rows)])) as bundle:
        found = answer(bundle.runs(), 'SELECT "opt.lr", mixed, pair->>0 FROM history ORDER BY _step')
        assert found == [(0.5, '"a"', "1"), (1.0, "2.5", None)]


def test_a_history_that_is_damaged_is_an_error_that_says_where(tmp_path: Path) -> None:
    path = three_runs(tmp_path)
    data = bytearray(path.read_bytes())
    start = data.index(b"PAR1", data.index(b"run=b/history.parquet"))
    data[start + 60] ^= 1
    path.write_bytes(data)
    with open_bundle(path) as bundle:
        assert answer(bundle.runs(), "SELECT max(loss) FROM history WHERE run = 'c'")[0]
        with pytest.raises(BundleDamagedError, match=r"history\.parquet of run 'acme/nano/b'") as raised:
            answer(bundle.runs(), "SELECT max(loss) FROM history")
        assert isinstance(raised.value, DamageError)


FORBIDDEN = (
    ("SELECT * FROM read_csv('/etc/passwd')", UsageError, "SQL here has no files, network or settings: "),
    ("SELECT * FROM read_text('/etc/passwd')", UsageError, "SQL here has no files, network or settings: "),
    ("SELECT * FROM read_parquet('http://127.0.0.1:9/x')", UsageError, "SQL"),
    ("SELECT * FROM glob('/*')", UsageError, "SQL here has no files, network or settings: "),
    ("SELECT * FROM '/etc/passwd'", UsageError, "SQL: there is no view '/etc/passwd'"),
    ("SELECT * FROM runs_of_python", UsageError, "SQL: there is no view 'runs_of_python'"),
    ("SELECT getenv('HOME')", UsageError, "SQL: "),
    ("SELECT * FROM query('SELECT 1; SELECT 2')", UsageError, "SQL"),
    ("COPY (SELECT 1) TO '{out}'", UsageError, "SQL here only reads, and COPY does not"),
    ("ATTACH '{out}'", UsageError, "SQL here only reads, and ATTACH does not"),
    ("INSTALL httpfs", UsageError, "SQL here only reads, and LOAD does not"),
    ("LOAD httpfs", UsageError, "SQL here only reads, and LOAD does not"),
    ("SET enable_external_access = true", UsageError, "SQL here only reads, and SET does not"),
    ("CREATE TABLE t AS SELECT 1", UsageError, "SQL here only reads, and CREATE does not"),
    ("EXPORT DATABASE '{out}'", UsageError, "SQL here only reads, and EXPORT does not"),
    ("SELECT 1; SELECT 2", UsageError, "SQL takes one statement, and 2 were given"),
    ("-- nothing", UsageError, "SQL takes one statement, and none was given"),
    ("EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'", UsageError, "SQL"),
)


@pytest.mark.parametrize(("query", "kind", "message"), FORBIDDEN)
def test_nothing_but_the_views_can_be_read_and_nothing_can_be_written(
    query: str, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    runs_of_python = [1]
    assert runs_of_python
    with open_bundle(three_runs(tmp_path)) as bundle, pytest.raises(kind) as raised:
        answer(bundle.runs(), query.format(out=out))
    assert str(raised.value).startswith(message)
    assert not out.exists()


def test_a_query_that_is_wrong_is_shown_with_a_caret(tmp_path: Path) -> None:
    with open_bundle(three_runs(tmp_path)) as bundle:
        with pytest.raises(ExpressionError) as raised:
            answer(bundle.runs(), "SELECT run,\n  min(los) FROM history")
        error = raised.value
        assert error.source[slice(*error.span)] == "los"
        with pytest.raises(ExpressionError) as missing:
            answer(bundle.runs(), "SELECT * FROM histroy")
        assert str(missing.value) == (
            "SQL: there is no view 'histroy'; the nearest is 'history'\n"
            "    SELECT * FROM histroy\n"
            "                  ~~~~~~^"
        )


def test_time_and_memory_are_bounded(tmp_path: Path) -> None:
    with open_bundle(three_runs(tmp_path)) as bundle:
        runs = list(bundle.runs())
        with pytest.raises(MachineLimitError) as late, open_query(
            runs, "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3",
            limits=Limits(seconds=0.2),
        ) as rows:  # fmt: skip
            list(rows)
        assert str(late.value) == (
            "the query took longer than 0.2 seconds and was stopped; narrow it, or give --timeout more"
        )
        with (
            pytest.raises(MachineLimitError) as large,
            open_query(
                runs, "SELECT list(a.range) FROM range(10000000) a", limits=Limits(memory="50MB")
            ) as rows,
        ):
            list(rows)
        assert str(large.value) == "the query needs more memory than 50MB; narrow it, or give --memory more"
        for limits in (Limits(memory="much"), Limits(seconds=-1.0)):
            with pytest.raises(UsageError):
                limits.check()


def test_a_frame_of_an_answer_and_one_that_is_too_long(tmp_path: Path) -> None:
    with open_bundle(three_runs(tmp_path)) as bundle:
        frame = bundle.sql("SELECT run, max(acc) AS best FROM history GROUP BY run ORDER BY run")
        assert json.loads(frame.to_json(orient="records")) == [{"run": run, "best": 0.5} for run in "abc"]
        with pytest.raises(UsageError, match="the answer has more than 2 rows"):
            query_frame([*bundle.runs()], "SELECT * FROM history", max_rows=2)


def test_the_other_views_have_a_row_for_each_thing(tmp_path: Path) -> None:
    config = {"lr": 0.1, "opt": {"name": "adam"}, "a.b": 1, "tags": [1, 2], "Lr": "x"}
    made = [
        bundle_run(
            "acme/nano/a",
            config=config,
            summary={"loss": 0.5, "big": 2**70},
            system=[{"_timestamp": 1.0, "system.cpu": 12.5}, {"_timestamp": 2.0, "system.gpu": 1.0}],
        ),
        bundle_run("acme/nano/b", [], config={"lr": 1}, state="crashed", tags=("x", "y")),
    ]
    with open_bundle(make_bundle(tmp_path / "a.wandb.zip", made)) as bundle:
        runs = list(bundle.runs())
        found = answer(
            runs,
            'SELECT run, state, rows, "config.lr", "config.opt.name", "config.a.b", "config.lr_1", '
            "\"summary.big\", config->>'opt' ->> 'name', tags, complete FROM runs ORDER BY run",
        )
        assert found == [
            ("a", "finished", 3, "x", "adam", 1, 0.1, float(2**70), "adam", "[]", True),
            ("b", "crashed", 0, None, None, None, 1.0, None, None, '["x","y"]', True),
        ]
        assert answer(runs, 'SELECT run, _timestamp, "system.cpu", "system.gpu" FROM system') == [
            ("a", 1.0, 12.5, None),
            ("a", 2.0, None, 1.0),
        ]
        assert answer(runs, "SELECT run, metric, min FROM metrics WHERE metric = 'acc'") == [
            ("a", "acc", 0.5)
        ]
        assert answer(runs, "SELECT * FROM files UNION ALL BY NAME SELECT * FROM artifacts") == []
        shown = answer(runs, "SELECT name FROM (SHOW TABLES)")
        assert [name for (name,) in shown] == ["artifacts", "files", "history", "metrics", "runs", "system"]
        joined = "SELECT count(*) FROM runs JOIN history USING (path) WHERE state = 'finished'"
        assert answer(runs, joined) == [(3,)]
