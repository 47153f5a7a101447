"""Many runs compared: the JSON object of `pull-logs compare`, made from subjects and a question.

Runs are read one after the other, each metric at one place of its history
(`aligning`); what is kept of a run are these numbers. Everything else is over
them: groups and their statistics (`grouping`, `intervals`), tests between groups
(`significance`), ranks (`ranking`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pull_logs._version import FORMAT
from pull_logs.analyze.answers.checkpoints import compare_checkpoints, steps_of
from pull_logs.analyze.answers.groups import Groups
from pull_logs.analyze.answers.histories import settle_assertions
from pull_logs.analyze.answers.side_by_side import compare_configs, compare_summaries
from pull_logs.analyze.answers.view import describe_run
from pull_logs.analyze.frames import Frame, flatten
from pull_logs.analyze.questions import (
    CONFIG,
    DEFINED,
    Alignment,
    Grouping,
    Interpolation,
    Place,
    Reading,
    Slice,
    compile_pattern,
    is_internal,
    is_seed,
    values_of,
)
from pull_logs.analyze.statistics import (
    Criterion,
    Direction,
    IntervalKind,
    RunDefinitions,
    deciding_metric,
    outcome_end,
    ranked,
)
from pull_logs.errors import MetricNotFoundError, UsageError
from pull_logs.rows.canonical import STEP, canon_record, spell
from pull_logs.runs import RunInfo
from pull_logs.suggestions import did_you_mean, joined

if TYPE_CHECKING:
    from pull_logs.analyze.questions import Assertions, Subject

SECTIONS = (
    "runs", "alignment", "answer", "ranking", "groups", "group_stats", "verdicts", "best_checkpoint", "checkpoints",
    "comparison", "config_diff", "config_same", "summary_comparison",
    "assertions",
)  # fmt: skip
"""The members of the answer between its format and its notes, in their order."""

_MOST_NAMED = 10
_LAST = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What to compare, and how; the flags of `pull-logs compare`.

    Attributes:
        select: A regular expression that is searched for in the names of the metrics.
        group_by: Names of config keys or fields, or `all-but:` with names (see `grouping`).
        seeds: The keys that tell the runs of a group apart; found by their names by default.
        best: The metric by which runs and groups are ranked and tested.
        sort: The metric by which they are ranked only.
        top: How many of them to show, the best ones; None for all.
        at: Where to read the metrics.
        axis: The x axis: `_step`, a metric, or `defined`.
        interpolation: What to take at a place between two rows.
        interval: Which interval to give for the mean of a group.
        asserts: What must hold of every run and of all its rows (see `assertions`).
    """

    select: str | None = None
    group_by: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    best: Criterion | None = None
    sort: Criterion | None = None
    top: int | None = None
    at: Place = _LAST
    axis: str = STEP
    interpolation: Interpolation = "linear"
    interval: IntervalKind = "t"
    asserts: tuple[str, ...] = ()

    @property
    def criterion(self) -> Criterion | None:
        """What ranks the runs."""
        return self.best or self.sort

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            UsageError: A flag needs another one that is not there, or excludes it.
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


@dataclass(frozen=True, slots=True)
class _Read:
    """All runs, read.

    Attributes:
        subjects: The runs.
        infos: What is known of them.
        metrics: Of each run, the metrics at the place.
        names: Every metric that some run has numbers of, in order.
        assertions: What was asserted, asked of all; None where nothing was.
    """

    subjects: Sequence[Subject]
    infos: Sequence[RunInfo]
    metrics: Sequence[Mapping[str, Reading]]
    names: Sequence[str]
    assertions: Assertions | None

    def number(self, place: int, metric: str) -> float | None:
        """The number of one run."""
        reading = self.metrics[place].get(metric)
        return None if reading is None else reading.number


