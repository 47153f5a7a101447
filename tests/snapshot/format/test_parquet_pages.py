"""Footers and page headers: read as they were written, and refused where they are damaged."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given
from hypothesis import strategies as st
from rowkit import canonical, nasty_rows

from pull_logs.errors import DataError
from pull_logs.rows.batches import batch_from_rows
from pull_logs.snapshot.format import parquet_pages as pages
from pull_logs.snapshot.format.parquet_read import read_schema
from pull_logs.snapshot.format.parquet_write import write_table

Result = TypeVar("Result")

ROWS = [
    {"_step": step, "x": step / 7, "rounded": 0.5, "id": 2**53 + step, "flag": True, "phase": "ab"[step % 2]}
    | ({"odd": [step]} if step % 9 == 0 else {"odd": "x" * step})
    for step in range(40)
]


def written(rows: list[dict[str, Any]]) -> tuple[bytes, bytes]:
    """Return a file and its footer."""
    sink = io.BytesIO()
    encoded = write_table(lambda: [batch_from_rows(rows)], sink)
    return sink.getvalue(), sink.getvalue()[-encoded.footer_bytes :]


FILE, FOOTER = written(ROWS)
edits = st.lists(
    st.tuples(
        st.integers(0, 10**6), st.one_of(st.binary(max_size=3), st.sampled_from([b"\x00", b"\x15\x06"]))
    ),
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    for index, new in changes:
        start = index % len(data)
        data = data[:start] + new + data[start + max(len(new), 1) :]
    return data


def with_length(footer: bytes) -> bytes:
    return footer + len(footer).to_bytes(4, "little") + b"PAR1"


def read_pages(data: bytes, chunk: pages.Chunk) -> list[pages.Page]:
    return list(pages.walk_pages(lambda offset, size: data[offset : offset + size], chunk))


@given(rows=nasty_rows)
def test_a_footer_means_what_pyarrow_reads_in_it(rows: list[dict[str, Any]]) -> None:
    file, footer = written(canonical(rows))
    metadata = pq.read_metadata(pa.BufferReader(file))
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    meant = []
    for number, group in enumerate(groups):
        columns = [group.column(index) for index in range(group.num_columns)]
        starts = [column.dictionary_page_offset or column.data_page_offset for column in columns]
        ends = [start + column.total_compressed_size for start, column in zip(starts, columns, strict=True)]
        names = [column.path_in_schema for column in columns]
        chunks = map(pages.Chunk, [number] * len(columns), names, starts, ends)
        steps = columns[0].statistics
        meant.append(pages.Group(group.num_rows, tuple(chunks), (steps.min, steps.max)))
    assert pages.read_groups(footer, size=len(file)) == tuple(meant)


@given(rows=nasty_rows)
def test_the_pages_of_a_chunk_fill_it_and_have_the_values_and_bytes_that_it_says(
    rows: list[dict[str, Any]],
) -> None:
    file, footer = written(canonical(rows))
    metadata = pq.read_metadata(pa.BufferReader(file))
    for number, group in enumerate(pages.read_groups(footer, size=len(file))):
        for index, chunk in enumerate(group.chunks):
            found = read_pages(file, chunk)
            meant = metadata.row_group(number).column(index)
            assert [page.start for page in found] == [chunk.start, *[page.end for page in found[:-1]]]
            assert found[-1].end == chunk.end
            assert sum(page.values for page in found) == meant.num_values
            headers = sum(page.body - page.start for page in found)
            assert sum(page.decoded for page in found) + headers == meant.total_uncompressed_size


REFUSED_FOOTER = re.compile(
    r"the Parquet footer is damaged"
    r"|the row groups of the Parquet file do not add up to its -?\d+ rows"
    r"|row group 0 of the Parquet file (is damaged|has \d+ rows, and 131072 are the most)"
    r"|column '.*' of the Parquet file is nested"
    r"|the footer's entry of column '.*' in row group 0 is damaged"
)
REFUSED_PAGE = re.compile(
    r"the page header at byte \d+ is damaged"
    r"|the page at byte \d+ (is not one that this format has|reaches beyond its column chunk)"
)


def result_or_message(read: Callable[[], Result]) -> Result | str:
    """Return what is read, or the message of the refusal."""
    try:
        return read()
    except DataError as exc:
        return exc.message


@given(changes=edits)
@example(changes=[(127, b""), (127, b"")])  # a list where the number of rows was
def test_a_damaged_footer_is_refused_or_has_chunks_inside_the_file(changes: list[tuple[int, bytes]]) -> None:
    footer = with_length(edited(FOOTER[:-8], changes))
    groups = result_or_message(lambda: pages.read_groups(footer, size=len(FILE)))
    if isinstance(groups, str):
        assert REFUSED_FOOTER.fullmatch(groups)
        return
    names = [[chunk.column for chunk in group.chunks] for group in groups]
    assert all(group == names[0] for group in names)
    assert all(4 <= chunk.start <= chunk.end <= len(FILE) for group in groups for chunk in group.chunks)


@given(changes=edits, column=st.integers(0, 7))
def test_a_damaged_page_is_refused_or_inside_its_chunk(changes: list[tuple[int, bytes]], column: int) -> None:
    chunks = pages.read_groups(FOOTER, size=len(FILE))[0].chunks
    chunk = chunks[column % len(chunks)]
    data = edited(FILE, [(chunk.start + index % 40, new) for index, new in changes])
    found = result_or_message(lambda: read_pages(data, chunk))
    if isinstance(found, str):
        assert REFUSED_PAGE.fullmatch(found)
        return
    assert all(page.start < page.body <= page.end <= chunk.end for page in found)
    assert all(page.decoded >= 0 and page.values >= 0 for page in found)
    assert found[-1].end == chunk.end


@given(changes=edits)
def test_the_columns_of_a_damaged_footer_are_read_or_refused(changes: list[tuple[int, bytes]]) -> None:
    with suppress(DataError):
        assert isinstance(read_schema(edited(FOOTER, changes)), pa.Schema)
