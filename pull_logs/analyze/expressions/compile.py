"""Expressions from text to answer: what `--where`, `--eval`, `--filter` and `--assert` are made of.

    expression = compile_expression("train/loss - val/loss", frame.keys())
    expression.evaluate(frame, length)

The data flows forward through the modules: tokenizer -> parser -> nodes ->
resolve -> evaluate, over columns that are vectors. Nothing but arithmetic ever
runs; Python's `eval` has no part in it.

A frame is any mapping of names to vectors of one length: the rows of a run's
history, or one row per run with columns such as `config.lr` and `state`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from pull_logs.analyze.expressions import evaluator as evaluation
from pull_logs.analyze.expressions.nodes import Node
from pull_logs.analyze.expressions.parser import parse
from pull_logs.analyze.expressions.resolver import resolve
from pull_logs.analyze.frames import Mask, Vector


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that knows its columns.

    Attributes:
        text: The expression as it was written.
        node: Its resolved tree; `str(node)` is its canonical text.
        names: The columns that it reads.
        notes: What a reader of the answer should know, such as a name with two readings.
    """

    text: str
    node: Node
    names: frozenset[str]
    notes: tuple[str, ...]

    def evaluate(self, frame: Mapping[str, Vector], length: int) -> Vector:
        """The value in every row.

        Args:
            frame: Columns by name, each of `length` cells in row order; one that is not there is
                missing in every row.
            length: Rows of the frame.

        Raises:
            ExpressionError: The kinds of columns do not fit what is done with them.
        """
        vector = evaluation.evaluate(self.node, frame, length=length, source=self.text)
        values, present = np.ascontiguousarray(vector.values), np.ascontiguousarray(vector.present)
        return Vector(vector.kind, values, present)

    def condition(self, frame: Mapping[str, Vector], length: int) -> Mask:
        """Where it holds, a missing value being false; the arguments are those of `evaluate`.

        Raises:
            ExpressionError: As `evaluate`; also where the expression is no condition.
        """
        return evaluation.condition(self.node, frame, length=length, source=self.text)


def compile_expression(text: str, columns: Collection[str], *, what: str = "metric") -> Expression:
    """Read an expression and find its columns.

    Args:
        text: The expression.
        columns: The names that there are.
        what: What a column is to the user, for messages.

    Raises:
        ExpressionError: The text is no expression, a name has two readings, or a call does not fit.
        UnknownNameError: A name is no column; the message names the nearest ones.
    """
    resolved = resolve(parse(text), columns, source=text, what=what)
    return Expression(text, resolved.node, resolved.names, resolved.notes)
