"""What a footer describes of its chunks is checked before pyarrow, which it could end, is asked for them."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import DataError
from pull_logs.snapshot.format import LeafColumn, check_described_chunks, last_bytes

COLUMNS = {
    "step": pa.field("step", pa.int64(), nullable=False),
    "loss": pa.field("loss", pa.float64()),
    "name": pa.field("name", pa.string()),
    "tags": pa.field("tags", pa.list_(pa.string())),
    "table": pa.field("table", pa.struct([("path", pa.string()), ("rows", pa.int32())])),
}
ROW = {"step": 1, "loss": None, "name": "n", "tags": ["a", "b"], "table": {"path": "p", "rows": None}}


def written(names: list[str], rows: int) -> bytes:
    """Return a file with a row group for each row."""
    file = io.BytesIO()
    table = pa.Table.from_pylist([ROW] * rows, pa.schema([COLUMNS[name] for name in names]))
    pq.write_table(table, file, row_group_size=1)
    return file.getvalue()


def leaves_of(data: bytes) -> list[LeafColumn]:
    schema = pq.ParquetFile(pa.BufferReader(data)).schema
    return [
        LeafColumn(one.path, one.max_repetition_level, one.max_definition_level, one.physical_type)
        for one in map(schema.column, range(len(schema)))
    ]


def refusal(footer: bytes, leaves: list[LeafColumn]) -> str:
    """Return the message of the error about a footer."""
    with pytest.raises(DataError) as caught:
        check_described_chunks(footer, leaves)
    return caught.value.message


@given(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, unique=True), st.integers(0, 60))
def test_what_pyarrow_writes_is_accepted(names: list[str], rows: int) -> None:
    data = written(names, rows)
    check_described_chunks(last_bytes(pa.BufferReader(data)), leaves_of(data))


@pytest.mark.parametrize("rows", [1, 24, 25, 40], ids=lambda rows: f"{rows} row groups")
@pytest.mark.parametrize("which", ["first", "last"])
def test_a_chunk_with_levels_that_its_column_does_not_have_is_refused(rows: int, which: str) -> None:
    data = written(["step", "loss"], rows)
    footer = last_bytes(pa.BufferReader(data))
    # Field 3 after field 1 or none: a list of two counts, no value and one null. A third count is added.
    histogram = b"\x19\x26\x02\x00"
    assert footer.count(histogram) >= rows
    position = footer.rfind(histogram) if which == "last" else footer.find(histogram)
    changed = footer[:position] + b"\x19\x36\x02\x00\x00" + footer[position + 4 : -8]
    changed += (len(changed)).to_bytes(4, "little") + b"PAR1"
    group = rows - 1 if which == "last" else 0
    message = f"the footer's entry of column 'loss' in row group {group} is damaged"
    assert refusal(changed, leaves_of(data)) == message


def test_another_number_of_chunks_than_columns_is_refused() -> None:
    data = written(["step", "loss"], 1)
    found = refusal(last_bytes(pa.BufferReader(data)), leaves_of(data)[:1])
    assert found == "row group 0 of the Parquet file is damaged"


def test_bytes_that_are_no_footer_are_refused() -> None:
    cut = b"\x15\x02\x19\x4c\xff" + (5).to_bytes(4, "little") + b"PAR1"
    assert refusal(cut, []) == "the Parquet footer is damaged"
