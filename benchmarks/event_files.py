"""Compare reading an event file of TensorBoard with TensorBoard's own reader, and with tbparse.

    python benchmarks/event_files.py [--megabytes 150] [--tags 12] [--repeats 3]

Each side reads the same file, unsampled, in a process of its own, in turns; the last value of each tag is
checked against what was written. tbparse is measured if it is installed. Medians are printed.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from google_crc32c import value as crc32c

OURS, THEIRS, FRAMES = "pull-logs", "EventAccumulator", "tbparse"
_MASK_DELTA = 0xA282EAD8
_READ = {
    OURS: """
from pull_logs.sources.tensorboard import TensorBoard
from pull_logs.sources.tracked_runs import ReadOptions
import pathlib, tempfile
(found,) = TensorBoard().find(folder)
scratch = tempfile.TemporaryDirectory()
run = found.read(pathlib.Path(scratch.name), ReadOptions()).run
last = {tag: value for tag, value in run.info.summary.items() if not tag.startswith("_")}
""",
    THEIRS: """
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
read = EventAccumulator(folder, size_guidance={"scalars": 0}).Reload()
last = {tag: read.Scalars(tag)[-1].value for tag in read.Tags()["scalars"]}
""",
    FRAMES: """
from tbparse import SummaryReader
frame = SummaryReader(folder).scalars
last = frame.groupby("tag")["value"].last().to_dict()
""",
}
"""The program of each side, which leaves the last value of each tag in `last`."""

_MEASURE = """
import json, resource, sys, time
folder = sys.argv[1]
start = time.perf_counter(), time.process_time()
{read}
wall, used = time.perf_counter() - start[0], time.process_time() - start[1]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([wall, used, peak, last]))
"""


def _frame(record: bytes) -> bytes:
    head = struct.pack("<Q", len(record))
    return head + struct.pack("<I", _masked(head)) + record + struct.pack("<I", _masked(record))


def _masked(data: bytes) -> int:
    crc = int(crc32c(data))
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def write_file(file: Path, *, size: int, tags: int) -> dict[str, float]:
    """Write scalars as torch's SummaryWriter does; return the last value of each tag."""
    from tensorboard.compat.proto.event_pb2 import Event

    last: dict[str, float] = {}
    with file.open("wb") as out:
        out.write(_frame(Event(wall_time=1.7e9, file_version="brain.Event:2").SerializeToString()))
        number = 0
        while out.tell() < size or number % tags:
            event = Event(wall_time=1.7e9 + number / 100, step=number // tags)
            value = event.summary.value.add(
                tag=f"train/metric_{number % tags:03d}", simple_value=1 / (1 + number)
            )
            last[value.tag] = value.simple_value
            out.write(_frame(event.SerializeToString()))
            number += 1
    print(f"{file.stat().st_size / 1e6:.0f} MB, {number} scalars of {tags} tags")
    return last


def measure(side: str, folder: Path, expected: dict[str, float]) -> tuple[float, float, float]:
    """Return seconds, processor seconds and peak MB of one side in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE.format(read=_READ[side]), str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    wall, used, peak, last = json.loads(done.stdout.splitlines()[-1])
    if last != expected:
        raise SystemExit(f"{side} read other values than were written")
    return wall, used, peak


def main(arguments: Sequence[str]) -> int:
    """Measure all sides, and print what each took."""
    parser = argparse.ArgumentParser(description="compare readers of event files")
    parser.add_argument("--megabytes", type=float, default=150)
    parser.add_argument("--tags", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    sides = [OURS, THEIRS, *([FRAMES] if find_spec("tbparse") else [])]
    with tempfile.TemporaryDirectory(prefix="pull-logs-") as name:
        folder = Path(name) / "exp1"
        folder.mkdir()
        file = folder / "events.out.tfevents.1700000000.host"
        expected = write_file(file, size=int(options.megabytes * 1e6), tags=options.tags)
        taken: dict[str, list[tuple[float, float, float]]] = {side: [] for side in sides}
        for _ in range(options.repeats):
            for side in sides:
                taken[side].append(measure(side, folder, expected))
    print("| reader | seconds | processor seconds | times as long | peak MB |")
    print("|---|---|---|---|---|")
    ours = median(used for _, used, _ in taken[OURS])
    for side, passes in taken.items():
        wall, used, peak = (median(column) for column in zip(*passes, strict=True))
        print(f"| {side} | {wall:.1f} | {used:.1f} | {used / ours:.1f} | {peak:.0f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
