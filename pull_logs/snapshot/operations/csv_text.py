r"""Texts in CSV files that a spreadsheet would run as formulas, such as `=HYPERLINK(...)` or `@SUM(A1)`.

Names and values of runs are untrusted. A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return
gets an apostrophe before it, by which spreadsheets know a text. One that begins with apostrophes and then
such a character gets one more, so that removing one from each text of the form `'+[=+\-@\t\r]` restores what
was there. A number is never changed, nor a text that is one.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

_FORMULA = r"^'*[=+\-@\t\r]"
_NUMBER = r"^-(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"


def escape_name(name: str) -> str:
    """Return the name of a column as a text that is not a formula."""
    return f"'{name}" if re.match(_FORMULA, name) else name


def escape_formula(text: str) -> str:
    """Return a text that no spreadsheet runs as a formula."""
    return text if re.fullmatch(_NUMBER, text) else escape_name(text)


def escape_formulas(table: pa.Table) -> pa.Table:
    """Return a table with all texts and all names of columns escaped."""
    columns = [_escaped(column) if pa.types.is_string(column.type) else column for column in table.columns]
    return pa.Table.from_arrays(columns, names=list(map(escape_name, table.column_names)))


def _escaped(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    formulas = pc.and_not(pc.match_substring_regex(texts, _FORMULA), pc.match_substring_regex(texts, _NUMBER))
    if not pc.any(formulas).as_py():
        return texts
    return pc.if_else(formulas, pc.binary_join_element_wise("'", texts, ""), texts)
