"""Questions about many runs hold the columns of one at a time, however many there are."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fakeruns import FakeRun, subjects

from pull_logs.analyze import Subject, overview
from pull_logs.analyze.answers.comparison import Comparison, compare_runs
from pull_logs.analyze.questions.alignment import Position
from pull_logs.frames.frame import Frame

ROWS = 1000


class Watched(FakeRun):
    """A run whose columns are made anew for each read, and which notes how many are still held then."""

    held: list[weakref.ref[np.ndarray]]
    counts: list[int]

    def arrow_table(self, columns: Sequence[str] | None = None, *, coded: bool = False) -> pa.Table:
        self.counts.append(sum(array() is not None for array in self.held))
        found = super().arrow_table(columns, coded=coded)
        arrays = [np.array(column.to_numpy()) for column in found.columns]
        self.held += map(weakref.ref, arrays)
        return pa.table(list(map(pa.array, arrays)), names=found.column_names)


def watched(count: int) -> tuple[Sequence[Subject], list[int]]:
    """Runs, and how many columns were held at each read of one of them."""
    rows = [{"_step": step, "loss": 1 / (step + 1), "acc": step / ROWS} for step in range(ROWS)]
    runs = [Watched(rows, run_id=f"r{number}") for number in range(count)]
    held: list[weakref.ref[np.ndarray]] = []
    counts: list[int] = []
    for run in runs:
        run.held, run.counts = held, counts
    return subjects(*runs), counts


@pytest.mark.parametrize(
    "ask",
    [
        lambda runs: compare_runs(runs, Comparison()),
        lambda runs: compare_runs(runs, Comparison(at=Position("step", 7.5), asserts=("all: loss < 2",))),
        overview,
    ],
    ids=["compare", "compare with a gate", "overview"],
)
def test_a_run_is_let_go_of_before_the_next_is_read(ask: Callable[[Sequence[Subject]], Any]) -> None:
    runs, counts = watched(5)
    ask(runs)
    assert len(counts) >= 5
    assert max(counts) <= 1  # the steps of the very run


class WatchedFrame(Frame):
    """A history that can be referred to weakly; thousands of others are open, and do without."""

    __slots__ = ("__weakref__",)


def test_a_frame_goes_when_nobody_has_it_without_a_look_for_garbage() -> None:
    runs, _ = watched(1)
    frame = WatchedFrame(runs[0].run)
    frame.load(["loss"])
    assert len(frame.names) == 3
    gone = weakref.ref(frame)
    del frame
    assert gone() is None
