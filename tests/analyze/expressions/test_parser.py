"""Situations of the grammar: precedence, spelling, and what is said about text that is none."""

from __future__ import annotations

import inspect
import sys

import pytest

from pull_logs.analyze.expressions.nodes import (
    And,
    Bool,
    Call,
    ComparisonChain,
    IsMissing,
    Membership,
    Name,
    Negate,
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
from pull_logs.analyze.expressions.parser import MAX_ITEMS, parse
from pull_logs.analyze.expressions.tokenizer import MAX_DEPTH, MAX_LENGTH
from pull_logs.errors import ExpressionError, UsageError

A, B, C = Name("a"), Name("b"), Name("c")
ONE, TWO = Number(1.0), Number(2.0)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a or b and c", Or((A, And((B, C))))),
        ("a | b & c", Or((A, And((B, C))))),
        ("a and b or c", Or((And((A, B)), C))),
        ("not a and b", And((Not(A), B))),
        ("~a & b", And((Not(A), B))),
        ("not a == b", Not(ComparisonChain(A, (("==", B),)))),
        ("~ a == b", Not(ComparisonChain(A, (("==", B),)))),
        ("a & b > 1", And((A, ComparisonChain(B, ((">", ONE),))))),
        ("1 < a + b <= 2", ComparisonChain(ONE, (("<", Sum(A, (("+", B),))), ("<=", TWO)))),
        ("a - b - c", Sum(A, (("-", B), ("-", C)))),
        ("a - (b - c)", Sum(A, (("-", Sum(B, (("-", C),))),))),
        ("a + b * c", Sum(A, (("+", Product(B, (("*", C),))),))),
        ("a * b // c % 2 / 1", Product(A, (("*", B), ("//", C), ("%", TWO), ("/", ONE)))),
        ("-2 ** 2", Negate(Power(TWO, TWO))),
        ("(-2) ** 2", Power(Negate(TWO), TWO)),
        ("2 ** -1", Power(TWO, Negate(ONE))),
        ("a ** b ** c", Power(A, Power(B, C))),
        ("(a ** b) ** c", Power(Power(A, B), C)),
        ("--a", Negate(Negate(A))),
        ("a - -b", Sum(A, (("-", Negate(B)),))),
        ("-a * b", Product(Negate(A), (("*", B),))),
        ("a in [1, -2, 'x', true]", Membership(A, (ONE, Negate(TWO), String("x"), Bool(value=True)))),
        ("a not in []", Membership(A, (), negated=True)),
        ("a + b is not missing", IsMissing(Sum(A, (("+", B),)), negated=True)),
        ("a is missing or b", Or((IsMissing(A), B))),
        ("ema(a, 1) + f()", Sum(Call("ema", (A, ONE)), (("+", Call("f", ())),))),
        ("a == null", ComparisonChain(A, (("==", Null()),))),
        (" \n\ta\u00a0", A),
    ],
)
def test_text_is_read_with_the_precedence_of_the_grammar(text: str, tree: object) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("train/loss - val/loss", Sum(Name("train/loss"), (("-", Name("val/loss")),))),
        ("train / loss", Product(Name("train"), (("/", Name("loss")),))),
        ("loss/2", Name("loss/2")),
        ("loss//2", Name("loss//2")),
        ("2/loss", Product(TWO, (("/", Name("loss")),))),
        ("a/(b)", Product(A, (("/", B),))),
        ("a//-b", Product(A, (("//", Negate(B)),))),
        ("a /b", Product(A, (("/", B),))),
        ("_a.b:c/d.1", Name("_a.b:c/d.1")),
        ("été/λ2", Name("été/λ2")),
        ("`a b`", Name("a b", quoted=True)),
        ("`a``b`", Name("a`b", quoted=True)),
        ("``", Name("", quoted=True)),
        ("`missing` is missing", IsMissing(Name("missing", quoted=True))),
        ("AND", Name("AND")),
        ("not/a", Name("not/a")),
    ],
)
def test_a_slash_without_spaces_belongs_to_the_name(text: str, tree: object) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("007", 7.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.5E-3", 0.0015),
        ("1e+300", 1e300),
        ("9007199254740993", 2.0**53),
        ("0e-999", 0.0),
        ("5e-324", 5e-324),
    ],
)
def test_a_number_is_the_nearest_float64(text: str, value: float) -> None:
    assert parse(text) == Number(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a\'b"', "a'b"),
        ("'a\"b'", 'a"b'),
        (r'"\"\\\/\b\f\n\r\t\u00e9"', '"\\/\b\f\n\r\té'),
        (r"'\''", "'"),
        ("'two\nlines'", "two\nlines"),
    ],
)
def test_a_string_is_in_either_quotes_with_the_escapes_of_json(text: str, value: str) -> None:
    assert parse(text) == String(value)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("((a))", "a"),
        ("(a or b) and (c)", "(a or b) and c"),
        ("a|(b&~c)", "a or b and not c"),
        ("(a < b) == true", "(a < b) == true"),
        ("-(2**2)", "-2 ** 2"),
        ("a*(b*c)", "a * (b * c)"),
        ("(a*b)*c", "(a * b) * c"),
        ("a**(b**c)", "a ** b ** c"),
        ("(-a)**b", "(-a) ** b"),
        ("2**(-1)", "2 ** -1"),
        ("a**(-(b**c))", "a ** -b ** c"),
        ("1e16+1e15+1e-7+0.10", "1e+16 + 1000000000000000 + 1e-07 + 0.1"),
        ("'x'", '"x"'),
        ("`a`", "`a`"),
        ("a  in[ 1,2 ]", "a in [1, 2]"),
        ("not (not a)", "not not a"),
        ("(a is missing) is missing", "(a is missing) is missing"),
    ],
)
def test_canonical_text_has_no_parentheses_to_spare(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a number, a name, a string or '(', found the end\n    \n    ^"),
        ("loss >", "expected a number, a name, a string or '(', found the end\n    loss >\n          ^"),
        ("a/", "expected a number, a name, a string or '(', found the end\n    a/\n      ^"),
        ("1 + + 2", "expected a number, a name, a string or '(', found '+'\n    1 + + 2\n        ^"),
        (
            "a and or b",
            "expected a number, a name, a string or '(', found 'or'\n    a and or b\n          ~^",
        ),
        ("loss acc", "expected an operator or the end, found 'acc'\n    loss acc\n         ~~^"),
        (
            "a is missing == b",
            "expected an operator or the end, found '=='\n    a is missing == b\n                 ~^",
        ),
        ("a + b)", "expected an operator or the end, found ')'\n    a + b)\n         ^"),
        ("(a + b", "expected an operator or ')', found the end\n    (a + b\n    ~~~~~^"),
        ("(a, b)", "expected an operator or ')', found ','\n    (a, b)\n    ~~^"),
        ("ema(a 1)", "expected an operator, ',' or ')', found '1'\n    ema(a 1)\n       ~~~^"),
        ("ema(a,)", "expected a number, a name, a string or '(', found ')'\n    ema(a,)\n          ^"),
        (
            "a in b",
            (
                "expected a list in '[' and ']', found 'b'; "
                "to search in a text or a list, write 'b contains ...'\n    a in b\n         ^"
            ),
        ),
        (
            "tags contains baseline",
            (
                "expected a number, a string, true or false, found 'baseline'; write \"baseline\"\n"
                "    tags contains baseline\n                  ~~~~~~~^"
            ),
        ),
        ("name matches 1", "expected a string, found '1'\n    name matches 1\n                 ^"),
        (
            'name matches "(a"',
            (
                "'(a' is not a valid regular expression (RE2): missing ): (a; the syntax is that of RE2: no"
                ' look-arounds and no back-references\n    name matches "(a"\n                 ~~~^'
            ),
        ),
        (
            "name startswith 'a'",
            (
                "expected an operator or the end, found 'startswith'; write 'starts_with'\n"
                "    name startswith 'a'\n         ~~~~~~~~~^"
            ),
        ),
        ("name =~ 'a'", "unexpected '=~'; write 'matches'\n    name =~ 'a'\n         ~^"),
        (
            "a not b",
            "expected 'in', 'contains', 'matches' or 'starts_with', found 'b'\n    a not b\n          ^",
        ),
        ("a in [1 2]", "expected ',' or ']', found '2'\n    a in [1 2]\n         ~~~^"),
        ("a in [b]", "expected a number, a string, true or false, found 'b'\n    a in [b]\n          ^"),
        ("a in [-true]", "expected a number, found 'true'\n    a in [-true]\n           ~~~^"),
        ("a is b", "expected 'missing' or 'not missing', found 'b'\n    a is b\n         ^"),
        ("a is not b", "expected 'missing', found 'b'\n    a is not b\n             ^"),
        ("a = 1", "unexpected '='; write '==' to compare\n    a = 1\n      ^"),
        ("a && b", "unexpected '&&'; write 'and'\n    a && b\n      ~^"),
        ("a || b", "unexpected '||'; write 'or'\n    a || b\n      ~^"),
        ("!a", "unexpected '!'; write 'not'\n    !a\n    ^"),
        ("a <> b", "unexpected '<>'; write '!='\n    a <> b\n      ~^"),
        ("a ^ 2", "unexpected '^'; write '**' for a power\n    a ^ 2\n      ^"),
        ("loss@1", "unexpected '@'; a name with other characters goes in backticks\n    loss@1\n        ^"),
        ("a \x00", "unexpected '\\x00'; a name with other characters goes in backticks\n    a  \n      ^"),
        ("²", "unexpected '²'; a name with other characters goes in backticks\n    ²\n    ^"),
        (
            "2loss",
            "'2loss' is neither a number nor a name; a name that starts with a digit goes in backticks\n    2loss\n    ~~~~^",  # noqa: E501
        ),
        (
            "1_000",
            "'1_000' is neither a number nor a name; a name that starts with a digit goes in backticks\n    1_000\n    ~~~~^",  # noqa: E501
        ),
        ("a < 1e999", "a number too large for a float64\n    a < 1e999\n        ~~~~^"),
        ("a > 1e-999", "a number too small for a float64\n    a > 1e-999\n        ~~~~~^"),
        ("a == 'x", "a string that does not end\n    a == 'x\n         ~^"),
        ("`a", "a name that does not end\n    `a\n    ~^"),
        (
            r"a == '\x'",
            "'\\x' is not a valid escape; the escapes are \\\\ \\\" \\' \\/ \\b \\f \\n \\r \\t \\uXXXX\n    a == '\\x'\n          ~^",  # noqa: E501
        ),
        (
            "損失 + 語 @",
            "unexpected '@'; a name with other characters goes in backticks\n    損失 + 語 @\n              ^",  # noqa: E501
        ),
    ],
)
def test_a_syntax_error_says_what_was_expected_and_points_at_the_fault(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == message
    assert isinstance(caught.value, UsageError)
    assert caught.value.exit_code == 2


def test_a_fault_in_a_long_expression_is_shown_with_what_is_around_it() -> None:
    text = "loss + " * 40 + "@" + " + loss" * 40
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    shown, marker = str(caught.value).splitlines()[1:]
    assert shown == "    ..." + text[220:380] + "..."
    assert marker == "    " + " " * 63 + "^"
    assert shown[len(marker) - 1] == "@"


def test_a_long_name_is_cut_in_the_message() -> None:
    with pytest.raises(ExpressionError, match=f"^expected an operator or the end, found '{'b' * 80}...'"):
        parse("a " + "b" * 500)


@pytest.mark.parametrize("opening", ["(", "abs(", "-", "not ", "a ** ", "(-", "min(a, ("])
def test_nesting_is_bounded_however_it_is_made(opening: str) -> None:
    with pytest.raises(ExpressionError, match=f"^nested deeper than {MAX_DEPTH} levels"):
        parse(opening * (MAX_DEPTH + 1))


def test_nesting_up_to_the_bound_is_read() -> None:
    assert parse("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH) == A


def test_a_tree_is_bounded_in_depth_even_where_its_parentheses_are_not() -> None:
    text = "a or b and 1 < c + 2 * (" * 30 + "a" + ")" * 30
    with pytest.raises(ExpressionError, match=f"^nested deeper than {MAX_DEPTH} levels") as caught:
        parse(text)
    start, end = caught.value.span
    assert 0 < start < end <= len(text)


def test_a_chain_of_one_precedence_is_flat_however_long_it_is() -> None:
    tree = parse(" or ".join(["a"] * 1500))
    assert len(operands(tree)) == 1500
    assert parse(" + ".join(["a"] * 2500)) == Sum(A, (("+", A),) * 2499)


def test_length_is_bounded() -> None:
    parse("a" * MAX_LENGTH)
    with pytest.raises(ExpressionError) as caught:
        parse("a" * (MAX_LENGTH + 1))
    assert caught.value.message == "an expression of 10001 characters is longer than 10000"
    assert caught.value.span == (10000, 10001)


@pytest.mark.parametrize(("opening", "what"), [("a in [", "a list of"), ("min(", "a call with")])
def test_lists_and_calls_are_bounded(opening: str, what: str) -> None:
    with pytest.raises(ExpressionError, match=f"^{what} more than {MAX_ITEMS} "):
        parse(opening + ",".join(["1"] * (MAX_ITEMS + 1)))


def test_a_caller_near_the_end_of_the_stack_gets_an_expression_error() -> None:
    def below(levels: int) -> None:
        if levels:
            below(levels - 1)
        else:
            parse("(" * 90 + "a" + ")" * 90)

    depth = len(inspect.stack(0))
    with pytest.raises(ExpressionError, match="nested too deep for what is left of the stack"):
        below(sys.getrecursionlimit() - depth - 100)


def test_spans_cover_what_was_written_parentheses_included() -> None:
    text = "(a + b) * c"
    tree = parse(text)
    assert isinstance(tree, Product)
    assert tree.span == (0, 11)
    assert text[slice(*tree.first.span)] == "(a + b)"
    assert text[slice(*operands(tree.first)[1].span)] == "b"


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_number_that_cannot_be_written_is_no_node(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be written as a number"):
        Number(value)


@pytest.mark.parametrize("text", ["", "a b", "a/", "1a", "not", "²"])
def test_a_name_that_needs_backticks_is_no_bare_one(text: str) -> None:
    with pytest.raises(ValueError, match="needs backticks"):
        Name(text)


def test_a_pattern_is_refused_where_it_is_long_and_the_words_of_a_search_are_names_elsewhere() -> None:
    with pytest.raises(ExpressionError, match="a pattern of 1001 characters is longer than 1000"):
        parse(f"name matches '{'a' * 1001}'")
    assert parse("matches matches 'a'") == Search(Name("matches"), "matches", String("a"))
    assert parse("contains not contains -1") == Search(
        Name("contains"), "contains", Negate(Number(1.0)), negated=True
    )
    assert str(parse('not (tags  starts_with "v")')) == 'not tags starts_with "v"'
