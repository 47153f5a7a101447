"""The types of what `compare` answers about values of runs and how they relate; see `results`."""

from __future__ import annotations

from typing import Literal, TypedDict

from pull_logs.analyze.result_values import Cell, Direction, Number, RunLabel


class ColumnTotals(TypedDict):
    """A column over the finite numbers of all runs of a comparison.

    `missing` counts the runs without a number, `nonfinite` those whose number is NaN or infinite.
    """

    column: str
    n: int
    missing: int
    sum: Number
    mean: Number
    std: Number
    min: Number
    median: Number
    max: Number
    nonfinite: int


class RunColumnResult(TypedDict):
    """A column with one value per run; a run without a value is left out of `values`."""

    name: str
    expression: str
    values: dict[RunLabel, Cell]


class ColumnSections(TypedDict, total=False):
    """The sections that columns of runs add to a comparison."""

    columns: list[RunColumnResult]
    column_totals: list[ColumnTotals]


class EffectSummary(TypedDict):
    """On which metric effects were looked for; `left_out` counts the runs without a finite value."""

    metric: str
    direction: Direction
    runs: int
    left_out: int
    keys: int
    sentence: str


class EffectResult(TypedDict):
    """The effect of a config key on a metric.

    Attributes:
        effect: The adjusted share of the variance of the ranks of the metric that the key explains.
        rho: Spearman's rank correlation, of keys that are numbers, with its 95% interval.
        best: The value whose runs have the best median of the metric.
    """

    key: str
    values: int
    by: Literal["values", "ranks"]
    effect: Number
    p: Number
    p_holm: Number
    rho: Number
    rho_low: Number
    rho_high: Number
    rho_n: int | None
    best: Cell
    best_median: Number
    worst: Cell
    worst_median: Number


class EffectSections(TypedDict, total=False):
    """The sections that `--effect` adds to a comparison."""

    effect: EffectSummary
    effects: list[EffectResult]


class FitResult(TypedDict):
    """The line `y = intercept + slope * x` through values of runs, with 95% intervals."""

    fit: str
    y: str
    x: str
    n: int
    left_out: int
    slope: Number
    slope_low: Number
    slope_high: Number
    intercept: Number
    intercept_low: Number
    intercept_high: Number
    p: Number
    r2: Number
    residual_std: Number
    sentence: str


class OutlierResult(TypedDict):
    """A run that is significantly far from the line through the other runs."""

    fit: str
    run: RunLabel
    path: str
    x: Number
    y: Number
    predicted: Number
    residual: Number
    studentized: Number
    p_bonferroni: Number


class FitSections(TypedDict, total=False):
    """The sections that `--fit` adds to a comparison."""

    fits: list[FitResult]
    fit_outliers: list[OutlierResult]


class ParetoSummary(TypedDict):
    """The criteria of a Pareto front, and how many runs are on it; `left_out` lack a finite value."""

    criteria: str
    runs: int
    front: int
    dominated: int
    left_out: int
    sentence: str


class ParetoResult(TypedDict):
    """A run that no other improves on, with its values of the criteria."""

    run: RunLabel
    path: str
    values: dict[str, Number]


class ParetoSections(TypedDict, total=False):
    """The sections that `--pareto` adds to a comparison."""

    pareto_front: ParetoSummary
    pareto: list[ParetoResult]
