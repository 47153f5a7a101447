r"""From the names of an expression to the columns that exist.

A name in backticks means exactly that column. A bare name means the column of exactly that name; if there is
none, it is read as a division of known columns and numbers, with as few splits at its slashes as possible:
`loss/2`, `train/loss/val/loss`. (A slash at the very end belongs to no name: `a/(b)` is a division for the
parser already.) Two readings with equally few splits are an error, and so is a division that binds otherwise
than it looks (`2 ** loss/3`). Two slashes split as `//` does.

A column is also found by its name without the backslashes that escape the dots of its keys: `config.a.b` is
the column `config.a\.b` if there is no other of that spelling. If there is, a bare name is an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, NoReturn, cast

from pull_logs.analyze.expressions.functions import FUNCTIONS
from pull_logs.analyze.expressions.nodes import (
    Call,
    ComparisonChain,
    Name,
    Negate,
    Node,
    Null,
    Number,
    Power,
    Product,
    ProductOperator,
    operands,
    with_operands,
)
from pull_logs.analyze.expressions.tokenizer import is_bare_name, is_number, quote_name, shown, stack_bounded
from pull_logs.errors import ExpressionError, UnknownNameError
from pull_logs.frames import PlainNames
from pull_logs.rows.canonical import STEP
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.suggestions import nearest

MAX_SLASHES: Final = 50
"""A bare name with more slashes is not tried as a division."""

NO_METADATA: Final = "their logs do not contain it, or it was removed with --redact"
"""Why runs have no metadata."""

_FUNCTIONS_NAMED = 3
_ELSEWHERE = {
    "True": "write 'true'",
    "False": "write 'false'",
    "None": "write 'null', or ask with 'is missing'",
    "nan": "ask with 'isnan(x)'",
    "NaN": "ask with 'isnan(x)'",
    "inf": "ask with 'isfinite(x)'",
    "AND": "write 'and'",
    "OR": "write 'or'",
    "NOT": "write 'not'",
}
_WORDS = {
    "contains": "'x contains \"text\"'",
    "matches": "'x matches \"^text\"'",
    "starts_with": "'x starts_with \"text\"'",
    "startswith": "'x starts_with \"text\"'",
}
_OTHER_NAMES = {
    **dict.fromkeys(("avg", "average"), "mean"),
    **dict.fromkeys(("stdev", "stddev"), "std"),
    **dict.fromkeys(("percentile", "percentiles"), "quantile"),
    "len": "count",
    "trapz": "auc",
}
_ROWS = "metric"
"""What messages call the columns of a history."""
_DOCUMENTS = ("config.", "summary.", "metadata.")
_METADATA = _DOCUMENTS[-1]
_RUN_VALUES = frozenset(
    (*(field.name for field in RUN_FIELDS if field.filtered), "duration", "rows", "last_step", "complete")
)
_OF_ONE = {
    "min": "the least of all rows is quantile(x, 0)",
    "max": "the greatest of all rows is quantile(x, 1)",
}


@dataclass(frozen=True, slots=True)
class Resolved:
    """An expression whose every name is a column.

    Attributes:
        node: The tree, with the divisions that names turned out to be.
        names: The columns that it reads.
        notes: What a reader of the answer should know, such as a name with two readings.
        bare: The columns of the names that were written without backticks, by what was written.
    """

    node: Node
    names: frozenset[str]
    notes: tuple[str, ...]
    bare: Mapping[str, str]


def resolve(node: Node, columns: Collection[str], *, source: str, what: str = _ROWS) -> Resolved:
    """Find the columns of an expression and check its calls.

    Args:
        node: The tree, as `parse` gave it.
        columns: The names of the columns that exist.
        source: The text of the expression, for messages.
        what: What messages call a column.

    Raises:
        UnknownNameError: A name is neither a column nor a division of columns; the message names the nearest.
        ExpressionError: A name can be read in two ways, or a call names no function or does not fit it.
    """
    known = columns if isinstance(columns, AbstractSet) else frozenset(columns)
    resolver = _Resolver(known, PlainNames(known), source, what)
    with stack_bounded(source):
        found = resolver.node(node)
    notes = tuple(dict.fromkeys(resolver.notes))
    return Resolved(found, frozenset(resolver.names), notes, resolver.bare)


def check_without_rows(node: Node, *, source: str) -> None:
    """Refuse reductions in an expression about runs, which has no rows of a history.

    Raises:
        ExpressionError: The expression calls one.
    """
    function = FUNCTIONS.get(node.function) if isinstance(node, Call) else None
    if function is not None and function.reduces:
        message = f"{function.signature} is over the rows of a history, and a filter of runs has none"
        hint = "compare a value of summary.*, or ask with --where, --eval or --assert"
        raise ExpressionError(message, source=source, span=node.span, hint=hint)
    for operand in operands(node):
        check_without_rows(operand, source=source)


def several_spellings(text: str, names: Collection[str], *, what: str) -> str:
    """Return the message about a name that fits several columns, which differ in the dots of their keys."""
    listed = " and ".join(quote_name(name) for name in names)
    return rf"{shown(text)} fits more than one {what}: {listed}, where \. is a dot in a key itself"


@dataclass(slots=True)
class _Resolver:
    known: AbstractSet[str]
    plain: PlainNames
    source: str
    what: str
    names: set[str] = field(default_factory=set)
    bare: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def node(self, node: Node) -> Node:
        match node:
            case Name():
                return self._name(node)
            case Call():
                self._check_call(node)
            case Power():
                self._check_binding(node.base, beside="**")
                self._check_binding(node.exponent, beside="**")
            case Product():
                for operator, operand in node.rest:
                    self._check_binding(operand, beside=operator)
            case Negate():
                self._check_binding(node.operand, beside="-")
            case ComparisonChain():
                self._note_null(node)
            case _:
                pass
        return with_operands(node, self.node)

    def _name(self, name: Name) -> Node:
        readings = [] if name.quoted else self._divisions(name)
        column = self._column(name)
        if column is not None:
            if readings:
                self.notes.append(
                    f"{shown(name.text)} is read as the {self.what} of that name; "
                    f"write {shown(str(readings[0]))} for the division"
                )
            return column
        if not readings:
            self._fail_unknown(name)
        if len(readings) > 1:
            first, second = (shown(str(reading)) for reading in readings)
            message = f"{shown(name.text)} can be read as {first} and as {second}"
            raise self._error(message, name, hint="put spaces around the slash that divides")
        return with_operands(readings[0], self._operand)

    def _operand(self, operand: Node) -> Node:
        return (self._column(operand) or operand) if isinstance(operand, Name) else operand

    def _column(self, name: Name) -> Name | None:
        """Return the column that a name means, if there is one.

        Raises:
            ExpressionError: Several columns fit.
        """
        found = self.plain.meant_by(name.text)
        if not found:
            return None
        column = found[0]
        if len(found) > 1 and not (name.quoted and column == name.text):
            message = several_spellings(name.text, found, what=self.what)
            raise self._error(message, name, hint="write one of them, with its backticks")
        self.names.add(column)
        if not name.quoted:
            self.bare[name.text] = column
        return name if column == name.text else Name(column, quoted=True, span=name.span)

    def _divisions(self, name: Name) -> list[Product]:
        """Return the readings of a bare name with the fewest splits, two at most.

        Each step extends the best readings up to an earlier slash by a single operand.
        """
        slashes = list(re.finditer("/+", name.text))
        if not slashes or len(slashes) > MAX_SLASHES:
            return []
        starts = [0, *(slash.end() for slash in slashes)]
        ends = [*(slash.start() for slash in slashes), len(name.text)]
        best: list[list[tuple[int, ...]]] = [[()]]
        for stop, end in enumerate(ends):
            ways = [
                (*way, begin)
                for begin in range(stop + 1)
                if (begin, stop) != (0, len(slashes))
                and (begin == 0 or len(slashes[begin - 1][0]) <= len("//"))
                and self._is_operand(name.text[starts[begin] : end], begins=begin == 0)
                for way in best[begin]
            ]
            fewest = min(map(len, ways), default=0)
            best.append([way for way in ways if len(way) == fewest][:2])
        return [self._division(name, [starts[begin] for begin in way]) for way in best[-1]]

    def _is_operand(self, text: str, *, begins: bool) -> bool:
        return (is_bare_name(text) and self._is_column(text)) or (not begins and is_number(text))

    def _is_column(self, text: str) -> bool:
        return bool(self.plain.meant_by(text))

    def _division(self, name: Name, starts: list[int]) -> Product:
        operands: list[Node] = []
        operators: list[str] = []
        for start, following in zip(starts, [*starts[1:], len(name.text)], strict=True):
            piece = name.text[start:following]
            text = piece.rstrip("/")
            operators.append(piece[len(text) :])
            offset = name.span[0] + start
            span = (offset, offset + len(text))
            number = is_number(text)
            operands.append(Number(float(text), span=span) if number else Name(text, span=span))
        pairs = zip(operators, operands[1:], strict=False)
        rest = tuple([(cast("ProductOperator", operator), operand) for operator, operand in pairs])
        return Product(operands[0], rest, span=name.span)

    def _check_binding(self, operand: Node, *, beside: str) -> None:
        """Refuse a name that is a division, where with spaces it would bind otherwise.

        `2 ** a/b` would be `(2 ** a) / b` with spaces, and `c / a/b` would be `(c / a) / b`.
        """
        while isinstance(operand, Negate):
            operand = operand.operand
        if not isinstance(operand, Name) or operand.quoted or self._is_column(operand.text):
            return
        for reading in self._divisions(operand):
            floors = any(operator == "//" for operator, _ in reading.rest)
            if beside in {"**", "/", "//", "%"} or floors:
                message = (
                    f"{shown(operand.text)} is {shown(str(reading))}, which is unclear beside '{beside}'"
                )
                hint = "put spaces around the slash that divides, and parentheses where they belong"
                raise self._error(message, operand, hint=hint)

    def _check_call(self, call: Call) -> None:
        function = FUNCTIONS.get(call.function)
        span = (call.span[0], call.span[0] + len(call.function))
        if function is None:
            near = nearest(call.function, FUNCTIONS, cutoff=0, most=_FUNCTIONS_NAMED)
            hint = f"the nearest are {', '.join(near)}"
            if call.function in _WORDS:
                hint = f"write it between the two: {_WORDS[call.function]}"
            elif call.function in _OTHER_NAMES:
                hint = f"write {FUNCTIONS[_OTHER_NAMES[call.function]].signature}"
            elif "/" in call.function:
                hint = "put spaces around a slash that divides"
            message = f"there is no function {shown(call.function)}"
            raise ExpressionError(message, source=self.source, span=span, hint=hint)
        least, most = function.arity
        if len(call.arguments) < least or (most is not None and len(call.arguments) > most):
            takes = (
                f"{least} or more" if most is None else str(least) if least == most else f"{least} or {most}"
            )
            plural = "" if takes == "1" else "s"
            message = f"{function.signature} takes {takes} argument{plural}, not {len(call.arguments)}"
            hint = _OF_ONE.get(call.function, "") if len(call.arguments) == 1 else ""
            raise self._error(message, call, hint=hint)
        if function.stepped and STEP in self.known:
            self.names.add(STEP)

    def _note_null(self, comparison: ComparisonChain) -> None:
        if any(
            isinstance(operand, Null)
            for operand in (comparison.first, *(each for _, each in comparison.rest))
        ):
            self.notes.append(
                "a comparison with null is always false; ask with 'is missing' or 'is not missing'"
            )

    def _fail_unknown(self, name: Name) -> NoReturn:
        if explained := self._not_in_rows(name.text) or self._no_metadata(name.text):
            message, hint = explained
            raise UnknownNameError(message, source=self.source, span=name.span, hint=hint)
        near = [
            other if is_bare_name(other) else quote_name(other)
            for other in nearest(name.text, self.known, cutoff=0)
        ]
        message = f"no {self.what} is named {shown(name.text)}"
        if near:
            message += f"; the nearest {'are' if near[1:] else 'is'} {', '.join(map(_one_line, near))}"
        hint = "" if name.quoted else self._hint(name.text)
        raise UnknownNameError(message, source=self.source, span=name.span, hint=hint)

    def _not_in_rows(self, text: str) -> tuple[str, str] | None:
        """Return the message and the hint about a value of runs in an expression about rows."""
        if self.what != _ROWS or not (text in _RUN_VALUES or text.startswith(_DOCUMENTS)):
            return None
        message = (
            f"no metric is named {shown(text)}: it is a value of runs, and this expression is about rows"
        )
        return message, "choose runs with --filter, and compute one value per run with compare --column"

    def _no_metadata(self, text: str) -> tuple[str, str] | None:
        """Return the message and the hint about metadata where no run has any."""
        if not text.startswith(_METADATA) or any(name.startswith(_METADATA) for name in self.known):
            return None
        return f"no {self.what} is named {shown(text)}: these runs have no metadata", NO_METADATA

    def _hint(self, text: str) -> str:
        if text in _ELSEWHERE:
            return _ELSEWHERE[text]
        if text in FUNCTIONS:
            return f"the function is written {FUNCTIONS[text].signature}"
        parts = text.split("/")
        divides = any(self._is_operand(part, begins=False) for part in parts[1:]) or self._is_column(parts[0])
        return "put spaces around a slash that divides" if len(parts) > 1 and divides else ""

    def _error(self, message: str, node: Node, *, hint: str = "") -> ExpressionError:
        return ExpressionError(message, source=self.source, span=node.span, hint=hint)


def _one_line(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape", "replace").decode("ascii")
