from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakeruns import FakeRun, training
from hypothesis import given
from rowkit import canonical, nasty_rows

from pull_logs.frames.flatten import escape_key, is_typed, join_path
from pull_logs.frames.frame import Frame, open_frames
from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.canonical import same
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot import open_bundle
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.snapshot.write.seal import write_bundle

PANDAS_FREE = """
import sys
from pull_logs.analyze import Subject, View, answer
from pull_logs.snapshot import open_bundle
with open_bundle(sys.argv[1]) as bundle:
    subjects = [Subject(label="A", run=run) for run in bundle.runs()]
    for view in (View(schema=True), View(stats=True), View(where="loss < 2", evals=(("half", "loss / 2"),))):
        assert answer(subjects, view)
assert "pandas" not in sys.modules
assert "wandb" not in sys.modules
"""


def leaves(value: Any, path: tuple[str, ...]) -> dict[tuple[str, ...], Any]:
    """The cells that one value of a row becomes, by their path."""
    if isinstance(value, dict) and not is_typed(value):
        return {
            deep: cell for key, item in value.items() for deep, cell in leaves(item, (*path, key)).items()
        }
    return {path: value}


def cells_of(frame: Frame, name: str) -> list[Any]:
    return frame.column(name).cells(np.arange(frame.length))


@given(nasty_rows)
def test_every_cell_of_every_row_stands_in_one_column_and_nothing_else_does(
    rows: list[dict[str, Any]],
) -> None:
    history = canonical(rows)
    frame = Frame(FakeRun(history))
    found: list[dict[str, Any]] = [{} for _ in history]
    for name in frame.names:
        for row, cell in enumerate(cells_of(frame, name)):
            if cell is not None:
                found[row][name] = cell
    for row, given_row in enumerate(history):
        expected = {
            path: cell for key, value in given_row.items() for path, cell in leaves(value, (key,)).items()
        }
        assert len(found[row]) == len(expected)
        for path, cell in expected.items():
            names = {join_path(path)} if path[1:] else {path[0], escape_key(path[0])}
            assert any(name in found[row] and same(found[row][name], cell) for name in names)


@given(nasty_rows)
def test_names_are_unique_and_sorted_behind_the_step(rows: list[dict[str, Any]]) -> None:
    names = Frame(FakeRun(canonical(rows))).names
    assert names[0] == "_step"
    assert list(names[1:]) == sorted(set(names[1:]) - {"_step"})


@given(nasty_rows)
def test_vectors_are_the_cells_as_numbers_compute(rows: list[dict[str, Any]]) -> None:
    frame = Frame(FakeRun(canonical(rows)))
    for name in frame.names:
        vector = frame.column(name).vector
        assert vector.present.tolist() == [cell is not None for cell in cells_of(frame, name)]


def test_a_literal_key_is_escaped_only_where_a_nested_value_has_its_name() -> None:
    frame = Frame(FakeRun([{"_step": 0, "a.b": 1, "c.d": 2, "a": {"b": 3}}]))
    assert frame.names == ("_step", "a.b", "a\\.b", "c.d")
    assert [cells_of(frame, name) for name in frame.names[1:]] == [[3], [1], [2]]


def test_an_escaped_key_makes_way_for_the_key_that_looks_like_it() -> None:
    frame = Frame(FakeRun([{"_step": 0, "a.b": 1, "a\\.b": 2, "a": {"b": 3}}]))
    assert frame.names == ("_step", "a.b", "a\\.b", "a\\\\\\.b")
    assert [cells_of(frame, name) for name in frame.names[1:]] == [[3], [1], [2]]


def test_nested_values_are_dotted_columns_and_typed_objects_are_cells() -> None:
    histogram = {"_type": "histogram", "bins": [0, 1]}
    image = {"_type": "image-file", "path": "a.png"}
    frame = Frame(
        FakeRun(
            [
                {
                    "_step": 0,
                    "opt": {"lr": 0.1, "deep": {"x": "s"}},
                    "grads": histogram,
                    "media": {"in": image},
                },
                {"_step": 1, "opt": {"lr": 0.2}, "items": [1, 2], "odd": {"_type": "custom"}},
            ]
        )
    )
    types = {name: frame.column(name).type for name in frame.names}
    assert types == {
        "_step": "number",
        "grads": "histogram",
        "items": "list",
        "media.in": "image",
        "odd": "custom",
        "opt.deep.x": "string",
        "opt.lr": "number",
    }
    assert cells_of(frame, "opt.lr") == [0.1, 0.2]
    assert cells_of(frame, "grads") == [histogram, None]


