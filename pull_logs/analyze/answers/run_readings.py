"""The one pass over the histories that `compare` makes.

All names are settled first, over the columns of all runs. Then each run is read once: its metrics at one
position, its checkpoints, and whether the assertions hold. What is kept of a run are these values; its
columns are dropped before the next run is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from pull_logs.analyze.answers.histories import settle_assertions
from pull_logs.analyze.answers.indexed import Field, IndexedRun, MetricValues, RunValues
from pull_logs.analyze.answers.mapping import map_runs
from pull_logs.analyze.answers.readings import ReadingPlan, RunReader
from pull_logs.analyze.questions import (
    DEFINED,
    AssertionAnswer,
    HistoryOpening,
    Reading,
    Subject,
    compile_pattern,
    is_internal,
    mentions_system,
    samples,
    system_names,
)
from pull_logs.analyze.results import CheckpointResult, MetricComparison
from pull_logs.errors import MetricNotFoundError, UsageError
from pull_logs.executors import SERIAL, Engine
from pull_logs.frames import History, PlainNames, bundle_order, cell_number, names_of, put_back
from pull_logs.rows.canonical import STEP, spell
from pull_logs.runs import RunPath
from pull_logs.suggestions import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReading:
    """One run, read.

    Attributes:
        subject: The run.
        metrics: Its metrics at the position.
        checkpoints: Its checkpoints with their metrics.
        has_axis: Whether it has numbers on the x axis.
        columns: The values of the columns of runs, None where one is missing.
    """

    subject: Subject
    metrics: Mapping[str, Reading]
    checkpoints: Sequence[CheckpointResult]
    has_axis: bool
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The label of the run."""
        return self.subject.label

    @property
    def path(self) -> RunPath:
        """The path of the run."""
        return self.subject.run.path

    def number(self, metric: str) -> float | None:
        """Return the number of a metric at the position, or of a column of runs, if the run has one."""
        if metric in self.columns:
            return cell_number(float(cell) if isinstance(cell := self.columns[metric], bool) else cell)
        if isinstance(self.metrics, IndexedRun):
            return self.metrics.table.numbers(metric)[self.metrics.position]
        reading = self.metrics.get(metric)
        return None if reading is None else reading.number


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReadings:
    """All runs, read.

    Attributes:
        runs: The runs.
        metrics: Every metric of which some run has numbers, the one that ranks first.
        assertions: The assertions, checked against all runs.
        checkpoint_notes: Notes on which metrics the checkpoints show.
        columns: The columns of runs that are described as metrics are.
    """

    runs: Sequence[RunReading]
    metrics: Sequence[str]
    assertions: AssertionAnswer
    checkpoint_notes: Sequence[str]
    columns: Sequence[str] = ()

    @property
    def numbered(self) -> list[str]:
        """The columns of runs of which some run has a number, then the metrics."""
        known = [name for name in self.columns if any(run.number(name) is not None for run in self.runs)]
        return [*known, *self.metrics]


@dataclass(frozen=True, slots=True)
class RunHistories:
    """The histories of the runs, of which nothing but the names of their columns is read.

    Attributes:
        frames: A frame per run.
        names: The columns of all of them.
        opening: How they are opened, in another process too.
    """

    frames: Sequence[History]
    names: AbstractSet[str]
    opening: HistoryOpening = field(default_factory=HistoryOpening)

    @classmethod
    def open(cls, subjects: Sequence[Subject], texts: Iterable[str | None] = ()) -> RunHistories:
        """Read the names of the columns.

        Args:
            subjects: The runs.
            texts: The expressions of the question, which may look for system metrics.

        Raises:
            DamageError: A history is damaged.
        """
        runs = [subject.run for subject in subjects]
        opening = HistoryOpening(joined=mentions_system(texts))
        frames = opening.open(runs)
        return cls(frames, names_of(frames).keys(), opening)

    def samples(self) -> RunHistories:
        """Return the samples of system metrics instead of the histories that these are joined to."""
        return RunHistories(samples(self.frames), self.names, replace(self.opening, sampled=True))

    def with_columns(self, names: Iterable[str]) -> RunHistories:
        """Return the same histories with names of columns that will be computed."""
        return replace(self, names=dict.fromkeys((*self.names, *names)).keys())

    def column(self, name: str, *, option: str) -> str:
        """Return the column that a name means; the name itself where there is none.

        Args:
            name: A column, with or without the backslashes before the dots of its keys, or in backticks.
            option: The flag that named it, for messages.

        Raises:
            UsageError: It is nested keys as well as a key with a dot.
        """
        if name in self.names and "." not in name:
            return name
        exact = name[1:-1] if name.startswith("`") and name.endswith("`") else name
        found = PlainNames(self.names).meant_by(exact)
        if len(found) > 1 and not (found[0] == exact != name):
            from pull_logs.analyze.expressions import several_spellings

            raise UsageError(
                f"{option}: {several_spellings(name, found, what='metric')}",
                hint="write one of them, with its backticks and in single quotes",
            )
        return found[0] if found else name


