"""Expressions with one value per run: `mean(train/tokens_per_sec)`, `first_step(val/loss < 3)`, `config.lr`.

Reductions are over rows of the history. Any other name is the same for all rows: a value of the run, such as
`config.lr`, `summary.val/acc`, `rows` or `state`; the value of the summary for the bare name of a metric; or
else the last value of the history. Within a reduction, columns of the history come first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pull_logs.analyze.questions.run_values import DERIVED
from pull_logs.analyze.questions.selection import Slice
from pull_logs.analyze.questions.system_metrics import rows_of
from pull_logs.frames import Column, Frame, History, Vector, from_cells

if TYPE_CHECKING:
    from pull_logs.analyze.expressions import Expression

_MOST_EXACT = 2**53
"""Up to this one, every integer is a double."""

WHAT = "metric or run column"
"""What messages call a name of such an expression."""


@dataclass(frozen=True, slots=True)
class RunExpression:
    """An expression with one value per run.

    Attributes:
        expression: The expression, with a column in place of each reduction.
        reductions: The reductions, by the names of these columns.
        rows: The columns of histories that may matter to it.
        notes: What a reader of the answer should know.
        about_runs: Whether it has a name of `run_scope`.
    """

    expression: Expression
    reductions: Mapping[str, Expression]
    rows: AbstractSet[str]
    notes: tuple[str, ...]
    about_runs: bool = True

    @property
    def names(self) -> frozenset[str]:
        """All columns that it reads, those of its reductions included."""
        reduced = (reduction.names for reduction in self.reductions.values())
        return (self.expression.names - self.reductions.keys()).union(*reduced)

    @classmethod
    def compile(cls, text: str, *, about: Collection[str], rows: AbstractSet[str]) -> RunExpression:
        """Parse an expression and find its names.

        Args:
            text: The expression.
            about: The names of `run_scope`, of all runs.
            rows: The columns of their histories.

        Raises:
            ExpressionError: The text is not a valid expression, or a name has two readings.
            UnknownNameError: No run has a name.
        """
        from pull_logs.analyze.expressions import compile_expression

        expression = compile_expression(text, dict.fromkeys((*about, *rows)), what=WHAT)
        outer, reductions = expression.without_reductions()
        about_runs = not expression.names.isdisjoint(about)
        known = frozenset(rows & (expression.names | DERIVED))
        return cls(outer, reductions, known, expression.notes, about_runs)

    @property
    def columns(self) -> frozenset[str]:
        """The columns of histories that it reads."""
        reduced = [reduction.names for reduction in self.reductions.values()]
        return frozenset().union(self.expression.names, *reduced) & self.rows

    def cells(self, scope: Mapping[str, Any], frame: History, part: Slice | None) -> dict[str, Any]:
        """Return the value of each name and reduction of the expression for one run.

        The last values of complete histories are those of the index, where there is one.

        Args:
            scope: The values of the run (see `run_scope`).
            frame: Its history.
            part: The rows that count; None for all, which are then read only if the index is not enough.

        Raises:
            ExpressionError: A value is of a kind that an operation does not take.
            DamageError: A column is damaged.
        """
        hidden = DERIVED & self.rows
        known = {name: cell for name, cell in scope.items() if name not in hidden}
        if self.reductions:
            if part is None and isinstance(frame, Frame):  # the steps come with them, in one reading
                frame.load(next(iter(self.reductions.values())).names & self.rows)
            part = part or Slice.of(frame)
            known |= self.reduced(scope, frame, part)
        if part is None:
            unknown = frozenset(self.expression.names.difference(known))
            known |= indexed_last_cells(frame, unknown)
        if other := [name for name in self.expression.names if name not in known]:
            vectors = (part or Slice.of(frame)).vectors(frame, other)
            known |= {name: last_cell(vector) for name, vector in vectors.items()}
        return {name: known[name] for name in self.expression.names}

    def reduced(self, scope: Mapping[str, Any], frame: History, part: Slice) -> dict[str, Any]:
        """Return the values of the reductions over these rows; the arguments are those of `cells`."""
        found = {}
        for name, reduction in self.reductions.items():
            history, rows = rows_of(reduction.names, frame, part)
            vectors = rows.vectors(history, reduction.names & self.rows)
            for other in reduction.names - self.rows:
                vectors[other] = repeated(scope.get(other), len(rows.steps))
            found[name] = cell_of(reduction.reduce(vectors, len(rows.steps)), 0)
        return found

    def value(self, scope: Mapping[str, Any], frame: History, part: Slice | None) -> Any:
        """Return the value for one run, None where it is missing; arguments and errors as for `cells`."""
        row = {name: from_cells([cell]) for name, cell in self.cells(scope, frame, part).items()}
        return cell_of(self.expression.evaluate(row, 1), 0)


def cell_of(vector: Vector, row: int) -> Any:
    """Return one cell as the value that was logged."""
    return Column.of(vector).cells(np.array([row]))[0]


def last_cell(vector: Vector) -> Any:
    """Return the last cell that is present; None without any."""
    present = np.flatnonzero(vector.present)
    return cell_of(vector, int(present[-1])) if len(present) else None


def indexed_last_cells(frame: History, names: frozenset[str]) -> dict[str, Any]:
    """Return the last cells of those of these columns of which the index has them as `last_cell` does.

    A column that the history does not have is missing. Without an index there are none.
    """
    facts = frame.facts(names)
    if facts is None:
        return {}
    found: dict[str, Any] = {}
    for name in names:
        one = facts.get(name)
        if one is None or not one.cells:
            found[name] = None
        elif one.last is not None and not _may_be_rounded(one.last):
            found[name] = one.last
    return found


def _may_be_rounded(cell: Any) -> bool:
    """Whether a cell is an integer that a column of doubles does not hold exactly."""
    return isinstance(cell, int) and abs(cell) > _MOST_EXACT


def repeated(cell: Any, length: int) -> Vector:
    """Return a vector with the same cell in every row."""
    one = from_cells([cell])
    return Vector(one.kind, np.repeat(one.values, length), np.repeat(one.present, length))
