"""Footers and page headers: those of the usual form are read as any other is."""

from __future__ import annotations

import io
from contextlib import suppress

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pull_logs.errors import DataError
from pull_logs.rows.batches import batch_from_rows
from pull_logs.snapshot.format import parquet_pages as pages
from pull_logs.snapshot.format.parquet_read import read_schema
from pull_logs.snapshot.format.parquet_write import write_table

ROWS = [
    {"_step": step, "x": step / 7, "rounded": 0.5, "id": 2**53 + step, "flag": True, "phase": "ab"[step % 2]}
    | ({"odd": [step]} if step % 9 == 0 else {"odd": "x" * step})
    for step in range(40)
]


def written() -> tuple[bytes, bytes]:
    """A file, and its footer."""
    sink = io.BytesIO()
    told = write_table(lambda: [batch_from_rows(ROWS)], sink)
    return sink.getvalue(), sink.getvalue()[-told.footer_bytes :]


FILE, FOOTER = written()
edits = st.lists(
    st.tuples(
        st.integers(0, 10**6), st.one_of(st.binary(max_size=3), st.sampled_from([b"\x00", b"\x15\x06"]))
    ),
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    for place, new in changes:
        start = place % len(data)
        data = data[:start] + new + data[start + max(len(new), 1) :]
    return data


def groups_of(footer: bytes) -> object:
    try:
        return pages.read_groups(footer, size=len(FILE))
    except DataError as exc:
        return exc.message


def pages_of(data: bytes, chunk: pages.Chunk) -> object:
    try:
        return list(pages.walk_pages(lambda offset, size: data[offset : offset + size], chunk))
    except DataError as exc:
        return exc.message


def field_by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be of the usual form."""
    monkeypatch.setattr(pages, "_usual", lambda _, __: None)
    monkeypatch.setattr(pages, "_USUAL_PAGE", pages._form(rb"(?!)"))
    pages._parsed_small.cache_clear()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=edits)
def test_a_footer_means_the_same_read_either_way(changes: list[tuple[int, bytes]]) -> None:
    footer = edited(FOOTER[:-8], changes)
    footer += len(footer).to_bytes(4, "little") + b"PAR1"
    quick = groups_of(footer)
    with pytest.MonkeyPatch.context() as monkeypatch:
        field_by_field(monkeypatch)
        assert groups_of(footer) == quick
    pages._parsed_small.cache_clear()


@given(changes=edits, column=st.integers(0, 7))
def test_a_page_means_the_same_read_either_way(changes: list[tuple[int, bytes]], column: int) -> None:
    chunks = pages.read_groups(FOOTER, size=len(FILE))[0].chunks
    chunk = chunks[column % len(chunks)]
    near = [(chunk.start + place % 40, new) for place, new in changes]
    data = edited(FILE, near)
    quick = pages_of(data, chunk)
    with pytest.MonkeyPatch.context() as monkeypatch:
        field_by_field(monkeypatch)
        assert pages_of(data, chunk) == quick


def test_what_a_writer_of_this_format_writes_is_of_the_usual_form(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    usual = pages._usual

    def counting(data: bytes, place: int) -> object:
        told.append(usual(data, place))
        return told[-1]

    monkeypatch.setattr(pages, "_usual", counting)
    pages._parsed_small.cache_clear()
    groups = pages.read_groups(FOOTER, size=len(FILE))
    # The root of the schema, the row group, and the steps, which have statistics, are read field by field.
    assert len([known for known in told if known is None]) == 4
    assert len(told) == 3 * len(groups[0].chunks) + 3


@given(changes=edits)
def test_the_columns_of_a_damaged_footer_are_told_or_refused(changes: list[tuple[int, bytes]]) -> None:
    with suppress(DataError):
        assert isinstance(read_schema(edited(FOOTER, changes)), pa.Schema)
