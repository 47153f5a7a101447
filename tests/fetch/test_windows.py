"""Windows cover what is to be asked for, exactly once, however steps are spread."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.fetch.windows import (
    EXACT,
    Window,
    WindowSize,
    gaps,
    samples_for,
    windows_of_span,
    windows_of_steps,
)

INTERVALS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 100)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    max_size=6,
)


def covered_steps(intervals: list[tuple[int, int]]) -> set[int]:
    return {step for low, high in intervals for step in range(low, high)}


@given(start=st.integers(0, 200), width=st.integers(0, 300), covered=INTERVALS)
def test_gaps_are_what_is_not_covered_and_do_not_overlap(
    start: int, width: int, covered: list[tuple[int, int]]
) -> None:
    found = list(gaps(start, start + width, covered))
    steps = [step for low, high in found for step in range(low, high)]
    assert steps == sorted(set(range(start, start + width)) - covered_steps(covered))
    assert all(low < high for low, high in found)


@given(steps=st.sets(st.integers(0, 400), min_size=1), covered=INTERVALS, rows=st.integers(1, 50))
def test_windows_over_known_steps_hold_each_uncovered_step_once(
    steps: set[int], covered: list[tuple[int, int]], rows: int
) -> None:
    array = np.array(sorted(steps))
    windows = list(windows_of_steps(array, stop=500, covered=covered, size=WindowSize(rows=rows)))
    held = [step for window in windows for step in sorted(steps) if window.start <= step < window.stop]
    assert held == sorted(steps - covered_steps(covered))
    assert sum(window.expected or 0 for window in windows) == len(held)
    assert all(0 < (window.expected or 0) <= rows for window in windows)


@given(
    start=st.integers(0, 50),
    width=st.integers(0, 5_000_000),
    rows=st.none() | st.integers(0, 20_000),
    covered=INTERVALS,
)
def test_windows_over_a_span_leave_out_nothing_but_what_is_covered(
    start: int, width: int, rows: int | None, covered: list[tuple[int, int]]
) -> None:
    windows = list(windows_of_span(start, start + width, rows=rows, covered=covered))
    joined: list[tuple[int, int]] = []
    for window in windows:
        assert window.start < window.stop
        if joined and joined[-1][1] == window.start:
            joined[-1] = (joined[-1][0], window.stop)
        else:
            joined.append((window.start, window.stop))
    wanted: list[tuple[int, int]] = []
    for low, high in gaps(start, start + width, covered):
        if wanted and wanted[-1][1] == low:
            wanted[-1] = (wanted[-1][0], high)
        else:
            wanted.append((low, high))
    assert joined == wanted


def test_five_hundred_rows_over_five_million_steps_are_one_window() -> None:
    assert list(windows_of_span(0, 5_000_000, rows=500, covered=())) == [Window(0, 5_000_000)]


def test_a_dense_span_is_cut_as_the_sdk_cuts_it() -> None:
    windows = list(windows_of_span(0, 10_000, rows=10_000, covered=()))
    assert [window.width for window in windows] == [EXACT] * 10
    assert all(samples_for(window) == window.width for window in windows)


@given(start=st.integers(0, 9), width=st.integers(2, 9), at=st.none() | st.integers(-5, 30))
def test_both_parts_of_a_split_window_have_steps(start: int, width: int, at: int | None) -> None:
    first, second = Window(start, start + width).split(at)
    assert (first.start, first.stop, second.stop) == (start, second.start, start + width)
    assert first.width > 0
    assert second.width > 0


def test_the_size_grows_with_quick_full_answers_and_shrinks_with_heavy_ones() -> None:
    size = WindowSize()
    size.update(rows=1000, size=100_000, seconds=0.1)
    assert size.rows == 1500
    size.update(rows=10, size=100, seconds=0.1)
    size.update(rows=1500, size=10**8, seconds=0.1)
    size.update(rows=1500, size=100, seconds=9.0)
    assert size.rows == 1500
    for _ in range(9):
        size.shrink()
    assert size.rows == 50
