"""Law 2: one row per step, whatever the fragments and the order in which they came."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rowkit import calm_values, row_strategy, same_rows

from pull_logs.rows import merge as merging
from pull_logs.rows.batches import batch_from_rows, batch_rows
from pull_logs.rows.canonical import canon_row
from pull_logs.rows.merge import Fragment, Lane, LanedBatch, merge_batches, merge_rows

lanes = st.sampled_from(list(Lane))
fragments_strategy = st.lists(
    st.tuples(lanes, st.lists(row_strategy() | row_strategy(calm_values), max_size=6)), max_size=5
)


def merged(fragments: list[tuple[Lane, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    batches = merge_batches([LanedBatch(lane, batch_from_rows(rows)) for lane, rows in fragments])
    return [row for batch in batches for row in batch_rows(batch)]


def by_the_law(fragments: list[tuple[Lane, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    return merge_rows([Fragment(lane, canon_row(row)) for lane, rows in fragments for row in rows])


@given(fragments_strategy, st.randoms(use_true_random=False))
def test_merging_is_the_law_on_all_rows_in_any_order(
    fragments: list[tuple[Lane, list[dict[str, Any]]]], chance: random.Random
) -> None:
    expected = by_the_law(fragments)
    assert same_rows(merged(fragments), expected)
    shuffled = [(lane, chance.sample(rows, len(rows))) for lane, rows in fragments]
    chance.shuffle(shuffled)
    assert same_rows(merged(shuffled), expected)


@given(fragments_strategy, st.integers(0, 20))
def test_rows_that_come_again_change_nothing(
    fragments: list[tuple[Lane, list[dict[str, Any]]]], start: int
) -> None:
    expected = by_the_law(fragments)
    again = [*fragments, *((lane, rows[start % (len(rows) + 1) :]) for lane, rows in fragments)]
    assert same_rows(merged(again), expected)


def plain(steps: range, **members: object) -> pa.Table:
    return batch_from_rows([{"_step": step, "loss": step / 7, **members} for step in steps])


def test_fragments_that_do_not_overlap_pass_as_they_are() -> None:
    late, early = plain(range(5, 9)), plain(range(5))
    out = list(merge_batches([LanedBatch(Lane.LIVE, late), LanedBatch(Lane.SHARD, early)]))
    assert [batch is part for batch, part in zip(out, (early, late), strict=True)] == [True, True]


def test_a_repeated_tail_is_merged_without_python_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(merging, "batch_rows")
    shard, live = plain(range(100), note="NaN"), plain(range(90, 110), note="NaN")
    out = list(merge_batches([LanedBatch(Lane.SHARD, shard), LanedBatch(Lane.LIVE, live)]))
    assert [batch.num_rows for batch in out] == [90, 10, 10]
    assert same_rows(batch_rows(pa.concat_tables(out)), batch_rows(plain(range(110), note="NaN")))


def test_interleaved_steps_are_sorted_without_python_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(merging, "batch_rows")
    even, odd = plain(range(0, 10, 2)), plain(range(1, 10, 2))
    (out,) = merge_batches([LanedBatch(Lane.LIVE, odd), LanedBatch(Lane.SHARD, even)])
    assert out.equals(plain(range(10)))


def test_live_beats_shard_key_by_key() -> None:
    shard = [{"_step": 1, "loss": 9.5, "only": "shard", "_timestamp": 99}]
    live = [{"_step": 1, "loss": True, "more": [None]}]
    assert merged([(Lane.LIVE, live), (Lane.SHARD, shard)]) == [
        {"_step": 1, "loss": True, "only": "shard", "_timestamp": 99, "more": [None]}
    ]


def test_no_fragments_give_no_batches() -> None:
    assert list(merge_batches([])) == []
    assert list(merge_batches([LanedBatch(Lane.LIVE, batch_from_rows([]))])) == []
