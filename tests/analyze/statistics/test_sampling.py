from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.statistics.sampling import Metric, rank_rows, sample_rows, spike_rows

VALUES = st.none() | st.floats(-3, 3) | st.sampled_from([math.nan, math.inf, -math.inf])


def metric(values: list[float | None]) -> Metric:
    numeric = np.array([value is not None for value in values], np.bool_)
    return np.array([0.0 if value is None else value for value in values], np.float64), numeric


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[list[float | None]], int]:
    length = draw(st.integers(0, 60))
    columns = draw(st.lists(st.lists(VALUES, min_size=length, max_size=length), max_size=3))
    return columns, length


def musts(columns: list[list[float | None]], length: int) -> set[int]:
    kept = {0, length - 1}
    for values in columns:
        finite = {
            row: value for row, value in enumerate(values) if value is not None and math.isfinite(value)
        }
        if finite:
            kept |= {min(finite, key=finite.__getitem__), max(finite, key=finite.__getitem__)}
        kept |= {row for row, value in enumerate(values) if value is not None and not math.isfinite(value)}
    return kept


@given(histories(), st.integers(1, 70), st.integers(-2, 70))
def test_a_sample_keeps_the_ends_the_extremes_the_pinned_and_all_that_is_not_finite(
    history: tuple[list[list[float | None]], int], limit: int, pinned: int
) -> None:
    columns, length = history
    rows = sample_rows([metric(values) for values in columns], length=length, limit=limit, pinned=[pinned])
    found = rows.tolist()
    assert found == sorted(set(found))
    if length <= limit:
        assert found == list(range(length))
        return
    kept = musts(columns, length) | ({pinned} if 0 <= pinned < length else set())
    assert kept <= set(found)
    assert len(found) == max(limit, len(kept))


@given(st.integers(0, 2**32), st.integers(1, 58), st.sampled_from([-1, 1]))
def test_a_value_far_above_or_below_its_neighbours_is_a_spike(seed: int, row: int, sign: int) -> None:
    values: list[float | None] = [*np.random.default_rng(seed).uniform(-1, 1, 60).tolist()]
    values[row] = sign * 50.0
    assert row in spike_rows([metric(values)]).tolist()
    assert row in sample_rows([metric(values)], length=len(values), limit=5).tolist()


def test_neither_a_jump_nor_noise_nor_a_value_at_the_end_is_a_spike() -> None:
    rng = np.random.default_rng(2)
    jump = [*rng.normal(0, 1, 200), *rng.normal(100, 1, 200)]
    ends = [500.0, *rng.normal(0, 1, 200), 500.0]
    rare = [float(value) for value in rng.random(400) < 0.1]
    for values in (jump, ends, rare, rng.normal(0, 1, 400).tolist(), [], [1.0], [1.0, 2.0]):
        assert spike_rows([metric(list(values))]).tolist() == []
    assert spike_rows([]).tolist() == []


def test_a_spike_between_missing_values_is_found() -> None:
    values = [0.1 * (row % 3) if row % 4 == 0 else None for row in range(400)]
    values[200] = 9.0
    assert spike_rows([metric(values)]).tolist() == [200]


@given(histories(), st.integers(0, 70))
def test_a_ranking_holds_every_row_once_and_the_ends_first(
    history: tuple[list[list[float | None]], int], pinned: int
) -> None:
    columns, length = history
    ranked = rank_rows([metric(values) for values in columns], length=length, pinned=[pinned]).tolist()
    assert sorted(ranked) == list(range(length))
    if length:
        assert {0, length - 1} == set(ranked[: len({0, length - 1})])
        must = musts(columns, length) | ({pinned} if pinned < length else set())
        assert must == set(ranked[: len(must)])


def test_a_spike_a_dip_and_a_stretch_of_nan_survive_where_every_nth_row_would_miss_them() -> None:
    loss = np.linspace(2, 1, 100_000)
    loss[54_321], loss[12_345] = 99.0, -7.0
    loss[70_001:70_004] = math.nan
    rows = sample_rows([(loss, np.ones(len(loss), np.bool_))], length=len(loss), limit=50)
    assert len(rows) == 50
    assert {0, 12_345, 54_321, 70_001, 70_002, 70_003, 99_999} <= set(rows.tolist())


def test_the_rest_of_a_sample_is_spread_over_the_whole_history() -> None:
    values = np.sin(np.arange(10_000) / 50)
    rows = sample_rows([(values, np.ones(10_000, np.bool_))], length=10_000, limit=100)
    assert int(np.diff(rows).max()) <= 500


def test_any_beginning_of_a_ranking_is_spread_over_the_whole_history() -> None:
    ranked = rank_rows([], length=1000)
    for count in (10, 33, 100):
        assert int(np.diff(np.sort(ranked[:count])).max()) <= 2 * 1000 / count * 2


def test_the_edges_of_a_long_stretch_of_nan_rank_before_its_middle() -> None:
    values = np.arange(100, dtype=np.float64)
    values[20:80] = math.nan
    ranked = rank_rows([(values, np.ones(100, np.bool_))], length=100).tolist()
    assert set(ranked[:4]) == {0, 99, 20, 79}
