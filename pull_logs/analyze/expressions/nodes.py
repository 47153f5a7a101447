"""The tree of an expression, and its canonical text.

`str(node)` writes a tree with the fewest parentheses that keep it the same tree: `parse(str(tree)) == tree`.
Operators of one precedence make one flat node, so that a sum of a thousand terms is one level deep.

The span of a node has its offsets in the text; nodes with different spans can be equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, TypeAlias

from pull_logs.analyze.expressions.tokenizer import Span, is_bare_name, quote_name, quote_string

SumOperator: TypeAlias = Literal["+", "-"]
ProductOperator: TypeAlias = Literal["*", "/", "//", "%"]
Comparator: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]
SearchWord: TypeAlias = Literal["contains", "matches", "starts_with"]

_OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _NEGATION, _POWER, _ATOM = range(9)
_INTEGRAL_BELOW = 1e16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spanned:
    binding: ClassVar[int] = _ATOM

    span: Span = field(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Number(_Spanned):
    """A number literal: a finite float64, never negative (a minus is a `Negate`)."""

    value: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value >= 0):
            raise ValueError(f"{self.value!r} cannot be written as a number")

    def __str__(self) -> str:
        integral = self.value < _INTEGRAL_BELOW and self.value == int(self.value)
        return str(int(self.value)) if integral else repr(float(self.value))


@dataclass(frozen=True, slots=True)
class String(_Spanned):
    """A string literal."""

    value: str

    def __str__(self) -> str:
        return quote_string(self.value)


@dataclass(frozen=True, slots=True)
class Bool(_Spanned):
    """`true` or `false`."""

    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(frozen=True, slots=True)
class Null(_Spanned):
    """`null`: a missing value."""

    def __str__(self) -> str:
        return "null"


@dataclass(frozen=True, slots=True)
class Name(_Spanned):
    """The name of a column.

    Attributes:
        text: The name, without backticks.
        quoted: Whether it was written in backticks, and so means exactly that column.
    """

    text: str
    quoted: bool = False

    def __post_init__(self) -> None:
        if not self.quoted and not is_bare_name(self.text):
            raise ValueError(f"the name {self.text!r} needs backticks")

    def __str__(self) -> str:
        return quote_name(self.text) if self.quoted else self.text


@dataclass(frozen=True, slots=True)
class Call(_Spanned):
    """A call of a function."""

    function: str
    arguments: tuple[Node, ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.arguments))})"


@dataclass(frozen=True, slots=True)
class Power(_Spanned):
    """`base ** exponent`; binds tighter than a minus before it, looser than one in its exponent."""

    binding: ClassVar[int] = _POWER

    base: Node
    exponent: Node

    def __str__(self) -> str:
        return f"{_inside(self.base, _ATOM)} ** {_inside(self.exponent, _NEGATION)}"


@dataclass(frozen=True, slots=True)
class Negate(_Spanned):
    """Unary minus."""

    binding: ClassVar[int] = _NEGATION

    operand: Node

    def __str__(self) -> str:
        return f"-{_inside(self.operand, _NEGATION)}"


@dataclass(frozen=True, slots=True)
class Product(_Spanned):
    """Factors from left to right, each but the first after `*`, `/`, `//` or `%`."""

    binding: ClassVar[int] = _PRODUCT

    first: Node
    rest: tuple[tuple[ProductOperator, Node], ...]

    def __str__(self) -> str:
        return _chain(self.first, self.rest, _NEGATION)


@dataclass(frozen=True, slots=True)
class Sum(_Spanned):
    """Terms from left to right, each but the first after `+` or `-`."""

    binding: ClassVar[int] = _SUM

    first: Node
    rest: tuple[tuple[SumOperator, Node], ...]

    def __str__(self) -> str:
        return _chain(self.first, self.rest, _PRODUCT)


@dataclass(frozen=True, slots=True)
class ComparisonChain(_Spanned):
    """One comparison or a chain of them, in which each neighbouring pair must hold."""

    binding: ClassVar[int] = _COMPARISON

    first: Node
    rest: tuple[tuple[Comparator, Node], ...]

    def __str__(self) -> str:
        return _chain(self.first, self.rest, _SUM)


@dataclass(frozen=True, slots=True)
class Membership(_Spanned):
    """`operand in [..]`; the items are literals, a negative number being a `Negate` of one."""

    binding: ClassVar[int] = _COMPARISON

    operand: Node
    items: tuple[Number | Negate | String | Bool, ...]
    negated: bool = False

    def __str__(self) -> str:
        word = "not in" if self.negated else "in"
        return f"{_inside(self.operand, _SUM)} {word} [{', '.join(map(str, self.items))}]"


@dataclass(frozen=True, slots=True)
class Search(_Spanned):
    """`operand contains item`, `operand matches "pattern"` or `operand starts_with "text"`.

    The item is a literal, as in a list; of `matches` and `starts_with` it is a string.
    """

    binding: ClassVar[int] = _COMPARISON

    operand: Node
    word: SearchWord
    item: Number | Negate | String | Bool
    negated: bool = False

    def __str__(self) -> str:
        word = f"not {self.word}" if self.negated else self.word
        return f"{_inside(self.operand, _SUM)} {word} {self.item}"


@dataclass(frozen=True, slots=True)
class IsMissing(_Spanned):
    """`operand is missing`."""

    binding: ClassVar[int] = _COMPARISON

    operand: Node
    negated: bool = False

    def __str__(self) -> str:
        return f"{_inside(self.operand, _SUM)} is {'not ' if self.negated else ''}missing"


@dataclass(frozen=True, slots=True)
class Not(_Spanned):
    """`not operand`."""

    binding: ClassVar[int] = _NOT

    operand: Node

    def __str__(self) -> str:
        return f"not {_inside(self.operand, _NOT)}"


@dataclass(frozen=True, slots=True)
class And(_Spanned):
    """Two or more conditions that must all hold."""

    binding: ClassVar[int] = _AND

    operands: tuple[Node, ...]

    def __str__(self) -> str:
        return " and ".join([_inside(operand, _NOT) for operand in self.operands])


@dataclass(frozen=True, slots=True)
class Or(_Spanned):
    """Two or more conditions of which one must hold."""

    binding: ClassVar[int] = _OR

    operands: tuple[Node, ...]

    def __str__(self) -> str:
        return " or ".join([_inside(operand, _AND) for operand in self.operands])


Node: TypeAlias = (
    Number
    | String
    | Bool
    | Null
    | Name
    | Call
    | Power
    | Negate
    | Product
    | Sum
    | ComparisonChain
    | Membership
    | Search
    | IsMissing
    | Not
    | And
    | Or
)


def operands(node: Node) -> tuple[Node, ...]:
    """Return the nodes within a node, from left to right, without the items of a list or a search."""
    match node:
        case Call():
            return node.arguments
        case Power():
            return node.base, node.exponent
        case Negate() | Not() | IsMissing() | Membership() | Search():
            return (node.operand,)
        case Product() | Sum() | ComparisonChain():
            return node.first, *(operand for _, operand in node.rest)
        case And() | Or():
            return node.operands
        case _:
            return ()


def with_operands(node: Node, change: Callable[[Node], Node]) -> Node:
    """Return a node with its operands changed; a node without operands stays as it is."""
    match node:
        case Call():
            return replace(node, arguments=tuple([change(argument) for argument in node.arguments]))
        case Power():
            return replace(node, base=change(node.base), exponent=change(node.exponent))
        case Negate() | Not() | IsMissing() | Membership() | Search():
            return replace(node, operand=change(node.operand))
        case Product() | Sum() | ComparisonChain():
            rest = tuple([(operator, change(operand)) for operator, operand in node.rest])
            return replace(node, first=change(node.first), rest=rest)  # type: ignore[arg-type]
        case And() | Or():
            return replace(node, operands=tuple([change(operand) for operand in node.operands]))
        case _:
            return node


def _inside(node: Node, binding: int) -> str:
    """Return the text of an operand, in parentheses if it binds looser than `binding`."""
    return f"({node})" if node.binding < binding else str(node)


def _chain(first: Node, rest: tuple[tuple[str, Node], ...], binding: int) -> str:
    parts = [_inside(first, binding)]
    parts += [f"{operator} {_inside(operand, binding)}" for operator, operand in rest]
    return " ".join(parts)
