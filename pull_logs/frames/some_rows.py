"""Some rows of a long history: only the parts of the file that have them are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pull_logs.frames.column import Column
from pull_logs.frames.frame import Frame
from pull_logs.frames.from_arrow import Steps, read_steps, read_typed
from pull_logs.frames.vector import Mask
from pull_logs.rows.arrays import flat, present_rows, take_rows

if TYPE_CHECKING:
    import pyarrow as pa


def rows_with_cells(frame: Frame, keys: Mapping[str, str]) -> Mask:
    """Return the rows in which one of these columns has a cell; few of the cells are in memory at once.

    Args:
        frame: The history.
        keys: The columns and their keys (`Frame.typed_keys`).

    Raises:
        DamageError: A column is damaged.
    """
    facts = frame.facts()
    if facts is not None and any(name in facts and facts[name].cells == frame.length for name in keys):
        return np.ones(frame.length, np.bool_)
    found = np.zeros(frame.length, np.bool_)
    for start, batch in frame.batches_at([*keys.values()]):
        seen = found[start : start + batch.num_rows]
        for key in keys.values():
            seen |= present_rows(flat(batch.column(key)))
        del batch
    return found


def take_columns(
    frame: Frame, keys: Mapping[str, str], rows: npt.NDArray[np.intp]
) -> tuple[Steps, dict[str, Column]]:
    """Return the steps of these rows, and these columns for them.

    Args:
        frame: The history.
        keys: The columns and their keys (`Frame.typed_keys`).
        rows: Ascending indices; at least one.

    Raises:
        DamageError: A column is damaged.
    """
    import pyarrow as pa

    parts: list[pa.Table] = []
    for start, batch in frame.batches_at([*keys.values()], range(int(rows[0]), int(rows[-1]) + 1)):
        first, past = np.searchsorted(rows, (start, start + batch.num_rows)).tolist()
        parts.append(take_rows(batch, rows[first:past] - start))
        del batch
    table = pa.concat_tables(parts)
    return read_steps(table), {name: read_typed(table.column(key)) for name, key in keys.items()}
