"""The sections of an answer that are about histories, run after run.

Frames are read one after the other and let go of again, so that a thousand runs need the memory of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.answers.side_by_side import Ending, compare_metrics, ending
from pull_logs.analyze.frames import Column, Frame, Steps, numbers
from pull_logs.analyze.questions import Selection, Slice, Subject, View, is_internal
from pull_logs.analyze.statistics import describe_all, describe_column, has_numbers, rank_rows, sample_rows
from pull_logs.rows.canonical import STEP, spell
from pull_logs.suggestions import joined

if TYPE_CHECKING:
    from pull_logs.analyze.questions import Assertions

BYTES_PER_TOKEN = 3

_SCALARS = frozenset({"number", "bool", "string", "mixed", "empty"})
_MOST_NAMED = 10
_ROWS_ANYWAY = 24
"""Rows of a run that a token budget takes before it comes to cutting columns or runs."""


class Histories:
    """The sections that are about histories, run after run."""

    def __init__(self, subjects: Sequence[Subject], view: View, asked: AbstractSet[str]) -> None:
        self._subjects = subjects
        self._view = view
        self._asked = asked
        self._sampled: list[str] = []
        self._hidden: list[str] = []
        self._left_out: dict[str, None] = {}

    def answer(self, found: dict[str, Any]) -> list[str]:
        """Fill in the sections that are asked for; returns notes."""
        frames = {id(subject.run): Frame(subject.run) for subject in self._subjects}
        view = self._view
        selection = Selection.settle(
            dict.fromkeys(name for frame in frames.values() for name in frame.names),
            select=view.select,
            where=view.where,
            evals=view.evals,
        )
        assertions = settle_assertions(
            view.asserts,
            self._subjects,
            [name for frame in frames.values() for name in frame.names] if view.asserts else (),
            computed=[name for name, _ in view.evals],
        )
        endings: dict[str, dict[str, Ending]] = {}
        last_use = {id(subject.run): number for number, subject in enumerate(self._subjects)}
        wanted = bool(view.picking or self._asked & {"schema", "stats", "history", "comparison"})
        for number, subject in enumerate(self._subjects):
            frame = frames[id(subject.run)]
            part = selection.apply(frame, internal=view.schema, columns=wanted)
            part, shown = self._tell(subject, frame, part, selection, found)
            if assertions is not None:
                assertions.ask(subject, frame, part)
            if "comparison" in self._asked:
                from pull_logs.analyze.answers.checkpoints import steps_of

                until = steps_of(frame, subject)[-1]
                endings[subject.label] = {
                    name: ending(column, shown.steps, checkpoint_step=until)
                    for name, column in shown.columns.items()
                }
            if last_use[id(subject.run)] == number:
                frame.forget()
        if "comparison" in self._asked:
            checkpoints = any(subject.checkpoint is not None for subject in self._subjects)
            found["comparison"] = compare_metrics(endings, checkpoints=checkpoints)
        if assertions is None:
            return [*selection.notes, *self._notes()]
        found["assertions"] = assertions.verdicts()
        return [*selection.notes, *assertions.notes, *self._notes()]

    def _tell(
        self, subject: Subject, frame: Frame, part: Slice, selection: Selection, found: dict[str, Any]
    ) -> tuple[Slice, Slice]:
        """Fill in the sections of one run; returns the rows looked at, and of these what a history shows."""
        view, whole = self._view, part
        shown = part if view.select is not None else self._without_objects(part, selection)
        if view.picking or "history" in self._asked:
            visible = visible_rows(shown, show_all=view.show_all)
            rows = visible[view.picking.rows(part.steps[visible])]
            if len(rows) < len(part.steps):
                part, shown = (part.take(rows) if view.picking else part), shown.take(rows)
            if "history" in self._asked:
                counts = {"rows_matched": len(whole.steps), "hidden": len(whole.steps) - len(visible)}
                found["history"][subject.label] = self._history(subject, frame, shown, counts)
        if "schema" in self._asked:
            found["schema"][subject.label] = _schema(part)
        if "stats" in self._asked:
            found["stats"][subject.label] = _stats(part, internal=view.select is not None)
        return part, shown

    def _without_objects(self, part: Slice, selection: Selection) -> Slice:
        """A slice without histograms, images and lists, unless they were computed."""
        computed = {name for name, _ in selection.evals}
        kept = {
            name: column
            for name, column in part.columns.items()
            if column.type in _SCALARS or name in computed
        }
        self._left_out.update(dict.fromkeys(name for name in part.columns if name not in kept))
        return replace(part, columns=kept)

    def _history(
        self, subject: Subject, frame: Frame, part: Slice, counts: Mapping[str, int]
    ) -> dict[str, Any]:
        rows = self._sample(subject, frame, part)
        if counts["hidden"]:
            self._hidden.append(f"{subject.label} {counts['hidden']}")
        sampling = "none"
        if len(rows) < len(part.steps):
            sampling = f"extremes {len(rows)}/{len(part.steps)}"
            self._sampled.append(f"{subject.label} {len(rows)}/{len(part.steps)}")
        cells = [_spelled(column.cells(rows)) for column in part.columns.values()]
        return {
            "columns": [STEP, *part.columns],
            "rows": [list(row) for row in zip(part.steps[rows].tolist(), *cells, strict=True)],
            "rows_total": part.rows_total,
            "rows_matched": counts["rows_matched"],
            "rows_picked": len(part.steps),
            "rows_shown": len(rows),
            "hidden": counts["hidden"],
            "sampling": sampling,
        }

    def _sample(self, subject: Subject, frame: Frame, part: Slice) -> npt.NDArray[np.intp]:
        """Which of the rows to show."""
        view, length = self._view, len(part.steps)
        room = length
        if view.max_tokens:
            # A row takes a digit, a separator for each further column and the end of its line.
            fitting = view.max_tokens * BYTES_PER_TOKEN // (len(part.columns) + 2)
            room = max(fitting // len(self._subjects), min(fitting, _ROWS_ANYWAY))
        limit = view.max_rows or length
        if length <= min(limit, room):
            return np.arange(length, dtype=np.intp)
        metrics = [column.numbers() for column in part.columns.values()]
        pinned = _rows_at(part.steps, frame, subject)
        rows = sample_rows(metrics, length=length, limit=limit, pinned=pinned)
        return rows if len(rows) <= room else np.sort(rank_rows(metrics, length=length, pinned=pinned)[:room])

    def _notes(self) -> Iterable[str]:
        if self._sampled and "history" in self._asked:
            yield (
                "sampled (first, last, minimum, maximum and non-finite rows of every shown metric kept): "
                f"{joined(self._sampled, most=_MOST_NAMED)}; --max-rows 0 --max-tokens 0 takes all"
            )
        if self._hidden:
            yield (
                "rows hidden because every shown metric is missing in them: "
                f"{joined(self._hidden, most=_MOST_NAMED)}; --show-all shows them"
            )
        if self._left_out and "history" in self._asked:
            yield (
                f"columns left out because they hold objects or lists: {joined(self._left_out, most=_MOST_NAMED)}; "
                "--select shows them"
            )


def settle_assertions(
    texts: Sequence[str],
    subjects: Sequence[Subject],
    columns: Iterable[str],
    *,
    computed: Sequence[str] = (),
) -> Assertions | None:
    """What must hold of these runs (see `assertions.Assertions.settle`); None where nothing was asserted."""
    if not texts:
        return None
    from pull_logs.analyze.questions import Assertions

    return Assertions.settle(
        texts,
        infos=[subject.run.info for subject in subjects],
        columns=tuple(columns),
        computed=computed,
    )


def _rows_at(steps: Steps, frame: Frame, subject: Subject) -> list[int]:
    """The rows at which checkpoints were taken, so that a sample keeps them."""
    from pull_logs.analyze.answers.checkpoints import steps_of

    untils = [until for until in steps_of(frame, subject) if until is not None]
    return sorted({int(np.searchsorted(steps, until, side="right")) - 1 for until in untils} - {-1})


def _spelled(cells: list[Any]) -> list[Any]:
    return [spell(cell) if isinstance(cell, (float, dict, list)) else cell for cell in cells]


def visible_rows(part: Slice, *, show_all: bool) -> npt.NDArray[np.intp]:
    """The rows in which some metric is present.

    W&B writes `_runtime` and `_timestamp` into every row, so that columns that start with an underscore count
    only where no other is shown.
    """
    length = len(part.steps)
    if show_all:
        return np.arange(length, dtype=np.intp)
    counted: list[Column] = [
        column for name, column in part.columns.items() if not name.startswith("_")
    ] or list(part.columns.values())
    seen = np.zeros(length, np.bool_)
    for column in counted:
        seen |= column.vector.present
    return np.flatnonzero(seen)


def _schema(part: Slice) -> list[dict[str, Any]]:
    steps = Column(numbers(part.steps), "number")
    return [
        describe_column(STEP, steps, part.steps),
        *(describe_column(name, column, part.steps) for name, column in part.columns.items()),
    ]


def _stats(part: Slice, *, internal: bool) -> dict[str, dict[str, Any]]:
    metrics = {
        name: column
        for name, column in part.columns.items()
        if (internal or not is_internal(name)) and has_numbers(column)
    }
    return describe_all(metrics, part.steps)
