"""Framing and damage: every cut and every flipped byte of a small file costs only what it must."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from eventkit import T0, event_file, frame, read_all, rows_of, scalars, version, write_events
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import DamageError
from pull_logs.sources.tensorboard.record_framing import RecordReader

RECORDS = [version(), *(scalars(step, {"loss": 1.0 / (step + 1), "lr": 0.5}) for step in range(6))]
FRAMES = [frame(record.SerializeToString()) for record in RECORDS]
FILE = b"".join(FRAMES)
ENDS = [sum(map(len, FRAMES[: number + 1])) for number in range(len(FRAMES))]
"""The position after each record."""


def _read(data: bytes, *, block_bytes: int = 64) -> tuple[list[bytes], RecordReader]:
    reader = RecordReader(io.BytesIO(data), block_bytes=block_bytes)
    found = [
        block.data[start:end]
        for block in reader
        for start, end in zip(block.starts.tolist(), block.ends.tolist(), strict=True)
    ]
    return found, reader


@given(st.lists(st.binary(max_size=300), max_size=12), st.integers(1, 200))
def test_records_are_read_whatever_the_size_of_blocks(records: list[bytes], block_bytes: int) -> None:
    found, reader = _read(b"".join(map(frame, records)), block_bytes=block_bytes)
    assert found == records
    assert reader.records == len(records)
    assert reader.damages == []


def test_every_cut_of_a_file_leaves_the_records_before_it() -> None:
    for cut in range(len(FILE)):
        complete = [number for number, end in enumerate(ENDS) if end <= cut]
        found, reader = _read(FILE[:cut])
        assert found == [RECORDS[number].SerializeToString() for number in complete]
        start = ENDS[complete[-1]] if complete else 0
        expected = (
            [] if cut == start else [f"{cut - start} bytes at offset {start}: the last record is torn off"]
        )
        assert [str(damage) for damage in reader.damages] == expected
        assert all(damage.torn for damage in reader.damages)


def test_every_flipped_byte_costs_its_record_and_is_located() -> None:
    for position in range(len(FILE)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(FILE)
            damaged[position] ^= flip
            hit = next(number for number, end in enumerate(ENDS) if position < end)
            found, reader = _read(bytes(damaged))
            left = [record.SerializeToString() for number, record in enumerate(RECORDS) if number != hit]
            assert found == left
            (damage,) = reader.damages
            start = ENDS[hit] - len(FRAMES[hit])
            assert (damage.offset, damage.bytes_lost) == (start, len(FRAMES[hit]))
            what = "a length" if position - start < 12 else "a record"
            assert damage.reason == f"the checksum of {what} is wrong"
            assert not damage.torn


@given(st.binary(max_size=400))
def test_other_bytes_give_no_record(data: bytes) -> None:
    found, reader = _read(data)
    assert found == []
    assert sum(damage.bytes_lost for damage in reader.damages) == len(data)


@given(st.binary(max_size=60), st.integers(0, len(RECORDS)))
def test_bytes_between_records_are_skipped(noise: bytes, index: int) -> None:
    found, reader = _read(b"".join([*FRAMES[:index], noise, *FRAMES[index:]]))
    assert found == [record.SerializeToString() for record in RECORDS]
    assert sum(damage.bytes_lost for damage in reader.damages) == len(noise)


@given(
    st.lists(st.lists(st.sampled_from([b"", b"\0" * 12, *FRAMES, FRAMES[0][:15]]), max_size=4), max_size=12),
    st.integers(1, 300),
)
def test_records_that_contain_records_are_one(parts: list[list[bytes]], block_bytes: int) -> None:
    """A record may be a file of events itself, or a part of one."""
    records = [b"".join(some) for some in parts]
    found, reader = _read(b"".join(map(frame, records)), block_bytes=block_bytes)
    assert found == records
    assert reader.damages == []


def test_records_longer_than_a_block_are_read_at_once() -> None:
    records = [b"x" * 70_000, b"", b"\0" * 200_000, b"y"]
    found, reader = _read(b"".join(map(frame, records)), block_bytes=1000)
    assert found == records
    assert reader.damages == []


def _rows(events: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "_step": event.step,
            "_timestamp": event.wall_time,
            "_runtime": event.wall_time - T0,
            **{value.tag: value.simple_value for value in event.summary.value},
        }
        for event in events
        if event.summary.value
    ]


def test_every_cut_of_a_run_gives_a_part_of_its_rows(tmp_path: Path) -> None:
    file = event_file(tmp_path / "runs" / "exp")
    file.parent.mkdir(parents=True)
    for cut in range(ENDS[0], len(FILE)):
        file.write_bytes(FILE[:cut])
        (run,) = read_all(tmp_path / "runs", tmp_path / f"scratch{cut}").values()
        complete = [number for number, end in enumerate(ENDS) if end <= cut]
        assert rows_of(run) == _rows([RECORDS[number] for number in complete])
        start = ENDS[complete[-1]]
        if cut == start:
            assert (run.run.coverage.complete, run.run.info.state, run.notes) == (True, "finished", ())
            continue
        reason = f"{file.name}: {cut - start} bytes at offset {start}: the last record is torn off"
        assert run.run.coverage.reason == reason
        assert not run.run.coverage.complete
        assert run.run.info.state == "crashed"
        assert run.notes == (f"local/runs/exp: {reason}",)


def test_a_file_without_a_valid_record_is_refused(tmp_path: Path) -> None:
    file = event_file(tmp_path / "runs" / "exp")
    file.parent.mkdir(parents=True)
    file.write_bytes(FILE[:20])
    with pytest.raises(DamageError) as caught:
        read_all(tmp_path / "runs", tmp_path / "scratch")
    assert str(caught.value) == (
        f"{file.name!r} of the run 'exp' has no valid record (20 bytes at offset 0: the last record is torn"
        " off); name a folder with event files of TensorBoard"
    )


def test_an_empty_file_is_a_run_without_rows(tmp_path: Path) -> None:
    write_events(event_file(tmp_path / "runs" / "exp"), [])
    (run,) = read_all(tmp_path / "runs", tmp_path / "scratch").values()
    assert rows_of(run) == []
    assert run.run.coverage.complete
