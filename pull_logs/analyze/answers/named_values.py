"""The values of runs that the options of a comparison name: columns, and what ranks or relates the runs.

`--column` takes expressions. `--best`, `--sort`, `--effect` and `--pareto` take names first: a column, a
metric, or a value of runs such as `created_at` or `config.lr`. What is none of these is an expression to
`--effect` and `--pareto`, as both sides of `--fit` are. Everything but a metric that ranks becomes a column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pull_logs.analyze.answers.run_readings import RunHistories, RunReading
from pull_logs.analyze.questions import RunColumn, RunColumns, Subject, scope_names
from pull_logs.analyze.relation_results import ColumnSections, ColumnTotals
from pull_logs.analyze.statistics import Criterion, Direction, Goal, RunDefinitions, describe_sample, total
from pull_logs.errors import MetricNotFoundError, UsageError
from pull_logs.frames import PlainNames, RunLike
from pull_logs.rows.canonical import canon_number, spell
from pull_logs.suggestions import did_you_mean

_DOCUMENTS = ("config.", "summary.", "metadata.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedValues:
    """The values of runs that a comparison names, as they were written.

    Attributes:
        columns: Those of `--column`.
        criterion: That of `--best` or `--sort`.
        option: Which of the two it is.
        at_best: Whether runs are read where this was best.
        effect: That of `--effect`.
        pareto: Those of `--pareto`.
        sides: Both sides of each `--fit`.
    """

    columns: Sequence[RunColumn]
    criterion: Criterion | None
    option: str
    at_best: bool
    effect: Criterion | None
    pareto: Sequence[Criterion]
    sides: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedValues:
    """The values of runs that a comparison names, resolved.

    Attributes:
        columns: All columns of runs.
        described: The columns that are described as metrics are.
        goal: What ranks the runs, with its better end.
        effect: The metric of `--effect`.
        pareto: The criteria of `--pareto`.
    """

    columns: RunColumns
    described: tuple[str, ...]
    goal: Goal | None
    effect: Goal | None
    pareto: tuple[Goal, ...]

    @classmethod
    def settle(cls, asked: AskedValues, subjects: Sequence[Subject], histories: RunHistories) -> NamedValues:
        """Find what the names of a comparison mean.

        Raises:
            UsageError: The better end of something is unknown, or a name is given twice.
            ExpressionError: An expression does not parse, or a name has two readings.
            UnknownNameError: No run has a name.
        """
        names = _Names(asked.columns, subjects, histories)
        goal = None
        if asked.criterion is not None:
            goal = names.ranking(asked.criterion, option=asked.option)
            if asked.at_best and goal.metric in names.columns:
                raise UsageError(
                    f"--at best needs a metric with a history, and {goal.metric!r} has one value per run",
                    hint="name a metric with --best, and rank the runs with --sort in a second command",
                )
        described = tuple(names.columns)
        effect = None if asked.effect is None else names.value(asked.effect, option="--effect")
        pareto = tuple(names.value(item, option="--pareto") for item in asked.pareto)
        for side in asked.sides:
            names.expression(side)
        return cls(columns=names.settled(), described=described, goal=goal, effect=effect, pareto=pareto)


class _Names:
    """Collects columns of runs by what options name.

    Attributes:
        columns: The columns by their names.
    """

    def __init__(
        self, columns: Sequence[RunColumn], subjects: Sequence[Subject], histories: RunHistories
    ) -> None:
        self._runs = [subject.run for subject in subjects]
        self._histories = histories
        self._given = list(columns)
        self.columns = {column.name: column for column in columns}

    def settled(self) -> RunColumns:
        """Compile all columns."""
        added = [column for name, column in self.columns.items() if name not in self._names_given]
        return RunColumns.settle([*self._given, *added], runs=self._runs, rows=self._histories.names)

    @property
    def _names_given(self) -> set[str]:
        return {column.name for column in self._given}

    def ranking(self, criterion: Criterion, *, option: str) -> Goal:
        """Return what ranks the runs: a column, a metric, or a value of runs that becomes a column."""
        metric = criterion.metric
        if metric not in self.columns:
            metric = self._histories.column(metric, option=option)
            if metric not in self._histories.names:
                found = column_of_runs(metric, self._runs)
                if not found and metric.startswith(_DOCUMENTS):
                    raise self._unknown(metric, option=option)
                self.columns |= {column.name: column for column in found}
        return self._settle(replace(criterion, metric=metric), option=option)

    def value(self, criterion: Criterion, *, option: str) -> Goal:
        """Return a criterion, with a column for its metric or expression."""
        name = criterion.metric
        if name not in self.columns:
            metric = self._histories.column(name, option=option)
            if metric in self._histories.names:
                self.columns[name] = RunColumn(name, "`" + metric.replace("`", "``") + "`")
            else:
                known = column_of_runs(name, self._runs)
                self.columns[name] = known[0] if known else RunColumn(name, name)
        return self._settle(criterion, option=option)

    def expression(self, text: str) -> None:
        """Make a column of an expression."""
        self.columns.setdefault(text, RunColumn(text, text))

    def _unknown(self, name: str, *, option: str) -> MetricNotFoundError:
        """Return the error about a name of a config key, summary key or metadata that no run has."""
        document = name.partition(".")[0] + "."
        known = {cell for cell in scope_names(self._runs) if cell.startswith(document)}
        hint = did_you_mean(name, sorted(known), otherwise=f"the runs have no {document[:-1]}", cutoff=0)
        return MetricNotFoundError(f"{option} {name!r}: no run has such a value", hint=hint)

    def _settle(self, criterion: Criterion, *, option: str) -> Goal:
        defined: list[Direction | None] = []
        if criterion.direction is None:
            internal = (run.config_internal for run in self._runs)
            defined = [RunDefinitions.read(one).goal_of(criterion.metric) for one in internal]
        return criterion.settle([end for end in defined if end is not None], option=option)


def column_of_runs(name: str, runs: Sequence[RunLike]) -> list[RunColumn]:
    """Return the column of a name such as `created_at` or `config.lr`; an empty list if no run has it.

    Args:
        name: The name; the backslashes before the dots of keys may be left out.
        runs: The runs.
    """
    known = scope_names(runs)
    for prefix in ("", "config."):
        if found := PlainNames(known).meant_by(prefix + name):
            return [RunColumn(name, "`" + found[0].replace("`", "``") + "`")]
    return []


def ranking_numbers(runs: Sequence[RunReading], metric: str) -> list[float | None]:
    """Return a number for each run, by which a metric or a column of runs ranks it.

    Texts are numbered in the order of their code points; a run without a value has None.
    """
    cells = [run.columns.get(metric) for run in runs]
    texts = sorted({cell for cell in cells if isinstance(cell, str)})
    if not texts:
        return [run.number(metric) for run in runs]
    places = {text: float(place) for place, text in enumerate(texts)}
    return [places[cell] if isinstance(cell, str) else None for cell in cells]


def column_sections(
    columns: Sequence[RunColumn], runs: Sequence[RunReading], shown: Sequence[RunReading]
) -> ColumnSections:
    """Return the columns that were asked for; the totals are over all runs, the values of those shown."""
    if not columns:
        return {}
    totals = [_totals(column.name, [run.number(column.name) for run in runs]) for column in columns]
    return {
        "columns": [
            {
                "name": column.name,
                "expression": column.text,
                "values": {
                    run.label: _spelled(cell)
                    for run in shown
                    if (cell := run.columns[column.name]) is not None
                },
            }
            for column in columns
        ],
        "column_totals": [entry for entry in totals if entry["n"]],
    }


def _spelled(cell: Any) -> Any:
    """Return a cell for strict JSON; tags and the like as the text that they are compared as."""
    return str(cell) if isinstance(cell, str) else spell(cell)


def _totals(name: str, numbers: Sequence[float | None]) -> ColumnTotals:
    """Return the statistics of the finite numbers, and how many runs have none or another."""
    present = [number for number in numbers if number is not None]
    finite = [number for number in present if math.isfinite(number)]
    found = describe_sample(finite)
    return {
        "column": name,
        "n": len(finite),
        "missing": len(numbers) - len(present),
        "sum": spell(canon_number(total(finite))),
        "mean": _number(found.mean),
        "std": _number(found.std),
        "min": _number(min(finite, default=None)),
        "median": _number(found.median),
        "max": _number(max(finite, default=None)),
        "nonfinite": len(present) - len(finite),
    }


def _number(value: float | None) -> Any:
    return None if value is None else spell(canon_number(value))
