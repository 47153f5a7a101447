"""The answer of `reconcile`: what of local logs is stored, and what is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from pull_logs._version import FORMAT
from pull_logs.cli.render import (
    ABSENT,
    Nouns,
    Section,
    clip,
    columns,
    known_exact,
    name_cell,
    short_name_cell,
)
from pull_logs.frames import join_path
from pull_logs.rows.canonical import spell

if TYPE_CHECKING:
    from pull_logs.proof import LoggedRows, ReconciledRun
    from pull_logs.snapshot import Edit
    from pull_logs.sources import IgnoredCalls

_MOST_ROWS = 50
"""The rows that a section shows; JSON has them all."""

_FIRST = "--json has the first 100 of each run"

_WIDTH = 120
"""The characters of a value that a section shows."""


class ReconcileRange(TypedDict):
    """Consecutive rows to which the same happened; `shift` is what was added to steps that moved."""

    kind: str
    first_step: int
    last_step: int
    rows: int
    shift: int | None


class ReconcileCell(TypedDict):
    """A value of an overwritten row; None where a side has none."""

    step: int
    key: str
    logged: Any
    stored: Any


class ReconcileEdit(TypedDict):
    """A value of the config or the summary that differs."""

    key: str
    change: str
    logged: Any
    stored: Any


class ReconcileCall(TypedDict):
    """A log call that the SDK ignored: the step that it named, and the step that the run had reached."""

    step: int
    current: int


class ReconcileCalls(TypedDict):
    """The log calls that the SDK ignored."""

    calls: int
    first_step: int
    last_step: int
    examples: list[ReconcileCall]


class ReconcileRun(TypedDict):
    """One run of the logs."""

    path: str
    stored: str | None
    equal: bool
    logged_rows: int
    stored_rows: int
    missing: int
    overwritten: int
    moved: int
    extra: int
    ranges: list[ReconcileRange]
    keys: dict[str, int]
    cells: list[ReconcileCell]
    ignored: ReconcileCalls | None
    config: list[ReconcileEdit]
    summary: list[ReconcileEdit]


class Reconciliation(TypedDict):
    """The JSON object of `reconcile`; `pull_logs/data/schemas/reconcile.json` describes it."""

    format: str
    command: str
    against: list[str]
    equal: int
    different: int
    not_stored: int
    runs: list[ReconcileRun]
    notes: list[str]


def reconcile_object(
    runs: Sequence[ReconciledRun], *, against: Sequence[str], notes: Sequence[str]
) -> Reconciliation:
    """Return the result of a comparison with local logs as a JSON object.

    Args:
        runs: The runs of the logs.
        against: The bundles that they were compared with; the host of W&B if it was asked.
        notes: What reading the logs reported.
    """
    equal = sum(run.equal for run in runs)
    absent = sum(run.stored is None for run in runs)
    return {
        "format": FORMAT,
        "command": "reconcile",
        "against": list(against),
        "equal": equal,
        "different": len(runs) - equal - absent,
        "not_stored": absent,
        "runs": [_run(run) for run in runs],
        "notes": list(notes),
    }


def _run(run: ReconciledRun) -> ReconcileRun:
    rows: LoggedRows = run.rows
    return {
        "path": str(run.path),
        "stored": None if run.stored is None else str(run.stored),
        "equal": run.equal,
        "logged_rows": rows.logged,
        "stored_rows": rows.stored,
        "missing": rows.count("missing"),
        "overwritten": rows.count("overwritten"),
        "moved": rows.count("moved"),
        "extra": rows.count("extra"),
        "ranges": [
            {
                "kind": found.kind,
                "first_step": found.first,
                "last_step": found.last,
                "rows": found.rows,
                "shift": found.shift,
            }
            for found in rows.ranges
        ],
        "keys": dict(rows.keys),
        "cells": [
            {"step": cell.step, "key": cell.key, "logged": spell(cell.logged), "stored": spell(cell.stored)}
            for cell in rows.cells
        ],
        "ignored": None if run.ignored is None else _ignored(run.ignored),
        "config": _edits(run.config),
        "summary": _edits(run.summary),
    }


def _ignored(calls: IgnoredCalls) -> ReconcileCalls:
    return {
        "calls": calls.count,
        "first_step": calls.first_step,
        "last_step": calls.last_step,
        "examples": [{"step": call.step, "current": call.current} for call in calls.examples],
    }


def _edits(edits: Iterable[Edit]) -> list[ReconcileEdit]:
    return [
        {
            "key": join_path(edit.path),
            "change": edit.change,
            "logged": spell(edit.old),
            "stored": spell(edit.new),
        }
        for edit in edits
    ]


def reconcile_sections(result: Reconciliation) -> list[Section]:
    """Return the sections of `reconcile` in order; those about differences only where there are any."""
    runs = result["runs"]
    others = (_rows_section(runs), _cells_section(runs), _ignored_section(runs), _values_section(runs))
    return [_runs_section(result), *(section for section in others if section.rows)]


def _runs_section(result: Reconciliation) -> Section:
    kinds = ("missing", "overwritten", "moved", "extra")
    return _section(
        "RECONCILE",
        {
            "against": ",".join(result["against"]),
            **{name: result[name] for name in ("equal", "different", "not_stored")},
        },
        [
            "run:name",
            "verdict:name",
            "logged_rows",
            "stored_rows",
            *kinds,
            "ignored",
            "config",
            "summary",
            "stored_as:name",
        ],
        [
            [
                run["path"],
                _verdict(run),
                run["logged_rows"],
                run["stored_rows"],
                *(run[kind] for kind in kinds),  # type: ignore[literal-required]
                run["ignored"]["calls"] if run["ignored"] else 0,
                len(run["config"]),
                len(run["summary"]),
                run["stored"] if run["stored"] != run["path"] else None,
            ]
            for run in result["runs"]
        ],
        nouns="runs",
    )


def _verdict(run: ReconcileRun) -> str:
    if run["stored"] is None:
        return "not_stored"
    return "equal" if run["equal"] else "different"


def _rows_section(runs: Sequence[ReconcileRun]) -> Section:
    rows = [
        [
            run["path"],
            found["kind"],
            found["first_step"],
            found["last_step"],
            found["rows"],
            *(
                None if found["shift"] is None else found[step] + found["shift"]
                for step in ("first_step", "last_step")
            ),
        ]
        for run in runs
        for found in run["ranges"]
    ]
    return _section(
        "LOGGED_ROWS",
        {"ranges": len(rows)},
        ["run:short", "kind:name", "first_step", "last_step", "rows", "first_stored", "last_stored"],
        rows,
        nouns="ranges",
    )


def _cells_section(runs: Sequence[ReconcileRun]) -> Section:
    rows = [
        [run["path"], cell["step"], cell["key"], _cell(cell["logged"]), _cell(cell["stored"])]
        for run in runs
        for cell in run["cells"]
    ]
    return _section(
        "OVERWRITTEN",
        {"cells": sum(sum(run["keys"].values()) for run in runs)},
        ["run:short", "step", "key:short", "logged:value", "stored:value"],
        rows,
        nouns="cells",
        remedy=_FIRST,
    )


def _ignored_section(runs: Sequence[ReconcileRun]) -> Section:
    found = [(run["path"], run["ignored"]) for run in runs if run["ignored"]]
    return _section(
        "IGNORED_BY_SDK",
        {"calls": sum(calls["calls"] for _, calls in found)},
        ["run:short", "step", "current_step"],
        [[path, call["step"], call["current"]] for path, calls in found for call in calls["examples"]],
        nouns="calls",
        remedy=_FIRST,
    )


def _values_section(runs: Sequence[ReconcileRun]) -> Section:
    rows = [
        [
            run["path"],
            part,
            edit["key"],
            ABSENT if edit["change"] == "added" else edit["logged"],
            ABSENT if edit["change"] == "removed" else edit["stored"],
        ]
        for run in runs
        for part in ("config", "summary")
        for edit in run[part]
    ]
    return _section(
        "LOGGED_VALUES",
        {"differences": len(rows)},
        ["run:short", "part:name", "key:short", "logged:value", "stored:value"],
        rows,
        nouns="values",
    )


def _cell(value: Any) -> Any:
    """Return a cell of a history, where None means a missing one."""
    return ABSENT if value is None else value


def _value(value: Any) -> str:
    return known_exact(clip(value, _WIDTH))


_FORMATS = {"name": name_cell, "short": short_name_cell, "value": _value}


def _section(
    name: str,
    facts: dict[str, object],
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    nouns: str,
    remedy: str = "--json has them all",
) -> Section:
    """Return a section with the first rows; a column may have a format after a colon."""
    split = [item.partition(":") for item in names]
    more = 0 if nouns == "runs" else len(rows) - _MOST_ROWS
    return Section(
        name=name,
        facts=facts,
        columns=columns(
            *(word for word, _, _ in split), **{word: _FORMATS[form] for word, _, form in split if form}
        ),
        rows=rows[: len(rows) - max(more, 0)],
        notes=[f"{more} more {nouns}: {remedy}"] if more > 0 else [],
        kept=len(names),
        nouns=Nouns(rows=nouns),
        weight=4 if nouns == "runs" else 1,
    )
