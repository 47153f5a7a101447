"""Of a long history, `--last`, `--around`, `--every` and `--where` read the parts with their rows only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from bundlekit import run_info
from fakeruns import FakeRun, subjects, training
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze import Picking, View, answer
from pull_logs.analyze.answers.comparison import Comparison, compare_runs
from pull_logs.analyze.questions.alignment import Position
from pull_logs.errors import BundleDamagedError
from pull_logs.frames import some_rows
from pull_logs.runs import Coverage
from pull_logs.snapshot import BundleRun, open_bundle, write_bundle

CELLS = {
    "loss": st.floats(-5, 5) | st.just(float("nan")) | st.integers(-2, 2),
    "note": st.sampled_from(["a", "b"]),
    "flag": st.booleans(),
    "big": st.sampled_from([2**60 + 1, 3]),
    "_runtime": st.floats(0, 5),
    **{f"layer.{number}/norm": st.floats(0, 1) for number in range(4)},
    "odd": st.sampled_from([1, "text"]),
    "nested": st.builds(lambda value: {"a": value, "_step": 1}, st.integers(0, 3)),
}

histories = st.lists(st.fixed_dictionaries({}, optional=dict(CELLS)), max_size=14).flatmap(
    lambda rows: st.sets(st.integers(-20, 40), min_size=len(rows), max_size=len(rows)).map(
        lambda steps: [{"_step": step, **row} for step, row in zip(sorted(steps), rows, strict=True)]
    )
)
pickings = st.builds(
    Picking,
    around=st.none() | st.integers(-25, 45),
    last=st.none() | st.integers(1, 6),
    every=st.none() | st.integers(1, 4),
)
conditions = st.sampled_from(
    [
        "_step > 3",
        "_step > 3 and loss < 2",
        "3 >= _step > -4 or note == 'b'",
        "_step in [-3, 4, 5] and not flag",
        "_step < -50 and note > 2",
        "_step != 4",
        "_step * 2 < 9",
        "abs(loss) < 2 and big is not missing",
        "loss > mean(loss)",
        "lag(loss) < loss",
        "nested.a > 1",
        "odd == 1",
        "flag or loss == 1",
        "loss",
    ]
)
views = st.builds(
    View,
    select=st.none() | st.sampled_from(["loss|note", "^_runtime$", "flag|big", "odd|loss", "nested", "loss"]),
    picking=pickings,
    show_all=st.booleans(),
    schema=st.booleans(),
    stats=st.booleans(),
    where=st.none() | conditions,
)


@given(histories, views, st.booleans())
def test_the_answer_is_that_of_the_complete_history(
    rows: list[dict[str, Any]],
    view: View,
    indexed: bool,  # noqa: FBT001 - hypothesis passes it by position
) -> None:
    run = FakeRun(rows, indexed=indexed)
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for long in (0, 10**9):
            patch.setattr(some_rows, "LONG_HISTORY", long)
            try:
                found.append(repr(answer(subjects(run), view)))
            except Exception as exc:  # noqa: BLE001 - whatever it is, both have to fail with it
                found.append(f"{type(exc).__name__}: {exc}")
    assert found[0] == found[1]


comparisons = st.builds(
    Comparison,
    at=st.sampled_from(["last", "3", "0.5"]).map(Position.parse),
    axis=st.sampled_from(["_step", "_runtime"]),
    select=st.none() | st.sampled_from(["loss", "loss|big", "."]),
    where=st.none() | conditions,
    asserts=st.just(()) | st.just(("all: loss < 3",)),
)


@given(histories, comparisons)
def test_a_comparison_is_that_of_complete_histories(rows: list[dict[str, Any]], question: Comparison) -> None:
    runs = subjects(FakeRun(rows), FakeRun([{"_step": 2, "loss": 1.5, "_runtime": 1.0}]))
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for long in (0, 10**9):
            patch.setattr(some_rows, "LONG_HISTORY", long)
            try:
                found.append(repr(compare_runs(runs, question)))
            except Exception as exc:  # noqa: BLE001 - whatever it is, both have to fail with it
                found.append(f"{type(exc).__name__}: {exc}")
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("view", "batches"),
    [
        (View(select="loss", picking=Picking(last=2)), [9]),
        (View(select="loss", picking=Picking(around=4, window=1)), [3]),
        (View(select="loss", picking=Picking(around=5, window=1)), [3, 6]),
        (View(show_all=True, picking=Picking(last=4)), [6, 9]),
    ],
)
def test_only_the_parts_with_the_picked_rows_are_read(
    view: View, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(some_rows, "LONG_HISTORY", 0)
    run = training(12, indexed=True)
    answer(subjects(run), view)
    assert run.batches == batches
    assert run.reads[0] in (["_step"], ["train/loss"], ["train/loss", "val/acc"])


def test_a_metric_without_a_cell_in_every_row_is_looked_through_for_the_hidden_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(some_rows, "LONG_HISTORY", 0)
    run = training(12, indexed=True)
    history = answer(subjects(run), View(select="acc", picking=Picking(last=1)))["history"]["A"]
    assert run.batches == [0, 3, 6, 9, 9]
    assert (history["hidden"], history["rows_matched"], history["rows_picked"]) == (8, 12, 1)


ROWS = 200_000
"""More rows than a row group has, and more bytes than are read at once."""


def long_bundle(path: Path) -> Path:
    steps = np.arange(ROWS)
    loss = np.random.default_rng(3).normal(size=ROWS)
    schema = pa.schema([pa.field("_step", pa.int64(), nullable=False), pa.field("loss", pa.float64())])
    table = pa.table({"_step": steps, "loss": loss}, schema=schema)
    coverage = Coverage(received_rows=ROWS, received_last_step=ROWS - 1)
    write_bundle(path, [BundleRun(info=run_info(), coverage=coverage, batches=lambda: [table])])
    return path


def test_the_last_rows_of_a_bundle_are_read_without_its_first_row_group(tmp_path: Path) -> None:
    path = long_bundle(tmp_path / "a.wandb.zip")
    last = View(picking=Picking(last=2))
    with open_bundle(path) as bundle:
        before = answer(subjects_of(bundle), last)
        start = path.read_bytes().find(b"".join(bundle["3fk2a"].history_chunks())[:4096])
    data = bytearray(path.read_bytes())
    data[start + 50_000 : start + 50_010] = bytes(10)
    path.write_bytes(data)
    with open_bundle(path) as bundle:
        assert answer(subjects_of(bundle), last) == before
        with pytest.raises(BundleDamagedError):
            answer(subjects_of(bundle), View(picking=Picking(around=3)))


def subjects_of(bundle: Any) -> Any:
    return subjects(bundle["3fk2a"])


@pytest.mark.parametrize(
    ("where", "batches"),
    [
        ("_step >= 9", [9]),
        ("3 <= _step < 6", [3, 6]),
        ("_step == 4 or _step == 7", [3, 6]),
        ("4 > _step", [0, 3]),
        ("_step > 100", [0, 9]),
        ("_step < -3", [0]),
    ],
)
def test_only_the_parts_with_the_steps_of_a_condition_are_read(
    where: str, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(some_rows, "LONG_HISTORY", 0)
    run = training(12, indexed=True)
    answer(subjects(run), View(select="train/loss", where=where))
    assert set(run.batches) == set(batches)
    assert run.reads[0] == ["_step"]
