"""A regression gate: are new runs worse than those of a baseline?

Each metric is tested on its own, one-sided (see `find_regression`), and p is adjusted by Holm's method over
the metrics. A gate that cannot be evaluated is an error and never passes: every run must have finished, be
complete and have the metric. A new run that ends in NaN or an infinity is a regression without a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pull_logs._version import FORMAT
from pull_logs.analyze.answers.gating.gate_metrics import (
    REGRESSION,
    GateSide,
    GateTests,
    pairing_identity,
    several,
)
from pull_logs.analyze.answers.named_values import column_of_runs
from pull_logs.analyze.answers.readings import ReadingPlan
from pull_logs.analyze.answers.run_readings import (
    RunHistories,
    RunReadings,
    compare_readings,
    no_metric,
    read_runs,
)
from pull_logs.analyze.answers.side_by_side import compare_records, flat_configs
from pull_logs.analyze.answers.view import describe_run
from pull_logs.analyze.group_results import GateMetric, GateResult
from pull_logs.analyze.inference import ALPHA, POWER, Margin
from pull_logs.analyze.questions import (
    CONFIG,
    DEFINED,
    Alignment,
    HistoryQuery,
    Interpolation,
    Position,
    RunColumn,
    RunColumns,
    Subject,
    all_names,
    differing_names,
    identity_in,
    is_seed,
    settle_names,
    values_of,
)
from pull_logs.analyze.results import AlignmentResult, CompareAnswer
from pull_logs.analyze.statistics import Criterion, Goal, RunDefinitions
from pull_logs.errors import IncompleteError, UsageError
from pull_logs.executors import SERIAL, Engine
from pull_logs.rows.canonical import STEP
from pull_logs.suggestions import counted, joined

_MOST_NAMED = 5
_FINISHED = "finished"
_LAST = Position()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What must not get worse, and how that is tested; the options of `pull-logs compare --against`.

    Attributes:
        metrics: The metrics.
        alpha: The share of false alarms over all of them.
        margin: How much worse the mean may be; None if every worsening counts.
        seeds: The keys that pair the runs of both sides; found by default.
        at: The position at which to read the metrics.
        axis: The x axis: `_step`, a metric, or `defined`.
        interpolation: How to find a value between two rows.
        columns: Columns of runs to compute, which `metrics` may name.
        where: An expression that a row must meet.
        evals: Names and expressions of columns to compute in every row, which `metrics` may name.
    """

    metrics: tuple[Criterion, ...]
    alpha: float = ALPHA
    margin: Margin | None = None
    seeds: tuple[str, ...] = ()
    at: Position = _LAST
    axis: str = STEP
    interpolation: Interpolation = "linear"
    columns: tuple[RunColumn, ...] = ()
    where: str | None = None
    evals: tuple[tuple[str, str], ...] = ()

    def check(self) -> None:
        """Refuse a gate that cannot be evaluated.

        Raises:
            UsageError: It has no metric, or a value is not valid.
        """
        if not self.metrics:
            raise UsageError(
                "--against needs to know what must not get worse",
                hint="name it with --metric METRIC:min or :max, for example --metric val/loss:min",
            )
        if not 0 < self.alpha < 0.5:
            raise UsageError(
                f"--alpha {self.alpha:g} is not between 0 and 0.5",
                hint="write the share of false alarms that is allowed, such as --alpha 0.01",
            )
        if self.at.word == "best":
            raise UsageError(
                "--at best does not apply to a gate", hint="give a step, or last or checkpoint, with --at"
            )


