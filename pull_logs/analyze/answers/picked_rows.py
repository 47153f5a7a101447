"""The rows that a view shows: those with a cell, and those that `--around`, `--last` and `--every` pick.

Of a long history only the parts of the file with the picked rows are read, where nothing else is needed to
know which rows these are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.questions import HistoryQuery, Slice, Subject, View
from pull_logs.analyze.statistics import spike_rows
from pull_logs.frames import Frame, is_long, rows_with_cells, take_columns


@dataclass(frozen=True, slots=True)
class PickedRows:
    """The picked rows of a history.

    Attributes:
        part: The rows, with the columns that the view selects.
        matched: The number of rows that `--where` keeps.
        visible: The number of these in which some selected metric is present.
    """

    part: Slice
    matched: int
    visible: int


def pick_rows(
    frame: Frame, selection: HistoryQuery, view: View, *, folded: Collection[str]
) -> PickedRows | None:
    """Return the rows that a view picks from a long history, reading few others.

    Args:
        frame: The history.
        selection: The columns and rows that the view selects.
        view: The view.
        folded: The columns that are shown as families, whose cells make no row visible.

    Returns:
        None where an expression needs other rows, where cells are in the residual, and for short histories.

    Raises:
        DamageError: A column is damaged.
    """
    if selection.evals or not is_long(frame):
        return None
    names = selection.columns_of(frame, internal=view.schema)
    keys = frame.typed_keys(names)
    if not keys:
        return None
    matched: npt.NDArray[np.intp] | None = np.arange(frame.length, dtype=np.intp)
    if selection.where is not None:
        matched = selection.matching_rows(frame)
    if matched is None:
        return None
    visible = matched
    if not view.show_all and len(matched):
        listed = [name for name in names if name not in folded]
        counted = {name: keys[name] for name in counted_columns(listed)}
        visible = matched[rows_with_cells(frame, counted)[matched]]
    steps = visible  # `--around` alone looks at the steps
    if view.picking.around is not None:
        steps = frame.steps if len(visible) == frame.length else frame.steps[visible]
    rows = visible[view.picking.rows(steps)]
    if not len(rows):
        return None
    steps, columns = take_columns(frame, keys, rows)
    part = Slice(steps=steps, columns=columns, rows_total=frame.length, rows=rows)
    return PickedRows(part, len(matched), len(visible))


def visible_rows(part: Slice, *, show_all: bool) -> npt.NDArray[np.intp]:
    """Return the rows in which some metric is present.

    W&B writes `_runtime` and `_timestamp` into every row, so that columns that start with an underscore count
    only where no other is shown.
    """
    length = len(part.steps)
    if show_all:
        return np.arange(length, dtype=np.intp)
    seen = np.zeros(length, np.bool_)
    for name in counted_columns(part.columns):
        seen |= part.columns[name].vector.present
    return np.flatnonzero(seen)


def counted_columns(names: Iterable[str]) -> Sequence[str]:
    """Return those of the shown columns whose cells make a row visible."""
    return _counted_columns(tuple(names))


@lru_cache(maxsize=64)  # thousands of runs have the same columns
def _counted_columns(names: tuple[str, ...]) -> Sequence[str]:
    return tuple(name for name in names if not name.startswith("_")) or names


def lost_spikes(part: Slice, rows: npt.NDArray[np.intp]) -> int:
    """Return how many rows with spikes are not among those that are shown."""
    if len(rows) == len(part.steps):
        return 0
    spikes = spike_rows([column.numbers() for column in part.columns.values()])
    return len(np.setdiff1d(spikes, rows, assume_unique=True))


def note_on_picking(view: View, subjects: Sequence[Subject]) -> Iterable[str]:
    """Say that no run has the step that rows were asked around."""
    around = view.picking.around
    ends = [step for subject in subjects if (step := subject.run.last_step) is not None]
    if around is not None and ends and around > max(ends):
        yield f"--around {around} is after the last step, {max(ends)}; the rows nearest to it are shown"
