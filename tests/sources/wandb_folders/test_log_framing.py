"""The framing of a log: what was written is read, and damage costs only what it touches."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from logwriting import write_log

from pull_logs.errors import DamageError, FormatTooNewError
from pull_logs.sources.wandb_folders.log_framing import BLOCK_SIZE, HEADER, LogDamage, LogReader

_FIRST_ROOM = BLOCK_SIZE - len(HEADER) - 7
_NEAR_BORDERS = st.builds(
    lambda size, delta: max(size + delta, 0),
    st.sampled_from([0, _FIRST_ROOM, BLOCK_SIZE - 7, 2 * (BLOCK_SIZE - 7), BLOCK_SIZE // 2]),
    st.integers(-16, 16),
)
_SIZES = st.lists(st.one_of(st.integers(0, 60), st.integers(0, 40_000), _NEAR_BORDERS), max_size=12)


def _records(sizes: Sequence[int]) -> list[bytes]:
    """Records that differ, none of them all zeros."""
    return [bytes([index + 1]) * size for index, size in enumerate(sizes)]


def _read(data: bytes) -> tuple[list[bytes], list[LogDamage]]:
    reader = LogReader(io.BytesIO(data), name="run-x.wandb")
    return list(reader), reader.damages


# Where the blocks are counted from: the start of the file, or the end of the header (Go core before 0.17.6).
_ORIGINS = st.sampled_from([0, len(HEADER)])


@given(_SIZES, _ORIGINS)
@example([_FIRST_ROOM, 5], 0)
@example([_FIRST_ROOM - 7, 5], 0)
@example([_FIRST_ROOM - 6, 5], 0)
@example([_FIRST_ROOM - 1, 0, 0], 0)
@example([_FIRST_ROOM, 5], 7)
@example([_FIRST_ROOM, 0, 5], 7)
@example([_FIRST_ROOM, 0, 40_000, 5], 0)
@example([_FIRST_ROOM + 1, 5], 7)
@example([_FIRST_ROOM + 7, 5], 7)
@example([_FIRST_ROOM + 2], 7)
def test_records_of_any_size_are_read_as_they_were_written(sizes: list[int], origin: int) -> None:
    records = _records(sizes)
    data, _ = write_log(records, origin=origin)
    assert _read(data) == (records, [])


@given(_SIZES, _ORIGINS, st.data())
def test_a_cut_costs_the_records_behind_it_and_is_told(
    sizes: list[int], origin: int, data: st.DataObject
) -> None:
    records = _records(sizes)
    log, spans = write_log(records, origin=origin)
    cut = data.draw(st.integers(0, len(log)))
    read, damages = _read(log[:cut])
    assert read == [record for record, (_, end) in zip(records, spans, strict=True) if end <= cut]
    torn = [start for start, end in spans if start < cut < end]
    assert [damage.offset for damage in damages] == torn
    assert [damage.offset + damage.bytes_lost for damage in damages] == [cut] * len(torn)


@given(_SIZES.filter(bool), _ORIGINS, st.integers(1, 255), st.data())
def test_a_flipped_byte_costs_its_record_and_the_rest_of_its_block_and_is_told(
    sizes: list[int], origin: int, flip: int, data: st.DataObject
) -> None:
    records = _records([max(size, 1) for size in sizes])
    log, spans = write_log(records, origin=origin)
    place = data.draw(st.integers(len(HEADER), len(log) - 1))
    damaged = bytearray(log)
    damaged[place] ^= flip
    read, damages = _read(bytes(damaged))

    block_start = max((place - origin) // BLOCK_SIZE * BLOCK_SIZE + origin, 0)
    block_end = (place - origin) // BLOCK_SIZE * BLOCK_SIZE + BLOCK_SIZE + origin
    # The flip may hide a chunk's start, never one before it: what ends before its record is untouched.
    zone_start = max((start for start, _ in spans if start <= place), default=len(HEADER))
    zone_start = max(zone_start, block_start)
    assert read == [record for record in records if record in read]
    lost = [span for span, record in zip(spans, records, strict=True) if record not in read]
    for start, end in lost:
        assert end > zone_start
        assert start < block_end
        assert any(
            damage.offset <= start and end <= damage.offset + damage.bytes_lost for damage in damages
        ), (lost, damages)


@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_read_or_refused_with_our_errors(data: bytes) -> None:
    for log in (data, HEADER + data):
        try:
            records, _ = _read(log)
        except DamageError:
            continue
        assert sum(map(len, records)) <= len(log)


@pytest.mark.parametrize("size", range(len(HEADER) + 1))
def test_a_log_that_was_never_flushed_has_no_records_and_no_damage(size: int) -> None:
    assert _read(HEADER[:size]) == ([], [])


def test_a_damaged_file_header_costs_nothing_when_the_first_chunk_checks_out() -> None:
    log, _ = write_log([b"one", b"two"])
    assert _read(b"\0" + log[1:]) == ([b"one", b"two"], [LogDamage(0, 0, "the file header is damaged")])


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(DamageError) as caught:
        _read(b"PK\x03\x04" + bytes(100))
    assert str(caught.value) == (
        "'run-x.wandb' is not a W&B transaction log; "
        "the name of a log is run-ID.wandb, and it starts with ':W&B'"
    )


def test_a_log_of_a_later_version_is_refused_with_both_versions() -> None:
    log, _ = write_log([b"one"])
    with pytest.raises(FormatTooNewError) as caught:
        _read(log[:6] + b"\x03" + log[7:])
    assert caught.value.message == (
        "'run-x.wandb' is a transaction log of version 3, and this release reads version 0"
    )


def test_zeros_behind_a_crash_are_told() -> None:
    log, _ = write_log([b"one"])
    assert _read(log + bytes(100)) == (
        [b"one"],
        [LogDamage(len(log), 100, "there are zeros instead of records")],
    )


def test_reading_resumes_at_the_next_record_that_begins_in_the_next_block() -> None:
    records = [b"a" * 100, b"b" * 40_000, b"c" * 100]
    log, spans = write_log(records)
    damaged = bytearray(log)
    damaged[spans[0][0] + 20] ^= 1
    read, damages = _read(bytes(damaged))
    # The second record began in the damaged block and goes with it, its tail in the next block too.
    assert read == [records[2]]
    assert damages == [LogDamage(spans[0][0], spans[2][0] - spans[0][0], "a chunk's checksum does not match")]


def test_a_damaged_first_block_does_not_hide_that_blocks_are_counted_from_the_header() -> None:
    records = [b"a" * 100, b"b" * 40_000, b"c" * 100, b"d" * 40_000, b"e"]
    log, spans = write_log(records, origin=len(HEADER))
    damaged = bytearray(log)
    damaged[spans[0][0] + 20] ^= 1
    read, damages = _read(bytes(damaged))
    assert read == records[2:]
    assert damages == [LogDamage(spans[0][0], spans[2][0] - spans[0][0], "a chunk's checksum does not match")]
