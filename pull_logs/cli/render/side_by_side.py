"""The sections of `compare` that put runs side by side: their metrics, configs and summaries.

Up to ten runs stand in columns, as in the bare view. More stand in rows, the
best first where a metric ranks them, with the config keys that differ beside
their metrics; what differs in configs is then told value by value with the runs
that have it, and summaries by their spread.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pull_logs.cli.render.escape import escape
from pull_logs.cli.render.tables import Table, cell, exact

COLUMNS_AT_MOST = 10
"""Runs that are shown as columns; more become rows."""
_VALUES_AT_MOST = 10
_STRETCHES_AT_MOST = 12
_KEYS_BESIDE = 6

ABSENT = object()
"""What stands in a row for a run that has no such key."""


def known_value(value: Any) -> str:
    """A config's value with all its digits; empty where there is no such key."""
    if value is ABSENT:
        return ""
    return "null" if value is None else exact(value)


def read_at(answer: Mapping[str, Any]) -> dict[str, object]:
    """What a heading tells of where the metrics were read."""
    told = answer["alignment"]
    return {
        "at": told["at"],
        "x": told["x"],
        "interpolation": told["interpolation"],
        "interpolated": told["interpolated"] or None,
    }


def comparison_table(answer: Mapping[str, Any]) -> Table:
    """The metrics of the runs."""
    labels = [run["label"] for run in answer["runs"]]
    entries = answer["comparison"]
    facts = {"runs": len(labels), "metrics": len(entries), **read_at(answer)}
    if len(labels) > COLUMNS_AT_MOST:
        return _runs_as_rows(answer, facts)
    rows = []
    for entry in entries:
        for name in ("value",) if entry["min"] == entry["max"] else ("value", "min", "max"):
            steps = entry["x"] if name == "value" and answer["alignment"]["at"] != "last" else {}
            steps = entry.get(f"{name}_step", steps)
            rows.append([entry["name"], name, *((entry[name].get(run), steps.get(run)) for run in labels)])
    return Table(
        facts=facts,
        columns=("metric", "value", *labels),
        rows=rows,
        show=(escape, str, *[_stepped] * len(labels)),
        kept=2,
    )


def _stepped(value: tuple[Any, Any]) -> str:
    number, step = value
    return "" if number is None else cell(number) + ("" if step is None else f"@{cell(step)}")


def _runs_as_rows(answer: Mapping[str, Any], facts: Mapping[str, object]) -> Table:
    """The runs one below the other: the metric that ranks them, the keys that differ most plainly, the rest."""
    projects = {run["path"].rpartition("/")[0] for run in answer["runs"]}
    beside = sorted(answer["config_diff"], key=lambda entry: _dullness(entry["values"], len(answer["runs"])))
    beside = beside[:_KEYS_BESIDE]
    entries = answer["comparison"]
    first, rest = (entries[:1], entries[1:]) if "ranking" in answer else ([], entries)
    rows = [
        [
            run["label"],
            run["path"].rpartition("/")[2] if len(projects) == 1 else run["path"],
            *(entry["value"].get(run["label"]) for entry in first),
            *(entry["values"].get(run["label"], ABSENT) for entry in beside),
            *(entry["value"].get(run["label"]) for entry in rest),
        ]
        for run in answer["runs"]
    ]
    columns = [
        "run",
        "id" if len(projects) == 1 else "path",
        *(entry["name"] for entry in first),
        *(f"config.{entry['key']}" for entry in beside),
        *(entry["name"] for entry in rest),
    ]
    show = (escape, escape, *[cell] * len(first), *[known_value] * len(beside))
    return Table(facts=facts, columns=columns, rows=rows, show=show, kept=2 + len(first))


def _dullness(values: Mapping[str, Any], runs: int) -> tuple[bool, int]:
    """How little a config key tells runs apart: another value in each tells least, then the same in most."""
    counts = Counter(map(exact, values.values()))
    counts["absent"] = runs - len(values)
    return len(values) == runs == len(counts) - 1, max(counts.values())


