"""The facts about the columns of a history do not depend on its batches, and equal a naive computation."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fakeruns import FakeRun
from hypothesis import given
from hypothesis import strategies as st
from rowkit import canonical, nasty_rows

from pull_logs.frames.column import Column
from pull_logs.frames.facts_builder import MAX_INTERVALS, FactsBuilder
from pull_logs.frames.frame import Frame
from pull_logs.frames.metric_facts import MetricFacts, column_facts
from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.canonical import spell

cuts = st.lists(st.floats(0, 1, exclude_max=True), max_size=4)


def built(table: pa.Table, shares: list[float]) -> tuple[MetricFacts, ...]:
    """The facts about a table that is divided at these shares of its rows."""
    builder = FactsBuilder()
    edges = [0, *sorted(int(share * table.num_rows) for share in shares), table.num_rows]
    for start, end in pairwise(edges):
        builder.add(table.slice(start, end - start))
    return builder.facts()


def plain(facts: MetricFacts) -> dict[str, Any]:
    """Facts that can be compared: NaN equals NaN, and 1 is not 1.0 nor true."""
    return {name: (type(value), spell(value)) for name, value in facts._asdict().items()}


@given(nasty_rows, cuts)
def test_facts_are_those_of_the_complete_columns_however_rows_are_divided(
    rows: list[dict[str, Any]], shares: list[float]
) -> None:
    history = canonical(rows)
    frame = Frame(FakeRun(history))
    expected = [column_facts(name, frame.column(name), frame.steps) for name in frame.names]
    found = built(batch_from_rows(history), shares)
    assert [facts.name for facts in found] == list(frame.names)
    assert list(map(plain, found)) == list(map(plain, expected))


def is_number(cell: Any) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


@given(nasty_rows)
def test_facts_equal_a_naive_computation(rows: list[dict[str, Any]]) -> None:
    history = canonical(rows)
    frame = Frame(FakeRun(history))
    steps = frame.steps.tolist()
    for facts in built(batch_from_rows(history), []):
        cells = frame.column(facts.name).cells(np.arange(frame.length))
        there = [(step, cell) for step, cell in zip(steps, cells, strict=True) if cell is not None]
        numbers = [(step, cell) for step, cell in there if is_number(cell)]
        finite = [(step, cell) for step, cell in numbers if -math.inf < cell < math.inf and is_double(cell)]
        gaps = [after - before for (before, _), (after, _) in pairwise(there)]
        assert (facts.cells, facts.numbers) == (len(there), len(numbers))
        assert facts.nonfinite == len(numbers) - len(finite)
        assert (facts.first_step, facts.last_step) == ((there[0][0], there[-1][0]) if there else (None, None))
        assert facts.last_number_step == (numbers[-1][0] if numbers else None)
        assert spell(facts.last_number) == spell(numbers[-1][1] if numbers else None)
        assert facts.last_finite == (finite[-1][1] if finite else None)
        low = min(finite, key=lambda pair: pair[1], default=(None, None))
        high = max(finite, key=lambda pair: pair[1], default=(None, None))
        assert (facts.min_step, facts.min) == low
        assert (facts.max_step, facts.max) == high
        assert facts.interval == (pytest.approx(statistics.median(gaps)) if gaps else None)


def is_double(number: float) -> bool:
    """Whether a number is within the range of doubles."""
    try:
        return math.isfinite(float(number))
    except OverflowError:
        return False


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([1, 2.0, 3], "int"),
        ([1, 2.5], "number"),
        ([True, False], "bool"),
        (["a", "b"], "string"),
        (["a", 1, 2], "mixed"),
        ([[1], [2]], "list"),
        ([{"_type": "histogram", "bins": []}] * 2, "histogram"),
        ([{"_type": "histogram", "bins": []}, {"_type": "image-file"}], "mixed"),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_type_is_that_of_all_cells(cells: list[Any], expected: str, share: float) -> None:
    rows = [{"_step": step, "x": cell} for step, cell in enumerate(cells)]
    (_, facts) = built(batch_from_rows(rows), [share])
    assert (facts.name, facts.type) == ("x", expected)


def test_integers_next_to_one_double_are_ordered_exactly() -> None:
    least = 2**53
    rows = [{"_step": step, "x": cell} for step, cell in enumerate([least + 1, least, least + 1, 0.5, least])]
    (_, facts) = built(batch_from_rows(rows[:3]), [0.4])
    assert (facts.min, facts.min_step, facts.max, facts.max_step) == (least, 1, least + 1, 0)


def test_a_long_text_is_not_kept_and_a_short_one_is() -> None:
    rows = [{"_step": 0, "x": "y" * 201}, {"_step": 1, "x": "y" * 200}]
    (_, facts) = built(batch_from_rows(rows), [])
    assert (facts.first, facts.last) == (None, "y" * 200)


@pytest.mark.parametrize("shares", [[], [0.3, 0.6]])
@pytest.mark.parametrize("extra", [0, 1])
def test_the_interval_is_unknown_with_too_many_distances(shares: list[float], extra: int) -> None:
    steps = np.concatenate([[0], np.cumsum(np.arange(1, MAX_INTERVALS + 1 + extra))])
    table = pa.table({"_step": pa.array(steps, pa.int64())})
    (facts,) = built(table, shares)
    assert (facts.interval is None) is (extra > 0)


def test_a_column_of_a_frame_has_the_same_facts() -> None:
    column = Column.from_cells([None, 1, math.nan, 3, None])
    facts = column_facts("x", column, np.arange(5) * 10)
    assert plain(facts) == plain(
        MetricFacts(
            name="x",
            type="number",
            cells=3,
            numbers=3,
            nonfinite=1,
            first_step=10,
            last_step=30,
            interval=10,
            first=1,
            last=3,
            last_number=3,
            last_number_step=30,
            last_finite=3,
            min=1,
            min_step=10,
            max=3,
            max_step=30,
        )
    )