def compare_readings(
    names: Iterable[str], runs: Sequence[RunReading], *, on_request: bool = False
) -> list[MetricComparison]:
    """Return metrics of all runs where they were read, and over their complete histories.

    Args:
        names: The metrics.
        runs: The runs.
        on_request: Let values be made when they are used.
    """
    indexed = [run.metrics for run in runs if isinstance(run.metrics, IndexedRun)]
    tables = {metrics.table: None for metrics in indexed}
    table = next(iter(tables)) if len(tables) == 1 and len(indexed) == len(runs) else None
    labels, positions = (
        [run.label for run in runs],
        np.array([metrics.position for metrics in indexed], np.int64),
    )
    found: list[MetricComparison] = []
    for name in names:
        if table is None or name not in table.names:
            found.append(_compared(name, _read_values(name, runs)))
            continue
        made = partial(MetricValues, table.metric(name), labels=labels, positions=positions)
        found.append(_compared(name, made if on_request else partial(_plain, made)))
    return found


def _compared(name: str, values: Callable[[Field], Mapping[str, Any]]) -> MetricComparison:
    return {
        "name": name,
        "value": values("value"),
        "x": values("x"),
        "min": values("min"),
        "min_step": values("min_step"),
        "max": values("max"),
        "max_step": values("max_step"),
    }


def _read_values(name: str, runs: Sequence[RunReading]) -> Callable[[Field], Mapping[str, Any]]:
    """Return how to take a value of a metric from the readings of runs."""
    readings = {run.label: run.metrics[name] for run in runs if name in run.metrics}
    return lambda field: {
        label: spell(value)
        for label, reading in readings.items()
        if (value := getattr(reading, field)) is not None
    }


def _plain(made: Callable[[Field], RunValues], field: Field) -> Mapping[str, Any]:
    return made(field).plain


def read_runs(
    subjects: Sequence[Subject], plan: ReadingPlan, histories: RunHistories, engine: Engine = SERIAL
) -> RunReadings:
    """Read every run.

    Args:
        subjects: The runs.
        plan: What to read of them.
        histories: Their histories.
        engine: Where histories are read.

    Raises:
        MetricNotFoundError: A metric that was named is in no run, or `select` matches none.
        ExpressionError: An assertion does not parse, resolve or fit its columns.
        DamageError: A history is damaged.
    """
    frames, known = histories.frames, histories.names
    is_wanted = _wanted(plan, system_names(frames))
    wanted = frozenset(name for name in known if name in plan.columns.metrics or is_wanted(name))
    assertions = settle_assertions(plan.asserts, subjects, known, computed=plan.computed)
    shown, notes = _checkpoint_metrics(subjects, frames, plan, filter(is_wanted, known))
    reader = RunReader(plan, wanted, shown, assertions, histories.opening)
    indexed = reader.indexed(subjects, frames)
    if engine.is_serial or (indexed is not None and not reader.reads_rows):
        order = bundle_order(one.run.bundle_id for one in subjects)
        found = put_back(order, reader.read(subjects, frames, indexed, order))
    else:
        found = map_runs(reader, subjects, engine)
    runs, checked = [], []
    for position, (subject, frame, kept) in enumerate(zip(subjects, frames, found, strict=True)):
        runs.append(
            RunReading(
                subject=subject,
                metrics=kept.metrics if indexed is None else reader.metrics_at(indexed, position, frame),
                checkpoints=kept.checkpoints,
                has_axis=kept.has_axis,
                columns=kept.columns,
            )
        )
        checked += [] if kept.checked is None else [kept.checked]
    had = [name for run in runs for name in run.metrics] if indexed is None else indexed.names
    names = set(filter(is_wanted, had))
    _check_names(plan, names, known, has_axis=any(run.has_axis for run in runs))
    first = plan.goal.metric if plan.goal else None
    return RunReadings(
        runs=runs,
        metrics=sorted(names, key=lambda name: (name != first, name)),
        assertions=AssertionAnswer(assertions, checked),
        checkpoint_notes=notes,
        columns=plan.described,
    )


