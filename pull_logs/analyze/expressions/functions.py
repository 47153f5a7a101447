"""The functions of expressions, and what each does with missing cells and NaN.

*Cell by cell* functions (`abs log log10 exp sqrt round min max`) give a missing cell where an argument is
missing, and follow IEEE 754 otherwise: the logarithm of 0 is -inf, that of a negative number NaN. `isnan` and
`isfinite` are conditions and false where their argument is missing.

*Row order* functions skip missing cells: those stay missing in the result, and what is carried from cell to
cell is carried across them. "Previous" always means the previous present cell. `first` and `last` fill every
row.

NaN is a value. The result of `diff` is NaN where an operand is, that of `rolling_mean` in every window with a
NaN, and that of `cumsum` and `ema` from there on; `cummin` and `cummax` skip it, since it is neither smaller
nor greater than anything.

*Reductions* give one value for all rows (see `reductions`), which fills every row as a constant does. They
take bools as 0 and 1, `count` excepted, so that `mean(loss < 2)` is a share of rows.

A cell of a mixed column that is not a number counts as missing, except in `first`, `last` and `lag`, which
take cells of any kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from operator import and_
from typing import Final, Literal, TypeAlias

import numpy as np

from pull_logs.analyze.expressions import reductions
from pull_logs.frames import Floats, Mask, Vector, bools, numbers

Kernel: TypeAlias = Callable[[Floats], Floats]
Implementation: TypeAlias = Callable[[Sequence[Vector], Sequence[float]], Vector]

_LARGEST = float(np.finfo(np.float64).max)
_INTEGRAL_FROM = 2.0**52
_TINY = 1e-290
"""Below this, 1e-12 of a value may be less than the distance from one double to the next."""
_NO_WEIGHT = 1e-18
_MAX_DIGITS = 15
_MAX_ROWS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A number that a function takes after its columns.

    Attributes:
        name: Its name in the signature.
        wanted: What it must be, in English.
        fits: Whether a number is valid.
        default: The number to use where it is left out; NaN where it is required.
    """

    name: str
    wanted: str
    fits: Callable[[float], bool]
    default: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function that expressions can call.

    Attributes:
        name: Its name.
        signature: How it is called.
        columns: The fewest and the most columns that it takes; None for any number of them.
        constants: The numbers that follow the columns.
        takes: The kind of its columns: numbers, numbers and bools (as 0 and 1), a condition, or any.
        reduces: Whether it gives one value for all rows; its result then has one cell.
        stepped: Whether the implementation gets the steps of the rows as one more column.
        conditional: Whether its last column is a condition, whatever the others are.
        by_row: Whether its result in a row depends on the cells of that row alone.
        hint: What to write instead where a column is of another kind.
        apply: The implementation; it gets the columns, numbers as float64, and the constants.
    """

    name: str
    signature: str
    columns: tuple[int, int | None] = (1, 1)
    constants: tuple[Constant, ...] = ()
    takes: Literal["numbers", "truth values", "condition", "any"] = "numbers"
    reduces: bool = False
    stepped: bool = False
    conditional: bool = False
    by_row: bool = False
    hint: str = ""
    apply: Implementation

    @property
    def arity(self) -> tuple[int, int | None]:
        """The fewest and the most arguments; None for any number of them."""
        least, most = self.columns
        needed = sum(math.isnan(constant.default) for constant in self.constants)
        return least + needed, None if most is None else most + len(self.constants)


def _integer_between(least: int, most: int) -> Callable[[float], bool]:
    return lambda value: least <= value <= most and value == int(value)


def _each(kernel: Kernel) -> Implementation:
    def apply(columns: Sequence[Vector], _constants: Sequence[float]) -> Vector:
        return numbers(kernel(columns[0].floats()), columns[0].present)

    return apply


def _together(kernel: Callable[[Floats, Floats], Floats]) -> Implementation:
    """Combine several columns cell by cell; NaN where any is NaN, missing where any is missing.

    Adding 0 turns -0.0 into 0, since numpy may choose either.
    """

    def apply(columns: Sequence[Vector], _constants: Sequence[float]) -> Vector:
        values = reduce(kernel, [column.floats() for column in columns]) + 0.0
        return numbers(values, reduce(and_, [column.present for column in columns]))

    return apply


def _asked(kernel: Callable[[Floats], Mask]) -> Implementation:
    def apply(columns: Sequence[Vector], _constants: Sequence[float]) -> Vector:
        return bools(kernel(columns[0].floats()) & columns[0].present)

    return apply


def _along(vector: Vector, kernel: Kernel, *, unfilled: int = 0) -> Vector:
    """Apply a kernel to the present cells only; the first `unfilled` results are missing."""
    rows = np.flatnonzero(vector.present)
    complete = len(rows) == len(vector)
    results = kernel(vector.floats() if complete else vector.floats()[rows])
    values = results
    if not complete:
        values = np.full(len(vector), np.nan)
        values[rows] = results
    present = vector.present.copy()
    present[rows[:unfilled]] = False
    return numbers(values, present)


def _in_order(kernel: Kernel, *, unfilled: int = 0) -> Implementation:
    def apply(columns: Sequence[Vector], _constants: Sequence[float]) -> Vector:
        return _along(columns[0], kernel, unfilled=unfilled)

    return apply


def _diff(values: Floats) -> Floats:
    """Return each value minus the previous one; the first has none and is left out."""
    return np.diff(values, prepend=np.nan)


def _round(columns: Sequence[Vector], constants: Sequence[float]) -> Vector:
    """Round to the nearest multiple of 10 ** -digits, halves to even."""
    values, scale = columns[0].floats(), 10.0 ** constants[0]
    rounded = np.where(np.abs(values) < _INTEGRAL_FROM, np.rint(values * scale) / scale, values)
    return numbers(rounded, columns[0].present)


def _ema(columns: Sequence[Vector], constants: Sequence[float]) -> Vector:
    """Return the first value, then `alpha * value + (1 - alpha) * average so far`.

    The result is within 1e-12 of the greatest magnitude so far, compared with a loop.
    """
    alpha = constants[0]
    return _along(columns[0], lambda values: _smoothed(values, alpha))


def _smoothed(values: Floats, alpha: float) -> Floats:
    """Compute the recurrence; as a loop as long as all values are so small that doubles lose digits."""
    tiny = _tiny_rows(values)
    if not tiny:
        return _doubled(values, alpha)
    head = list(
        accumulate(values[:tiny].tolist(), lambda average, value: alpha * value + (1 - alpha) * average)
    )
    tail = values[tiny:].copy()
    tail[:1] = alpha * tail[:1] + (1 - alpha) * head[-1]
    return np.concatenate([np.array(head), _doubled(tail, alpha)])


def _tiny_rows(values: Floats) -> int:
    """Return how many of the first values are tiny; 0 where these are all 0, which no rounding changes."""
    large = np.flatnonzero(~(np.abs(values) < _TINY))
    end = int(large[0]) if len(large) else len(values)
    return end if np.any(values[:end]) else 0


def _doubled(values: Floats, alpha: float) -> Floats:
    """Compute the recurrence by doubling: sums over 1, 2, 4 ... values, until their weight vanishes."""
    unusable = np.flatnonzero(~np.isfinite(values))
    finite = int(unusable[0]) if len(unusable) else len(values)
    sums = alpha * values[:finite]
    sums[:1] = values[:1][:finite]
    reach, weight = 1, 1 - alpha
    while reach < finite and weight > _NO_WEIGHT:
        sums[reach:] += weight * sums[:-reach]
        reach, weight = 2 * reach, weight * weight
    if finite == len(values):
        return sums
    # An infinity or NaN stays in the average: doubling does not apply from there on.
    carried = [*sums[-1:].tolist(), *values[finite:].tolist()]
    rest = list(accumulate(carried, lambda average, value: alpha * value + (1 - alpha) * average))
    return np.concatenate([sums, np.array(rest[-(len(values) - finite) :])])


def _rolling_mean(columns: Sequence[Vector], constants: Sequence[float]) -> Vector:
    """Return the mean of the last n present values, this one included; missing until there are n of them.

    The result is within 1e-12 of the greatest magnitude in the window, compared with an exact sum.
    """
    size = int(constants[0])
    return _along(columns[0], lambda values: _window_means(values, size), unfilled=size - 1)


def _window_means(values: Floats, size: int) -> Floats:
    """Add up window sums from sums of 1, 2, 4 ... values; a running total would keep errors of old values."""
    if size > len(values):
        return np.full(len(values), np.nan)
    greatest = float(np.abs(values[np.isfinite(values)]).max(initial=0))
    divisor = 1 if greatest > _LARGEST / size else size
    blocks = values / size if divisor == 1 else values
    covered, sums, block = 0, np.zeros(len(values) + 1), 1
    while covered < size:
        if size & block:
            starts = len(values) - covered - block + 1
            sums = sums[:starts] + blocks[covered : covered + starts]
            covered += block
        if covered < size:
            blocks = blocks[:-block] + blocks[block:]
            block *= 2
    return np.concatenate([np.full(size - 1, np.nan), sums / divisor])


def _end(position: int) -> Implementation:
    """Return the implementation that takes the first or last present cell."""

    def apply(columns: Sequence[Vector], _constants: Sequence[float]) -> Vector:
        vector = columns[0]
        rows = np.flatnonzero(vector.present)
        if not len(rows):
            nothing = np.zeros(1, vector.values.dtype)
            return Vector(vector.kind, nothing, np.zeros(1, np.bool_))
        return vector.take(rows[[position]])

    return apply


def _one(value: float | None) -> Vector:
    """Return the vector of one number; adding 0 turns -0.0 into 0."""
    present = np.array([value is not None])
    return numbers(np.array([math.nan if value is None else value + 0.0]), present)


def _finite(vector: Vector) -> Mask:
    return np.isfinite(vector.floats()) & vector.present


def _reduced(kernel: Callable[..., float | None]) -> Implementation:
    """Return the reduction of the finite numbers."""

    def apply(columns: Sequence[Vector], constants: Sequence[float]) -> Vector:
        return _one(kernel(columns[0].floats()[_finite(columns[0])], *constants))

    return apply


def _reduced_by_step(kernel: Callable[..., float | None], *, finite: bool = True) -> Implementation:
    """Return the reduction of numbers, finite or not, and of their steps."""

    def apply(columns: Sequence[Vector], constants: Sequence[float]) -> Vector:
        vector, steps = columns
        rows = steps.present & (_finite(vector) if finite else vector.present)
        return _one(kernel(vector.floats()[rows], steps.floats()[rows], *constants))

    return apply


def _step_of(kernel: Callable[[Mask, Floats], float | None]) -> Implementation:
    def apply(columns: Sequence[Vector], _constants: Sequence[float]) -> Vector:
        condition, steps = columns
        return _one(kernel(condition.as_truth() & steps.present, steps.floats()))

    return apply


def _at_first(columns: Sequence[Vector], _constants: Sequence[float]) -> Vector:
    """Return the last cell at or before the first row in which a condition holds."""
    vector, condition = columns
    rows = np.flatnonzero(condition.as_truth())
    before = np.flatnonzero(vector.present[: rows[0] + 1]) if len(rows) else rows
    if not len(before):
        return Vector(vector.kind, np.zeros(1, vector.values.dtype), np.zeros(1, np.bool_))
    return vector.take(before[[-1]])


def _count(columns: Sequence[Vector], _constants: Sequence[float]) -> Vector:
    """Count the finite numbers."""
    return _one(int(np.count_nonzero(_finite(columns[0]))))


def _lag(columns: Sequence[Vector], constants: Sequence[float]) -> Vector:
    """Return the cell that is n present cells earlier; missing in the first n present cells."""
    vector, back = columns[0], int(constants[0])
    rows = np.flatnonzero(vector.present)
    values, present = vector.values.copy(), vector.present.copy()
    values[rows[back:]] = vector.values[rows[:-back]]
    present[rows[:back]] = False
    return Vector(vector.kind, values, present)


_ALPHA = Constant(name="alpha", wanted="a number above 0 and at most 1", fits=lambda value: 0 < value <= 1)
_SIZE = Constant(name="n", wanted="a whole number from 1", fits=_integer_between(1, _MAX_ROWS))
_BACK = Constant(name="n", wanted="a whole number from 1", fits=_integer_between(1, _MAX_ROWS), default=1)
_DIGITS = Constant(
    name="digits",
    wanted=f"a whole number from 0 to {_MAX_DIGITS}",
    fits=_integer_between(0, _MAX_DIGITS),
    default=0,
)

_SHARE = Constant(name="q", wanted="a number from 0 to 1", fits=lambda value: 0 <= value <= 1)
_LAST = Constant(name="n", wanted="a whole number from 2", fits=_integer_between(2, _MAX_ROWS))
_STEP = Constant(name="step", wanted="a finite number", fits=math.isfinite)


def _reduction(
    signature: str,
    apply: Implementation,
    *,
    constants: tuple[Constant, ...] = (),
    stepped: bool = False,
    takes: Literal["numbers", "truth values", "condition", "any"] = "truth values",
    hint: str = "",
) -> Function:
    return Function(
        name=signature.partition("(")[0],
        signature=signature,
        constants=constants,
        takes=takes,
        reduces=True,
        stepped=stepped,
        hint=hint,
        apply=apply,
    )


_ALL: Final = (
    Function(name="abs", signature="abs(x)", by_row=True, apply=_each(np.abs)),
    Function(name="log", signature="log(x)", by_row=True, apply=_each(np.log)),
    Function(name="log10", signature="log10(x)", by_row=True, apply=_each(np.log10)),
    Function(name="exp", signature="exp(x)", by_row=True, apply=_each(np.exp)),
    Function(name="sqrt", signature="sqrt(x)", by_row=True, apply=_each(np.sqrt)),
    Function(name="round", signature="round(x, digits=0)", constants=(_DIGITS,), by_row=True, apply=_round),
    Function(
        name="min", signature="min(x, y, ...)", columns=(2, None), by_row=True, apply=_together(np.minimum)
    ),
    Function(
        name="max", signature="max(x, y, ...)", columns=(2, None), by_row=True, apply=_together(np.maximum)
    ),
    Function(name="isnan", signature="isnan(x)", by_row=True, apply=_asked(np.isnan)),
    Function(name="isfinite", signature="isfinite(x)", by_row=True, apply=_asked(np.isfinite)),
    Function(name="diff", signature="diff(x)", apply=_in_order(_diff, unfilled=1)),
    Function(name="cumsum", signature="cumsum(x)", apply=_in_order(np.cumsum)),
    Function(
        name="cummin", signature="cummin(x)", apply=_in_order(lambda values: np.fmin.accumulate(values) + 0.0)
    ),
    Function(
        name="cummax", signature="cummax(x)", apply=_in_order(lambda values: np.fmax.accumulate(values) + 0.0)
    ),
    Function(name="ema", signature="ema(x, alpha)", constants=(_ALPHA,), apply=_ema),
    Function(name="rolling_mean", signature="rolling_mean(x, n)", constants=(_SIZE,), apply=_rolling_mean),
    Function(name="lag", signature="lag(x, n=1)", constants=(_BACK,), takes="any", apply=_lag),
    _reduction("first(x)", _end(0), takes="any"),
    _reduction("last(x)", _end(-1), takes="any"),
    _reduction("mean(x)", _reduced(reductions.mean)),
    _reduction("std(x)", _reduced(reductions.deviation)),
    _reduction("median(x)", _reduced(lambda values: reductions.quantile(values, 0.5))),
    _reduction("sum(x)", _reduced(reductions.total)),
    _reduction(
        "count(x)", _count, takes="numbers", hint="sum(CONDITION) counts the rows where a condition holds"
    ),
    _reduction("quantile(x, q)", _reduced(reductions.quantile), constants=(_SHARE,)),
    _reduction(
        "slope(x, n)",
        _reduced_by_step(lambda values, steps, size: reductions.slope(values, steps, int(size))),
        constants=(_LAST,),
        stepped=True,
    ),
    _reduction("first_step(COND)", _step_of(reductions.first_step), takes="condition", stepped=True),
    _reduction("last_step(COND)", _step_of(reductions.last_step), takes="condition", stepped=True),
    Function(
        name="at_first",
        signature="at_first(x, COND)",
        columns=(2, 2),
        takes="any",
        reduces=True,
        conditional=True,
        apply=_at_first,
    ),
    _reduction("auc(x)", _reduced_by_step(reductions.area), stepped=True),
    _reduction(
        "at(x, step)",
        _reduced_by_step(reductions.value_at, finite=False),
        constants=(_STEP,),
        stepped=True,
    ),
)

FUNCTIONS: Final[Mapping[str, Function]] = {function.name: function for function in _ALL}
"""All functions by their names."""
