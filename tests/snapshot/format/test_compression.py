"""Texts as zstandard frames: the same bytes back, the same frame each time, and hostile frames refused."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import DataError
from pull_logs.snapshot.format import Compressed, MemberFile, compress_text, decompressed
from pull_logs.snapshot.format.compression import largest_text
from pull_logs.snapshot.read.member_bytes import open_compressed

LINES = b"".join(b"epoch %d loss %.4f\n" % (number, 1 / (number + 1)) for number in range(400))


def pack(data: bytes, *, piece: int = 2**20) -> tuple[Compressed | None, bytes]:
    sink = io.BytesIO(b"before")
    sink.seek(0, io.SEEK_END)
    parts = [data[start : start + piece] for start in range(0, len(data), piece)]
    compressed = compress_text(parts, len(data), sink)
    assert sink.getvalue().startswith(b"before")
    return compressed, sink.getvalue()[6:]


def unpack(frame: bytes, size: int, *, piece: int = 2**20) -> bytes:
    parts = [frame[start : start + piece] for start in range(0, len(frame), piece)]
    return b"".join(decompressed(parts, stored=len(frame), size=size))


TEXTS = st.builds(
    lambda word, count, end: (word.encode() * count + end)[:20_000],
    st.text(min_size=1, max_size=40),
    st.integers(0, 3_000),
    st.binary(max_size=30),
)


@given(TEXTS, st.integers(1, 5_000), st.integers(1, 5_000))
def test_any_bytes_are_read_back_or_stay_as_they_are(data: bytes, piece: int, other: int) -> None:
    compressed, frame = pack(data, piece=piece)
    if compressed is None:
        assert frame == b""
        return
    assert compressed.bytes == len(frame) <= len(data) * 0.75
    assert compressed.hash == f"sha256:{hashlib.sha256(frame).hexdigest()}"
    assert data.decode().encode() == data
    assert unpack(frame, len(data), piece=other) == data
    assert pack(data, piece=other) == (compressed, frame)


@pytest.mark.parametrize(
    ("data", "is_compressed"),
    [
        pytest.param(LINES, True, id="a log"),
        pytest.param(
            json.dumps({"columns": ["a"], "data": [[n] for n in range(900)]}).encode(), True, id="json"
        ),
        pytest.param("наука и жизнь\n".encode() * 200, True, id="UTF-8"),
        pytest.param(b"a" * 1023, False, id="1,023 bytes"),
        pytest.param(b"ab" * 512, True, id="1,024 bytes"),
        pytest.param(LINES + b"\xff", False, id="not UTF-8 at its end"),
        pytest.param(LINES + "é".encode()[:1], False, id="cut in a character"),
        pytest.param(LINES + b"\0", False, id="a NUL"),
        pytest.param(random.Random(1).randbytes(3000).hex().encode(), True, id="hex digits"),
        pytest.param(
            bytes(random.Random(1).choices(range(33, 127), k=5000)), False, id="text that stays large"
        ),
        pytest.param(b"a" * 2**20, True, id="a MiB of one letter"),
        pytest.param(b"a" * (2**20 + 1), False, id="more of one letter than a reader takes"),
    ],
)
def test_what_is_compressed_depends_on_the_bytes(data: bytes, is_compressed: bool) -> None:  # noqa: FBT001
    assert (pack(data)[0] is not None) is is_compressed


def test_a_source_of_another_size_is_not_compressed() -> None:
    for size in (len(LINES) - 1, len(LINES) + 1):
        sink = io.BytesIO()
        assert compress_text([LINES], size, sink) is None
        assert sink.getvalue() == b""


def test_a_long_text_takes_little_memory_and_is_read_in_parts() -> None:
    letters = bytes(random.Random(2).choices(b"0123456789abcdef", k=2**18))
    block, count = b"\n".join([letters, letters[::2], letters]), 70
    sink = io.BytesIO()
    tracemalloc.start()
    compressed = compress_text((block for _ in range(count)), len(block) * count, sink)
    assert compressed is not None
    frame = sink.getvalue()
    digest, longest = hashlib.sha256(), 0
    for part in decompressed([frame], stored=len(frame), size=len(block) * count):
        digest.update(part)
        longest = max(longest, len(part))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert digest.digest() == hashlib.sha256(block * count).digest()
    assert longest <= 2**20
    assert peak < 16 * 2**20
    assert len(block) * count > 40 * 2**20


# Hostile frames


def frame_of(data: bytes, *, size: int | None = None, **options: object) -> bytes:
    given: dict[str, object] = {"level": 3, "write_checksum": True, "write_content_size": True} | options
    compressor = zstandard.ZstdCompressor(**given).compressobj(size=len(data) if size is None else size)  # type: ignore[arg-type]
    return compressor.compress(data) + compressor.flush()


GOOD = frame_of(LINES)


def trained() -> bytes:
    samples: list[bytes | bytearray | memoryview] = [
        b"epoch %d of the run, loss %.5f\n" % (n, n / 7) * 3 for n in range(2000)
    ]
    return frame_of(LINES, dict_data=zstandard.train_dictionary(2000, samples, dict_id=77))


def bomb() -> bytes:
    """A header that claims a MiB, and blocks of one repeated byte with a hundred times as much."""
    head = frame_of(b"a" * 2**20)
    blocks = b"".join((2**17 << 3 | 1 << 1).to_bytes(3, "little") + b"a" for _ in range(800))
    return head[: zstandard.frame_header_size(head)] + blocks + (1).to_bytes(3, "little") + bytes(4)


def with_window() -> bytes:
    options = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=True, write_checksum=True)
    compressor = zstandard.ZstdCompressor(compression_params=options).compressobj(size=2**28)
    return compressor.compress(b"a" * 2**20)


SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"


@pytest.mark.parametrize(
    ("make", "size", "reason"),
    [
        pytest.param(
            lambda: GOOD, len(LINES) + 1, "it claims 8690 bytes of text, not 8691", id="larger claim"
        ),
        pytest.param(
            lambda: GOOD, len(LINES) - 1, "it claims 8690 bytes of text, not 8689", id="smaller claim"
        ),
        pytest.param(lambda: GOOD, 2**24, "999 bytes of it may not have 16777216 bytes of text", id="ratio"),
        pytest.param(bomb, 2**20, "it cannot be decompressed", id="a bomb"),
        pytest.param(lambda: GOOD + GOOD, len(LINES), "there are bytes after its frame", id="another frame"),
        pytest.param(lambda: GOOD + b"\n", len(LINES), "there are bytes after its frame", id="a byte more"),
        pytest.param(
            lambda: GOOD + SKIPPABLE, len(LINES), "there are bytes after its frame", id="skippable after"
        ),
        pytest.param(
            lambda: SKIPPABLE + GOOD, len(LINES), "it is not a zstandard frame", id="skippable before"
        ),
        pytest.param(lambda: b"", 0, "it is not a zstandard frame", id="nothing"),
        pytest.param(lambda: GOOD[:5], len(LINES), "its header is damaged", id="a cut header"),
        pytest.param(trained, len(LINES), "it needs the dictionary 77", id="a dictionary"),
        pytest.param(
            with_window, 2**28, "it needs a window of 134217728 bytes, and 8388608 are the most", id="window"
        ),
        pytest.param(
            lambda: frame_of(LINES, write_checksum=False), len(LINES), "it has no checksum", id="no checksum"
        ),
        pytest.param(
            lambda: frame_of(LINES, write_content_size=False),
            len(LINES),
            "it claims an unknown number of bytes of text, not 8690",
            id="no size",
        ),
        pytest.param(
            lambda: b"\x1f\x8b" + GOOD, len(LINES), "it is not a zstandard frame", id="another format"
        ),
    ],
)
def test_a_hostile_frame_is_refused_with_the_reason(
    make: Callable[[], bytes], size: int, reason: str
) -> None:
    frame = make()
    stored = 2**20 if reason.startswith("it needs a window") else len(frame)
    with pytest.raises(DataError) as caught:
        list(decompressed([frame], stored=stored, size=size))
    assert caught.value.message.startswith(reason)


def test_a_bomb_is_refused_with_little_memory() -> None:
    frame = bomb()
    tracemalloc.start()
    read = 0
    with suppress(DataError):
        for part in decompressed([frame], stored=len(frame), size=2**20):
            read += len(part)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read < 2**20
    assert peak < 8 * 2**20


def test_every_cut_of_a_frame_is_refused() -> None:
    frame = frame_of(LINES[:2000])
    for end in range(len(frame)):
        with pytest.raises(DataError):
            unpack(frame[:end], 2000)


def test_every_changed_byte_of_a_frame_is_refused_or_gives_the_same_text() -> None:
    """Where a frame has the same text in two forms, its hash in the manifest finds the change."""
    frame = frame_of(LINES[:2000])
    chance = random.Random(3)
    for at in range(len(frame)):
        changed = bytearray(frame)
        changed[at] ^= 1 << chance.randrange(8)
        try:
            assert unpack(bytes(changed), 2000) == LINES[:2000]
        except DataError:
            continue


# Parts of a text


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.length, self.closed = data, len(data), False

    def read_at(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]

    def expect(self, ranges: Callable[[], object]) -> None:
        ranges()

    def close(self) -> None:
        self.closed = True


def opened(frame: bytes, size: int) -> tuple[MemberFile, _Bytes]:
    source = _Bytes(frame)
    file = MemberFile(source, start=0, size=len(frame), owns_file=True)
    return open_compressed(file, size=size, damaged=lambda reason: ValueError(reason.message)), source


LONG = b"".join(b"%07d\n" % number for number in range(300_000))
LONG_FRAME = frame_of(LONG)


@given(st.lists(st.tuples(st.integers(0, len(LONG)), st.integers(0, 70_000)), max_size=3))
def test_any_part_of_a_text_is_that_of_the_text(parts: list[tuple[int, int]]) -> None:
    file, source = opened(LONG_FRAME, len(LONG))
    with file:
        for start, size in parts:
            file.seek(start)
            assert file.read(size) == LONG[start : start + size]
    assert source.closed


def test_a_damaged_text_is_an_error_of_the_file_where_it_is_read() -> None:
    file, _ = opened(LONG_FRAME[:-9], len(LONG))
    assert file.read_at(0, 10) == LONG[:10]
    with pytest.raises(ValueError, match="cut short"):
        file.read_at(len(LONG) - 10, 10)


def test_the_text_is_given_out_in_parts() -> None:
    file, _ = opened(LONG_FRAME, len(LONG))
    chunks: Iterator[bytes] = file.chunks()
    sizes = [len(chunk) for chunk in chunks]
    assert sizes == [2**20] * 2 + [len(LONG) - 2 * 2**20]
    assert largest_text(len(LONG_FRAME)) > len(LONG)