def _wanted(plan: ReadingPlan, hidden: AbstractSet[str]) -> Callable[[str], bool]:
    """Return which columns are metrics to compare: the one that ranks, else all that are not hidden."""
    pattern = None if plan.select is None else compile_pattern(plan.select)
    if plan.names:
        return plan.names.__contains__
    named = {*plan.computed, *([plan.goal.metric] if plan.goal else [])}
    all_metrics = not plan.narrowed and plan.goal is None

    def is_wanted(name: str) -> bool:
        if name == STEP:
            return False
        if pattern is not None:
            return name in named or bool(pattern.search(name))
        return name in named or (all_metrics and name not in hidden and not is_internal(name))

    return is_wanted


def _checkpoint_metrics(
    subjects: Sequence[Subject], frames: Sequence[History], plan: ReadingPlan, selected: Iterable[str]
) -> tuple[frozenset[str], Sequence[str]]:
    """Return the metrics that checkpoints show, and notes on those that they do not show."""
    having = [frame for subject, frame in zip(subjects, frames, strict=True) if subject.checkpoints]
    if not having:
        return frozenset(), ()
    if plan.select is not None:
        return frozenset(selected), ()
    from pull_logs.analyze.answers.checkpoints import shown_metrics

    return shown_metrics(having, best=plan.goal)


def _check_names(
    plan: ReadingPlan, metrics: Collection[str], known: Collection[str], *, has_axis: bool
) -> None:
    """Refuse names that no run has numbers of."""
    if plan.goal is not None and not plan.ranks_runs and plan.goal.metric not in metrics:
        raise no_metric(plan.option, plan.goal.metric, (*plan.columns.expressions, *known))
    if not has_axis and plan.alignment.axis not in (STEP, DEFINED):
        raise no_metric("--x", plan.alignment.axis, known)
    if plan.select is not None and not any(map(compile_pattern(plan.select).search, metrics)):
        raise no_metric("--select", plan.select, known)


def note_on_states(runs: Iterable[RunReading]) -> str | None:
    """Return the note that runs count which did not finish."""
    others = Counter(run.subject.run.state for run in runs if run.subject.run.state != "finished")
    if not others:
        return None
    counts = ", ".join(f"{count} {state}" for state, count in sorted(others.items()))
    return (
        f"runs that did not finish count as well: {counts}; --filter 'state == \"finished\"' leaves them out"
    )


def no_metric(option: str, name: str, known: Iterable[str]) -> MetricNotFoundError:
    """Return the error about a metric that no run has numbers of."""
    metrics = [other for other in known if other != STEP]
    if "," in name and option != "--select":
        parts = [part.strip().rpartition(":")[0] or part.strip() for part in name.split(",")]
        if all(part in metrics for part in parts):
            return MetricNotFoundError(
                f"{option} {name!r}: {option} takes one metric, not a list",
                hint=f"write: {option} {parts[0]}; --select shows several",
            )
    if name in metrics and option != "--select":
        return MetricNotFoundError(
            f"{option} {name!r}: no run has numbers of it in these rows",
            hint="its values are of another kind, or --where keeps none of its rows",
        )
    hint = did_you_mean(name, metrics, otherwise="the runs have no metrics", cutoff=0)
    return MetricNotFoundError(f"{option} {name!r}: no run has numbers of such a metric", hint=hint)
