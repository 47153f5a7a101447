"""Console logs come back as they were written, the same bytes for the same lines; hostile ones do not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import zstandard
from consolekit import console_logs, console_of, printed
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canonical_text
from pull_logs.snapshot.format import ConsoleLine, ConsoleRecord, console_in_memory, read_lines
from pull_logs.snapshot.format.console import encode_line
from pull_logs.snapshot.format.console import writer as console_writer


def read(data: bytes, record: ConsoleRecord) -> list[ConsoleLine]:
    return list(read_lines([data], record))


@given(console_logs(), st.integers(1, 50))
def test_lines_come_back_as_they_were_written(lines: list[ConsoleLine], part: int) -> None:
    console = console_in_memory(lines)
    if console is None:
        assert not lines
        return
    data = b"".join(console.chunks())
    parts = [data[at : at + part] for at in range(0, len(data), part)]
    assert list(read_lines(parts, console.record)) == lines
    assert (console.record.lines, console.record.bytes) == (len(lines), len(data))
    assert console.record.hash == f"sha256:{hashlib.sha256(data).hexdigest()}"


@given(console_logs())
def test_the_text_is_canonical_json_that_zstd_alone_unpacks(lines: list[ConsoleLine]) -> None:
    console = console_in_memory(lines)
    if console is None:
        return
    text = zstandard.ZstdDecompressor().decompressobj().decompress(b"".join(console.chunks()))
    assert hashlib.sha256(text).hexdigest() == console.record.text_hash.removeprefix("sha256:")
    assert text.decode().endswith("\n")
    for line, given_line in zip(text.decode().split("\n"), lines, strict=False):
        members = json.loads(line)
        assert line == canonical_text(members)
        assert (members["number"], members["line"]) == (given_line.number, given_line.text)


def test_the_same_lines_give_the_same_bytes_wherever_they_go(tmp_path: Any) -> None:
    lines = printed(40_000)
    first, second = console_of(lines), console_writer.console_in_file(iter(lines), tmp_path / "c")
    assert second is not None
    assert first.record == second.record
    assert b"".join(first.chunks()) == b"".join(second.chunks())
    assert first.record.writer == f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}"


def test_a_long_log_is_written_and_read_in_little_memory(tmp_path: Any) -> None:
    def lines() -> Any:
        return (
            ConsoleLine(number=at, text=hashlib.sha256(b"%d" % at).hexdigest() * 8) for at in range(60_000)
        )

    tracemalloc.start()
    console = console_writer.console_in_file(lines(), tmp_path / "c")
    assert console is not None
    assert console.record.text_bytes > 30_000_000
    assert sum(1 for _ in read_lines(console.chunks(), console.record)) == 60_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16_000_000


LINES = printed(3)


def packed(text: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(text)


def claiming(data: bytes, text: bytes, count: int, **claims: Any) -> ConsoleRecord:
    return ConsoleRecord(
        **{
            "bytes": len(data),
            "hash": "sha256:" + "0" * 64,
            "lines": count,
            "text_bytes": len(text),
            "text_hash": f"sha256:{hashlib.sha256(text).hexdigest()}",
            "writer": "zstd 1",
            **claims,
        }
    )


GOOD = b"".join(map(encode_line, LINES))

NOT_LINES: Sequence[tuple[bytes, str]] = (
    (b"[]\n", "b'[]\\n' is not a console line"),
    (b'{"line":"a"}\n', 'b\'{"line":"a"}\\n\' is not a console line'),
    (b'{"line":"a","number":-1}\n', 'b\'{"line":"a","number":-1}\\n\' is not a console line'),
    (b'{"line":"a","number":true}\n', 'b\'{"line":"a","number":true}\\n\' is not a console line'),
    (b'{"line":"a","number":1.0}\n', 'b\'{"line":"a","number":1.0}\\n\' is not a console line'),
    (b'{"line":1,"number":1}\n', 'b\'{"line":1,"number":1}\\n\' is not a console line'),
    (b'{"line":"a","number":1,"x":2}\n', 'b\'{"line":"a","number":1,"x":2}\\n\' is not a console line'),
    (b'{"number":1,"line":"a"}\n', 'b\'{"number":1,"line":"a"}\\n\' is not a console line'),
    (b'{"line": "a","number":1}\n', 'b\'{"line": "a","number":1}\\n\' is not a console line'),
    (b'{"level":"","line":"a","number":1}\n', "is not a console line"),
    (b"\xff\n", "b'\\xff\\n' is not a console line"),
    (b"\n", "b'\\n' is not a console line"),
    (b'{"line":"a","number":1}', "its last line does not end"),
    (b'{"line":"a","number":1}\n{"line":"a","number":1}\n', "line 1 is not after line 1"),
)


@pytest.mark.parametrize(("text", "reason"), NOT_LINES)
def test_what_is_no_line_is_refused(text: bytes, reason: str) -> None:
    data = packed(text)
    with pytest.raises(DataError) as caught:
        read(data, claiming(data, text, text.count(b"\n")))
    assert reason in caught.value.message


CLAIMS: Sequence[tuple[dict[str, Any], str]] = (
    ({"lines": 4}, f"it has 3 lines of {len(GOOD)} bytes, and should have 4 of {len(GOOD)}"),
    ({"text_bytes": len(GOOD) + 1}, f"should have 3 of {len(GOOD) + 1}"),
    ({"text_bytes": len(GOOD) - 1}, f"it has more than {len(GOOD) - 1} bytes of text"),
    ({"text_hash": "sha256:" + "1" * 64}, "its text does not have its hash"),
    ({"text_bytes": 2**40}, f"bytes of it may not have {2**40} bytes of text"),
)


@pytest.mark.parametrize(("claims", "reason"), CLAIMS)
def test_another_record_than_that_of_the_text_is_refused(claims: dict[str, Any], reason: str) -> None:
    data = packed(GOOD)
    with pytest.raises(DataError) as caught:
        read(data, claiming(data, GOOD, 3, **claims))
    assert reason in caught.value.message


BYTES: Sequence[tuple[Callable[[bytes], bytes], str]] = (
    (lambda data: b"x" + data, "it cannot be decompressed: "),
    (lambda data: data[: len(data) // 2], "it has "),
    (lambda data: data + data, f"it has more than {len(GOOD)} bytes of text"),
    (lambda data: data + b"rest", "it cannot be decompressed: "),
)


@pytest.mark.parametrize(("change", "reason"), BYTES)
def test_other_bytes_than_one_frame_are_refused(change: Callable[[bytes], bytes], reason: str) -> None:
    data = change(packed(GOOD))
    with pytest.raises(DataError) as caught:
        read(data, claiming(data, GOOD, 3))
    assert reason in caught.value.message


def test_a_small_member_cannot_take_much_memory() -> None:
    text = b'{"line":"' + b" " * 2**28 + b'","number":0}\n'
    data = packed(text)
    assert len(data) < 100_000
    record = claiming(data, text, 1)
    del text
    tracemalloc.start()
    with pytest.raises(DataError, match="may not have 268435"):
        read(data, record)
    with pytest.raises(DataError, match="it has more than 1000 bytes of text"):
        read(data, dataclasses.replace(record, text_bytes=1000))
    with pytest.raises(DataError, match="a line has more than 67108864 bytes"):
        read(data, dataclasses.replace(record, text_bytes=160 * 2**20))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000_000


def test_a_window_larger_than_a_writer_uses_is_refused() -> None:
    text = b"".join(encode_line(line) for line in printed(30_000)) * 6
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    data = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed_text = data.compress(text) + data.flush()
    with pytest.raises(DataError, match="it cannot be decompressed: "):
        read(packed_text, claiming(packed_text, text, 1))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([ConsoleLine(number=-1, text="")], "console line -1 is not after line -1"),
        ([ConsoleLine(number=2**53, text="")], "a console line has the number 9007199254740992"),
        ([*printed(2), *printed(1)], "console line 0 is not after line 1"),
    ],
)
def test_a_writer_refuses_what_no_reader_takes(lines: list[ConsoleLine], reason: str) -> None:
    with pytest.raises(DataError) as caught:
        console_in_memory(lines)
    assert caught.value.message == reason


def test_a_line_that_is_too_long_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_writer, "MAX_LINE", 40)
    with pytest.raises(DataError) as caught:
        console_in_memory([ConsoleLine(number=7, text="x" * 40)])
    assert caught.value.message == "console line 7 has 63 bytes, and 40 are the most"