def compare_runs(subjects: Sequence[Subject], question: Comparison) -> dict[str, Any]:
    """Compare runs.

    Returns:
        An object for strict JSON, told by `data/schemas/compare.json`: `runs`, `alignment`, `comparison`,
        `config_diff`, `config_same` and `summary_comparison` always; `ranking` under `best` or `sort`; with
        groups `groups`, `group_stats` and `verdicts`; with checkpoints `checkpoints`, and under `best` or `sort`
        `best_checkpoint` (see `checkpoints.compare_checkpoints`); with assertions `assertions`, about all runs
        whichever are shown. Then `notes`, and in `next` the flags of at
        most two questions to go on with, each a list of words.

    Raises:
        UsageError: Flags contradict each other, or a key or an end of a metric cannot be settled.
        MetricNotFoundError: A metric that was named is in no run, or `select` matches none.
        ExpressionError: An assertion does not parse, resolve or fit its columns.
        DamageError: A history is damaged.
    """
    question.check()
    infos = [subject.run.info for subject in subjects]
    direction = _direction(infos, question)
    alignment = Alignment(
        place=question.at,
        axis=question.axis,
        interpolation=question.interpolation,
        best=(question.best.metric, direction) if question.best and direction else None,
    )
    read = _read(subjects, infos, question, alignment)
    values = [values_of(info) for info in infos]
    places = list(range(len(subjects)))
    found: dict[str, Any] = {}
    notes = [f"{s.label} is incomplete: {s.run.coverage.reason}" for s in subjects if not s.run.complete]
    groups = None
    criterion = question.criterion
    if criterion is not None and direction is not None:
        places = ranked(places, lambda place: read.number(place, criterion.metric), direction)
    if question.group_by:
        groups = Groups.make(
            [subject.label for subject in subjects],
            values,
            read.metrics,
            grouping=Grouping.settle(values, question.group_by, seed_names=question.seeds),
            names=read.names,
            criterion=None if criterion is None or direction is None else (criterion.metric, direction),
            interval=question.interval,
            tested=question.sort is None,
        )
        found |= groups.told(top=question.top)
        notes += groups.notes()
        places = groups.shown_runs(places, top=question.top)
    elif question.top is not None:
        places = places[: question.top]
    if criterion is not None and direction is not None:
        found["answer"] = groups.answer() if groups else _best_run(read, places, criterion.metric, direction)
        found["ranking"] = _ranking(read, places, criterion.metric, direction)
    shown = [read.subjects[place] for place in places]
    found["runs"] = [describe_run(subjects[place], None) for place in places]
    found["alignment"] = _told_alignment(
        read, alignment, shown=len(shown), interval=question.interval if groups else None
    )
    found["comparison"] = _told_metrics(read, places)
    found |= _records([subject.label for subject in shown], [infos[place] for place in places], question)
    if any(subject.checkpoints for subject in shown):
        best = None if criterion is None or direction is None else (criterion.metric, direction)
        found["checkpoints"], best_one, more = compare_checkpoints(shown, select=question.select, best=best)
        found |= {} if best_one is None else {"best_checkpoint": best_one}
        notes += more
    notes += _alignment_notes(read, alignment, places)
    if read.assertions is not None:
        found["assertions"] = read.assertions.verdicts()
        notes += read.assertions.notes
    return {
        "format": FORMAT,
        "command": "compare",
        **{name: found[name] for name in SECTIONS if name in found},
        "notes": notes,
        "next": _further(read, places, question, found["config_diff"])[:2],
    }


def _direction(infos: Sequence[RunInfo], question: Comparison) -> Direction | None:
    criterion = question.criterion
    if criterion is None:
        return None
    goals = (RunDefinitions.read(info.config_internal).goal_of(criterion.metric) for info in infos)
    option = "--best" if question.best else "--sort"
    return criterion.settle([goal for goal in goals if goal is not None], option=option)


