"""Columns of numbers that are decoded without pyarrow are those that pyarrow decodes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from bundlekit import bundle_run, make_bundle, unzipped
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.frames import Frame, Vector
from pull_logs.frames.from_arrow import read_column
from pull_logs.rows.batches import batch_from_rows
from pull_logs.snapshot import open_bundle
from pull_logs.snapshot.format.parquet_read import read_table
from pull_logs.snapshot.format.parquet_write import write_table
from pull_logs.snapshot.read import number_columns
from pull_logs.snapshot.read.number_columns import (
    MAX_ROWS,
    NumberPages,
    NumberReader,
    decoded_together,
)

NAMES = ("a", "b", "c/d")
NUMBERS = st.floats() | st.integers(-5, 5).map(float) | st.sampled_from([0.25, 1e300, float("nan")])


@st.composite
def histories(draw: st.DrawFn) -> pa.Table:
    """Histories of up to 300 rows whose columns have gaps of several lengths and values of several kinds."""
    length = draw(st.integers(1, 300))
    gap = draw(st.sampled_from([1, 1, 7, 2**20, 2**40]))
    first = draw(st.integers(-(2**53), 2**53))
    jumps = draw(st.lists(st.integers(1, gap), min_size=length, max_size=length)) if gap > 1 else [1] * length
    rows: list[dict[str, Any]] = [
        {"_step": step} for step in np.cumsum([first, *jumps[1:]], dtype=object).tolist()
    ]
    for name in draw(st.sets(st.sampled_from(NAMES))):
        pool = draw(st.lists(NUMBERS, min_size=1, max_size=6))
        every, start = draw(st.sampled_from([1, 1, 2, 3, 50])), draw(st.integers(0, length - 1))
        for index in range(start if every > 1 else 0, length, every):
            rows[index][name] = pool[index % len(pool)]
        for index in draw(st.sets(st.integers(0, length - 1), max_size=3)):
            rows[index].pop(name, None)
    odd = draw(st.sampled_from([None, "text", True, 2**60, {"x": 1.5}]))
    if odd is not None:
        rows[draw(st.integers(0, length - 1))]["odd"] = odd
    return batch_from_rows(rows)


def written(table: pa.Table) -> tuple[bytes, bytes]:
    sink = io.BytesIO()
    encoded = write_table(lambda: [table], sink)
    data = sink.getvalue()
    return data, data[-encoded.footer_bytes :]


def read(reader: NumberReader, table: pa.Table, names: Sequence[str]) -> dict[str, Vector]:
    data, footer = written(table)
    return reader.read(data, footer, names, rows=table.num_rows)


def assert_same(found: Vector, expected: Vector) -> None:
    assert (found.kind, found.values.dtype) == (expected.kind, expected.values.dtype)
    assert found.present.tolist() == expected.present.tolist()
    assert found.values.tobytes() == expected.values.tobytes()


@given(
    tables=st.lists(histories(), min_size=1, max_size=4), names=st.sets(st.sampled_from([*NAMES, "odd", "z"]))
)
def test_they_are_those_that_pyarrow_reads(tables: list[pa.Table], names: set[str]) -> None:
    reader = NumberReader()
    for table in [*tables, *tables, *tables]:
        data, footer = written(table)
        for name, vector in reader.read(data, footer, sorted(names), rows=table.num_rows).items():
            column = read_table(data, footer=footer).column(name)
            assert_same(vector, read_column(column, None, length=table.num_rows).vector)


@given(
    tables=st.lists(histories(), min_size=1, max_size=8),
    names=st.sets(st.sampled_from([*NAMES, "odd"])),
    worth_joining=st.sampled_from([2, 4, 10**9]),
    damaged=st.none() | st.integers(0, 7),
)
def test_several_histories_are_decoded_together_as_each_is_alone(
    tables: list[pa.Table], names: set[str], worth_joining: int, damaged: int | None
) -> None:
    """Also beside one of which a page cannot be decompressed, and whether pages are decompressed together."""
    reader = NumberReader()
    for table in [*tables, *tables]:
        read(reader, table, sorted(names))
    waiting: list[NumberPages | None] = []
    for number, table in enumerate(tables):
        data, footer = written(table)
        pages = reader.pages(data, footer, sorted(names), rows=table.num_rows)
        if number == damaged and pages is not None:
            pages = replace(pages, pages={name: cut_short(page) for name, page in pages.pages.items()})
        waiting.append(pages)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(number_columns, "_WORTH_JOINING", worth_joining)
        found = decoded_together([*waiting, *waiting])
    for number, (table, numbers) in enumerate(zip([*tables, *tables], found, strict=True)):
        expected = read(reader, table, sorted(names)) if number % len(tables) != damaged else {}
        assert list(numbers) == list(expected)
        for name, (values, present) in numbers.items():
            mask = np.ones(table.num_rows, np.bool_) if present is None else present
            assert_same(Vector("number", values, mask), expected[name])


def cut_short(page: Any) -> Any:
    """Return a page without its last byte."""
    return page._replace(values=page.values[:-1])


def test_the_third_file_of_a_form_is_read_and_all_that_follow() -> None:
    reader = NumberReader()
    tables = [
        batch_from_rows(
            {
                "_step": step * (number + 1),
                "a": step / 7 + number,
                "c/d": step % 5,
                **({"b": step / 3} if step % 4 else {}),
            }
            for step in range(100 + 300 * number)
        )
        for number in range(6)
    ]
    found = [list(read(reader, table, ["a", "b", "c/d", "z"])) for table in tables]
    assert found == [[], [], *[["_step", "a", "b", "c/d"]] * 4]


@pytest.mark.parametrize(
    "rows",
    [
        [{"_step": step, "a": step / 7, "h": {"x": step}} for step in range(9)],
        [{"_step": step, "a": step / 7} for step in range(MAX_ROWS + 1)],
        [],
    ],
    ids=["a residual", "many rows", "no rows"],
)
def test_other_files_are_left_to_pyarrow(rows: list[dict[str, Any]]) -> None:
    reader, table = NumberReader(), batch_from_rows(rows)
    assert [read(reader, table, ["a"]) for _ in range(4)] == [{}] * 4


def test_a_column_of_another_kind_is_left_out() -> None:
    reader = NumberReader()
    rows = [{"_step": step, "a": step / 7, "id": 2**53 + step, "ok": True, "text": "x"} for step in range(9)]
    found = [read(reader, batch_from_rows(rows), ["a", "id", "ok", "text"]) for _ in range(3)][-1]
    assert list(found) == ["_step", "a"]


@given(offset=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_flipped_bit_makes_more_than_a_wrong_number(offset: int, bit: int) -> None:
    """Even where a hash fits damaged bytes, nothing but an error of damage comes of them."""
    reader = NumberReader()
    rows = [{"_step": 3 * step**2, "a": step / 7, **({"b": step} if step % 3 else {})} for step in range(60)]
    data, footer = written(batch_from_rows(rows))
    assert [bool(reader.read(data, footer, ["a", "b"], rows=60)) for _ in range(3)] == [False, False, True]
    place = offset % len(data)
    other = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
    try:
        found = reader.read(other, other[-len(footer) :], ["a", "b"], rows=60)
    except DataError:
        return
    assert all(len(vector) == 60 for vector in found.values())


def test_a_frame_of_a_bundle_reads_them_and_damage_is_reported_as_ever(tmp_path: Path) -> None:
    def rows(number: int) -> list[dict[str, Any]]:
        return [
            {"_step": step, "loss": number / (1 + step), **({} if step % 3 else {"acc": step / 9})}
            for step in range(40 + number)
        ]

    runs = [bundle_run(f"acme/nano/r{number}", rows(number)) for number in range(5)]
    folder = unzipped(make_bundle(tmp_path / "a.wandb.zip", runs), tmp_path / "a")
    with open_bundle(folder) as opened:
        for number, run in enumerate(opened.runs()):
            frame = Frame(run)
            frame.load(["loss", "acc"])
            assert frame.steps.tolist() == list(range(40 + number))
            for name in ("loss", "acc"):
                assert frame.column(name).cells(np.arange(run.rows)) == [
                    row.get(name) for row in rows(number)
                ]
        assert list(run.number_columns(["loss", "acc"])) == ["_step", "loss", "acc"]
        file = next(folder.rglob("run=r4/history.parquet"))
        file.write_bytes(file.read_bytes().replace(b"loss", b"lofs"))
        with pytest.raises(BundleDamagedError, match="it does not have the hash in the manifest"):
            Frame(opened["r4"]).load(["loss"])
