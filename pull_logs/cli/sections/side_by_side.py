"""The sections that put runs side by side: `[COMPARISON]`, `[CONFIG_DIFF]` and `[SUMMARY_COMPARISON]`.

Up to ten runs are columns. More are rows, with the config keys that differ beside their metrics; what differs
in configs is then shown value by value with the runs that have it, and summaries by their spread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pull_logs.analyze.answers import MetricCells, RunValues
from pull_logs.cli.render import (
    ABSENT,
    At,
    Column,
    ColumnRows,
    Nouns,
    Section,
    Span,
    at_cell,
    exact,
    known,
    known_exact,
    name_cell,
    run_columns,
)
from pull_logs.cli.sections.metrics import count_members, with_members

MOST_COLUMNS = 10
"""The runs that are shown as columns; more become rows."""

_MOST_VALUES = 10
_MOST_NAMED = 3
_MOST_KEYS = 6

_METRICS_REMEDY = "--select REGEX shows others"

Entries: TypeAlias = Sequence[Mapping[str, Any]]
"""What an answer says about each metric or key, with values by run label."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value of a metric that `[COMPARISON]` shows for each run.

    Attributes:
        field: Where an entry has the values.
        name: What the section calls it.
        steps: Where an entry has the steps of the values; None where they are not shown.
    """

    field: str
    name: str
    steps: str | None = None


RANGE = (Reading("min", "min", "min_step"), Reading("max", "max", "max_step"))
"""The least and the greatest value, which are not shown where they are the same in each run."""


def comparison_section(
    entries: Entries,
    runs: Entries,
    readings: Sequence[Reading],
    *,
    config: Entries = (),
    facts: Mapping[str, object] | None = None,
    first: str | None = None,
) -> Section:
    """Return the metrics of runs.

    Args:
        entries: The metrics.
        runs: The runs, in order.
        readings: What is shown of each metric; the first alone where runs are rows.
        config: The config keys that differ.
        facts: What the heading says about where the metrics were read.
        first: The metric that ranks the runs; if None, the one that most likely decides which run is best.
    """
    heading = {"runs": len(runs), "metrics": count_members(entries), **(facts or {})}
    if len(runs) > MOST_COLUMNS:
        return _runs_as_rows(entries, runs, readings[0].field, config, heading, first=first)
    labels = [run["label"] for run in runs]
    rows = []
    for entry in entries:
        constant = entry["min"] == entry["max"]
        for reading in readings:
            if constant and reading in RANGE:
                continue
            cells = _cells(entry, reading, labels)
            if any(at.value is not None for at in cells):
                rows.append([entry["name"], reading.name, *cells, entry.get("members")])
    columns = [Column("metric", name_cell), Column("value", str), *run_columns(labels, at_cell)]
    families = bool(with_members((), entries))
    return Section(
        name="COMPARISON",
        facts=heading,
        columns=[*columns, Column("members")] if families else columns,
        rows=rows if families else [row[:-1] for row in rows],
        kept=3,
        tail=1 if families else 0,
        nouns=Nouns(columns="runs", uncut=1),
        remedy=_METRICS_REMEDY,
        weight=2,
    )


def _cells(entry: Mapping[str, Any], reading: Reading, labels: Iterable[str]) -> list[At]:
    if "members" in entry and reading not in RANGE:
        return [At(_span(entry, run)) for run in labels]
    values = entry.get(reading.field, {})
    steps = {} if reading.steps is None else entry.get(reading.steps, {})
    return [At(values.get(run), steps.get(run)) for run in labels]


def _span(entry: Mapping[str, Any], run: str) -> Span | None:
    """Return the range of the values that the members of a family have in a run."""
    return Span(entry["low"][run], entry["high"][run]) if run in entry["low"] else None


def _runs_as_rows(
    entries: Entries,
    runs: Entries,
    field: str,
    config: Entries,
    facts: Mapping[str, object],
    *,
    first: str | None,
) -> Section:
    """Return a row for each run: a metric, the config keys that differ most clearly, the other metrics."""
    from pull_logs.analyze.statistics import deciding_metric

    entries = [entry for entry in entries if "members" not in entry]  # a range for each run says little
    first = first or deciding_metric(entry["name"] for entry in entries)
    metrics = sorted(entries, key=lambda entry: entry["name"] != first)
    values = [(Column(entry["name"]), entry[field], None) for entry in metrics]
    shown = [*values[:1], *config_cells(config, len(runs)), *values[1:]]
    labels = [run["label"] for run in runs]
    cells = [labels, *(_by_run(values, labels, missing) for _, values, missing in shown)]
    return Section(
        name="COMPARISON",
        facts=facts,
        columns=[
            Column("run", name_cell),
            *(column for column, _, _ in shown),
        ],
        rows=ColumnRows(cells),
        kept=2 if values else 1,
        nouns=Nouns(rows="runs", uncut=1 if values else 0),
        remedy=_METRICS_REMEDY,
        weight=2,
        texts=[column.texts if isinstance(column, MetricCells) else column for column in cells],
    )


def _by_run(values: Mapping[str, Any], labels: Sequence[str], missing: Any) -> Sequence[Any]:
    """Return the value of each run."""
    if isinstance(values, RunValues):
        return values.listed(labels)
    return [values.get(label, missing) for label in labels]


def config_cells(entries: Entries, runs: int) -> list[tuple[Column, Mapping[str, Any], Any]]:
    """Return the config keys that distinguish runs most clearly, for a section with a row per run.

    Args:
        entries: The keys that differ.
        runs: How many runs there are.

    Returns:
        For each key its column, its values by run label, and the value of a run that does not have it.
    """
    beside = sorted(entries, key=lambda entry: _dullness(entry["values"], runs))[:_MOST_KEYS]
    return [(Column(f"config.{entry['key']}", known_exact), entry["values"], ABSENT) for entry in beside]


def _dullness(values: Mapping[str, Any], runs: int) -> tuple[bool, int]:
    """Return how little a config key distinguishes runs: least if all differ, then if most are the same."""
    counts = Counter(map(exact, values.values()))
    counts["absent"] = runs - len(values)
    return len(values) == runs == len(counts) - 1, max(counts.values())


def config_diff_section(entries: Entries, labels: Sequence[str], *, same: int) -> Section:
    """Return the config keys that differ; of many runs, each value with the runs that have it.

    Args:
        entries: The keys.
        labels: The runs, in order.
        same: How many keys are the same in all runs.
    """
    facts = {"runs": len(labels), "differ": count_members(entries), "same": same}
    if len(labels) > MOST_COLUMNS:
        return Section(
            name="CONFIG_DIFF",
            facts=facts,
            columns=[
                Column("key", name_cell),
                Column("distinct"),
                Column("value", known_exact),
                Column("n"),
                Column("runs", str),
            ],
            rows=[row for entry in entries for row in _values(entry, labels)],
            kept=5,
        )
    return Section(
        name="CONFIG_DIFF",
        facts=facts,
        columns=[Column("key", name_cell), *run_columns(labels, known_exact)],
        rows=[[entry["key"], *(_value(entry, run) for run in labels)] for entry in entries],
        kept=2,
        nouns=Nouns(rows="keys", columns="runs", uncut=1),
    )


def _value(entry: Mapping[str, Any], run: str) -> Any:
    if "members" in entry and not entry["values"]:
        return _span(entry, run) or ABSENT
    return entry["values"].get(run, ABSENT)


def _values(entry: Mapping[str, Any], labels: Sequence[str]) -> list[list[Any]]:
    """Return a row for each value of a config key; one row for a key with very many values."""
    by_value: dict[str, list[str]] = {}
    for run in labels:
        by_value.setdefault(known_exact(_value(entry, run)), []).append(run)
    distinct = len(by_value)
    if distinct > _MOST_VALUES:
        return [[entry["key"], distinct, ABSENT, len(labels), ""]]
    return [
        [entry["key"], distinct, _value(entry, runs[0]), len(runs), some_labels(runs, len(labels))]
        for runs in by_value.values()
    ]


def summary_comparison_section(entries: Entries, labels: Sequence[str]) -> Section:
    """Return the summary keys with their differences from the first run; of many runs, their spread.

    The columns of the differences are `2-1`, `3-1`, ...: the second and the third run minus the first.
    """
    facts: dict[str, object] = {"runs": len(labels), "keys": count_members(entries)}
    if len(labels) > MOST_COLUMNS:
        names = ("key", "n", "min", "min_run", "median", "max", "max_run")
        shows = {"key": name_cell, "min_run": name_cell, "max_run": name_cell}
        return Section(
            name="SUMMARY_COMPARISON",
            facts=facts,
            columns=[Column(name, shows[name]) if name in shows else Column(name) for name in names],
            rows=[_spread(entry) for entry in entries],
            kept=len(names),
            nouns=Nouns(rows="keys"),
        )
    others = labels[1:]
    return Section(
        name="SUMMARY_COMPARISON",
        facts=facts,
        columns=[
            Column("key", name_cell),
            *run_columns([*labels, *(f"{number}-1" for number in range(2, len(labels) + 1))], known),
        ],
        rows=[
            [
                entry["key"],
                *(_value(entry, run) for run in labels),
                *(entry["delta"].get(run, ABSENT) for run in others),
            ]
            for entry in entries
        ],
        kept=2,
        nouns=Nouns(rows="keys", uncut=1),
    )


def _spread(entry: Mapping[str, Any]) -> list[Any]:
    """Return the least, the median and the greatest finite number of a summary key, and whose they are."""
    if "members" in entry:
        return _family_spread(entry)
    from statistics import median, median_low

    numbers = {
        run: value
        for run, value in entry["values"].items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    if not numbers:
        return [entry["key"], 0, *[None] * 5]
    low, high = min(numbers, key=numbers.__getitem__), max(numbers, key=numbers.__getitem__)
    try:
        middle = median(numbers.values())
    except OverflowError:  # halfway between two integers beyond all doubles
        middle = median_low(numbers.values())
    return [entry["key"], len(numbers), numbers[low], low, middle, numbers[high], high]


def _family_spread(entry: Mapping[str, Any]) -> list[Any]:
    low, high = entry["low"], entry["high"]
    if not low:
        return [entry["key"], 0, *[None] * 5]
    first, last = min(low, key=low.__getitem__), max(high, key=high.__getitem__)
    return [entry["key"], len(low), low[first], first, None, high[last], last]


def some_labels(labels: Sequence[str], of: int) -> str:
    """Return the names of runs that have something in common: all of them, or the first and how many more.

    Args:
        labels: Their names.
        of: How many runs there are; of up to `MOST_COLUMNS` all are named, of more up to three.
    """
    most = MOST_COLUMNS if of <= MOST_COLUMNS else _MOST_NAMED
    if len(labels) <= most:
        return " ".join(map(name_cell, labels))
    return f"{name_cell(labels[0])} +{len(labels) - 1}"
