"""The overview of runs: how many there are, how they ended, what they logged, and what is wrong with them.

An overview fits on one screen for one run and for a thousand: it summarizes the runs together, and names a
single run only where something is wrong with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from pull_logs._version import FORMAT
from pull_logs.analyze.answers.histories import settle_assertions
from pull_logs.analyze.answers.indexed import judged_metrics
from pull_logs.analyze.answers.mapping import map_runs, read_here
from pull_logs.analyze.answers.readings import Identity
from pull_logs.analyze.answers.view import incomplete_notes
from pull_logs.analyze.health import (
    DEFINITIONS,
    FLAGS,
    HealthFinding,
    RunColumns,
    find_all_flags,
)
from pull_logs.analyze.questions import (
    AssertionAnswer,
    Assertions,
    Checked,
    HistoryQuery,
    Subject,
    is_internal,
)
from pull_logs.analyze.results import (
    AssertionSections,
    ConfigValues,
    FlaggedRun,
    HealthResult,
    MetricTotals,
    OverviewResult,
    StateResult,
    TotalsResult,
)
from pull_logs.analyze.statistics import MetricTotalsBuilder
from pull_logs.executors import SERIAL, Engine
from pull_logs.frames import (
    Frame,
    MetricIndex,
    RunLike,
    bundle_order,
    by_bundle,
    describe_cells,
    flatten,
    names_of,
    open_frames,
)
from pull_logs.rows.canonical import canon_record, canonical_text, spell

_VALUES_SHOWN = 8
_CELLS_TOGETHER = 2**18
"""As soon as runs have so many values, they are judged together: two megabytes."""
_TIMESTAMP = "_timestamp"
_KEPT_TYPES = frozenset({int, float, str, bool})


class _Configs:
    """The values of the configs so far, so that one config at a time is in memory."""

    def __init__(self) -> None:
        self._runs = 0
        self._counts: dict[str, Counter[str]] = {}
        self._values: dict[str, dict[str, Any]] = {}
        self._texts: dict[tuple[type, Any], str] = {}

    def add(self, config: Mapping[str, Any]) -> None:
        """Add the config of one more run."""
        self._runs += 1
        for key, value in flatten(canon_record(config)).items():
            text = self._text(value)
            counts = self._counts.get(key)
            if counts is None:
                counts, self._values[key] = self._counts.setdefault(key, Counter()), {}
            counts[text] += 1
            self._values[key][text] = value

    def _text(self, value: Any) -> str:
        """Return the canonical text of a value; that of a number or a text is made once."""
        kind = type(value)
        if kind not in _KEPT_TYPES:
            return canonical_text(value)
        text = self._texts.get((kind, value))
        if text is None:
            text = self._texts[kind, value] = canonical_text(value)
        return text

    def differing(self) -> tuple[list[ConfigValues], int]:
        """Return the keys that are not the same in all runs, and how many keys are."""
        found: list[ConfigValues] = []
        for key, counts in sorted(self._counts.items()):
            having = sum(counts.values())
            if len(counts) == 1 and having == self._runs:
                continue
            shown = counts.most_common(_VALUES_SHOWN)
            found.append(
                {
                    "key": key,
                    "values": len(counts),
                    "missing": self._runs - having,
                    "shown": [
                        {"value": spell(self._values[key][text]), "runs": count} for text, count in shown
                    ],
                }
            )
        return found, len(self._counts) - len(found)


@dataclass(frozen=True, slots=True)
class _Histories:
    """What the configs and histories of all runs contain.

    Attributes:
        configs: The values of the configs.
        metrics: The metrics over all runs.
        findings: What is wrong with the runs.
        healthy: How many runs nothing is wrong with.
        assertions: The assertions, if there are any.
        notes: How the assertions were read.
    """

    configs: _Configs
    metrics: Sequence[MetricTotals]
    findings: Sequence[tuple[Subject, HealthFinding]]
    healthy: int
    assertions: AssertionSections
    notes: Sequence[str]


_Read: TypeAlias = tuple[int, RunColumns]
"""The position of a run, and what it is judged by."""


class Known(Protocol):
    """Remembers the findings of runs from one look to the next."""

    def find_all(self, identities: Iterable[Identity]) -> Sequence[tuple[HealthFinding, ...] | None]:
        """Return the findings of the runs with these identities; None where they are not known."""

    def keep(self, identity: Identity, found: Sequence[HealthFinding]) -> None:
        """Remember the findings of the run with this identity."""


def overview(
    subjects: Sequence[Subject],
    *,
    select: str | None = None,
    asserts: Sequence[str] = (),
    known: Known | None = None,
    engine: Engine = SERIAL,
) -> OverviewResult:
    """Return an overview of runs.

    Args:
        subjects: The runs.
        select: A regular expression that is searched for in the names of the metrics.
        asserts: What must hold of the runs and all of their rows (see `assertions`).
        known: Remembers findings, so that a history is not read again for them.
        engine: Where assertions are checked; the answer does not depend on it.

    Returns:
        The object that `data/schemas/overview.json` describes.

    Raises:
        UsageError: `select` is not a valid regular expression.
        ExpressionError: An assertion does not parse, resolve or fit its columns.
        MetricNotFoundError: `select` matches nothing.
        DamageError: A history is damaged.
    """
    histories = _read_histories(subjects, select=select, asserts=asserts, known=known, engine=engine)
    config, same = histories.configs.differing()
    incomplete = incomplete_notes(subjects)
    return {
        "format": FORMAT,
        "command": "overview",
        "totals": _totals(subjects, healthy=histories.healthy),
        "states": _states(subjects),
        "config": config,
        "config_same": same,
        "metrics": list(histories.metrics),
        "health": _health(histories.findings),
        "notes": [*incomplete, *histories.notes],
        **histories.assertions,
    }


def _read_histories(
    subjects: Sequence[Subject],
    *,
    select: str | None,
    asserts: Sequence[str],
    known: Known | None,
    engine: Engine,
) -> _Histories:
    """Read the histories, one after the other."""
    opened = _Opened.open(subjects, select=select)
    frames, selected = opened.frames, opened.selected
    metrics = MetricTotalsBuilder(opened.metrics)
    assertions = _check(settle_assertions(asserts, subjects, names_of(frames)), subjects, frames, engine)
    findings: list[tuple[Subject, HealthFinding]] = []
    healthy = 0
    configs = _Configs()
    counted = _add_indexed([subject.run for subject in subjects], metrics, selected=selected)
    identities = _Identities(subjects, opened)
    remembered = _remembered(known, frames, identities)
    judged = _judged_metrics(subjects, opened, remembered)

    def unknown() -> Iterator[_Read]:
        for position in bundle_order(one.run.bundle_id for one in subjects):
            subject, frame, names = subjects[position], frames[position], identities.names(position)
            if frame.has_facts and position not in counted:
                _add_facts(frame, names, metrics, selected=selected)
            if remembered[position] is None:
                columns = _read_run(subject.run, frame, names, judged.get(position))
                for name, column in () if frame.has_facts else columns.metrics.items():
                    metrics.add(name, describe_cells(column, frame.steps))
                yield position, columns
                del columns
            frame.forget()

    for subject in subjects:
        configs.add(subject.run.config)
    for position, what in _judged(unknown(), frames):
        remembered[position] = what
        if known is not None:
            known.keep(identities[position], what)
    for subject, found in zip(subjects, remembered, strict=True):
        healthy += not found
        findings += [(subject, finding) for finding in found or ()]
    return _Histories(
        configs=configs,
        metrics=metrics.totals(),
        findings=findings,
        healthy=healthy,
        assertions=assertions.sections,
        notes=assertions.notes,
    )


@dataclass(frozen=True, slots=True)
class _AssertionReader:
    """Checks assertions, here or in a worker.

    Attributes:
        assertions: The assertions.
    """

    assertions: Assertions

    def read_runs(self, subjects: Sequence[Subject]) -> Sequence[Checked]:
        """Open the histories of runs and check them: what a worker does."""
        return list(self.read(subjects, open_frames([subject.run for subject in subjects])))

    def read(self, subjects: Sequence[Subject], frames: Sequence[Frame]) -> Iterator[Checked]:
        """Check runs one after the other."""
        for subject, frame in zip(subjects, frames, strict=True):
            self.assertions.load(frame, complete=True)
            with subject.named_in_errors():
                checked = self.assertions.check(subject, frame, None)
            yield checked
            frame.forget()


def _check(
    assertions: Assertions | None, subjects: Sequence[Subject], frames: Sequence[Frame], engine: Engine
) -> AssertionAnswer:
    """Check all runs."""
    if assertions is None:
        return AssertionAnswer(None, ())
    reader = _AssertionReader(assertions)
    if engine.is_serial or not assertions.need_rows:
        return AssertionAnswer(assertions, list(read_here(reader.read, subjects, frames)))
    return AssertionAnswer(assertions, list(map_runs(reader, subjects, engine)))


@dataclass(frozen=True, slots=True)
class _Opened:
    """Runs of which the names of the columns are known.

    Attributes:
        frames: Their histories.
        query: Which columns are selected.
        metrics: The metrics of all of them, in order.
        selected: Those of the metrics that are selected.
    """

    frames: Sequence[Frame]
    query: HistoryQuery
    metrics: Sequence[str]
    selected: frozenset[str]

    @classmethod
    def open(cls, subjects: Sequence[Subject], *, select: str | None) -> _Opened:
        frames = open_frames([subject.run for subject in subjects])
        names = names_of(frames)
        query = HistoryQuery.settle(names, select=select, where=None, evals=())
        metrics = [
            name
            for name in sorted(names)
            if name != "_step" and (select is not None or not is_internal(name))
        ]
        selected = frozenset(metrics if query.selected is None else query.selected.intersection(metrics))
        return cls(frames, query, metrics, selected)


def find_what_is_wrong(subjects: Sequence[Subject], *, select: str | None, known: Known) -> None:
    """Find what is wrong with runs, and nothing else, so that their overview finds it among what is known.

    Raises:
        PullLogsError: As `overview`.
    """
    opened = _Opened.open(subjects, select=select)
    identities = _Identities(subjects, opened)
    remembered = _remembered(known, opened.frames, identities)
    judged = _judged_metrics(subjects, opened, remembered)

    def unknown() -> Iterator[_Read]:
        for position, (subject, frame) in enumerate(zip(subjects, opened.frames, strict=True)):
            if remembered[position] is None:
                names = identities.names(position)
                yield position, _read_run(subject.run, frame, names, judged.get(position))
                frame.forget()

    for position, found in _judged(unknown(), opened.frames):
        known.keep(identities[position], found)


def _judged(
    runs: Iterator[_Read], frames: Sequence[Frame]
) -> Iterator[tuple[int, tuple[HealthFinding, ...]]]:
    """Yield the position of each run and what is wrong with it; short runs are judged many at a time.

    A run that no index has is judged before the next is read, because all of its metrics are.
    """
    waiting: list[_Read] = []
    cells = 0
    for position, columns in runs:
        waiting.append((position, columns))
        cells += len(columns.steps) * (len(columns.metrics) + 1)
        del columns
        if cells >= _CELLS_TOGETHER or not frames[position].has_facts:
            yield from _judge(waiting)
            waiting.clear()
            cells = 0
    yield from _judge(waiting)


def _judge(runs: Sequence[_Read]) -> Iterator[tuple[int, tuple[HealthFinding, ...]]]:
    found = find_all_flags([columns for _, columns in runs])
    return zip([position for position, _ in runs], found, strict=True)


class _Identities:
    """All that the findings of each run depend on, made when it is asked for.

    Args:
        subjects: The runs.
        opened: Their histories.
    """

    def __init__(self, subjects: Sequence[Subject], opened: _Opened) -> None:
        self._subjects, self._opened = subjects, opened
        self._metrics = frozenset(opened.metrics)
        self._judged: dict[tuple[str, ...], tuple[str, ...]] = {}

    def names(self, position: int) -> tuple[str, ...]:
        """Return the metrics of a run that are judged; those of thousands of runs are one tuple."""
        frame = self._opened.frames[position]
        names = self._judged.get(frame.names)
        if names is None:
            columns = self._opened.query.columns_of(frame, internal=False)
            names = self._judged[frame.names] = tuple(name for name in columns if name in self._metrics)
        return names

    def __getitem__(self, position: int) -> Identity:
        run = self._subjects[position].run
        facts = (DEFINITIONS, run.rows_hash, run.state, run.heartbeat_at)
        return Identity(facts, self.names(position))


def _remembered(
    known: Known | None, frames: Sequence[Frame], identities: _Identities
) -> list[tuple[HealthFinding, ...] | None]:
    """Return the findings of each run that are known, of runs that an index has; None for the others."""
    found: list[tuple[HealthFinding, ...] | None] = [None] * len(frames)
    indexed = [position for position, frame in enumerate(frames) if known is not None and frame.has_facts]
    if known is not None:
        for position, one in zip(indexed, known.find_all(map(identities.__getitem__, indexed)), strict=True):
            found[position] = one
    return found


def _add_indexed(
    runs: Sequence[RunLike], metrics: MetricTotalsBuilder, *, selected: frozenset[str]
) -> AbstractSet[int]:
    """Add the metrics of runs that an index has, many at a time.

    Returns:
        The positions of these runs. Of a run that is there twice, the second is not among them.
    """
    found: set[int] = set()
    for positions in by_bundle(run.bundle_id for run in runs):
        added: dict[MetricIndex, dict[int, int]] = {}
        for position in positions:
            entry = runs[position].index_entry()
            if entry is not None:
                added.setdefault(entry.index, {}).setdefault(entry.number, position)
        for index, numbers in added.items():
            for columns in index.columns(list(numbers), selected):
                metrics.add_columns(columns)
            found.update(numbers.values())
    return found


def _add_facts(
    frame: Frame, names: Sequence[str], metrics: MetricTotalsBuilder, *, selected: frozenset[str]
) -> None:
    """Add the metrics of a run to the totals from the index alone."""
    facts = frame.facts(selected) or {}
    for name in names:
        metrics.add(name, facts[name])


def _judged_metrics(
    subjects: Sequence[Subject], opened: _Opened, remembered: Sequence[object]
) -> Mapping[int, AbstractSet[str]]:
    """Return the metrics that may have a flag, of runs that an index has and of which nothing is known."""
    unknown = [position for position, found in enumerate(remembered) if found is None]
    return judged_metrics([subject.run for subject in subjects], unknown, opened.selected)


def _read_run(
    run: RunLike, frame: Frame, names: Sequence[str], judged: AbstractSet[str] | None
) -> RunColumns:
    """Read those of the metrics of a run that are judged, all if None, and its timestamps in one pass."""
    read = names if judged is None else [name for name in names if name in judged]
    frame.load([*read, _TIMESTAMP])
    columns = {name: frame.column(name) for name in read}
    stamps = frame.column(_TIMESTAMP) if _TIMESTAMP in frame else None
    return RunColumns(run=run, metrics=columns, steps=frame.steps, timestamps=stamps)


def _totals(subjects: Sequence[Subject], *, healthy: int) -> TotalsResult:
    return {
        "runs": len(subjects),
        "rows": sum(subject.run.rows for subject in subjects),
        "complete": sum(subject.run.complete for subject in subjects),
        "healthy": healthy,
        "projects": sorted({subject.run.path.project_path for subject in subjects}),
    }


def _states(subjects: Sequence[Subject]) -> list[StateResult]:
    """Return the states, the most frequent first."""
    by_state: dict[str, list[Subject]] = {}
    for subject in subjects:
        by_state.setdefault(subject.run.state, []).append(subject)
    return [
        _state(state, members)
        for state, members in sorted(by_state.items(), key=lambda item: len(item[1]), reverse=True)
    ]


def _state(state: str, members: Sequence[Subject]) -> StateResult:
    lasts = [last for subject in members if (last := subject.run.last_step) is not None]
    return {
        "state": state,
        "runs": len(members),
        "rows": sum(subject.run.rows for subject in members),
        "last_step_min": min(lasts, default=None),
        "last_step_max": max(lasts, default=None),
    }


def _health(findings: Iterable[tuple[Subject, HealthFinding]]) -> list[HealthResult]:
    by_flag: dict[str, list[FlaggedRun]] = {flag: [] for flag in FLAGS}
    for subject, finding in findings:
        by_flag[finding.flag].append(
            {
                "run": subject.label,
                "path": str(subject.run.path),
                "metric": finding.metric,
                "step": finding.step,
                "message": finding.message,
                "metrics": finding.metrics,
            }
        )
    return [{"flag": flag, "runs": len(found), "found": found} for flag, found in by_flag.items()]
