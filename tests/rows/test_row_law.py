"""Guarantee 1, `rows(write(rows)) == canon(rows)`, and 3, the same rows give the same bytes."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rowkit import KEYS, calm_rows, canonical, nasty_rows, same_rows

from pull_logs.frames import FactsBuilder
from pull_logs.rows import hashing
from pull_logs.rows.batches import (
    RESIDUAL,
    RESIDUAL_ONLY,
    batch_from_rows,
    batch_rows,
    system_batch_from_rows,
)
from pull_logs.rows.canonical import STEP, canon_members, canonical_text
from pull_logs.rows.cells import CellKind, cell_kind
from pull_logs.rows.hashing import number_history
from pull_logs.rows.merge import Lane, LanedBatch, merge_batches
from pull_logs.snapshot.format import parquet_write as parquet
from pull_logs.snapshot.format.parquet_read import read_batches, read_table
from pull_logs.snapshot.format.parquet_write import encode_table, write_table


def written(batches: Sequence[pa.Table], *, system: bool = False) -> bytes:
    sink = io.BytesIO()
    write_table(lambda: batches, sink, system=system)
    return sink.getvalue()


def cut(rows: Sequence[Mapping[str, Any]], cuts: Sequence[int]) -> list[pa.Table]:
    bounds = [0, *sorted(bound % (len(rows) + 1) for bound in cuts), len(rows)]
    return [batch_from_rows(rows[start:end]) for start, end in pairwise(bounds)]


@given(nasty_rows)
def test_rows_of_a_written_file_are_the_canonical_rows(rows: list[dict[str, Any]]) -> None:
    expected = canonical(rows)
    file = written([batch_from_rows(expected)])
    assert same_rows(batch_rows(read_table(file)), expected)


@given(nasty_rows)
def test_raw_rows_pass_through_batch_merge_and_file(rows: list[dict[str, Any]]) -> None:
    merged = list(merge_batches([LanedBatch(Lane.LIVE, batch_from_rows(rows))]))
    assert same_rows(batch_rows(read_table(written(merged))), canonical(rows))


@given(nasty_rows | calm_rows, st.lists(st.integers(0, 20), max_size=4), st.randoms(use_true_random=False))
def test_same_rows_give_the_same_bytes_however_cut_ordered_or_merged(
    rows: list[dict[str, Any]], cuts: list[int], chance: random.Random
) -> None:
    expected = canonical(rows)
    uncut = written([batch_from_rows(expected)])
    assert written(cut(expected, cuts)) == uncut

    shuffled = [dict(chance.sample(list(row.items()), len(row))) for row in expected]
    fragments = [LanedBatch(Lane.LIVE, batch) for batch in cut(shuffled, cuts)]
    chance.shuffle(fragments)
    assert written(list(merge_batches(fragments))) == uncut


@given(nasty_rows, st.lists(st.integers(0, 20), max_size=4))
def test_a_file_read_and_written_again_keeps_its_bytes(rows: list[dict[str, Any]], cuts: list[int]) -> None:
    first = written(cut(canonical(rows), cuts))
    assert written(list(read_batches(first))) == first


@given(nasty_rows, st.lists(st.integers(0, 20), max_size=4))
def test_a_file_in_memory_is_that_on_disk(rows: list[dict[str, Any]], cuts: list[int]) -> None:
    batches, sink = cut(canonical(rows), cuts), io.BytesIO()
    encoded = write_table(lambda: batches, sink)
    assert encode_table(lambda: batches) == (sink.getvalue(), encoded)


@st.composite
def number_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Canonical rows of doubles that all have the same keys."""
    keys = draw(st.lists(st.sampled_from(sorted(set(KEYS) - RESIDUAL_ONLY)), min_size=1, unique=True))
    doubles = st.floats() | st.integers(-(2**53), 2**53).map(float) | st.sampled_from([0.5, -0.0, 1e300])
    row = st.fixed_dictionaries({"_step": st.integers(-(2**63), 2**63 - 1)} | dict.fromkeys(keys, doubles))
    return canonical(draw(st.lists(row, min_size=1, max_size=6, unique_by=lambda found: found["_step"])))


@given(number_rows(), st.sampled_from([1, 4, 1 << 18]))
def test_a_history_of_numbers_is_encoded_at_once_as_column_by_column(
    rows: list[dict[str, Any]], together: int
) -> None:
    batch, sink = batch_from_rows(rows), io.BytesIO()
    at_once, by_column = FactsBuilder(), FactsBuilder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "_CELLS_TOGETHER", together)
        assert number_history(batch) is not None
        found = encode_table(lambda: [batch], facts=at_once)
    encoded = write_table(lambda: [batch], sink, describe=by_column.add)
    assert found == (sink.getvalue(), encoded)
    assert repr(at_once.facts()) == repr(by_column.facts())


@given(nasty_rows | calm_rows)
def test_only_numbers_without_gaps_are_a_history_of_numbers(rows: list[dict[str, Any]]) -> None:
    expected = canonical(rows)
    doubles = [
        {key: value for key, value in row.items() if key != STEP and type(value) in (int, float)}
        for row in expected
    ]
    plain = bool(expected) and bool(doubles[0]) and all(row.keys() == doubles[0].keys() for row in doubles)
    exact = plain and all(
        len(found) + 1 == len(row) and all(cell_kind(value) is CellKind.DOUBLE for value in found.values())
        for found, row in zip(doubles, expected, strict=True)
    )
    named = exact and RESIDUAL_ONLY.isdisjoint(doubles[0])
    assert (number_history(batch_from_rows(expected)) is not None) is named


@settings(max_examples=30)
@given(nasty_rows, st.integers(1, 5))
def test_row_groups_do_not_change_rows(rows: list[dict[str, Any]], size: int) -> None:
    expected = canonical(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROW_GROUP", size)
        file = written(cut(expected, [3, 7]))
        assert written([batch_from_rows(expected)]) == file
    groups = list(read_batches(file))
    assert [group.num_rows for group in groups[:-1]] == [size] * (len(groups) - 1)
    assert same_rows([row for group in groups for row in batch_rows(group)], expected)


@given(st.lists(st.dictionaries(st.sampled_from([*KEYS, STEP]), st.one_of(st.floats(), st.text()))))
def test_system_rows_come_back_in_timestamp_order(rows: list[dict[str, Any]]) -> None:
    batch = system_batch_from_rows(rows)
    found = list(batch_rows(read_table(written([batch], system=True))))
    kept = [row for row in map(canon_members, rows) if row]
    assert sorted(map(canonical_text, found)) == sorted(map(canonical_text, kept))
    assert written([system_batch_from_rows(reversed(rows))], system=True) == written([batch], system=True)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [0.25, 3, True, "text", 2**53 + 1])
def test_every_key_is_carried_and_can_be_asked_for(key: str, value: object) -> None:
    expected = canonical([{"_step": 0, key: value, "other": 1}, {"_step": 1}, {"_step": 2, key: value}])
    (name,) = expected[2].keys() - {"_step"}
    file = written([batch_from_rows(expected)])
    found = list(batch_rows(read_table(file, [name]), [name]))
    assert same_rows(found, [{name: expected[0][name]}, {}, {name: expected[0][name]}])
    assert (RESIDUAL in read_table(file, [name]).column_names) is (key == RESIDUAL)


def test_no_rows_give_a_file_with_a_step_column_alone() -> None:
    file = written([batch_from_rows([])])
    table = read_table(file)
    assert table.num_rows == 0
    assert table.schema == pa.schema([pa.field(STEP, pa.int64(), nullable=False)])
    assert file == written([])
