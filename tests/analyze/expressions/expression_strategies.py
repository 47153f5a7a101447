"""Trees, texts and frames for the laws of expressions, nasty ones first."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from pull_logs.analyze.expressions.functions import FUNCTIONS
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
from pull_logs.analyze.expressions.tokenizer import KEYWORDS, is_bare_name
from pull_logs.frames.vector import JoinedTexts, Mask, Vector, bools, missing, numbers

NASTY_NAMES = [
    "loss",
    "_step",
    "train/loss",
    "a.b:c/d_1",
    "été/λ",
    "",
    "a b",
    "a/",
    "//",
    "1a",
    "a`b",
    "``",
    "grad-norm",
    "line\nbreak",
    "²",
    "a'\"\\",
    *sorted(KEYWORDS),
]
NASTY_FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    3.0,
    -2.5,
    1e308,
    -1e308,
    5e-324,
    math.nan,
    math.inf,
    -math.inf,
]
COMPARATORS = ["==", "!=", "<", "<=", ">", ">="]
PRODUCT_OPERATORS = ["*", "/", "//", "%"]

names = st.one_of(st.sampled_from(NASTY_NAMES), st.text(max_size=6)).flatmap(
    lambda text: st.builds(Name, st.just(text), quoted=st.booleans() if is_bare_name(text) else st.just(True))
)
written_numbers = st.builds(
    Number,
    st.one_of(
        st.integers(0, 10).map(float),
        st.floats(min_value=0, allow_nan=False, allow_infinity=False),
    ),
)
strings = st.builds(String, st.one_of(st.sampled_from(["", "a'b\"c\\", "\n\x00\u2028"]), st.text(max_size=6)))
truths = st.builds(Bool, st.booleans())
items = st.one_of(written_numbers, st.builds(Negate, written_numbers), strings, truths)
leaves: st.SearchStrategy[Node] = st.one_of(written_numbers, strings, truths, st.just(Null()), names)


def _chained(
    operators: list[str], nodes: st.SearchStrategy[Node]
) -> st.SearchStrategy[tuple[tuple[str, Node], ...]]:
    return st.lists(st.tuples(st.sampled_from(operators), nodes), min_size=1, max_size=3).map(tuple)


def _tuples(
    nodes: st.SearchStrategy[Node], *, least: int, most: int = 3
) -> st.SearchStrategy[tuple[Node, ...]]:
    return st.lists(nodes, min_size=least, max_size=most).map(tuple)


def _searches(nodes: st.SearchStrategy[Node], wanted: st.SearchStrategy[Any]) -> st.SearchStrategy[Node]:
    patterns = st.sampled_from(["", "a", "^a", "b$", "^(a|b)+$", "[^a]", "(?i)B"]).map(String)
    return st.one_of(
        st.builds(Search, nodes, st.just("contains"), wanted, negated=st.booleans()),
        st.builds(Search, nodes, st.just("starts_with"), strings, negated=st.booleans()),
        st.builds(Search, nodes, st.just("matches"), patterns, negated=st.booleans()),
    )


def _grown(nodes: st.SearchStrategy[Node], functions: st.SearchStrategy[str]) -> st.SearchStrategy[Node]:
    lists = st.lists(items, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Call, functions, _tuples(nodes, least=0)),
        st.builds(Power, nodes, nodes),
        st.builds(Negate, nodes),
        st.builds(Product, nodes, _chained(PRODUCT_OPERATORS, nodes)),
        st.builds(Sum, nodes, _chained(["+", "-"], nodes)),
        st.builds(ComparisonChain, nodes, _chained(COMPARATORS, nodes)),
        st.builds(Membership, nodes, lists, negated=st.booleans()),
        _searches(nodes, items),
        st.builds(IsMissing, nodes, negated=st.booleans()),
        st.builds(Not, nodes),
        st.builds(And, _tuples(nodes, least=2)),
        st.builds(Or, _tuples(nodes, least=2)),
    )


trees: st.SearchStrategy[Node] = st.recursive(
    leaves,
    lambda nodes: _grown(nodes, st.sampled_from(["abs", "f", "no/such.function", "ema"])),
    max_leaves=25,
)
"""Trees that the grammar allows, whatever they would mean."""

_PIECES = [
    *sorted(KEYWORDS),
    *["(", ")", "[", "]", ",", "+", "-", "*", "/", "//", "%", "**", "|", "&", "~"],
    *[*COMPARATORS, "=", "!", "&&", "^", "$", "`", "'", '"', "\\", "\n", "\x00", "é", "\u0301", "٣"],
    *["loss", "train/loss", "a/", "`a b`", "``", "'x'", '"\\u00e9"', '"\\x"', "1", "2.5", "1e999", ".", "1a"],
    *["abs(", "ema(", "in [", "not in [1]", "is not missing", "is missing"],
    *["contains", "not contains 1", "matches", 'matches "(a"', "starts_with 'a'", "=~", "startswith"],
]
texts: st.SearchStrategy[str] = st.one_of(
    st.tuples(st.lists(st.sampled_from(_PIECES), max_size=20), st.sampled_from(["", " "])).map(
        lambda found: found[1].join(found[0])
    ),
    st.text(max_size=30),
    trees.map(str).flatmap(
        lambda text: st.builds(
            lambda cut, piece: text[:cut] + piece + text[cut:],
            st.integers(0, len(text)),
            st.sampled_from(_PIECES),
        )
    ),
)
"""Any text: a soup of tokens, plain noise, and expressions with something dropped into them."""

COLUMNS = ("_step", "x", "y", "flag", "kind", "tags", "lists", "mixed", "image", "empty")
"""The columns of a frame; `gone` is known, but the frame does not have it."""

floats = st.one_of(st.sampled_from(NASTY_FLOATS), st.integers(-3, 3).map(float), st.floats())
texts_of_cells = st.sampled_from(["", "a", "b", "é", "ab"])
joined_texts = st.lists(texts_of_cells, max_size=3).map(JoinedTexts)
lists_of_cells = st.lists(
    st.one_of(texts_of_cells, st.sampled_from([0, 1, 0.5, True, None, math.nan, [1], {"a": 1}])), max_size=3
)
anything = st.one_of(
    *[floats, st.booleans(), texts_of_cells, joined_texts, lists_of_cells],
    *[st.just({"_type": "histogram"}), st.just(2**70)],
)


def _objects(cells: list[object]) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    array = np.empty(len(cells), np.object_)
    for row, cell in enumerate(cells):
        array[row] = cell
    return array


@st.composite
def frames(draw: st.DrawFn) -> tuple[dict[str, Vector], int]:
    """A frame with a column of every kind; what stands in missing cells is anything the dtype allows."""
    length = draw(st.integers(0, 6))

    def cells(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=length, max_size=length))

    def mask() -> Mask:
        return np.array(cells(st.sampled_from([True, True, False])), np.bool_)

    gaps = cells(st.integers(1, 4))
    return {
        "_step": numbers(np.cumsum(np.array(gaps, np.int64))),
        "x": numbers(np.array(cells(floats), np.float64), mask()),
        "y": numbers(np.array(cells(st.integers(-4, 4)), np.int64), mask()),
        "flag": bools(cells(st.booleans()), mask()),
        "kind": Vector("string", _objects(cells(texts_of_cells)), mask()),
        "tags": Vector("string", _objects(cells(joined_texts)), mask()),
        "lists": Vector("other", _objects(cells(lists_of_cells)), mask()),
        "mixed": Vector("mixed", _objects(cells(anything)), mask()),
        "image": Vector("other", _objects(cells(st.just({"_type": "image-file"}))), mask()),
        "empty": missing(length),
    }, length


def _call(function: str, *arguments: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.builds(Call, st.just(function), st.tuples(*arguments))


def _named(*columns: str) -> st.SearchStrategy[Node]:
    return st.sampled_from(columns).map(Name)


def _numeric(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    counts = st.integers(1, 3).map(lambda count: Number(float(count)))
    simple = [
        "abs",
        "log",
        "log10",
        "exp",
        "sqrt",
        "round",
        "diff",
        "cumsum",
        "cummin",
        "cummax",
        "first",
        "last",
    ]
    return st.one_of(
        st.builds(Power, nodes, nodes),
        st.builds(Negate, nodes),
        st.builds(Product, nodes, _chained(PRODUCT_OPERATORS, nodes)),
        st.builds(Sum, nodes, _chained(["+", "-"], nodes)),
        st.sampled_from(simple).flatmap(lambda function: _call(function, nodes)),
        st.sampled_from(["min", "max"]).flatmap(lambda function: _call(function, nodes, nodes)),
        _call("round", nodes, counts),
        _call("lag", nodes, counts),
        _call("lag", nodes),
        _call("count", nodes),
        _call("at", nodes, st.integers(0, 15).map(lambda step: Number(step / 2))),
    )


small_numbers = st.sampled_from([0.0, 1.0, 2.0, 3.0, 0.5, 1e308]).map(Number)
numeric_trees = st.recursive(
    st.one_of(_named("x", "y", "mixed", "empty", "gone"), small_numbers, st.just(Null())),
    _numeric,
    max_leaves=8,
)


def _conditional(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.one_of(
        st.builds(Not, nodes),
        st.builds(And, _tuples(nodes, least=2)),
        st.builds(Or, _tuples(nodes, least=2)),
        st.builds(IsMissing, nodes, negated=st.booleans()),
        st.builds(ComparisonChain, nodes, _chained(["==", "!="], nodes)),
        _call("lag", nodes),
        st.sampled_from(["first_step", "last_step"]).flatmap(
            lambda function: st.builds(
                ComparisonChain, _call(function, nodes), _chained(COMPARATORS, small_numbers)
            )
        ),
    )


_listed_items = st.one_of(
    small_numbers, st.builds(Negate, small_numbers), st.builds(String, texts_of_cells), truths
)
_listed = st.lists(_listed_items, max_size=4).map(tuple)
condition_trees = st.recursive(
    st.one_of(
        st.builds(ComparisonChain, numeric_trees, _chained(COMPARATORS, numeric_trees)),
        st.builds(
            ComparisonChain,
            _named("kind", "mixed", "empty"),
            _chained(COMPARATORS, st.one_of(_named("kind", "mixed"), st.builds(String, texts_of_cells))),
        ),
        st.builds(
            Membership, st.one_of(numeric_trees, _named("kind", "mixed")), _listed, negated=st.booleans()
        ),
        st.builds(IsMissing, st.one_of(numeric_trees, _named("image", "kind")), negated=st.booleans()),
        _searches(_named("kind", "tags", "lists", "mixed", "empty"), st.builds(String, texts_of_cells)),
        _searches(_named("lists", "mixed"), _listed_items),
        st.sampled_from(["isnan", "isfinite"]).flatmap(lambda function: _call(function, numeric_trees)),
        _named("flag", "mixed", "empty", "gone"),
        truths,
    ),
    _conditional,
    max_leaves=6,
)
any_trees: st.SearchStrategy[Node] = st.recursive(
    st.one_of(
        _named(*COLUMNS, "gone"), small_numbers, st.builds(String, texts_of_cells), truths, st.just(Null())
    ),
    lambda nodes: st.one_of(
        _numeric(nodes),
        _conditional(nodes),
        st.builds(ComparisonChain, nodes, _chained(COMPARATORS, nodes)),
        st.builds(Membership, nodes, _listed, negated=st.booleans()),
        _searches(nodes, _listed_items),
        st.sampled_from(["first_step", "last_step"]).flatmap(lambda function: _call(function, nodes)),
    ),
    max_leaves=6,
)
"""Trees over the columns of a frame that mostly do not fit the kinds of the columns."""

wild_trees: st.SearchStrategy[Node] = st.recursive(
    st.one_of(
        _named(*COLUMNS, "gone"), written_numbers, st.builds(String, texts_of_cells), truths, st.just(Null())
    ),
    lambda nodes: _grown(nodes, st.sampled_from(sorted(FUNCTIONS))),
    max_leaves=8,
)
"""Trees over the columns with any function of any number of arguments."""
