"""Assertions about runs: `--assert`, for gates in CI.

    val/acc > 0.9               for the run: the value of its summary, or else the last one of its history
    any: val/acc > 0.9          for at least one row
    all: train/loss < 10        for every row that has the metrics
    step 1000: val/loss < 2     for the last values of the metrics at or before step 1000

The scope is followed by an expression (`pull_logs.analyze.expressions.compile`). Without a scope it is about
the run, and may name `config.lr`, `summary.val/acc`, `state` and everything else that `--filter` knows. The
rows are those that a view uses: `--where` and `--last` narrow them, and `--eval` adds columns.

Reductions such as `mean(train/loss)` are over these rows (for `step`: over those up to it), and one value for
all of them. In a reduction, a name that is not a column of a history, such as `config.target`, is the same
in every row.

An assertion does not pass because a value is missing. A comparison with a missing value is false; `any` and
`all` do not hold if there are no rows; and a run that ended before the step of `step` fails. `all` leaves out
rows in which a metric is missing, since few metrics are in every row, except for metrics in `is missing`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from pull_logs.analyze.questions.request import Subject
from pull_logs.analyze.questions.run_expressions import RunExpression, cell_of, last_cell, repeated
from pull_logs.analyze.questions.run_values import run_scope, scope_names
from pull_logs.analyze.questions.selection import Slice
from pull_logs.analyze.questions.system_metrics import rows_of
from pull_logs.analyze.results import AssertionResult, AssertionSections
from pull_logs.errors import ExpressionError, UnknownNameError
from pull_logs.frames import Column, Floats, History, Mask, RunLike, Vector, from_cells, numbers
from pull_logs.rows.canonical import STEP, canon_number, spell
from pull_logs.suggestions import joined

if TYPE_CHECKING:
    from pull_logs.analyze.expressions import Node

Scope: TypeAlias = Literal["run", "any", "all", "step"]

_SCOPE = re.compile(r"\s*(?:(any|all)|step\s+([^\s:]+))\s*:")
_SHOWN_VALUES = 5


@dataclass(frozen=True, slots=True)
class Broken:
    """A run for which an assertion does not hold.

    Attributes:
        run: Its label.
        path: `entity/project/run_id`.
        message: The values that broke it, in words.
        step: The step of the row that broke it; None if no single row did.
        values: The values of the names of the expression there.
    """

    run: str
    path: str
    message: str
    step: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def _broken(
    subject: Subject, message: str, step: int | None = None, values: Mapping[str, Any] | None = None
) -> Broken:
    return Broken(subject.label, str(subject.run.path), message, step, values or {})


@dataclass(frozen=True, slots=True)
class _Assertion:
    """An assertion."""

    text: str
    scope: Scope
    step: int
    expression: RunExpression
    offset: int

    @property
    def needs_rows(self) -> bool:
        """Whether it is about more than the last values of columns."""
        return self.scope != "run" or bool(self.expression.reductions)

    def holding(self, last: Callable[[str], Floats | None], runs: int) -> Mask:
        """Return the runs for which it is known to hold, by their last numbers alone."""
        held = np.zeros(runs, np.bool_)
        found = {name: last(name) for name in self.expression.names}
        columns = {name: column for name, column in found.items() if column is not None}
        if self.needs_rows or self.expression.about_runs or not columns or len(columns) < len(found):
            return held
        known = np.logical_and.reduce([np.isfinite(column) for column in columns.values()])
        row = {name: numbers(column[known]) for name, column in columns.items()}
        with suppress(ExpressionError):  # it is raised again for the first run
            held[known] = self.expression.expression.condition(row, int(known.sum()))
        return held

    def check(self, subject: Subject, frame: History, part: Slice | None) -> Broken | None:
        with _at_offset(self.text, self.offset):
            return self._check(subject, frame, part)

    def _check(self, subject: Subject, frame: History, part: Slice | None) -> Broken | None:
        if self.scope == "run":
            return self._run(subject, frame, part)
        frame, part = rows_of(self.expression.names, frame, part or Slice.of(frame))
        return {"any": self._any, "all": self._all, "step": self._step}[self.scope](subject, frame, part)

    def _run(self, subject: Subject, frame: History, part: Slice | None) -> Broken | None:
        found = self.expression
        scope = run_scope(subject.run, found.names) if found.about_runs else {}
        return self._over_one_row(subject, found.cells(scope, frame, part), step=None)

    def _step(self, subject: Subject, frame: History, part: Slice) -> Broken | None:
        if not len(part.steps) or int(part.steps[-1]) < self.step:
            ended = f"its last step is {int(part.steps[-1])}" if len(part.steps) else "it has no rows"
            return _broken(subject, ended)
        until = int(np.searchsorted(part.steps, self.step, side="right"))
        before = part.take(np.arange(until, dtype=np.intp))
        vectors = self._vectors(subject, frame, before)
        return self._over_one_row(
            subject, {name: last_cell(vector) for name, vector in vectors.items()}, step=self.step
        )

    def _vectors(self, subject: Subject, frame: History, part: Slice) -> dict[str, Vector]:
        """Return the columns of the expression for these rows, in each of them the value of a reduction."""
        found = self.expression
        vectors = part.vectors(frame, found.expression.names - found.reductions.keys())
        if found.reductions:
            reduced = found.reduced(run_scope(subject.run, found.names), frame, part)
            vectors |= {name: repeated(cell, len(part.steps)) for name, cell in reduced.items()}
        return vectors

    def _over_one_row(self, subject: Subject, cells: Mapping[str, Any], *, step: int | None) -> Broken | None:
        row = {name: from_cells([cell]) for name, cell in cells.items()}
        if self.expression.expression.condition(row, 1)[0]:
            return None
        return _broken(
            subject, _named_cells(cells), step, {name: spell(cell) for name, cell in cells.items()}
        )

    def _any(self, subject: Subject, frame: History, part: Slice) -> Broken | None:
        vectors = self._vectors(subject, frame, part)
        if self.expression.expression.condition(vectors, len(part.steps)).any():
            return None
        ranges = [_range(name, vector) for name, vector in sorted(vectors.items())]
        return _broken(subject, f"in none of {len(part.steps)} rows: {', '.join(ranges[:_SHOWN_VALUES])}")

    def _all(self, subject: Subject, frame: History, part: Slice) -> Broken | None:
        vectors = self._vectors(subject, frame, part)
        counted = np.ones(len(part.steps), np.bool_)
        for name in _required(self.expression.expression.node):
            counted &= vectors[name].present
        if not counted.any():
            return _broken(subject, "no row has all of its metrics")
        failing = np.flatnonzero(counted & ~self.expression.expression.condition(vectors, len(part.steps)))
        if not len(failing):
            return None
        first = int(failing[0])
        cells = {name: cell_of(vector, first) for name, vector in vectors.items()}
        more = f", and {len(failing) - 1} more of {int(counted.sum())} rows" if len(failing) > 1 else ""
        step = int(part.steps[first])
        return _broken(
            subject,
            f"{_named_cells(cells)} at step {step}{more}",
            step,
            {name: spell(cell) for name, cell in cells.items()},
        )


Checked: TypeAlias = tuple[Broken | None, ...]
"""What broke each assertion in a run; None where it holds."""


class Assertions:
    """The assertions of a view, checked for each run on its own."""

    def __init__(self, assertions: Sequence[_Assertion]) -> None:
        self._assertions = assertions

    @classmethod
    def settle(
        cls,
        texts: Sequence[str],
        *,
        runs: Sequence[RunLike],
        columns: Collection[str],
        computed: Collection[str],
    ) -> Assertions:
        """Compile assertions.

        Args:
            texts: The values of `--assert`.
            runs: The runs that will be checked.
            columns: The columns of their histories.
            computed: The columns that `--eval` adds.

        Raises:
            ExpressionError: A text is not a valid assertion, or a name has two readings.
            UnknownNameError: No run has a name.
        """
        rows = dict.fromkeys((STEP, *columns, *computed))
        about = scope_names(runs) if texts else {}
        settled = []
        for text in texts:
            scope, step, offset = _scope_of(text)
            with _at_offset(text, offset):
                expression = RunExpression.compile(
                    text[offset:], about=about if scope == "run" else (), rows=rows.keys()
                )
            settled.append(_Assertion(text, scope, step, expression, offset))
        return cls(settled)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the expressions were read, where they have two readings."""
        return tuple(dict.fromkeys(note for item in self._assertions for note in item.expression.notes))

    @property
    def need_rows(self) -> bool:
        """Whether one of them is about more than the last values of columns."""
        return any(item.needs_rows for item in self._assertions)

    @property
    def names(self) -> frozenset[str]:
        """The columns of histories that they read."""
        return frozenset[str]().union(*(item.expression.columns for item in self._assertions))

    def load(self, frame: History, *, complete: bool) -> None:
        """Read the columns of a history that they need, in one pass.

        Args:
            frame: The history.
            complete: Whether all its rows count, so that an index has the last values.

        Raises:
            DamageError: A column is damaged.
        """
        read = [item for item in self._assertions if item.needs_rows or not complete]
        if complete and len(read) < len(self._assertions) and frame.facts(frozenset()) is None:
            read = list(self._assertions)
        frame.load([name for item in read for name in item.expression.columns])

    def holding(self, last: Callable[[str], Floats | None], runs: int) -> list[Mask]:
        """Return for each assertion the runs for which it is known to hold, by their last numbers alone.

        Args:
            last: Returns the last cell of a column in each run, NaN where it is not known to be a number that
                is a double; None where it is that of no run.
            runs: The number of runs.
        """
        return [item.holding(last, runs) for item in self._assertions]

    def check(
        self, subject: Subject, frame: History, part: Slice | None, *, held: Sequence[bool] = ()
    ) -> Checked:
        """Check all assertions for one run, and return what broke each of them.

        Args:
            subject: The run.
            frame: Its history.
            part: The rows of it that the view uses; None for all.
            held: Which of them are known to hold; by default none.

        Raises:
            ExpressionError: A value is of a kind that an operation does not take.
            DamageError: A column is damaged.
        """
        return tuple(
            None if held and held[index] else assertion.check(subject, frame, part)
            for index, assertion in enumerate(self._assertions)
        )

    def results(self, checked: Sequence[Checked]) -> list[AssertionResult]:
        """Return an entry per assertion, with the runs that broke it.

        Args:
            checked: What `check` returned for each run that was checked, in the order of the runs.
        """
        return [
            {
                "assert": item.text,
                "holds": not any(found[index] for found in checked),
                "broken": [
                    {
                        "run": broken.run,
                        "path": broken.path,
                        "message": broken.message,
                        "step": broken.step,
                        "values": dict(broken.values),
                    }
                    for found in checked
                    if (broken := found[index]) is not None
                ],
            }
            for index, item in enumerate(self._assertions)
        ]