def test_a_column_of_several_kinds_is_mixed_and_keeps_each_cell() -> None:
    values = [1, "one", True, 0.5, None, [1], 2**70 + 1]
    frame = Frame(FakeRun({"_step": step, "x": value} for step, value in enumerate(values)))
    assert frame.column("x").type == "mixed"
    assert same(cells_of(frame, "x"), values)


def test_whole_numbers_that_no_double_holds_keep_their_digits() -> None:
    values = [2**53 + 1, 0.5, 10**30 + 1, None, 3]
    frame = Frame(FakeRun({"_step": step, "x": value} for step, value in enumerate(values)))
    column = frame.column("x")
    assert column.type == "number"
    assert same(cells_of(frame, "x"), values)
    assert same(column.take(np.array([2, 0])).cells(np.array([0, 1])), [10**30 + 1, 2**53 + 1])
    assert column.vector.floats()[2] == 1e30


def test_not_a_number_is_a_value_and_not_missing() -> None:
    frame = Frame(FakeRun([{"_step": 0, "x": math.nan}, {"_step": 1}, {"_step": 2, "x": math.inf}]))
    assert frame.column("x").vector.present.tolist() == [True, False, True]
    cells = cells_of(frame, "x")
    assert math.isnan(cells[0])
    assert cells[1:] == [None, math.inf]


def test_only_the_columns_that_are_looked_at_are_read_and_only_once() -> None:
    run = training()
    frame = Frame(run)
    frame.load(["train/loss", "no such column"])
    run.reads.clear()
    assert frame.column("train/loss").vector.count == 12
    assert run.reads == []
    assert frame.column("val/acc").vector.count == 4
    frame.load(["val/acc", "train/loss"])
    assert run.reads == [["_step", "val/acc"]]
    frame.forget()
    assert frame.column("train/loss").vector.count == 12
    assert run.reads == [["_step", "val/acc"], ["_step", "train/loss"]]


def test_an_unknown_column_is_a_key_error() -> None:
    frame = Frame(training())
    with pytest.raises(KeyError, match="nope"):
        frame.column("nope")
    assert "nope" not in frame


def test_a_run_without_rows_has_its_step_column_alone() -> None:
    frame = Frame(FakeRun())
    assert (frame.names, frame.length, len(frame.steps)) == (("_step",), 0, 0)


def write_one_run(path: Path) -> Path:
    rows = [
        {"_step": step, "loss": 3.0 / (step + 1), "flag": step % 2 == 0, "tag": "x", "opt": {"lr": 0.1}}
        for step in range(20)
    ]
    info = RunInfo(path=RunPath("acme", "nano", "r1"), name="n", state="finished", config={"lr": 0.1})
    batch = batch_from_rows(rows)
    coverage = Coverage(received_rows=20, received_last_step=19)
    write_bundle(path, [BundleRun(info=info, coverage=coverage, batches=lambda: [batch])], force=True)
    return path


def test_a_run_of_a_bundle_makes_the_frame_of_its_rows(tmp_path: Path) -> None:
    with open_bundle(write_one_run(tmp_path / "one.wandb.zip")) as bundle:
        frame = Frame(next(bundle.runs()))
        assert frame.names == ("_step", "flag", "loss", "opt.lr", "tag")
        assert frame.column("flag").vector.to_list() == [True, False] * 10
        assert cells_of(frame, "loss")[:3] == [3, 1.5, 1]
        assert cells_of(frame, "tag") == ["x"] * 20


def test_schema_stats_and_expressions_of_a_bundle_need_neither_pandas_nor_wandb(tmp_path: Path) -> None:
    path = write_one_run(tmp_path / "one.wandb.zip")
    subprocess.run([sys.executable, "-c", PANDAS_FREE, str(path)], check=True)


@given(nasty_rows)
def test_a_frame_that_forgot_what_it_read_reads_the_same_again(rows: list[dict[str, Any]]) -> None:
    run = FakeRun(canonical(rows))
    once, again = Frame(run), open_frames([run, run])[0]
    for name in once.names:
        assert same(cells_of(once, name), cells_of(again, name))
        again.forget()
    assert again.names == once.names


def test_of_several_runs_one_residual_is_in_memory_and_each_is_read_with_its_columns() -> None:
    rows = [{"_step": step, "loss": 0.5, "opt": {"lr": 0.1}, "hist": [1, 2]} for step in range(3)]
    run = FakeRun(rows)
    frame, _ = open_frames([run, run])
    run.reads.clear()
    frame.load(["loss", "hist", "opt.lr"])
    assert run.reads == [["_step", "loss", "hist"]]
    assert cells_of(frame, "opt.lr") == [0.1] * 3
    frame.forget()
    assert cells_of(frame, "opt.lr") == [0.1] * 3
    assert run.reads[1:] == [["_step"]]
