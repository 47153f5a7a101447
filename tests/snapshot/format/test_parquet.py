"""Parquet files: what is written, and what is refused on reading."""

from __future__ import annotations

import errno
import hashlib
import io
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rowkit import canonical, same_rows

from pull_logs.errors import DataError
from pull_logs.rows.batches import RESIDUAL, batch_from_rows, batch_rows, system_batch_from_rows
from pull_logs.rows.layout import is_rounded
from pull_logs.snapshot.format import parquet_write as parquet
from pull_logs.snapshot.format.parquet_read import damaged_chunks, read_batches, read_footer, read_table
from pull_logs.snapshot.format.parquet_write import Encoded, write_table

ROWS = canonical(
    {
        "_step": 3 * step,
        "rounded": round(step / 7, 4),
        "a": step / 7,
        "a.b": step / 3,
        "id": 2**53 + step,
        "flag": step % 3 == 0,
        "phase": "warm" if step < 50 else "cold",
        "odd": "text" if step == 20 else step,
        "hist": {"_type": "histogram", "values": [step, 1], "bins": [0, 0.5, 1]},
    }
    for step in range(200)
)


def write(*batches: pa.Table, system: bool = False) -> tuple[bytes, Encoded]:
    sink = io.BytesIO()
    encoded = write_table(lambda: batches, sink, system=system)
    return sink.getvalue(), encoded


@pytest.fixture(scope="module")
def file() -> bytes:
    return write(batch_from_rows(ROWS))[0]


def foreign(table: pa.Table, **settings: Any) -> bytes:
    """Return a file that another program wrote."""
    sink = io.BytesIO()
    defaults: dict[str, Any] = {
        "data_page_version": "2.0",
        "write_page_checksum": True,
        "store_schema": False,
    }
    pq.write_table(table, sink, **{**defaults, **settings})
    return sink.getvalue()


def steps(count: int) -> pa.Array:
    return pa.array(np.arange(count))


def stepped(count: int = 1, **columns: pa.Array) -> pa.Table:
    fields = [pa.field("_step", pa.int64(), nullable=False)]
    fields += [pa.field(name, array.type) for name, array in columns.items()]
    return pa.Table.from_arrays([steps(count), *columns.values()], schema=pa.schema(fields))


# Writing.


def test_the_result_describes_the_written_file(file: bytes) -> None:
    again, result = write(batch_from_rows(ROWS))
    size = int.from_bytes(file[-8:-4], "little") + 8
    assert again == file
    assert (result.rows, result.first_step, result.last_step) == (200, 0, 597)
    assert (result.bytes, result.footer_bytes) == (len(file), size)
    assert result.hash == f"sha256:{hashlib.sha256(file).hexdigest()}"
    assert result.footer_hash == f"sha256:{hashlib.sha256(file[-size:]).hexdigest()}"
    assert read_footer(b"", footer=file[-size:]) == read_footer(file)


def test_nothing_written_has_no_steps() -> None:
    for system in (False, True):
        _, result = write(system=system)
        assert (result.rows, result.first_step, result.last_step) == (0, None, None)


def test_the_settings_are_those_of_the_format(file: bytes) -> None:
    metadata = pq.read_metadata(io.BytesIO(file))
    group = metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    assert {column.path_in_schema: set(column.encodings) for column in columns} == {
        "_step": {"RLE", "DELTA_BINARY_PACKED"},
        "a": {"RLE", "BYTE_STREAM_SPLIT"},
        "a.b": {"RLE", "BYTE_STREAM_SPLIT"},
        "flag": {"RLE"},
        "id": {"RLE", "DELTA_BINARY_PACKED"},
        "odd": {"PLAIN", "RLE"},
        "phase": {"PLAIN", "RLE", "RLE_DICTIONARY"},
        "rounded": {"PLAIN", "RLE"},
        RESIDUAL: {"PLAIN", "RLE"},
    }
    assert {column.compression for column in columns} == {"ZSTD"}
    assert [column.path_in_schema for column in columns if column.is_stats_set] == ["_step"]
    assert metadata.metadata is None
    assert metadata.format_version == "2.6"


