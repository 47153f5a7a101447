"""Measures sections of answers and cuts them shorter.

An *extent* counts the parts of a section. A *cutter* takes a section and returns a function from an extent to
the shortened section. `pull_logs.cli.render.shapes` says which of these a section uses, and in which order it
is cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Extent:
    """How many parts of each kind a section has, or may have."""

    sections: int = 0
    runs: int = 0
    entries: int = 0
    rows: int = 0
    columns: int = 0
    chars: int = 0


def longest(value: Any) -> int:
    """Return the length of the longest text in a value, or of the JSON of its longest list."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return max((max(len(key), longest(item)) for key, item in value.items()), default=0)
    if isinstance(value, list):
        return len(json.dumps(value))
    return 0


def text_length(cells: Iterable[Any]) -> int:
    """Return the characters of those cells that are texts, each of which takes at least a byte."""
    return sum(len(value) for value in cells if type(value) is str)


def clip(value: Any, chars: int) -> Any:
    """Return a value of a record or a cell with its texts and lists cut to a length."""
    if isinstance(value, str):
        return value if len(value) <= chars else value[: max(chars - 1, 0)] + "…"
    if isinstance(value, list) and len(json.dumps(value)) > chars:
        return _clip_items(value, chars)
    if isinstance(value, Mapping):
        return {key: clip(item, chars) for key, item in value.items() if len(key) <= chars}
    return value


def _clip_items(items: Sequence[Any], chars: int) -> list[Any]:
    """Return the first items that fit; a record among them keeps all its keys."""
    kept = []
    for item in items:
        if isinstance(item, Mapping):
            clipped: Any = {key: clip(value, chars) for key, value in item.items()}
        else:
            clipped = clip(item, chars)
        chars -= len(json.dumps(clipped)) + 2  # with the comma after it
        if chars < 0:
            break
        kept.append(clipped)
    return kept


def _first(mapping: Mapping[str, Any], count: int, chars: int) -> dict[str, Any]:
    """Return the first members whose keys are not too long."""
    kept = [key for key in mapping if len(key) <= chars][:count]
    return {key: mapping[key] for key in kept}


def _some_runs(mapping: Mapping[str, Any], count: int) -> dict[str, Any]:
    return dict(list(mapping.items())[:count])


def list_extent(entries: Sequence[Any]) -> Extent:
    """Measure a list: its entries, and its longest text."""
    return Extent(entries=len(entries), chars=max(map(longest, entries), default=0))


def cut_list(entries: Sequence[Any]) -> Callable[[Extent], Any]:
    """Cut a list to fewer entries, and the texts and lists in them."""
    return lambda to: [clip(entry, to.chars) for entry in entries[: to.entries]]


def cut_runs(runs: Sequence[Mapping[str, Any]]) -> Callable[[Extent], Any]:
    """Cut a legend to fewer runs; their labels, by which other sections name them, are never cut."""
    return lambda to: [
        {key: value if key == "label" else clip(value, to.chars) for key, value in run.items()}
        for run in runs[: to.entries]
    ]


def records_extent(records: Mapping[str, Any]) -> Extent:
    """Measure records by run: runs, keys of the largest record, longest text."""
    return Extent(
        runs=len(records),
        entries=max(map(len, records.values()), default=0),
        chars=max(
            (longest(record) if isinstance(record, dict) else 0 for record in records.values()), default=0
        ),
    )


def cut_records(records: Mapping[str, Mapping[str, Any]]) -> Callable[[Extent], Any]:
    """Cut records to fewer runs, each with fewer keys."""
    return lambda to: {
        run: {key: clip(value, to.chars) for key, value in _first(record, to.entries, to.chars).items()}
        for run, record in _some_runs(records, to.runs).items()
    }


def schema_extent(schemas: Mapping[str, Sequence[Mapping[str, Any]]]) -> Extent:
    """Measure schemas by run: runs, columns, longest name."""
    names = [len(entry["name"]) for entries in schemas.values() for entry in entries]
    return Extent(
        runs=len(schemas), entries=max(map(len, schemas.values()), default=0), chars=max(names, default=0)
    )


def cut_schema(schemas: Mapping[str, Sequence[Mapping[str, Any]]]) -> Callable[[Extent], Any]:
    """Cut schemas to fewer runs, each with fewer columns."""
    return lambda to: {
        run: [
            {**entry, "type": clip(entry["type"], to.chars)}
            for entry in entries
            if len(entry["name"]) <= to.chars
        ][: to.entries]
        for run, entries in _some_runs(schemas, to.runs).items()
    }


_TEXTS = ("first", "last")
"""The statistics that may be long texts."""


