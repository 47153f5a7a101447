"""Groups of runs and their statistics.

The statistics of a group are over the finite values of its runs; how many runs lack the metric, or end in NaN
or an infinity, is counted beside them.
"""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pull_logs.analyze.answers.run_readings import RunReading, note_on_states
from pull_logs.analyze.answers.tasks import NamedRuns, TaskComparison, TaskQuestion, TaskTable
from pull_logs.analyze.answers.verdicts import MetricTests, NamedSample, TestPlan, short
from pull_logs.analyze.group_results import GroupResult, GroupSections, GroupStatistics, TaskSections
from pull_logs.analyze.inference import ALPHA, Margin, Sample
from pull_logs.analyze.questions import CONFIG, Grouping, ValueColumns, unique_names
from pull_logs.analyze.statistics import Goal, IntervalKind, describe_sample, iqm_interval, ranked
from pull_logs.rows.canonical import canon_number, spell
from pull_logs.suggestions import counted, joined

_METRICS_TESTED = 10
_NAME_LENGTH = 80
_MOST_NAMED = 10
_HINT_LENGTH = 400


@dataclass(frozen=True, slots=True)
class RunGroup:
    """Some of the runs.

    Attributes:
        label: G1, G2, ...
        members: The indices of its runs.
        by: The values that its runs have in common, for strict JSON.
    """

    label: str
    members: tuple[int, ...]
    by: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its label and its values, in one phrase."""
        values = " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in self.by.items())
        short_values = values if len(values) <= _NAME_LENGTH else values[: _NAME_LENGTH - 1] + "…"
        return f"{self.label} ({short_values or 'all runs'})"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGroups:
    """The groups of a comparison, the best first where a metric ranks them.

    Attributes:
        runs: All runs.
        values: The configs and the fields of the runs.
        grouping: How they are grouped.
        seeds: What distinguishes each run from the others of its group.
        groups: The groups.
        metrics: The metrics to describe.
        goal: The metric that ranks the groups.
        interval: Which interval to give for a mean.
        tested: Whether to test the groups against each other.
        alpha: The share of false alarms over the tests of a metric.
        margin: The largest difference that does not matter, if there is one.
        tasks: Over which tasks to compare them, if there are several.
        over_tasks: How they compare over these.
    """

    runs: Sequence[RunReading]
    values: ValueColumns
    grouping: Grouping
    seeds: Sequence[Hashable | None]
    groups: Sequence[RunGroup]
    metrics: Sequence[str]
    goal: Goal | None
    interval: IntervalKind
    tested: bool
    alpha: float = ALPHA
    margin: Margin | None = None
    tasks: TaskQuestion | None = None
    over_tasks: TaskComparison | None = None

    def sections(self, *, top: int | None) -> GroupSections:
        """Return the sections about groups; all groups are tested, the first `top` are shown."""
        shown = self.groups[:top]
        labels = {group.label for group in shown}
        if self.over_tasks is not None:  # over several tasks, a mean of all runs says nothing
            return {"groups": [self._group(group) for group in shown], "group_stats": [], "verdicts": []}
        return {
            "groups": [self._group(group) for group in shown],
            "group_stats": [self._statistics(metric, group) for metric in self.metrics for group in shown],
            "verdicts": [
                verdict
                for metric in self._tested_metrics()
                for verdict in self._test(metric).verdicts(labels)
            ],
        }

    def task_sections(self, *, top: int | None) -> TaskSections:
        """Return the sections about several tasks; none without tasks."""
        return TaskSections() if self.over_tasks is None else self.over_tasks.sections(top=top)

    def shown_runs(self, order: Sequence[int], *, top: int | None) -> list[int]:
        """Return the indices of those runs that are in the first `top` groups, in the order given."""
        members = {index for group in self.groups[:top] for index in group.members}
        return [index for index in order if index in members]

    def flat_configs(self, labels: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the configs of runs, canonical and with flat keys, from the values that group them."""
        indices = {run.label: index for index, run in enumerate(self.runs)}
        found = list(labels)
        return dict(zip(found, self.values.configs(map(indices.__getitem__, found)), strict=True))

    def answer(self, goal: Goal, shown: Collection[str]) -> str:
        """Return the sentence that says which group is best, and whether its lead is real.

        Args:
            goal: The metric that ranks the groups.
            shown: The labels of the runs that are shown; groups without one of them are named by their keys.
        """
        if self.over_tasks is not None:
            return self.over_tasks.answer()
        best = self.groups[0]
        values = _finite(self.runs, goal.metric, best.members)
        if not values:
            return f"no group has a finite {goal.metric}"
        lost = len(best.members) - len(values)
        mean = describe_sample(values).mean
        of_all = f"its {counted(len(best.members), 'run')}"
        found = (
            f"best {goal.metric} ({goal.direction}): {best.name}, mean {short(mean)} over n={len(values)}"
            f"{f' ({lost} of {of_all} left out: no finite value)' if lost else ''}"
        )
        if len(values) < 2:
            return f"{found}; a single run says nothing about seed noise"
        if not self.tested:
            return f"{found}; its lead is not tested, since --sort only ranks: --best tests it"
        labels = {
            group.label
            for group in self.groups
            if any(self.runs[index].label in shown for index in group.members)
        }
        return f"{found}; {self._test(goal.metric).lead(labels)}"

    def notes(self) -> list[str]:
        """Return what a reader must know before trusting the groups."""
        found = [self._note_on_seeds(), self._note_on_confounders(), self._note_on_single_runs()]
        found += [self._note_on_states(), self._note_on_tests()]
        found += self.over_tasks.notes() if self.over_tasks else ()
        return [note for note in found if note is not None]

    def _group(self, group: RunGroup) -> GroupResult:
        return {
            "group": group.label,
            "by": dict(group.by),
            "n": len(group.members),
            "runs": [self.runs[index].label for index in group.members],
            "states": dict(Counter(str(self.values.value("state", index)) for index in group.members)),
        }

    def _statistics(self, metric: str, group: RunGroup) -> GroupStatistics:
        values = _finite(self.runs, metric, group.members)
        found = describe_sample(values, interval=self.interval)
        low, high = iqm_interval(values) if metric in self._tested_metrics() else (None, None)
        missing = sum(self.runs[index].number(metric) is None for index in group.members)
        return {
            "metric": metric,
            "group": group.label,
            "n": found.n,
            "mean": _number(found.mean),
            "std": _number(found.std),
            "ci_low": _number(found.ci_low),
            "ci_high": _number(found.ci_high),
            "median": _number(found.median),
            "iqm": _number(found.iqm),
            "iqm_low": _number(low),
            "iqm_high": _number(high),
            "min": _number(found.min),
            "max": _number(found.max),
            "missing": missing,
            "nonfinite": len(group.members) - missing - found.n,
        }

    def _tested_metrics(self) -> Sequence[str]:
        if not self.tested or len(self.groups) < 2:
            return ()
        if self.goal is not None:
            return (self.goal.metric,)
        return self.metrics if len(self.metrics) <= _METRICS_TESTED else ()

    def _test(self, metric: str) -> MetricTests:
        samples = [NamedSample(group.label, group.name, self._sample(metric, group)) for group in self.groups]
        direction = self.goal.direction if self.goal is not None else None
        plan = TestPlan(alpha=self.alpha, margin=self.margin, direction=direction)
        return MetricTests.run(metric, samples, plan)

    def _sample(self, metric: str, group: RunGroup) -> Sample:
        found = [
            (number, self.seeds[index])
            for index in group.members
            if (number := self.runs[index].number(metric)) is not None and math.isfinite(number)
        ]
        return Sample(tuple(number for number, _ in found), tuple(seed for _, seed in found))

    @property
    def _seeds(self) -> list[str]:
        return [name.removeprefix(CONFIG) for name in self.grouping.seeds]

    def _note_on_seeds(self) -> str | None:
        if self._seeds or self.over_tasks is not None:
            return None
        return "no config key is called like a seed: tests between groups are not paired; --seed KEY"

    def _note_on_confounders(self) -> str | None:
        found = self.grouping.confounders(self.values, [group.members for group in self.groups])
        if not found:
            return None
        note = f"runs of one group differ in more than their seed: {joined(found, most=_MOST_NAMED)}"
        if len(unique_names(self.values, found)) == len(found):
            return f"{note}, which {'have' if found[1:] else 'has'} another value in every run"
        return note + self._hint("takes them apart")

    def _note_on_single_runs(self) -> str | None:
        if not len(self.groups) == len(self.values) > 1:
            return None
        names = [name.removeprefix(CONFIG) for name in unique_names(self.values, self.grouping.by)]
        if not names:
            return None
        note = (
            "every group is a single run, since these keys differ in all runs: "
            f"{joined(names, most=_MOST_NAMED)}"
        )
        return note + self._hint("looks past them")

    def _hint(self, effect: str) -> str:
        """Return the end of a note: the grouping by all settings, unless it is too long or groups nothing."""
        suggestion = self.grouping.suggestion(self.values)
        if suggestion is None or len(suggestion) > _HINT_LENGTH or suggestion in self.grouping.words:
            return ""
        return f"; --group-by {shlex.quote(suggestion)} {effect}"

    def _note_on_states(self) -> str | None:
        return note_on_states(self.runs)

    def _note_on_tests(self) -> str | None:
        if not self.tested or self.goal is not None or len(self.metrics) <= _METRICS_TESTED:
            return None
        return (
            f"{len(self.metrics)} metrics are too many to test one by one; "
            "name the one that decides with --best METRIC:min or :max, or fewer with --select"
        )


