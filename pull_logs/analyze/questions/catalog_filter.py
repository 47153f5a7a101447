"""Filters of runs over the catalog of a bundle set: only the columns that a filter names are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pull_logs.analyze.expressions import check_without_rows, compile_expression, parse
from pull_logs.analyze.questions.run_values import FIELDS, HISTORY_VALUES
from pull_logs.errors import UnknownNameError
from pull_logs.frames import JoinedTexts, Vector, flatten, from_cells, numbers, split_path
from pull_logs.rows.arrays import array_of, doubles_of, flat, present_rows, stored_integers, truths
from pull_logs.rows.coded_text import shared_texts
from pull_logs.runs import RunParts
from pull_logs.snapshot.format import document_from_text

if TYPE_CHECKING:
    import pyarrow as pa

    from pull_logs.snapshot.sets import Catalog


def rows_where(catalog: Catalog, text: str) -> NDArray[np.int64] | None:
    """Return the rows of the runs for which an expression holds, as `keep_runs` would.

    Args:
        catalog: The catalog.
        text: The expression, as `--filter` takes it.

    Returns:
        The rows, ascending; None if the catalog does not have all that the expression names.

    Raises:
        ExpressionError: The text is not a valid expression, or its kinds do not fit.
    """
    check_without_rows(parse(text), source=text)
    if catalog.counts is None:
        return None
    columns = sorted({*catalog.counts, *FIELDS, "tags", *HISTORY_VALUES})
    try:
        expression = compile_expression(text, columns, what="run column")
    except UnknownNameError:  # a name in `metadata`, which members have, or no name at all
        return None
    frame = {name: _vector(catalog, name) for name in expression.names}
    return np.flatnonzero(expression.condition(frame, len(catalog)))


def _vector(catalog: Catalog, name: str) -> Vector:
    if name in catalog.exact:
        return _typed(catalog.column(name))
    if name in ("rows", "last_step", "complete"):
        return _typed(catalog.column(name))
    if name == "parts":
        return from_cells(_parts(text) for text in shared_texts(catalog.column(name)))
    if name == "tags":
        return _tags(catalog.column(name))
    if name in FIELDS:
        return _texts(catalog.column(name))
    return from_cells(_leaves(catalog, name))


def _typed(column: pa.ChunkedArray) -> Vector:
    """Return a column whose cells are all of one kind."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type) or pa.types.is_string(column.type):
        return _texts(column)
    array = flat(column)
    present = present_rows(array)
    if not present.any():
        return from_cells([None] * len(array))
    if pa.types.is_boolean(array.type):
        return Vector("bool", truths(array), present)
    cells = doubles_of(array) if pa.types.is_floating(array.type) else stored_integers(array)
    return numbers(cells.astype(np.float64), present)


def _texts(column: pa.ChunkedArray) -> Vector:
    texts = shared_texts(column)
    present = np.array([text is not None for text in texts.tolist()], np.bool_)
    return Vector("string" if present.any() else "mixed", texts, present)


def _tags(column: pa.ChunkedArray) -> Vector:
    """Return the tags of all runs; runs with the same tags share them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = flat(column)
    # The runs with the same tags have the same spelling, which is made without a list per run.
    quoted = pc.replace_substring(pc.replace_substring(lists.values, "\\", "\\\\"), ",", "\\,")
    ended = pc.binary_join_element_wise(
        quoted, array_of([""], pa.string())[0], array_of([","], pa.string())[0]
    )
    spelled = pc.binary_join(pa.ListArray.from_arrays(lists.offsets, ended), array_of([""], pa.string())[0])
    coded = spelled.dictionary_encode()
    first = pc.index_in(coded.dictionary, spelled).to_pylist()
    tags = np.empty(len(first), np.object_)
    tags[:] = [JoinedTexts(sorted(lists[row].as_py() or ())) for row in first]
    cells = tags[stored_integers(coded.indices.cast(pa.int64()))]
    return Vector("string" if len(cells) else "mixed", cells, np.ones(len(cells), np.bool_))


def _parts(text: str | None) -> int | None:
    return 1 if text is None else RunParts.from_object(document_from_text(text)).count


def _leaves(catalog: Catalog, name: str) -> Sequence[Any]:
    """Return the values of a key without a column of its own, from the JSON of the runs that may have it."""
    document, _, key = name.partition(".")
    spelled = json.dumps(split_path(key)[-1], ensure_ascii=False)
    cells: list[Any] = [None] * len(catalog)
    for row, text in catalog.documents_with(document, spelled):
        cells[row] = flatten(document_from_text(text)).get(key)
    return cells
