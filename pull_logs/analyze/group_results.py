"""The types of what `compare` says about groups of runs, and of new runs and a baseline (see `results`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NotRequired, TypedDict

from pull_logs.analyze.result_values import Cell, Direction, Number, RunLabel


class GroupResult(TypedDict):
    """A group of runs and the values that its runs have in common."""

    group: str
    by: dict[str, Cell]
    n: int
    runs: list[RunLabel]
    states: dict[str, int]


class GroupStatistics(TypedDict):
    """A metric over the finite values of a group; `n` counts these."""

    metric: str
    group: str
    n: int
    mean: Number
    std: Number
    ci_low: Number
    ci_high: Number
    median: Number
    iqm: Number
    iqm_low: Number
    iqm_high: Number
    min: Number
    max: Number
    missing: int
    nonfinite: int
    members: NotRequired[int]


class VerdictResult(TypedDict):
    """The test of the difference between two groups, and what it means in a sentence.

    Attributes:
        effect: The difference in standard deviations (Hedges' g).
        prob_better: How often a run of the first group is better than one of the second; without a better
            end, how often it is greater.
        margin: The largest difference that does not matter, in units of the metric.
        p_equivalent: The p value of TOST, adjusted as `p_holm` is.
        more_seeds: How many runs to add to each group so that a test decides with a power of 80%.
        next: What to do, where nothing is decided.
    """

    metric: str
    first: str
    second: str
    n: Sequence[int]
    test: Literal["paired t", "Welch t"] | None
    difference: Number
    ci_low: Number
    ci_high: Number
    effect: Number
    prob_better: Number
    t: Number
    df: Number
    p: Number
    p_holm: Number
    margin: Number
    p_equivalent: Number
    family: int
    verdict: str
    more_seeds: list[int] | None
    next: str
    sentence: str


class GroupSections(TypedDict, total=False):
    """The sections that groups of runs add to a comparison."""

    groups: list[GroupResult]
    group_stats: list[GroupStatistics]
    verdicts: list[VerdictResult]


class TaskResult(TypedDict):
    """A task: how many runs each group has of it, and their mean."""

    task: Cell
    n: dict[str, int]
    mean: dict[str, Number]


class TaskGroup(TypedDict):
    """The scores of a group over all tasks: the interquartile mean, and the mean and median of task means."""

    group: str
    tasks: int
    n: int
    iqm: Number
    iqm_low: Number
    iqm_high: Number
    mean: Number
    median: Number


class TaskVerdict(TypedDict):
    """How often a run of the best group is better than one of another, on average over tasks."""

    first: str
    second: str
    tasks: int
    prob_better: float
    prob_low: Number
    prob_high: Number
    p: float
    p_holm: float
    difference: Number
    ci_low: Number
    ci_high: Number
    margin: Number
    p_equivalent: Number
    family: int
    verdict: str
    next: str
    sentence: str


class ProfileRow(TypedDict):
    """The share of runs of each group that are better than a score."""

    score: Number
    better: dict[str, float]


class TaskSections(TypedDict, total=False):
    """The sections of groups that are compared over several tasks."""

    tasks: list[TaskResult]
    task_groups: list[TaskGroup]
    task_verdicts: list[TaskVerdict]
    task_profiles: list[ProfileRow]


class GateResult(TypedDict):
    """A gate: whether it holds, how it was tested, and the runs of both sides.

    Attributes:
        paired_by: The config keys that pair the runs; empty if they are not paired.
    """

    holds: bool
    alpha: float
    margin: str | None
    paired_by: list[str]
    new: list[RunLabel]
    base: list[RunLabel]


class GateMetric(TypedDict):
    """The test of one metric of a gate.

    Attributes:
        new: The mean of the new runs that the test uses; `base` that of the baseline.
        worse: How much worse the new mean is; below 0 if it is better.
        worse_share: Its share of the mean of the baseline.
        effect: The same in standard deviations (Hedges' g).
        margin: How much worse it may be, in units of the metric.
        at_most: The upper end of the one-sided interval of `worse`, at the level 1 - alpha.
        detectable: The regression that is found with a power of 80%.
        power: The probability to find a regression of two standard deviations.
        runs_needed: The runs per side with which that is 80%; None where it is, or takes too many.
        nonfinite: New runs whose value is not finite, which is a regression without a test.
    """

    metric: str
    direction: Direction
    verdict: str
    new: Number
    base: Number
    worse: Number
    worse_share: Number
    effect: Number
    margin: Number
    test: Literal["paired t", "Welch t"] | None
    n: list[int]
    t: Number
    df: Number
    p: Number
    p_holm: Number
    at_most: Number
    detectable: Number
    power: float | None
    runs_needed: int | None
    nonfinite: list[RunLabel]
    sentence: str


class GateSections(TypedDict, total=False):
    """The sections of a comparison with a baseline."""

    gate: GateResult
    gate_metrics: list[GateMetric]
