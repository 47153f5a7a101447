"""Groups of runs over several tasks: aggregates, probabilities of improvement and performance profiles.

A task is a value of the key of `--task`, such as a data set; the runs of a group differ in their task and
their seed. Groups are compared over the tasks that all of them have. Scores of different tasks are brought to
one scale, on which the worst run of a task is 0 and the best is 1, unless they are asked for as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, TypeAlias

import numpy as np

from pull_logs.analyze.answers.run_readings import RunReading
from pull_logs.analyze.answers.verdicts import BETTER, EQUIVALENT, UNDECIDED, short
from pull_logs.analyze.group_results import ProfileRow, TaskGroup, TaskResult, TaskSections, TaskVerdict
from pull_logs.analyze.inference import (
    Aggregate,
    Improvement,
    Margin,
    Scores,
    StratifiedDifference,
    aggregate_tasks,
    compare_tasks,
    holm,
    profile,
    scale_tasks,
    stratified_difference,
    trimmed_mean,
)
from pull_logs.analyze.questions import ValueColumns
from pull_logs.analyze.statistics import Goal, mean
from pull_logs.errors import UsageError
from pull_logs.rows.canonical import canon_number, spell
from pull_logs.suggestions import counted, joined

TaskScale: TypeAlias = Literal["minmax", "raw"]

MOST_TESTED = 15
"""Groups of which all pairs are tested."""
_THRESHOLDS = 10
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class TaskQuestion:
    """Over which tasks groups are compared.

    Attributes:
        key: The name of the config key or the field whose values are the tasks.
        scale: The scale of their scores.
    """

    key: str
    scale: TaskScale


@dataclass(frozen=True, slots=True)
class NamedRuns:
    """A group.

    Attributes:
        label: G1, G2, ...
        name: What sentences call it.
    """

    label: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTable:
    """The finite values of a metric by group and task.

    Attributes:
        goal: The metric and its better end.
        tasks: The value of the key for each task that all groups have.
        left_out: The values of the key that some group lacks.
        values: For each group, its values by task.
        scores: The same on one scale, of which more is better.
        scale: Which scale that is.
    """

    goal: Goal
    tasks: Sequence[Any]
    left_out: Sequence[Any]
    values: Sequence[Scores]
    scores: Sequence[Scores]
    scale: TaskScale

    @classmethod
    def read(
        cls,
        groups: Sequence[Sequence[int]],
        runs: Sequence[RunReading],
        values: ValueColumns,
        *,
        question: TaskQuestion,
        goal: Goal,
    ) -> TaskTable:
        """Sort the values of runs by group and task.

        Args:
            groups: The indices of the runs of each group.
            runs: The runs.
            values: The configs and the fields of the runs.
            question: The tasks, and the scale of the scores.
            goal: The metric.

        Raises:
            UsageError: No task has finite values in every group.
        """
        key, scale = question.key, question.scale
        codes = values.codes(key)
        names: dict[int, Any] = {}
        tables: list[dict[int, list[float]]] = []
        for members in groups:
            table: dict[int, list[float]] = {}
            for index in members:
                number = runs[index].number(goal.metric)
                if number is not None and math.isfinite(number) and values.has(key, index):
                    task = codes[index]
                    names.setdefault(task, values.value(key, index))
                    table.setdefault(task, []).append(number)
            tables.append(table)
        shared = [task for task in names if all(task in table for table in tables)]
        if not shared:
            raise UsageError(
                f"--task {key!r}: no task has finite values of {goal.metric!r} in every group",
                hint="group by fewer keys, or take fewer groups with --filter",
            )
        shared.sort(key=lambda task: json.dumps(names[task], sort_keys=True))
        raw = [[np.sort(np.array(table[task], np.float64)) for task in shared] for table in tables]
        oriented = raw if goal.direction == "max" else [[-task for task in group] for group in raw]
        return cls(
            goal=goal,
            tasks=[names[task] for task in shared],
            left_out=[name for task, name in names.items() if task not in shared],
            values=raw,
            scores=scale_tasks(oriented) if scale == "minmax" else oriented,
            scale=scale,
        )

    def iqm(self, group: int) -> float:
        """Return the interquartile mean of the scores of a group."""
        return float(trimmed_mean(np.concatenate(list(self.scores[group]))))

    def margin(self, margin: Margin) -> float:
        """Return a margin on the scale of the scores.

        A percentage is of the scale from 0 to 1, or of the mean over tasks of the best group.
        """
        scaled = self.scale == "minmax"
        return margin.of(1.0 if scaled else mean([float(task.mean()) for task in self.scores[0]]))

    def reordered(self, order: Sequence[int]) -> TaskTable:
        """Return the table with its groups in another order."""
        return TaskTable(
            goal=self.goal,
            tasks=self.tasks,
            left_out=self.left_out,
            values=[self.values[index] for index in order],
            scores=[self.scores[index] for index in order],
            scale=self.scale,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskComparison:
    """Groups compared over tasks, the best first.

    Attributes:
        groups: The groups.
        table: Their values by task, in the same order.
        alpha: The share of false alarms over all pairs of groups.
        aggregates: Their aggregates.
        improvements: The comparisons of the first group with each other one, by their indices.
        adjusted: The p values of these, adjusted over all pairs of groups.
        family: How many pairs that are.
        margin: The largest difference of scores that does not matter, if there is one.
        differences: The mean differences of the first group from each other one, where they can be tested.
        equivalences: The p values of TOST for these, adjusted over all pairs; empty without a margin.
    """

    groups: Sequence[NamedRuns]
    table: TaskTable
    alpha: float
    aggregates: Sequence[Aggregate]
    improvements: Mapping[int, Improvement]
    adjusted: Mapping[int, float]
    family: int
    margin: Margin | None
    differences: Mapping[int, StratifiedDifference]
    equivalences: Mapping[int, float]

    @classmethod
    def of(
        cls, groups: Sequence[NamedRuns], table: TaskTable, *, alpha: float, margin: Margin | None = None
    ) -> TaskComparison:
        """Compare groups that are ranked."""
        found: dict[tuple[int, int], Improvement] = {}
        differences: dict[tuple[int, int], StratifiedDifference] = {}
        for pair in combinations(range(len(groups)), 2) if len(groups) <= MOST_TESTED else ():
            first, second = table.scores[pair[0]], table.scores[pair[1]]
            found[pair] = compare_tasks(first, second)
            if (difference := stratified_difference(first, second)) is not None:
                differences[pair] = difference
        within: list[float] = []
        if margin is not None:
            half = table.margin(margin)
            within = holm([one.p_within(half) for one in differences.values()])
        adjusted = dict(zip(found, holm([one.p for one in found.values()]), strict=True))
        return cls(
            groups=groups,
            table=table,
            alpha=alpha,
            aggregates=[aggregate_tasks(scores) for scores in table.scores],
            improvements={second: one for (first, second), one in found.items() if first == 0},
            adjusted={second: p for (first, second), p in adjusted.items() if first == 0},
            family=len(found),
            margin=margin,
            differences={second: one for (first, second), one in differences.items() if first == 0},
            equivalences={
                second: p for (first, second), p in zip(differences, within, strict=False) if first == 0
            },
        )

    def sections(self, *, top: int | None) -> TaskSections:
        """Return the sections about tasks, of the first `top` groups."""
        shown = range(len(self.groups[:top]))
        return {
            "tasks": [self._task(index, shown) for index in range(len(self.table.tasks))],
            "task_groups": [self._group(group) for group in shown],
            "task_verdicts": [self._verdict(group) for group in shown if group in self.improvements],
            "task_profiles": self._profiles(shown),
        }

    def answer(self) -> str:
        """Return the sentence that says which group is best over all tasks, and whether that is real."""
        best, found, goal = self.groups[0], self.aggregates[0], self.table.goal
        count = len(self.table.tasks)
        n = sum(map(len, self.table.scores[0]))
        scale = " on the scale 0 to 1" if self.table.scale == "minmax" else ""
        iqm = self._signed(found.iqm)
        interval = (
            ""
            if found.iqm_low is None or found.iqm_high is None
            else f" [{', '.join(map(short, self._ends(found.iqm_low, found.iqm_high)))}]"
        )
        sentence = (
            f"best {goal.metric} ({goal.direction}) over {count} tasks: {best.name}, "
            f"IQM {short(iqm)}{interval}{scale} over n={n}"
        )
        within = f" within {self.margin.text}" if self.margin else ""
        phrases = {
            BETTER: "better than {}",
            EQUIVALENT: f"equivalent to {{}}{within}",
            UNDECIDED: "not decided against {}",
        }
        verdicts = {other: self._decide(other) for other in self.adjusted}
        parts = []
        for verdict, phrase in phrases.items():
            labels = [self.groups[other].label for other, found in verdicts.items() if found == verdict]
            if labels:
                parts.append(phrase.format(joined(labels, most=_MOST_NAMED)))
        return f"{sentence}; it is {' and '.join(parts)}" if parts else f"{sentence}; nothing is tested"

    def notes(self) -> list[str]:
        """Return what a reader must know before trusting the comparison."""
        notes = []
        if self.table.left_out:
            names = joined([json.dumps(task) for task in self.table.left_out], most=_MOST_NAMED)
            notes.append(f"tasks that some group lacks are left out: {names}")
        sizes = {len(task) for scores in self.table.scores for task in scores}
        if len(sizes) > 1:
            notes.append(
                f"tasks have {min(sizes)} to {max(sizes)} runs per group; each run counts once in the IQM"
            )
        if len(self.groups) > MOST_TESTED:
            notes.append(f"more than {MOST_TESTED} groups are not tested over tasks; --filter takes fewer")
        elif self.margin is not None and len(self.differences) < len(self.improvements):
            notes.append("equivalence takes two runs or more of each group in each task")
        return notes

    def _signed(self, score: float) -> float:
        """Return a score in the direction of the metric; scaled ones are better where they are greater."""
        return -score if self.table.scale == "raw" and self.table.goal.direction == "min" else score

    def _ends(self, low: float, high: float) -> tuple[float, float]:
        ends = self._signed(low), self._signed(high)
        return min(ends), max(ends)

    def _decide(self, other: int) -> str:
        """Return the verdict; a difference that is certainly within the margin does not matter."""
        if self.equivalences.get(other, 1.0) < self.alpha:
            return EQUIVALENT
        return BETTER if self.adjusted[other] < self.alpha else UNDECIDED

    def _next(self, other: int) -> str:
        """Return what would decide between the best group and another one."""
        found = self.differences.get(other)
        if found is None:
            return "more seeds or tasks"
        before = sum(one.p < self.improvements[other].p for one in self.improvements.values())
        half = None if self.margin is None else self.table.margin(self.margin)
        plan = found.seeds_to_decide(self.alpha / (self.family - before), margin=half)
        if plan is None:
            return "more tasks, or a wider --margin" if self.margin else "more tasks, or a --margin"
        size, decision = plan
        end = "equivalence" if decision == "equivalence" else "such a difference"
        return f"about {counted(size, 'seed')} of each group in each task would show {end} (80% power)"

    def _task(self, index: int, shown: Sequence[int]) -> TaskResult:
        return {
            "task": spell(self.table.tasks[index]),
            "n": {self.groups[group].label: len(self.table.values[group][index]) for group in shown},
            "mean": {
                self.groups[group].label: _number(mean(self.table.values[group][index].tolist()))
                for group in shown
            },
        }

    def _group(self, group: int) -> TaskGroup:
        found = self.aggregates[group]
        low = high = None
        if found.iqm_low is not None and found.iqm_high is not None:
            low, high = self._ends(found.iqm_low, found.iqm_high)
        return {
            "group": self.groups[group].label,
            "tasks": len(self.table.tasks),
            "n": sum(map(len, self.table.scores[group])),
            "iqm": _number(self._signed(found.iqm)),
            "iqm_low": _number(low),
            "iqm_high": _number(high),
            "mean": _number(self._signed(found.mean)),
            "median": _number(self._signed(found.median)),
        }

    def _verdict(self, other: int) -> TaskVerdict:
        found, verdict = self.improvements[other], self._decide(other)
        difference = self.differences.get(other)
        low, high = self._ends(*difference.interval) if difference else (None, None)
        return {
            "first": self.groups[0].label,
            "second": self.groups[other].label,
            "tasks": len(self.table.tasks),
            "prob_better": found.probability,
            "prob_low": _number(found.low),
            "prob_high": _number(found.high),
            "p": found.p,
            "p_holm": self.adjusted[other],
            "difference": _number(self._signed(difference.difference)) if difference else None,
            "ci_low": _number(low),
            "ci_high": _number(high),
            "margin": _number(self.table.margin(self.margin)) if self.margin else None,
            "p_equivalent": _number(self.equivalences.get(other)),
            "family": self.family,
            "verdict": verdict,
            "next": self._next(other) if verdict == UNDECIDED else "",
            "sentence": self._sentence(other, verdict),
        }

    def _sentence(self, other: int, verdict: str) -> str:
        names = self.groups[0].name, self.groups[other].name
        over = f" after Holm over {self.family}" if self.family > 1 else ""
        start, tasks = f"{self.table.goal.metric}: {names[0]}", f"over {len(self.table.tasks)} tasks"
        if verdict == EQUIVALENT and self.margin is not None:
            difference = self.differences[other]
            low, high = self._ends(*difference.interval)
            size = f"{short(self._signed(difference.difference))} [{short(low)}, {short(high)}]"
            p = short(self.equivalences[other])
            return (
                f"{start} and {names[1]} are equivalent {tasks}: the difference of scores, {size}, "
                f"is within the margin of {self.margin.text} (TOST p={p}{over})"
            )
        found = self.improvements[other]
        interval = ""
        if found.low is not None and found.high is not None:
            interval = f" [{found.low:.1%}, {found.high:.1%}]"
        words = "is better than" if verdict == BETTER else "is not shown to be better than"
        return (
            f"{start} {words} {names[1]} {tasks}: a run of it is better in "
            f"{found.probability:.1%} of pairs{interval} "
            f"(permutation test, p={short(self.adjusted[other])}{over})"
        )

    def _profiles(self, shown: Sequence[int]) -> list[ProfileRow]:
        """Return the share of runs that are better than each of some scores."""
        every = np.concatenate([task for scores in self.table.scores for task in scores])
        low, high = (0.0, 1.0) if self.table.scale == "minmax" else (float(every.min()), float(every.max()))
        thresholds = low + (high - low) * np.arange(_THRESHOLDS) / _THRESHOLDS
        shares = {self.groups[group].label: profile(self.table.scores[group], thresholds) for group in shown}
        return [
            {
                "score": _number(self._signed(float(threshold))),
                "better": {label: share[index] for label, share in shares.items()},
            }
            for index, threshold in enumerate(thresholds)
        ]


def _number(value: float | None) -> int | float | str | None:
    number: int | float | str | None = None if value is None else spell(canon_number(value))
    return number
