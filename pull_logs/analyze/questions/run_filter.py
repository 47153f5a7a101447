"""Filters of runs: `config.lr <= 1e-3 and summary.val/acc > 0.9 and state == "finished"`.

The columns are the values of a run (`run_values`): the leaves of its config, summary and metadata by their
flat keys, its fields, and once its history was downloaded what is known of that. If a run does not have a
value, it is missing. `config.a.b` is also the literal key `a.b`, where no run has
nested keys of that spelling.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from pull_logs.analyze.expressions import (
    Bool,
    ComparisonChain,
    Expression,
    Membership,
    Name,
    Node,
    Number,
    Search,
    String,
    check_without_rows,
    compile_expression,
    operands,
    parse,
)
from pull_logs.analyze.questions.run_values import HISTORY_VALUES, run_cells
from pull_logs.analyze.questions.server_filter import prefilter
from pull_logs.errors import ExpressionError, UnknownNameError
from pull_logs.frames import JoinedTexts, RunLike, Vector, from_cells, kind_of_cell
from pull_logs.runs import RunInfo


class RunCondition:
    """An expression about runs that are not all known yet, checked for one after the other.

    A name that a run does not have is missing there. The names that no run had so far are kept, so that a
    filter that keeps nothing can say why.

    Attributes:
        text: The expression, as `--filter` takes it.
        prefilter: The part of it that W&B's server can apply (see `server_filter`).
        advice: What to write instead where it compares a list with one of its items, such as `tags
            == "baseline"`; empty if no run so far has such an item.
    """

    def __init__(self, text: str) -> None:
        """Parse the expression.

        Raises:
            ExpressionError: The text is not a valid expression, reduces the rows of a history, or names what
                is known of a history only once it was downloaded.
        """
        self.text = text
        node = parse(text)
        check_without_rows(node, source=text)
        _check_before_history(node, text)
        self.prefilter = prefilter(node)
        self.advice = ""
        self._absent: set[str] | None = None
        self._dotted: set[str] = set()

    @property
    def absent(self) -> tuple[str, ...]:
        """The names that no run had so far."""
        return tuple(sorted(self._absent or ()))

    def holds(self, info: RunInfo) -> bool:
        """Whether it holds for this run.

        Raises:
            ExpressionError: A value is of a kind that an operation does not take, or a name fits several
                columns of this run, or another one than of an earlier run.
        """
        cells = run_cells(info)
        expression, lacking = self._compiled(cells.keys())
        self._dotted |= {column for name, column in expression.bare.items() if _has_dots(name)} - lacking
        self._absent = lacking if self._absent is None else self._absent & lacking
        self.advice = self.advice or _search_advice(expression.node, [cells])
        frame = {name: from_cells([cells.get(name)]) for name in expression.names}
        return bool(expression.condition(frame, 1)[0])

    def _compiled(self, columns: AbstractSet[str]) -> tuple[Expression, set[str]]:
        """Return the expression over these columns and any other that it names, and these others.

        The dotted columns of the runs before count as well, so that a name with two spellings is an error
        even if no run has both, as in `keep_runs`.
        """
        lacking: set[str] = set()
        while True:
            try:
                known = columns | lacking | self._dotted
                return compile_expression(self.text, known, what="run column"), lacking
            except UnknownNameError as exc:
                name = _name_at(exc.source, exc.span)
                if name in lacking:
                    raise
                lacking.add(name)


def _has_dots(name: str) -> bool:
    """Whether a name may be nested keys as well as a key with a dot in it."""
    return "." in name.partition(".")[2]


def _name_at(source: str, span: tuple[int, int]) -> str:
    text = source[slice(*span)]
    while text.startswith("("):
        text = text[1:-1].strip()
    return text[1:-1].replace("``", "`") if text.startswith("`") else text


def _check_before_history(node: Node, text: str) -> None:
    if isinstance(node, Name) and node.text in HISTORY_VALUES:
        raise ExpressionError(
            f"{node.text!r} is not known before the history is downloaded",
            source=text,
            span=node.span,
            hint="download the runs first, and filter the bundle with -b FILE --filter",
        )
    for operand in operands(node):
        _check_before_history(operand, text)


def keep_runs(runs: Sequence[RunInfo | RunLike], text: str) -> tuple[bool, ...]:
    """Return for each of these runs whether the expression holds.

    Args:
        runs: The runs; of records alone, names such as `rows` are unknown.
        text: The expression, as `--filter` takes it.

    Raises:
        ExpressionError: The text is not a valid expression, or its kinds do not fit.
        UnknownNameError: A name is in none of the runs; the message names the nearest ones.
    """
    if not runs:
        return ()
    rows = [run_cells(run) for run in runs]
    columns = sorted({name for row in rows for name in row})
    check_without_rows(parse(text), source=text)
    expression = compile_expression(text, columns, what="run column")
    frame: dict[str, Vector] = {
        name: from_cells([row.get(name) for row in rows]) for name in expression.names
    }
    return tuple(expression.condition(frame, len(rows)).tolist())


def search_advice(runs: Sequence[RunInfo | RunLike], text: str) -> str:
    """Return what to write instead of an expression that compares a list with one of its items, or nothing.

    Args:
        runs: The runs.
        text: The expression, as `--filter` takes it; `keep_runs` accepts it.
    """
    rows = [run_cells(run) for run in runs]
    columns = {name for row in rows for name in row}
    return _search_advice(compile_expression(text, columns, what="run column").node, rows)


def list_note(runs: Sequence[RunInfo | RunLike], text: str) -> str:
    """Return a note on an expression that a list meets because it is not one of its items, or nothing.

    `tags != "baseline"` holds for a run with the tags `baseline` and `v1.0`, which is seldom meant.

    Args:
        runs: The runs.
        text: The expression, as `--filter` takes it; `keep_runs` accepts it.
    """
    rows = [run_cells(run) for run in runs]
    columns = {name for row in rows for name in row}
    for name, item in _equalities(compile_expression(text, columns, what="run column").node, negated=True):
        if any(_has_item(row.get(name.text), item.value) for row in rows):
            return f"{name} is compared as a complete list; '{name} not contains {item}' looks into it"
    return ""


def _search_advice(node: Node, rows: Sequence[Mapping[str, Any]]) -> str:
    for name, item in _equalities(node):
        for row in rows:
            cell = row.get(name.text)
            if cell != item.value and _has_item(cell, item.value):
                return f"{name} is compared as a complete list; write '{name} contains {item}' for one item"
    for name, wanted in _searches(node):
        others = (_item_of_text(row.get(name.text), wanted) for row in rows)
        if found := next(filter(None, others), None):
            return f"{name} has {found}, not {wanted}; write '{name} contains {found}'"
    return ""


def _searches(node: Node) -> Iterator[tuple[Name, Number | String | Bool]]:
    """Yield the names that are searched for an item, and the items."""
    if (
        isinstance(node, Search)
        and node.word == "contains"
        and isinstance(node.operand, Name)
        and isinstance(node.item, (Number, String, Bool))
    ):
        yield node.operand, node.item
    for operand in operands(node):
        yield from _searches(operand)


def _item_of_text(cell: object, wanted: Number | String | Bool) -> str | None:
    """Return the item of a list that has the text of a literal, but is of another kind."""
    if isinstance(cell, JoinedTexts) or not isinstance(cell, (list, tuple)):
        return None
    written = wanted.value if isinstance(wanted, String) else json.dumps(str(wanted))
    texts = {json.dumps(item) for item in cell if isinstance(item, (str, int, float))}
    return written if written in texts else None


def _equalities(node: Node, *, negated: bool = False) -> Iterator[tuple[Name, Number | String | Bool]]:
    """Yield the names that are compared for equality with a literal, or for inequality."""
    if isinstance(node, Membership) and isinstance(node.operand, Name) and node.negated == negated:
        yield from ((node.operand, item) for item in node.items if isinstance(item, (Number, String, Bool)))
    if isinstance(node, ComparisonChain):
        left = node.first
        for sign, right in node.rest:
            for name, item in ((left, right), (right, left)):
                if (
                    sign == ("!=" if negated else "==")
                    and isinstance(name, Name)
                    and isinstance(item, (Number, String, Bool))
                ):
                    yield name, item
            left = right
    for operand in operands(node):
        yield from _equalities(operand, negated=negated)


def _has_item(cell: object, wanted: object) -> bool:
    items = cell.items if isinstance(cell, JoinedTexts) else cell if isinstance(cell, (list, tuple)) else ()
    return any(kind_of_cell(item) == kind_of_cell(wanted) and item == wanted for item in items)
