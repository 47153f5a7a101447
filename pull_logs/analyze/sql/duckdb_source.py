"""How DuckDB reads the view `history`: the columns and conditions that it asks for.

DuckDB passes columns and conditions to objects of `pyarrow.dataset` alone, and importing that module imports
pandas: a third of a second, which is longer than most queries take. DuckDB 2.0 has an interface underneath,
which it does not document. It is used with exactly these releases; with any other, the view is registered as
a dataset (`duckdb_dataset`), which gives the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pull_logs.analyze.sql.conditions import Comparison, Condition, Conjunction, Disjunction, Negation
from pull_logs.analyze.sql.parts import RUN_COLUMNS
from pull_logs.rows.canonical import STEP

if TYPE_CHECKING:
    from pull_logs.analyze.sql.history import HistoryView

_KNOWN_RELEASES = "2.0."
_MAX_DEPTH = 40
"""The levels of a condition that is taken; DuckDB applies deeper ones itself."""

_SIGNS = frozenset({"=", "!=", "<", "<=", ">", ">="})


def register_history(connection: Any, name: str, view: HistoryView) -> None:
    """Register the view with a connection, under a name."""
    source = _source_of(connection, view)
    if source is not None:
        connection._register_arrow_source(name, source)  # noqa: SLF001 - see the module's docstring
        return
    from pull_logs.analyze.sql.duckdb_dataset import HistoryDataset

    connection.register(name, HistoryDataset(view))


def _source_of(connection: Any, view: HistoryView) -> Any:
    """Return the source of a view; None with a release of DuckDB whose interface is not known."""
    import duckdb

    if not (duckdb.__version__.startswith(_KNOWN_RELEASES) and hasattr(connection, "_register_arrow_source")):
        return None
    base = import_module("duckdb._sources").ArrowScanSource

    class HistorySource(base):  # type: ignore[misc, valid-type]
        """The rows of a view as DuckDB reads them."""

        schema_is_stable = True

        def __arrow_c_schema__(self) -> object:
            return view.schema.__arrow_c_schema__()

        def rows(self) -> int:
            return view.rows

        def accepts(self, predicate: Any) -> bool:
            return condition_of(predicate) is not None

        def stream(self, columns: Sequence[int] | None, filters: Sequence[Any]) -> tuple[object, bool]:
            names = view.schema.names
            chosen = names if columns is None else [names[index] for index in columns]
            conditions = [found for node in filters if (found := condition_of(node)) is not None]
            return view.reader(chosen, conditions).__arrow_c_stream__(), True

    return HistorySource(view)


def condition_of(node: Any, depth: int = 0) -> Condition | None:
    """Return a predicate of DuckDB as a condition; None if it is not one of the run and the step alone."""
    from duckdb._sources.nodes import Binary, In, Unary

    if depth == _MAX_DEPTH:
        return None
    match node:
        case Binary(op="AND"):
            return _joined(Conjunction, (condition_of(part, depth + 1) for part in _chain(node)))
        case Binary(op="OR"):
            return _joined(Disjunction, (condition_of(part, depth + 1) for part in _chain(node)))
        case Unary(op="NOT", operand=negated):
            return _joined(_no_part, [condition_of(negated, depth + 1)])
        case In(operand=column, values=values):
            return _joined(Disjunction, (_comparison(column, "=", value) for value in values))
        case _:
            return _of_one_column(node)


def _of_one_column(node: Any) -> Condition | None:
    """Return a comparison, or a test for NULL, as a condition."""
    from duckdb._sources.nodes import Binary, Postfix

    match node:
        case Binary(op=sign, left=column, right=value) if sign in _SIGNS:
            return _comparison(column, sign, value)
        case Postfix(op="IS NULL", operand=column) if _column(column) is not None:
            return Disjunction(())
        case Postfix(op="IS NOT NULL", operand=column) if _column(column) is not None:
            return Conjunction(())
        case _:
            return None


def _joined(
    join: Callable[[tuple[Condition, ...]], Condition], parts: Iterable[Condition | None]
) -> Condition | None:
    """Return the condition that parts give; None if one of them is not known."""
    found = tuple(parts)
    known = tuple(part for part in found if part is not None)
    return join(known) if len(known) == len(found) else None


def _no_part(parts: tuple[Condition, ...]) -> Condition:
    return Negation(Disjunction(parts))


def _chain(node: Any) -> list[Any]:
    """Return what a chain of one of AND and OR joins, without a call for each link."""
    parts, pending = [], [node]
    while pending:
        part = pending.pop()
        if getattr(part, "op", None) == node.op:
            pending += (part.right, part.left)
        else:
            parts.append(part)
    return parts


def _column(node: Any) -> str | None:
    """Return the column of the run, or `_step`, that a node is."""
    parts: tuple[str, ...] = getattr(node, "parts", ())
    return parts[0] if len(parts) == 1 and parts[0] in (*RUN_COLUMNS, STEP) else None


def _comparison(left: Any, sign: str, right: Any) -> Comparison | None:
    column = _column(left)
    expected = int if column == STEP else str
    if column is None or type(getattr(right, "value", None)) is not expected:
        return None
    return Comparison(column, sign, right.value)
