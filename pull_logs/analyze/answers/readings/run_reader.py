"""Reads runs one after the other for `compare`: their metrics, checkpoints, columns and assertions.

What is kept of a run are these values; its columns are dropped before the next run is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pull_logs.analyze.answers.indexed import IndexedMetrics, IndexedRun
from pull_logs.analyze.answers.readings.best_readings import BestReadings
from pull_logs.analyze.answers.readings.reading_plan import ReadingPlan
from pull_logs.analyze.questions import (
    DEFINED,
    Assertions,
    Checked,
    HistoryOpening,
    Reading,
    SelectedRows,
    Subject,
)
from pull_logs.analyze.results import CheckpointResult
from pull_logs.analyze.statistics import RunDefinitions
from pull_logs.frames import History, is_long
from pull_logs.rows.canonical import STEP

_NOTHING: Mapping[str, Any] = {}
"""What is kept of each of very many runs of which nothing has to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptReading:
    """What is kept of a run; the attributes are those of `RunReading`.

    Attributes:
        metrics: Empty where the index of all runs has them.
        checked: What broke each assertion; None if none had to be checked.
    """

    metrics: Mapping[str, Reading] = field(default_factory=lambda: _NOTHING)
    checkpoints: Sequence[CheckpointResult] = ()
    has_axis: bool = True
    columns: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    checked: Checked | None = None


@dataclass(frozen=True, slots=True)
class RunReader:
    """Reads runs, here or in a worker.

    Attributes:
        plan: What to read of them.
        wanted: The metrics to read.
        checkpoint_metrics: The metrics that checkpoints show.
        assertions: The assertions, if there are any.
        opening: How histories are opened.
    """

    plan: ReadingPlan
    wanted: frozenset[str]
    checkpoint_metrics: frozenset[str]
    assertions: Assertions | None
    opening: HistoryOpening

    @property
    def reads_rows(self) -> bool:
        """Whether more is asked than indexes have."""
        columns = self.plan.columns.expressions.values()
        asserted = self.assertions is not None and self.assertions.need_rows
        return asserted or any(column.reductions for column in columns)

    def read_runs(self, subjects: Sequence[Subject]) -> Sequence[KeptReading]:
        """Open the histories of runs and read them: what a worker does."""
        frames = self.opening.open([subject.run for subject in subjects])
        return list(self.read(subjects, frames, self.indexed(subjects, frames)))

    def indexed(self, subjects: Sequence[Subject], frames: Sequence[History]) -> IndexedMetrics | None:
        """Return the metrics of all runs from their indexes; None if histories have to be read."""
        plan = self.plan
        at_end = plan.alignment.at_last_step or plan.alignment.at_best_step
        if not at_end or plan.query is not None or any(subject.checkpoints for subject in subjects):
            return None
        asserted = self.assertions.names if self.assertions is not None else frozenset()
        return IndexedMetrics.read(frames, self.wanted | asserted)

    def metrics_at(self, indexed: IndexedMetrics, position: int, frame: History) -> Mapping[str, Reading]:
        """Return the metrics of a run from the index."""
        found = IndexedRun(indexed, position, frame.names)
        alignment = self.plan.alignment
        return found if alignment.at_last_step else BestReadings(frame, alignment, found)

    def read(
        self,
        subjects: Sequence[Subject],
        frames: Sequence[History],
        indexed: IndexedMetrics | None,
        order: Iterable[int] | None = None,
    ) -> Iterator[KeptReading]:
        """Read runs one after the other, and drop the columns of each before the next.

        Args:
            subjects: The runs.
            frames: Their histories.
            indexed: Their metrics, if indexes have them.
            order: The positions of the runs as they are read; one after the other if None.
        """
        held = None
        if indexed is not None and self.assertions is not None:
            held = self.assertions.holding(indexed.last_cells, len(frames))
        for position in range(len(subjects)) if order is None else order:
            subject, frame = subjects[position], frames[position]
            sure = () if held is None else [bool(mask[position]) for mask in held]
            metrics = None if indexed is None else self.metrics_at(indexed, position, frame)
            with subject.named_in_errors():
                found = self._read_run(subject, frame, metrics, sure)
            yield found
            frame.forget()

    def _read_run(
        self, subject: Subject, frame: History, metrics: Mapping[str, Reading] | None, sure: Sequence[bool]
    ) -> KeptReading:
        plan = self.plan
        kept = None if plan.query is None else plan.query.apply(frame, columns=False)
        found, known = KeptReading(), metrics
        if metrics is None:
            history = frame if kept is None else SelectedRows(frame, kept)
            found = self._read_rows(subject, history)
            known = found.metrics
        unsure = None if sure and all(sure) else self.assertions
        if unsure is not None:
            unsure.load(frame, complete=kept is None)
        if plan.columns.expressions and known is not None:
            readings = {name: known[name].value for name in plan.columns.metrics if name in known}
            found = replace(found, columns=plan.columns.read(subject.run, frame, kept, readings=readings))
        if unsure is not None:
            found = replace(found, checked=unsure.check(subject, frame, kept, held=sure))
        return found

    def _read_rows(self, subject: Subject, frame: History) -> KeptReading:
        """Read the metrics and the checkpoints of a run from its history."""
        from pull_logs.analyze.answers.checkpoints import checkpoint_steps, read_checkpoints

        alignment = self.plan.alignment
        metrics = [name for name in frame.names if name in self.wanted]
        axes = RunDefinitions.read(subject.run.config_internal).step_metrics(frame.names)
        extra = alignment.extra_columns(axes)
        # The columns of a long history are read one after the other.
        frame.load(dict.fromkeys([*(() if is_long(frame) else metrics), *extra]))
        checkpoint_step = checkpoint_steps(frame, subject)[-1]
        checkpoints: Sequence[CheckpointResult] = ()
        if subject.checkpoints:
            columns = {name: frame.column(name) for name in frame.names if name in self.checkpoint_metrics}
            checkpoints = read_checkpoints(subject, frame, columns, frame.steps)
        axis = alignment.axis
        found: dict[str, Reading] = {}
        for names in [[name] for name in metrics] if is_long(frame) else [metrics]:
            found |= alignment.read(frame, names, axes=axes, checkpoint_step=checkpoint_step)
            if is_long(frame):
                frame.forget_columns({*names}.difference(extra))
        return KeptReading(
            metrics=found,
            checkpoints=checkpoints,
            has_axis=axis in (STEP, DEFINED)
            or (axis in frame and bool(frame.column(axis).numbers()[1].any())),
        )
