"""Conditions of WHERE on the run and the step of a row, decided for complete runs and for single rows.

A row always has a run and a step, so such a condition is never NULL: it holds or it does not. Texts are
compared as DuckDB compares them, by the bytes of their UTF-8, which is the order of Python's `str`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from pull_logs.rows.arrays import Ints, Mask
from pull_logs.rows.canonical import STEP

_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A column compared with a constant of its type.

    Attributes:
        column: A column of the run, or `_step`.
        operator: `=`, `!=`, `<`, `<=`, `>` or `>=`.
        value: The constant.
    """

    column: str
    operator: str
    value: str | int


@dataclass(frozen=True, slots=True)
class Negation:
    """That a condition does not hold."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Conjunction:
    """That all of some conditions hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Disjunction:
    """That at least one of some conditions holds."""

    parts: tuple[Condition, ...]


Condition: TypeAlias = Comparison | Negation | Conjunction | Disjunction


def uses_steps(condition: Condition) -> bool:
    """Return whether a condition depends on the step."""
    match condition:
        case Comparison(column):
            return column == STEP
        case Negation(part):
            return uses_steps(part)
        case Conjunction(parts) | Disjunction(parts):
            return any(map(uses_steps, parts))


def decide(condition: Condition, run: Mapping[str, str], steps: tuple[int, int]) -> bool | None:
    """Return whether a condition holds for every row of a run, or for none; None if that is not known.

    Args:
        condition: The condition.
        run: The columns of the run.
        steps: A step that no row is below, and one that no row is above.
    """
    match condition:
        case Comparison(column, sign, value):
            if column != STEP:
                return bool(_OPERATORS[sign](run[column], value))
            return _decide_steps(sign, value, steps)
        case Negation(part):
            found = decide(part, run, steps)
            return None if found is None else not found
        case Conjunction(parts):
            decided = {decide(part, run, steps) for part in parts}
            return False if False in decided else None if None in decided else True
        case Disjunction(parts):
            decided = {decide(part, run, steps) for part in parts}
            return True if True in decided else None if None in decided else False


def _decide_steps(sign: str, value: Any, steps: tuple[int, int]) -> bool | None:
    first, last = steps
    if sign in ("=", "!="):
        if first == last == value:
            return sign == "="
        return None if first <= value <= last else sign == "!="
    compare = _OPERATORS[sign]
    ends = {bool(compare(first, value)), bool(compare(last, value))}
    return ends.pop() if len(ends) == 1 else None


def rows_kept(condition: Condition, run: Mapping[str, str], steps: Ints) -> Mask:
    """Return for which rows of a run a condition holds, by their steps."""
    match condition:
        case Comparison(column, sign, value):
            if column == STEP:
                found: Mask = _OPERATORS[sign](steps, value)
                return found
            return np.full(len(steps), _OPERATORS[sign](run[column], value), np.bool_)
        case Negation(part):
            return ~rows_kept(part, run, steps)
        case Conjunction(parts):
            every = np.ones(len(steps), np.bool_)
            for part in parts:
                every &= rows_kept(part, run, steps)
            return every
        case Disjunction(parts):
            some = np.zeros(len(steps), np.bool_)
            for part in parts:
                some |= rows_kept(part, run, steps)
            return some
