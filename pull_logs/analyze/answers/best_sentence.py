"""The sentences that say which run or group is best, where it was read, and what is best by best values."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pull_logs.analyze.questions import Alignment, Reading
from pull_logs.analyze.statistics import Goal, ranked

if TYPE_CHECKING:
    from pull_logs.analyze.answers.groups import RunGroups
    from pull_logs.analyze.answers.run_readings import RunReading, RunReadings


def best_sentences(
    shown: Sequence[RunReading],
    readings: RunReadings,
    groups: RunGroups | None,
    alignment: Alignment,
    goal: Goal,
) -> tuple[str, str]:
    """Return which is best, and where it was read; nothing where a column of runs ranks them.

    Args:
        shown: The runs that are shown, the best first.
        readings: All runs.
        groups: Their groups, if they are grouped, the best first.
        alignment: Where the metrics were read.
        goal: The metric, or the column of runs, that ranks them.
    """
    best = groups.answer(goal) if groups else _best_run(shown[0], goal)
    if goal.metric not in readings.metrics:
        return best, ""
    if not alignment.at_last_step:
        words = {"last": "its last value", "best": "its best value", "checkpoint": "its checkpoint"}
        word = alignment.position.word
        return best, f"read at {words.get(word, f'{alignment.axis} {alignment.position.value}')}"
    return best, f"read at its last value{_best_elsewhere(shown, readings, groups, goal)}"


def _best_elsewhere(
    shown: Sequence[RunReading], readings: RunReadings, groups: RunGroups | None, goal: Goal
) -> str:
    """Return in words which run or group is best by the best values of the runs, if it is another one."""
    if groups:
        members = {group.name: [readings.runs[index] for index in group.members] for group in groups.groups}
    else:
        members = {f"{run.label} ({run.info.path})": [run] for run in shown}
    means = {name: _mean_of_bests(runs, goal) for name, runs in members.items()}
    first = next(iter(members))
    other = ranked(list(members), means.__getitem__, goal.direction)[0]
    mean = means[other]
    if mean is None or mean == means[first]:
        return ""
    return f" (by best values it is {other}, {'mean ' if groups else ''}{mean:.6g}: --at best)"


def _mean_of_bests(runs: Sequence[RunReading], goal: Goal) -> float | None:
    """Return the mean of the best finite values of runs."""
    readings = [run.metrics.get(goal.metric, Reading()) for run in runs]
    bests = [reading.min if goal.direction == "min" else reading.max for reading in readings]
    known = [float(best) for best in bests if best is not None and abs(best) <= sys.float_info.max]
    return math.fsum(known) / len(known) if known else None


def _best_run(run: RunReading, goal: Goal) -> str:
    number, cell = run.number(goal.metric), run.columns.get(goal.metric)
    if isinstance(cell, str):
        return f"first by {goal.metric} ({goal.direction}): {run.label} ({run.info.path}), {cell}"
    if number is None or not math.isfinite(number):
        return f"no run has a finite {goal.metric} there"
    return (
        f"best {goal.metric} ({goal.direction}): {run.label} ({run.info.path}), {number:.6g}; "
        "single runs say nothing about seed noise: --group-by all-but:SEED"
    )
