"""The lines of a text answer: headings, cells, tables.

What `pull_logs.cli.render.view` says of the layout holds for every command that prints sections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pull_logs.cli.render.escape import escape, json_text

NOTHING = "(none)"
"""What stands in a section that was asked for and has nothing."""

_NONFINITE = frozenset({"NaN", "Infinity", "-Infinity"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A section of text.

    Attributes:
        facts: What its heading tells.
        columns: Names of the columns.
        rows: Cells; `show` makes text of them.
        show: Per column, how its cells are shown; `cell` for those behind the last.
        kept: Columns that no budget cuts.
        lines: What stands above the table: lines of a legend, or sentences.
    """

    facts: Mapping[str, object] = field(default_factory=dict)
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    show: Sequence[Callable[[Any], str]] = ()
    kept: int = 1
    lines: Sequence[str] = ()


def heading(name: str, **facts: object) -> str:
    """The line that opens a section; a fact that is None is left out."""
    told = (f"{key}={escape(str(fact))}" for key, fact in facts.items() if fact is not None)
    return " ".join((f"[{name}]", *told))


def or_nothing(lines: Sequence[str]) -> Sequence[str]:
    """The lines of a section, or the one that says that there are none."""
    return lines or [NOTHING]


def cell(value: Any) -> str:
    """A value of a table; a float with six significant digits, or all that stand before the point."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return exact(value)
    return f"{value:.0f}" if 1e6 <= abs(value) < 1e16 else f"{value:.6g}"


def exact(value: Any) -> str:
    """A value with all its digits."""
    if type(value) is int:
        return str(value)
    if isinstance(value, str):
        return value if value in _NONFINITE else json_text(value)
    if isinstance(value, Mapping) and isinstance(value.get("_type"), str):
        return f"<{escape(value['_type'])}>"
    return json_text(value)


def cell_or_null(value: Any) -> str:
    """A value of a table, with a word for null."""
    return "null" if value is None else cell(value)


def known(values: Mapping[str, Any], key: str, show: Callable[[Any], str]) -> str:
    """The cell of a key: empty where there is none, `null` where its value is null."""
    if key not in values:
        return ""
    return "null" if values[key] is None else show(values[key])


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """A line of column names and a line per row; the cells of the rows are text already."""
    return [",".join(map(escape, columns)), *map(",".join, rows)] if rows else [NOTHING]


def run_lines(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The legend: a line per run."""
    lines = []
    for run in runs:
        facts = {
            "path": run["path"],
            "name": run["name"],
            "state": run["state"],
            "rows": run["rows_total"],
            "last_step": run["last_step"],
            "complete": "yes" if run["complete"] else "no",
            "reason": run.get("reason"),
            "checkpoint": run["checkpoint"],
            "checkpoint_step": run.get("checkpoint_step"),
            "source": run["source"] or None,
        }
        told = (f"{key}={escape(str(fact))}" for key, fact in facts.items() if fact is not None)
        lines.append(" ".join((run["label"], *told)))
    return lines