def run_gate(
    new: Sequence[Subject], base: Sequence[Subject], gate: Gate, *, engine: Engine = SERIAL
) -> CompareAnswer:
    """Test new runs against a baseline.

    Args:
        new: The new runs.
        base: The runs of the baseline, with labels that follow those of the new ones.
        gate: What must not get worse.
        engine: Where histories are read; the answer does not depend on it.

    Returns:
        The object that `data/schemas/compare.json` describes, with `gate` and `gate_metrics`; `gate.holds` is
        false if a metric got worse.

    Raises:
        UsageError: An option is not valid, or the better end of a metric cannot be settled.
        NotFoundError: A metric or a key is in no run.
        IncompleteError: The gate cannot be evaluated: a run did not finish, is incomplete or lacks a metric,
            or a side has too few runs.
        DamageError: A history is damaged.
    """
    gate.check()
    _refuse_unfinished([("new", subject) for subject in new] + [("base", subject) for subject in base])
    subjects = [*new, *base]
    readings, goals, alignment = _read(subjects, gate, engine)
    values = [values_of(run.subject.run) for run in readings.runs]
    sides = (
        GateSide(name="new", runs=readings.runs[: len(new)], values=values[: len(new)]),
        GateSide(name="base", runs=readings.runs[len(new) :], values=values[len(new) :]),
    )
    keys = _pairing_keys(sides, gate)
    tests = GateTests(new=sides[0], base=sides[1], keys=keys, alpha=gate.alpha, margin=gate.margin)
    metrics = tests.results(goals)
    result = _describe(gate, sides, metrics, keys)
    configs = flat_configs({run.label: run.subject.run for run in readings.runs})
    records = compare_records(configs, None, select=None)
    return {
        "format": FORMAT,
        "command": "compare",
        "runs": [describe_run(subject) for subject in subjects],
        "alignment": _alignment(alignment, readings, gate),
        "answer": _answer(result, metrics),
        "gate": result,
        "gate_metrics": metrics,
        "comparison": compare_readings([goal.metric for goal in goals], readings.runs),
        "config_diff": records["config_diff"],
        "config_same": records["config_same"],
        "summary_comparison": [],
        "notes": _notes(sides, keys, metrics),
        "next": [],
    }


def _read(
    subjects: Sequence[Subject], gate: Gate, engine: Engine
) -> tuple[RunReadings, list[Goal], Alignment]:
    """Read the metrics of all runs, and find out which end of each is better."""
    runs = [subject.run for subject in subjects]
    histories = RunHistories.open(subjects)
    query = None
    if gate.where is not None or gate.evals:
        query = HistoryQuery.settle(histories.names, select=None, where=gate.where, evals=gate.evals)
        histories = histories.with_columns([name for name, _ in gate.evals])
    columns, goals = list(gate.columns), []
    for criterion in gate.metrics:
        metric = criterion.metric
        if metric not in {column.name for column in columns}:
            metric = histories.column(metric, option="--metric")
            columns += () if metric in histories.names else column_of_runs(metric, runs)
        defined = (RunDefinitions.read(run.config_internal).goal_of(metric) for run in runs)
        ends = [end for end in defined if end is not None]
        goals.append(replace(criterion, metric=metric).settle(ends, option="--metric"))
    settled = RunColumns.settle(columns, runs=runs, rows=histories.names)
    alignment = Alignment(
        position=gate.at,
        axis=gate.axis if gate.axis == DEFINED else histories.column(gate.axis, option="--x"),
        interpolation=gate.interpolation,
        best=None,
    )
    names = [goal.metric for goal in goals]
    plan = ReadingPlan(alignment=alignment, names=names, option="--metric", query=query, columns=settled)
    readings = read_runs(subjects, plan, histories, engine)
    for name in names:
        if all(run.number(name) is None for run in readings.runs):
            raise no_metric("--metric", name, (*settled.expressions, *histories.names))
    return readings, goals, alignment


def _alignment(alignment: Alignment, readings: RunReadings, gate: Gate) -> AlignmentResult:
    found = [reading for run in readings.runs for reading in run.metrics.values()]
    return {
        "at": alignment.position.value,
        "x": alignment.axis,
        "interpolation": alignment.interpolation if alignment.position.word == "step" else None,
        "interpolated": sum(reading.interpolated for reading in found),
        "best": None,
        "ci": None,
        "alpha": gate.alpha,
        "margin": gate.margin.text if gate.margin else None,
        "task": None,
        "scale": None,
        "runs": len(readings.runs),
        "shown": len(readings.runs),
    }


def _refuse_unfinished(sides: Sequence[tuple[str, Subject]]) -> None:
    """Refuse runs that did not finish, or of which a part is missing: their last value is not comparable."""
    found = []
    for side, subject in sides:
        run = subject.run
        if run.state != _FINISHED:
            found.append(f"{run.path} ({side}) is {run.state}")
        elif not run.complete:
            found.append(f"{run.path} ({side}) is incomplete: {run.coverage.reason}")
    if found:
        raise IncompleteError(
            f"a gate takes runs that finished and are complete: {several(found)}",
            hint="wait for them and download them again, or leave them out with "
            "--filter 'state == \"finished\"'",
        )


