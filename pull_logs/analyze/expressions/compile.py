"""Expressions from text to value: the language of `--where`, `--eval`, `--filter` and `--assert`.

    expression = compile_expression("train/loss - val/loss", frame.keys())
    expression.evaluate(frame, length)

Data flows forward through the modules: tokenizer -> parser -> nodes -> resolver -> evaluator. Columns are
vectors. Nothing but arithmetic ever runs; Python's `eval` is not used. See docs/expressions.md.

A frame is any mapping of names to vectors of one length: the rows of a run's history, or one row per run with
columns such as `config.lr` and `state`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pull_logs.analyze.expressions import evaluator as evaluation
from pull_logs.analyze.expressions.functions import FUNCTIONS
from pull_logs.analyze.expressions.nodes import Call, Name, Node, operands, with_operands
from pull_logs.analyze.expressions.parser import parse
from pull_logs.analyze.expressions.resolver import resolve
from pull_logs.analyze.expressions.row_scope import StepRange, is_by_row, step_range
from pull_logs.frames import Mask, Vector
from pull_logs.rows.canonical import STEP


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression whose names are columns.

    Attributes:
        text: The expression as it was written.
        node: Its resolved tree; `str(node)` is its canonical text.
        names: The columns that it reads.
        notes: What a reader of the answer should know, such as a name with two readings.
        bare: The columns of the names that were written without backticks, by what was written.
    """

    text: str
    node: Node
    names: frozenset[str]
    notes: tuple[str, ...]
    bare: Mapping[str, str]

    def evaluate(self, frame: Mapping[str, Vector], length: int) -> Vector:
        """Return the value in every row.

        Args:
            frame: Columns by name, each of `length` cells in row order; a name without a column is missing in
                every row.
            length: The number of rows.

        Raises:
            ExpressionError: The kinds of columns do not fit what is done with them.
        """
        vector = evaluation.evaluate(self.node, frame, length=length, source=self.text)
        values, present = np.ascontiguousarray(vector.values), np.ascontiguousarray(vector.present)
        return Vector(vector.kind, values, present)

    def condition(self, frame: Mapping[str, Vector], length: int) -> Mask:
        """Return where it holds; missing is false. The arguments are those of `evaluate`.

        Raises:
            ExpressionError: As for `evaluate`; also where the expression is not a condition.
        """
        return evaluation.condition(self.node, frame, length=length, source=self.text)

    @property
    def is_by_row(self) -> bool:
        """Whether its value in a row depends on the cells of that row alone."""
        return is_by_row(self.node)

    @property
    def step_range(self) -> StepRange:
        """A range outside of which it holds for no step, if it is a condition by row."""
        return step_range(self.node)

    def without_reductions(self) -> tuple[Expression, dict[str, Expression]]:
        """Return the expression with a column in place of each reduction, and the reductions by these names.

        The name of such a column is the text of the reduction, such as `mean(train/loss)`.
        """
        found: dict[str, Expression] = {}

        def replaced(node: Node) -> Node:
            if not isinstance(node, Call) or not FUNCTIONS[node.function].reduces:
                return with_operands(node, replaced)
            name = str(node)
            while name in self.names:
                name += " "
            found[name] = Expression(self.text, node, _names(node), (), {})
            return Name(name, quoted=True, span=node.span)

        node = replaced(self.node)
        return (replace(self, node=node, names=_names(node)) if found else self), found

    def reduce(self, frame: Mapping[str, Vector], length: int) -> Vector:
        """Return the value of an expression that is one reduction, as one cell.

        The arguments are those of `evaluate`.

        Raises:
            ExpressionError: As for `evaluate`.
        """
        if not isinstance(self.node, Call):
            raise TypeError(f"{self.node} is not a reduction")
        return evaluation.reduction(self.node, frame, length=length, source=self.text)


def _names(node: Node) -> frozenset[str]:
    own = {node.text} if isinstance(node, Name) else set()
    if isinstance(node, Call) and FUNCTIONS[node.function].stepped:
        own.add(STEP)
    return frozenset(own).union(*map(_names, operands(node)))


def compile_expression(text: str, columns: Collection[str], *, what: str = "metric") -> Expression:
    """Parse an expression and find its columns.

    Args:
        text: The expression.
        columns: The names of the columns that exist.
        what: What messages call a column.

    Raises:
        ExpressionError: The text is not a valid expression, a name has two readings, or a call does not fit.
        UnknownNameError: A name is not a column; the message names the nearest ones.
    """
    resolved = resolve(parse(text), columns, source=text, what=what)
    return Expression(text, resolved.node, resolved.names, resolved.notes, resolved.bare)
