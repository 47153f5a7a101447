"""What notebooks show of bundles, runs and answers: small tables of HTML in which every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any

from pull_logs.rows.canonical import canonical_text

MOST_ROWS = 20
_LONGEST, _LONGEST_CAPTION = 60, 400


def html_table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, total: int) -> str:
    """Return a table of HTML.

    Args:
        caption: What is above the table.
        columns: The headings.
        rows: The cells of each row; the first `MOST_ROWS` are shown.
        total: How many rows there are.
    """
    head = "".join(f'<th scope="col">{_cell(name)}</th>' for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in islice(rows, MOST_ROWS)
    )
    more = f"<p>and {total - MOST_ROWS:,} more</p>" if total > MOST_ROWS else ""
    return (
        f'<table><caption style="text-align:left"><b>{_cell(caption, longest=_LONGEST_CAPTION)}</b></caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
    )


def html_values(caption: str, values: Mapping[str, Any]) -> str:
    """Return a table of names and values."""
    return html_table(caption, ("name", "value"), values.items(), total=len(values))


def _cell(value: Any, *, longest: int = _LONGEST) -> str:
    """Return a value as escaped text."""
    if value is None:
        return ""
    if isinstance(value, str):
        text = value
    elif isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = canonical_text(value) if isinstance(value, (dict, list)) else str(value)
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return escape(shown if len(shown) <= longest else f"{shown[: longest - 1]}…")
