"""The `[SCHEMA]` and `[STATS]` sections: of few runs one for each run, of many runs by metric.

From `MANY_RUNS` runs on, `[SCHEMA]` is one table with a row for each column of the histories, and `[STATS]` a
table for each metric with a row for each run. Both name the runs that lack the metric. The JSON keeps its
form, run by run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, TypeAlias, overload

from pull_logs.analyze.answers import MetricStatistics, join_columns, join_indexed, rank_of
from pull_logs.analyze.statistics import STATISTICS
from pull_logs.cli.render import REQUESTED, Column, Nouns, Section, columns, name_cell

MANY_RUNS = 4
"""The number of runs from which on a schema and statistics are shown by metric."""

_REMEDY = "--select REGEX shows others"
_MOST_NAMED = 8

_SCHEMA = (
    "name", "type", "count", "missing", "nonfinite", "min", "max", "first_step", "last_step", "interval",
)  # fmt: skip

Schemas: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]
"""Entries for the columns of a history, by run label."""

Stats: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Statistics by run label and metric."""


def schema_sections(schemas: Schemas) -> list[Section]:
    """Return the schemas of runs."""
    if not schemas:
        return [Section(name="SCHEMA", facts={"runs": 0}, columns=columns(*_SCHEMA))]
    if len(schemas) >= MANY_RUNS:
        return [_schema({"runs": len(schemas)}, (*_SCHEMA, "runs", "lack"), _joined_schemas(schemas))]
    return [_schema({"run": run}, _SCHEMA, entries) for run, entries in schemas.items()]


def _schema(
    whose: Mapping[str, object], fields: Sequence[str], entries: Sequence[Mapping[str, Any]]
) -> Section:
    fields = with_members(fields, entries)
    return Section(
        name="SCHEMA",
        facts={**whose, "columns": count_members(entries)},
        columns=columns(*fields, name=name_cell, type=name_cell, lack=name_cell),
        rows=[[entry.get(field) for field in fields] for entry in entries],
        kept=len(fields),
        nouns=Nouns(rows="metrics"),
        remedy=_REMEDY,
        weight=REQUESTED,
    )


def _joined_schemas(schemas: Schemas) -> list[dict[str, Any]]:
    """Join schemas: counts are summed, ranges and steps combined, and `lack` names runs without a metric."""
    indexed = join_indexed(schemas)
    if indexed is not None:
        entries_of = [
            {**entry, "runs": len(runs), "lack": lacking(runs, schemas)} for entry, runs in indexed.values()
        ]
        return sorted(entries_of, key=lambda entry: rank_of(entry["name"], family=False))
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for run, entries in schemas.items():
        for entry in entries:
            found.setdefault(entry["name"], {})[run] = entry
    joined = [_joined(name, entries, schemas) for name, entries in found.items()]
    return sorted(joined, key=lambda entry: rank_of(entry["name"], family="members" in entry))


def _joined(name: str, entries: Mapping[str, Mapping[str, Any]], runs: Iterable[str]) -> dict[str, Any]:
    members = [entry["members"] for entry in entries.values() if "members" in entry]
    return {
        **join_columns(name, list(entries.values())),
        **({"members": max(members)} if members else {}),
        "runs": len(entries),
        "lack": lacking(entries, runs),
    }


def stats_sections(stats: Stats) -> list[Section]:
    """Return the statistics of runs."""
    if len(stats) >= MANY_RUNS:
        return _stats_by_metric(stats)
    if not stats:
        return [Section(name="STATS", facts={"runs": 0}, columns=columns("metric"))]
    return [
        _stats(
            {"run": run, "metrics": count_members(metrics.values())}, "metric", metrics, Nouns(rows="metrics")
        )
        for run, metrics in stats.items()
    ]


def _stats_by_metric(stats: Stats) -> list[Section]:
    families = {name: "members" in entry for metrics in stats.values() for name, entry in metrics.items()}
    names = sorted(families, key=lambda name: rank_of(name, family=families[name]))
    if not names:
        return [Section(name="STATS", facts={"runs": len(stats), "metrics": 0}, columns=columns("run"))]
    sections = []
    for name in names:
        runs = {run: metrics[name] for run, metrics in stats.items() if name in metrics}
        members = max(entry.get("members", 0) for entry in runs.values()) or None
        facts = {"metric": name, "members": members, "runs": len(runs), "lack": lacking(runs, stats)}
        sections.append(_stats(facts, "run", runs, Nouns(rows="runs", sections="metrics")))
    return sections


def _stats(
    facts: Mapping[str, object], first: str, entries: Mapping[str, Mapping[str, Any]], nouns: Nouns
) -> Section:
    asked = next((entry["quantiles"] for entry in entries.values() if entry.get("quantiles")), None)
    usual = STATISTICS if asked is None else _with_quantiles(list(asked))
    fields = with_members(usual, entries.values()) if first == "metric" else usual
    rows = _StatisticsRows([*entries.items()], fields)
    return Section(
        name="STATS",
        facts=facts,
        columns=[Column(first, name_cell), *columns(*fields)],
        rows=rows,
        texts=[_texts(name, found) for name, found in entries.items()],
        kept=len(fields) + 1,
        nouns=nouns,
        remedy=_REMEDY,
        weight=REQUESTED,
    )


class _StatisticsRows(Sequence[list[Any]]):
    """Rows of statistics, each made when it is used: those of runs that are not shown may not be read yet."""

    __slots__ = ("_entries", "_fields", "_made")

    def __init__(self, entries: Sequence[tuple[str, Mapping[str, Any]]], fields: Sequence[str]) -> None:
        self._entries, self._fields = entries, fields
        self._made: dict[int, list[Any]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> list[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[Any]]: ...
    def __getitem__(self, index: int | slice) -> list[Any] | list[list[Any]]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        if index not in self._made:
            name, found = self._entries[index]
            self._made[index] = [name, *map(_with_own(found).get, self._fields)]
        return self._made[index]


def _texts(name: str, found: Mapping[str, Any]) -> Sequence[Any]:
    """Return the cells of a row that may be texts."""
    if isinstance(found, MetricStatistics):
        return [name, *found.texts]
    return [name, *found.values()]


def _with_own(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return statistics with the percentiles that were asked for beside the others, if any were."""
    asked = found.get("quantiles")
    return {**asked, **found} if asked else found


def _with_quantiles(names: Sequence[str]) -> Sequence[str]:
    """Return the columns of statistics with these percentiles instead of the usual ones."""
    others = [name for name in STATISTICS if not name.startswith("p")]
    return (*others[:2], *names, *others[2:])


def with_members(fields: Sequence[str], entries: Iterable[Mapping[str, Any]]) -> Sequence[str]:
    """Return the columns of a section of metrics: with `members` if one of its rows is a family."""
    return (*fields, "members") if any("members" in entry for entry in entries) else fields


def count_members(entries: Iterable[Mapping[str, Any]]) -> int:
    """Return how many names entries stand for, the members of families included."""
    return sum(entry.get("members", 1) for entry in entries)


def lacking(having: Iterable[str], runs: Iterable[str]) -> str | None:
    """Return the labels of the runs without something, a few of them by name; None if all have it."""
    had = frozenset(having)
    if isinstance(runs, Sized) and len(runs) == len(had):
        return None
    absent = [run for run in runs if run not in had]
    more = len(absent) - _MOST_NAMED
    return " ".join([*absent[:_MOST_NAMED], *([f"+{more}"] if more > 0 else [])]) or None
