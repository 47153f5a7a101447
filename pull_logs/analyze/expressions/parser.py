"""The parser of expressions; each rule of the grammar is in the docstring of the function that parses it.

The parser knows no columns. One function parses two levels of precedence, so that a level of nesting needs
five frames of Python's stack, and `MAX_DEPTH` levels fit well into it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, cast

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
    ProductOperator,
    Search,
    SearchWord,
    String,
    Sum,
    SumOperator,
    operands,
)
from pull_logs.analyze.expressions.tokenizer import (
    MAX_DEPTH,
    MAX_LENGTH,
    Span,
    Token,
    Tokenizer,
    quote_string,
    shown,
    stack_bounded,
)
from pull_logs.errors import ExpressionError
from pull_logs.rows.patterns import MAX_PATTERN, TextPattern

MAX_ITEMS: Final = 1_000
"""The most items of a list, and the most arguments of a call."""

_LITERALS = ("number", "string", "true", "false")
_OPERAND = "a number, a name, a string or '('"
_ITEM = "a number, a string, true or false"
_SEARCH_WORDS = ("contains", "matches", "starts_with")


def parse(text: str) -> Node:
    """Parse an expression.

    text = expression END

    Raises:
        ExpressionError: The text is not a valid expression, or it is too long or nested too deep.
    """
    if len(text) > MAX_LENGTH:
        message = f"an expression of {len(text)} characters is longer than {MAX_LENGTH}"
        raise ExpressionError(message, source=text, span=(MAX_LENGTH, len(text)))
    tokens = Tokenizer(text)
    with stack_bounded(text):
        node = _parse_expression(tokens)
    if tokens.check("["):
        hint = "a list has no index here; look into it with 'x contains ...'"
        raise tokens.unexpected("an operator or the end", hint=hint)
    tokens.expect("end", expected="an operator or the end")
    _check_depth(node, tokens)
    return node


def _check_depth(node: Node, tokens: Tokenizer) -> None:
    """Refuse a tree that is deeper than its text: five operators can share one pair of parentheses."""
    level, depth = [node], 1
    while level := [below for above in level for below in operands(above)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise tokens.error(f"nested deeper than {MAX_DEPTH} levels", level[0].span)


def _parse_expression(tokens: Tokenizer) -> Node:
    """Parse conditions joined by `or` and `and`.

    expression = conjunction { ("or" | "|") conjunction }
    conjunction = condition { ("and" | "&") condition }
    """
    alternatives = [[_parse_condition(tokens)]]
    while operator := tokens.take("or", "|", "and", "&"):
        condition = _parse_condition(tokens)
        if operator.kind in {"or", "|"}:
            alternatives.append([condition])
        else:
            alternatives[-1].append(condition)
    conjunctions = [
        found[0] if len(found) == 1 else And(tuple(found), span=_around(found[0], found[-1]))
        for found in alternatives
    ]
    if len(conjunctions) == 1:
        return conjunctions[0]
    return Or(tuple(conjunctions), span=_around(conjunctions[0], conjunctions[-1]))


def _parse_condition(tokens: Tokenizer) -> Node:
    """Parse a comparison and the `not`s before it.

    condition = { "not" | "~" } comparison
    """
    denials: list[Token] = []
    while denial := tokens.take("not", "~"):
        denials.append(denial)
    with tokens.nested(tokens.token.span, levels=len(denials)):
        node = _parse_comparison(tokens)
    for denial in reversed(denials):
        node = Not(node, span=(denial.start, tokens.end))
    return node


def _parse_comparison(tokens: Tokenizer) -> Node:
    """Parse a sum, and what it is compared with, looked up in, or whether it is missing.

    comparison = sum [ relation { relation } | ["not"] ( "in" list | search ) | "is" ["not"] "missing" ]
    relation = ("==" | "!=" | "<" | "<=" | ">" | ">=") sum
    """
    start = tokens.token.start
    first = _parse_sum(tokens)
    if tokens.take("is"):
        negated = tokens.take("not") is not None
        tokens.expect("missing", expected="'missing'" if negated else "'missing' or 'not missing'")
        return IsMissing(first, negated=negated, span=(start, tokens.end))
    negated = tokens.take("not") is not None
    if word := tokens.take_word(*_SEARCH_WORDS):
        item = _parse_searched(word, tokens)
        search = cast("SearchWord", word.text)
        return Search(first, search, item, negated=negated, span=(start, tokens.end))
    if negated or tokens.check("in"):
        tokens.expect("in", expected="'in', 'contains', 'matches' or 'starts_with'")
        return Membership(first, _parse_list(tokens), negated=negated, span=(start, tokens.end))
    rest: list[tuple[Comparator, Node]] = []
    while operator := tokens.take("==", "!=", "<", "<=", ">", ">="):
        rest.append((cast("Comparator", operator.kind), _parse_sum(tokens)))
    return ComparisonChain(first, tuple(rest), span=(start, tokens.end)) if rest else first


def _parse_searched(word: Token, tokens: Tokenizer) -> Number | Negate | String | Bool:
    """Parse what is searched for.

    search = "contains" item | "matches" STRING | "starts_with" STRING
    """
    quoted = f"write {quote_string(tokens.token.text)}" if tokens.check("name", "quoted name") else ""
    if word.text == "contains":
        return _parse_item(tokens, hint=quoted)
    if not tokens.check("string"):
        raise tokens.unexpected("a string", hint=quoted)
    token = tokens.read()
    if word.text == "matches":
        _check_pattern(token, tokens)
    return String(token.text, span=token.span)


def _check_pattern(token: Token, tokens: Tokenizer) -> None:
    if len(token.text) > MAX_PATTERN:
        message = f"a pattern of {len(token.text)} characters is longer than {MAX_PATTERN}"
        raise tokens.error(message, token.span)
    try:
        TextPattern(token.text)
    except ValueError as exc:
        message = f"{shown(token.text)} {exc}"
        hint = "the syntax is that of RE2: no look-arounds and no back-references"
        raise tokens.error(message, token.span, hint=hint) from None


def _parse_list(tokens: Tokenizer) -> tuple[Number | Negate | String | Bool, ...]:
    """Parse the literals of a list.

    list = "[" [ item { "," item } ] "]"
    """
    if not tokens.check("["):
        name = tokens.source[tokens.token.start : tokens.token.end]
        hint = f"to search in a text or a list, write '{name} contains ...'" if tokens.check("name") else ""
        raise tokens.unexpected("a list in '[' and ']'", hint=hint)
    opened = tokens.read()
    items: list[Number | Negate | String | Bool] = []
    while not tokens.check("]"):
        if items:
            tokens.expect(",", expected="',' or ']'", opened=opened)
        if len(items) == MAX_ITEMS:
            raise tokens.error(f"a list of more than {MAX_ITEMS} items", (opened.start, tokens.end))
        items.append(_parse_item(tokens))
    tokens.read()
    return tuple(items)


def _parse_item(tokens: Tokenizer, *, hint: str = "") -> Number | Negate | String | Bool:
    """Parse one literal of a list, or of what is searched for.

    item = ["-"] NUMBER | STRING | "true" | "false"
    """
    if minus := tokens.take("-"):
        number = tokens.expect("number", expected="a number")
        return Negate(Number(float(number.text), span=number.span), span=(minus.start, number.end))
    if not tokens.check(*_LITERALS):
        raise tokens.unexpected(_ITEM, hint=hint)
    return _literal(tokens.read())


def _literal(token: Token) -> Number | String | Bool:
    if token.kind == "number":
        return Number(float(token.text), span=token.span)
    if token.kind == "string":
        return String(token.text, span=token.span)
    return Bool(token.kind == "true", span=token.span)


def _parse_sum(tokens: Tokenizer) -> Node:
    """Parse arithmetic from left to right, products before sums.

    sum = product { ("+" | "-") product }
    product = factor { ("*" | "/" | "//" | "%") factor }
    """
    first = _parse_factor(tokens)
    factors: list[tuple[ProductOperator, Node]] = []
    terms: list[tuple[SumOperator, Node]] = []
    sign: SumOperator = "+"
    while operator := tokens.take("+", "-", "*", "/", "//", "%"):
        if operator.kind in {"+", "-"}:
            terms.append((sign, _product(first, factors)))
            sign = cast("SumOperator", operator.kind)
            first, factors = _parse_factor(tokens), []
        else:
            factors.append((cast("ProductOperator", operator.kind), _parse_factor(tokens)))
    terms.append((sign, _product(first, factors)))
    head = terms[0][1]
    return Sum(head, tuple(terms[1:]), span=_around(head, terms[-1][1])) if len(terms) > 1 else head


def _product(first: Node, rest: list[tuple[ProductOperator, Node]]) -> Node:
    return Product(first, tuple(rest), span=_around(first, rest[-1][1])) if rest else first


def _parse_factor(tokens: Tokenizer) -> Node:
    """Parse a power and the signs before it: `-2 ** 2` is `-(2 ** 2)`; `2 ** -1` needs no parentheses.

    factor = { "-" } power
    power = atom [ "**" factor ]
    """
    signs: list[Token] = []
    while sign := tokens.take("-"):
        signs.append(sign)
    with tokens.nested(tokens.token.span, levels=len(signs)):
        node = _parse_atom(tokens)
        if tokens.take("**"):
            with tokens.nested(tokens.token.span):
                exponent = _parse_factor(tokens)
            node = Power(node, exponent, span=_around(node, exponent))
    for sign in reversed(signs):
        node = Negate(node, span=(sign.start, tokens.end))
    return node


def _parse_atom(tokens: Tokenizer) -> Node:
    """Parse a literal, a name, a call, or an expression in parentheses.

    atom = NUMBER | STRING | "true" | "false" | "null" | NAME | QUOTED_NAME
         | NAME arguments | "(" expression ")"
    """
    if not tokens.check(*_LITERALS, "null", "name", "quoted name", "("):
        raise tokens.unexpected(_OPERAND)
    token = tokens.read()
    match token.kind:
        case "null":
            return Null(span=token.span)
        case "name" if tokens.check("("):
            return Call(token.text, _parse_arguments(tokens), span=(token.start, tokens.end))
        case "name" | "quoted name":
            return Name(token.text, quoted=token.kind == "quoted name", span=token.span)
        case "(":
            with tokens.nested(token.span):
                node = _parse_expression(tokens)
            tokens.expect(")", expected="an operator or ')'", opened=token)
            return replace(node, span=(token.start, tokens.end))
        case _:
            return _literal(token)


def _parse_arguments(tokens: Tokenizer) -> tuple[Node, ...]:
    """Parse the arguments of a call.

    arguments = "(" [ expression { "," expression } ] ")"
    """
    opened = tokens.read()
    arguments: list[Node] = []
    with tokens.nested(opened.span):
        while not tokens.check(")"):
            if arguments:
                tokens.expect(",", expected="an operator, ',' or ')'", opened=opened)
            if len(arguments) == MAX_ITEMS:
                raise tokens.error(f"a call with more than {MAX_ITEMS} arguments", (opened.start, tokens.end))
            arguments.append(_parse_expression(tokens))
    tokens.read()
    return tuple(arguments)


def _around(first: Node, last: Node) -> Span:
    return first.span[0], last.span[1]
