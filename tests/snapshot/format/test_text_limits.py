"""Long texts are written, read and refused within limits, and no limit changes what is read."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bundlekit import bundle_run
from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows import arrays, coded_text, limits
from pull_logs.rows.batches import RESIDUAL, batch_from_rows, batch_rows, distinct_members, residual_rows
from pull_logs.rows.coded_text import row_text_bytes, shared_texts, text_parts
from pull_logs.rows.hashing import rows_hash
from pull_logs.rows.limits import check_document
from pull_logs.snapshot.format import parquet_read, parquet_write
from pull_logs.snapshot.format.parquet_read import read_batches, read_table
from pull_logs.snapshot.format.parquet_write import write_table
from pull_logs.snapshot.format.runs import documents
from pull_logs.snapshot.format.runs_table import RunRow, encode_runs, load_runs_table

VALUES = (
    st.none()
    | st.text(max_size=40)
    | st.sampled_from(["same" * 20, 1.5, True])
    | st.lists(st.text(), max_size=2)
)
ROWS = st.lists(st.fixed_dictionaries({"a": VALUES, "b": VALUES}), max_size=12).map(
    lambda rows: [{"_step": step, **row} for step, row in enumerate(rows)]
)
SIZES = st.integers(1, 200)


def written(batches: Sequence[pa.Table], *, most: int) -> bytes:
    sink = io.BytesIO()
    with patch.object(parquet_write, "TEXT_AT_ONCE", most):
        write_table(lambda: batches, sink)
    return sink.getvalue()


@given(ROWS, SIZES, st.lists(st.integers(0, 12), max_size=3))
@settings(max_examples=50)
def test_a_row_group_ends_where_its_text_does_however_rows_come(
    rows: list[dict[str, Any]], most: int, cuts: list[int]
) -> None:
    batch = batch_from_rows(rows)
    bounds = [0, *sorted(cuts), batch.num_rows]
    parts = [batch.slice(start, max(end - start, 0)) for start, end in pairwise(bounds)]
    data = written([batch], most=most)
    assert written(parts, most=most) == data
    file = pq.ParquetFile(pa.BufferReader(data))
    for number in range(file.num_row_groups):
        group = file.read_row_group(number)
        assert group.num_rows == 1 or int(row_text_bytes(group).sum()) <= most
    assert list(batch_rows(read_table(data))) == list(batch_rows(batch))


@given(ROWS, SIZES)
@settings(max_examples=50)
def test_batches_have_a_bounded_text_and_the_same_rows(rows: list[dict[str, Any]], most: int) -> None:
    batch = batch_from_rows(rows)
    data = written([batch], most=10**9)
    with patch.object(coded_text.text_parts, "__kwdefaults__", {"most": most}):
        parts = list(read_batches(data))
    assert all(part.num_rows <= 1 or int(row_text_bytes(part).sum()) <= most for part in parts)
    assert [row for part in parts for row in batch_rows(part)] == list(batch_rows(batch))
    assert rows_hash(parts) == rows_hash([batch])


@given(ROWS)
def test_texts_that_are_shared_are_the_same(rows: list[dict[str, Any]]) -> None:
    batch = batch_from_rows(rows)
    coded = read_table(written([batch], most=50), coded=True)
    for name, column in zip(batch.column_names, batch.columns, strict=True):
        if column.type == pa.string():
            assert shared_texts(coded.column(name)).tolist() == column.to_pylist()
            assert shared_texts(column).tolist() == column.to_pylist()
    if RESIDUAL in batch.column_names:
        plain = residual_rows(batch.column(RESIDUAL).combine_chunks())
        assert list(distinct_members(coded.column(RESIDUAL))) == [(row, cells) for row, _, cells in plain]


def test_rows_with_the_same_text_share_it() -> None:
    coded = read_table(
        written([batch_from_rows([{"_step": n, "a": "long" * 9} for n in range(5)])], most=999), coded=True
    )
    first, *others = shared_texts(coded.column("a"))
    assert all(other is first for other in others)


@given(st.lists(st.none() | st.text(max_size=9), max_size=9), SIZES, st.integers(1, 30))
def test_the_hash_of_texts_does_not_depend_on_how_they_are_joined(
    cells: list[str | None], most: int, joined: int
) -> None:
    table = pa.table({"x": pa.array(cells, pa.string())})
    expected = b"".join(map(bytes, arrays.framed_texts(table.column("x").combine_chunks())))
    with patch.object(arrays, "_JOINED_TEXT", joined):
        parts = [flat for part in text_parts(table, most=most) for flat in part.column("x").chunks]
        assert b"".join(bytes(piece) for part in parts for piece in arrays.framed_texts(part)) == expected


def test_one_table_of_too_much_text_is_refused_and_batches_are_not() -> None:
    data = written([batch_from_rows([{"_step": n, "a": "x" * 1000} for n in range(100)])], most=10**9)
    with patch.object(limits, "_JOINED", 50_000):
        with pytest.raises(
            DataError, match=r"^the Parquet data would take 100000 bytes of memory, more than the "
        ):
            read_table(data)
        assert read_table(data, coded=True).num_rows == 100
        assert sum(part.num_rows for part in read_batches(data)) == 100


def test_a_text_that_no_reader_takes_is_not_written() -> None:
    with patch.object(parquet_write, "MAX_TEXT", 100):
        written([batch_from_rows([{"_step": 0, "a": "x" * 100, "b": {"c": "x" * 80}}])], most=10)
        with pytest.raises(
            DataError, match=r"^a text of key 'a' has 101 bytes, and a bundle holds 100 at most$"
        ):
            written([batch_from_rows([{"_step": 0}, {"_step": 1, "a": "x" * 101}])], most=10)
        with pytest.raises(
            DataError, match=r"^a text of the nested values of a row has 1\d\d bytes, and a bundle"
        ):
            written([batch_from_rows([{"_step": 0, "b": {"c": "x" * 100}}])], most=10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"' + "x" * 10 + '"', None),
        ('"' + "x" * 11 + '"', "it has 13 bytes of JSON, and 12 are the most"),
        ('"' + "é" * 6 + '"', "it has 14 bytes of JSON, and 12 are the most"),
        ("[1,2]", "it has 2 values, and 1 are the most"),
        ('{"a,,[":1}', None),
        ('{"a\\",,":1}', None),
        ('{"\\\\":[]}', "it has 2 values, and 1 are the most"),
    ],
)
def test_a_document_is_measured_before_it_is_parsed(
    monkeypatch: pytest.MonkeyPatch, text: str, message: str | None
) -> None:
    json.loads(text)
    monkeypatch.setattr(limits, "MAX_DOCUMENT", 12)
    monkeypatch.setattr(limits, "MAX_DOCUMENT_VALUES", 1)
    if message is None:
        check_document(text)
        return
    with pytest.raises(DataError) as caught:
        check_document(text)
    assert caught.value.message == message


def table_of(configs: Sequence[dict[str, Any]]) -> bytes:
    rows = []
    for number, config in enumerate(configs):
        run = bundle_run(f"a/b/{number:04d}", (), config=config, summary={"n": number})
        rows.append(RunRow(info=run.info, coverage=run.coverage, rows=0, first_step=None, last_step=None))
    return encode_runs(rows)


@given(st.lists(st.integers(0, 299), max_size=20))
@settings(max_examples=20, deadline=None)
def test_documents_are_the_same_when_they_are_read_one_after_the_other(order: list[int]) -> None:
    configs = [{"number": number, "text": "t" * (number % 7)} for number in range(300)]
    data = table_of(configs)
    with patch.object(documents, "_KEPT_DOCUMENTS", 100):
        table = load_runs_table(data, rows=300, path="b.zip")
        for index in order:
            assert table.document("config", index) == configs[index]
            assert table.document("summary", index) == {"n": index}
            assert table.row(index).info.config == configs[index]


def test_a_document_that_is_too_long_is_refused_before_it_is_read() -> None:
    data = table_of([{"a": 1}, {"text": "t" * 500}])
    with patch.object(documents, "_KEPT_DOCUMENTS", 100), patch.object(documents, "MAX_DOCUMENT", 400):
        table = load_runs_table(data, rows=2, path="b.zip")
        assert table.document("config", 0) == {"a": 1}
        with pytest.raises(BundleDamagedError) as caught:
            table.document("config", 1)
    assert caught.value.message == (
        "'b.zip' is damaged: runs.parquet holds a config that cannot be read: it has 511 bytes of JSON,"
        " and 400 are the most"
    )


def test_a_config_that_no_reader_takes_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_DOCUMENT", 100)
    with pytest.raises(
        DataError, match=r"^the config of run 'a/b/0000' cannot be kept: it has 211 bytes of JSON, and"
    ):
        table_of([{"text": "t" * 200}])


def test_reading_says_what_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written([batch_from_rows([{"_step": n, "a": f"{n}" * 100} for n in range(100)])], most=10**9)
    monkeypatch.setattr(parquet_read, "decoded_text_limit", lambda _size: 5_000)
    with pytest.raises(
        DataError, match=r"^the Parquet data would take \d+ bytes of memory, more than the 5000 allowed$"
    ):
        list(read_batches(data))
