"""Schema and statistics of many runs as text: by metric, not a block for each run.

From `MANY_RUNS` runs on, `[SCHEMA]` is one table in which a column of the histories has one row, and
`[STATS]` a table for each metric with a row for each run. Both tell which runs lack the metric. The JSON
keeps its form, run by run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pull_logs.cli.render.tables import NOTHING, cell, heading, table

MANY_RUNS = 4
"""From how many runs on a schema and statistics are told by metric."""

ALL_RUNS = "all"
"""What stands for a run's label in the schema of many runs."""

_NAMED_AT_MOST = 8


def schema_of_runs(schemas: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The schemas of runs as one: counts added up, ranges and steps joined, the median of the intervals.

    A type that is not the same in all runs lists the types. `lack` names the runs without the column.
    """
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for run, entries in schemas.items():
        for entry in entries:
            found.setdefault(entry["name"], {})[run] = entry
    names = sorted(found, key=lambda name: (name != "_step", name))
    return {ALL_RUNS: [_joined(name, found[name], schemas) for name in names]}


def _joined(name: str, entries: Mapping[str, Mapping[str, Any]], runs: Iterable[str]) -> dict[str, Any]:
    def told(field: str) -> list[Any]:
        return [entry[field] for entry in entries.values() if entry[field] is not None]

    intervals = sorted(told("interval"))
    types = sorted({*told("type")} - {"empty"}) or ["empty"]
    return {
        "name": name,
        "type": "|".join(types) if types != ["int", "number"] else "number",
        "count": sum(told("count")),
        "missing": sum(told("missing")),
        "nonfinite": sum(told("nonfinite")),
        "min": min(told("min"), default=None),
        "max": max(told("max"), default=None),
        "first_step": min(told("first_step"), default=None),
        "last_step": max(told("last_step"), default=None),
        "interval": intervals[len(intervals) // 2] if intervals else None,
        "runs": len(entries),
        "lack": lacking(entries, runs),
    }


def stats_by_metric(stats: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The statistics of runs, turned: by metric, then by run."""
    names = dict.fromkeys(name for metrics in stats.values() for name in metrics)
    return {name: {run: metrics[name] for run, metrics in stats.items() if name in metrics} for name in names}


def stats_lines(metrics: Mapping[str, Any], stats: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """The `[STATS]` of many runs.

    Args:
        metrics: What `stats_by_metric` gave, or what a budget left of it.
        stats: The statistics by run, nothing cut.
    """
    if not metrics:
        yield from (heading("STATS", runs=len(stats), metrics=0), NOTHING)
    for metric, runs in metrics.items():
        having = [run for run, found in stats.items() if metric in found]
        yield heading("STATS", metric=metric, runs=len(having), lack=lacking(having, stats))
        fields = list(next(iter(runs.values()), ()))
        rows = [[run, *(cell(found[field]) for field in fields)] for run, found in runs.items()]
        yield from table(["run", *fields], rows)


def lacking(having: Iterable[str], runs: Iterable[str]) -> str | None:
    """The labels of the runs that have something not, the first few by name; None where all have it."""
    had = frozenset(having)
    absent = [run for run in runs if run not in had]
    more = len(absent) - _NAMED_AT_MOST
    return " ".join([*absent[:_NAMED_AT_MOST], *([f"+{more}"] if more > 0 else [])]) or None
