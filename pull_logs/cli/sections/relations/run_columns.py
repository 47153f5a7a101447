"""The sections `[COLUMNS]`, one row per run, and `[COLUMN_TOTALS]`, one row per column of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pull_logs.cli.render import Column, Nouns, Section, columns, name_cell

_TOTALS = ("column", "n", "missing", "sum", "mean", "std", "min", "median", "max")


def run_column_sections(answer: Mapping[str, Any]) -> list[Section]:
    """Return the values of the runs, and their sums and means over all runs."""
    entries, runs = answer["columns"], answer["runs"]
    sections = [
        Section(
            name="COLUMNS",
            facts={"runs": len(runs), "columns": len(entries)},
            columns=[Column("run", name_cell), *(Column(entry["name"]) for entry in entries)],
            rows=[[run["label"], *(entry["values"].get(run["label"]) for entry in entries)] for run in runs],
            kept=2,
            nouns=Nouns(rows="runs"),
            weight=3,
        )
    ]
    if answer["column_totals"]:
        sections.append(
            Section(
                name="COLUMN_TOTALS",
                facts={"runs": answer["alignment"]["runs"]},
                columns=columns(*_TOTALS, column=name_cell),
                rows=[[entry[name] for name in _TOTALS] for entry in answer["column_totals"]],
                kept=len(_TOTALS),
                nouns=Nouns(rows="columns"),
            )
        )
    return sections