def test_the_encoding_is_decided_by_all_values_of_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP", 2)
    data, _ = write(
        *(batch_from_rows([{"_step": step, "x": x}]) for step, x in enumerate([0.5, 0.25, 1 / 3]))
    )
    metadata = pq.read_metadata(io.BytesIO(data))
    encodings = [metadata.row_group(group).column(1).encodings for group in range(metadata.num_row_groups)]
    assert encodings == [("RLE", "BYTE_STREAM_SPLIT")] * 2


@given(
    st.lists(
        st.floats()
        | st.floats(-1e4, 1e4).map(lambda value: round(value, 6))
        | st.floats(2.0**31, 2.0**34).map(lambda value: round(value, 6))
        | st.floats(2.0**31, 2.0**34),
        max_size=3,
    )
)
def test_rounded_means_that_six_decimals_say_it_all(values: list[float]) -> None:
    expected = all(float(f"{value:.6f}") == value for value in values if value == value)
    assert is_rounded(np.array(values, dtype=np.float64)) is expected


@pytest.mark.parametrize("bound", [2.0**exponent for exponent in range(-20, 40)])
def test_rounded_holds_around_powers_of_two(bound: float) -> None:
    chance = np.random.default_rng(7)
    around = np.round(bound * (1 + chance.uniform(-1e-3, 1e-3, 300)), 6)
    for value in map(float, [*around, *np.nextafter(around, np.inf), bound, np.nextafter(bound, 0)]):
        assert is_rounded(np.array([value])) is (float(f"{value:.6f}") == value)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([[{"_step": 1}, {"_step": 1}]], "steps do not ascend between 1 and 1"),
        ([[{"_step": 5}], [{"_step": 4}]], "steps do not ascend between 5 and 4"),
    ],
)
def test_steps_have_to_ascend(batches: list[list[dict[str, Any]]], message: str) -> None:
    with pytest.raises(DataError) as caught:
        write(*map(batch_from_rows, batches))
    assert caught.value.message == message


def test_histories_and_system_metrics_are_not_mistaken_for_each_other() -> None:
    with pytest.raises(DataError, match=r"^a system batch has a _step column$"):
        write(batch_from_rows([{"_step": 1}]), system=True)
    with pytest.raises(DataError, match=r"^a batch has no _step column$"):
        write(system_batch_from_rows([{"cpu": 1}]))


def test_a_full_disk_is_the_sinks_own_error() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        write_table(lambda: [batch_from_rows(ROWS)], Full())
    assert caught.value.errno == errno.ENOSPC


def test_writing_holds_one_row_group_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP", 1000)
    before = pa.total_allocated_bytes()
    peak = 0

    def batches() -> Iterator[pa.Table]:
        nonlocal peak
        for start in range(0, 100_000, 500):
            peak = max(peak, pa.total_allocated_bytes() - before)
            yield stepped(500, x=pa.array(np.random.default_rng(start).random(500))).set_column(
                0, pa.field("_step", pa.int64(), nullable=False), pa.array(np.arange(start, start + 500))
            )

    write_table(batches, io.BytesIO())
    assert peak < 2_000_000


def test_other_tools_read_the_file(file: bytes, tmp_path: Path) -> None:
    path = tmp_path / "history.parquet"
    path.write_bytes(file)
    query = f"select sum(_step), sum(a), count(phase), sum(id) from '{path}'"
    (found,) = duckdb.sql(query).fetchall()
    frame = pl.read_parquet(path)
    expected = (sum(row["_step"] for row in ROWS), sum(row["a"] for row in ROWS))
    assert found[:2] == pytest.approx(expected)
    assert (frame["_step"].sum(), frame["a"].sum()) == pytest.approx(expected)
    assert found[2:] == (200, sum(row["id"] for row in ROWS))


# Reading.


def opened(data: bytes, path: Path, how: str) -> Any:
    path.write_bytes(data)
    if how == "bytes":
        return data
    return path.open("rb") if how == "file" else pa.OSFile(str(path))


