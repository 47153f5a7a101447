from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import duckdb
import pandas as pd
import polars as pl
import pytest
from bundlekit import ROWS, SYSTEM_ROWS, bundle_run, make_bundle, members_of, two_runs, unzipped
from hypothesis import given
from hypothesis import strategies as st

from pull_logs import snapshot
from pull_logs.errors import BundleDamagedError, MetricNotFoundError, RunNotFoundError, UsageError
from pull_logs.rows.batches import RESIDUAL, batch_rows
from pull_logs.rows.canonical import canon_row, same
from pull_logs.rows.hashing import rows_hash
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot.read import parquet_member
from pull_logs.snapshot.read.bundle import Bundle, open_bundle
from pull_logs.snapshot.read.dataframe import to_runs_frame
from pull_logs.snapshot.write.seal import write_bundle

FACTS: dict[str, Any] = {
    "tags": ("b", "a"),
    "group": "g",
    "job_type": "train",
    "notes": "first\nsecond",
    "sweep": "s1",
    "user": "jo",
    "commit": "abc",
    "created_at": "2026-11-23T10:00:00Z",
    "heartbeat_at": "2026-11-23T11:00:00Z",
    "host": "api.wandb.ai",
    "config": {"lr": math.nan, "opt": {"name": "adam", "empty": {}, "none": None}},
    "config_internal": {"_wandb": {"cli": 1}},
    "summary": {"loss": math.inf},
    "system_summary": {"system.cpu": 5},
    "metadata": {"python": "3.11"},
}


@pytest.fixture(params=["zip", "folder"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bundle]:
    runs = [
        bundle_run("acme/nano/3fk2a", system=SYSTEM_ROWS, **FACTS),
        *two_runs()[1:],
        bundle_run("acme/b/b", ()),
    ]
    path = make_bundle(tmp_path / "sweep.wandb.zip", runs)
    if request.param == "folder":
        path = unzipped(path, tmp_path / "sweep")
    with open_bundle(path) as opened:
        yield opened


def test_a_bundle_is_a_mapping_of_paths_in_path_order(bundle: Bundle) -> None:
    assert bundle.run_paths == ("acme/b/b", "acme/nano/3fk2a", "acme/nano/b")
    assert tuple(bundle) == bundle.run_paths
    assert len(bundle) == 3
    assert [str(run.path) for run in bundle.runs()] == list(bundle.run_paths)
    assert [str(run.path) for run in bundle.values()] == list(bundle.run_paths)
    assert repr(bundle).endswith(f"{Path(bundle.path).name}': 3 runs>")
    assert len(repr(bundle)) <= 100


def test_the_ids_of_a_bundle_are_those_of_its_manifest(bundle: Bundle) -> None:
    members = members_of(bundle.path)
    assert bundle.bundle_id.removeprefix("sha256:") in members["datapackage-digest.json"].decode()
    assert f'"contentId":"{bundle.content_id}"' in members["datapackage.json"].decode()


@pytest.mark.parametrize("key", ["acme/nano/3fk2a", "nano/3fk2a", "3fk2a", RunPath("acme", "nano", "3fk2a")])
def test_a_run_is_found_by_its_path_and_by_what_is_enough_of_it(bundle: Bundle, key: str) -> None:
    assert key in bundle
    assert bundle[key].path == RunPath("acme", "nano", "3fk2a")
    assert repr(bundle[key]) == "<Run 'acme/nano/3fk2a': finished, 3 rows>"


def test_an_id_of_several_runs_is_not_enough(bundle: Bundle) -> None:
    assert "b" not in bundle
    assert object() not in cast("Container[object]", bundle)
    with pytest.raises(RunNotFoundError) as caught:
        bundle["b"]
    assert caught.value.message == (
        f"'b' is the id of 2 runs in {str(bundle.path)!r}: 'acme/b/b', 'acme/nano/b'"
    )
    assert caught.value.hint == "write entity/project/run_id"


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("3fk2b", "the nearest is '3fk2a'"),
        ("nano/3fk2b", "the nearest are 'nano/3fk2a', 'nano/b'"),
        ("acne/nano/3fk2a", "the nearest are 'acme/nano/3fk2a', 'acme/nano/b'"),
        ("zzzz", "it has 'acme/b/b', 'acme/nano/3fk2a', 'acme/nano/b'"),
    ],
)
def test_a_run_that_is_not_there_names_the_nearest(bundle: Bundle, key: str, hint: str) -> None:
    with pytest.raises(RunNotFoundError) as caught:
        bundle[key]
    assert caught.value.message == f"no run {key!r} in {str(bundle.path)!r}"
    assert caught.value.hint == hint
    assert bundle.get(key) is None


