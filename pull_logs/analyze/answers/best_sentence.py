"""Sentences of a comparison: which run or group is best, where runs were read, and which could not be."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pull_logs.analyze.questions import DEFINED, Alignment, Reading, Subject, duration_of
from pull_logs.analyze.statistics import Goal, mean, ranked
from pull_logs.frames import cell_number
from pull_logs.rows.canonical import STEP, canon_number
from pull_logs.suggestions import joined

if TYPE_CHECKING:
    from pull_logs.analyze.answers.groups import RunGroups
    from pull_logs.analyze.answers.run_readings import RunReading, RunReadings

_MOST_NAMED = 10
_OTHER_TIME = 1.5
"""Runs of which the longest took this many times as long as the shortest are not compared at equal time."""
_LEAST_SHARE = 10
"""A run that ended before a tenth of the time of another one leaves nothing to compare at its end."""
_BEFORE_END = 0.9


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
    best = groups.answer(goal, {run.label for run in shown}) if groups else _best_run(shown[0], goal)
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
        members = {run.label: [run] for run in shown}
    means = {name: _mean_of_bests(runs, goal) for name, runs in members.items()}
    first = next(iter(members))
    other = ranked(list(members), means.__getitem__, goal.direction)[0]
    best = means[other]
    if best is None or best == means[first]:
        return ""
    return f" (by best values it is {other}, {'mean ' if groups else ''}{best:.6g}: --at best)"


def _mean_of_bests(runs: Sequence[RunReading], goal: Goal) -> float | None:
    """Return the mean of the best finite values of runs."""
    readings = [run.metrics.get(goal.metric, Reading()) for run in runs]
    bests = [reading.min if goal.direction == "min" else reading.max for reading in readings]
    known = [float(best) for best in bests if best is not None and abs(best) <= sys.float_info.max]
    return mean(known) if known else None


def _best_run(run: RunReading, goal: Goal) -> str:
    number, cell = run.number(goal.metric), run.columns.get(goal.metric)
    if isinstance(cell, str):
        return f"first by {goal.metric} ({goal.direction}): {run.label}, {cell}"
    if number is None or not math.isfinite(number):
        return f"no run has a finite {goal.metric} there"
    return (
        f"best {goal.metric} ({goal.direction}): {run.label}, {number:.6g}; "
        "single runs say nothing about seed noise: --group-by all-but:SEED"
    )


def note_on_ends(shown: Sequence[RunReading], common: int | None) -> str | None:
    """Return the note that runs end at different steps; `common` is the step to compare them at."""
    if common is None:
        return None
    ends = [step for run in shown if (step := run.subject.run.last_step) is not None]
    note = f"the runs end at different steps, the first at {min(ends)}, and are compared at their ends"
    if common == max(ends):
        return note
    compared = "all" if common == min(ends) else "those that reach it"
    return f"{note}; --at {common} compares {compared} at one step"


def shared_time(runs: Sequence[RunReading]) -> str | None:
    """Return a number of seconds at which runs that took very different times can be compared.

    None if they took about the same time, or if that is not known of each of them. It is a little before the
    end of the shortest run, since metrics are not logged in its very last row.
    """
    times = [duration_of(run.subject.run) for run in runs if "_runtime" in run.subject.run.summary]
    known = [time for time in times if time]
    if len(known) < max(len(runs), 2) or max(known) < _OTHER_TIME * min(known):
        return None
    common = _common_end(known)
    return f"{float(f'{_BEFORE_END * common:.2g}'):g}"


def note_on_checkpoints(runs: Sequence[RunReading]) -> str | None:
    """Return the note that names the runs whose checkpoint has no step."""
    without = [run.label for run in runs if not _has_position(run.subject)]
    if not without:
        return None
    return f"no checkpoint has a step for {joined(without, most=_MOST_NAMED)}: no values there"


def note_beyond_ends(runs: Sequence[RunReading], alignment: Alignment) -> str | None:
    """Return the note that no run gets as far as the position, with the last one and one to compare at.

    Args:
        runs: All runs.
        alignment: Where they were read.
    """
    if any(reading.value is not None for run in runs for reading in run.metrics.values()):
        return None
    axis, position = alignment.axis, alignment.position
    found = (
        run.subject.run.last_step if axis == STEP else cell_number(run.subject.run.summary.get(axis))
        for run in runs
    )
    ends = [end for end in found if end is not None and math.isfinite(end)]
    if not ends or position.where <= max(ends):
        return None
    common = _common_end(ends)
    compared = "all" if common == min(ends) else "those that reach it"
    return (
        f"no run has {axis} {position.value}: the last of any run is {canon_number(max(ends))}; "
        f"--at {canon_number(common)} compares {compared}"
    )


def _common_end(ends: Sequence[float]) -> float:
    """Return the first end at which something is left to compare; the last one of ends that are negative."""
    last = max(ends)
    return min((end for end in ends if _LEAST_SHARE * end >= last), default=last)


def note_on_values(runs: Sequence[RunReading], alignment: Alignment) -> str | None:
    """Return the note that names the runs that have no value at a position."""
    missing = [run.label for run in runs if any(reading.value is None for reading in run.metrics.values())]
    if not missing:
        return None
    axis = "the axis that each was defined over," if alignment.axis == DEFINED else alignment.axis
    labels = joined(missing, most=_MOST_NAMED)
    return (
        f"metrics of {labels} have no value at {axis} {alignment.position.value}: "
        "it is not between their first and last one, and nothing is extrapolated"
    )


def _has_position(subject: Subject) -> bool:
    return subject.checkpoint_step is not None or any(one.epoch is not None for one in subject.checkpoints)


def alignment_notes(
    shown: Sequence[RunReading], runs: Sequence[RunReading], alignment: Alignment, common_end: int | None
) -> list[str]:
    """Return notes on runs that could not be read at the position.

    Args:
        shown: The runs that are shown.
        runs: All runs.
        alignment: The position.
        common_end: The last step of all that are shown; None if they end at one step.
    """
    if alignment.position.word == "last":
        note = note_on_ends(shown, common_end)
    elif alignment.position.word == "checkpoint":
        note = note_on_checkpoints(shown)
    elif alignment.position.word == "step":
        note = note_beyond_ends(runs, alignment) or note_on_values(shown, alignment)
    else:
        note = None
    return [] if note is None else [note]
