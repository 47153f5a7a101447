"""The `[RUNS]` section, a line for each run, and the notes under it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from pull_logs.cli.render import Column, Nouns, Section, name_cell, yes_no

_SHARED = ("state", "rows", "last_step", "complete")
"""The facts that the heading says once where most runs have the same; the others say their own."""

_FOLDED_FROM = 4
"""The number of runs from which on those whose names differ in one number are on one line."""

_ON_A_LINE = 10
"""The most runs on a line."""

_LAST_NUMBER = re.compile(r"\d+(?:\.\d+)?(?!.*\d)")

_COLUMNS = (
    Column("label", lambda labels: " ".join(map(name_cell, labels))),
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


_Known: TypeAlias = dict[str, list[Any]]
"""The facts of all runs, by the names of the columns."""


def runs_section(
    runs: Iterable[Mapping[str, Any]],
    *,
    of: int | None = None,
    counted: bool = False,
    listed_in: str | None = "COMPARISON",
    weight: int = 6,
) -> Section:
    """Return the legend of runs.

    Args:
        runs: Runs by the names of the columns, and their `path`; facts that a run does not have are missing
            or None.
        of: How many runs were asked about, if not all of them are shown.
        counted: Whether the runs are counted in the heading and not listed, because there are many.
        listed_in: The section that has one row per run then; None if no section has.
        weight: The section's part of scarce space; by default large, because it says where the runs are from.
    """
    known = _by_column(runs)
    count = len(known["path"])
    facts: dict[str, object] = {"runs": count, "of": of, **_common(known)}
    rows: list[list[Any]] = []
    if counted:
        facts |= _counts(known)
    else:
        known["name"] = list(map(_own_name, known["name"], known["path"]))
        if "source" in facts:
            known["source"] = [None] * count
        facts |= _take_shared(known)
        listed = zip(*(known[column.name] for column in _COLUMNS), strict=True)
        rows = _folded(listed) if count >= _FOLDED_FROM else [[(label,), *row] for label, *row in listed]
    return Section(
        name="RUNS",
        facts=facts,
        columns=_COLUMNS,
        rows=rows,
        notes=[_where_listed(listed_in)] if counted else [],
        layout="legend",
        kept=len(_COLUMNS),
        nouns=Nouns(rows="runs" if len(rows) == count else "lines"),
        weight=weight,
    )


def _by_column(runs: Iterable[Mapping[str, Any]]) -> _Known:
    """Return the facts of runs by the names of the columns; of very many runs, no other form is kept."""
    known: _Known = {name: [] for name in ("path", *(column.name for column in _COLUMNS))}
    for run in runs:
        for name, values in known.items():
            values.append(run.get(name))
    return known


def _common(known: _Known) -> dict[str, object]:
    """Return the start of their paths that all runs have in common, and the source."""
    projects = {path.rpartition("/")[0] for path in known["path"]}
    entities = {project.partition("/")[0] for project in projects}
    sources = {*known["source"]} - {None}
    found: dict[str, object] = {}
    if len(projects) == 1:
        found["project"] = projects.pop()
    elif len(entities) == 1:
        found["entity"] = entities.pop()
    if len(sources) == 1:
        found["source"] = sources.pop()
    return found


def _own_name(name: str | None, path: str) -> str | None:
    """Return the display name of a run; None where it is the run id."""
    return None if name == path.rpartition("/")[2] else name


def _take_shared(known: _Known) -> dict[str, object]:
    """Take away the facts that all or most runs have, and return these as words of the heading.

    The words are `each="rows=3"` and `most="rows=3"`, so that they are not read as sums. A single run keeps
    its facts.
    """
    if len(known["path"]) < 2:
        return {}
    words: dict[str, list[str]] = {"each": [], "most": []}
    for column in _COLUMNS:
        values = known[column.name]
        if column.name not in _SHARED or None in values:
            continue
        ((shared, count),) = Counter(values).most_common(1)
        if 2 * count > len(values):
            words["each" if count == len(values) else "most"].append(f"{column.name}={column.show(shared)}")
            known[column.name] = [None if value == shared else value for value in values]
    return {word: " ".join(facts) or None for word, facts in words.items()}


def _folded(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Return rows in which runs are on one line whose names differ only in their last number.

    The line has their labels, and their names as `s{0,1,2}`, the numbers in the order of the labels.
    """
    lines: dict[tuple[Any, ...], list[tuple[str, str]]] = {}
    for index, (label, name, *facts) in enumerate(rows):
        found = _LAST_NUMBER.search(name) if name and not {"{", "}"} & {*name} else None
        if found is None:
            lines[index, name, *facts] = [(label, "")]
        else:
            stem = name[: found.start()], name[found.end() :]
            lines.setdefault((stem, *facts), []).append((label, found[0]))
    folded: list[list[Any]] = []
    for (first, *rest), members in lines.items():
        for start in range(0, len(members), _ON_A_LINE):
            labels, numbers = zip(*members[start : start + _ON_A_LINE], strict=True)
            if isinstance(first, tuple):
                braced = f"{{{','.join(numbers)}}}" if len(numbers) > 1 else numbers[0]
                folded.append([labels, f"{first[0]}{braced}{first[1]}", *rest])
            else:
                folded.append([labels, *rest])
    return folded


def _where_listed(section: str | None) -> str:
    return f"[{section}] has one row per run" if section else "--json lists the runs"


def _counts(known: _Known) -> dict[str, object]:
    """Return how many runs are in each state, and how many are incomplete."""
    states = Counter(known["state"]).most_common()
    return {
        "states": " ".join(f"{state}:{count}" for state, count in states),
        "incomplete": sum(not complete for complete in known["complete"]) or None,
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


def answered_runs(runs: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Iterate over the runs of an answer by the names of the columns of the legend."""
    for run in runs:
        facts = {**run, "rows": run["rows_total"], "source": run["source"] or None}
        yield facts | parts_facts(run.get("parts"))


def notes_beside_legend(answer: Mapping[str, Any]) -> list[str]:
    """Return the notes of an answer without those about incomplete runs whose reasons the legend has."""
    shown = tuple(f" incomplete: {run['reason']}" for run in answer["runs"] if run.get("reason"))
    return [note for note in answer.get("notes", ()) if not (shown and note.endswith(shown))]


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
