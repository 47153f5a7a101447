"""Histories of numbers, and the reader that decodes them without pyarrow."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from pull_logs.frames import FactsBuilder, MetricFacts
from pull_logs.snapshot.format.parquet_write import write_table
from pull_logs.snapshot.read.plain_history import PlainHistory, PlainReader

numbers = st.one_of(
    st.floats(),
    st.integers(-(2**53), 2**53),
    st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 0.25, 1e-300]),
)


@st.composite
def number_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of numbers, in some of which keys are missing."""
    names = draw(st.lists(st.text(st.characters(codec="utf-8"), max_size=3), unique=True, max_size=5))
    keys = [name for name in names if name not in ("_step", "_wpl_rest")]
    first, count = draw(st.integers(-(2**63), 2**63 - 1000)), draw(st.integers(1, 40))
    gaps = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    rows: list[dict[str, Any]] = [{"_step": first + sum(gaps[:index])} for index in range(count)]
    for name in keys:
        often = draw(st.sampled_from([1, 1, 2, 7]))
        for row in rows[:: draw(st.sampled_from([1, often]))]:
            row[name] = draw(numbers)
    return rows


def written(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    write_table(lambda: [table], sink)
    return sink.getvalue()


def learned(data: bytes, rows: int) -> PlainReader:
    """Return a reader that knows the form of a file."""
    reader = PlainReader()
    for _ in range(3):
        reader.read(data, rows=rows)
    return reader


def facts_of(found: PlainHistory) -> tuple[MetricFacts, ...]:
    builder = FactsBuilder()
    builder.add_numbers(found.steps, found.columns)
    return builder.facts()
