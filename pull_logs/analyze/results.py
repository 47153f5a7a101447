"""The types of the answers: the JSON objects that `show`, `compare` and `overview` print.

Each class has the members of one object of the schemas in `pull_logs/data/schemas`. A missing cell is None,
and a number that is not finite is the string `"NaN"`, `"Infinity"` or `"-Infinity"`. See docs/output.md,
"JSON". Only the entry of a family (docs/output.md, "Families") has `members`, and `low` and `high` instead of
the values of the runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from pull_logs.analyze.group_results import GateSections, GroupSections, TaskSections
from pull_logs.analyze.relation_results import ColumnSections, EffectSections, FitSections, ParetoSections
from pull_logs.analyze.result_values import Cell, Direction, Number, RunLabel

FAMILY = "family"
"""The `_type` of the value that stands for those of a family of keys in a config or a summary."""


class RunResult(TypedDict):
    """A run in the legend of an answer; `reason` says why its history is incomplete.

    `last_seen` is the last day on which W&B saw a run that it no longer has. `parts` are those that it was
    logged in (`pull_logs.runs.RunParts`), where there are more than one.
    """

    label: RunLabel
    path: str
    name: str
    state: str
    url: str | None
    checkpoint: str | None
    checkpoint_step: int | None
    rows_total: int
    rows_shown: int | None
    last_step: int | None
    complete: bool
    reason: str | None
    last_seen: str | None
    parts: NotRequired[Mapping[str, Any]]
    source: str


class ColumnResult(TypedDict):
    """A column in the schema of a run.

    NaN is a value: it counts in `nonfinite`, not in `missing`. `interval` is the median of the steps from one
    cell to the next.
    """

    name: str
    type: str
    count: int
    missing: int
    nonfinite: int
    min: Number
    max: Number
    first_step: int | None
    last_step: int | None
    interval: float | None
    members: NotRequired[int]


class StatisticsResult(TypedDict):
    """The statistics of a metric, over its finite numbers; bools count as 0 and 1.

    `first` and `last` are cells of any kind; `quantiles` are the percentiles that were asked for.
    """

    count: int
    min: Number
    p10: Number
    p25: Number
    p50: Number
    p75: Number
    p90: Number
    max: Number
    mean: Number
    std: Number
    first: Cell
    last: Cell
    min_step: int | None
    max_step: int | None
    members: NotRequired[int]
    quantiles: NotRequired[dict[str, Number] | None]


class HistoryResult(TypedDict):
    """The rows of a run that a view shows, and how many it does not show."""

    columns: list[str]
    rows: list[list[Cell]]
    rows_total: int
    rows_matched: int
    rows_picked: int
    rows_shown: int
    hidden: int
    sampling: str


class CheckpointEndings(TypedDict, total=False):
    """The values of a metric at the checkpoint of each run that has one."""

    at_checkpoint: Mapping[RunLabel, Cell]
    at_checkpoint_step: Mapping[RunLabel, int]


class EndingResult(CheckpointEndings):
    """How one metric ended in each run; a run without such a value is left out of a member."""

    name: str
    last: Mapping[RunLabel, Cell]
    min: Mapping[RunLabel, Number]
    min_step: Mapping[RunLabel, int]
    max: Mapping[RunLabel, Number]
    max_step: Mapping[RunLabel, int]
    members: NotRequired[int]
    low: NotRequired[Mapping[RunLabel, Number]]
    high: NotRequired[Mapping[RunLabel, Number]]


class ConfigDifference(TypedDict):
    """A config key whose value is not the same in all runs; a run without the key is left out."""

    key: str
    values: dict[RunLabel, Cell]
    members: NotRequired[int]
    low: NotRequired[dict[RunLabel, Number]]
    high: NotRequired[dict[RunLabel, Number]]


class SummaryDifference(TypedDict):
    """A summary key that holds a number in some run, and the difference of each run to the first."""

    key: str
    values: dict[RunLabel, Cell]
    delta: dict[RunLabel, Number]
    members: NotRequired[int]
    low: NotRequired[dict[RunLabel, Number]]
    high: NotRequired[dict[RunLabel, Number]]


class BrokenResult(TypedDict):
    """A run of which an assertion does not hold; `step` is that of the row that broke it, if one did."""

    run: RunLabel
    path: str
    message: str
    step: int | None
    values: dict[str, Cell]


AssertionResult = TypedDict(
    "AssertionResult", {"assert": str, "holds": bool, "broken": list[BrokenResult]}, total=True
)
"""An assertion and the runs that broke it."""


class AssertionSections(TypedDict, total=False):
    """The section that assertions add to an answer."""

    assertions: list[AssertionResult]


class CheckpointEnd(TypedDict, total=False):
    """The last position on the axis of a checkpoint that is after the end of its run."""

    axis_end: Number


class CheckpointResult(CheckpointEnd):
    """A checkpoint with the metrics of its run at its step.

    Attributes:
        axis: The column on which its step or epoch was found.
        at: By metric, the last value at or before it; `at_step` is the `_step` of that value.
        final: By metric, the last value of the run.
    """

    file: str
    run: RunLabel
    step: int | None
    epoch: Number
    step_key: str | None
    epoch_key: str | None
    axis: str | None
    at: dict[str, Cell]
    at_step: dict[str, int]
    final: dict[str, Cell]


class BestCheckpoint(TypedDict):
    """The checkpoint with the best finite value of a metric."""

    file: str
    run: RunLabel
    step: int | None
    metric: str
    direction: Direction
    value: Number
    at_step: int


class CheckpointSections(TypedDict, total=False):
    """The section that checkpoints add to an answer."""

    checkpoints: list[CheckpointResult]


class RankedCheckpointSections(CheckpointSections, total=False):
    """The sections that checkpoints add to a comparison."""

    best_checkpoint: BestCheckpoint


class MetadataSections(TypedDict, total=False):
    """The section of a view that shows when, where and with what runs ran."""

    meta: dict[RunLabel, dict[str, Cell]]


class RecordSections(TypedDict, total=False):
    """The sections of a view that show configs and summaries."""

    config: dict[RunLabel, dict[str, Cell]]
    summary: dict[RunLabel, dict[str, Cell]]


class HistorySections(TypedDict, total=False):
    """The sections of a view that describe histories."""

    schema: dict[RunLabel, list[ColumnResult]]
    stats: dict[RunLabel, dict[str, StatisticsResult]]
    history: dict[RunLabel, HistoryResult]


class EndingSections(TypedDict, total=False):
    """The section of a view that compares how metrics ended."""

    comparison: list[EndingResult]


class RecordComparison(TypedDict, total=False):
    """The sections that compare configs and summaries; `config_same` counts the keys without a difference."""

    config_diff: list[ConfigDifference]
    config_same: int
    summary_comparison: list[SummaryDifference]


class ShowResult(
    MetadataSections,
    RecordSections,
    HistorySections,
    EndingSections,
    CheckpointSections,
    RecordComparison,
    AssertionSections,
):
    """The answer of the bare view; only the sections that were asked for are members."""

    format: str
    command: Literal["show"]
    runs: list[RunResult]
    notes: list[str]


class TotalsResult(TypedDict):
    """All runs of an overview together."""

    runs: int
    rows: int
    complete: int
    healthy: int
    projects: list[str]


class StateResult(TypedDict):
    """The runs of an overview that ended in one state."""

    state: str
    runs: int
    rows: int
    last_step_min: int | None
    last_step_max: int | None


class ConfigValue(TypedDict):
    """A value of a config key, and how many runs have it."""

    value: Cell
    runs: int


class ConfigValues(TypedDict):
    """A config key that differs: how many values it has, and the most frequent ones."""

    key: str
    values: int
    missing: int
    shown: list[ConfigValue]
    members: NotRequired[int]


class MetricTotals(TypedDict):
    """A metric over all runs of an overview, and the range of its last finite values."""

    name: str
    type: str
    runs: int
    count: int
    nonfinite: int
    first_step: int | None
    last_step: int | None
    last_min: float | None
    last_median: float | None
    last_max: float | None
    members: NotRequired[int]


class FlaggedRun(TypedDict):
    """A run that has a health flag, the first metric that shows it and the step where it begins."""

    run: RunLabel
    path: str
    metric: str | None
    step: int | None
    message: str
    metrics: int


class HealthResult(TypedDict):
    """A health flag and the runs that have it."""

    flag: str
    runs: int
    found: list[FlaggedRun]


class OverviewResult(AssertionSections):
    """The answer of `overview`."""

    format: str
    command: Literal["overview"]
    totals: TotalsResult
    states: list[StateResult]
    config: list[ConfigValues]
    config_same: int
    metrics: list[MetricTotals]
    health: list[HealthResult]
    notes: list[str]


class AlignmentResult(TypedDict):
    """Where the metrics of a comparison were read."""

    at: str | int | float
    x: str
    interpolation: Literal["linear", "previous"] | None
    interpolated: int
    best: str | None
    ci: Literal["t", "bootstrap"] | None
    alpha: float | None
    margin: str | None
    task: str | None
    scale: Literal["minmax", "raw"] | None
    runs: int
    shown: int


class RankingResult(TypedDict):
    """A run in the order of a metric, with its value there and the best of its complete history.

    A column of runs, such as `created_at`, has a value of any kind and no `x` or `best`.
    """

    rank: int
    run: RunLabel
    path: str
    metric: str
    direction: Direction
    value: Cell
    x: Number
    best: Number
    best_step: int | None


class RankingSections(TypedDict, total=False):
    """The sections that a metric to rank by adds.

    `answer` says in a sentence which run is best, `answer_note` where the metric was read.
    """

    answer: str
    answer_note: str
    ranking: list[RankingResult]


class MetricComparison(TypedDict):
    """A metric of all runs where they were read, and over their complete histories."""

    name: str
    value: Mapping[RunLabel, Number]
    x: Mapping[RunLabel, Number]
    min: Mapping[RunLabel, Number]
    min_step: Mapping[RunLabel, int]
    max: Mapping[RunLabel, Number]
    max_step: Mapping[RunLabel, int]
    members: NotRequired[int]
    low: NotRequired[dict[RunLabel, Number]]
    high: NotRequired[dict[RunLabel, Number]]


class CompareResult(
    RankingSections,
    ColumnSections,
    EffectSections,
    FitSections,
    ParetoSections,
    GroupSections,
    RankedCheckpointSections,
    AssertionSections,
    TaskSections,
    GateSections,
):
    """The answer of `compare`."""

    format: str
    command: Literal["compare"]
    runs: list[RunResult]
    alignment: AlignmentResult
    comparison: list[MetricComparison]
    config_diff: list[ConfigDifference]
    config_same: int
    summary_comparison: list[SummaryDifference]
    notes: list[str]


class CompareAnswer(CompareResult, total=False):
    """The answer of `compare`, and the flags of further questions, each a list of words."""

    next: list[list[str]]