@dataclass(frozen=True, slots=True)
class AssertionAnswer:
    """Assertions, and what broke them in the runs.

    Attributes:
        assertions: The assertions; None if there are none.
        checked: What `Assertions.check` returned, in the order of the runs.
    """

    assertions: Assertions | None
    checked: Sequence[Checked]

    @property
    def sections(self) -> AssertionSections:
        """The section of an answer, if there are assertions."""
        return {} if self.assertions is None else {"assertions": self.assertions.results(self.checked)}

    @property
    def notes(self) -> tuple[str, ...]:
        """How the expressions were read, where they have two readings."""
        return () if self.assertions is None else self.assertions.notes


def _scope_of(text: str) -> tuple[Scope, int, int]:
    """Return the scope of an assertion, the step that it names, and the offset of its expression."""
    found = _SCOPE.match(text)
    if found is None:
        return "run", 0, 0
    if found[1]:
        return ("any" if found[1] == "any" else "all"), 0, found.end()
    try:
        return "step", int(found[2]), found.end()
    except ValueError:
        raise ExpressionError(
            f"{found[2]!r} is not a valid step",
            source=text,
            span=found.span(2),
            hint="write it as --assert 'step 1000: val/loss < 2'",
        ) from None


@contextmanager
def _at_offset(text: str, offset: int) -> Iterator[None]:
    """Point errors of an expression that starts at this offset into the complete text."""
    try:
        yield
    except (ExpressionError, UnknownNameError) as exc:
        span = exc.span[0] + offset, exc.span[1] + offset
        raise type(exc)(exc.message, source=text, span=span, hint=exc.hint) from exc


