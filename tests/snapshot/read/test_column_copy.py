"""Some columns of a Parquet file are copied to the bytes that the writer gives for these columns."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import numpy as np
import pyarrow as pa
import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.canonical import STEP
from pull_logs.snapshot import open_bundle, subset_bundle, verify_bundle
from pull_logs.snapshot.format.parquet_read import read_footer, read_table
from pull_logs.snapshot.format.parquet_write import ROW_GROUP, write_table
from pull_logs.snapshot.read import parquet_member
from pull_logs.snapshot.read.column_copy import MAGIC, copy_columns
from pull_logs.snapshot.write.stored_run import store_run

KINDS: tuple[st.SearchStrategy[Any], ...] = (
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: not value.is_integer()),
    st.integers(-100, 100).map(lambda value: value / 4),
    st.sampled_from([2**53 + 1, 2**60 + 1, -(2**62) - 1]),
    st.booleans(),
    st.text(st.characters(codec="utf-8"), max_size=3),
)
"""Strategies of cells, of which each gives a column of one type."""


@st.composite
def one_kind_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows in which all cells of a key are of one kind, so that there is no residual column."""
    names = draw(st.lists(st.text(st.characters(codec="utf-8"), max_size=3), unique=True, max_size=20))
    kinds = {name: draw(st.sampled_from(KINDS)) for name in names if name not in ("_step", "_wpl_rest")}
    count = draw(st.integers(0, 6))
    rows: list[dict[str, Any]] = [{STEP: 3 * number} for number in range(count)]
    for name, kind in kinds.items():
        for row in rows:
            if draw(st.booleans()):
                row[name] = draw(kind)
    return rows


