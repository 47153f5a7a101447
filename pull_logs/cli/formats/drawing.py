"""Draws the sections of an answer in the format that was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pull_logs.cli.formats.choice import Choice
from pull_logs.cli.render import Section, fit_groups, render_text
from pull_logs.errors import UsageError
from pull_logs.suggestions import did_you_mean

if TYPE_CHECKING:
    from pull_logs.cli.formats.grid import Grid
    from pull_logs.executors import Engine

_PAPER = frozenset(
    {
        "ANSWER", "GATE", "COLUMNS", "COLUMN_TOTALS", "EFFECTS", "FIT", "FIT_OUTLIERS", "PARETO", "GROUPS",
        "GROUP_STATS", "VERDICTS", "TASKS", "TASK_GROUPS", "TASK_VERDICTS", "PROFILES", "RANKING",
        "CHECKPOINTS", "COMPARISON", "CONFIG_DIFF", "SUMMARY_COMPARISON", "SQL",
    }
)  # fmt: skip
"""The sections that papers and pull requests show: those that compare runs, and answers to SQL."""

_LEGEND = "RUNS"
_NEAR = 0.6
"""How similar the name of a section must be to be taken for a typing error, not for one of another answer."""


def draw_sections(
    sections: Sequence[Section], choice: Choice, *, max_tokens: int = 0, engine: Engine | None = None
) -> str:
    """Return sections in the format that was chosen.

    Args:
        sections: The sections, in order.
        choice: The format, and which of the sections.
        max_tokens: The budget of their text, which other formats are cut by too; 0 for no limit.
        engine: Where long texts are written.

    Raises:
        UsageError: The answer has no such section, or none that the format is for, or the budget is too
            small for any answer.
    """
    chosen = _chosen(sections, choice)
    if choice.form == "text":
        return render_text(chosen, max_tokens=max_tokens, digits=choice.digits, engine=engine)
    from pull_logs.cli.formats.grid import grids_of

    groups = fit_groups(chosen, max_tokens=max_tokens, digits=choice.digits)
    grids = [grid for group in groups for grid in grids_of(group, exact=choice.form == "csv")]
    return _drawn([grid for grid in grids if grid.name or grid.rows or grid.notes], choice.form)


def _drawn(grids: Sequence[Grid], form: str) -> str:
    match form:
        case "markdown":
            from pull_logs.cli.formats.markdown import write_markdown

            return write_markdown(grids)
        case "latex":
            from pull_logs.cli.formats.latex import write_latex

            return write_latex(grids)
        case "csv":
            from pull_logs.cli.formats.spreadsheet import write_csv

            return write_csv(grids)
        case _:
            from pull_logs.cli.formats.tables import draw_tables
            from pull_logs.cli.formats.terminal import this_terminal

            return draw_tables(grids, this_terminal())


def _chosen(sections: Sequence[Section], choice: Choice) -> Sequence[Section]:
    names = list(dict.fromkeys(section.name for section in sections if section.name))
    if choice.for_papers:
        compared = [name for name in names if name in _PAPER]
        if not compared:
            raise UsageError(
                f"--format {choice.form} is for comparisons, and this answer has none",
                hint="name two runs or more, or use compare; text, table, json and csv show any answer",
            )
        names = [name for name in names if name in _PAPER or name == _LEGEND]
        sections = [section for section in sections if section.name in names]
    if not choice.sections:
        return [section for section in sections if not section.on_request]
    for asked in choice.sections:
        if asked not in names:
            hint = did_you_mean(asked, names, otherwise=f"it has {', '.join(names)}", cutoff=_NEAR)
            raise UsageError(f"this answer has no section {asked}", hint=hint)
    return [section for section in sections if section.name in choice.sections]
