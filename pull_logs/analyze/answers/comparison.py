"""Many runs compared: the answer of `pull-logs compare`.

Runs are read one after the other, each metric at one position of its history (`run_readings`). Everything
else is computed from these numbers: ranks, groups with their statistics (`groups`), and tests between groups
(`verdicts`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pull_logs._version import FORMAT
from pull_logs.analyze.answers.best_sentence import alignment_notes, best_sentences, shared_time
from pull_logs.analyze.answers.named_values import AskedValues, NamedValues, column_sections, ranking_numbers
from pull_logs.analyze.answers.readings import ReadingPlan
from pull_logs.analyze.answers.run_readings import (
    RunHistories,
    RunReading,
    RunReadings,
    compare_readings,
    note_on_states,
    read_runs,
)
from pull_logs.analyze.answers.side_by_side import compare_records, flat_configs, flat_summaries
from pull_logs.analyze.answers.view import describe_runs, incomplete_notes
from pull_logs.analyze.group_results import GateSections, GroupSections, TaskSections
from pull_logs.analyze.inference import ALPHA, Margin
from pull_logs.analyze.questions import (
    CONFIG,
    DEFINED,
    Alignment,
    Grouping,
    HistoryQuery,
    Interpolation,
    Position,
    Reading,
    RunColumn,
    Subject,
    ValueColumns,
    about_samples,
    absence_explained,
    compile_pattern,
    is_seed,
    settle_names,
    suggest_grouping,
    system_names,
)
from pull_logs.analyze.relations import Fit, RelationsAnswer, relate
from pull_logs.analyze.results import (
    AlignmentResult,
    CompareAnswer,
    ConfigDifference,
    RankedCheckpointSections,
    RankingResult,
    RankingSections,
)
from pull_logs.analyze.statistics import (
    Criterion,
    Goal,
    IntervalKind,
    deciding_metric,
    outcome_end,
    ranked,
)
from pull_logs.errors import UsageError
from pull_logs.executors import SERIAL, Engine
from pull_logs.rows.canonical import STEP, spell

if TYPE_CHECKING:
    from pull_logs.analyze.answers.checkpoints import CheckpointComparison
    from pull_logs.analyze.answers.groups import RunGroups
    from pull_logs.analyze.answers.tasks import TaskScale

_MOST_NAMED = 10
_MOST_FURTHER = 2
_LEAST_PART = 10
"""A run that failed before a tenth of the steps of another one leaves nothing to compare at its end."""
_NO_KEY = "(?!)"
"""A regular expression that no key matches."""
_LAST = Position()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What to compare, and how; the options of `pull-logs compare`.

    Attributes:
        select: A regular expression that is searched for in the names of the metrics.
        group_by: Names of config keys or fields, or `all-but:` with names (see `grouping`).
        seeds: The keys that differ between the runs of a group; found by their names by default.
        best: The metric by which runs and groups are ranked and tested.
        sort: The metric by which they are ranked only.
        top: How many of them to show, the best ones; None for all.
        at: The position at which to read the metrics.
        axis: The x axis: `_step`, a metric, or `defined`.
        interpolation: How to find a value between two rows.
        interval: Which interval to give for the mean of a group.
        asserts: What must hold of every run and of all its rows (see `assertions`).
        columns: Columns of runs to compute (see `run_columns`).
        where: An expression that a row must meet.
        evals: Names and expressions of columns to compute in every row.
        alpha: The share of false alarms over the tests of a metric.
        margin: The largest difference between groups that does not matter; None if every one does.
        effect: The metric on which the effect of each config key is looked for.
        fits: Lines to fit through values of runs.
        pareto: The criteria of the Pareto front.
        task: The key of the tasks over which groups are compared, such as a data set.
        scale: The scale of the scores of tasks.
        on_request: Let values by run be made when they are used, because the answer will be cut.
        suggest: Find flags of questions to go on with, for which the configs of all runs are compared.
    """

    select: str | None = None
    group_by: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    best: Criterion | None = None
    sort: Criterion | None = None
    top: int | None = None
    at: Position = _LAST
    axis: str = STEP
    interpolation: Interpolation = "linear"
    interval: IntervalKind = "t"
    asserts: tuple[str, ...] = ()
    columns: tuple[RunColumn, ...] = ()
    where: str | None = None
    evals: tuple[tuple[str, str], ...] = ()
    alpha: float = ALPHA
    margin: Margin | None = None
    task: str | None = None
    scale: TaskScale = "minmax"
    effect: Criterion | None = None
    fits: tuple[Fit, ...] = ()
    pareto: tuple[Criterion, ...] = ()
    on_request: bool = False
    suggest: bool = True

    @property
    def values(self) -> AskedValues:
        """The values of runs that it names."""
        return AskedValues(
            columns=self.columns,
            criterion=self.criterion,
            option=self.ranking_option,
            at_best=self.at.word == "best",
            effect=self.effect,
            pareto=self.pareto,
            sides=[side for fit in self.fits for side in (fit.y, fit.x)],
        )

    @property
    def relates(self) -> bool:
        """Whether effects, fits or a Pareto front are asked for."""
        return bool(self.effect or self.fits or self.pareto)

    @property
    def texts(self) -> tuple[str | None, ...]:
        """The expressions and names of metrics of the question."""
        named = self.criterion.metric if self.criterion else None
        computed = (*(text for _, text in self.evals), *(column.text for column in self.columns))
        related = (*self.pareto, *([self.effect] if self.effect else []))
        sides = (side for fit in self.fits for side in (fit.x, fit.y))
        criteria = (criterion.metric for criterion in related)
        return (self.select, self.where, named, self.axis, *computed, *criteria, *sides, *self.asserts)

    @property
    def criterion(self) -> Criterion | None:
        """The metric that ranks the runs."""
        return self.best or self.sort

    @property
    def ranking_option(self) -> str:
        """The flag that named this metric."""
        return "--best" if self.best else "--sort"

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            UsageError: An option needs another one, or excludes it.
        """
        if self.best and self.sort:
            raise UsageError("--best and --sort both rank the runs", hint="leave one of the two out")
        if self.top is not None and self.criterion is None:
            raise UsageError("--top needs to know by what", hint="name a metric with --best or --sort")
        if self.at.word == "best" and self.best is None:
            raise UsageError(
                "--at best needs to know by what", hint="name the metric with --best METRIC:min or :max"
            )
        if self.seeds and not self.group_by:
            raise UsageError("--seed is for groups of runs", hint="group them with --group-by KEY")
        if self.margin is not None and not self.group_by:
            raise UsageError("--margin is for tests between groups", hint="group runs with --group-by KEY")
        if self.task is not None and not (self.group_by and self.best):
            raise UsageError(
                "--task compares groups over tasks by one metric",
                hint="group runs with --group-by KEY, and name the metric with --best METRIC:min or :max",
            )
        if not 0 < self.alpha < 1:
            raise UsageError(
                f"--alpha {self.alpha:g} is not between 0 and 1",
                hint="write the share of false alarms that is allowed, such as --alpha 0.01",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Findings:
    """All runs, read, and which of them are shown.

    Attributes:
        options: What was asked.
        alignment: The position at which the metrics were read.
        goal: The metric that ranks the runs.
        readings: The runs.
        groups: Their groups, if they are grouped.
        shown: The runs to show, in their order.
        relations: Effects, fits and the Pareto front, as far as they were asked for.
        notes: How expressions were read, where they have two readings.
    """

    options: Comparison
    alignment: Alignment
    goal: Goal | None
    readings: RunReadings
    groups: RunGroups | None
    shown: Sequence[RunReading]
    relations: RelationsAnswer
    notes: Sequence[str] = ()

    @property
    def common_end(self) -> int | None:
        """The last step of all shown runs, without those that failed early; None if they end at one step."""
        ends = [step for run in self.shown if (step := run.subject.run.last_step) is not None]
        if not ends or min(ends) == max(ends):
            return None
        return min(step for step in ends if _LEAST_PART * step >= max(ends))


def compare_runs(
    subjects: Sequence[Subject], options: Comparison, *, engine: Engine = SERIAL
) -> CompareAnswer:
    """Compare runs.

    Args:
        subjects: The runs.
        options: What to compare, and how.
        engine: Where histories are read; the answer does not depend on it.

    Returns:
        The object that `data/schemas/compare.json` describes, and in `next` the flags of at most two
        questions to go on with. It has `answer` and `ranking` under `best` or `sort`; `groups`, `group_stats`
        and `verdicts` with groups; `checkpoints` with checkpoints; and `assertions` with assertions, which
        are about all runs, whichever are shown.

    Raises:
        UsageError: Options contradict each other, or a key or the better end of a metric cannot be settled.
        MetricNotFoundError: A metric that was named is in no run, or `select` matches none.
        ExpressionError: An assertion does not parse, resolve or fit its columns.
        DamageError: A history is damaged.
    """
    options.check()
    found = _find(subjects, options, engine)
    checkpoints = _checkpoints(found)
    groups = found.groups.sections(top=options.top) if found.groups else GroupSections()
    metrics = compare_readings(found.readings.metrics, found.shown, on_request=options.on_request)
    recorded = {run.label: run.subject.run for run in found.shown}
    select = _selected_keys(found)
    configs = found.groups.flat_configs(recorded) if found.groups else flat_configs(recorded)
    summaries = None if select == _NO_KEY else flat_summaries(recorded, select=select)
    records = compare_records(configs, summaries, select=select)
    return {
        "format": FORMAT,
        "command": "compare",
        "runs": describe_runs([run.subject for run in found.shown]),
        "alignment": _describe_alignment(found),
        **_ranking(found),
        **column_sections(found.options.columns, found.readings.runs, found.shown),
        **found.relations.effects,
        **found.relations.fits,
        **found.relations.pareto,
        **groups,
        **(found.groups.task_sections(top=options.top) if found.groups else TaskSections()),
        **GateSections(),  # a gate is a question of its own
        **_checkpoint_sections(checkpoints),
        "comparison": [entry for entry in metrics if entry["value"] or entry["x"] or entry["min"]],
        "config_diff": records["config_diff"],
        "config_same": records["config_same"],
        "summary_comparison": records["summary_comparison"],
        **found.readings.assertions.sections,
        "notes": [*incomplete_notes([run.subject for run in found.shown]), *_notes(found, checkpoints)],
        "next": _further(found, records["config_diff"])[:_MOST_FURTHER] if options.suggest else [],
    }


def _selected_keys(found: _Findings) -> str | None:
    """Return a regular expression for the keys of summaries to compare: those of the shown metrics."""
    options, goal = found.options, found.goal
    narrowed = bool(options.columns) or options.relates
    if options.select is not None or (goal is None and not narrowed):
        return options.select
    if narrowed or goal is None:
        return _NO_KEY
    metric = re.escape(goal.metric).replace(r"\.", r"\\?\.")  # nested, or one key with a dot
    return rf"^{metric}(\.|$)"


def _checkpoints(found: _Findings) -> CheckpointComparison | None:
    """Return the checkpoints of the shown runs side by side; None if these have none."""
    entries = [entry for run in found.shown for entry in run.checkpoints]
    if not entries:
        return None
    from pull_logs.analyze.answers.checkpoints import summarize

    return summarize(entries, best=found.goal, notes=found.readings.checkpoint_notes)


def _notes(found: _Findings, checkpoints: CheckpointComparison | None) -> list[str]:
    groups = found.groups
    states = note_on_states(found.readings.runs) if found.options.relates else None
    return [
        *(groups.notes() if groups else [states] if states else ()),
        *found.notes,
        *(checkpoints.notes if checkpoints else ()),
        *alignment_notes(found.shown, found.readings.runs, found.alignment, found.common_end),
        *found.readings.assertions.notes,
    ]


def _find(subjects: Sequence[Subject], options: Comparison, engine: Engine) -> _Findings:
    """Read the runs, rank and group them, and choose those to show."""
    histories = RunHistories.open(subjects, options.texts)
    with absence_explained(histories.frames, options.texts):
        query, histories = _query(options, histories)
        wanted = NamedValues.settle(options.values, subjects, histories)
    goal = wanted.goal
    system = system_names(histories.frames)
    if options.select is not None and not (wanted.columns.expressions or options.asserts):
        pattern = compile_pattern(options.select)
        selected = replace(
            query or HistoryQuery(), selected=frozenset(filter(pattern.search, histories.names))
        )
        named = [goal.metric, options.axis] if goal else [options.axis]
        if about_samples(selected, system, named=[name for name in named if name != DEFINED]):
            histories = histories.samples()
    alignment = Alignment(
        position=options.at,
        axis=options.axis if options.axis == DEFINED else histories.column(options.axis, option="--x"),
        interpolation=options.interpolation,
        best=goal if options.best else None,
    )
    plan = ReadingPlan(
        alignment=alignment,
        select=options.select,
        goal=goal,
        option=options.ranking_option,
        asserts=options.asserts,
        query=query,
        columns=wanted.columns,
        described=wanted.described,
        narrowed=bool(options.columns) or options.relates,
    )
    readings = read_runs(subjects, plan, histories, engine)
    runs = readings.runs
    order = list(range(len(runs)))
    if goal is not None:
        order = ranked(order, ranking_numbers(runs, goal.metric).__getitem__, goal.direction)
    relations = relate(runs, effect=wanted.effect, fits=options.fits, pareto=wanted.pareto)
    groups = None
    if options.group_by:
        groups = _group(readings, options, goal)
        order = groups.shown_runs(order, top=options.top)
    else:
        order = order[: options.top]
    return _Findings(
        options=options,
        alignment=alignment,
        goal=goal,
        readings=readings,
        groups=groups,
        shown=[runs[index] for index in order],
        notes=(*(query.notes if query else ()), *wanted.columns.notes, *relations.notes),
        relations=relations,
    )


def _query(options: Comparison, histories: RunHistories) -> tuple[HistoryQuery | None, RunHistories]:
    """Return the rows that count and the columns to compute, and the histories with the names of these."""
    if options.where is None and not options.evals:
        return None, histories
    query = HistoryQuery.settle(histories.names, select=None, where=options.where, evals=options.evals)
    return query, histories.with_columns([name for name, _ in options.evals])


def _group(readings: RunReadings, options: Comparison, goal: Goal | None) -> RunGroups:
    from pull_logs.analyze.answers.groups import group_runs

    values = ValueColumns.of_runs([run.subject.run for run in readings.runs])
    grouping = Grouping.settle(values, options.group_by, seed_names=options.seeds)
    tasks = None
    if options.task is not None:
        from pull_logs.analyze.answers.tasks import TaskQuestion

        (key,) = settle_names(values, [options.task], option="--task")
        grouping = grouping.without(key)
        tasks = TaskQuestion(key, options.scale)
    return group_runs(
        readings.runs,
        grouping=grouping,
        tasks=tasks,
        values=values,
        metrics=readings.numbered,
        goal=goal,
        interval=options.interval,
        tested=options.sort is None,
        alpha=options.alpha,
        margin=options.margin,
    )


def _describe_alignment(found: _Findings) -> AlignmentResult:
    alignment = found.alignment
    interpolated = 0
    if alignment.position.word == "step":
        readings = (reading for run in found.readings.runs for reading in run.metrics.values())
        interpolated = sum(reading.interpolated for reading in readings)
    return {
        "at": alignment.position.value,
        "x": alignment.axis,
        "interpolation": alignment.interpolation if alignment.position.word == "step" else None,
        "interpolated": interpolated,
        "best": None if alignment.best is None else str(alignment.best),
        "ci": found.options.interval if found.groups else None,
        "alpha": found.options.alpha if found.groups else None,
        "margin": found.options.margin.text if found.options.margin else None,
        "task": found.groups.tasks.key if found.groups and found.groups.tasks else None,
        "scale": found.groups.tasks.scale if found.groups and found.groups.tasks else None,
        "runs": len(found.readings.runs),
        "shown": len(found.shown),
    }


def _ranking(found: _Findings) -> RankingSections:
    """Return the order of the runs, and the sentence that says which run or group is best."""
    goal = found.goal
    if goal is None:
        return {}
    best, where = best_sentences(found.shown, found.readings, found.groups, found.alignment, goal)
    return {
        "answer": best,
        "answer_note": where,
        "ranking": [_rank(rank, run, goal) for rank, run in enumerate(found.shown, 1)],
    }


def _rank(rank: int, run: RunReading, goal: Goal) -> RankingResult:
    reading = run.metrics.get(goal.metric, Reading())
    least = goal.direction == "min"
    return {
        "rank": rank,
        "run": run.label,
        "path": str(run.path),
        "metric": goal.metric,
        "direction": goal.direction,
        "value": run.columns[goal.metric] if goal.metric in run.columns else spell(reading.value),
        "x": spell(reading.x),
        "best": spell(reading.min if least else reading.max),
        "best_step": reading.min_step if least else reading.max_step,
    }


def _checkpoint_sections(checkpoints: CheckpointComparison | None) -> RankedCheckpointSections:
    if checkpoints is None or checkpoints.best is None:
        return {"checkpoints": checkpoints.checkpoints} if checkpoints else {}
    return {"best_checkpoint": checkpoints.best, "checkpoints": checkpoints.checkpoints}


def _further(found: _Findings, differing: Sequence[ConfigDifference]) -> list[list[str]]:
    """Return flags for further questions: first groups and a verdict, then one step for all runs."""
    options = found.options
    seeds = [entry["key"] for entry in differing if is_seed(CONFIG + entry["key"])]
    verdict: list[str] = []
    if not options.group_by and seeds and len(found.shown) > 2:
        suggested = suggest_grouping([run.subject.run for run in found.readings.runs], seeds)
        verdict += [] if suggested is None else ["--group-by", suggested]
    metric = deciding_metric(found.readings.metrics)
    if options.criterion is None and metric is not None and len(found.shown) > 1:
        verdict += ["--best", f"{metric}:{outcome_end(metric)}"]
    common = found.common_end
    level: list[str] = []
    if options.at.word == "last" and common is not None:
        reached = sum((run.subject.run.last_step or 0) >= common for run in found.shown)
        level = ["--at", str(common)] if reached > 1 else []
    elif options.at.word == "last" and options.axis == STEP and found.goal:
        seconds = shared_time(found.shown) if found.goal.metric in found.readings.metrics else None
        level = [] if seconds is None else ["--x", "_runtime", "--at", seconds]
    return [flags for flags in (verdict, level) if flags]