def test_a_run_has_its_facts(bundle: Bundle) -> None:
    run = bundle["3fk2a"]
    for name, value in FACTS.items():
        if not isinstance(value, dict):
            assert getattr(run, name) == value
            assert getattr(run.info, name) == value
        else:
            assert same(getattr(run, name), value)
            assert same(getattr(run.info, name), value)
    assert (run.name, run.state) == ("brisk-sun-1", "finished")
    assert (run.rows, run.first_step, run.last_step, run.complete) == (3, 0, 4, True)
    assert run.coverage == Coverage(received_rows=3, received_last_step=4)
    other = bundle["acme/b/b"]
    assert (other.rows, other.first_step, other.last_step) == (0, None, None)
    assert (other.tags, other.group, other.config, other.created_at) == ((), None, {}, None)


def test_a_config_is_the_caller_s_to_change(bundle: Bundle) -> None:
    run = bundle["3fk2a"]
    run.config["opt"]["name"] = "sgd"
    assert run.config["opt"]["name"] == "adam"
    assert isinstance(run.config["lr"], float)


def test_the_rows_of_a_run_are_the_canonical_rows(bundle: Bundle) -> None:
    found = list(bundle["3fk2a"].scan_history())
    assert all(same(row, canon_row(raw)) for row, raw in zip(found, ROWS, strict=True))
    assert list(bundle["acme/b/b"].scan_history()) == []


def test_keys_give_the_rows_that_have_one_of_them(bundle: Bundle) -> None:
    run = bundle["3fk2a"]
    assert list(run.scan_history(keys=["acc", "note"])) == [{"note": "start"}, {"acc": 0.5}, {"acc": "odd"}]
    assert list(run.scan_history(keys=["_step", "acc"])) == [
        {"_step": 0},
        {"_step": 1, "acc": 0.5},
        {"_step": 4, "acc": "odd"},
    ]
    assert list(run.scan_history(keys=["unknown"])) == []