@pytest.mark.parametrize("how", ["bytes", "file", "native"])
def test_a_file_is_read_from_whatever_holds_it(file: bytes, tmp_path: Path, how: str) -> None:
    source = opened(file, tmp_path / "history.parquet", how)
    try:
        assert same_rows(batch_rows(read_table(source)), ROWS)
        assert read_footer(source).columns == tuple(read_table(file).column_names)
        assert [batch.num_rows for batch in read_batches(source)] == [200]
    finally:
        if how != "bytes":
            source.close()


def test_asked_columns_come_with_steps_and_residual(file: bytes) -> None:
    table = read_table(file, ["odd", "a", "gone", "hist"])
    assert table.column_names == ["_step", "a", "odd", RESIDUAL]
    keys = {"odd", "a", "hist"}
    expected = [{key: row[key] for key in row if key in keys} for row in ROWS]
    assert same_rows(batch_rows(table, keys), expected)


def test_a_footer_at_hand_is_not_read_again(file: bytes) -> None:
    size = int.from_bytes(file[-8:-4], "little") + 8
    without = file[:-size] + bytes(size)
    assert same_rows(batch_rows(read_table(without, footer=file[-size:])), ROWS)


def test_every_flipped_bit_in_the_pages_is_found_and_located(file: bytes) -> None:
    expected = read_table(file)
    footer = int.from_bytes(file[-8:-4], "little") + 8
    chunks = read_footer(file).chunks
    assert chunks[0].start == 4
    for index in range(4, len(file) - footer, 7):
        torn = bytearray(file)
        torn[index] ^= 1 << (index % 8)
        home = next(chunk for chunk in chunks if chunk.start <= index < chunk.end)
        try:
            unharmed = read_table(bytes(torn)).equals(expected)
        except DataError:
            unharmed = False
        if not unharmed:
            with pytest.raises(DataError):
                read_table(bytes(torn))
        found = damaged_chunks(bytes(torn))
        # A flip in the statistics of a page's header may change no cell; a checksum finds every other one.
        assert unharmed or [(part.row_group, part.column) for part in found] == [(0, home.column)]
        assert all(part.start <= index < part.end for part in found)


def test_an_intact_file_has_no_damage(file: bytes) -> None:
    assert damaged_chunks(file) == ()


@pytest.mark.parametrize("cut", [slice(0), slice(1), slice(100), slice(-1), slice(-9), slice(-100, None)])
def test_a_file_cut_short_is_damaged(file: bytes, cut: slice) -> None:
    for read in (read_table, read_footer, damaged_chunks):
        with pytest.raises(DataError, match=r"^the Parquet footer (does not end in PAR1|is cut short)"):
            read(file[cut])


def test_an_error_of_the_source_is_its_own(file: bytes) -> None:
    class Gone(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error") as caught:
        read_table(Gone(file))
    assert caught.value.errno == errno.EIO


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (stepped(x=pa.array([1], pa.int32())), "column 'x' of the Parquet file has the type int32"),
        (stepped(x=pa.array([[1]])), "column 'x' of the Parquet file is nested"),
        (stepped(**{RESIDUAL: pa.array([1.5])}), f"the {RESIDUAL} column of the Parquet file is not text"),
        (
            pa.table({"_step": [1]}),
            "the _step column of the Parquet file is not a required int64 and the first",
        ),
        (
            pa.table([[1], [2]], names=["x", "x"]),
            "two columns of the Parquet file have one name",
        ),
    ],
)
def test_a_schema_that_no_batch_has_is_refused(table: pa.Table, message: str) -> None:
    for read in (read_table, read_footer, damaged_chunks):
        with pytest.raises(DataError) as caught:
            read(foreign(table))
        assert caught.value.message == message


def test_extension_types_are_refused() -> None:
    table = stepped(x=pa.array(["{}"], pa.json_()))
    with pytest.raises(
        DataError, match=r"^column 'x' of the Parquet file has the type extension<arrow.json>$"
    ):
        read_table(foreign(table, store_schema=True))


def test_pages_without_a_checksum_are_refused() -> None:
    data = foreign(stepped(), write_page_checksum=False)
    with pytest.raises(DataError, match=r"^the page header at byte 4 is damaged$"):
        read_table(data)


