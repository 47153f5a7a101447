"""The first look at runs: how many there are, how they ended, what they logged, what is wrong with them.

An overview stays on one screen whether it is of one run or of a thousand: it tells of the runs
together, and names single ones only where something is wrong with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pull_logs._version import FORMAT
from pull_logs.analyze.answers.histories import settle_assertions
from pull_logs.analyze.frames import Column, Frame, flatten, open_frames
from pull_logs.analyze.questions import Selection, Slice, Subject, is_internal
from pull_logs.analyze.statistics import FLAGS, Finding, column_type, find_flags
from pull_logs.rows.canonical import canon_number, canon_record, canonical_text, spell

_VALUES_SHOWN = 8
_TIMESTAMP = "_timestamp"

STATE_FIELDS = ("state", "runs", "rows", "last_step_min", "last_step_max")
METRIC_FIELDS = (
    "name", "type", "runs", "count", "nonfinite", "first_step", "last_step", "last_min", "last_median", "last_max",
)  # fmt: skip


@dataclass(slots=True)
class _Metric:
    """A metric over all runs so far."""

    types: set[str] = field(default_factory=set)
    runs: int = 0
    count: int = 0
    nonfinite: int = 0
    first_step: int | None = None
    last_step: int | None = None
    lasts: list[float] = field(default_factory=list)

    def add(self, column: Column, steps: np.ndarray) -> None:
        present = np.flatnonzero(column.vector.present)
        if not len(present):
            return
        self.runs += 1
        self.types.add(column_type(column))
        self.count += len(present)
        values, numeric = column.numbers()
        found = np.flatnonzero(numeric & np.isfinite(values))
        self.nonfinite += int(numeric.sum()) - len(found)
        first, last = int(steps[present[0]]), int(steps[present[-1]])
        self.first_step = first if self.first_step is None else min(self.first_step, first)
        self.last_step = last if self.last_step is None else max(self.last_step, last)
        if len(found):
            self.lasts.append(float(values[found[-1]]))

    def told(self, name: str) -> dict[str, Any]:
        types = sorted(self.types)
        lasts = (
            (min(self.lasts), float(np.median(self.lasts)), max(self.lasts)) if self.lasts else (None,) * 3
        )
        cells = [None if value is None else canon_number(value) for value in lasts]
        facts = (
            "number" if types == ["int", "number"] else "|".join(types) or "empty",
            self.runs,
            self.count,
        )
        rest = (self.nonfinite, self.first_step, self.last_step)
        return dict(zip(METRIC_FIELDS, (name, *facts, *rest, *cells), strict=True))


def overview(
    subjects: Sequence[Subject], *, select: str | None = None, asserts: Sequence[str] = ()
) -> dict[str, Any]:
    """A first look at runs.

    Args:
        subjects: The runs.
        select: A regular expression that is searched for in the names of the metrics.
        asserts: What must hold of the runs and all of their rows (see `assertions`).

    Returns:
        `format` and `command`; `totals` (`runs`, `rows`, `complete`, `healthy` and `projects`); `states`, each
        with its runs, rows and the least and greatest last step; `config`, the keys that differ with how many
        values they have and the most frequent, and `config_same`, how many do not; `metrics`, each with what it
        is in all runs together and the range of its last finite values; `health`, each flag with the runs that
        have it and, of each, where it begins; `notes`; and
        with `asserts`, `assertions` (see `assertions.Assertions`).

    Raises:
        UsageError: `select` is no regular expression.
        ExpressionError: An assertion does not parse, resolve or fit its columns.
        MetricNotFoundError: `select` matches nothing.
        DamageError: A history is damaged.
    """
    frames = open_frames([subject.run for subject in subjects])
    names = dict.fromkeys(name for frame in frames for name in frame.names)
    selection = Selection.settle(names, select=select, where=None, evals=())
    metrics = {
        name: _Metric()
        for name in sorted(names)
        if name != "_step" and (select is not None or not is_internal(name))
    }
    assertions = settle_assertions(asserts, subjects, names)
    findings: list[tuple[Subject, Finding]] = []
    healthy = 0
    for subject, frame in zip(subjects, frames, strict=True):
        found = _read(subject, frame, selection, metrics)
        healthy += not found
        findings += [(subject, finding) for finding in found]
        if assertions is not None:
            assertions.ask(subject, frame, Slice.whole(frame))
        frame.forget()
    config, same = _differing([canon_record(subject.run.info.config) for subject in subjects])
    return {
        "format": FORMAT,
        "command": "overview",
        "totals": _totals(subjects, healthy=healthy),
        "states": _states(subjects),
        "config": config,
        "config_same": same,
        "metrics": [metric.told(name) for name, metric in metrics.items() if metric.runs],
        "health": _health(findings),
        "notes": [
            f"{subject.label} {subject.run.info.path} is incomplete: {subject.run.coverage.reason}"
            for subject in subjects
            if not subject.run.complete
        ]
        + list(assertions.notes if assertions else ()),
        **({"assertions": assertions.results()} if assertions else {}),
    }


def _read(
    subject: Subject, frame: Frame, selection: Selection, metrics: Mapping[str, _Metric]
) -> Sequence[Finding]:
    """Read one run, add what it logged to the metrics, and give what is wrong with it."""
    columns = selection.columns_of(frame, internal=False)
    frame.load([*columns, _TIMESTAMP])
    read = {name: frame.column(name) for name in columns if name in metrics}
    for name, column in read.items():
        metrics[name].add(column, frame.steps)
    stamps = frame.column(_TIMESTAMP) if _TIMESTAMP in frame else None
    return find_flags(subject.run.info, read, frame.steps, stamps)


def _totals(subjects: Sequence[Subject], *, healthy: int) -> dict[str, Any]:
    return {
        "runs": len(subjects),
        "rows": sum(subject.run.rows for subject in subjects),
        "complete": sum(subject.run.complete for subject in subjects),
        "healthy": healthy,
        "projects": sorted({subject.run.info.path.project_path for subject in subjects}),
    }


def _states(subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    counted = Counter(subject.run.info.state for subject in subjects)
    told = []
    for state, runs in counted.most_common():
        members = [subject.run for subject in subjects if subject.run.info.state == state]
        lasts = [run.last_step for run in members if run.last_step is not None]
        cells = (
            state,
            runs,
            sum(run.rows for run in members),
            min(lasts, default=None),
            max(lasts, default=None),
        )
        told.append(dict(zip(STATE_FIELDS, cells, strict=True)))
    return told


def _differing(configs: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The config keys that are not the same in all runs, and how many are."""
    flat = [flatten(config) for config in configs]
    found, same = [], 0
    for key in sorted({key for config in flat for key in config}):
        values = Counter(canonical_text(config[key]) for config in flat if key in config)
        having = sum(values.values())
        if len(values) == 1 and having == len(flat):
            same += 1
            continue
        by_text = {canonical_text(config[key]): config[key] for config in flat if key in config}
        shown = [
            {"value": spell(by_text[text]), "runs": count}
            for text, count in values.most_common(_VALUES_SHOWN)
        ]
        found.append({"key": key, "values": len(values), "missing": len(flat) - having, "shown": shown})
    return found, same


def _health(findings: Iterable[tuple[Subject, Finding]]) -> list[dict[str, Any]]:
    told: dict[str, list[dict[str, Any]]] = {flag: [] for flag in FLAGS}
    for subject, finding in findings:
        told[finding.flag].append(
            {
                "run": subject.label,
                "path": str(subject.run.info.path),
                "metric": finding.metric,
                "step": finding.step,
                "message": finding.message,
                "metrics": finding.metrics,
            }
        )
    return [{"flag": flag, "runs": len(found), "found": found} for flag, found in told.items()]
