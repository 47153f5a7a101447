"""Columns of runs in a comparison: their values, and their sums and means over all runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pull_logs.analyze.answers.run_readings import RunReading
from pull_logs.analyze.questions import RunColumn, run_scope
from pull_logs.analyze.results import ColumnSections, ColumnTotals
from pull_logs.analyze.statistics import describe_sample
from pull_logs.frames import PlainNames, RunLike
from pull_logs.rows.canonical import canon_number, spell


def column_of_runs(name: str, runs: Sequence[RunLike]) -> list[RunColumn]:
    """Return the column of a name such as `created_at` or `config.lr`; an empty list if no run has it.

    Args:
        name: The name; the backslashes before the dots of keys may be left out.
        runs: The runs.
    """
    known = dict.fromkeys(cell for run in runs for cell in run_scope(run))
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
    """Return the statistics of the finite numbers."""
    finite = [number for number in numbers if number is not None and math.isfinite(number)]
    found = describe_sample(finite)
    return {
        "column": name,
        "n": len(finite),
        "missing": len(numbers) - len(finite),
        "sum": spell(canon_number(math.fsum(finite))),
        "mean": _number(found.mean),
        "std": _number(found.std),
        "min": _number(min(finite, default=None)),
        "median": _number(found.median),
        "max": _number(max(finite, default=None)),
    }


def _number(value: float | None) -> Any:
    return None if value is None else spell(canon_number(value))