def _pairing_keys(sides: tuple[GateSide, GateSide], gate: Gate) -> tuple[str, ...]:
    """Return the config keys that pair the runs of both sides; none if no keys do.

    Those named like a seed pair them, if every run of a side has another one; else these together with all
    keys that differ between runs and have some value on both sides.
    """
    everything = [*sides[0].values, *sides[1].values]
    named = settle_names(everything, gate.seeds, option="--seed")
    names = [name for name in all_names(everything) if name.startswith(CONFIG)]
    differing = {name for side in sides for name in differing_names(side.values, names)}
    shared = [name for name in names if name in differing and _recurs(sides, name)]
    seeds = named or tuple(name for name in names if is_seed(name))
    for keys in (seeds, tuple(dict.fromkeys([*seeds, *shared]))):
        if keys and _pair(sides, keys):
            return keys
    return ()


def _recurs(sides: tuple[GateSide, GateSide], name: str) -> bool:
    new, base = ({identity_in(values, name) for values in side.values} for side in sides)
    return bool(new & base)


def _pair(sides: tuple[GateSide, GateSide], keys: Sequence[str]) -> bool:
    new, base = ([pairing_identity(values, keys) for values in side.values] for side in sides)
    if None in (*new, *base) or len(set(new)) < len(new) or len(set(base)) < len(base):
        return False
    return len(set(new) & set(base)) == min(len(new), len(base))


def _describe(
    gate: Gate, sides: tuple[GateSide, GateSide], metrics: Sequence[GateMetric], keys: Sequence[str]
) -> GateResult:
    return {
        "holds": all(entry["verdict"] != REGRESSION for entry in metrics),
        "alpha": gate.alpha,
        "margin": gate.margin.text if gate.margin else None,
        "paired_by": [name.removeprefix(CONFIG) for name in keys],
        "new": [run.label for run in sides[0].runs],
        "base": [run.label for run in sides[1].runs],
    }


def _answer(result: GateResult, metrics: Sequence[GateMetric]) -> str:
    worse = [entry["metric"] for entry in metrics if entry["verdict"] == REGRESSION]
    runs = f"{counted(len(result['new']), 'new run')} against {counted(len(result['base']), 'run')}"
    if worse:
        return f"the gate fails: {joined(worse, most=_MOST_NAMED)} got worse ({runs} of the baseline)"
    names = joined([entry["metric"] for entry in metrics], most=_MOST_NAMED)
    return f"the gate holds: no regression of {names} ({runs} of the baseline)"


def _notes(sides: tuple[GateSide, GateSide], keys: Sequence[str], metrics: Sequence[GateMetric]) -> list[str]:
    notes = []
    paths = [{str(run.path) for run in side.runs} for side in sides]
    if both := sorted(paths[0] & paths[1]):
        verb = "is" if len(both) == 1 else "are"
        notes.append(f"{counted(len(both), 'run')} {verb} on both sides: {joined(both, most=_MOST_NAMED)}")
    if not keys:
        notes.append(
            "no config key pairs the runs of both sides, so Welch's test is used; --seed KEY names one"
        )
        notes += _mixed(sides)
    weak = [entry for entry in metrics if entry["power"] is not None and entry["power"] < POWER]
    if weak:
        power = min(entry["power"] or 0.0 for entry in weak)
        needed = max((entry["runs_needed"] or 0 for entry in weak), default=0)
        notes.append(
            f"so few runs find a regression of 2 standard deviations with a power of {power:.0%}; "
            f"about {needed:,} runs on each side reach 80%, and a larger --alpha takes fewer"
        )
    return notes


def _mixed(sides: tuple[GateSide, GateSide]) -> list[str]:
    """Return a note on settings that differ within a side, whose spread hides a regression."""
    names = {
        name
        for side in sides
        for name in differing_names(side.values, all_names(side.values))
        if name.startswith(CONFIG) and not is_seed(name)
    }
    if not names:
        return []
    keys = joined(sorted(names), most=_MOST_NAMED)
    return [f"runs of one side differ in more than their seed, which hides regressions: {keys}"]
