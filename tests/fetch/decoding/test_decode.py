"""Live pages and exported files are read for what they say, or refused."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rowkit import calm_rows, nasty_rows, same_rows, square_rows
from scripted_wandb import rows_of, shard_bytes

from pull_logs.errors import DataError
from pull_logs.fetch.decoding import decode
from pull_logs.fetch.decoding.decode import (
    ROWS_IN_A_PART,
    FileDamagedError,
    batch_of_page,
    batches_of_file,
    parse_rows,
)
from pull_logs.rows.batches import batch_rows
from pull_logs.rows.canonical import canon_row, same

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.text(max_size=8), VALUES, max_size=4), max_size=4))
def test_rows_are_read_as_pythons_own_json_reads_them(rows: list[dict[str, object]]) -> None:
    texts = [json.dumps(row) for row in rows]
    for found, text in zip(parse_rows(texts), texts, strict=True):
        assert same(found, json.loads(text))


def test_small_floats_are_read_as_fast_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_parse_row", None)
    texts = ['{"_step":0,"lr":0.00012345678901234567}', '{"_step":1,"lr":-0.00198765432109876543}']
    assert parse_rows(texts) == [json.loads(text) for text in texts]


@pytest.mark.parametrize("number", [2**64, -(2**64), 10**19 + 1, 12345678901234567890123])
def test_long_integers_keep_every_digit(number: int) -> None:
    assert parse_rows([f'{{"_step":0,"n":{number}}}', f'{{"n":[{number}]}}']) == [
        {"_step": 0, "n": number},
        {"n": [number]},
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": NaN}', math.nan),
        ('{"a": 18446744073709551617}', 18446744073709551617),
        ('{"a": 9007199254740993}', 9007199254740993),
        ('{"a": "\\ud800"}', "\ud800"),
        ('{"a": "tab\there"}', "tab\there"),
    ],
)
def test_what_orjson_rounds_or_refuses_is_read_exactly(text: str, value: object) -> None:
    found, plain = parse_rows([text, '{"a": 1}'])
    assert same(found["a"], value)
    assert plain == {"a": 1}


@pytest.mark.parametrize("text", ["[1]", "1", '"a"', "null", 7, None])
def test_a_row_that_is_no_object_is_refused(text: object) -> None:
    with pytest.raises(DataError, match=r"^a history row is \w+, not a JSON object$"):
        parse_rows([text])


def test_two_texts_that_only_together_are_json_are_not_rows() -> None:
    with pytest.raises(DataError, match=r"^not JSON: "):
        parse_rows(['{"a": [{}', "{}]}"])


def test_a_page_is_cut_to_its_window_and_needs_steps() -> None:
    texts = [
        json.dumps(row)
        for row in [{"_step": 4}, {"_step": 5.0, "a": 1}, {"a": 2}, {"_step": None}, {"_step": 6}]
    ]
    assert list(batch_rows(batch_of_page(texts, start=5, stop=6))) == [{"_step": 5, "a": 1}]


def assert_page(texts: list[str]) -> None:
    """A page holds the canonical rows of its texts, read by either reader."""
    expected = sorted(map(canon_row, map(json.loads, texts)), key=lambda row: int(row["_step"]))
    kept = [row for row in expected if row["_step"] < 2**63 - 1]
    for least in (0, 2**40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decode, "_LARGE", least)
            assert same_rows(batch_rows(batch_of_page(texts, start=-(2**63), stop=2**63 - 1)), kept)


@given(nasty_rows | calm_rows | square_rows())
def test_a_page_holds_the_canonical_rows_of_its_texts(rows: list[dict[str, Any]]) -> None:
    assert_page([json.dumps(row) for row in rows])


@pytest.mark.parametrize(
    "number",
    ["18446744073709551617", "-9223372036854775809", "9007199254740993", "1e400", "-0", "1e19", "NaN"],
)
@pytest.mark.parametrize(
    "others", ["1", "0.5", "null", '"text"', '"NaN"', "[18446744073709551617]", "true", '"2026-01-02"', "{}"]
)
def test_a_page_keeps_every_digit_beside_whatever_it_stands(number: str, others: str) -> None:
    assert_page([f'{{"_step":0,"n":{others}}}', f'{{"_step":1,"n":{number}}}', f'{{"n":{others},"_step":2}}'])


@pytest.mark.parametrize(
    "texts",
    [
        ['{"_step":0,"at":"2026-01-02"}', '{"_step":1,"at":"2026-01-03T04:05:06Z"}'],
        ['{"_step":0,"a":1,"a":2}', '{"_step":1}'],
        ['{"_step":0,"a":"{"}', '{"_step":1,"a":"["}', '{"_step":2,"a":"}{"}'],
        ['{"_step":0,\n"a":1}', ' {"_step":1}'],
        ['{"_step":0,"a":"\\ud800"}', '{"_step":1,"\\ud800":1}'],
        ['{"_step":0,"a\\u0000b":"\\u0007"}', '{"_step":1,"":"","_wpl_rest":1}'],
        ['{"_step":0.0,"a":true}', '{"_step":1e0,"a":null}'],
        ['{"_step":0,"a":0.1,"b":5e-324,"c":1.7976931348623157e308}', '{"_step":1,"a":0.30000000000000004}'],
    ],
)
def test_what_arrow_reads_in_another_way_is_read_as_json_says(texts: list[str]) -> None:
    assert_page(texts)


@pytest.mark.parametrize(
    "texts",
    [
        ['{"_step":0}{"_step":1}', ""],
        ['{"_step":0}{"_step":1}', '{"_step":2'],
        ['{"_step":', '{"_step":1}}'],
        ['{"_step":0,"a":01}', '{"_step":1}'],
        ['{"_step":0,"a":"', '{"}'],
        ["[" * 100_000],
        ['{"a":' * 100_000],
    ],
)
def test_a_page_that_is_not_json_is_refused_by_either_reader(
    texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_LARGE", 0)
    with pytest.raises(DataError, match=r"^not JSON: "):
        batch_of_page(texts, start=0, stop=9)


def test_the_usual_page_is_read_without_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "parse_rows", None)
    rows = [
        {"_step": step, "x": step / 7, "n": step, "ok": step % 2 == 0, "s": f"{step}"}
        for step in range(3_000)
    ]
    texts = [json.dumps(row if row["_step"] != 5 else {"_step": 5, "x": None}) for row in rows]
    assert sum(map(len, texts)) > decode._LARGE
    found = list(batch_rows(batch_of_page(texts, start=0, stop=3_000)))
    assert same_rows(found, [canon_row(json.loads(text)) for text in texts])


def test_a_large_file_comes_in_parts() -> None:
    table = pa.table({"_step": pa.array(range(ROWS_IN_A_PART + 5), pa.int64())})
    parts = list(batches_of_file(io.BytesIO(shard_bytes(table))))
    assert [part.num_rows for part in parts] == [ROWS_IN_A_PART, 5]


def test_steps_may_be_doubles_anywhere_and_null() -> None:
    table = pa.table({"a": [1.0, 2.0, 3.0], "_step": [4.0, None, 2.0]})
    (part,) = batches_of_file(io.BytesIO(shard_bytes(table)))
    assert list(batch_rows(part)) == [{"_step": 2, "a": 3}, {"_step": 4, "a": 1}]


@pytest.mark.parametrize("cut", [slice(None, -9), slice(40, None), slice(None, 3), slice(0, 0)])
def test_a_damaged_file_is_reported(cut: slice) -> None:
    data = shard_bytes(rows_of(range(100)))
    with pytest.raises(FileDamagedError, match=r"^an exported history file cannot be read$"):
        list(batches_of_file(io.BytesIO(data[cut])))
