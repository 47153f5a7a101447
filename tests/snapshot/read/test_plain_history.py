"""Short histories of numbers are decoded without pyarrow, to the same rows, or not at all."""

from __future__ import annotations

import io
import struct
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from plainkit import facts_of, learned, number_rows, written

from pull_logs.frames import FactsBuilder, facts_text
from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.hashing import rows_hash, rows_hash_of_numbers
from pull_logs.snapshot.format.parquet_read import read_table


@given(number_rows())
def test_the_rows_and_the_facts_are_those_that_pyarrow_gives(rows: list[dict[str, Any]]) -> None:
    table = batch_from_rows(rows)
    data = written(table)
    found = learned(data, len(rows)).read(data, rows=len(rows))
    assert found is not None
    assert rows_hash_of_numbers(found.steps, found.columns) == rows_hash([table])
    builder = FactsBuilder()
    builder.add(table)
    assert facts_text(facts_of(found)) == facts_text(builder.facts())


ROWS = [
    {"_step": 3 * step, "loss": step / 3, "round": step / 4, **({"rare": step / 7} if step % 5 else {})}
    for step in range(30)
]


@pytest.mark.parametrize("mask", [0x01, 0x40, 0x80, 0xFF])
def test_a_changed_byte_is_refused_unless_pyarrow_reads_the_same_rows(mask: int) -> None:
    data = written(batch_from_rows(ROWS))
    reader, refused = learned(data, len(ROWS)), 0
    for offset in range(len(data)):
        changed = data[:offset] + bytes([data[offset] ^ mask]) + data[offset + 1 :]
        found = reader.read(changed, rows=len(ROWS))
        if found is None:
            refused += 1
            continue
        expected = read_table(changed, expected_rows=len(ROWS))
        assert rows_hash_of_numbers(found.steps, found.columns) == rows_hash([expected]), offset
    assert refused > len(data) * 0.8


@pytest.mark.parametrize("field", range(3, 12))
def test_a_footer_with_another_number_is_refused_unless_pyarrow_reads_the_same_rows(field: int) -> None:
    data = written(batch_from_rows(ROWS))
    reader = learned(data, len(ROWS))
    size = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - size : -8]
    for offset in range(len(footer) - 1):
        for value in (field, 2 * field, 0x7E):
            changed = footer[:offset] + struct.pack("<B", value) + footer[offset + 1 :]
            file = data[: -8 - size] + changed + data[-8:]
            found = reader.read(file, rows=len(ROWS))
            if found is not None:
                expected = read_table(file, expected_rows=len(ROWS))
                assert rows_hash_of_numbers(found.steps, found.columns) == rows_hash([expected])


@pytest.mark.parametrize(
    "row",
    [
        {"_step": 0, "loss": "text"},
        {"_step": 0, "loss": True},
        {"_step": 0, "loss": 2**60 + 1},
        {"_step": 0, "loss": [1]},
    ],
)
def test_other_columns_are_left_to_pyarrow(row: dict[str, Any]) -> None:
    data = written(batch_from_rows([row]))
    assert learned(data, 1).read(data, rows=1) is None


def test_other_rows_than_expected_and_histories_with_many_are_left_to_pyarrow() -> None:
    data = written(batch_from_rows(ROWS))
    reader = learned(data, len(ROWS))
    assert reader.read(data, rows=len(ROWS)) is not None
    assert reader.read(data, rows=len(ROWS) - 1) is None
    assert reader.read(b"", rows=1) is None
    long = written(batch_from_rows([{"_step": step, "loss": step / 3} for step in range(20_000)]))
    assert learned(long, 20_000).read(long, rows=20_000) is None


def test_files_written_in_another_way_are_left_to_pyarrow() -> None:
    table = batch_from_rows([{key: cell for key, cell in row.items() if key != "rare"} for row in ROWS])
    for options in ({"compression": "snappy"}, {"use_dictionary": True}, {"data_page_version": "1.0"}):
        sink = io.BytesIO()
        pq.write_table(table, sink, **({"compression": "zstd", "store_schema": False} | options))
        data = sink.getvalue()
        assert learned(data, len(ROWS)).read(data, rows=len(ROWS)) is None
