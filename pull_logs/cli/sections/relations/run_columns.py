"""The sections `[COLUMNS]`, one row per run, and `[COLUMN_TOTALS]`, one row per column of runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pull_logs.cli.render import SECONDS, Column, Nouns, Section, columns, is_seconds, name_cell
from pull_logs.cli.sections.side_by_side import config_cells

_TOTALS = ("column", "n", "missing", "sum", "mean", "std", "min", "median", "max", "nonfinite")


_REDUCED = re.compile(
    r"(?:(?:first|last|mean|median|sum|std)\((?P<all>[^(),]+)\)"
    r"|(?:at|at_first|quantile)\((?P<some>[^(),]+),[^()]*\))"
)
"""An expression whose value has the unit of its metric."""


def seconds_of(entries: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return the names that are seconds in a comparison: fields and metrics of W&B, and columns of these.

    Args:
        entries: The columns of the answer, which may have the names of fields with another meaning.
    """
    fields = {*SECONDS, "duration"}
    own: dict[str, bool] = {}
    for entry in entries:
        expression = entry["expression"].strip()
        found = _REDUCED.fullmatch(expression)
        of = expression if found is None else (found["all"] or found["some"]).strip()
        own[entry["name"]] = is_seconds(of, fields)
    return frozenset(name for name in {*fields, *own} if own.get(name, name in fields))


def run_column_sections(answer: Mapping[str, Any]) -> list[Section]:
    """Return the values of the runs, without groups also their configs, and sums and means over all runs."""
    entries, runs = answer["columns"], answer["runs"]
    shown = [(Column(entry["name"]), entry["values"], None) for entry in entries]
    if "groups" not in answer:
        shown += config_cells(answer["config_diff"], len(runs))
    sections = [
        Section(
            name="COLUMNS",
            facts={"runs": len(runs), "columns": len(entries)},
            columns=[Column("run", name_cell), *(column for column, _, _ in shown)],
            rows=[
                [run["label"], *(values.get(run["label"], missing) for _, values, missing in shown)]
                for run in runs
            ],
            kept=2,
            nouns=Nouns(rows="runs", uncut=1),
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
