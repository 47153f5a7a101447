"""What an expression means, said a second time and as simply as can be: cell by cell, in plain Python.

Kinds are checked first, over the whole tree, then every cell is worked out on
its own; a function of row order looks at all rows up to its own again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pull_logs.analyze.expressions.nodes import (
    And,
    Bool,
    Call,
    ComparisonChain,
    IsMissing,
    Membership,
    Name,
    Negate,
    Node,
    Not,
    Null,
    Number,
    Or,
    Power,
    Product,
    Search,
    String,
    Sum,
)
from pull_logs.frames.vector import JoinedTexts

Columns = Mapping[str, tuple[str, list[Any]]]


class KindError(Exception):
    """Kinds that do not go together."""


def _need(kind: str, *wanted: str) -> None:
    if kind not in {"mixed", *wanted}:
        raise KindError


def kind_of(node: Node, columns: Columns) -> str:  # noqa: C901, PLR0911, PLR0912 - one case for each node
    """The kind of a node's column, all kinds below it checked."""
    match node:
        case Number():
            return "number"
        case String():
            return "string"
        case Null():
            return "mixed"
        case Bool():
            return "bool"
        case Name():
            return columns[node.text][0] if node.text in columns else "mixed"
        case Negate():
            _need(kind_of(node.operand, columns), "number")
            return "number"
        case Power():
            _need(kind_of(node.base, columns), "number")
            _need(kind_of(node.exponent, columns), "number")
            return "number"
        case Product() | Sum():
            for operand in (node.first, *(operand for _, operand in node.rest)):
                _need(kind_of(operand, columns), "number")
            return "number"
        case ComparisonChain():
            left = kind_of(node.first, columns)
            for sign, operand in node.rest:
                right = kind_of(operand, columns)
                equal = sign in {"==", "!="}
                if "mixed" not in {left, right} and (
                    left != right or left == "other" or (left == "bool" and not equal)
                ):
                    raise KindError
                left = right
            return "bool"
        case Membership():
            kind = kind_of(node.operand, columns)
            listed = {_kind(_literal(item)) for item in node.items}
            if kind == "other" or (kind != "mixed" and listed and kind not in listed):
                raise KindError
            return "bool"
        case Search():
            kind = kind_of(node.operand, columns)
            if kind in {"number", "bool"} or (kind == "string" and not isinstance(node.item, String)):
                raise KindError
            return "bool"
        case IsMissing():
            kind_of(node.operand, columns)
            return "bool"
        case Not():
            _need(kind_of(node.operand, columns), "bool")
            return "bool"
        case And() | Or():
            for operand in node.operands:
                _need(kind_of(operand, columns), "bool")
            return "bool"
        case Call():
            arguments = [kind_of(argument, columns) for argument in node.arguments]
            if node.function in {"first", "last", "lag"}:
                return arguments[0]
            if node.function in {"first_step", "last_step"}:
                _need(arguments[0], "bool")
                return "number"
            if node.function == "at":
                _need(arguments[0], "number", "bool")
                return "number"
            for argument in arguments:
                _need(argument, "number")
            return "bool" if node.function in {"isnan", "isfinite"} else "number"


def _kind(cell: Any) -> str:
    if isinstance(cell, bool):
        return "bool"
    return "number" if isinstance(cell, (int, float)) else "string" if isinstance(cell, str) else "other"


def _literal(item: Node) -> Any:
    if isinstance(item, Negate):
        return -_literal(item.operand)
    assert isinstance(item, (Number, String, Bool))
    return item.value


def cell_of(node: Node, columns: Columns, row: int) -> Any:  # noqa: C901, PLR0911, PLR0912 - one case for each node
    """The value of a node in one row, None where it is missing."""
    match node:
        case Number() | String() | Bool():
            return node.value
        case Null():
            return None
        case Name():
            return columns[node.text][1][row] if node.text in columns else None
        case Negate():
            operand = _number(node.operand, columns, row)
            return None if operand is None else -operand
        case Power():
            base, exponent = _number(node.base, columns, row), _number(node.exponent, columns, row)
            return None if base is None or exponent is None else _power(base, exponent)
        case Product() | Sum():
            total = _number(node.first, columns, row)
            for sign, right in node.rest:
                value = _number(right, columns, row)
                total = None if total is None or value is None else _ARITHMETIC[sign](total, value)
            return total
        case ComparisonChain():
            cells = [cell_of(each, columns, row) for each in (node.first, *(each for _, each in node.rest))]
            return all(
                _compare(left, sign, right)
                for left, (sign, _), right in zip(cells[:-1], node.rest, cells[1:], strict=True)
            )
        case Membership():
            cell = cell_of(node.operand, columns, row)
            found = any(_compare(cell, "==", _literal(item)) for item in node.items)
            return cell is not None and found != node.negated
        case Search():
            cell = cell_of(node.operand, columns, row)
            return cell is not None and _found(cell, node.word, _literal(node.item)) != node.negated
        case IsMissing():
            return (cell_of(node.operand, columns, row) is None) != node.negated
        case Not():
            return cell_of(node.operand, columns, row) is not True
        case And():
            return all(cell_of(operand, columns, row) is True for operand in node.operands)
        case Or():
            return any(cell_of(operand, columns, row) is True for operand in node.operands)
        case Call():
            return _call(node, columns, row)


