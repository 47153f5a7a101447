"""Logs made by hand: damage, restarts, odd records, and where a run belongs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logwriting import item, record, row, run, write_log, write_run_folder

from pull_logs.errors import DamageError, DataError, FileMissingError
from pull_logs.rows.batches import batch_rows
from pull_logs.rows.canonical import canon_record, same
from pull_logs.snapshot import open_bundle
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.sources import LocalImport, import_runs, read_run_dirs
from pull_logs.sources.wandb_folders.arrangement import OnRestart
from pull_logs.sources.wandb_folders.log_items import ItemTree
from pull_logs.sources.wandb_folders.log_messages import record_class, utc_text
from pull_logs.sources.wandb_folders.run_log import read_run_log

LAST = 2**63 - 1
"""The last step that a history can hold."""

EXIT = record(exit={"exit_code": 0, "runtime": 7})


def _rows(found: BundleRun) -> list[dict[str, Any]]:
    return [row for batch in found.batches() for row in batch_rows(batch)]


def _steps(found: BundleRun, key: str = "x") -> list[tuple[int, Any]]:
    return [(row["_step"], row.get(key)) for row in _rows(found)]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def _segments(folder: Path, *segments: Sequence[int]) -> None:
    for number, steps in enumerate(segments):
        rows = [row(step, x=f"{number}:{step}", _timestamp=number) for step in steps]
        write_run_folder(
            folder, f"offline-run-20260101_00000{number}-abc", [run("abc", start=1000 + number), *rows, EXIT]
        )


# Segments


@pytest.mark.parametrize(
    ("segments", "placed"),
    [
        pytest.param([[0, 1], [2, 3]], [0, 1, 2, 3], id="goes-on"),
        pytest.param([[0, 1, 2], [1, 2, 3]], [0, 1, 2, 3], id="goes-on-from-a-checkpoint"),
        pytest.param([[0, 1], [0, 1]], [0, 1, 2, 3], id="starts-over"),
        pytest.param([[0, LAST - 2], [0, 1]], [0, LAST - 2, LAST - 1, LAST], id="starts-over-near-the-end"),
        pytest.param([[-5, 3], [-LAST, 1 - LAST]], [-5, 3, 4, 5], id="offset-beyond-64-bits"),
        pytest.param([[5, 6], [2, 3]], [5, 6, 7, 8], id="starts-over-below"),
        pytest.param([[0], [], [1]], [0, 1], id="one-without-rows"),
        pytest.param([[0, 1], [0], [0, 9], [10]], [0, 1, 2, 3, 12, 13], id="starts-over-twice-and-goes-on"),
    ],
)
def test_where_the_steps_of_segments_come_to_stand(
    tmp_path: Path, scratch: Path, segments: list[list[int]], placed: list[int]
) -> None:
    _segments(tmp_path / "wandb", *segments)
    (found,) = read_run_dirs([tmp_path], scratch=scratch).runs
    assert [step for step, _ in _steps(found)] == placed


def test_overwrite_keeps_the_last_attempt_alone_and_tells_what_went(tmp_path: Path, scratch: Path) -> None:
    _segments(tmp_path / "wandb", [0, 1, 2], [0, 1], [2])
    found = read_run_dirs([tmp_path], scratch=scratch, on_restart="overwrite")
    assert _steps(found.runs[0]) == [(0, "1:0"), (1, "1:1"), (2, "2:2")]
    assert found.runs[0].coverage.received_rows == 3
    assert found.notes[0] == (
        "local/proj/abc: offline-run-20260101_000001-abc: starts over at step 0; "
        "3 rows before it are left out"
    )


@pytest.mark.parametrize(
    ("segments", "offset"), [([[0, LAST - 1], [0, 1]], LAST), ([[0, LAST], [0]], LAST + 1)]
)
def test_steps_that_would_not_fit_after_an_offset_are_refused(
    segments: list[list[int]], offset: int, tmp_path: Path
) -> None:
    _segments(tmp_path, *segments)
    with pytest.raises(DataError) as caught:
        import_runs([tmp_path], out=tmp_path / "out.zip")
    assert str(caught.value) == (
        f"offline-run-20260101_000001-abc: a step offset by {offset} does not fit into 64 bits;"
        " import with --on-restart overwrite"
    )
    report = import_runs([tmp_path], out=tmp_path / "out.zip", on_restart="overwrite")
    assert report.seal.rows == len(segments[1])


def test_error_refuses_a_run_that_starts_over(tmp_path: Path, scratch: Path) -> None:
    _segments(tmp_path / "wandb", [0, 1], [0])
    with pytest.raises(DataError) as caught:
        read_run_dirs([tmp_path], scratch=scratch, on_restart="error")
    assert str(caught.value) == (
        "run 'local/proj/abc' starts over at step 0 in 'offline-run-20260101_000001-abc'; "
        "keep both with --on-restart offset, or the later with --on-restart overwrite"
    )


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=6).map(sorted), min_size=1, max_size=4),
    st.sampled_from(["offset", "overwrite"]),
)
def test_no_row_is_lost_but_those_of_a_step_logged_twice(
    tmp_path_factory: pytest.TempPathFactory, segments: list[list[int]], on_restart: OnRestart
) -> None:
    folder = tmp_path_factory.mktemp("law")
    _segments(folder / "wandb", *segments)
    (folder / "scratch").mkdir()
    (found,) = read_run_dirs([folder / "wandb"], scratch=folder / "scratch", on_restart=on_restart).runs
    steps = [step for step, _ in _steps(found)]
    assert steps == sorted(set(steps))
    values = [value for _, value in _steps(found)]
    logged = [f"{number}:{step}" for number, segment in enumerate(segments) for step in segment]
    assert set(values) <= set(logged)
    # Whatever is not there was logged again by a later segment, or belongs to an overwritten attempt.
    if on_restart == "offset":
        for lost in set(logged) - set(values):
            number, step = map(int, lost.split(":"))
            assert any(step in later for later in segments[number + 1 :])
    assert found.coverage.received_rows >= len(steps)


def test_two_folders_of_one_second_are_in_the_order_their_logs_tell(tmp_path: Path, scratch: Path) -> None:
    for suffix, nanos, steps in (("", 5, [0, 1]), ("-1", 900_000_000, [1, 2])):
        start = {"seconds": 1000, "nanos": nanos}
        rows = [row(step, x=f"{suffix}:{step}", _timestamp=nanos) for step in steps]
        log = write_log([record(run={"run_id": "abc", "project": "p", "start_time": start}), *rows, EXIT])[0]
        folder = tmp_path / f"offline-run-20260101_000000-abc{suffix}"
        folder.mkdir()
        (folder / "run-abc.wandb").write_bytes(log)
    (found,) = read_run_dirs([tmp_path], scratch=scratch).runs
    assert _steps(found) == [(0, ":0"), (1, "-1:1"), (2, "-1:2")]


# Damage


def test_a_torn_tail_costs_the_torn_row_and_makes_the_run_incomplete(tmp_path: Path, scratch: Path) -> None:
    log = write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc"), row(0, x=1), row(1, x=2)])
    whole = log.stat().st_size
    os.truncate(log, whole - 3)
    found = read_run_dirs([tmp_path], scratch=scratch)
    assert _steps(found.runs[0]) == [(0, 1)]
    lost, start = (len(row(1, x=2)) + 4), whole - len(row(1, x=2)) - 7
    reason = (
        f"run-20260101_000000-abc: {lost} bytes of the log could not be read "
        f"({lost} bytes at offset {start}: the file ends inside a record)"
    )
    assert found.runs[0].coverage.reason == reason
    assert not found.runs[0].coverage.complete
    assert found.runs[0].info.state == "crashed"
    assert found.notes[0] == f"local/proj/abc: {reason}"


def test_unreadable_records_values_and_rows_are_counted_not_guessed(tmp_path: Path, scratch: Path) -> None:
    deep = "[" * 300 + "]" * 300
    bad_value = record(history={"item": [item(["_step"], "3"), item(["x"], "{"), item(["y"], "1")]})
    write_run_folder(
        tmp_path,
        "run-20260101_000000-abc",
        [
            run("abc"),
            b"\xff\xff\xff",
            row(0, x=1),
            bad_value,
            record(history={"item": [item(["_step"], "1.5")]}),
            record(history={"item": [item(["_step"], "4"), item(["deep"], deep)]}),
            record(summary={"update": [item("s", "nope"), item("t", "1")]}),
            EXIT,
        ],
    )
    (found,) = read_run_dirs([tmp_path], scratch=scratch).runs
    assert _steps(found) == [(0, 1), (3, None)]
    assert _rows(found)[1]["y"] == 1
    assert found.info.summary["t"] == 1
    assert "s" not in found.info.summary
    assert found.coverage.reason == "run-20260101_000000-abc: 2 rows of the log could not be read"
    assert not found.coverage.complete


def test_a_foreign_file_among_logs_is_an_empty_run_that_is_told(tmp_path: Path, scratch: Path) -> None:
    write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc"), row(0), EXIT])
    other = write_run_folder(tmp_path, "run-20260101_000001-def", [])
    other.write_bytes(b"something else entirely")
    found = read_run_dirs([tmp_path], scratch=scratch)
    assert [str(one.info.path) for one in found.runs] == ["local/proj/abc", "local/uncategorized/def"]
    assert found.runs[1].coverage.reason == (
        f"run-20260101_000001-def: {str(other)!r} is not a W&B transaction log"
    )


def test_a_foreign_file_alone_is_an_error(tmp_path: Path, scratch: Path) -> None:
    log = tmp_path / "run-x.wandb"
    log.write_bytes(b"something else entirely")
    with pytest.raises(DamageError):
        read_run_dirs([log], scratch=scratch)


def test_a_header_only_log_joins_the_run_of_its_id(tmp_path: Path, scratch: Path) -> None:
    write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc"), row(0), EXIT])
    write_run_folder(tmp_path, "run-20260101_000001-abc", [])
    (found,) = read_run_dirs([tmp_path], scratch=scratch).runs
    assert str(found.info.path) == "local/proj/abc"
    assert found.info.state == "finished"
    assert not found.coverage.complete


# Records


def test_items_by_key_and_by_levels_say_the_same(tmp_path: Path, scratch: Path) -> None:
    items = [item("_step", "2.0"), item("a.b", "1"), item(["n", "x"], "NaN"), item(["n", "y"], "-0")]
    write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc"), record(history={"item": items}), EXIT])
    (found,) = read_run_dirs([tmp_path], scratch=scratch).runs
    assert same(_rows(found), [{"_step": 2, "a.b": 1, "n": {"x": float("nan"), "y": 0}}])


def test_several_records_of_one_step_are_one_row(tmp_path: Path, scratch: Path) -> None:
    records = [run("abc"), row(0, x=1, _timestamp=1.0), row(0, y=2, _timestamp=2.0), EXIT]
    write_run_folder(tmp_path, "run-20260101_000000-abc", records)
    (found,) = read_run_dirs([tmp_path], scratch=scratch).runs
    assert _rows(found) == [{"_step": 0, "_timestamp": 2, "x": 1, "y": 2}]
    assert found.coverage.received_rows == 2


def test_a_step_without_an_item_is_that_of_the_record(tmp_path: Path, scratch: Path) -> None:
    made = record(history={"item": [item(["x"], "1")], "step": {"num": 6}})
    write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc"), made, EXIT])
    (found,) = read_run_dirs([tmp_path], scratch=scratch).runs
    assert _rows(found) == [{"_step": 6, "x": 1}]


def test_the_config_is_what_its_updates_and_removals_leave(tmp_path: Path, scratch: Path) -> None:
    first = {"update": [item("lr", "0.1"), item("opt", '{"name":"sgd","m":1}'), item("_wandb", '{"m":[]}')]}
    records = [
        run("abc", config=first),
        record(config={"update": [item(["opt", "name"], '"adam"'), item("null", "null")]}),
        record(config={"remove": [item("lr", ""), item(["opt", "m"], "")]}),
        EXIT,
    ]
    write_run_folder(tmp_path, "run-20260101_000000-abc", records)
    info = read_run_dirs([tmp_path], scratch=scratch).runs[0].info
    assert info.config == {"opt": {"name": "adam"}, "null": None}
    assert info.config_internal == {"_wandb": {"m": []}}


_KEYS = st.sampled_from("abc")
_PATHS = st.lists(_KEYS, min_size=1, max_size=3)
_UPDATES = st.tuples(_PATHS, st.sampled_from(["1", "2", '{"a":3}', '{"b":{"c":4}}', "null"]))


@given(st.lists(st.one_of(_UPDATES, _PATHS), max_size=12))
def test_putting_off_the_updates_of_a_summary_changes_nothing(changes: list[Any]) -> None:
    lazy, eager = ItemTree(), ItemTree()
    make = record_class("HistoryItem")
    for change in changes:
        if isinstance(change, tuple):
            lazy.update([make(nested_key=change[0], value_json=change[1])])
            eager.update([make(nested_key=change[0], value_json=change[1])])
        else:
            lazy.remove([make(nested_key=change)])
            eager.remove([make(nested_key=change)])
        eager.values()
    assert canon_record(lazy.values()) == canon_record(eager.values())


def test_a_summary_without_records_of_its_own_has_the_last_rows_place(tmp_path: Path, scratch: Path) -> None:
    write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc"), row(0), row(4), EXIT])
    info = read_run_dirs([tmp_path], scratch=scratch).runs[0].info
    assert info.summary == {"_step": 4, "_timestamp": 1004, "_wandb": {"runtime": 7}}


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        ([EXIT], "finished"),
        ([record(exit={"exit_code": 1})], "failed"),
        ([], "crashed"),
        ([record(preempting={})], "preempted"),
        ([record(preempting={}), record(exit={"exit_code": 255})], "preempted"),
        ([record(preempting={}), EXIT], "finished"),
    ],
)
def test_how_a_run_ended(tmp_path: Path, scratch: Path, ending: list[bytes], state: str) -> None:
    write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc"), row(0), *ending])
    (found,) = read_run_dirs([tmp_path], scratch=scratch).runs
    assert (found.info.state, found.coverage.complete) == (state, True)


def test_a_batch_holds_a_bounded_number_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pull_logs.sources.wandb_folders.run_log.BATCH_ROWS", 3)
    log = write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc"), *map(row, range(8)), EXIT])
    sizes = []

    def sink(rows: list[dict[str, Any]], /) -> int:
        sizes.append(len(rows))
        return 0

    assert read_run_log(log, sink=sink).rows == 8
    assert sizes == [3, 3, 2]


def test_moments_as_w_and_b_writes_them() -> None:
    assert utc_text(1_700_000_000) == "2023-11-14T22:13:20Z"
    assert utc_text(1_700_000_000, 250_000_000) == "2023-11-14T22:13:20.25Z"
    assert utc_text(0) is None
    assert utc_text(2**62) is None


# Paths


def test_a_log_a_run_folder_a_wandb_folder_and_one_around_it_are_the_same_run(
    tmp_path: Path, scratch: Path
) -> None:
    log = write_run_folder(tmp_path / "wandb", "offline-run-20260101_000000-abc", [run("abc"), row(0), EXIT])
    link = tmp_path / "wandb" / "latest-run"
    link.symlink_to(log.parent.name)
    paths = [log, log.parent, link, tmp_path / "wandb", tmp_path]
    found = read_run_dirs(paths, scratch=scratch)
    assert [str(one.info.path) for one in found.runs] == ["local/proj/abc"]
    assert found.runs[0].coverage.received_rows == 1


def test_names_given_go_before_the_logs(tmp_path: Path, scratch: Path) -> None:
    write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc", entity="team"), EXIT])
    write_run_folder(tmp_path, "run-20260101_000000-def", [run("def", project=""), EXIT])
    plain = _paths(read_run_dirs([tmp_path], scratch=_fresh(scratch, "1")))
    assert plain == ["local/uncategorized/def", "team/proj/abc"]
    named = _paths(read_run_dirs([tmp_path], scratch=_fresh(scratch, "2"), entity="e", project="p"))
    assert named == ["e/p/abc", "e/p/def"]


def _fresh(scratch: Path, name: str) -> Path:
    (scratch / name).mkdir()
    return scratch / name


def _paths(found: LocalImport) -> list[str]:
    return [str(one.info.path) for one in found.runs]


def test_a_log_cannot_name_a_path_outside(tmp_path: Path, scratch: Path) -> None:
    log = write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc", project="../up"), EXIT])
    with pytest.raises(DataError) as caught:
        read_run_dirs([tmp_path], scratch=scratch)
    assert str(caught.value) == (
        f"{str(log)!r} gives the project '../up', which no run path can hold; "
        "choose others with --entity and --project"
    )


def test_folders_without_a_log_are_told_and_without_a_run_refused(tmp_path: Path, scratch: Path) -> None:
    write_run_folder(tmp_path, "run-20260101_000000-abc", [run("abc"), EXIT])
    empty = tmp_path / "run-20260101_000001-def"
    empty.mkdir()
    found = read_run_dirs([tmp_path], scratch=scratch)
    assert found.notes == (f"{str(empty)!r} holds no log (run-ID.wandb) and was left out",)
    with pytest.raises(FileMissingError) as caught:
        read_run_dirs([empty], scratch=scratch)
    assert caught.value.message == f"no W&B run in {str(empty)!r}"
    with pytest.raises(FileMissingError) as caught:
        read_run_dirs([tmp_path / "nowhere"], scratch=scratch)
    assert caught.value.message == f"no file or folder {str(tmp_path / 'nowhere')!r}"


# The bundle


def test_an_import_is_a_bundle_with_the_rows_of_the_logs(tmp_path: Path) -> None:
    _segments(tmp_path / "wandb", [0, 1, 2], [0, 1])
    out = tmp_path / "out.wandb.zip"
    report = import_runs([tmp_path], out=out)
    assert (report.seal.runs, report.seal.rows, report.seal.incomplete) == (1, 5, ())
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    with open_bundle(out) as bundle:
        found = bundle["local/proj/abc"]
        assert [(row["_step"], row["x"]) for row in found.scan_history()] == [
            (0, "0:0"), (1, "0:1"), (2, "0:2"), (3, "1:0"), (4, "1:1"),
        ]  # fmt: skip
    again = import_runs([tmp_path], out=tmp_path / "again.wandb.zip")
    assert again.seal.bundle_id == report.seal.bundle_id


def test_an_import_needs_the_folder_of_its_bundle(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError) as caught:
        import_runs([tmp_path], out=tmp_path / "no" / "out.wandb.zip")
    out = tmp_path / "no" / "out.wandb.zip"
    assert caught.value.message == f"{str(out)!r} cannot be written: its folder does not exist"
