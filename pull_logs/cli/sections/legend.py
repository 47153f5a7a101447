"""The `[RUNS]` section, a line for each run, and the notes under it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pull_logs.cli.render import Column, Nouns, Section, name_cell, yes_no

_SHARED = ("state", "rows", "last_step", "complete", "source")
"""The facts that the heading says once where most runs have the same; the others say their own."""

_COLUMNS = (
    Column("label", name_cell),
    Column("id", name_cell),
    Column("path", name_cell),
    Column("name", name_cell),
    Column("state", name_cell),
    Column("rows", str),
    Column("last_step", str),
    Column("complete", yes_no),
    Column("reason", name_cell),
    Column("last_seen", name_cell),
    Column("parts", str),
    Column("resumed_at", name_cell),
    Column("restarted_at", name_cell),
    Column("rewound_to", name_cell),
    Column("forked_from", name_cell),
    Column("checkpoint", name_cell),
    Column("checkpoint_step", str),
    Column("source", name_cell),
    Column("files", str),
    Column("file_bytes", str),
    Column("console_lines", str),
)


def runs_section(
    runs: Sequence[Mapping[str, Any]],
    *,
    of: int | None = None,
    counted: bool = False,
    listed_in: str | None = "COMPARISON",
    weight: int = 6,
) -> Section:
    """Return the legend of runs.

    Args:
        runs: Runs by the names of the columns; a fact that a run does not have is missing or None.
        of: How many runs were asked about, if not all of them are shown.
        counted: Whether the runs are counted in the heading and not listed, because there are many.
        listed_in: The section that has one row per run then; None if no section has.
        weight: The section's part of scarce space; by default large, because labels mean nothing without the
            legend.
    """
    facts: dict[str, object] = {"runs": len(runs), "of": of}
    if counted:
        shared: dict[str, object] = _counts(runs)
    else:
        runs, shared = _without_shared(runs)
    return Section(
        name="RUNS",
        facts={**facts, **shared},
        columns=_COLUMNS,
        rows=[] if counted else [[run.get(column.name) for column in _COLUMNS] for run in runs],
        notes=[_where_listed(listed_in)] if counted else [],
        layout="legend",
        kept=len(_COLUMNS),
        nouns=Nouns(rows="runs"),
        weight=weight,
    )


def _without_shared(
    runs: Sequence[Mapping[str, Any]],
) -> tuple[Sequence[Mapping[str, Any]], dict[str, object]]:
    """Return runs without what most of them have in common, and that; a single run keeps all of its facts."""
    if len(runs) < 2:
        return runs, {}
    shared: dict[str, object] = {}
    projects = {run["path"].rpartition("/")[0] for run in runs}
    if len(projects) == 1:
        shared["project"] = projects.pop()
        runs = [{**run, "id": run["path"].rpartition("/")[2], "path": None} for run in runs]
    runs = [run if run["name"] != _run_id(run) else {**run, "name": None} for run in runs]
    for name in _SHARED:
        ((value, count),) = Counter(run.get(name) for run in runs).most_common(1)
        if 2 * count > len(runs) and all(run.get(name) is not None for run in runs):
            shared[name] = yes_no(value) if isinstance(value, bool) else value
            runs = [{**run, name: None} if run[name] == value else run for run in runs]
    return runs, shared


def _run_id(run: Mapping[str, Any]) -> str:
    found: str = run.get("id") or run["path"].rpartition("/")[2]
    return found


def _where_listed(section: str | None) -> str:
    return f"[{section}] has one row per run" if section else "--json lists the runs"


def _counts(runs: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Return what runs have in common, and how many are in each state and incomplete."""
    states = Counter(run["state"] for run in runs).most_common()
    projects = {run["path"].rpartition("/")[0] for run in runs}
    sources = {run["source"] for run in runs}
    return {
        "states": " ".join(f"{state}:{count}" for state, count in states),
        "incomplete": sum(not run["complete"] for run in runs) or None,
        "project": projects.pop() if len(projects) == 1 else None,
        "source": sources.pop() if len(sources) == 1 else None,
    }


_MOST_POINTS = 5
_POINTS = {"resumed_at": "resumed", "restarted_at": "restarted", "rewound_to": "rewound"}


def parts_facts(parts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the parts of a run by the names of the columns of the legend."""
    if parts is None:
        return {"parts": None}
    facts: dict[str, Any] = {"parts": parts["count"]}
    for column, kind in _POINTS.items():
        steps = [at["step"] for at in parts["points"] if at["kind"] == kind]
        found = ["?" if step is None else str(step) for step in steps]
        more = [f"and {len(found) - _MOST_POINTS} more"] if len(found) > _MOST_POINTS else []
        facts[column] = ",".join([*found[:_MOST_POINTS], *more]) or None
    forks = [f"{at['run']}@{at['step']}" for at in parts["points"] if at["kind"] == "forked"]
    return {**facts, "forked_from": ",".join(forks) or None}


def answered_runs(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs of an answer by the names of the columns of the legend."""
    return [
        {**run, "rows": run["rows_total"], "source": run["source"] or None, **parts_facts(run.get("parts"))}
        for run in runs
    ]


def notes_section(notes: Sequence[str], *, more: Sequence[str] = ()) -> Section:
    """Return the notes of an answer, which have no heading.

    Args:
        notes: The notes, which a budget may cut.
        more: Sentences after them that are always shown.
    """
    rows = [[note] for note in notes]
    return Section(
        name="",
        columns=[Column("note")],
        rows=rows,
        notes=more,
        layout="sentences",
        nouns=Nouns(rows="notes"),
    )