def _read(
    subjects: Sequence[Subject], infos: Sequence[RunInfo], question: Comparison, alignment: Alignment
) -> _Read:
    """Read every run, one after the other, and refuse names that none of them has."""
    named = {question.criterion.metric} if question.criterion else set()
    pattern = None if question.select is None else compile_pattern(question.select)
    metrics = []
    known: dict[str, None] = {}
    goes_by = question.axis in (STEP, DEFINED)
    assertions = None
    if question.asserts:
        columns = dict.fromkeys(name for subject in subjects for name in Frame(subject.run).names)
        assertions = settle_assertions(question.asserts, subjects, columns)
    for subject, info in zip(subjects, infos, strict=True):
        frame = Frame(subject.run)
        known.update(dict.fromkeys(frame.names))
        axes = RunDefinitions.read(info.config_internal).step_metrics(frame.names)
        wanted = [
            name
            for name in frame.names
            if name != STEP
            and (name in named or (pattern.search(name) if pattern else not is_internal(name)))
        ]
        extra = [name for name in alignment.extra_columns(axes) if name in frame]
        frame.load(dict.fromkeys([*wanted, *extra]))
        metrics.append(alignment.read(frame, wanted, axes=axes, checkpoint_step=steps_of(frame, subject)[-1]))
        if assertions is not None:
            assertions.ask(subject, frame, Slice.whole(frame))
        goes_by = goes_by or (question.axis in frame and bool(frame.column(question.axis).numbers()[1].any()))
        frame.forget()
    names = sorted(
        {name for readings in metrics for name in readings}, key=lambda name: (name not in named, name)
    )
    for name in named:
        if name not in names:
            raise _no_metric(f"{'--best' if question.best else '--sort'} {name!r}", name, known)
    if not goes_by:
        raise _no_metric(f"--x {question.axis!r}", question.axis, known)
    if pattern is not None and not any(map(pattern.search, names)):
        raise _no_metric(f"--select {question.select!r}", question.select or "", known)
    return _Read(subjects, infos, metrics, names, assertions)


def _no_metric(what: str, name: str, known: Mapping[str, None]) -> MetricNotFoundError:
    metrics = [other for other in known if other != STEP]
    hint = did_you_mean(name, metrics, otherwise="the runs have no metrics", cutoff=0)
    return MetricNotFoundError(f"{what}: no run has numbers of such a metric", hint=hint)


def _ranking(read: _Read, places: Sequence[int], metric: str, direction: Direction) -> list[dict[str, Any]]:
    """The runs in the order of a metric, each with its value there and the best of its whole history."""
    entries = []
    for rank, place in enumerate(places, 1):
        reading = read.metrics[place].get(metric, Reading())
        least = direction == "min"
        entries.append(
            {
                "rank": rank,
                "run": read.subjects[place].label,
                "path": str(read.infos[place].path),
                "metric": metric,
                "direction": direction,
                "value": spell(reading.value),
                "x": spell(reading.x),
                "best": spell(reading.min if least else reading.max),
                "best_step": reading.min_step if least else reading.max_step,
            }
        )
    return entries


def _best_run(read: _Read, places: Sequence[int], metric: str, direction: Direction) -> str:
    """Which run is best, in a sentence."""
    first = places[0]
    number, subject = read.number(first, metric), read.subjects[first]
    if number is None or not math.isfinite(number):
        return f"no run has a finite {metric} there"
    return (
        f"best {metric} ({direction}): {subject.label} ({read.infos[first].path}), {number:.6g}; "
        "single runs say nothing about seed noise: --group-by all-but:SEED"
    )


def _told_alignment(
    read: _Read, alignment: Alignment, *, shown: int, interval: IntervalKind | None
) -> dict[str, Any]:
    interpolated = sum(reading.interpolated for readings in read.metrics for reading in readings.values())
    return {
        "at": alignment.place.told(),
        "x": alignment.axis,
        "interpolation": alignment.interpolation if alignment.place.word == "step" else None,
        "interpolated": interpolated,
        "best": None if alignment.best is None else ":".join(alignment.best),
        "ci": interval,
        "runs": len(read.subjects),
        "shown": shown,
    }