def group_runs(
    runs: Sequence[RunReading],
    *,
    grouping: Grouping,
    values: ValueColumns,
    metrics: Sequence[str],
    goal: Goal | None,
    interval: IntervalKind,
    tested: bool,
    alpha: float = ALPHA,
    margin: Margin | None = None,
    tasks: TaskQuestion | None = None,
) -> RunGroups:
    """Group runs, and rank the groups by their means of a metric.

    Args:
        runs: The runs.
        grouping: How to group them.
        values: The configs and the fields of the runs.
        metrics: The metrics to describe.
        goal: The metric that ranks the groups.
        interval: Which interval to give for a mean.
        tested: Whether to test the groups against each other.
        alpha: The share of false alarms over the tests of a metric.
        margin: The largest difference that does not matter, if there is one.
        tasks: Over which tasks to compare them, if there are several.

    Raises:
        UsageError: No task has finite values in every group.
    """
    members = grouping.groups(values)
    if goal is not None:
        metric = goal.metric
        means = {tuple(indices): describe_sample(_finite(runs, metric, indices)).mean for indices in members}
        members = ranked(members, lambda indices: means[tuple(indices)], goal.direction)
    table = None
    if tasks is not None and goal is not None:
        table = TaskTable.read(members, runs, values, question=tasks, goal=goal)
        order = ranked(range(len(members)), table.iqm, "max")
        members, table = [members[index] for index in order], table.reordered(order)
    groups = [
        RunGroup(f"G{number}", tuple(indices), grouping.common_values(values, indices[0]))
        for number, indices in enumerate(members, 1)
    ]
    over_tasks = None
    if table is not None:
        named = [NamedRuns(group.label, group.name) for group in groups]
        over_tasks = TaskComparison.of(named, table, alpha=alpha, margin=margin)
    return RunGroups(
        runs=runs,
        values=values,
        grouping=grouping,
        seeds=grouping.seeds_of(values),
        groups=groups,
        metrics=metrics,
        goal=goal,
        interval=interval,
        tested=tested,
        alpha=alpha,
        margin=margin,
        tasks=tasks,
        over_tasks=over_tasks,
    )


def _finite(runs: Sequence[RunReading], metric: str, members: Sequence[int]) -> list[float]:
    """Return the finite values that these runs have of a metric."""
    numbers = (runs[index].number(metric) for index in members)
    return [number for number in numbers if number is not None and math.isfinite(number)]


def _number(value: float | None) -> int | float | str | None:
    number: int | float | str | None = None if value is None else spell(canon_number(value))
    return number
