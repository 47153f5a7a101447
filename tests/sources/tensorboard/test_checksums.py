"""Checksums of many pieces at a time are those of the C library, piece by piece."""

from __future__ import annotations

import numpy as np
from google_crc32c import value as crc32c
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.sources.tensorboard.checksums import MOST_BY_COLUMN, crcs_of, head_crcs, masked, masked_all


@given(
    st.binary(min_size=1, max_size=400),
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, MOST_BY_COLUMN + 8)), max_size=12),
    st.sampled_from([1, 40]),
)
def test_pieces_of_every_length(data: bytes, pieces: list[tuple[int, int]], times: int) -> None:
    # Repeated pieces are as many as are computed by column.
    spans = [(min(start, len(data)), min(start + length, len(data))) for start, length in pieces] * times
    starts = np.array([start for start, _ in spans], dtype=np.int64)
    ends = np.array([end for _, end in spans], dtype=np.int64)
    expected = [crc32c(data[start:end]) for start, end in spans]
    assert crcs_of(data, starts, ends).tolist() == expected


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_lengths_and_their_masks(lengths: list[int]) -> None:
    raw = b"".join(length.to_bytes(8, "little") for length in lengths)
    found = head_crcs(np.frombuffer(raw, dtype=np.uint8), np.arange(0, len(raw), 8))
    expected = [crc32c(length.to_bytes(8, "little")) for length in lengths]
    assert found.tolist() == expected
    assert masked_all(found).tolist() == list(map(masked, expected))
