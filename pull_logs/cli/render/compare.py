"""The answer of `compare` as sections or as JSON, within a token budget.

The sections that put runs side by side are in `sidebyside`; here are those about
groups and ranks, the order of all, and how each is cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pull_logs.cli.render.assertions import assertions_table
from pull_logs.cli.render.budget import SHAPES, Shape, check_budget, fit_sections
from pull_logs.cli.render.checkpoints import checkpoints_table
from pull_logs.cli.render.cutting import Extent, clip, longest
from pull_logs.cli.render.escape import escape, inline
from pull_logs.cli.render.json_answer import fit_json
from pull_logs.cli.render.side_by_side import (
    ABSENT,
    COLUMNS_AT_MOST,
    comparison_table,
    config_diff_table,
    known_value,
    label_ranges,
    read_at,
    summary_comparison_table,
)
from pull_logs.cli.render.tables import NOTHING, Table, cell, heading, run_lines, table
from pull_logs.errors import UsageError

LEAST_TOKENS = 600
"""The smallest budget: enough to name every section of a comparison and to say that it was cut."""


def compare_json(answer: Mapping[str, Any], *, max_tokens: int) -> str:
    """The JSON of an answer, one line.

    Raises:
        UsageError: The budget is too small for any answer.
    """
    check_tokens(max_tokens)
    return fit_json(answer, max_tokens=max_tokens, shapes=_JSON_SHAPES) + "\n"


def compare_text(answer: Mapping[str, Any], *, max_tokens: int) -> str:
    """The sections of an answer.

    Raises:
        UsageError: The budget is too small for any answer.
    """
    check_tokens(max_tokens)
    tables = {name: make(answer) for name, make in _TABLES.items() if name in answer}
    tables = {name: made for name, made in tables.items() if name not in _BARE or made.lines}
    fitted, cuts = fit_sections(
        tables,
        limit=max_tokens * 3,
        fixed=0,
        size=lambda name, value, cut: len(_render(name, value, cut).encode()),
        shapes={name: replace(_TABLE, weight=_WEIGHTS.get(name, 1)) for name in tables},
    )
    return "".join(_render(name, value, cuts.get(name, "")) for name, value in fitted.items())


def check_tokens(max_tokens: int) -> None:
    """Refuse a budget that no comparison fits into.

    Raises:
        UsageError: It is neither 0, which is no limit, nor at least `LEAST_TOKENS`.
    """
    check_budget(max_tokens)
    if max_tokens and max_tokens < LEAST_TOKENS:
        raise UsageError(
            f"--max-tokens {max_tokens} is too small for a comparison",
            hint=f"give at least {LEAST_TOKENS}, or 0 for no limit",
        )


def _render(name: str, section: Table, cut: str) -> str:
    lines = [] if name in _BARE else [heading(name.upper(), **section.facts)]
    lines += section.lines
    if section.columns:
        show = [*section.show, *[cell] * (len(section.columns) - len(section.show))]
        rows = [[write(value) for write, value in zip(show, row, strict=False)] for row in section.rows]
        lines += table(section.columns, rows)
    elif not section.lines:
        lines.append(NOTHING)
    if cut:
        lines = [line for line in lines if line != NOTHING]
        lines.append(f"# cut to {inline(cut)}")
    return "".join(f"{line}\n" for line in lines)


def _runs(answer: Mapping[str, Any]) -> Table:
    runs = answer["runs"]
    facts = {"runs": len(runs)}
    if answer["alignment"]["runs"] > len(runs):
        facts["of"] = answer["alignment"]["runs"]
    if len(runs) <= COLUMNS_AT_MOST:
        return Table(facts=facts, lines=run_lines(runs))
    kinds = Counter(
        (run["path"].rpartition("/")[0], run["state"], "yes" if run["complete"] else "no", run["source"])
        for run in runs
    )
    return Table(
        facts=facts,
        columns=("project", "state", "complete", "source", "runs"),
        rows=[[*kind, count] for kind, count in kinds.items()],
        show=[escape] * 4,
        kept=4,
    )


def _notes(answer: Mapping[str, Any]) -> Table:
    return Table(lines=[f"# {inline(note)}" for note in answer["notes"]])


def _answer(answer: Mapping[str, Any]) -> Table:
    return Table(lines=[f"# {inline(answer['answer'])}"])


def _ranking(answer: Mapping[str, Any]) -> Table:
    entries = answer["ranking"]
    first = entries[0]
    return Table(
        facts={"metric": first["metric"], "direction": first["direction"], **read_at(answer)},
        columns=("rank", "run", "path", "value", "x", "best", "best_step"),
        rows=[
            [entry[name] for name in ("rank", "run", "path", "value", "x", "best", "best_step")]
            for entry in entries
        ],
        show=(cell, escape, escape),
        kept=4,
    )


def _groups(answer: Mapping[str, Any]) -> Table:
    entries = answer["groups"]
    keys = list(dict.fromkeys(key for entry in entries for key in entry["by"]))
    unfinished = any(set(entry["states"]) - {"finished"} for entry in entries)
    return Table(
        facts={"groups": len(entries), "seeds": None},
        columns=("group", "n", *keys, *(["states"] if unfinished else []), "runs"),
        rows=[
            [
                entry["group"],
                entry["n"],
                *(entry["by"].get(key, ABSENT) for key in keys),
                *([_states(entry["states"])] if unfinished else []),
                label_ranges(entry["runs"]),
            ]
            for entry in entries
        ],
        show=(escape, cell, *[known_value] * len(keys), *([escape] if unfinished else []), str),
        kept=3,
    )


def _states(states: Mapping[str, int]) -> str:
    return " ".join(f"{state}:{count}" for state, count in states.items())


_STATISTICS = ("n", "mean", "std", "ci_low", "ci_high", "median", "iqm", "min", "max", "missing", "nonfinite")


def _group_stats(answer: Mapping[str, Any]) -> Table:
    entries = answer["group_stats"]
    return Table(
        facts={
            "metrics": len({entry["metric"] for entry in entries}),
            **read_at(answer),
            "ci": answer["alignment"]["ci"],
        },
        columns=("metric", "group", *_STATISTICS),
        rows=[[entry[name] for name in ("metric", "group", *_STATISTICS)] for entry in entries],
        show=(escape, escape),
        kept=7,
    )


_TESTED = ("test", "n", "difference", "ci_low", "ci_high", "p", "p_holm", "verdict")


def _verdicts(answer: Mapping[str, Any]) -> Table:
    entries = answer["verdicts"]
    columns = ("metric", "first", "second", *_TESTED)
    return Table(
        facts={"tests": sum(entry["test"] is not None for entry in entries), "alpha": 0.05},
        columns=columns if entries else (),
        rows=[
            ["/".join(map(str, entry["n"])) if name == "n" else entry[name] for name in columns]
            for entry in entries
        ],
        show=(escape, escape, escape, lambda text: text or "", str, cell, cell, cell, cell, cell, str),
        kept=len(columns),
    )


_TABLES: Mapping[str, Callable[[Mapping[str, Any]], Table]] = {
    "runs": _runs,
    "notes": _notes,
    "answer": _answer,
    "groups": _groups,
    "group_stats": _group_stats,
    "verdicts": _verdicts,
    "ranking": _ranking,
    "checkpoints": checkpoints_table,
    "comparison": comparison_table,
    "config_diff": config_diff_table,
    "summary_comparison": summary_comparison_table,
    "assertions": assertions_table,
}
"""The sections in their order; a new one is a member of the answer and a function here."""

_BARE = frozenset({"notes"})
"""What has no heading, and is left out where it has nothing."""

_WEIGHTS = {
    "runs": 3,
    "answer": 3,
    "verdicts": 3,
    "groups": 2,
    "group_stats": 2,
    "checkpoints": 3,
    "comparison": 2,
    "assertions": 3,
}


def _table_extent(section: Table) -> Extent:
    return Extent(
        entries=len(section.rows) + len(section.lines),
        columns=max(len(section.columns) - section.kept, 0),
        chars=max(
            map(
                longest, (*section.columns, *section.lines, *(value for row in section.rows for value in row))
            ),
            default=0,
        ),
    )


def _cut_table(section: Table) -> Callable[[Extent], Table]:
    def cut(to: Extent) -> Table:
        columns = section.kept + to.columns
        return replace(
            section,
            columns=[clip(name, to.chars) for name in section.columns[:columns]] if to.entries else (),
            rows=[
                [clip(value, to.chars) for value in row[:columns]]
                for row in section.rows[: max(to.entries - len(section.lines), 0)]
            ],
            lines=[clip(line, to.chars) for line in section.lines[: to.entries]],
        )

    return cut


_TABLE = Shape(
    _table_extent,
    _cut_table,
    (
        ("chars", 500),
        ("chars", 120),
        ("entries", 40),
        ("columns", 12),
        ("entries", 12),
        ("columns", 3),
        ("chars", 40),
        ("entries", 3),
        ("columns", 0),
        ("entries", 1),
    ),
    {"entries": "rows", "columns": "columns"},
)


def _entries(weight: int) -> Shape:
    """A list of records, cut from its end."""
    return replace(SHAPES["runs"], words={"entries": "entries"}, weight=weight)


def _cut_fields(value: Mapping[str, Any]) -> Callable[[Extent], Any]:
    return lambda to: {name: clip(item, to.chars) for name, item in value.items()}


_FIELDS = Shape(lambda value: Extent(chars=longest(value)), _cut_fields, (("chars", 200), ("chars", 24)), {})
_SENTENCE = Shape(
    lambda value: Extent(chars=longest(value)),
    lambda value: lambda to: clip(value, to.chars),
    (("chars", 200), ("chars", 24)),
    {},
)
_JSON_SHAPES: Mapping[str, Shape] = {
    **{
        name: SHAPES[name]
        for name in ("notes", "comparison", "config_diff", "summary_comparison", "assertions")
    },
    "runs": _entries(3),
    "alignment": _FIELDS,
    "answer": _SENTENCE,
    "ranking": _entries(2),
    "groups": _entries(2),
    "group_stats": _entries(2),
    "verdicts": _entries(3),
    "best_checkpoint": _FIELDS,
    "checkpoints": _entries(3),
}