@given(st.integers(-1, 6), st.none() | st.integers(-1, 6))
def test_steps_are_given_from_the_first_to_before_the_last(
    tmp_path_factory: pytest.TempPathFactory, first: int, last: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "steps.wandb.zip"
    if not path.exists():
        make_bundle(path)
    with open_bundle(path) as bundle:
        found = [row["_step"] for row in bundle["3fk2a"].scan_history(min_step=first, max_step=last)]
    assert found == [step for step in (0, 1, 4) if first <= step and (last is None or step < last)]


def test_the_names_of_columns_are_those_of_all_rows(bundle: Bundle) -> None:
    assert bundle["3fk2a"].column_names() == ("_step", "_timestamp", "acc", "loss", "note", "pics")
    assert bundle["acme/b/b"].column_names() == ("_step",)


def test_a_table_has_the_columns_asked_for_and_those_that_may_hold_their_cells(bundle: Bundle) -> None:
    run = bundle["3fk2a"]
    assert run.arrow_table(["loss"]).column_names == ["_step", "loss", RESIDUAL]
    assert run.arrow_table().column_names == ["_step", "_timestamp", "acc", "loss", "note", RESIDUAL]
    assert list(batch_rows(run.arrow_table(["acc"]), ["acc"])) == [{}, {"acc": 0.5}, {"acc": "odd"}]
    assert [batch.num_rows for batch in run.batches()] == [3]
    empty = bundle["acme/b/b"].arrow_table()
    assert (empty.num_rows, empty.column_names) == (0, ["_step"])


def test_a_frame_has_all_rows_and_a_column_per_key(bundle: Bundle) -> None:
    frame = bundle["3fk2a"].history()
    assert list(frame.columns) == ["_step", "_timestamp", "acc", "loss", "note", "pics"]
    assert frame["_step"].tolist() == [0, 1, 4]
    assert (frame["_step"].dtype, frame["loss"].dtype) == ("int64", "float64")
    assert frame["loss"].isna().tolist() == [False, True, False]
    assert frame["acc"].tolist() == [None, 0.5, "odd"]
    assert frame["pics"].tolist()[2] == {"_type": "image-file", "n": [1, None]}
    assert len(bundle["acme/b/b"].history()) == 0


def test_a_frame_of_some_columns_has_these_and_the_step(bundle: Bundle) -> None:
    run = bundle["3fk2a"]
    assert list(run.history(columns=["loss"]).columns) == ["_step", "loss"]
    assert list(run.history(columns=["pics"]).columns) == ["_step", "pics"]
    with pytest.raises(MetricNotFoundError) as caught:
        run.history(columns=["los"])
    assert caught.value.message == "run 'acme/nano/3fk2a' has no metric 'los'"
    assert caught.value.hint == "the nearest is 'loss'"


def test_integers_that_no_float_holds_stay_what_they_are(tmp_path: Path) -> None:
    rows = [{"_step": 0, "n": 2**53 + 1}, {"_step": 1}, {"_step": 2, "n": 3}]
    with open_bundle(make_bundle(tmp_path / "a.wandb.zip", [bundle_run(rows=rows)])) as opened:
        frame = opened["3fk2a"].history()
    assert frame["n"].dtype == "Int64"
    assert frame["n"].tolist()[::2] == [2**53 + 1, 3]


def test_system_metrics_are_stored_next_to_the_history(bundle: Bundle) -> None:
    run = bundle["3fk2a"]
    assert list(run.system_rows()) == [
        {"_timestamp": 1, "system.cpu": 12.5},
        {"_timestamp": 2, "system.cpu": 50},
    ]
    assert run.system_table().num_rows == 2  # type: ignore[union-attr]
    assert run.system_rows_hash is not None
    other = bundle["nano/b"]
    assert (other.system_table(), list(other.system_rows()), other.system_rows_hash) == (None, [], None)
    assert (other.system_encoded, list(other.system_chunks())) == (None, [])


def test_a_frame_of_the_runs_has_their_facts_and_their_keys(bundle: Bundle) -> None:
    frame = bundle.runs_frame()
    assert frame["path"].tolist() == list(bundle.run_paths)
    assert frame["state"].tolist() == ["finished", "finished", "crashed"]
    assert frame["config.opt"].tolist()[1] == {"name": "adam", "empty": {}, "none": None}
    assert frame["summary.loss"].tolist()[1] == math.inf
    assert frame.index.name == "run"
    assert frame.loc[bundle.run_paths[2], "state"] == "crashed"


@given(
    st.lists(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats()
        | st.text(max_size=3)
        | st.lists(st.integers(), max_size=2),
        max_size=5,
    )
)
def test_a_frame_of_the_runs_changes_no_value(values: list[Any]) -> None:
    frame = to_runs_frame({"path": [f"e/p/{index}" for index in range(len(values))], "config.v": values})
    for found, value in zip(frame["config.v"].tolist(), values, strict=True):
        if value is None:
            assert found is None or found is pd.NA or found != found
        else:
            assert found == value or (found != found and value != value)
            assert isinstance(found, bool) == isinstance(value, bool)


def test_a_frame_of_the_runs_has_the_types_of_the_values() -> None:
    frame = to_runs_frame(
        {
            "path": ["e/p/a", "e/p/b"],
            "created_at": ["2026-11-01T09:30:00Z", None],
            "heartbeat_at": ["2026-11-01T09:30:00.25", "yesterday"],
            "promised_rows": [None, None],
            "config.epochs": [3, None],
            "config.amp": [True, None],
            "config.lr": [1, 0.5],
            "config.big": [2**63, 1],
        }
    )
    assert {name: str(kind) for name, kind in frame.dtypes.items() if name != "path"} == {
        "created_at": "datetime64[us, UTC]",
        "heartbeat_at": "str",
        "promised_rows": "Int64",
        "config.epochs": "Int64",
        "config.amp": "boolean",
        "config.lr": "float64",
        "config.big": "object",
    }
    assert frame["created_at"].iloc[0].isoformat() == "2026-11-01T09:30:00+00:00"


def test_several_threads_read_at_once(tmp_path: Path) -> None:
    runs = [
        bundle_run(f"e/p/r{number}", [{"_step": step, "v": number} for step in range(50)])
        for number in range(40)
    ]
    with open_bundle(make_bundle(tmp_path / "a.wandb.zip", runs)) as opened, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda run: {row["v"] for row in run.scan_history()}, opened.runs()))
    assert found == [{int(run.path.run_id[1:])} for run in opened.runs()]


