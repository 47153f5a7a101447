"""What notebooks show of bundles, runs and answers: small tables of HTML in which every text is escaped.

They set no colours, so that they have those of the notebook, light or dark. Texts are on the left of their
column and numbers on the right, which notebooks do not do by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any

from pull_logs.rows.canonical import canonical_text

MOST_ROWS = 20
_LONGEST, _LONGEST_CAPTION = 60, 400
_MOST_ITEMS = 6


def html_table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    total: int,
) -> str:
    """Return a table of HTML, without the columns that are empty in every row.

    Args:
        caption: What is above the table.
        columns: The headings.
        rows: The cells of each row; the first `MOST_ROWS` are shown.
        total: How many rows there are.
    """
    shown = list(islice(rows, MOST_ROWS))
    kept = [at for at in range(len(columns)) if not shown or any(row[at] is not None for row in shown)]
    sides = {at: _side([row[at] for row in shown]) for at in kept}
    head = "".join(f'<th scope="col" style="text-align:{sides[at]}">{_cell(columns[at])}</th>' for at in kept)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:{sides[at]}">{_cell(row[at])}</td>' for at in kept) + "</tr>"
        for row in shown
    )
    more = f"<p>and {total - MOST_ROWS:,} more</p>" if total > MOST_ROWS else ""
    return (
        f'<table><caption style="text-align:left"><b>{_cell(caption, longest=_LONGEST_CAPTION)}</b></caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
    )


def html_values(caption: str, values: Mapping[str, Any]) -> str:
    """Return a table of names and values."""
    return html_table(caption, ("name", "value"), values.items(), total=len(values))


def html_lines(texts: Sequence[str], *, bold: bool = False) -> str:
    """Return sentences as a list, of which the first `MOST_ROWS` are shown; bold ones are paragraphs."""
    if bold:
        return "".join(f"<p><b>{_cell(text, longest=_LONGEST_CAPTION)}</b></p>" for text in texts)
    items = "".join(f"<li>{_cell(text, longest=_LONGEST_CAPTION)}</li>" for text in texts[:MOST_ROWS])
    more = f"<p>and {len(texts) - MOST_ROWS:,} more</p>" if len(texts) > MOST_ROWS else ""
    return f"<ul>{items}</ul>{more}"


def html_folded(title: str, content: str) -> str:
    """Return content that is shown on a click on its title."""
    return f"<details><summary>{_cell(title)}</summary>{content}</details>"


def _side(values: Sequence[Any]) -> str:
    """Return the side of a column: numbers are on the right."""
    present = [value for value in values if value is not None]
    numbers = [value for value in present if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return "right" if numbers and len(numbers) == len(present) else "left"


def _cell(value: Any, *, longest: int = _LONGEST) -> str:
    """Return a value as escaped text."""
    text = _text(value)
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return escape(shown if len(shown) <= longest else f"{shown[: longest - 1]}…")


def _text(value: Any) -> str:
    """Return a value as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, dict)):
        return _items(value)
    return "" if value is None else str(value)


def _items(value: list[Any] | dict[str, Any]) -> str:
    """Return the first items of a list, or the members of a dict; what is nested deeper as JSON."""
    inner = value.values() if isinstance(value, dict) else value
    if any(isinstance(item, (list, dict)) for item in inner):
        return canonical_text(value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={_text(item)}" for key, item in value.items())
    more = f", ... ({len(value)})" if len(value) > _MOST_ITEMS else ""
    return ", ".join("none" if item is None else _text(item) for item in value[:_MOST_ITEMS]) + more
