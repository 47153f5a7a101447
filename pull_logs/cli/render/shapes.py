"""How the sections of each JSON answer are measured and cut by a token budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pull_logs.cli.render.budget import LEAST_TEXT, Shape
from pull_logs.cli.render.cutting import (
    Extent,
    clip,
    cut_entries,
    cut_history,
    cut_list,
    cut_records,
    cut_runs,
    cut_schema,
    cut_stats,
    cut_table,
    entries_extent,
    history_extent,
    list_extent,
    longest,
    records_extent,
    schema_extent,
    stats_extent,
    table_extent,
)

_RECORD = Shape(
    records_extent,
    cut_records,
    (
        ("chars", 500),
        ("chars", 120),
        ("entries", 40),
        ("runs", 8),
        ("chars", 40),
        ("entries", 6),
        ("runs", 1),
        ("entries", 1),
    ),
    {"runs": "runs", "entries": "keys"},
)
_METRICS = replace(
    _RECORD,
    words={"runs": "runs", "entries": "metrics"},
    remedy="--select REGEX shows others",
    weight=24,  # twice that of the runs, because an option requests them
)
_ENTRIES = Shape(
    entries_extent,
    cut_entries,
    (
        ("chars", 500),
        ("chars", 120),
        ("entries", 40),
        ("runs", 12),
        ("chars", 40),
        ("entries", 6),
        ("runs", 2),
        ("entries", 1),
    ),
    {"entries": "keys", "runs": "runs"},
)
VIEW_SHAPES: Mapping[str, Shape] = {
    "runs": Shape(
        list_extent,
        cut_runs,
        (("chars", 200), ("chars", 60), ("entries", 8), ("chars", 24), ("entries", 1)),
        {"entries": "runs"},
        weight=12,  # says where the runs are from
    ),
    "notes": Shape(list_extent, cut_list, (("chars", 200), ("entries", 1)), {"entries": "notes"}),
    "assertions": Shape(
        list_extent,
        cut_list,
        (("chars", 2000), ("chars", 300), ("entries", 8), ("chars", 80), ("entries", 1)),
        {"entries": "assertions"},
        weight=3,
    ),
    "meta": replace(_RECORD, weight=_METRICS.weight),
    "config": _RECORD,
    "summary": _RECORD,
    "schema": replace(_METRICS, extent=schema_extent, cutter=cut_schema),
    "stats": replace(_METRICS, extent=stats_extent, cutter=cut_stats),
    "history": Shape(
        history_extent,
        cut_history,
        (
            ("chars", 300),
            ("rows", 24),
            ("columns", 12),
            ("chars", 80),
            ("rows", 6),
            ("runs", 8),
            ("columns", 3),
            ("runs", 1),
            ("rows", 2),
            ("columns", 1),
        ),
        {"runs": "runs", "rows": "rows", "columns": "columns"},
        "--select, --where or --last shows others",
        weight=3,  # what a budget is mostly for
    ),
    "checkpoints": Shape(
        list_extent,
        cut_list,
        (("chars", 200), ("entries", 40), ("chars", 60), ("entries", 3), ("chars", 24), ("entries", 1)),
        {"entries": "checkpoints"},
        "--select REGEX shows others",
    ),
    "comparison": replace(_ENTRIES, words={"entries": "metrics", "runs": "runs"}, remedy=_METRICS.remedy),
    "config_diff": _ENTRIES,
    "summary_comparison": _ENTRIES,
}
"""The sections of the bare view."""


def _entries(weight: int) -> Shape:
    """Return the shape of a list of records, cut from its end."""
    return replace(VIEW_SHAPES["runs"], words={"entries": "entries"}, weight=weight)


def _cut_fields(value: Mapping[str, Any]) -> Callable[[Extent], Any]:
    return lambda to: {name: clip(item, max(to.chars, LEAST_TEXT)) for name, item in value.items()}


_FIELDS = Shape(
    lambda value: Extent(chars=longest(value)), _cut_fields, (("chars", 200), ("chars", LEAST_TEXT)), {}
)
_SENTENCE = Shape(
    lambda value: Extent(chars=longest(value)),
    lambda value: lambda to: clip(value, max(to.chars, LEAST_TEXT)),
    (("chars", 200), ("chars", LEAST_TEXT)),
    {},
)
COMPARISON_SHAPES: Mapping[str, Shape] = {
    **{
        name: VIEW_SHAPES[name]
        for name in ("notes", "comparison", "config_diff", "summary_comparison", "assertions")
    },
    "runs": _entries(3),
    "alignment": _FIELDS,
    "answer": _SENTENCE,
    "answer_note": _SENTENCE,
    "ranking": _entries(2),
    "columns": replace(VIEW_SHAPES["comparison"], words={"entries": "columns", "runs": "runs"}),
    "column_totals": _entries(2),
    "effect": _FIELDS,
    "effects": _entries(3),
    "fits": _entries(3),
    "fit_outliers": _entries(2),
    "pareto_front": _FIELDS,
    "pareto": _entries(3),
    "groups": _entries(6),
    "group_stats": _entries(6),
    "tasks": _entries(1),
    "task_groups": _entries(2),
    "task_verdicts": _entries(3),
    "task_profiles": _entries(1),
    "gate": _FIELDS,
    "gate_metrics": _entries(3),
    "verdicts": _entries(6),
    "best_checkpoint": _FIELDS,
    "checkpoints": _entries(3),
}
"""The sections of `compare`."""


def _listed(words: str, *, weight: int = 1, remedy: str = VIEW_SHAPES["notes"].remedy) -> Shape:
    """Return the shape of a list of an overview, cut from its end."""
    plan = (("chars", 400), ("entries", 20), ("chars", 120), ("entries", 6), ("chars", 60), ("entries", 1))
    return replace(VIEW_SHAPES["notes"], plan=plan, words={"entries": words}, weight=weight, remedy=remedy)


INFO_SHAPES: Mapping[str, Shape] = {
    "path": _SENTENCE,
    "metrics": _SENTENCE,
    "redacted": _FIELDS,
    "runs": _listed("runs", weight=12),
    "notes": VIEW_SHAPES["notes"],
}
"""The sections of `info`."""

LOGS_SHAPES: Mapping[str, Shape] = {
    "runs": replace(_entries(3), words={"entries": "runs"}),
    "logs": replace(_entries(12), words={"entries": "lines"}),
    "notes": VIEW_SHAPES["notes"],
}
"""The sections of `logs`."""

SQL_SHAPES: Mapping[str, Shape] = {
    "sql": Shape(
        table_extent,
        cut_table,
        (
            ("chars", 300),
            ("rows", 24),
            ("columns", 12),
            ("chars", 80),
            ("rows", 6),
            ("columns", 3),
            ("chars", LEAST_TEXT),
            ("rows", 1),
            ("columns", 1),
        ),
        {"rows": "rows", "columns": "columns"},
        "narrow the SELECT, or write all with -o FILE.parquet",
        weight=12,
    ),
    "notes": VIEW_SHAPES["notes"],
}
"""The sections of `sql`."""
MEDIA_SHAPES: Mapping[str, Shape] = {
    "runs": replace(_entries(3), words={"entries": "runs"}),
    "media": replace(_entries(12), words={"entries": "files"}),
    "notes": VIEW_SHAPES["notes"],
}
"""The sections of `media`."""

OVERVIEW_SHAPES: Mapping[str, Shape] = {
    "totals": replace(
        _listed("projects"),
        extent=lambda totals: list_extent(totals["projects"]),
        cutter=lambda totals: lambda to: {**totals, "projects": cut_list(totals["projects"])(to)},
    ),
    "states": _listed("states"),
    "config": _listed("keys"),
    "metrics": _listed("metrics", remedy="--select REGEX shows others"),
    "health": _listed("flags", weight=3),
    "notes": VIEW_SHAPES["notes"],
    "assertions": VIEW_SHAPES["assertions"],
}
"""The sections of `overview`."""
