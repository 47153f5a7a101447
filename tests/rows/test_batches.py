"""Batches of rows and of W&B's exports, and the rows of batches."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rowkit import calm_rows, nasty_rows, same_rows, square_rows

from pull_logs.errors import DataError
from pull_logs.rows.batches import (
    RESIDUAL,
    batch_from_arrow,
    batch_from_rows,
    batch_keys,
    batch_rows,
    distinct_steps,
    select_keys,
    system_batch_from_rows,
    take_apart,
)
from pull_logs.rows.canonical import canon_row, same


def column(*cells: object) -> pa.Table:
    """Return the batch of one logged key, `x`."""
    return batch_from_rows([{"_step": step, "x": cell} for step, cell in enumerate(cells)])


def kinds(batch: pa.Table) -> dict[str, str]:
    return {field.name: str(field.type) for field in batch.schema}


@given(nasty_rows | calm_rows | square_rows())
def test_rows_of_a_batch_are_the_canonical_rows_in_step_order(rows: list[dict[str, Any]]) -> None:
    expected = sorted(map(canon_row, rows), key=lambda row: int(row["_step"]))
    batch = batch_from_rows(rows)
    assert same_rows(batch_rows(batch), expected)
    assert batch_keys(batch) == {"_step", *(key for row in expected for key in row)}


@given(nasty_rows)
def test_columns_are_in_bundle_order(rows: list[dict[str, Any]]) -> None:
    names = batch_from_rows(rows).column_names
    inner = [name for name in names[1:] if name != RESIDUAL]
    assert names == ["_step", *sorted(inner, key=str.encode), *([RESIDUAL] if RESIDUAL in names else [])]


@given(nasty_rows, st.sets(st.sampled_from(["loss", "Loss", "", "\ufffd", "_wpl_rest", "_step", "gone"])))
def test_asking_for_keys_gives_these_keys_of_each_row(rows: list[dict[str, Any]], keys: set[str]) -> None:
    batch = batch_from_rows(rows)
    expected = [{key: row[key] for key in row if key in keys} for row in batch_rows(batch)]
    assert same_rows(batch_rows(batch, keys), expected)
    kept = [{key: row[key] for key in row if key in keys | {"_step"}} for row in batch_rows(batch)]
    assert same_rows(batch_rows(select_keys(batch, keys.__contains__)), kept)


@pytest.mark.parametrize(
    ("cells", "typed", "rest"),
    [
        ((1.5, True), [1.5, None], [None, '{"x":true}']),
        ((True, 1.5, False), [True, None, False], [None, '{"x":1.5}', None]),
        ((True, "a"), [True, None], [None, '{"x":"a"}']),
        (("a", "NaN"), [None, math.nan], ['{"x":"a"}', None]),
        (("a", "b", "NaN"), ["a", "b", None], [None, None, '{"x":"NaN"}']),
        ((1, 2**53 + 1), [1, 2**53 + 1], None),
        ((1.5, 2**53 + 1), [1.5, None], [None, '{"x":9007199254740993}']),
        ((2**53, 2**54), [2.0**53, 2.0**54], None),
        ((2**63 - 1, 2**63), [None, 2.0**63], ['{"x":9223372036854775807}', None]),
        ((2**63, 1), [2.0**63, 1.0], None),
        ((2**63 - 1, None), [2**63 - 1, None], None),
        ((2**64 + 1, 0.5), [None, 0.5], ['{"x":18446744073709551617}', None]),
        (([1, None], 2), [None, 2.0], ['{"x":[1,null]}', None]),
        (({"a": None}, 2), [None, 2.0], None),
        (("\ud800",), ["\ufffd"], None),
    ],
)
def test_the_kind_with_most_fitting_cells_has_the_column(
    cells: Sequence[object], typed: list[object], rest: list[str] | None
) -> None:
    batch = column(*cells)
    assert same(batch.column("x").to_pylist(), typed)
    assert (batch.column(RESIDUAL).to_pylist() if RESIDUAL in batch.column_names else None) == rest


def test_a_column_in_which_nothing_fits_a_type_is_residual_alone() -> None:
    assert kinds(column([1], {"a": 1}, 10**30)) == {"_step": "int64", RESIDUAL: "string"}


def test_columns_without_a_cell_vanish() -> None:
    assert kinds(column(None, {}, {"a": {"b": None}})) == {"_step": "int64"}


def test_minus_zero_and_nans_have_one_spelling() -> None:
    payload = float.fromhex("-0x1p-1") * math.nan
    cells = column(-0.0, payload, "NaN").column("x").combine_chunks().to_numpy()
    assert cells.tobytes() == pa.array([0.0, math.nan, math.nan]).to_numpy().tobytes()


def test_a_logged_key_named_like_the_residual_is_in_it() -> None:
    batch = batch_from_rows([{"_step": 0, RESIDUAL: 1.5}])
    assert batch.column(RESIDUAL).to_pylist() == ['{"_wpl_rest":1.5}']
    assert list(batch_rows(batch)) == [{"_step": 0, RESIDUAL: 1.5}]


def test_rows_of_one_step_are_all_kept_in_their_order() -> None:
    rows = [{"_step": 2, "x": 1}, {"_step": 1}, {"_step": 2, "x": 0}]
    assert list(batch_rows(batch_from_rows(iter(rows)))) == [rows[1], rows[0], rows[2]]


@pytest.mark.parametrize("step", [None, "1", True, 1.5, math.nan, 2**63, [1]])
def test_a_bad_step_is_an_error(step: object) -> None:
    with pytest.raises(DataError) as caught:
        batch_from_rows([{"_step": 1}, {"_step": step}])
    assert caught.value.message == f"a row's _step is {step!r}, not a whole number of 64 bits"


def test_an_integer_too_long_for_json_is_an_error() -> None:
    with pytest.raises(DataError, match="a value cannot be written as JSON: Exceeds the limit"):
        column(10**5000 + 1)


def test_values_nest_as_deep_as_in_a_row() -> None:
    value: Any = 1
    for _ in range(199):
        value = [value]
    assert list(batch_rows(column(value))) == [canon_row({"_step": 0, "x": value})]
    with pytest.raises(DataError, match="a value is nested deeper than 200 levels"):
        column([value])


def test_keys_that_are_one_after_canon_are_one() -> None:
    low, high = chr(0xD800), chr(0xDFFF)
    rows: list[dict[Any, Any]] = [{"_step": 0, low: 1, high: 2, 7: 3}, {"_step": 1, low: 5, high: None}]
    assert list(batch_rows(batch_from_rows(rows))) == [
        {"_step": 0, "\ufffd": 2, "7": 3},
        {"_step": 1, "\ufffd": 5},
    ]


@pytest.mark.parametrize("text", ['{"x":1}', '{"_step":1}'])
def test_a_key_with_two_values_in_a_row_is_an_error(text: str) -> None:
    batch = column(1).append_column(RESIDUAL, pa.array([text]))
    for read in (lambda: list(batch_rows(batch)), lambda: select_keys(batch, bool)):
        with pytest.raises(DataError, match=r"^key '(x|_step)' has two values in one row$"):
            read()


@pytest.mark.parametrize("text", ["{", "[1]", "1", '{"y":1}}', '{"y":1'])
def test_a_residual_that_is_no_object_is_an_error(text: str) -> None:
    batch = column(1).append_column(RESIDUAL, pa.array([text]))
    for read in (lambda: list(batch_rows(batch)), lambda: select_keys(batch, bool)):
        with pytest.raises(DataError, match=r"^(not JSON: |the residual of a row is not the canonical JSON)"):
            read()


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"y": 1}',
        '{"z":1,"y":2}',
        '{"y":1,"y":2}',
        '{"y":null}',
        '{"y":{}}',
        "{1:2}",
        '{"y":1,}',
        '{"y":01}',
        "",
    ],
)
def test_a_residual_spelled_in_another_way_is_not_hashed_or_written(text: str) -> None:
    batch = column(1).append_column(RESIDUAL, pa.array([text]))
    with pytest.raises(DataError) as caught:
        take_apart(batch)
    assert caught.value.message == f"the residual of a row is not the canonical JSON of an object: {text!r}"


def test_system_rows_have_no_steps_and_are_in_timestamp_order() -> None:
    rows: list[dict[str, Any]] = [
        {"_timestamp": 2, "system.cpu": 1},
        {"system.cpu": "NaN", "_step": 3},
        {"_timestamp": 1},
        {"a": None},
    ]
    batch = system_batch_from_rows(rows)
    assert batch.column_names == ["_timestamp", "system.cpu", RESIDUAL]
    assert same_rows(
        batch_rows(batch),
        [{"system.cpu": math.nan, "_step": 3}, {"_timestamp": 1}, {"_timestamp": 2, "system.cpu": 1}],
    )


# Exports.

arrow_columns = st.sampled_from(
    [
        (pa.float64(), st.floats()),
        (pa.float32(), st.floats(width=32)),
        (pa.float16(), st.floats(width=16)),
        (pa.int8(), st.integers(-128, 127)),
        (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.uint32(), st.integers(0, 2**32 - 1)),
        (pa.uint64(), st.integers(0, 2**64 - 1) | st.sampled_from([2**63 - 1, 2**63, 2**63 + 1])),
        (pa.bool_(), st.booleans()),
        (pa.string(), st.sampled_from(["NaN", "-Infinity", "", "é"]) | st.text(max_size=3)),
        (pa.large_string(), st.text(max_size=3)),
        (pa.string_view(), st.text(max_size=20)),
        (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "NaN", "c"])),
        (pa.list_(pa.float32()), st.lists(st.none() | st.floats(width=32), max_size=3)),
        (
            pa.struct({"a": pa.int64(), "b": pa.string()}),
            st.fixed_dictionaries({"a": st.none() | st.integers(0, 9), "b": st.none() | st.text(max_size=2)}),
        ),
        (pa.null(), st.none()),
    ]
)


@st.composite
def exports(draw: st.DrawFn) -> pa.Table:
    length = draw(st.integers(0, 6))
    steps: list[Any] = draw(st.lists(st.none() | st.integers(-5, 5), min_size=length, max_size=length))
    columns = {"_step": pa.array(steps, draw(st.sampled_from([pa.int64(), pa.float64(), pa.int32()])))}
    for name in draw(st.lists(st.sampled_from(["x", "", "a.b", RESIDUAL, "Ä"]), unique=True)):
        kind, cells = draw(arrow_columns)
        columns[name] = pa.array(draw(st.lists(st.none() | cells, min_size=length, max_size=length)), kind)
    names = draw(st.permutations(list(columns)))
    table = pa.table({name: columns[name] for name in names})
    at = draw(st.integers(0, length))
    return pa.concat_tables([table.slice(0, at), table.slice(at)])


@given(exports())
def test_an_export_is_what_its_rows_are(table: pa.Table) -> None:
    rows = [row for row in table.to_pylist() if row["_step"] is not None]
    batch, expected = batch_from_arrow(table), batch_from_rows(rows)
    assert batch.schema == expected.schema
    assert same_rows(batch_rows(batch), batch_rows(expected))


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (pa.array([b"ok", b"NaN", b"\xff"], pa.binary()), ["ok", math.nan, "\ufffd"]),
        (pa.array([b"ok", None, b"no"], pa.binary(2)), ["ok", None, "no"]),
        (pa.array([dt.datetime(2026, 1, 1)] * 3, pa.timestamp("ns")), [None] * 3),  # noqa: DTZ001
        (pa.array([decimal.Decimal("1.5")] * 3), [None] * 3),
        (
            pa.array([[("a", 1), ("b", None)], [], None], pa.map_(pa.string(), pa.int64())),
            [{"a": 1}, None, None],
        ),
        (pa.array([[b"x", None], [], None], pa.list_(pa.binary())), [["x", None], [], None]),
        (
            pa.array([{"t": dt.date(2026, 1, 1), "f": 0.5}, {"f": None, "t": None}, None]),
            [{"f": 0.5}, None, None],
        ),
        (pa.array([[1, 2], None, [3, None]], pa.list_(pa.int8(), 2)), [[1, 2], None, [3, None]]),
        (
            pa.array([["a"], ["NaN"], None], pa.large_list(pa.dictionary(pa.int8(), pa.string()))),
            [["a"], [math.nan], None],
        ),
    ],
)
def test_what_other_arrow_types_mean(cells: pa.Array, found: list[object]) -> None:
    batch = batch_from_arrow(pa.table({"x": cells, "_step": [0.0, 1.0, 2.0]}))
    expected = [{"_step": step, **({} if cell is None else {"x": cell})} for step, cell in enumerate(found)]
    assert same_rows(batch_rows(batch), expected)


def test_run_end_encoded_cells_are_decoded() -> None:
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"])
    batch = batch_from_arrow(pa.table({"_step": [0, 1, 2], "x": runs}))
    assert batch.column("x").to_pylist() == ["a", "a", "b"]


def test_an_export_without_a_step_column_has_no_rows() -> None:
    assert batch_from_arrow(pa.table({"x": [1, 2]})).equals(batch_from_rows([]))
    assert batch_from_arrow(pa.table({})).equals(batch_from_rows([]))


def test_steps_of_an_export_may_be_doubles_in_any_order() -> None:
    batch = batch_from_arrow(pa.table({"x": [1, 2, 3], "_step": [7.0, None, -0.0]}))
    assert list(batch_rows(batch)) == [{"_step": 0, "x": 3}, {"_step": 7, "x": 1}]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"_step": [0.5]}), "a row's _step is 0.5, not a whole number of 64 bits"),
        (pa.table([[0], [1], [2]], names=["_step", "x", "x"]), "two columns are named 'x'"),
        (
            pa.table({"_step": [0], "x": pa.array(["{}"], pa.json_())}),
            "column 'x' of type extension<arrow.json>: extension types are refused",
        ),
        (
            pa.table({"_step": [0], "x": pa.array([b"\xff"]).view(pa.string())}),
            "column 'x' of type string cannot be read: Invalid UTF8 sequence at string index 0",
        ),
    ],
)
def test_an_export_that_cannot_be_read_is_an_error(table: pa.Table, message: str) -> None:
    with pytest.raises(DataError) as caught:
        batch_from_arrow(table)
    assert caught.value.message == message


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)))
def test_distinct_steps_are_those_that_numpy_finds(values: list[int]) -> None:
    array = np.array(values, np.int64)
    assert distinct_steps(array).tolist() == np.unique(array).tolist()
