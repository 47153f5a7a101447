"""Groups over several tasks, against rliable and scipy."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from itertools import combinations
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from rliable import metrics

from pull_logs.analyze.inference import aggregate_tasks, compare_tasks, profile, scale_tasks
from pull_logs.analyze.inference import tasks as inference_tasks
from pull_logs.analyze.inference.tasks import permutation_p, trimmed_mean

Floats = npt.NDArray[np.float64]

RUNS, TASKS = 4, 3
MATRICES = st.lists(
    st.lists(st.floats(-100, 100).map(lambda value: round(value, 3)), min_size=TASKS, max_size=TASKS),
    min_size=RUNS,
    max_size=RUNS,
).map(np.array)
FEW = 60


def by_task(matrix: Floats) -> list[Floats]:
    return [matrix[:, task] for task in range(matrix.shape[1])]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_tasks, "RESAMPLES", FEW)


@pytest.fixture(scope="module")
def library() -> Iterator[Any]:
    """`rliable.library`, whose bootstrap needs a package that does not load beside pandas 3."""
    bootstrap = ModuleType("arch.bootstrap")
    bootstrap.IIDBootstrap = bootstrap.IndependentSamplesBootstrap = object  # type: ignore[attr-defined]  # as in arch
    package = ModuleType("arch")
    package.bootstrap = bootstrap  # type: ignore[attr-defined]  # as in arch
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "arch", package)
        patch.setitem(sys.modules, "arch.bootstrap", bootstrap)
        yield importlib.import_module("rliable.library")


@settings(max_examples=30)
@given(MATRICES)
def test_the_aggregates_are_those_of_rliable(matrix: Floats) -> None:
    found = aggregate_tasks(by_task(matrix))
    assert found.iqm == pytest.approx(metrics.aggregate_iqm(matrix), rel=1e-9, abs=1e-9)
    assert found.mean == pytest.approx(metrics.aggregate_mean(matrix), rel=1e-9, abs=1e-9)
    assert found.median == pytest.approx(metrics.aggregate_median(matrix), rel=1e-9, abs=1e-9)


@settings(max_examples=30)
@given(MATRICES, MATRICES)
def test_the_probability_of_improvement_is_that_of_rliable(first: Floats, second: Floats) -> None:
    found = compare_tasks(by_task(first), by_task(second))
    theirs = metrics.probability_of_improvement(first, second)
    assert found.probability == pytest.approx(theirs, rel=1e-9, abs=1e-9)


@given(MATRICES)
def test_a_profile_is_that_of_rliable(library: Any, matrix: Floats) -> None:
    thresholds = np.linspace(-100, 100, 9)
    theirs = library.score_distributions(matrix, thresholds)
    assert profile(by_task(matrix), thresholds) == pytest.approx(theirs, rel=1e-9)


def test_the_intervals_are_percentiles_of_what_rliable_gives_for_the_same_resamples() -> None:
    generator = np.random.default_rng(3)
    first, second = generator.normal(1, 1, (RUNS, TASKS)), generator.normal(0, 1, (RUNS, TASKS))

    def drawn(matrix: Floats, generator: np.random.Generator) -> list[Floats]:
        return [task[generator.integers(0, RUNS, (FEW, RUNS))] for task in by_task(matrix)]

    resampled = drawn(first, np.random.default_rng(0))
    iqms = [metrics.aggregate_iqm(np.column_stack([task[row] for task in resampled])) for row in range(FEW)]
    found = aggregate_tasks(by_task(first))
    assert found.iqm_low == pytest.approx(np.quantile(iqms, 0.025), rel=1e-9)
    assert found.iqm_high == pytest.approx(np.quantile(iqms, 0.975), rel=1e-9)

    generator = np.random.default_rng(0)
    pairs = []
    for left, right in zip(by_task(first), by_task(second), strict=True):
        one = left[generator.integers(0, RUNS, (FEW, RUNS))]
        pairs.append((one, right[generator.integers(0, RUNS, (FEW, RUNS))]))
    sides = [[np.column_stack([pair[side][row] for pair in pairs]) for row in range(FEW)] for side in (0, 1)]
    chances = list(map(metrics.probability_of_improvement, *sides))
    improvement = compare_tasks(by_task(first), by_task(second))
    assert improvement.low == pytest.approx(np.quantile(chances, 0.025), rel=1e-9)
    assert improvement.high == pytest.approx(np.quantile(chances, 0.975), rel=1e-9)


def test_the_permutation_test_of_one_task_is_that_of_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_tasks, "RESAMPLES", 20_000)
    first, second = np.array([0.5, 0.9, 0.7, 0.8]), np.array([0.4, 0.6, 0.3, 0.55])
    theirs = scipy.stats.permutation_test(
        (first, second),
        lambda left, right: abs(scipy.stats.mannwhitneyu(left, right).statistic - 8),
        vectorized=False,
        alternative="greater",
    )
    assert permutation_p([(first, second)]) == pytest.approx(theirs.pvalue, abs=0.01)


def test_the_permutation_test_of_two_tasks_is_the_count_of_all_permutations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inference_tasks, "RESAMPLES", 20_000)
    pairs = [
        (np.array([0.9, 0.8, 0.5]), np.array([0.4, 0.7, 0.3])),
        (np.array([7.0, 9.0, 8.0]), np.array([5.0, 7.5, 4.0])),
    ]

    def deviations(left: Floats, right: Floats) -> list[float]:
        values, every = np.concatenate([left, right]), set(range(6))
        halves = [(list(some), sorted(every - set(some))) for some in combinations(range(6), 3)]
        chosen = [(values[one], values[other]) for one, other in halves]
        return [float((one[:, None] > other[None, :]).mean() - 0.5) for one, other in chosen]

    every = [a + b for a in deviations(*pairs[0]) for b in deviations(*pairs[1])]
    observed = sum(float((left[:, None] > right[None, :]).mean() - 0.5) for left, right in pairs)
    exact = np.mean([abs(one) >= abs(observed) - 1e-9 for one in every])
    assert permutation_p(pairs) == pytest.approx(exact, abs=0.01)


@settings(max_examples=20)
@given(MATRICES, MATRICES)
def test_scores_are_from_the_worst_to_the_best_run_of_each_task(first: Floats, second: Floats) -> None:
    scaled = scale_tasks([by_task(first), by_task(second)])
    for task in range(TASKS):
        both = np.concatenate([scaled[0][task], scaled[1][task]])
        raw = np.concatenate([first[:, task], second[:, task]])
        assert both.max() == 1
        assert both.min() == (0 if raw.min() < raw.max() else 1)
        assert (np.argsort(both, kind="stable") == np.argsort(raw, kind="stable")).all()


def test_tasks_may_have_other_numbers_of_runs_and_the_answer_is_the_same_each_time() -> None:
    first = [np.array([1.0, 2.0]), np.array([5.0, 6.0, 7.0])]
    second = [np.array([0.5]), np.array([1.0, 2.0, 3.0, 4.0])]
    found = compare_tasks(first, second)
    assert (found.probability, found) == (1.0, compare_tasks(first, second))
    assert 0 < found.p <= 1
    assert float(trimmed_mean(np.array([1.0, 2.0, 3.0, 9.0]))) == 2.5


def test_single_runs_have_no_interval() -> None:
    single = [np.array([1.0]), np.array([2.0])]
    assert aggregate_tasks(single).iqm_low is None
    assert compare_tasks(single, [np.array([0.0]), np.array([3.0])]).low is None
