"""Event files for tests: written record by record, and by real libraries."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google_crc32c import value as crc32c
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from pull_logs.rows.batches import batch_rows
from pull_logs.sources.tensorboard import TensorBoard
from pull_logs.sources.tensorboard.checksums import masked
from pull_logs.sources.tracked_runs import ReadOptions, TrackedRun

T0 = 1_700_000_000.0
"""The time of the first event."""


def frame(record: bytes) -> bytes:
    """A record as it is in a file."""
    head = struct.pack("<Q", len(record))
    return b"".join(
        [
            head,
            struct.pack("<I", masked(crc32c(head))),
            record,
            struct.pack("<I", masked(crc32c(record))),
        ]
    )


def version(time: float = T0) -> Any:
    """The first event of a file."""
    return Event(wall_time=time, file_version="brain.Event:2")


def scalars(step: int, values: Mapping[str, float], *, time: float | None = None) -> Any:
    """An event with scalars."""
    event = Event(wall_time=T0 + step if time is None else time, step=step)
    for tag, value in values.items():
        event.summary.value.add(tag=tag, simple_value=value)
    return event


def restart(step: int, *, time: float = T0) -> Any:
    """The event by which a writer makes later steps obsolete."""
    return Event(wall_time=time, step=step, session_log=SessionLog(status=SessionLog.START))


def write_events(file: Path, events: Iterable[Any]) -> Path:
    """Write events to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(frame(event.SerializeToString()) for event in events))
    return file


def event_file(folder: Path, number: int = 0) -> Path:
    """The name of an event file of a folder."""
    return folder / f"events.out.tfevents.{1_700_000_000 + number}.host.1.{number}"


def read_all(path: Path, scratch: Path, options: ReadOptions | None = None) -> dict[str, TrackedRun]:
    """Read the runs of a folder, by their names."""
    found = {}
    for number, run in enumerate(TensorBoard().find(str(path))):
        folder = scratch / f"{number}"
        folder.mkdir(parents=True)
        found[run.folder.name] = run.read(folder, options or ReadOptions())
    return found


def rows_of(run: TrackedRun) -> list[dict[str, Any]]:
    """The rows of a run."""
    return [row for batch in run.run.batches() for row in batch_rows(batch)]


def column(run: TrackedRun, tag: str) -> list[tuple[int, Any]]:
    """The steps and values of a metric."""
    return [(row["_step"], row[tag]) for row in rows_of(run) if tag in row]
