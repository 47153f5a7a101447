"""Conditions of WHERE are decided as DuckDB decides them, and answers are those of plain DuckDB."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from bundlekit import bundle_run, make_bundle, unzipped
from duckdb._sources.nodes import Binary, Col, In, Lit, Postfix, Unary
from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.analyze.sql import Limits, open_query
from pull_logs.analyze.sql import history as history_module
from pull_logs.analyze.sql.conditions import decide, rows_kept
from pull_logs.analyze.sql.duckdb_source import condition_of
from pull_logs.errors import BundleDamagedError, MachineLimitError
from pull_logs.rows.canonical import STEP
from pull_logs.snapshot import Bundle, open_bundle
from pull_logs.snapshot.format import parquet_write

RUN = {"path": "acme/nano/b", "entity": "acme", "project": "nano", "run": "b"}
SIGNS = ("=", "!=", "<", "<=", ">", ">=")
LONG = 140_000
"""More rows than a row group has."""

steps = st.integers(-3, 12)
texts = st.sampled_from(["", "a", "b", "c", "acme", "acme/nano/b", "nano", "B", "é", "\U0001f600"])


def _comparisons(column: st.SearchStrategy[str], values: st.SearchStrategy[Any], kind: str) -> Any:
    columns = column.map(lambda name: Col((name,)))
    constants = values.map(lambda value: Lit(value, kind))
    return st.one_of(
        st.builds(Binary, st.sampled_from(SIGNS), columns, constants),
        st.builds(In, columns, st.lists(constants, min_size=1, max_size=3)),
        st.builds(Postfix, st.sampled_from(["IS NULL", "IS NOT NULL"]), columns),
    )


trees = st.recursive(
    st.one_of(
        _comparisons(st.sampled_from(sorted(RUN)), texts, "VARCHAR"),
        _comparisons(st.just(STEP), steps, "BIGINT"),
    ),
    lambda parts: st.one_of(
        st.builds(Binary, st.sampled_from(["AND", "OR"]), parts, parts),
        st.builds(Unary, st.just("NOT"), parts),
    ),
    max_leaves=6,
)


@given(tree=trees, given_steps=st.lists(steps, min_size=1, max_size=8, unique=True).map(sorted))
def test_rows_are_kept_as_duckdb_keeps_them_and_a_decision_agrees(tree: Any, given_steps: list[int]) -> None:
    condition = condition_of(tree)
    assert condition is not None
    kept = rows_kept(condition, RUN, np.array(given_steps)).tolist()
    columns = ", ".join(f"'{value}' AS {name}" for name, value in RUN.items())
    rows = f"(SELECT {columns}, unnest({given_steps}) AS _step)"
    shown = duckdb.execute(f"SELECT {tree.fragment()} FROM {rows} ORDER BY _step").fetchall()
    assert kept == [found for (found,) in shown]
    decided = decide(condition, RUN, (given_steps[0], given_steps[-1]))
    assert decided in (None, *({True} if all(kept) else ()), *({False} if not any(kept) else ()))


@pytest.mark.parametrize(
    "node",
    [
        Binary("=", Col(("loss",)), Lit(1.0, "DOUBLE")),
        Binary("=", Col((STEP,)), Lit("1", "VARCHAR")),
        Binary("=", Col((STEP,)), Lit(True, "BOOLEAN")),
        Binary("=", Col(("run", "part")), Lit("b", "VARCHAR")),
        Binary("AND", Binary("=", Col(("run",)), Lit("b", "VARCHAR")), Postfix("IS NULL", Col(("loss",)))),
        In(Col(("run",)), [Lit("b", "VARCHAR"), Lit(None, "VARCHAR")]),
        Unary("NOT", Postfix("IS NULL", Col(("loss",)))),
        Binary("<>", Col((STEP,)), Lit(1, "BIGINT")),
        None,
    ],
    ids=str,
)
def test_a_condition_on_anything_else_is_left_to_duckdb(node: Any) -> None:
    assert condition_of(node) is None


def test_a_chain_of_any_length_is_taken_and_one_that_is_nested_too_deeply_is_not() -> None:
    leaf: Any = Binary("=", Col((STEP,)), Lit(1, "BIGINT"))
    chain = deep = leaf
    for _ in range(20_000):
        chain = Binary("OR", chain, leaf)
    for _ in range(100):
        deep = Unary("NOT", deep)
    found = condition_of(chain)
    assert found is not None
    assert decide(found, RUN, (1, 1)) is True
    assert condition_of(deep) is None


_cells = st.tuples(
    steps,
    st.one_of(st.none(), st.sampled_from([0.5, 1.0, -2.25, math.nan, math.inf])),
    st.one_of(st.none(), st.integers(-3, 3)),
)
_histories = st.lists(
    st.lists(_cells, max_size=6, unique_by=lambda cells: cells[0]).map(
        lambda rows: sorted(rows, key=lambda cells: cells[0])
    ),
    max_size=4,
)
_wheres = st.recursive(
    st.sampled_from(
        [
            "_step >= 2",
            "_step < 3",
            "_step BETWEEN 1 AND 4",
            "run = 'r1'",
            "run IN ('r0', 'r3')",
            "run LIKE 'r%2'",
            "project <> 'nano1'",
            "path > 'acme/nano0/r1'",
            "loss > 0.5",
            "loss IS NULL",
            '"train/n" <> 1',
            '_step = "train/n"',
            "length(run) = _step",
        ]
    ),
    lambda parts: st.one_of(
        st.builds("({} AND {})".format, parts, parts),
        st.builds("({} OR {})".format, parts, parts),
        st.builds("(NOT {})".format, parts),
    ),
    max_leaves=5,
)
_FORMS = (
    'SELECT path, _step, loss, "train/n" FROM history WHERE {} ORDER BY ALL',
    "SELECT run, count(*), count(loss), max(_step) FROM history WHERE {} GROUP BY run ORDER BY ALL",
    "SELECT count(*) FROM history WHERE {}",
    "SELECT a.run, a._step, b.loss FROM (FROM history WHERE {}) a JOIN history b USING (path) ORDER BY ALL",
)


def _bundle_of(path: Path, histories: list[Any]) -> Path:
    every: list[list[tuple[Any, ...]]] = [[(0, 0.5, 1)], *histories]
    names = (STEP, "loss", "train/n")
    return make_bundle(
        path,
        [
            bundle_run(
                f"acme/nano{number % 2}/r{number}",
                [
                    {name: cell for name, cell in zip(names, cells, strict=True) if cell is not None}
                    for cells in rows
                ],
            )
            for number, rows in enumerate(every)
        ],
    )


def _plain(folder: Path, query: str) -> list[Any]:
    """Return the answer of DuckDB over the unzipped files."""
    files = (
        f"read_parquet('{folder}/runs/**/history.parquet', hive_partitioning = true, union_by_name = true)"
    )
    view = f"(SELECT entity || '/' || project || '/' || run AS path, * FROM {files})"
    return list(duckdb.execute(query.replace("history", view)).fetchall())


def _ours(bundle: Bundle, query: str) -> list[Any]:
    with open_query(list(bundle.runs()), query) as rows:
        return list(rows)


def _comparable(rows: list[Any]) -> list[Any]:
    return [tuple("nan" if cell != cell else cell for cell in row) for row in rows]


@settings(max_examples=40)
@given(
    histories=_histories,
    where=_wheres,
    form=st.sampled_from(_FORMS),
    as_dataset=st.booleans(),
    ahead=st.booleans(),
)
def test_answers_are_those_of_plain_duckdb_over_the_unzipped_files(
    tmp_path_factory: pytest.TempPathFactory,
    histories: Any,
    where: str,
    form: str,
    *,
    as_dataset: bool,
    ahead: bool,
) -> None:
    folder = tmp_path_factory.mktemp("law")
    path = _bundle_of(folder / "a.wandb.zip", histories)
    query = form.format(where)
    with pytest.MonkeyPatch.context() as patched, open_bundle(path) as bundle:
        if as_dataset:
            patched.setattr(duckdb, "__version__", "3.0.0")
        if ahead:
            patched.setattr(history_module, "_BATCH_ROWS", 2)
        plain = _plain(unzipped(path, folder / "plain"), query)
        assert _comparable(_ours(bundle, query)) == _comparable(plain)


def test_many_batches_of_long_and_short_runs_are_those_of_plain_duckdb(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {STEP: step, "loss": step / 4, **({"n": step} if step % 3 else {})} for step in range(LONG)
    ]
    long = [bundle_run(f"acme/nano/long{number}", rows) for number in range(2)]
    short = [bundle_run(f"acme/nano/r{number:02d}", rows[number::5000]) for number in range(40)]
    path = make_bundle(tmp_path / "a.wandb.zip", [*long, *short])
    folder = unzipped(path, tmp_path / "plain")
    with open_bundle(path) as bundle:
        for form in (
            "SELECT run, count(*), sum(loss), sum(n), min(_step) FROM history {} GROUP BY run ORDER BY ALL",
            "SELECT run, _step, n, loss FROM history {} ORDER BY ALL LIMIT 10000",
        ):
            for where in (
                "",
                f"WHERE _step >= {LONG - 10} OR _step % 7 = 1 AND n > 3",
                f"WHERE _step <> 7 AND (_step < 10 OR _step > {LONG - 9})",
            ):
                query = form.format(where)
                assert _ours(bundle, query) == _plain(folder, query)


def test_a_changed_byte_of_any_run_is_an_error_while_threads_read_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "_BATCH_ROWS", 2)
    path = _bundle_of(tmp_path / "a.wandb.zip", [[(step, step / 4, step) for step in range(5)]] * 9)
    query = 'SELECT sum(loss), sum("train/n") FROM history'
    intact = path.read_bytes()
    with open_bundle(path) as bundle:
        expected = _ours(bundle, query)
    for number in range(9):
        data = bytearray(intact)
        start = data.index(b"PAR1", data.index(f"run=r{number}/history.parquet".encode()))
        data[start + 40] ^= 1
        path.write_bytes(data)
        with open_bundle(path) as bundle:
            with pytest.raises(BundleDamagedError, match=rf"history\.parquet of run 'acme/nano\d/r{number}'"):
                _ours(bundle, query)
            assert _ours(bundle, query.replace("sum", "max") + " WHERE run = 'none'") == [(None, None)]
    path.write_bytes(intact)
    with open_bundle(path) as bundle:
        assert _ours(bundle, query) == expected


def test_threads_end_with_the_query_that_is_left_early_or_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "_BATCH_ROWS", 2)
    path = _bundle_of(tmp_path / "a.wandb.zip", [[(step, step / 4, step) for step in range(5)]] * 9)
    with open_bundle(path) as bundle:
        runs = list(bundle.runs())
        with open_query(runs, "SELECT loss FROM history") as rows:
            assert next(iter(rows)) == (0.5,)
        assert not _reading_threads()
        slow = "SELECT count(*) FROM history a, range(100000000) b WHERE a.loss * b.range % 7 = 3"
        with pytest.raises(MachineLimitError), open_query(runs, slow, limits=Limits(seconds=0.2)) as rows:
            list(rows)
        assert not _reading_threads()


def _reading_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("pull-logs-sql")]


def test_no_row_is_read_twice_where_row_groups_end_early_because_of_their_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_write, "TEXT_AT_ONCE", 1 << 20)
    rows = [{STEP: step, "loss": step / 4, "note": f"{step:011d}"} for step in range(LONG)]
    path = make_bundle(tmp_path / "a.wandb.zip", [bundle_run("acme/nano/long", rows)])
    with open_bundle(path) as bundle:
        (run,) = bundle.runs()
        groups = [batch.num_rows for _, batch in run.batches_at(["loss"])]
        assert len(groups) > 1
        assert groups[0] < 1 << 17
        for column in ("loss", "note"):
            query = f"SELECT count(*), count(DISTINCT {column}) FROM history WHERE _step <> 5"
            assert _ours(bundle, query) == [(LONG - 1, LONG - 1)]
