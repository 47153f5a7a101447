"""Write transaction logs, the other half of `pull_logs.sources.wandb_folders.log_framing`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from zlib import crc32

from pull_logs.sources.wandb_folders.log_framing import BLOCK_SIZE, CHUNK_HEADER, HEADER, ChunkKind
from pull_logs.sources.wandb_folders.log_messages import record_class


def write_log(records: Iterable[bytes], *, origin: int = 0) -> tuple[bytes, list[tuple[int, int]]]:
    """The bytes of a log with blocks counted from `origin`, and where each record's chunks start and end."""
    out = bytearray(HEADER)
    spans = []
    for record in records:
        left = BLOCK_SIZE - (len(out) - origin) % BLOCK_SIZE
        if left < CHUNK_HEADER.size:
            out += bytes(left)
        start = len(out)
        _write_record(out, record, origin)
        spans.append((start, len(out)))
    return bytes(out), spans


def _write_record(out: bytearray, record: bytes, origin: int) -> None:
    position, first = 0, True
    while first or position < len(record):
        room = BLOCK_SIZE - (len(out) - origin) % BLOCK_SIZE - CHUNK_HEADER.size
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


def item(key: str | Sequence[str], text: str) -> dict[str, object]:
    """An item of a record, with a plain or a nested key."""
    return (
        {"key": key, "value_json": text} if isinstance(key, str) else {"nested_key": key, "value_json": text}
    )


def record(**message: Mapping[str, object]) -> bytes:
    """A record that holds one message, its fields given as keywords of the message's name."""
    made: bytes = record_class("Record")(**message).SerializeToString()
    return made


def row(step: int, **values: object) -> bytes:
    """A row, as W&B's SDK writes it."""
    texts = {"_step": step, "_timestamp": 1000.0 + step, **values}
    items = [item([key], json.dumps(value)) for key, value in texts.items()]
    return record(history={"item": items, "step": {"num": step}})


def run(run_id: str, *, start: int = 1_700_000_000, project: str = "proj", **fields: object) -> bytes:
    """The record that a log begins with."""
    return record(run={"run_id": run_id, "project": project, "start_time": {"seconds": start}, **fields})


def write_run_folder(parent: Path, name: str, records: Iterable[bytes]) -> Path:
    """A folder as W&B names it, with a log of these records; gives the log."""
    log = parent / name / f"run-{name.rpartition('-')[2]}.wandb"
    log.parent.mkdir(parents=True)
    log.write_bytes(write_log(records)[0])
    return log
