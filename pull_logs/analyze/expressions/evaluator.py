"""The value of a resolved expression in every row of a frame.

*Arithmetic* is that of float64: a division by zero is an infinity or NaN, `//` is the floor of the quotient
and `%` has the sign of the divisor, as for Python's floats where Python gives a result (`x // 0` is as
`x / 0`, `x % 0` is NaN). The result is missing where an operand is missing. A bool is never a number.

*Conditions* are true or false. A comparison with a missing value is false, `!=` and `not in` included. NaN
equals nothing, not even itself, so that `!=` is true of it and all other comparisons are false. Strings are
compared by code points; bools are equal or not but have no order. A missing bool is false as a condition, so
that `not` of it is true.

*Kinds* are checked for complete columns: a column of bools or strings in arithmetic, of numbers where a
condition is needed, or of another kind than what it is compared with, is an error that points at it. In a
column of mixed kinds each cell is treated by its own kind: in arithmetic a cell that is not a number is
missing; compared with another kind it is unequal and has no order; as a condition it is false unless it is
true. JSON values (dicts, lists) are unequal to everything.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from itertools import zip_longest
from typing import Final, assert_never

import numpy as np

from pull_logs.analyze.expressions.cells import comparable, compare_cells, literal, search_cells
from pull_logs.analyze.expressions.functions import FUNCTIONS, Constant, Function
from pull_logs.analyze.expressions.nodes import (
    And,
    Bool,
    Call,
    Comparator,
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
    operands,
)
from pull_logs.analyze.expressions.tokenizer import stack_bounded
from pull_logs.errors import ExpressionError
from pull_logs.frames import (
    Array,
    Floats,
    Kind,
    Mask,
    Vector,
    bools,
    constant,
    kind_of_cell,
    missing,
    numbers,
)
from pull_logs.rows.canonical import STEP

_ARITHMETIC: Final[Mapping[str, Callable[[Floats, Floats], Floats]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "//": np.floor_divide,
    "%": np.remainder,
}
_ARRAYS: Final[Mapping[Comparator, Callable[[Array, Array], Mask]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_A_KIND: Final[Mapping[Kind, str]] = {
    "number": "a number",
    "bool": "a bool",
    "string": "a string",
    "mixed": "of mixed kinds",
    "other": "a JSON value",
}


def evaluate(node: Node, frame: Mapping[str, Vector], *, length: int, source: str = "") -> Vector:
    """Return the value of an expression in every row.

    Args:
        node: A resolved tree.
        frame: Columns by name, each of `length` cells in row order; a name without a column is missing in
            every row, such as a column that only other runs have.
        length: The number of rows.
        source: The text of the expression, for messages.

    Raises:
        ExpressionError: The kinds of columns do not fit what is done with them.
    """
    with np.errstate(all="ignore"), stack_bounded(source):
        return _Evaluation(frame, length, source).vector(node)


def condition(node: Node, frame: Mapping[str, Vector], *, length: int, source: str = "") -> Mask:
    """Return where an expression holds; missing is false. The arguments are those of `evaluate`.

    Raises:
        ExpressionError: As for `evaluate`; also where the expression is not a condition.
    """
    with np.errstate(all="ignore"), stack_bounded(source):
        return _Evaluation(frame, length, source).condition(node)


def reduction(node: Call, frame: Mapping[str, Vector], *, length: int, source: str = "") -> Vector:
    """Return the value of a reduction as a vector of one cell, whatever the number of rows.

    The arguments are those of `evaluate`.

    Raises:
        ExpressionError: As for `evaluate`.
    """
    with np.errstate(all="ignore"), stack_bounded(source):
        return _Evaluation(frame, length, source).reduced(node)


@dataclass(slots=True)
class _Evaluation:
    frame: Mapping[str, Vector]
    length: int
    source: str
    loaded: dict[str, Vector] = field(default_factory=dict)

    def vector(self, node: Node) -> Vector:
        match node:
            case Number() | String() | Bool():
                return constant(node.value, self.length)
            case Null():
                return missing(self.length)
            case Name():
                return self._column(node.text)
            case Call():
                return self._call(node)
            case Negate() | Power() | Product() | Sum():
                return self._arithmetic(node)
            case _:
                return bools(self.condition(node))

    def condition(self, node: Node) -> Mask:
        match node:
            case And() | Or():
                join = operator.and_ if isinstance(node, And) else operator.or_
                holds = reduce(join, map(self.condition, node.operands))
            case Not():
                holds = ~self.condition(node.operand)
            case IsMissing():
                present = self.vector(node.operand).present
                holds = present.copy() if node.negated else ~present
            case ComparisonChain():
                holds = self._comparison(node)
            case Membership():
                holds = self._membership(node)
            case Search():
                holds = self._search(node)
            case _:
                holds = self._truth(node)
        return holds

    def _truth(self, node: Node) -> Mask:
        vector = self.vector(node)
        if vector.kind not in {"bool", "mixed"}:
            message = f"a condition is needed here, and this is {_A_KIND[vector.kind]}"
            raise self._error(message, node, hint="compare it with something")
        return vector.as_truth()

    def _column(self, name: str) -> Vector:
        if name not in self.loaded:
            self.loaded[name] = self.frame[name] if name in self.frame else missing(self.length)
        return self.loaded[name]

    def _numbers(self, node: Node, *, taker: str) -> Vector:
        return self._as_numbers(self.vector(node), node, taker=taker)

    def _as_numbers(self, vector: Vector, node: Node, *, taker: str, hint: str = "") -> Vector:
        if vector.kind not in {"number", "mixed"}:
            message = f"{taker} needs a number here, and this is {_A_KIND[vector.kind]}"
            raise self._error(message, node, hint=hint)
        return vector.as_numbers()

    def _arithmetic(self, node: Negate | Power | Product | Sum) -> Vector:
        match node:
            case Negate():
                operand = self._numbers(node.operand, taker="'-'")
                return numbers(np.negative(operand.floats()), operand.present)
            case Power():
                return self._power(node)
            case Product() | Sum():
                total = self._numbers(node.first, taker=f"'{node.rest[0][0]}'")
                values, present = total.floats(), total.present
                for sign, operand_node in node.rest:
                    operand = self._numbers(operand_node, taker=f"'{sign}'")
                    values = _ARITHMETIC[sign](values, operand.floats())
                    present = present & operand.present
                return numbers(values, present)
            case _:
                assert_never(node)

    def _power(self, node: Power) -> Vector:
        base = self._numbers(node.base, taker="'**'")
        exponent = self._numbers(node.exponent, taker="'**'")
        if isinstance(node.exponent, Number) and node.exponent.value == 2:
            values = np.square(base.floats())
        else:
            # A copy, since numpy takes a root instead where one exponent serves all rows, and
            # the root of -inf is not its power.
            exponents = exponent.floats().copy()
            values = np.power(base.floats(), exponents)
            # A square is exact to the last digit, whether a constant or a column says 2.
            squared = exponents == 2
            values[squared] = np.square(base.floats()[squared])
        return numbers(values, base.present & exponent.present)

    def _comparison(self, node: ComparisonChain) -> Mask:
        holds: Mask | None = None
        left_node, left = node.first, self.vector(node.first)
        for sign, right_node in node.rest:
            right = self.vector(right_node)
            span = (left_node.span[0], right_node.span[1])
            compared = self._compare(left, sign, right, span=span, nodes=(left_node, right_node))
            holds = compared if holds is None else holds & compared
            left_node, left = right_node, right
        assert holds is not None  # noqa: S101 - for the type checker: a comparison compares
        return holds

    def _compare(
        self,
        left: Vector,
        sign: Comparator,
        right: Vector,
        *,
        span: tuple[int, int],
        nodes: tuple[Node, Node],
    ) -> Mask:
        if "mixed" in {left.kind, right.kind}:
            return compare_cells(left, sign, right)
        if left.kind != right.kind or left.kind == "other":
            message = f"{_A_KIND[left.kind]} cannot be compared with {_A_KIND[right.kind]}"
            hint = self._list_hint(dict(zip(nodes, (left, right), strict=True)), negated=sign == "!=")
            raise ExpressionError(message, source=self.source, span=span, hint=hint)
        if left.kind == "bool" and sign not in {"==", "!="}:
            raise ExpressionError("bools have no order", source=self.source, span=span)
        present = left.present & right.present
        if left.kind == "number":
            return _ARRAYS[sign](left.floats(), right.floats()) & present
        if left.kind == "bool" or present.all():
            return _ARRAYS[sign](left.values, right.values).astype(np.bool_, copy=False) & present
        holds = np.zeros(self.length, np.bool_)
        holds[present] = _ARRAYS[sign](left.values[present], right.values[present])
        return holds

    def _list_hint(self, vectors: Mapping[Node, Vector], *, negated: bool) -> str:
        """Return how to look into a list, if one of two operands is a column of lists."""
        lists = [node for node, vector in vectors.items() if _has_lists(vector)]
        if not lists:
            return ""
        items = [node for node in vectors if isinstance(node, (Number, Negate, String, Bool))]
        word = "not contains" if negated else "contains"
        return f"look into a list with '{lists[0]} {word} {items[0] if items else '...'}'"

    def _membership(self, node: Membership) -> Mask:
        vector = self.vector(node.operand)
        items = {(kind_of_cell(value), value) for value in map(literal, node.items)}
        fitting = {kind for kind, _ in items}
        if vector.kind == "other" or (vector.kind != "mixed" and fitting and vector.kind not in fitting):
            message = f"{_A_KIND[vector.kind]} cannot be in a list without any of its kind"
            word = "not contains" if node.negated else "contains"
            join = " and " if node.negated else " or "
            meant = join.join(f"{node.operand} {word} {item}" for item in node.items[:2])
            raise self._error(message, node, hint=f"write '{meant}'" if _has_lists(vector) else "")
        if vector.kind == "number":
            wanted = [value for kind, value in items if kind == "number"]
            found = np.isin(vector.floats(), np.array(wanted, np.float64))
        elif vector.kind == "string":
            texts = {value for kind, value in items if kind == "string"}
            found = np.zeros(self.length, np.bool_)
            found[vector.present] = list(map(texts.__contains__, vector.values[vector.present].tolist()))
        else:
            cells = (comparable(cell) for cell in vector.to_list())
            found = np.fromiter((cell in items for cell in cells), np.bool_, self.length)
        return (~found if node.negated else found) & vector.present

    def _search(self, node: Search) -> Mask:
        vector, wanted = self.vector(node.operand), literal(node.item)
        if vector.kind in {"number", "bool"}:
            message = f"'{node.word}' searches a string or a list, and this is {_A_KIND[vector.kind]}"
            raise self._error(message, node.operand)
        if vector.kind == "string" and not isinstance(wanted, str):
            hint = f'write "{node.item}"'
            raise self._error("a string contains nothing but strings", node.item, hint=hint)
        found = search_cells(vector, node.word, wanted)
        return (~found if node.negated else found) & vector.present

    def _call(self, node: Call) -> Vector:
        function = FUNCTIONS[node.function]
        one = self._applied(function, node)
        if not function.reduces:
            return one
        present = np.broadcast_to(one.present, self.length)
        return Vector(one.kind, np.broadcast_to(one.values, self.length), present)

    def reduced(self, node: Call) -> Vector:
        """Return the one cell of a reduction."""
        return self._applied(FUNCTIONS[node.function], node)

    def _applied(self, function: Function, node: Call) -> Vector:
        taken = len(node.arguments)
        if function.columns[1] is not None:
            taken = min(taken, function.columns[1])
        columns = [self._argument(function, argument) for argument in node.arguments[:taken]]
        if function.conditional:
            columns[-1] = bools(self.condition(node.arguments[taken - 1]))
        if function.stepped:
            columns.append(self._column(STEP).as_numbers())
        given = zip_longest(function.constants, node.arguments[taken:])
        constants = [
            wanted.default if argument is None else self._constant(argument, wanted, function.signature)
            for wanted, argument in given
        ]
        return function.apply(columns, constants)

    def _argument(self, function: Function, node: Node) -> Vector:
        if function.takes == "any":
            return self.vector(node)
        if function.takes == "condition":
            return bools(self.condition(node))
        vector = self.vector(node)
        if function.takes == "truth values" and vector.kind == "bool":
            return numbers(vector.floats(), vector.present)
        return self._as_numbers(vector, node, taker=f"{function.name}(...)", hint=function.hint)

    def _constant(self, node: Node, wanted: Constant, signature: str) -> float:
        if not _is_constant(node):
            message = (
                f"{wanted.name} in {signature} is {wanted.wanted}, written out and the same for every row"
            )
            raise self._error(message, node)
        value = float(_Evaluation({}, 1, self.source).vector(node).floats()[0])
        if not wanted.fits(value):
            raise self._error(f"{wanted.name} in {signature} is {wanted.wanted}, not {value:.17g}", node)
        return value

    def _error(self, message: str, node: Node, *, hint: str = "") -> ExpressionError:
        return ExpressionError(message, source=self.source, span=node.span, hint=hint)


def _has_lists(vector: Vector) -> bool:
    return vector.kind == "other" and any(
        isinstance(cell, (list, tuple)) for cell in vector.values[vector.present].tolist()
    )


def _is_constant(node: Node) -> bool:
    """Whether a node is arithmetic over number literals only."""
    arithmetic = isinstance(node, (Number, Negate, Power, Product, Sum))
    return arithmetic and all(map(_is_constant, operands(node)))
