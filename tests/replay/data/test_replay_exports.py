"""A run is exported only where plain Parquet carries it exactly; live pages carry every run."""

from __future__ import annotations

import io
import math
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from replay_support import Row, histogram_rows, odd_rows, plain_rows

from pull_logs.replay.data.exports import MAX_MEMBERS, encode, plain_table
from pull_logs.replay.data.history import (
    Table,
    history_keys,
    json_rows,
    live_data,
    page,
    sampled_indices,
    thin,
)
from pull_logs.rows.batches import batch_from_arrow, batch_from_rows, batch_rows
from pull_logs.rows.canonical import canon_row, parse_json, same

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["NaN", "Infinity", -0.0, 2**53 + 1])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["loss", "val/acc", "opt.lr", "é", "_timestamp", "_wpl_rest"])


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Rows whose columns are mostly of one kind, as logged histories are."""
    kinds = draw(
        st.lists(st.tuples(KEYS, st.sampled_from([SCALARS, VALUES, st.floats(), st.booleans()])), max_size=4)
    )
    steps = draw(st.lists(st.integers(-3, 2**40), unique=True, max_size=6).map(sorted))
    return [
        {"_step": step, **{key: draw(values) for key, values in kinds if draw(st.booleans())}}
        for step in steps
    ]


def table_of(rows: list[Row]) -> Table:
    return Table(batch_from_rows(rows))


def sampled(table: Table, spec: dict[str, Any]) -> list[dict[str, Any]]:
    return json_rows(table, sampled_indices(table, spec, spec["keys"]), spec["keys"])


@settings(max_examples=200)
@given(histories())
def test_what_is_exported_reads_back_as_the_very_same_rows(rows: list[Row]) -> None:
    table = table_of(rows)
    plain = plain_table(table)
    if plain is not None:
        back = batch_from_arrow(pq.read_table(io.BytesIO(encode(plain))))
        assert same(list(batch_rows(back)), list(map(canon_row, rows)))


@settings(max_examples=200)
@given(histories())
def test_live_pages_carry_every_row(rows: list[Row]) -> None:
    table = table_of(rows)
    texts = page(table, table.window(None, None))
    assert same([canon_row(parse_json(text)) for text in texts], list(map(canon_row, rows)))
    assert [item["_step"] for item in live_data(table, ["_step"])] == [row["_step"] for row in rows]


@given(histories(), st.lists(KEYS, min_size=1, max_size=2), st.integers(-3, 5), st.integers(-3, 2**40))
def test_a_sampled_history_has_the_rows_with_all_keys_and_its_last_step_is_inclusive(
    rows: list[Row], keys: list[str], first: int, last: int
) -> None:
    assume(last - first != 100)
    spec = {"keys": ["_step", *keys], "minStep": first, "maxStep": last, "samples": 100}
    wanted = [
        {key: row[key] for key in ("_step", *keys)}
        for row in map(canon_row, rows)
        if first <= row["_step"] <= last and all(key in row for key in keys)
    ]
    assert same(list(map(canon_row, sampled(table_of(rows), spec))), list(map(canon_row, wanted)))


def test_a_page_of_as_many_steps_as_samples_ends_before_its_last_step() -> None:
    table = table_of(plain_rows(30))
    pages = [
        sampled(table, {"keys": ["_step"], "minStep": start, "maxStep": start + 10, "samples": 10})
        for start in (0, 10, 20)
    ]
    assert [row["_step"] for page in pages for row in page] == list(range(30))


def test_ordinary_runs_and_histograms_are_exported() -> None:
    assert plain_table(table_of(plain_rows(300))) is not None
    plain = plain_table(table_of(histogram_rows(5)))
    assert plain is not None
    weights = plain.schema.field("weights").type
    assert {field.name for field in weights} == {"_type", "bins", "values"}
    assert not plain.schema.field("_step").nullable


def test_a_column_of_several_kinds_is_served_live() -> None:
    assert plain_table(table_of(odd_rows(6))) is None


def test_a_list_that_parquet_would_turn_into_numbers_is_served_live() -> None:
    assert plain_table(table_of([{"_step": 0, "x": [1.5, True]}])) is None


def test_a_column_of_many_different_members_is_served_live() -> None:
    rows: list[Row] = [{"_step": at, "x": {f"member {at}": 1}} for at in range(MAX_MEMBERS + 1)]
    assert plain_table(table_of(rows[:-1])) is not None
    assert plain_table(table_of(rows)) is None


def test_an_export_uses_only_types_that_the_sdk_reads() -> None:
    schema = pq.read_schema(io.BytesIO(encode(_plain(plain_rows(120)))))
    assert {str(kind) for kind in schema.types} == {"int64", "double", "string", "bool"}
    assert schema.metadata is None


def test_equal_runs_have_equal_exports() -> None:
    assert encode(_plain(plain_rows(120))) == encode(_plain(plain_rows(120)))


def _plain(rows: list[Row]) -> pa.Table:
    plain = plain_table(table_of(rows))
    assert plain is not None
    return plain


def test_non_finite_numbers_are_text_in_json_and_numbers_in_parquet() -> None:
    rows: list[Row] = [{"_step": 0, "x": math.nan}, {"_step": 1, "x": -math.inf}]
    assert page(table_of(rows), thin(table_of(rows).window(0, 2), 9)) == [
        '{"_step":0,"x":"NaN"}',
        '{"_step":1,"x":"-Infinity"}',
    ]
    assert sampled(table_of(rows), {"keys": ["x"], "samples": 5}) == [{"x": "NaN"}, {"x": "-Infinity"}]
    assert _plain(rows).schema.field("x").type == pa.float64()


def test_history_keys_count_the_kinds_of_every_key() -> None:
    rows: list[Row] = [
        {"_step": 4, "x": 1.5, "h": {"_type": "histogram", "values": [1]}, "d": {"a": 1}},
        {"_step": 9, "x": "text", "b": False, "l": [1]},
    ]
    told: Any = history_keys(table_of(rows))
    counts = {
        key: {entry["type"]: entry["count"] for entry in about["typeCounts"]}
        for key, about in told["keys"].items()
    }
    assert counts == {
        "_step": {"number": 2},
        "b": {"boolean": 1},
        "d": {"map": 1},
        "h": {"histogram": 1},
        "l": {"list": 1},
        "x": {"number": 1, "string": 1},
    }
    assert (told["sets"], told["lastStep"]) == ([], 9)
    assert history_keys(table_of([])) is None
