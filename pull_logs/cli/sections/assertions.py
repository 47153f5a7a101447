"""The `[ASSERTIONS]` section: which assertion holds, and which runs break one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pull_logs.cli.render import Column, Section, json_text, name_cell, text_cell, yes_no
from pull_logs.suggestions import counted

MOST_NAMED = 5
"""The runs that are named of those that break one assertion."""

_COLUMNS = (
    Column("assert", text_cell),
    Column("holds", yes_no),
    Column("run", name_cell),
    Column("because", text_cell),
)


def assertions_section(verdicts: Sequence[Mapping[str, Any]]) -> Section:
    """Return a row for each assertion that holds, and for each run that breaks one, at most `MOST_NAMED`."""
    notes = []
    for verdict in verdicts:
        more = len(verdict["broken"]) - MOST_NAMED
        if more > 0:
            verb = "breaks" if more == 1 else "break"
            notes.append(
                f"{counted(more, 'more run')} {verb} {json_text(verdict['assert'])}; --json lists all"
            )
    return Section(
        name="ASSERTIONS",
        facts={"asserted": len(verdicts), "broken": sum(not verdict["holds"] for verdict in verdicts)},
        columns=_COLUMNS,
        rows=[row for verdict in verdicts for row in _rows(verdict)],
        notes=notes,
        kept=len(_COLUMNS),
        weight=3,
    )


def _rows(verdict: Mapping[str, Any]) -> list[list[Any]]:
    shared = [verdict["assert"], verdict["holds"]]
    broken = verdict["broken"][:MOST_NAMED]
    if not broken:
        return [[*shared, None, None]]
    return [[*shared, run["run"], run["message"]] for run in broken]
