"""Facts about many columns of finite doubles at once, as arrays, to compare them without a tuple for each.

They say the same as `MetricFacts` about columns whose cells are all finite numbers and whose first, last,
least and greatest ones are exactly doubles; about other columns they say nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pull_logs.frames.from_arrow import Steps
from pull_logs.frames.metric_facts import logging_interval
from pull_logs.frames.vector import Floats
from pull_logs.rows.arrays import Ints
from pull_logs.rows.canonical import STEP
from pull_logs.rows.hashing import NumberColumns

EXACT = 2.0**53
"""Integers below this are exactly doubles."""

INTEGERS = ("type", "count", "first_step", "last_step", "min_step", "max_step")
"""The facts that are integers; the type is 1 for columns of integers alone, else 0."""

DOUBLES = ("interval", "first", "last", "min", "max")
"""The facts that are doubles; an interval of NaN is none."""


@dataclass(frozen=True, slots=True, eq=False)
class PlainFacts:
    """Facts about columns; a row of each array for each column.

    Attributes:
        names: The names of the columns: `_step`, then the others in the order of their names.
        integers: Their `INTEGERS`.
        doubles: Their `DOUBLES`, without `-0.0`.
    """

    names: tuple[str, ...]
    integers: Ints
    doubles: Floats

    @classmethod
    def of(cls, steps: Steps, columns: Sequence[NumberColumns]) -> PlainFacts | None:
        """Return the facts about a history of doubles; None if they cannot be said like this.

        Args:
            steps: The step of each row; there is one.
            columns: The columns; each has a cell.
        """
        names, integers, doubles = [STEP], [_step_integers(steps)], [_step_doubles(steps)]
        for some in columns:
            complete = some.values.shape[1] == len(steps)
            logged = steps if complete else steps[some.present]
            interval = doubles[0][0, 0] if complete else _interval(logged)
            names += some.names
            found = _describe(some.values, logged, interval)
            integers.append(found[0])
            doubles.append(found[1])
        every, values = np.concatenate(integers), np.concatenate(doubles) + 0.0
        # An extreme is NaN if any cell is, and infinite if any cell is.
        if not (np.abs(values[:, 1:]) < EXACT).all():
            return None
        order = _order(tuple(names))
        return cls(tuple([names[row] for row in order]), every[order], values[order])

    def hash(self) -> bytes:
        """Return a hash of them."""
        return hash_of_plain_facts(self.names, self.integers, self.doubles)


def hash_of_plain_facts(names: tuple[str, ...], integers: Ints, doubles: Floats) -> bytes:
    """Return the hash of facts in the arrays of `PlainFacts`."""
    digest = hashlib.sha256(_hash_of_names(names))
    digest.update(integers.astype("<i8", copy=False).tobytes())
    digest.update(doubles.astype("<f8", copy=False).tobytes())
    return digest.digest()


@lru_cache(maxsize=64)  # thousands of runs have the same columns
def _hash_of_names(names: tuple[str, ...]) -> bytes:
    digest = hashlib.sha256()
    for name in names:
        digest.update(hashlib.sha256(name.encode()).digest())
    return digest.digest()


@lru_cache(maxsize=64)
def _order(names: tuple[str, ...]) -> list[int]:
    """Return the indices of the names, `_step` first, in the order of the others."""
    return [0, *sorted(range(1, len(names)), key=names.__getitem__)]


def _interval(logged: Steps) -> float:
    found = logging_interval(logged)
    return np.nan if found is None else float(found)


def _step_integers(steps: Steps) -> Ints:
    first, last = int(steps[0]), int(steps[-1])
    return np.array([[1, len(steps), first, last, first, last]], np.int64)


def _step_doubles(steps: Steps) -> Floats:
    first, last = float(steps[0]), float(steps[-1])
    return np.array([[_interval(steps), first, last, first, last]], np.float64)


def _describe(matrix: Floats, logged: Steps, interval: float) -> tuple[Ints, Floats]:
    """Return facts about columns, each a row of the matrix, whose cells have these steps."""
    count = len(matrix)
    lows, highs = matrix.argmin(axis=1), matrix.argmax(axis=1)
    every = np.arange(count)
    doubles = np.empty((count, len(DOUBLES)))
    doubles[:, 0] = interval
    doubles[:, 1], doubles[:, 2] = matrix[:, 0], matrix[:, -1]
    doubles[:, 3], doubles[:, 4] = matrix[every, lows], matrix[every, highs]
    integers = np.empty((count, len(INTEGERS)), np.int64)
    integers[:, 0] = _are_integral(matrix, doubles[:, 1:])
    integers[:, 1] = len(logged)
    integers[:, 2], integers[:, 3] = logged[0], logged[-1]
    integers[:, 4], integers[:, 5] = logged[lows], logged[highs]
    return integers, doubles


def _are_integral(matrix: Floats, some: Floats) -> Ints:
    """Return for each row of a matrix 1 if all its values are integers, given some of them."""
    found: Ints = (some == np.floor(some)).all(axis=1).astype(np.int64)
    rows = np.flatnonzero(found)
    if len(rows):
        chosen = matrix if len(rows) == len(matrix) else matrix[rows]
        found[rows] = (chosen == np.floor(chosen)).all(axis=1)
    return found