def test_text_that_is_not_utf8_is_refused() -> None:
    data = foreign(stepped(x=pa.array([b"\xff"]).view(pa.string())))
    with pytest.raises(DataError, match=r"^the Parquet data is damaged: Invalid UTF8 sequence"):
        read_table(data)


def test_reading_loads_no_pandas(file: bytes, tmp_path: Path) -> None:
    path = tmp_path / "history.parquet"
    path.write_bytes(file)
    program = f"""
import sys
from pull_logs.rows.batches import batch_rows
from pull_logs.snapshot.format.parquet_read import read_table
with open({str(path)!r}, "rb") as source:
    assert len(list(batch_rows(read_table(source)))) == 200
sys.exit("pandas" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# Files that exceed limits.


def test_the_number_of_rows_is_checked_before_reading(file: bytes) -> None:
    assert read_table(file, expected_rows=200).num_rows == 200
    with pytest.raises(DataError, match=r"^the Parquet file has 200 rows, not 199$"):
        read_table(file, expected_rows=199)


def bomb_of_numbers() -> bytes:
    rows = 131_072
    columns = {f"x{index}": pa.array(np.zeros(rows)) for index in range(20)}
    return foreign(stepped(rows, **columns), column_encoding=None, use_dictionary=list(columns))


def test_a_row_group_is_no_larger_than_the_format_has_them() -> None:
    data = foreign(stepped(131_073))
    for read in (read_table, read_footer, damaged_chunks):
        with pytest.raises(DataError) as caught:
            read(data)
        assert caught.value.message == (
            "row group 0 of the Parquet file has 131073 rows, and 131072 are the most"
        )


def bomb_of_text() -> bytes:
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(5000, dtype=np.int32)), ["x" * 100_000])
    return foreign(stepped(5000, x=text), use_dictionary=["x"], compression="zstd")


@cache
def bomb_of_one_page() -> bytes:
    return foreign(stepped(1, x=pa.array(["x" * 100_000_000])), use_dictionary=False, compression="zstd")


@pytest.mark.parametrize("bomb", [bomb_of_numbers, bomb_of_text, bomb_of_one_page])
@pytest.mark.parametrize("read", [read_table, lambda *args, **limit: list(read_batches(*args, **limit))])
def test_a_short_file_that_expands_to_much_is_refused(bomb: Callable[[], bytes], read: Any) -> None:
    data = bomb()
    assert len(data) < 200_000 or bomb is bomb_of_numbers
    before = pa.total_allocated_bytes()
    with pytest.raises(DataError, match=r"bytes of memory, more than the 20000000 allowed$"):
        read(data, memory_limit=20_000_000)
    assert pa.total_allocated_bytes() - before < 20_000_000


def test_a_text_encoding_that_repeats_itself_is_refused() -> None:
    table = stepped(1000, x=pa.array([("x" * 1000) + str(index) for index in range(1000)]))
    data = foreign(table, use_dictionary=False, column_encoding={"x": "DELTA_BYTE_ARRAY"})
    with pytest.raises(DataError, match=r"^the page at byte \d+ is not one that this format has$"):
        read_table(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(DataError):
        read_table(b"PAR1" + data + b"PAR1")


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_footer_is_an_error_of_ours_or_harmless(flips: Sequence[tuple[int, int]]) -> None:
    torn = bytearray(write(batch_from_rows(ROWS[:30]))[0])
    for index, value in flips:
        torn[len(torn) - 1 - index % (len(torn) - 4)] = value
    try:
        table = read_table(bytes(torn), memory_limit=10_000_000)
        assert list(batch_rows(table))
        damaged_chunks(bytes(torn))
    except DataError:
        pass


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_no_damaged_byte_of_a_footer_ends_the_process(mask: int) -> None:
    data, result = write(batch_from_rows(ROWS[:3]))
    for index in range(result.bytes - result.footer_bytes, result.bytes):
        torn = bytearray(data)
        torn[index] ^= mask
        for read in (read_table, read_footer, damaged_chunks):
            with suppress(DataError):
                read(bytes(torn))
