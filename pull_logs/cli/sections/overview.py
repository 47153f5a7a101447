"""The sections of `overview`, which stay on one screen however many runs there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pull_logs.cli.render import Column, Nouns, Section, columns, exact, name_cell, text_cell
from pull_logs.cli.sections.assertions import assertions_section
from pull_logs.cli.sections.legend import notes_section
from pull_logs.cli.sections.metrics import count_members, with_members
from pull_logs.suggestions import counted

_MOST_METRICS = 30
_MOST_KEYS = 12
_MOST_FOUND = 5

_STATES = ("state", "runs", "rows", "last_step_min", "last_step_max")
_METRICS = (
    "name", "type", "runs", "count", "nonfinite", "first_step", "last_step",
    "last_min", "last_median", "last_max",
)  # fmt: skip


def overview_sections(answer: Mapping[str, Any]) -> list[Section]:
    """Return the sections of an overview in order.

    Args:
        answer: The answer of `pull_logs.analyze.overview`.
    """
    notes = answer["notes"]
    sections = [
        _totals(answer["totals"]),
        _states(answer["states"]),
        _config(answer["config"], same=answer["config_same"]),
        _metrics(answer["metrics"]),
        _health(answer["health"], answer["totals"]),
        notes_section(
            notes[:_MOST_FOUND], more=_more(len(notes) - _MOST_FOUND, "more note", where="--json lists all")
        ),
    ]
    if "assertions" in answer:
        sections.append(assertions_section(answer["assertions"]))
    return sections


def _totals(totals: Mapping[str, Any]) -> Section:
    projects = totals["projects"]
    named = {"project": projects[0]} if len(projects) == 1 else {"projects": len(projects)}
    facts = {name: totals[name] for name in ("runs", "rows", "complete", "healthy")}
    return Section(name="OVERVIEW", facts={**facts, **named})


def _states(entries: Sequence[Mapping[str, Any]]) -> Section:
    return Section(
        name="STATES",
        facts={"states": len(entries)},
        columns=columns(*_STATES, state=name_cell),
        rows=[[entry[name] for name in _STATES] for entry in entries],
        kept=len(_STATES),
        nouns=Nouns(rows="states"),
    )


def _config(entries: Sequence[Mapping[str, Any]], *, same: int) -> Section:
    return Section(
        name="CONFIG_VALUES",
        facts={"differ": count_members(entries), "same": same},
        columns=[
            Column("key", name_cell),
            Column("values"),
            Column("missing"),
            Column("value:runs", text_cell),
        ],
        rows=[
            [entry["key"], entry["values"], entry["missing"], _values(entry)]
            for entry in entries[:_MOST_KEYS]
        ],
        notes=_more(
            len(entries) - _MOST_KEYS,
            "more config key differs",
            "more config keys differ",
            where="pull-logs compare shows all",
        ),
        kept=4,
        nouns=Nouns(rows="keys"),
    )


def _values(entry: Mapping[str, Any]) -> str:
    """Return the most frequent values of a config key, each with the number of runs that have it."""
    shown = [f"{exact(item['value'])}:{item['runs']}" for item in entry["shown"]]
    more = entry["values"] - len(shown)
    return " ".join([*shown, *([f"+{more}"] if more > 0 else [])])


def _metrics(entries: Sequence[Mapping[str, Any]]) -> Section:
    shown = entries[:_MOST_METRICS]
    fields = with_members(_METRICS, shown)
    return Section(
        name="METRICS",
        facts={"metrics": count_members(entries)},
        columns=columns(*fields, name=name_cell, type=name_cell),
        rows=[[entry.get(name) for name in fields] for entry in shown],
        notes=_more(
            count_members(entries) - count_members(shown), "more metric", where="--select REGEX shows them"
        ),
        kept=len(fields),
        nouns=Nouns(rows="metrics"),
        remedy="--select REGEX shows others",
    )


def _health(entries: Sequence[Mapping[str, Any]], totals: Mapping[str, Any]) -> Section:
    rows: list[list[Any]] = []
    notes: list[str] = []
    for entry in entries:
        found = entry["found"][:_MOST_FOUND]
        shared = [entry["flag"], entry["runs"]]
        named = [[*shared, *(item[name] for name in ("run", "metric", "step", "message"))] for item in found]
        rows += named or ([[*shared, *[None] * 4]] if entry["runs"] else [])
        nouns = (f"more {noun} with {entry['flag']}" for noun in ("run", "runs"))
        notes += _more(entry["runs"] - len(found), *nouns, where="--json lists all")
    absent = [entry["flag"] for entry in entries if not entry["runs"]]
    names = ("flag", "runs", "run", "metric", "from_step", "because")
    return Section(
        name="HEALTH",
        facts={"flagged": totals["runs"] - totals["healthy"], "of": totals["runs"]},
        columns=columns(*names, flag=str, run=name_cell, metric=name_cell, because=text_cell),
        rows=rows,
        notes=[*notes, *([f"in no run: {', '.join(absent)}"] if absent else [])],
        kept=len(names),
        weight=3,
    )


def _more(count: int, noun: str, plural: str = "", *, where: str) -> list[str]:
    return [f"{counted(count, noun, plural)}; {where}"] if count > 0 else []