def written(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    write_table(lambda: [table], sink)
    return sink.getvalue()


def copied(data: bytes, names: Collection[str]) -> bytes:
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") :]
    copy = copy_columns(footer, names)
    return b"".join([MAGIC, *(data[start:end] for start, end in copy.ranges), copy.footer])


@given(one_kind_rows(), st.data())
def test_copied_columns_are_what_the_writer_gives_for_them_to_the_byte(
    rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    table = batch_from_rows(rows)
    kept = [STEP, *(name for name in table.column_names[1:] if data.draw(st.booleans(), label=name))]
    assert copied(written(table), kept) == written(table.select(kept))


@pytest.mark.parametrize("rows", [20_000, 20_001, ROW_GROUP, 2 * ROW_GROUP + 1])
def test_long_columns_with_many_pages_and_row_groups_are_copied(rows: int) -> None:
    random = np.random.default_rng(1)
    columns = {
        STEP: np.arange(rows),
        "a": random.normal(size=rows),
        "b": np.round(random.normal(size=rows), 2),
        "c": pa.array([None, True, False, *[True] * (rows - 3)]),
        "d": pa.array([f"word {number % 50}" for number in range(rows)]),
    }
    table = pa.table(columns).cast(
        pa.schema(
            [pa.field(STEP, pa.int64(), nullable=False)]
            + [pa.field(name, kind) for name, kind in zip("abcd", _TYPES, strict=True)]
        )
    )
    data = written(table)
    for kept in ([STEP], [STEP, "b"], [STEP, "a", "c"], [STEP, "d"]):
        assert copied(data, kept) == written(table.select(kept))


_TYPES: Sequence[pa.DataType] = (pa.float64(), pa.float64(), pa.bool_(), pa.string())


def test_every_cut_and_changed_byte_of_a_footer_is_refused_or_gives_a_footer() -> None:
    table = batch_from_rows([{STEP: step, "a": step / 3, "b": "x", "c": True} for step in range(9)])
    data = written(table)
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") :]
    body = footer[:-8]
    cut = [body[:size] for size in range(len(body))]
    changed = [body[:at] + bytes([body[at] ^ 0x40]) + body[at + 1 :] for at in range(len(body))]
    refused = 0
    for other in [*cut, *changed]:
        try:
            copy_columns(other + len(other).to_bytes(4, "little") + MAGIC, [STEP, "a"])
        except (DataError, UnicodeDecodeError):
            refused += 1
    assert refused >= len(cut) + len(changed) // 2


def _subset(tmp_path: Path, rows: Sequence[dict[str, Any]], metrics: str) -> bytes:
    complete, part = tmp_path / "complete.wandb.zip", tmp_path / "part.wandb.zip"
    make_bundle(complete, [bundle_run("acme/nano/a", rows)])
    with open_bundle(complete) as bundle:
        subset_bundle(bundle.runs(), part, metrics=metrics, force=True)
    assert verify_bundle(part).damages == ()
    return part.read_bytes()


def _encoding() -> AbstractContextManager[Mock]:
    """Count the runs that are encoded."""
    return patch("pull_logs.snapshot.write.bundled_run.store_run", wraps=store_run)


@pytest.mark.parametrize(
    ("rows", "encoded"),
    [
        pytest.param([{STEP: 0, "loss": 1.5, "acc": 2}], False, id="chunks are copied"),
        pytest.param([{STEP: 0, "loss": 1.5, "acc": [1]}], True, id="a residual column"),
        pytest.param([{STEP: 0, "loss": 1.5, "acc": "a"}, {STEP: 1, "loss": "b"}], True, id="mixed cells"),
    ],
)
def test_metrics_are_encoded_again_only_where_their_chunks_may_differ(
    tmp_path: Path,
    rows: list[dict[str, Any]],
    encoded: bool,  # noqa: FBT001
) -> None:
    with _encoding() as stored:
        _subset(tmp_path, rows, "loss")
    assert stored.call_count == encoded


def test_row_groups_that_end_where_text_does_are_encoded_again_without_the_text(tmp_path: Path) -> None:
    rows = [{STEP: step, "loss": step / 3, "note": f"{step}" * 2_000_000} for step in range(12)]
    with _encoding() as stored:
        _subset(tmp_path, rows, "note")
    assert stored.call_count == 0
    with open_bundle(tmp_path / "part.wandb.zip") as bundle:
        assert bundle["a"].arrow_table(["note"]).num_rows == 12
    with _encoding() as stored:
        part = _subset(tmp_path, rows, "loss")
    assert stored.call_count == 1
    lean = make_bundle(tmp_path / "lean.wandb.zip", [bundle_run("acme/nano/a", [*_without_notes(rows)])])
    with open_bundle(lean) as expected, open_bundle(tmp_path / "part.wandb.zip") as found:
        assert found["a"].history_encoded == expected["a"].history_encoded
    assert len(part) < 10_000


def _without_notes(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: cell for key, cell in row.items() if key != "note"} for row in rows]


def test_a_damaged_page_header_of_a_large_file_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_member, "SMALL_FILE", 0)
    complete = make_bundle(
        tmp_path / "a.wandb.zip", [bundle_run("acme/nano/a", [{STEP: 0, "loss": 1.5, "acc": 2}])]
    )
    with open_bundle(complete) as bundle:
        history = b"".join(bundle["a"].history_chunks())
    data = bytearray(complete.read_bytes())
    acc = next(chunk for chunk in read_footer(history).chunks if chunk.column == "acc")
    # The number of rows in the header of its page, which decoding does not need.
    data[data.find(history) + history.index(b"\x4c\x15", acc.start) + 6] ^= 0x20
    complete.write_bytes(data)
    with open_bundle(complete) as bundle, pytest.raises(BundleDamagedError) as caught:
        subset_bundle(bundle.runs(), tmp_path / "part.wandb.zip", metrics="loss|acc")
    assert str(caught.value) == (
        f"{str(complete)!r} is damaged: history.parquet of run 'acme/nano/a': it does not have the hash in"
        " the manifest; run `pull-logs verify` to see where"
    )


def test_a_copied_file_is_read_like_any_other() -> None:
    table = batch_from_rows([{STEP: step, "a": step / 3, "b": "x", "c": True} for step in range(9)])
    assert read_table(copied(written(table), [STEP, "b"])).equals(table.select([STEP, "b"]))
