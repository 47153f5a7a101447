"""Lines are counted once, however often and whichever way they came."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.fetch.decoding.received_lines import Lines, ReceivedLines
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
    received, held = ReceivedLines(), dict[str, Counter[tuple[int, int]]]()
    for source, pairs in pieces:
        received.add(source, lines(pairs))
        held.setdefault(source, Counter()).update(pairs)
    most: Counter[tuple[int, int]] = Counter()
    for counter in held.values():
        most |= counter
    assert received.count() == most.total()
    assert received.last_step == max((step for step, _ in most), default=None)


@given(st.lists(LINE, max_size=8), st.sets(st.integers(0, 12)))
def test_missing_steps_are_those_that_no_piece_holds(pairs: list[tuple[int, int]], wanted: set[int]) -> None:
    received = ReceivedLines()
    received.add("a", lines(pairs))
    assert received.missing(np.array(sorted(wanted), dtype=np.int64)) == len(
        wanted - {step for step, _ in pairs}
    )


def test_an_overlapping_file_cannot_hide_missing_rows() -> None:
    received = ReceivedLines()
    received.add("a", lines([(step, 0) for step in range(60)]))
    received.add("b", lines([(step, 0) for step in range(30, 90)]))
    assert received.count() == 90


def test_a_step_logged_twice_is_two_lines_in_whichever_files_they_are() -> None:
    received = ReceivedLines()
    received.add("a", lines([(5, 1)]))
    received.add("b", lines([(5, 2)]))
    assert received.count() == 2


def test_times_that_are_no_numbers_do_not_matter() -> None:
    batch = batch_from_rows([{"_step": 1, "_timestamp": "later"}, {"_step": 2}])
    assert Lines.of(batch).stamps.tolist() == [-np.inf, -np.inf]
