"""The mean difference over tasks: Welch's test for one task, statsmodels' for several, and seed advice."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.regression.linear_model import WLS
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from pull_logs.analyze.inference import Sample, compare_samples, stratified_difference

SCORES = st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=2, max_size=8)


def arrays(*tasks: npt.ArrayLike) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    return [np.array(task, np.float64) for task in tasks]


@given(SCORES, SCORES, st.floats(0.01, 20))
def test_one_task_is_the_test_of_welch(first: list[float], second: list[float], margin: float) -> None:
    welch = compare_samples(
        Sample(tuple(first), (None,) * len(first)), Sample(tuple(second), (None,) * len(second))
    )
    found = stratified_difference(arrays(first), arrays(second))
    assert welch is not None
    assert found is not None
    assert found.difference == pytest.approx(welch.difference, rel=1e-9, abs=1e-9)
    assert found.precision(0) == pytest.approx((welch.error, welch.df), rel=1e-6, abs=1e-9)
    if welch.error > 1e-6:
        assert found.p_within(margin) == pytest.approx(welch.p_within(margin), rel=1e-6, abs=1e-9)
        assert found.interval == pytest.approx((welch.ci_low, welch.ci_high), rel=1e-6, abs=1e-9)


def test_one_task_is_equivalent_by_the_test_of_statsmodels() -> None:
    first, second = [1.0, 1.2, 0.9, 1.1], [1.05, 1.15, 0.8, 1.2, 1.0]
    found = stratified_difference(arrays(first), arrays(second))
    assert found is not None
    means = CompareMeans(DescrStatsW(first), DescrStatsW(second))
    expected = means.ttost_ind(-0.3, 0.3, usevar="unequal")[0]
    assert found.p_within(0.3) == pytest.approx(expected, abs=1e-9)


def test_the_error_over_tasks_is_that_of_a_contrast_of_statsmodels() -> None:
    """The contrast of the means of cells, each with its own variance."""
    rng = np.random.default_rng(5)
    first = arrays(*(rng.normal(task, 1 + task, 4 + task) for task in range(3)))
    second = arrays(*(rng.normal(task, 2.0, 5) for task in range(3)))
    found = stratified_difference(first, second)
    assert found is not None
    cells = [*first, *second]
    design = np.zeros((sum(map(len, cells)), len(cells)))
    weights, values, row = [], [], 0
    for index, cell in enumerate(cells):
        design[row : row + len(cell), index] = 1
        row += len(cell)
        values += cell.tolist()
        weights += [1 / cell.var(ddof=1)] * len(cell)
    fitted = WLS(np.array(values), design, weights=np.array(weights)).fit(cov_type="fixed scale")
    contrast = fitted.t_test(np.array([1 / 3] * 3 + [-1 / 3] * 3))
    assert found.difference == pytest.approx(contrast.effect.item(), abs=1e-9)
    assert found.precision(0)[0] == pytest.approx(contrast.sd.item(), abs=1e-9)


@given(st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=4))
def test_groups_in_the_other_order_have_the_same_verdict(
    tasks: list[tuple[list[float], list[float]]],
) -> None:
    first, second = arrays(*(left for left, _ in tasks)), arrays(*(right for _, right in tasks))
    one, other = stratified_difference(first, second), stratified_difference(second, first)
    assert one is not None
    assert other is not None
    assert one.difference == pytest.approx(-other.difference)
    assert one.p_within(1.0) == pytest.approx(other.p_within(1.0), abs=1e-9)
    assert one.p_within(2.0) <= one.p_within(1.0) + 1e-9


def test_a_task_with_one_run_of_a_group_is_not_tested_nor_are_numbers_that_overflow() -> None:
    assert stratified_difference(arrays([1, 2], [1]), arrays([1, 2], [3, 4])) is None
    assert stratified_difference(arrays([1e200, -1e200]), arrays([1, 2])) is None


@pytest.mark.parametrize(("tasks", "n"), [(4, 2), (4, 3), (2, 5), (8, 3)])
def test_a_difference_as_large_as_the_margin_is_rarely_taken_for_none(tasks: int, n: int) -> None:
    rng = np.random.default_rng(tasks * 10 + n)
    wrong = 0
    for _ in range(400):
        found = stratified_difference(list(rng.normal(0, 1, (tasks, n))), list(rng.normal(1, 1, (tasks, n))))
        assert found is not None
        wrong += found.p_within(1.0) < 0.05
    assert wrong / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_the_number_of_seeds_that_is_advised_decides_in_four_of_five_repetitions() -> None:
    """Where the spread and the difference of the data are the true ones."""
    first = arrays([-1, 1], [-1, 1], [-1, 1])
    for shift, margin, decision in ((0.8, None, "difference"), (0.1, 1.0, "equivalence")):
        found = stratified_difference(first, [task - shift for task in first])
        assert found is not None
        plan = found.seeds_to_decide(0.05, margin=margin)
        assert plan is not None
        size, kind = plan
        assert kind == decision
        rng = np.random.default_rng(size)
        hits = 0
        for _ in range(400):
            one = list(rng.normal(shift, math.sqrt(2), (3, size)))
            again = stratified_difference(one, list(rng.normal(0, math.sqrt(2), (3, size))))
            assert again is not None
            low, high = again.interval
            hits += again.p_within(margin) < 0.05 if margin else not low <= 0 <= high
        assert 0.8 - 0.06 <= hits / 400 <= 0.8 + 0.1


def test_no_number_is_advised_where_no_number_would_decide() -> None:
    found = stratified_difference(arrays([0, 1], [0, 1]), arrays([0, 1], [0, 1]))
    assert found is not None
    assert found.seeds_to_decide(0.05) is None
    assert found.seeds_to_decide(0.05, margin=1e-6) is None
