"""Fuzz targets for files of other programs: transaction logs, checkpoints, events, metrics, exports."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import torch
from eventkit import T0, frame, restart, scalars, version
from fuzzkit import Target, as_file, joined, parts, scratch
from google_crc32c import value as crc32c
from logwriting import row, run, write_log
from mutation import (
    after,
    either,
    json_lines,
    json_value,
    one_member,
    one_part,
    opcodes,
    sized_json,
    some_bytes,
    words,
)
from safetensors.torch import save
from tensorboard.compat.proto.event_pb2 import Event

from pull_logs.fetch.decoding.decode import batches_of_bytes, batches_of_file
from pull_logs.rows.canonical import canon_text
from pull_logs.sources.checkpoints.contents import read_stream
from pull_logs.sources.checkpoints.run_keys import find_progress, find_run
from pull_logs.sources.checkpoints.safetensors import read_safetensors_metadata
from pull_logs.sources.metric_files.parsing import parse_file
from pull_logs.sources.tensorboard.checksums import masked
from pull_logs.sources.tensorboard.event_files import RunReader
from pull_logs.sources.tensorboard.events import Event as ReadEvent
from pull_logs.sources.tensorboard.events import read_event
from pull_logs.sources.tensorboard.media_files import MediaWriter
from pull_logs.sources.tensorboard.record_framing import RecordReader
from pull_logs.sources.tensorboard.wire import WireError
from pull_logs.sources.wandb_folders.log_framing import LogReader
from pull_logs.sources.wandb_folders.run_log import read_run_log


def transaction_log(data: bytes) -> None:
    """The records of a log and the damage reported take no more than its bytes, and damage lies in it."""
    reader = LogReader(io.BytesIO(data), name="fuzzed")
    records = list(reader)
    lost = sum(damage.bytes_lost for damage in reader.damages)
    assert sum(map(len, records)) + lost <= len(data)
    assert all(0 <= damage.offset <= len(data) for damage in reader.damages)


def log_records(data: bytes) -> None:
    """Records with valid checksums: every one is read, or counted as unread."""
    log = write_log([run("fuzzed1"), *parts(data)])[0]
    rows: list[dict[str, Any]] = []

    def take(batch: list[dict[str, Any]]) -> int:
        rows.extend(batch)
        return 0

    result = read_run_log(as_file(log, "run-fuzzed1.wandb"), sink=take, console=lambda _: None)
    assert result.rows == len(rows)


def checkpoint(data: bytes) -> None:
    """What a checkpoint says of its run is looked for in whatever it contains."""
    contents = read_stream(io.BytesIO(data), name="fuzzed")
    find_run(contents, where="fuzzed")
    find_progress(contents)


def safetensors_header(data: bytes) -> None:
    """Of a file that the library of safetensors opens, we read the same metadata."""
    file = as_file(data, "fuzzed.safetensors")
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            theirs = opened.metadata() or {}
    except Exception:  # noqa: BLE001 - a file that it refuses says nothing
        read_safetensors_metadata(io.BytesIO(data), name="fuzzed")
        return
    ours = read_safetensors_metadata(io.BytesIO(data), name="fuzzed")
    assert ours == {canon_text(key): canon_text(value) for key, value in theirs.items()}


def _naive_records(data: bytes) -> list[bytes]:
    """Return the records of an event file up to its first damage, one by one."""
    found, position = [], 0
    while position + 12 <= len(data):
        (length, crc) = struct.unpack_from("<QI", data, position)
        end = position + 12 + length
        if crc != masked(crc32c(data[position : position + 8])) or end + 4 > len(data):
            break
        record = data[position + 12 : end]
        if struct.unpack_from("<I", data, end)[0] != masked(crc32c(record)):
            break
        found.append(record)
        position = end + 4
    return found


def event_framing(data: bytes) -> None:
    """The records are those of a naive reader up to the first damage."""
    naive = _naive_records(data)
    for size in (max(64, len(data) // 8), 2**16):
        reader = RecordReader(io.BytesIO(data), block_bytes=size)
        records = [
            bytes(block.data[start:end])
            for block in reader
            for start, end in zip(block.starts, block.ends, strict=True)
        ]
        assert records[: len(naive)] == naive
        if not reader.damages:
            assert records == naive
        assert all(0 <= damage.offset <= len(data) for damage in reader.damages)


def event_records(data: bytes) -> None:
    """Records with valid checksums: records, and values in others, that are not valid are counted."""
    records = parts(data)
    folder = scratch() / "segments"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    file = as_file(frame(version().SerializeToString()) + b"".join(map(frame, records)), "fuzzed.tfevents.1")
    content = RunReader(folder, MediaWriter(scratch() / "media", None)).read([file])
    assert not content.damages
    assert content.records == 1 + len(records)
    events = [event for event in map(_event, records) if event is not None]
    invalid = len(records) - len(events)
    assert invalid <= content.unread <= invalid + sum(len(event.values) for event in events)


def _event(record: bytes) -> ReadEvent | None:
    try:
        return read_event(record)
    except WireError:
        return None


def metric_file(data: bytes) -> None:
    """The first byte selects the kind of file."""
    if data:
        parse_file(as_file(data[1:], f"fuzzed{('.csv', '.jsonl', '.json')[data[0] % 3]}"))


def _logs() -> list[bytes]:
    return [write_log([run("a1", config={}), row(0, loss=1.5), row(1, loss=0.5)])[0]]


def _log_records() -> list[bytes]:
    return [joined([row(0, loss=1.5, text="a"), row(1, loss=float("nan")), run("a1", display_name="b")])]


def _checkpoints() -> list[bytes]:
    contents = {"wandb": {"run": "acme/nano/3fk2a"}, "step": 4, "model": {"w": torch.zeros(2)}}
    archive, legacy = io.BytesIO(), io.BytesIO()
    torch.save(contents, archive)
    torch.save(contents, legacy, _use_new_zipfile_serialization=False)
    plain = {"wandb_run_path": "acme/nano/3fk2a", "global_step": 7}
    return [archive.getvalue(), legacy.getvalue(), *(pickle.dumps(plain, protocol) for protocol in range(6))]


def _safetensors() -> list[bytes]:
    return [save({"w": torch.zeros(2)}, metadata={"wandb_run": "acme/nano/3fk2a", "step": "4"})]


def _events() -> list[Any]:
    return [version(), scalars(0, {"loss": 1.5}), restart(1), scalars(1, {"loss": 0.5, "acc": 0.25})]


def _event_file() -> list[bytes]:
    return [b"".join(frame(event.SerializeToString()) for event in _events())]


def _event_records() -> list[bytes]:
    graph = Event(wall_time=T0, graph_def=b"graph")
    return [joined([event.SerializeToString() for event in [*_events(), graph]])]


def _metric_files() -> list[bytes]:
    state = {"global_step": 2, "log_history": [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]}
    return [
        b"\x00epoch,step,train_loss\r\n0,1,0.5\r\n0,2,nan\r\n",
        b'\x01{"step": 1, "loss": 0.5}\n{"step": 2, "loss": NaN}\n',
        b"\x02" + json.dumps(state).encode(),
    ]


def exported_history(data: bytes) -> None:
    """A history that W&B exported as Parquet has the same rows at once and part by part."""
    at_once = batches_of_bytes(data, most=1 << 26)
    if at_once is not None:
        assert sum(map(len, at_once)) == sum(map(len, batches_of_file(io.BytesIO(data))))


def _exports() -> list[bytes]:
    """Return exported histories as pyarrow writes them, one of nested columns and one of two row groups."""
    rows = [{"_step": step, "loss": 1 / (step + 1), "text": f"t{step}"} for step in range(40)]
    nested = [{"_step": step, "parts": [step, step], "table": {"path": "a"}} for step in range(3)]
    found = []
    for table in (pa.Table.from_pylist(rows), pa.Table.from_pylist(nested)):
        file = io.BytesIO()
        pq.write_table(table, file, row_group_size=25)
        found.append(file.getvalue())
    return found


TARGETS = (
    Target("transaction-log", transaction_log, _logs),
    Target("log-records", log_records, _log_records, one_part(some_bytes)),
    Target("checkpoint", checkpoint, _checkpoints, either(opcodes, one_member("data.pkl", opcodes))),
    Target("safetensors", safetensors_header, _safetensors, sized_json),
    Target("event-framing", event_framing, _event_file),
    Target("event-records", event_records, _event_records, one_part(some_bytes)),
    Target("exported-history", exported_history, _exports),
    Target("metric-file", metric_file, _metric_files, after(1, either(json_value, json_lines, words))),
)
