"""Which rows an expression depends on, so that a long history can be read in parts, or in part."""

from __future__ import annotations

import math
from typing import NamedTuple

from pull_logs.analyze.expressions.cells import literal
from pull_logs.analyze.expressions.functions import FUNCTIONS
from pull_logs.analyze.expressions.nodes import (
    And,
    Call,
    Comparator,
    ComparisonChain,
    Membership,
    Name,
    Negate,
    Node,
    Number,
    Or,
    operands,
)
from pull_logs.rows.canonical import STEP


class StepRange(NamedTuple):
    """Steps as doubles, both ends included; empty where the first is greater than the last."""

    first: float = -math.inf
    last: float = math.inf


_ALL = StepRange()


def is_by_row(node: Node) -> bool:
    """Whether the value of a resolved expression in a row depends on the cells of that row alone."""
    if isinstance(node, Call) and not FUNCTIONS[node.function].by_row:
        return False
    return all(map(is_by_row, operands(node)))


def step_range(node: Node) -> StepRange:
    """Return a range outside of which a condition by row holds for no step; it may be too wide."""
    match node:
        case And():
            return _common([step_range(operand) for operand in node.operands])
        case Or():
            found = [step_range(operand) for operand in node.operands]
            return StepRange(min(one.first for one in found), max(one.last for one in found))
        case ComparisonChain():
            left = node.first
            ranges = []
            for sign, right in node.rest:
                ranges.append(_compared(left, sign, right))
                left = right
            return _common(ranges)
        case Membership(negated=False) if _is_step(node.operand):
            items = [literal(item) for item in node.items]
            values = [float(item) for item in items if isinstance(item, (int, float))]
            return StepRange(min(values), max(values)) if values else _ALL
        case _:
            return _ALL


def _common(ranges: list[StepRange]) -> StepRange:
    return StepRange(max(one.first for one in ranges), min(one.last for one in ranges))


def _compared(left: Node, sign: Comparator, right: Node) -> StepRange:
    """Return the range of a comparison, of `_step` with a number, in either order."""
    first_is_step = _is_step(left)
    value = _number(right if first_is_step else left)
    if value is None or not (first_is_step or _is_step(right)):
        return _ALL
    if sign == "==":
        return StepRange(value, value)
    if sign == "!=":
        return _ALL
    if sign.startswith("<") == first_is_step:
        return StepRange(last=value)
    return StepRange(first=value)


def _is_step(node: Node) -> bool:
    return isinstance(node, Name) and node.text == STEP


def _number(node: Node) -> float | None:
    if isinstance(node, Negate):
        value = _number(node.operand)
        return None if value is None else -value
    return node.value if isinstance(node, Number) else None
