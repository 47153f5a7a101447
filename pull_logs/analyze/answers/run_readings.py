"""The one pass over the histories that `compare` makes.

All names are settled first, over the columns of all runs. Then each run is read once: its metrics at one
position, its checkpoints, and whether the assertions hold. What is kept of a run are these values; its
columns are dropped before the next run is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pull_logs.analyze.answers.checkpoints import checkpoint_steps, read_checkpoints, shown_metrics
from pull_logs.analyze.answers.histories import settle_assertions
from pull_logs.analyze.answers.indexed import Field, IndexedMetrics, IndexedRun, RunValues
from pull_logs.analyze.expressions import several_spellings
from pull_logs.analyze.questions import (
    DEFINED,
    Alignment,
    HistoryQuery,
    Reading,
    RunColumns,
    SelectedRows,
    Subject,
    compile_pattern,
    is_internal,
    joined_frames,
    samples,
    system_names,
)
from pull_logs.analyze.results import CheckpointResult, MetricComparison
from pull_logs.analyze.statistics import Goal, RunDefinitions
from pull_logs.errors import MetricNotFoundError, UsageError
from pull_logs.frames import History, PlainNames, cell_number, is_long, open_frames
from pull_logs.rows.canonical import STEP, spell
from pull_logs.runs import RunPath
from pull_logs.suggestions import did_you_mean

if TYPE_CHECKING:
    from pull_logs.analyze.questions import Assertions


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingPlan:
    """What to read of the runs.

    Attributes:
        alignment: The position at which to read the metrics.
        select: A regular expression that is searched for in the names of the metrics.
        goal: The metric that ranks the runs, in the spelling of the histories.
        option: The flag that named this metric, for messages.
        asserts: What must hold of every run and of all its rows.
        query: The rows that count, and the columns that are computed; None for the histories as they are.
        columns: The columns of runs.
        names: The only metrics to read, if there are any; instead of `select`.
        described: The names of those that are described as metrics are, and of the one that ranks the runs.
        narrowed: Whether only metrics that are named are shown.
    """

    alignment: Alignment
    select: str | None = None
    goal: Goal | None = None
    option: str = "--best"
    asserts: Sequence[str] = ()
    query: HistoryQuery | None = None
    columns: RunColumns = field(default_factory=lambda: RunColumns({}))
    names: Collection[str] = ()
    described: Sequence[str] = ()
    narrowed: bool = False

    @property
    def computed(self) -> tuple[str, ...]:
        """The names of the columns that are computed in every row."""
        return () if self.query is None else tuple(name for name, _ in self.query.evals)

    @property
    def ranks_runs(self) -> bool:
        """Whether a column of runs ranks them, and no metric."""
        return self.goal is not None and self.goal.metric in self.columns.expressions


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
        assertions: The assertions, checked against all runs; None if there are none.
        checkpoint_notes: Notes on which metrics the checkpoints show.
        columns: The columns of runs that are described as metrics are.
    """

    runs: Sequence[RunReading]
    metrics: Sequence[str]
    assertions: Assertions | None
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
    """

    frames: Sequence[History]
    names: AbstractSet[str]

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
        frames = joined_frames(runs, open_frames(runs), texts)
        return cls(frames, dict.fromkeys(name for frame in frames for name in frame.names).keys())

    def samples(self) -> RunHistories:
        """Return the samples of system metrics instead of the histories that these are joined to."""
        return RunHistories(samples(self.frames), self.names)

    def with_columns(self, names: Iterable[str]) -> RunHistories:
        """Return the same histories with names of columns that will be computed."""
        return RunHistories(self.frames, dict.fromkeys((*self.names, *names)).keys())

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
            raise UsageError(
                f"{option}: {several_spellings(name, found, what='metric')}",
                hint="write one of them, with its backticks and in single quotes",
            )
        return found[0] if found else name


def compare_metric(name: str, runs: Sequence[RunReading], *, on_request: bool = False) -> MetricComparison:
    """Return a metric of all runs where they were read, and over their complete histories.

    Args:
        name: The metric.
        runs: The runs.
        on_request: Let values be made when they are used.
    """
    take = _indexed_values(name, runs)
    if take is None:
        values = _read_values(name, runs)
    else:
        indexed = take
        values = indexed if on_request else lambda field: indexed(field).plain
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


def _indexed_values(name: str, runs: Sequence[RunReading]) -> Callable[[Field], RunValues] | None:
    """Return how to take a value of a metric from the index of runs; None if they were read one by one."""
    tables = {run.metrics.table: None for run in runs if isinstance(run.metrics, IndexedRun)}
    found = [(run.label, run.metrics.position) for run in runs if isinstance(run.metrics, IndexedRun)]
    if len(tables) != 1 or len(found) < len(runs):
        return None
    (table,) = tables
    if name not in table.names:
        return None
    return partial(RunValues.of, table.metric(name), found)


def read_runs(subjects: Sequence[Subject], plan: ReadingPlan, histories: RunHistories) -> RunReadings:
    """Read every run, one after the other.

    Args:
        subjects: The runs.
        plan: What to read of them.
        histories: Their histories.

    Raises:
        MetricNotFoundError: A metric that was named is in no run, or `select` matches none.
        ExpressionError: An assertion does not parse, resolve or fit its columns.
        DamageError: A history is damaged.
    """
    frames, known = histories.frames, histories.names
    is_wanted = _wanted(plan, system_names(frames))
    read = plan.columns.metrics
    wanted = frozenset(name for name in known if name in read or is_wanted(name))
    assertions = settle_assertions(plan.asserts, subjects, known, computed=plan.computed)
    asserted = assertions.names if assertions is not None else frozenset()
    shown, notes = _checkpoint_metrics(subjects, frames, plan, filter(is_wanted, known))
    indexed = _indexed(subjects, plan, frames, wanted | asserted)
    held = (
        None if indexed is None or assertions is None else assertions.holding(indexed.last_cells, len(frames))
    )
    runs = []
    for position, (subject, frame) in enumerate(zip(subjects, frames, strict=True)):
        kept = None if plan.query is None else plan.query.apply(frame, columns=False)
        history = frame if kept is None else SelectedRows(frame, kept)
        found = (
            _read_run(
                subject,
                history,
                alignment=plan.alignment,
                metrics=[name for name in history.names if name in wanted],
                checkpoint_metrics=shown,
            )
            if indexed is None
            else _indexed_run(subject, frame, plan.alignment, IndexedRun(indexed, position, frame.names))
        )
        sure = () if held is None else [bool(mask[position]) for mask in held]
        unsure = assertions if not (sure and all(sure)) else None
        if unsure is not None:
            unsure.load(frame, complete=kept is None)
        if plan.columns.expressions:
            readings = {name: found.metrics[name].value for name in read if name in found.metrics}
            found = replace(found, columns=plan.columns.read(subject.run, frame, kept, readings=readings))
        if unsure is not None:
            unsure.check(subject, frame, kept, held=sure)
        runs.append(found)
        frame.forget()
    had = [name for run in runs for name in run.metrics] if indexed is None else indexed.names
    names = set(filter(is_wanted, had))
    _check_names(plan, names, known, has_axis=any(run.has_axis for run in runs))
    first = plan.goal.metric if plan.goal else None
    return RunReadings(
        runs=runs,
        metrics=sorted(names, key=lambda name: (name != first, name)),
        assertions=assertions,
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
    return shown_metrics(having, best=plan.goal)


def _indexed(
    subjects: Sequence[Subject], plan: ReadingPlan, frames: Sequence[History], wanted: frozenset[str]
) -> IndexedMetrics | None:
    """Return the metrics of all runs from their indexes; None if histories have to be read."""
    at_end = plan.alignment.at_last_step or plan.alignment.at_best_step
    if not at_end or plan.query is not None or any(subject.checkpoints for subject in subjects):
        return None
    return IndexedMetrics.read(frames, wanted)


def _indexed_run(subject: Subject, frame: History, alignment: Alignment, metrics: IndexedRun) -> RunReading:
    return RunReading(
        subject=subject,
        metrics=metrics if alignment.at_last_step else _BestReadings(frame, alignment, metrics),
        checkpoints=(),
        has_axis=True,
    )


def _read_run(
    subject: Subject,
    frame: History,
    *,
    alignment: Alignment,
    metrics: Sequence[str],
    checkpoint_metrics: Collection[str],
) -> RunReading:
    axes = RunDefinitions.read(subject.run.config_internal).step_metrics(frame.names)
    extra = alignment.extra_columns(axes)
    # The columns of a long history are read one after the other.
    frame.load(dict.fromkeys([*(() if is_long(frame) else metrics), *extra]))
    checkpoint_step = checkpoint_steps(frame, subject)[-1]
    checkpoints: Sequence[CheckpointResult] = ()
    if subject.checkpoints:
        columns = {name: frame.column(name) for name in frame.names if name in checkpoint_metrics}
        checkpoints = read_checkpoints(subject, frame, columns, frame.steps)
    axis = alignment.axis
    readings: dict[str, Reading] = {}
    for names in [[name] for name in metrics] if is_long(frame) else [metrics]:
        readings |= alignment.read(frame, names, axes=axes, checkpoint_step=checkpoint_step)
        if is_long(frame):
            frame.forget_columns({*names}.difference(extra))
    return RunReading(
        subject=subject,
        metrics=readings,
        checkpoints=checkpoints,
        has_axis=axis in (STEP, DEFINED) or (axis in frame and bool(frame.column(axis).numbers()[1].any())),
    )


class _BestReadings(Mapping[str, Reading]):
    """The metrics of a run at the step at which one of them was best.

    That one is known from the index, so that the history is opened for runs that are shown only.
    """

    __slots__ = ("_alignment", "_frame", "_indexed", "_read")

    def __init__(self, frame: History, alignment: Alignment, indexed: Mapping[str, Reading]) -> None:
        self._frame, self._alignment, self._indexed = frame, alignment, indexed
        self._read: Mapping[str, Reading] | None = None

    def __getitem__(self, name: str) -> Reading:
        goal = self._alignment.best
        if goal is not None and name == goal.metric:
            found = self._indexed[name]
            if goal.direction == "min":
                return found._replace(value=found.min, x=found.min_step)
            return found._replace(value=found.max, x=found.max_step)
        if self._read is None:
            self._frame.load([*self._indexed, *self._alignment.extra_columns({})])
            self._read = self._alignment.read(self._frame, list(self._indexed), axes={}, checkpoint_step=None)
            self._frame.forget()
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._indexed

    def __iter__(self) -> Iterator[str]:
        return iter(self._indexed)

    def __len__(self) -> int:
        return len(self._indexed)


def _check_names(
    plan: ReadingPlan, metrics: Collection[str], known: Collection[str], *, has_axis: bool
) -> None:
    """Refuse names that no run has numbers of."""
    if plan.goal is not None and not plan.ranks_runs and plan.goal.metric not in metrics:
        raise no_metric(plan.option, plan.goal.metric, (*plan.columns.expressions, *known))
    if not has_axis and plan.alignment.axis not in (STEP, DEFINED):
        raise no_metric("--x", plan.alignment.axis, known)
    searched = (name for name in metrics if name not in plan.computed)
    if plan.select is not None and not any(map(compile_pattern(plan.select).search, searched)):
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
