"""Rows for the laws: a hypothesis strategy of the nastiest that can be logged, and how rows are compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import strategies as st

from pull_logs.rows.canonical import canon_row, same
from pull_logs.rows.merge import Fragment, Lane, merge_rows

KEYS = [
    "loss",
    "Loss",
    "train/loss",
    "train.loss",
    "train",
    "a b:c`d\"e'f",
    "",
    ".",
    "list.element",
    "nul\x00key",
    "new\nline",
    "\u00e9",
    "e\u0301",
    "\ud800",
    "\udfff",
    "\U0001f600",
    "_timestamp",
    "_runtime",
    "_wpl_rest",
    "k" * 300,
]
"""Keys equal but for case or normal form, with punctuation, lone surrogates, reserved names, none at all."""

numbers = st.one_of(
    st.integers(-5, 5),
    st.integers(2**53 - 2, 2**53 + 2),
    st.integers(2**62, 2**63 + 2),
    st.integers(2**64 - 2, 2**80),
    st.integers(-(2**63) - 2, -(2**63) + 2),
    st.floats(width=32),
    st.floats(),
    st.floats(-10, 10).map(lambda value: round(value, 4)),
    st.sampled_from([-0.0, 0.0, 1.0, math.nan, math.inf, -math.inf, 2.0**53, 2.0**63, -(2.0**63), 1e300]),
)
texts = st.one_of(
    st.sampled_from(
        ["", "NaN", "Infinity", "-Infinity", "nan", "null", "\u00e9", "e\u0301", "\ud83d", "1.5"]
    ),
    st.text(st.characters(exclude_categories=()), max_size=6),
)
histograms = st.fixed_dictionaries(
    {
        "_type": st.just("histogram"),
        "values": st.lists(st.integers(0, 9), max_size=4),
        "bins": st.lists(st.floats(allow_nan=False, width=32), max_size=4),
    }
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.one_of(
    scalars,
    numbers,
    histograms,
    st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.one_of(st.sampled_from(["_type", "a", "b.c", ""]), texts), inner, max_size=3),
        ),
        max_leaves=6,
    ),
)
"""What a cell may be, one kind after another in the same column."""

calm_values = st.one_of(st.floats(-10, 10), st.integers(0, 9))
steps = st.one_of(st.integers(0, 12), st.integers(0, 12).map(float), st.integers(-(2**63), 2**63 - 1))


def row_strategy(cells: st.SearchStrategy[Any] = values) -> st.SearchStrategy[dict[str, Any]]:
    """One raw row: few keys out of `KEYS`, a step that may repeat."""
    return st.builds(
        lambda step, members: {**members, "_step": step},
        steps,
        st.dictionaries(st.sampled_from(KEYS), cells, max_size=6),
    )


nasty_rows = st.lists(row_strategy(), max_size=12)


@st.composite
def square_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Raw rows that all have the same keys, each in an order of its own, as nearly every page has."""
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=4))
    kind = draw(st.sampled_from([values, scalars, numbers, calm_values]))
    columns = dict.fromkeys(keys, kind) | {"_step": steps}
    row = st.permutations(list(columns)).flatmap(
        lambda names: st.fixed_dictionaries({name: columns[name] for name in names})
    )
    return draw(st.lists(row, max_size=8))


"""No row, one row, rows of one step, mixed kinds."""

calm_rows = st.lists(row_strategy(calm_values), max_size=12)
"""Rows of plain numbers, as most are."""


def canonical(rows: Iterable[Mapping[str, Any]], lane: Lane = Lane.LIVE) -> list[dict[str, Any]]:
    """What a history of these raw rows is: one canonical row a step, in step order."""
    return merge_rows([Fragment(lane, canon_row(row)) for row in rows])


def same_rows(left: Iterable[Mapping[str, Any]], right: Iterable[Mapping[str, Any]]) -> bool:
    """Whether two lists of canonical rows are the same, kinds compared."""
    return same([dict(row) for row in left], [dict(row) for row in right])
