"""Lines are counted once, however often and whichever way they came."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.fetch.history.line_count import Lines, Tally
from pull_logs.rows.batches import batch_from_rows

LINE = st.tuples(st.integers(0, 12), st.integers(0, 2))


def lines(pairs: list[tuple[int, int]]) -> Lines:
    pairs = sorted(pairs)
    return Lines(
        np.array([step for step, _ in pairs], dtype=np.int64),
        np.array([time for _, time in pairs], dtype=float),
    )


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(LINE, max_size=8)), max_size=6))
def test_a_line_counts_as_often_as_the_source_that_held_it_most(
    pieces: list[tuple[str, list[tuple[int, int]]]],
) -> None:
    tally, held = Tally(), dict[str, Counter[tuple[int, int]]]()
    for source, pairs in pieces:
        tally.add(source, lines(pairs))
        held.setdefault(source, Counter()).update(pairs)
    most: Counter[tuple[int, int]] = Counter()
    for counter in held.values():
        most |= counter
    assert tally.lines() == most.total()
    assert tally.last_step == max((step for step, _ in most), default=None)


@given(st.lists(LINE, max_size=8), st.sets(st.integers(0, 12)))
def test_missing_steps_are_those_that_no_piece_holds(pairs: list[tuple[int, int]], wanted: set[int]) -> None:
    tally = Tally()
    tally.add("a", lines(pairs))
    assert tally.missing(np.array(sorted(wanted), dtype=np.int64)) == len(
        wanted - {step for step, _ in pairs}
    )


def test_an_overlapping_file_cannot_hide_missing_rows() -> None:
    tally = Tally()
    tally.add("a", lines([(step, 0) for step in range(60)]))
    tally.add("b", lines([(step, 0) for step in range(30, 90)]))
    assert tally.lines() == 90


def test_a_step_logged_twice_is_two_lines_in_whichever_files_they_are() -> None:
    tally = Tally()
    tally.add("a", lines([(5, 1)]))
    tally.add("b", lines([(5, 2)]))
    assert tally.lines() == 2


def test_times_that_are_no_numbers_do_not_matter() -> None:
    batch = batch_from_rows([{"_step": 1, "_timestamp": "later"}, {"_step": 2}])
    assert Lines.of(batch).stamps.tolist() == [-np.inf, -np.inf]