def test_runs_of_a_bundle_make_another_without_being_decoded(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "copy.wandb.zip"
    report = write_bundle(copy, bundle.runs(), force=True)
    assert (report.bundle_id, report.content_id) == (bundle.bundle_id, bundle.content_id)
    write_bundle(tmp_path / "part.wandb.zip", [bundle["3fk2a"]], force=True)
    with open_bundle(tmp_path / "part.wandb.zip") as part:
        assert part["3fk2a"].rows_hash == bundle["3fk2a"].rows_hash
        assert (
            members_of(part.path)[f"{PLACE}/history.parquet"] == members_of(copy)[f"{PLACE}/history.parquet"]
        )


PLACE = "runs/entity=acme/project=nano/run=3fk2a"


def test_ids_that_no_file_may_have_are_kept(tmp_path: Path) -> None:
    paths = ["e/p/.", "e/p/..", "e/p/a b", "e/p/AB", "e/p/ab", "e/p/~x", "e/ü/%2F", "e/p/" + "r" * 300]
    with open_bundle(make_bundle(tmp_path / "a.wandb.zip", map(bundle_run, paths))) as opened:
        assert opened.run_paths == tuple(sorted(paths))
        assert all(opened[path].rows == 3 for path in paths)


def test_a_history_whose_footer_was_changed_is_refused_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = unzipped(make_bundle(tmp_path / "a.wandb.zip"), tmp_path / "a")
    file = folder / PLACE / "history.parquet"
    data = file.read_bytes()
    file.write_bytes(data.replace(b"loss", b"lofs"))
    monkeypatch.setattr(parquet_member, "SMALL_FILE", 0)
    with open_bundle(folder) as opened:
        with pytest.raises(BundleDamagedError) as caught:
            opened["3fk2a"].arrow_table()
        assert opened["nano/b"].arrow_table().num_rows == 1
    assert caught.value.message == (
        f"{str(folder)!r} is damaged: history.parquet of run 'acme/nano/3fk2a':"
        " its footer does not have the hash in the manifest"
    )
    assert caught.value.hint == "run `pull-logs verify` to see where"
    assert caught.value.member == f"{PLACE}/history.parquet"


def test_no_flipped_bit_of_a_history_goes_by_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error or the same rows, even where only pages are checked, as in a large file."""
    folder = unzipped(make_bundle(tmp_path / "a.wandb.zip"), tmp_path / "a")
    file = folder / PLACE / "history.parquet"
    data = file.read_bytes()
    with open_bundle(folder) as opened:
        run = opened["3fk2a"]
        for limit in (parquet_member.SMALL_FILE, 0):
            monkeypatch.setattr(parquet_member, "SMALL_FILE", limit)
            for offset in range(0, len(data), 7):
                file.write_bytes(data[:offset] + bytes([data[offset] ^ 0x10]) + data[offset + 1 :])
                with suppress(BundleDamagedError):
                    assert rows_hash([run.arrow_table()]) == run.rows_hash
                    assert limit == 0, "a small file is checked completely"


def test_plain_tools_read_an_unzipped_bundle(tmp_path: Path) -> None:
    folder = unzipped(make_bundle(tmp_path / "a.wandb.zip"), tmp_path / "a")
    files = str(folder / "runs" / "*" / "*" / "*" / "history.parquet")
    query = "select run, count(*), max(loss) from read_parquet(?, hive_partitioning=true, union_by_name=true)"
    with duckdb.connect() as connection:
        found = connection.execute(
            f"{query} where loss is not null group by run order by run", [files]
        ).fetchall()
        configs = connection.execute(
            "select run_id, config->>'lr' from read_parquet(?) order by run_id",
            [str(folder / "runs.parquet")],
        ).fetchall()
    assert [(run, count) for run, count, _ in found] == [("3fk2a", 3), ("b", 1)]
    assert configs == [("3fk2a", "0.1"), ("b", None)]
    frame = pl.read_parquet(files, hive_partitioning=True, columns=["_step", "loss", "run"])
    assert frame["run"].to_list() == ["3fk2a", "3fk2a", "3fk2a", "b"]


def test_reading_loads_no_pandas(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "a.wandb.zip")
    code = (
        "import sys, pull_logs\n"
        f"run = pull_logs.open_bundle({str(path)!r})['3fk2a']\n"
        "assert len(list(run.scan_history())) == run.rows == 3\n"
        "print([name for name in ('pandas', 'httpx', 'wandb', 'torch') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_package_gives_out_these_names() -> None:
    assert dir(snapshot) == [
        "AddReport",
        "Artifact",
        "ArtifactSelection",
        "Bundle",
        "BundleDifference",
        "BundleRun",
        "BundleSet",
        "CatalogEntry",
        "CellEdit",
        "ConsoleLine",
        "Damage",
        "Edit",
        "ExportReport",
        "FileSelection",
        "MediaItem",
        "MergeReport",
        "RowsDifference",
        "Run",
        "RunDifference",
        "RunFile",
        "SealReport",
        "Spool",
        "VerifyReport",
        "add_bundles",
        "check_export_folder",
        "check_location",
        "diff_bundles",
        "diff_runs",
        "disk_errors",
        "drop_runs",
        "escape_formula",
        "export_runs",
        "html_folded",
        "html_lines",
        "html_table",
        "is_bundle_set",
        "make_folder",
        "merge_bundles",
        "name_folder",
        "new_file",
        "open_bundle",
        "open_bundle_set",
        "open_store",
        "record_edits",
        "remove_file",
        "replace_file",
        "select_files",
        "subset_bundle",
        "sync_folder",
        "temporary_folder",
        "verify_bundle",
        "write_bundle",
        "write_file",
    ]
    assert all(getattr(snapshot, name).__name__ == name for name in dir(snapshot))
    with pytest.raises(AttributeError, match=r"^No pull_logs.snapshot attribute nothing$"):
        getattr(snapshot, "nothing")  # noqa: B009 - no stub has it


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("columns", lambda bundle: next(bundle.runs()).history("loss")),
        ("columns", lambda bundle: bundle.long_frame("loss")),
        ("keys", lambda bundle: list(next(bundle.runs()).scan_history("loss"))),
        ("keys", lambda bundle: list(next(bundle.runs()).scan_history(keys="loss", max_step=1))),
    ],
)
def test_one_string_is_not_a_list_of_names(
    name: str, read: Callable[[Bundle], object], tmp_path: Path
) -> None:
    path = make_bundle(tmp_path / "b.wandb.zip", [bundle_run()])
    with open_bundle(path) as bundle, pytest.raises(UsageError) as caught:
        read(bundle)
    assert str(caught.value) == f"{name} is the string 'loss', not a list of names; write {name}=['loss']"


def test_a_metric_that_no_row_has_is_answered_with_those_there_are(tmp_path: Path) -> None:
    runs = [bundle_run(rows=[{"_step": 0, "loss": 1}]), bundle_run("acme/nano/empty", rows=[])]
    with open_bundle(make_bundle(tmp_path / "b.wandb.zip", runs)) as bundle:
        for run, hint in (("3fk2a", "it has 'loss'"), ("empty", "it has no metrics")):
            with pytest.raises(MetricNotFoundError) as caught:
                bundle[run].history(["zz"])
            assert str(caught.value) == f"run 'acme/nano/{run}' has no metric 'zz'; {hint}"
