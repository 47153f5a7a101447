"""The sections `[COLUMNS]`, one row per run, and `[COLUMN_TOTALS]`, one row per column of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pull_logs.cli.render import Column, Nouns, Section, columns, name_cell

_TOTALS = ("column", "n", "missing", "sum", "mean", "std", "min", "median", "max")


def run_column_sections(answer: Mapping[str, Any]) -> list[Section]:
    """Return the values of the runs, and their sums and means over all runs."""
    entries, runs = answer["columns"], answer["runs"]
    one_project = len({run["path"].rpartition("/")[0] for run in runs}) == 1
    sections = [
        Section(
            name="COLUMNS",
            facts={"runs": len(runs), "columns": len(entries)},
            columns=[
                Column("run", name_cell),
                Column("id" if one_project else "path", name_cell),
                *(Column(entry["name"]) for entry in entries),
            ],
            rows=[
                [
                    run["label"],
                    run["path"].rpartition("/")[2] if one_project else run["path"],
                    *(entry["values"].get(run["label"]) for entry in entries),
                ]
                for run in runs
            ],
            kept=3,
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