def _required(node: Node) -> frozenset[str]:
    """Return the names of an expression outside of `is missing`."""
    from pull_logs.analyze.expressions import IsMissing, Name, operands

    if isinstance(node, Name):
        return frozenset({node.text})
    if isinstance(node, IsMissing):
        return frozenset()
    return frozenset().union(*map(_required, operands(node)))


def _named_cells(cells: Mapping[str, Any]) -> str:
    """Return the names and values of cells for a message, in the order of the names."""
    words = [
        f"{name} = {_cell_text(cell)}" if cell is not None else f"{name} is missing"
        for name, cell in cells.items()
    ]
    return joined(sorted(words), most=_SHOWN_VALUES)


def _cell_text(cell: Any) -> str:
    if isinstance(cell, str):
        return repr(cell)
    cell = spell(cell)
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def _range(name: str, vector: Vector) -> str:
    values, numeric = Column.of(vector).numbers()
    finite = values[numeric & np.isfinite(values)]
    if not len(finite):
        return f"{name} has no number" if vector.present.any() else f"{name} is missing"
    low, high = canon_number(float(finite.min())), canon_number(float(finite.max()))
    return (
        f"{name} = {_cell_text(low)}"
        if low == high
        else f"{name} from {_cell_text(low)} to {_cell_text(high)}"
    )
