"""The answer of `sql`: the columns and rows of a query."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypedDict

from pull_logs._version import FORMAT
from pull_logs.cli.render import Column, Nouns, Section
from pull_logs.cli.sections.legend import notes_section
from pull_logs.rows.canonical import spell

if TYPE_CHECKING:
    from pull_logs.analyze.sql import Rows

_REMEDY = "--max-rows, --max-tokens or -o FILE.parquet shows more"


class SqlColumn(TypedDict):
    """A column of the answer."""

    name: str
    type: str


class SqlRows(TypedDict):
    """The answer of a query."""

    columns: list[SqlColumn]
    rows: list[list[Any]]
    rows_total: int
    rows_shown: int


class Sql(TypedDict):
    """The JSON object of `sql`; `pull_logs/data/schemas/sql.json` describes it."""

    format: str
    command: str
    sql: SqlRows
    notes: list[str]


def sql_object(answer: Rows, *, most: int) -> Sql:
    """Return the answer to a query.

    Args:
        answer: Its columns and rows, all of which are read.
        most: The most rows to show; 0 for all.
    """
    shown: list[list[Any]] = []
    total = 0
    for row in answer:
        total += 1
        if not most or total <= most:
            shown.append([plain_value(value) for value in row])
    cut = total - len(shown)
    return {
        "format": FORMAT,
        "command": "sql",
        "sql": {
            "columns": [{"name": column.name, "type": column.type} for column in answer.columns],
            "rows": shown,
            "rows_total": total,
            "rows_shown": len(shown),
        },
        "notes": [f"the first {len(shown)} of {total} rows; {_REMEDY}"] if cut else [],
    }


def plain_value(value: Any) -> Any:
    """Return a value of DuckDB as JSON has it: a number that JSON does not have, a time, bytes as text."""
    match value:
        case list() | tuple():
            return [plain_value(item) for item in value]
        case dict():
            return {str(key): plain_value(item) for key, item in value.items()}
        case None | bool() | int() | float() | str():
            return spell(value)
        case Decimal():
            return _number(value)
        case datetime() | date() | time():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            pass
    return value.hex() if isinstance(value, bytes) else str(value)


def _number(value: Decimal) -> int | float | str:
    """Return a decimal number; as text where no double prints as it."""
    if value == value.to_integral_value():
        return int(value)
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)


def sql_sections(answer: Sql) -> list[Section]:
    """Return the sections of `sql`."""
    result = answer["sql"]
    return [
        notes_section(answer["notes"]),
        Section(
            name="SQL",
            facts={"rows_total": result["rows_total"], "rows_shown": result["rows_shown"]},
            columns=[Column(column["name"]) for column in result["columns"]],
            rows=result["rows"],
            nouns=Nouns(uncut=1),
            remedy=_REMEDY,
            weight=6,
        ),
    ]
