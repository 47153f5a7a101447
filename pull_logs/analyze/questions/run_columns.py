"""Columns of runs: `--column NAME=EXPR`, one value per run, which ranks, groups and tests take as a metric.

`NAME=` may be left out; the column then has the text of the expression as its name. A later column may use
an earlier one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from pull_logs.analyze.questions.run_expressions import RunExpression
from pull_logs.analyze.questions.run_values import FIELDS, run_scope, scope_names
from pull_logs.analyze.questions.selection import Slice
from pull_logs.errors import UsageError
from pull_logs.frames import History, RunLike
from pull_logs.rows.canonical import STEP

_NAMED = re.compile(r"\s*([^=<>!(\"'`]+?)\s*=(?!=)\s*(.*)", re.DOTALL)
_HINT = "write it as --column 'tok/s=mean(train/tokens_per_sec)'"


@dataclass(frozen=True, slots=True)
class RunColumn:
    """A column of runs, not yet resolved.

    Attributes:
        name: Its name.
        text: Its expression.
    """

    name: str
    text: str

    @classmethod
    def parse(cls, text: str) -> RunColumn:
        """Read the value of `--column`: `NAME=EXPR`, or an expression alone.

        Raises:
            UsageError: The name or the expression is missing, or the name is not valid.
        """
        found = _NAMED.fullmatch(text)
        if found is None:
            if not text.strip() or text.lstrip().startswith("="):
                raise UsageError(f"--column {text!r} has no name or no expression", hint=_HINT)
            return cls(text.strip(), text.strip())
        if not found[2].strip():
            raise UsageError(f"--column {text!r} has no expression", hint=_HINT)
        from pull_logs.analyze.expressions import is_bare_name

        if not is_bare_name(found[1]):
            raise UsageError(
                f"--column cannot name a column {found[1]!r}",
                hint="a name is a letter or _, then letters, digits and _ . : /",
            )
        return cls(found[1], found[2].strip())


@dataclass(frozen=True, slots=True)
class RunColumns:
    """Columns of runs, resolved over the values of all runs and the columns of their histories.

    Attributes:
        expressions: The expression of each column by its name.
    """

    expressions: Mapping[str, RunExpression]

    @classmethod
    def settle(
        cls, columns: Sequence[RunColumn], *, runs: Sequence[RunLike], rows: AbstractSet[str]
    ) -> RunColumns:
        """Compile columns.

        Args:
            columns: The columns in order.
            runs: The runs.
            rows: The columns of their histories.

        Raises:
            UsageError: Two columns have one name, or one has the name of a metric.
            ExpressionError: An expression does not parse, or a name has two readings.
            UnknownNameError: No run has a name.
        """
        if not columns:
            return cls({})
        about = scope_names(runs)
        settled: dict[str, RunExpression] = {}
        for column in columns:
            if column.name in settled:
                raise UsageError(f"two columns are named {column.name!r}", hint="give each another name")
            if column.name in rows and column.text not in (column.name, f"`{column.name}`"):
                raise UsageError(
                    f"--column {column.name!r} is the name of a metric already",
                    hint="choose a name that no metric has",
                )
            settled[column.name] = RunExpression.compile(column.text, about=about, rows=rows)
            about[column.name] = None
        return cls(settled)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the expressions were read, where they have two readings."""
        return tuple(dict.fromkeys(note for found in self.expressions.values() for note in found.notes))

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics that are named outside of reductions."""
        found = [item.expression.names & item.rows for item in self.expressions.values()]
        return frozenset().union(*found) - {STEP}

    def read(
        self, run: RunLike, frame: History, part: Slice | None, *, readings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the value of each column for a run, None where it is missing.

        Args:
            run: The run.
            frame: Its history.
            part: The rows that count; None for all.
            readings: The values of metrics where the run is read, which their bare names mean.

        Raises:
            ExpressionError: A value is of a kind that an operation does not take.
            DamageError: A column is damaged.
        """
        if not self.expressions:
            return {}
        names = frozenset[str]().union(*(expression.names for expression in self.expressions.values()))
        scope = run_scope(run, names) | {name: cell for name, cell in readings.items() if name not in FIELDS}
        found: dict[str, Any] = {}
        for name, expression in self.expressions.items():
            found[name] = expression.value({**scope, **found}, frame, part)
        return found