def stats_extent(stats: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Extent:
    """Measure statistics by run and metric."""
    names = [len(name) for entries in stats.values() for name in entries]
    texts = [
        longest(found[name]) for entries in stats.values() for found in entries.values() for name in _TEXTS
    ]
    return Extent(
        runs=len(stats),
        entries=max(map(len, stats.values()), default=0),
        chars=max((*names, *texts), default=0),
    )


def cut_stats(stats: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Callable[[Extent], Any]:
    """Cut statistics to fewer runs and metrics; numbers are never cut."""
    return lambda to: {
        outer: {
            inner: {**found, **{name: clip(found[name], to.chars) for name in _TEXTS}}
            for inner, found in _first(entries, to.entries, to.chars).items()
        }
        for outer, entries in _some_runs(stats, to.runs).items()
    }


def history_extent(histories: Mapping[str, Mapping[str, Any]]) -> Extent:
    """Measure histories by run: runs, rows, columns, longest text."""
    texts = (
        longest(cell)
        for history in histories.values()
        for row in (history["columns"], *history["rows"])
        for cell in row
        if isinstance(cell, (str, list, dict))
    )
    return Extent(
        runs=len(histories),
        rows=max((len(history["rows"]) for history in histories.values()), default=0),
        columns=max((len(history["columns"]) - 1 for history in histories.values()), default=0),
        chars=max(texts, default=0),
    )


def cut_history(histories: Mapping[str, Mapping[str, Any]]) -> Callable[[Extent], Any]:
    """Cut histories to fewer runs, rows and columns; the ends and the extremes are kept longest."""
    ranks: dict[str, list[int]] = {}

    def cut(to: Extent) -> dict[str, Any]:
        shown = _some_runs(histories, to.runs)
        for run, history in shown.items():
            if run not in ranks and to.rows < len(history["rows"]):
                ranks[run] = ranked_rows(history["rows"])
        return {run: _cut_table(history, ranks.get(run), to) for run, history in shown.items()}

    return cut


def _cut_table(history: Mapping[str, Any], rank: Sequence[int] | None, to: Extent) -> dict[str, Any]:
    names, rows = history["columns"], history["rows"]
    kept = [0, *[index for index, name in enumerate(names) if index and len(name) <= to.chars][: to.columns]]
    if rank is not None and to.rows < len(rows):
        rows = [rows[index] for index in sorted(rank[: to.rows])]
    picked = history["rows_picked"]
    return {
        **history,
        "columns": [names[index] for index in kept],
        "rows": [[clip(row[index], to.chars) for index in kept] for row in rows],
        "rows_shown": len(rows),
        "sampling": "none" if len(rows) == picked else f"extremes {len(rows)}/{picked}",
    }


def ranked_rows(rows: Sequence[Sequence[Any]]) -> list[int]:
    """Return the indexes of rows in the order in which they are kept: the ends and the extremes first."""
    import numpy as np

    from pull_logs.analyze.statistics import rank_rows

    metrics = []
    for cells in list(zip(*rows, strict=True))[1:]:
        numbers = [_as_number(cell) for cell in cells]
        numeric = np.array([number is not None for number in numbers], np.bool_)
        metrics.append((np.array([number or 0.0 for number in numbers], np.float64), numeric))
    return [int(row) for row in rank_rows(metrics, length=len(rows))]


def _as_number(cell: object) -> float | None:
    """Return the number of a cell; of texts, only the names of non-finite numbers are numbers."""
    if isinstance(cell, bool) or not isinstance(cell, (int, float, str)):
        return None
    if isinstance(cell, str) and cell not in ("NaN", "Infinity", "-Infinity"):
        return None
    try:
        return float(cell)
    except OverflowError:
        return float("inf")


def entries_extent(entries: Sequence[Mapping[str, Any]]) -> Extent:
    """Measure a comparison: entries with mappings from run labels to values."""
    tables = [item for entry in entries for item in entry.values() if isinstance(item, Mapping)]
    names = [item for entry in entries for item in entry.values() if isinstance(item, str)]
    return Extent(
        runs=len({run for table in tables for run in table}),
        entries=len(entries),
        chars=max(
            map(longest, (*names, *(value for table in tables for value in table.values()))), default=0
        ),
    )


def cut_entries(entries: Sequence[Mapping[str, Any]]) -> Callable[[Extent], Any]:
    """Cut a comparison to fewer entries, each with fewer runs."""
    order = list(
        dict.fromkeys(
            run for entry in entries for item in entry.values() if isinstance(item, Mapping) for run in item
        )
    )

    def cut(to: Extent) -> list[dict[str, Any]]:
        runs = set(order[: to.runs])
        return [
            {
                field: {run: clip(value, to.chars) for run, value in item.items() if run in runs}
                if isinstance(item, Mapping)
                else item
                for field, item in entry.items()
            }
            for entry in entries
            if all(len(item) <= to.chars for item in entry.values() if isinstance(item, str))
        ][: to.entries]

    return cut


def table_extent(table: Mapping[str, Any]) -> Extent:
    """Measure a table of columns and rows of cells."""
    texts = [longest(cell) for row in table["rows"] for cell in row]
    names = [len(column["name"]) for column in table["columns"]]
    return Extent(
        rows=len(table["rows"]), columns=len(table["columns"]), chars=max([*texts, *names], default=0)
    )


def cut_table(table: Mapping[str, Any]) -> Callable[[Extent], Any]:
    """Cut a table to fewer rows and columns, and the texts in them."""
    return lambda to: {
        **table,
        "columns": [
            {name: clip(text, to.chars) for name, text in column.items()}
            for column in table["columns"][: to.columns]
        ],
        "rows": (
            rows := [[clip(cell, to.chars) for cell in row[: to.columns]] for row in table["rows"][: to.rows]]
        ),
        "rows_shown": len(rows),
    }
