"""The schema of a history: the types of its columns, their counts, ranges and logging intervals."""

from __future__ import annotations

from pull_logs.analyze.results import ColumnResult
from pull_logs.frames import Column, MetricFacts, Steps, column_facts
from pull_logs.rows.canonical import spell


def describe_column(name: str, column: Column, steps: Steps) -> ColumnResult:
    """Return one entry of the schema from the cells of a column.

    Args:
        name: The name of the column.
        column: Its cells.
        steps: The step of each cell, ascending.
    """
    return column_entry(column_facts(name, column, steps), rows=len(column.vector))


def column_entry(facts: MetricFacts, *, rows: int) -> ColumnResult:
    """Return one entry of the schema. See docs/output.md, "Schema and statistics".

    Args:
        facts: The facts about the column.
        rows: How many rows the history has.
    """
    return {
        "name": facts.name,
        "type": facts.type,
        "count": facts.cells,
        "missing": rows - facts.cells,
        "nonfinite": facts.nonfinite,
        "min": spell(facts.min),
        "max": spell(facts.max),
        "first_step": facts.first_step,
        "last_step": facts.last_step,
        "interval": facts.interval,
    }