def _found(cell: Any, word: str, wanted: Any) -> bool:
    """Whether a cell holds what is searched for; of a list, whether an item does."""
    items = cell.items if isinstance(cell, JoinedTexts) else cell
    if word == "contains" and not isinstance(items, str):
        return isinstance(items, (list, tuple)) and any(_compare(item, "==", wanted) for item in items)
    texts = [items] if isinstance(items, str) else items if isinstance(items, (list, tuple)) else []
    hits: dict[str, Callable[[str], bool]] = {
        "contains": lambda text: isinstance(wanted, str) and wanted in text,
        "starts_with": lambda text: text[: len(wanted)] == wanted,
        "matches": lambda text: re.search(wanted, text) is not None,
    }
    return any(hits[word](text) for text in texts if isinstance(text, str))


def _number(node: Node, columns: Columns, row: int) -> float | None:
    cell = cell_of(node, columns, row)
    return float(cell) if cell is not None and _kind(cell) == "number" else None


def _compare(left: Any, sign: str, right: Any) -> bool:
    if left is None or right is None:
        return False
    kinds = {_kind(left), _kind(right)}
    if len(kinds) > 1 or kinds == {"other"} or (kinds == {"bool"} and sign not in {"==", "!="}):
        return sign == "!="
    if kinds == {"number"}:
        left, right = float(left), float(right)
    holds = {"==": left == right, "!=": left != right}
    if kinds != {"bool"}:
        holds |= {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
    return bool(holds[sign])


def _divided(left: float, right: float) -> float:
    if right != 0:
        return left / right
    return (
        math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1, right)
    )


def _power(base: float, exponent: float) -> float:
    # numpy for one cell: Python raises where IEEE 754 answers, and the last bit is the library's own.
    return base * base if exponent == 2 else float(np.power([base], [exponent])[0])


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divided,
    "//": lambda left, right: left // right if right != 0 else _divided(left, right),
    "%": lambda left, right: left % right if right != 0 else math.nan,
}


def _call(node: Call, columns: Columns, row: int) -> Any:  # noqa: PLR0911 - one case for each kind of function
    name, first = node.function, node.arguments[0]
    constants = [int(_literal(argument)) for argument in node.arguments[1:] if name in {"round", "lag"}]
    if name in {"count", "at", "first_step", "last_step"}:
        return _reduced(node, columns)
    if name in {"first", "last", "lag"}:
        return _elsewhere(name, first, columns, row, constants[0] if constants else 1)
    value = _number(first, columns, row)
    if name in {"isnan", "isfinite"}:
        return value is not None and (math.isnan(value) if name == "isnan" else math.isfinite(value))
    if value is None:
        return None
    if name in {"diff", "cumsum", "cummin", "cummax"}:
        return _in_order(name, [_number(first, columns, each) for each in range(row + 1)])
    if name in {"min", "max"}:
        values = [_number(argument, columns, row) for argument in node.arguments]
        return _extreme(name, values)
    return _each(name, value, constants[0] if constants else 0)


def _reduced(node: Call, columns: Columns) -> float | None:
    """The value of a reduction, the same in each row."""
    steps = columns["_step"][1]
    cells = [cell_of(node.arguments[0], columns, row) for row in range(len(steps))]
    if node.function in {"first_step", "last_step"}:
        found = [step for step, cell in zip(steps, cells, strict=True) if cell is True]
        return float(found[0 if node.function == "first_step" else -1]) if found else None
    as_number = kind_of(node.arguments[0], columns) == "bool"
    pairs = [
        (float(step), float(cell))
        for step, cell in zip(steps, cells, strict=True)
        if cell is not None and (as_number or _kind(cell) == "number")
    ]
    if node.function == "count":
        return float(sum(math.isfinite(value) for _, value in pairs))
    step = _literal(node.arguments[1])
    before = [pair for pair in pairs if pair[0] <= step]
    after = [pair for pair in pairs if pair[0] >= step]
    if not before or not after:
        return None
    (low, left), (high, right) = before[-1], after[0]
    share = (step - low) / (high - low) if high > low else 0.0
    return left + 0.0 if share == 0 else left * (1 - share) + right * share + 0.0


def _elsewhere(name: str, node: Node, columns: Columns, row: int, back: int) -> Any:
    rows = range(len(next(iter(columns.values()))[1]))
    cells = [cell_of(node, columns, each) for each in rows]
    if name == "lag":
        so_far = [cell for cell in cells[: row + 1] if cell is not None]
        return so_far[-1 - back] if cells[row] is not None and back < len(so_far) else None
    found = [cell for cell in cells if cell is not None]
    return (found[0] if name == "first" else found[-1]) if found else None


def _extreme(name: str, values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        return None
    if any(map(math.isnan, present)):
        return math.nan
    return (min(present) if name == "min" else max(present)) + 0.0


def _in_order(name: str, cells: list[float | None]) -> float | None:
    values = [cell for cell in cells if cell is not None]
    if name == "diff":
        return values[-1] - values[-2] if len(values) > 1 else None
    if name == "cumsum":
        total = values[0]
        for value in values[1:]:
            total += value
        return total
    ordered = [value for value in values if not math.isnan(value)]
    if not ordered:
        return math.nan
    return (min(ordered) if name == "cummin" else max(ordered)) + 0.0


def _each(name: str, value: float, digits: int) -> float:
    if name == "abs":
        return abs(value)
    if name == "round":
        return value if not abs(value) < 2.0**52 else float(np.rint(value * 10.0**digits)) / 10.0**digits
    kernels = {"log": np.log, "log10": np.log10, "exp": np.exp, "sqrt": np.sqrt}
    return float(kernels[name]([value])[0])
