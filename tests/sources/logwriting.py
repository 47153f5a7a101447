"""Write transaction logs, the other half of `pull_logs.sources.transactionlog`."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from pull_logs.sources.transactionlog import BLOCK_SIZE, CHUNK_HEADER, HEADER, ChunkKind


def write_log(records: Iterable[bytes]) -> tuple[bytes, list[tuple[int, int]]]:
    """The bytes of a log, and where each record's chunks start and end."""
    out = bytearray(HEADER)
    spans = []
    for record in records:
        left = BLOCK_SIZE - len(out) % BLOCK_SIZE
        if left < CHUNK_HEADER.size:
            out += bytes(left)
        start = len(out)
        _write_record(out, record)
        spans.append((start, len(out)))
    return bytes(out), spans


def _write_record(out: bytearray, record: bytes) -> None:
    position, first = 0, True
    while first or position < len(record):
        room = BLOCK_SIZE - len(out) % BLOCK_SIZE - CHUNK_HEADER.size
        payload = record[position : position + room]
        position += len(payload)
        last = position == len(record)
        if first:
            kind = ChunkKind.FULL if last else ChunkKind.FIRST
        else:
            kind = ChunkKind.LAST if last else ChunkKind.MIDDLE
        body = bytes([kind]) + payload
        out += CHUNK_HEADER.pack(crc32(body), len(payload), kind) + payload
        first = False
