"""Masked CRC-32C of many short pieces of a buffer at a time.

A CRC is linear: the checksum of some bytes is that of as many zeros, combined by exclusive or with what each
byte contributes, which depends on the byte and on its distance from the end alone. So the pieces of one
length are computed column by column, two bytes at a time, from tables. Longer pieces go to the C library one
by one.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pull_logs.rows.arrays import Ints

MOST_BY_COLUMN = 128
"""Beyond about this many bytes a call of the C library per piece takes less time."""

_FEWEST = 32
"""Fewer pieces of one length are computed one by one."""

_MASK_DELTA = 0xA282EAD8

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]


def masked(crc: int) -> int:
    """Return a CRC-32C as event files store it."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def masked_all(crcs: Words) -> Words:
    """Return many of them."""
    found: Words = ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(_MASK_DELTA)
    return found


def words_at(raw: Bytes, at: Ints) -> Words:
    """Return the 32-bit words at some positions of a buffer, which need not be aligned."""
    return np.ndarray(len(raw) - 3, dtype="<u4", buffer=raw, strides=(1,))[at]


def pieces_at(raw: Bytes, at: Ints, length: int) -> Bytes:
    """Return the pieces of one length at some positions of a buffer, one per row."""
    all_pieces = np.ndarray(len(raw) - length + 1, dtype=f"V{length}", buffer=raw, strides=(1,))
    return all_pieces[at].view(np.uint8).reshape(len(at), length)


def head_crcs(raw: Bytes, at: Ints) -> Words:
    """Return the CRC-32C of the 64-bit numbers at some positions, whose high halves are zero."""
    halves = np.ndarray(len(raw) - 1, dtype="<u2", buffer=raw, strides=(1,))
    found = _contributions(3).take(halves[at], mode="clip")
    found ^= _contributions(2).take(halves[at + 2], mode="clip")
    found ^= np.uint32(_of_zeros(8))
    return found


def crcs_of(data: bytes, starts: Ints, ends: Ints) -> Words:
    """Return the CRC-32C of pieces of some bytes, none of which is at their start."""
    raw = np.frombuffer(data, dtype=np.uint8)
    lengths = ends - starts
    found = np.empty(len(starts), dtype=np.uint32)
    counts = np.bincount(lengths[(lengths > 0) & (lengths <= MOST_BY_COLUMN)], minlength=1)
    left = np.ones(len(starts), dtype=np.bool_)
    for length in np.flatnonzero(counts >= _FEWEST).tolist():
        own = np.flatnonzero(lengths == length)
        found[own] = _crcs_of_length(raw, starts[own], length)
        left[own] = False
    if left.any():
        found[left] = _one_by_one(data, starts[left], ends[left])
    return found


def _crcs_of_length(raw: Bytes, starts: Ints, length: int) -> Words:
    """Return the CRC-32C of pieces of one length, of which none is at the start of the buffer."""
    odd = length % 2
    pieces = pieces_at(raw, starts - odd, length + odd)
    if odd:
        # The byte before the piece contributes nothing as a zero.
        pieces[:, 0] = 0
    pairs = pieces.view("<u2")
    found = np.full(len(starts), _of_zeros(length), dtype=np.uint32)
    for index in range(pairs.shape[1]):
        found ^= _contributions(pairs.shape[1] - 1 - index).take(pairs[:, index], mode="clip")
    return found


def _one_by_one(data: bytes, starts: Ints, ends: Ints) -> Words:
    from google_crc32c import value as crc32c

    pieces = map(data.__getitem__, map(slice, starts.tolist(), ends.tolist()))
    return np.fromiter(map(crc32c, pieces), dtype=np.uint32, count=len(starts))


@cache
def _contributions(pair: int) -> Words:
    """Return what each two bytes contribute, by the number of pairs of bytes between them and the end."""
    words = np.arange(2**16)
    table: Words = _of_bytes()[2 * pair + 1][words & 0xFF] ^ _of_bytes()[2 * pair][words >> 8]
    table.setflags(write=False)
    return table


@cache
def _of_bytes() -> Words:
    """Return what each byte contributes, by its distance from the end."""
    from google_crc32c import value as crc32c

    table = np.empty((MOST_BY_COLUMN, 256), dtype=np.uint32)
    table[0] = [crc32c(bytes([byte])) ^ _of_zeros(1) for byte in range(256)]
    for distance in range(1, MOST_BY_COLUMN):
        before = table[distance - 1]
        table[distance] = (before >> np.uint32(8)) ^ table[0][before & np.uint32(0xFF)]
    return table


@cache
def _of_zeros(length: int) -> int:
    from google_crc32c import value as crc32c

    return int(crc32c(bytes(length)))
