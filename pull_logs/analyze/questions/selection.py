"""The columns and rows that a view selects of histories, and the columns that it computes.

Names are resolved once, over the columns of all runs together, so that an expression means the same in every
run. A metric has to be in one of them only; in the other runs it is missing in every row.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.questions.families import opened
from pull_logs.errors import MetricNotFoundError, UsageError
from pull_logs.frames import (
    Column,
    Frame,
    History,
    JoinedFrame,
    Steps,
    Vector,
    is_long,
    missing,
    rows_in_steps,
    rows_where,
    samples_for,
    take_columns,
)
from pull_logs.rows.canonical import STEP
from pull_logs.suggestions import did_you_mean

if TYPE_CHECKING:
    from pull_logs.analyze.expressions import Expression

_INTERNAL = re.compile(r"_runtime|_timestamp|_wandb.*", re.DOTALL)


def is_internal(name: str) -> bool:
    """Whether W&B itself writes a column of this name; it is shown only where `--select` names it."""
    return name.startswith("_") and _INTERNAL.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The rows and columns of one run that a view asks for.

    Attributes:
        steps: The steps of the rows that `--where` keeps.
        columns: The selected columns of those rows, in the order of their names, computed ones last.
        rows_total: The rows of the run.
        rows: The indices of these rows in the history; None for all rows.
        computed: What `--eval` computes, for every row of the run.
    """

    steps: Steps
    columns: Mapping[str, Column]
    rows_total: int
    rows: npt.NDArray[np.intp] | None = None
    computed: Mapping[str, Vector] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: History) -> Slice:
        """Return all rows of a run, with no column selected."""
        return cls(steps=frame.steps, columns={}, rows_total=frame.length)

    def take(self, rows: npt.NDArray[np.intp]) -> Slice:
        """Return some of its rows, by their indices in the slice."""
        return replace(
            self,
            steps=self.steps[rows],
            columns={name: column.take(rows) for name, column in self.columns.items()},
            rows=rows if self.rows is None else self.rows[rows],
        )

    def vectors(self, frame: History, names: Collection[str]) -> dict[str, Vector]:
        """Return columns of the run for these rows; a column that the run does not have is missing.

        Args:
            frame: The history of the run.
            names: The columns, computed ones included.

        Raises:
            DamageError: A column is damaged.
        """
        frame.load(names)
        found = _scope(names, frame, self.computed)
        rows = self.rows
        return found if rows is None else {name: vector.take(rows) for name, vector in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """A view's `--select`, `--where` and `--eval`, resolved over the columns of all runs.

    Attributes:
        selected: The columns that `--select` matches; None without it.
        evals: The computed columns in order.
        where: The condition that a row must meet.
        notes: How expressions were read, where they have two readings.
    """

    selected: frozenset[str] | None = None
    evals: tuple[tuple[str, Expression], ...] = ()
    where: Expression | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def settle(
        cls,
        names: Collection[str],
        *,
        select: str | None,
        where: str | None,
        evals: Sequence[tuple[str, str]],
    ) -> HistoryQuery:
        """Compile what a view asks for.

        Args:
            names: The columns of all runs.
            select: A regular expression, searched for in the names.
            where: An expression.
            evals: Names and expressions; a later one may use an earlier one.

        Raises:
            UsageError: The regular expression or the name of a computed column is not valid.
            ExpressionError: An expression does not parse, or a name in it is not a column.
            MetricNotFoundError: `select` matches no column.
        """
        known = dict.fromkeys(names)
        if not evals and where is None:
            return cls(
                selected=None if select is None else _matching(select, known), evals=(), where=None, notes=()
            )
        from pull_logs.analyze.expressions import compile_expression

        compiled = []
        for name, text in evals:
            _check_eval_name(name, known)
            compiled.append((name, compile_expression(text, known)))
            known[name] = None
        condition = compile_expression(where, known) if where is not None else None
        expressions = [*(expression for _, expression in compiled), *([condition] if condition else [])]
        return cls(
            selected=None if select is None else _matching(select, known),
            evals=tuple(compiled),
            where=condition,
            notes=tuple(dict.fromkeys(note for expression in expressions for note in expression.notes)),
        )

    def restricted(self, names: frozenset[str]) -> HistoryQuery:
        """Return the same query with these columns selected instead."""
        return replace(self, selected=names)

    def columns_of(self, frame: History, *, internal: bool) -> list[str]:
        """Return the selected columns of a frame, without `_step` and computed ones.

        Args:
            frame: A run's history.
            internal: Without a `--select`, take W&B's own columns too.
        """
        names = [name for name in frame.names if name != STEP]
        if self.selected is not None:
            return [name for name in names if name in self.selected]
        hidden = frame.system_names if isinstance(frame, JoinedFrame) else frozenset[str]()
        return [name for name in names if name not in hidden and (internal or not is_internal(name))]

    def apply(self, frame: History, *, internal: bool = False, columns: bool = True) -> Slice:
        """Compute, filter and select; computed columns use the complete history, whatever `--where` keeps.

        Args:
            frame: A run's history.
            internal: Without a `--select`, take W&B's own columns too.
            columns: Whether any columns are wanted, or only rows and what is computed.

        Raises:
            ExpressionError: An expression does not fit the columns it names.
            DamageError: A column is damaged.
        """
        names = self.columns_of(frame, internal=internal) if columns else []
        part = self._apply_in_parts(frame, names)
        if part is not None:
            return part
        frame.load([*names, *(name for expression in self._expressions() for name in expression.names)])
        computed: dict[str, Vector] = {}
        for name, expression in self.evals:
            outer, scope = _over_samples(expression, frame, computed)
            computed[name] = outer.evaluate(scope, frame.length)
        taken = {name: frame.column(name) for name in names}
        taken.update((name, Column.of(vector)) for name, vector in computed.items())
        part = Slice(steps=frame.steps, columns=taken, rows_total=frame.length, computed=computed)
        if self.where is None:
            return part
        outer, scope = _over_samples(self.where, frame, computed)
        holds = outer.condition(scope, frame.length)
        return part.take(np.flatnonzero(holds))

    def _apply_in_parts(self, frame: History, names: Sequence[str]) -> Slice | None:
        """Return what `apply` does, without having all cells of a long history in memory at once.

        None where a column is computed, where cells are in the residual, and for short histories.
        """
        if self.evals or not isinstance(frame, Frame):
            return None
        keys, rows = frame.typed_keys(names) if self.where is not None else None, self.matching_rows(frame)
        if keys is None or rows is None:
            return None
        steps, columns = take_columns(frame, keys, rows) if keys else (frame.steps[rows], {})
        return Slice(steps=steps, columns=columns, rows_total=frame.length, rows=rows)

    def matching_rows(self, frame: Frame) -> npt.NDArray[np.intp] | None:
        """Return the rows of a long history that `--where` keeps, reading it part by part.

        None without a `--where`, where it uses a computed column, needs other rows than the one it is about
        or cells in the residual, and for short histories.

        Raises:
            ExpressionError: The condition does not fit the columns it names.
            DamageError: A column is damaged.
        """
        where = self.where
        if where is None or not is_long(frame) or not where.is_by_row:
            return None
        own = [name for name in where.names if name in frame and name != STEP]
        keys = None if any(name in where.names for name, _ in self.evals) else frame.typed_keys(own)
        if keys is None:
            return None
        return rows_where(frame, keys, where.condition, rows_in_steps(frame, *where.step_range))

    def _expressions(self) -> Iterable[Expression]:
        yield from (expression for _, expression in self.evals)
        if self.where is not None:
            yield self.where


def _over_samples(
    expression: Expression, frame: History, computed: Mapping[str, Vector]
) -> tuple[Expression, dict[str, Vector]]:
    """Return an expression and its columns; reductions of system metrics alone are over the samples."""
    if not isinstance(frame, JoinedFrame):
        return expression, _scope(expression.names, frame, computed)
    outer, reductions = expression.without_reductions()
    scope = _scope(outer.names - reductions.keys(), frame, computed)
    for name, reduction in reductions.items():
        rows = samples_for(reduction.names, frame) or frame
        known = computed if rows is frame else {}
        one = reduction.reduce(_scope(reduction.names, rows, known), rows.length)
        scope[name] = Vector(
            one.kind, np.repeat(one.values, frame.length), np.repeat(one.present, frame.length)
        )
    return outer, scope


def _scope(names: Collection[str], frame: History, computed: Mapping[str, Vector]) -> dict[str, Vector]:
    """Return the vectors of these names; a column that the run does not have is missing."""
    return {
        name: computed[name]
        if name in computed
        else frame.column(name).vector
        if name in frame
        else missing(frame.length)
        for name in names
    }


def _check_eval_name(name: str, known: Collection[str]) -> None:
    from pull_logs.analyze.expressions import is_bare_name

    if not is_bare_name(name):
        raise UsageError(
            f"--eval cannot name a column {name!r}",
            hint="a name is a letter or _, then letters, digits and _ . : /",
        )
    if name in known:
        raise UsageError(
            f"--eval {name!r} is the name of a column already", hint="choose a name that no metric has"
        )


def _matching(pattern: str, names: Collection[str]) -> frozenset[str]:
    metrics = [name for name in names if name != STEP]
    search = compile_pattern(pattern).search
    found = frozenset(filter(search, metrics))
    if not found and not search(STEP):
        raise MetricNotFoundError(
            f"no metric matches --select {pattern!r}",
            hint=did_you_mean(pattern, metrics, otherwise="the runs have no metrics", cutoff=0),
        )
    return found


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile the regular expression of a `--select`; the pattern of a family matches its members.

    Raises:
        UsageError: It is not valid; the message has the position.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about what a later Python may read differently
            return re.compile(opened(pattern))
    except re.error as exc:
        position = "" if exc.pos is None else f" at position {exc.pos}"
        raise UsageError(
            f"--select {pattern!r} is not a valid regular expression: {exc.msg}{position}",
            hint="escape special characters with a backslash",
        ) from exc
    except (RecursionError, OverflowError) as exc:
        raise UsageError(
            f"--select {pattern[:40]!r}... is too deep for a regular expression", hint="make it simpler"
        ) from exc