def config_diff_table(answer: Mapping[str, Any]) -> Table:
    """The config keys that differ; of many runs, each value with the runs that have it."""
    labels = [run["label"] for run in answer["runs"]]
    entries = answer["config_diff"]
    facts = {"runs": len(labels), "differ": len(entries), "same": answer["config_same"]}
    if len(labels) <= COLUMNS_AT_MOST:
        return Table(
            facts=facts,
            columns=("key", *labels),
            rows=[[entry["key"], *(entry["values"].get(run, ABSENT) for run in labels)] for entry in entries],
            show=(escape, *[known_value] * len(labels)),
            kept=2,
        )
    rows: list[list[Any]] = []
    for entry in entries:
        by_value: dict[str, list[str]] = {}
        for run in labels:
            by_value.setdefault(known_value(entry["values"].get(run, ABSENT)), []).append(run)
        if len(by_value) > _VALUES_AT_MOST:
            rows.append([entry["key"], len(by_value), ABSENT, len(labels), ""])
        else:
            rows += [
                [
                    entry["key"],
                    len(by_value),
                    entry["values"].get(runs[0], ABSENT),
                    len(runs),
                    label_ranges(runs),
                ]
                for runs in by_value.values()
            ]
    return Table(
        facts=facts,
        columns=("key", "distinct", "value", "n", "runs"),
        rows=rows,
        show=(escape, cell, known_value, cell, str),
        kept=4,
    )


def label_ranges(labels: Sequence[str]) -> str:
    """Labels with neighbours drawn together, and how many stretches more there are: `A-D F +3`."""
    numbers = sorted(map(_label_number, labels))
    by_number = {_label_number(label): label for label in labels}
    stretches: list[list[int]] = []
    for number in numbers:
        if stretches and number == stretches[-1][-1] + 1:
            stretches[-1].append(number)
        else:
            stretches.append([number])
    parts = [
        "-".join(by_number[number] for number in (run[0], run[-1]))
        if len(run) > 2
        else " ".join(by_number[number] for number in run)
        for run in stretches
    ]
    more = len(parts) - _STRETCHES_AT_MOST
    return " ".join(parts[:_STRETCHES_AT_MOST]) + (f" +{more}" if more > 0 else "")


def _label_number(label: str) -> int:
    number = 0
    for letter in label:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def summary_comparison_table(answer: Mapping[str, Any]) -> Table:
    """The summary keys with their differences from the first run; of many runs, their spread."""
    labels = [run["label"] for run in answer["runs"]]
    entries = answer["summary_comparison"]
    first = labels[0] if labels else None
    facts = {"runs": len(labels), "keys": len(entries)}
    if len(labels) > COLUMNS_AT_MOST:
        return Table(
            facts=facts,
            columns=("key", "n", "min", "min_run", "median", "max", "max_run"),
            rows=[_spread(entry) for entry in entries],
            show=(escape, cell, cell, str, cell, cell, str),
            kept=3,
        )
    others = labels[1:]
    return Table(
        facts={**facts, "first": first},
        columns=("key", *labels, *(f"{run}-{first}" for run in others)),
        rows=[
            [
                entry["key"],
                *(entry["values"].get(run, ABSENT) for run in labels),
                *(entry["delta"].get(run, ABSENT) for run in others),
            ]
            for entry in entries
        ],
        show=(escape, *[_summary_cell] * (len(labels) + len(others))),
        kept=2,
    )


def _summary_cell(value: Any) -> str:
    if value is ABSENT:
        return ""
    return "null" if value is None else cell(value)


def _spread(entry: Mapping[str, Any]) -> list[Any]:
    """The least, the middle and the greatest of the finite numbers of a summary key, and where they are."""
    numbers = {
        run: value
        for run, value in entry["values"].items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    if not numbers:
        return [entry["key"], 0, None, "", None, None, ""]
    low, high = min(numbers, key=numbers.__getitem__), max(numbers, key=numbers.__getitem__)
    try:
        median = statistics.median(numbers.values())
    except OverflowError:  # halfway between two whole numbers beyond all doubles
        median = statistics.median_low(numbers.values())
    return [entry["key"], len(numbers), numbers[low], low, median, numbers[high], high]