_TOLD = ("value", "x", "min", "min_step", "max", "max_step")


def _told_metrics(read: _Read, places: Sequence[int]) -> list[dict[str, Any]]:
    entries = []
    for name in read.names:
        entry: dict[str, Any] = {"name": name, **{field: {} for field in _TOLD}}
        for place in places:
            reading = read.metrics[place].get(name)
            if reading is not None:
                label = read.subjects[place].label
                for field in _TOLD:
                    value = getattr(reading, field)
                    if value is not None:
                        entry[field][label] = spell(value)
        if any(entry[field] for field in _TOLD):
            entries.append(entry)
    return entries


def _records(labels: Sequence[str], infos: Sequence[RunInfo], question: Comparison) -> dict[str, Any]:
    """What the configs and summaries of the shown runs have to say."""
    shown = dict(zip(labels, infos, strict=True))
    configs = {run: flatten(canon_record(info.config)) for run, info in shown.items()}
    summaries = {run: flatten(canon_record(info.summary), keep_typed=True) for run, info in shown.items()}
    differing = compare_configs(configs)
    pattern = compile_pattern(question.select or "")
    return {
        "config_diff": differing,
        "config_same": len({key for config in configs.values() for key in config}) - len(differing),
        "summary_comparison": [
            entry for entry in compare_summaries(summaries) if pattern.search(entry["key"])
        ],
    }


def _further(
    read: _Read, places: Sequence[int], question: Comparison, differing: Sequence[Mapping[str, Any]]
) -> list[list[str]]:
    """What to ask next: for groups and a verdict if there are none, then for the same step of all runs."""
    seeds = [entry["key"] for entry in differing if is_seed(CONFIG + entry["key"])]
    verdict: list[str] = []
    if not question.group_by and seeds and len(places) > 2:
        verdict += ["--group-by", f"all-but:{','.join(seeds)}"]
    metric = deciding_metric(read.names)
    if question.criterion is None and metric is not None and len(places) > 1:
        verdict += ["--best", f"{metric}:{outcome_end(metric)}"]
    common = _common_end(read, places)
    same_step = ["--at", str(common)] if question.at.word == "last" and common is not None else []
    return [flags for flags in (verdict, same_step) if flags]


def _common_end(read: _Read, places: Sequence[int]) -> int | None:
    """The step that all runs reach; None if all end there, or a run has no rows."""
    ends = [read.subjects[place].run.last_step for place in places]
    known = [step for step in ends if step is not None]
    return min(known) if known and min(known) < max(known) else None


def _alignment_notes(read: _Read, alignment: Alignment, places: Sequence[int]) -> list[str]:
    notes = []
    common = _common_end(read, places)
    if alignment.place.word == "last" and common is not None:
        notes.append(
            f"the runs end at different steps, the first at {common}, and are compared at their ends; "
            f"--at {common} compares all at one step"
        )
    if alignment.place.word == "checkpoint":
        without = [
            subject.label
            for subject in (read.subjects[place] for place in places)
            if subject.checkpoint_step is None and not any(c.epoch is not None for c in subject.checkpoints)
        ]
        if without:
            notes.append(
                f"no checkpoint tells a step for {joined(without, most=_MOST_NAMED)}: no values there"
            )
    if alignment.place.word == "step":
        missing = sorted(
            {
                read.subjects[place].label
                for place in places
                for name, reading in read.metrics[place].items()
                if reading.value is None
            },
            key=lambda label: (len(label), label),
        )
        if missing:
            notes.append(
                f"metrics of {joined(missing, most=_MOST_NAMED)} have no value at {_axis_told(alignment)} {alignment.place.told()}: "
                "it is not between their first and last one, and nothing is extrapolated"
            )
    return notes


def _axis_told(alignment: Alignment) -> str:
    return "the axis that each was defined over," if alignment.axis == DEFINED else alignment.axis
