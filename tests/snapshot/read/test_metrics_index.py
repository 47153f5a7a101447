"""The index of metrics in a bundle: what DuckDB computes, kept by every operation, checked by verify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from bundlekit import bundle_run, make_bundle, two_runs, unzipped, without_index
from checkout import RECORDED

from pull_logs.frames import FactsBuilder, MetricFacts
from pull_logs.snapshot.format import metrics_table
from pull_logs.snapshot.operations import merge_bundles, subset_bundle
from pull_logs.snapshot.read import metrics_index
from pull_logs.snapshot.read.bundle import open_bundle
from pull_logs.snapshot.read.run import Run
from pull_logs.snapshot.read.verify import verify_bundle
from pull_logs.snapshot.write.seal import write_bundle


def computed(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The facts about each run of a bundle, read from its histories."""
    with open_bundle(path) as bundle:
        runs = bundle.runs()
        return {str(run.path): list(map(tuple, from_history(run))) for run in runs}


def from_history(run: Run) -> tuple[MetricFacts, ...]:
    builder = FactsBuilder()
    for batch in run.batches():
        builder.add(batch)
    return builder.facts()


def indexed(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with open_bundle(path) as bundle:
        assert bundle.manifest.resources["metrics.parquet"].rows == sum(
            len(run.metric_facts()) for run in bundle.runs()
        )
        return {str(run.path): list(map(tuple, run.metric_facts())) for run in bundle.runs()}


def test_the_index_is_what_the_histories_of_recorded_runs_say() -> None:
    assert repr(indexed(RECORDED)) == repr(computed(RECORDED))


def test_duckdb_computes_the_same_from_the_histories(tmp_path: Path) -> None:
    folder = unzipped(RECORDED, tmp_path / "folder")
    names = [
        name for (name,) in duckdb.sql(f"SELECT DISTINCT metric FROM '{folder}/metrics.parquet'").fetchall()
    ]
    assert "train/loss" in names
    compared = 0
    for name in ("train/loss", "val/acc", "_timestamp", "epoch"):
        column = '"' + name.replace('"', '""') + '"'
        finite = f"CASE WHEN isfinite({column}) THEN {column} END"
        expected = duckdb.sql(
            f"""SELECT run, count({column}), count({column}) - count({finite}), min({finite}), max({finite}),
                       arg_min(_step, {finite}), arg_max(_step, {finite}),
                       first({column} ORDER BY _step) FILTER ({column} IS NOT NULL),
                       last({column} ORDER BY _step) FILTER ({column} IS NOT NULL),
                       min(_step) FILTER ({column} IS NOT NULL), max(_step) FILTER ({column} IS NOT NULL)
                FROM read_parquet('{folder}/runs/**/history.parquet', hive_partitioning = true,
                                  union_by_name = true)
                GROUP BY run HAVING count({column}) > 0 ORDER BY run"""
        ).fetchall()
        found = duckdb.sql(
            f"""SELECT run_id, count, nonfinite, min, max, min_step, max_step, first, last,
                       first_step, last_step
                FROM '{folder}/metrics.parquet' WHERE metric = '{name}' AND count > 0 ORDER BY run_id"""
        ).fetchall()
        compared += len(found)
        assert repr(found) == repr(expected)
    assert compared > 40


def test_a_copy_keeps_the_index_without_reading_a_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, some, merged = (tmp_path / name for name in ("a.wandb.zip", "b.wandb.zip", "c.wandb.zip"))
    make_bundle(made)
    monkeypatch.setattr(Run, "batches", lambda *_: pytest.fail("a history was read"))
    with open_bundle(made) as bundle, open_bundle(RECORDED) as recorded:
        subset_bundle([bundle["b"]], some)
        merge_bundles([bundle, recorded], merged)
    monkeypatch.undo()
    assert repr(indexed(some)) == repr({"acme/nano/b": indexed(made)["acme/nano/b"]})
    assert repr(indexed(merged)) == repr(dict(sorted((indexed(made) | indexed(RECORDED)).items())))
    assert verify_bundle(merged).damages == ()


def test_metrics_that_are_left_out_are_not_in_the_index(tmp_path: Path) -> None:
    with open_bundle(RECORDED) as bundle:
        subset_bundle(bundle.runs(), tmp_path / "a.wandb.zip", metrics="^val/")
    names = {facts[0] for run in indexed(tmp_path / "a.wandb.zip").values() for facts in run}
    assert names == {"_step", "_timestamp", "val/acc", "val/loss", "val/per_digit", "val/worst_digit"}


def test_a_bundle_without_runs_has_an_index_without_rows(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.wandb.zip", [])
    assert verify_bundle(tmp_path / "a.wandb.zip").damages == ()
    assert indexed(tmp_path / "a.wandb.zip") == {}


def test_a_run_without_rows_has_a_step_without_cells(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.wandb.zip", [bundle_run("acme/nano/e", [])])
    assert indexed(tmp_path / "a.wandb.zip") == {"acme/nano/e": [tuple(MetricFacts(name="_step"))]}


def test_an_index_with_a_wrong_value_is_found_by_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = metrics_table.MetricsWriter.add

    def wrong(writer: Any, path: Any, facts: Any) -> None:
        add(writer, path, [one._replace(max=9) if one.name == "loss" else one for one in facts])

    monkeypatch.setattr(metrics_table.MetricsWriter, "add", wrong)
    write_bundle(tmp_path / "a.wandb.zip", two_runs())
    monkeypatch.undo()
    assert verify_bundle(tmp_path / "a.wandb.zip", deep=False).damages == ()
    damages = verify_bundle(tmp_path / "a.wandb.zip").damages
    assert [(damage.member, damage.run, damage.reason) for damage in damages] == [
        (
            "metrics.parquet",
            f"acme/nano/{name}",
            f"metrics.parquet has other facts about run 'acme/nano/{name}' than its history",
        )
        for name in ("3fk2a", "b")
    ]


def test_a_bundle_from_before_the_index_is_read_and_gets_one_when_it_is_copied(tmp_path: Path) -> None:
    old = without_index(RECORDED, tmp_path / "old")
    assert verify_bundle(old).damages == ()
    with open_bundle(old) as bundle:
        assert repr([list(map(tuple, run.metric_facts())) for run in bundle.runs()]) == repr(
            list(computed(RECORDED).values())
        )
        subset_bundle(bundle.runs(), tmp_path / "new.wandb.zip")
    assert (tmp_path / "new.wandb.zip").read_bytes() == RECORDED.read_bytes()


def test_a_large_index_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_index, "SMALL_INDEX", 100)
    assert repr(indexed(RECORDED)) == repr(computed(RECORDED))
