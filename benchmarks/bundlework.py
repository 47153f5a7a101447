"""One side of one task, in a process of its own; its input is made before the clock starts.

    python benchmarks/bundlework.py TASK OPTIONS

OPTIONS is JSON: the `set`, the format as `side`, and the `folder` of its files. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from formats import FORMATS, NAME, Read, size_of
from histories import ENTITY, PROBED, PROJECT, SETS, HistorySet, json_lines
from memory import bytes_read, own_memory, own_peak

from pull_logs.snapshot.read.bundle import open_bundle
from pull_logs.snapshot.read.verify import verify_bundle

PROBES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The measurements of one side.

    Attributes:
        seconds: The wall time.
        processor: The processor time in seconds, which a busy machine changes least.
        bytes: The bytes that were written, checked or read.
        json_bytes: The bytes of the rows as JSON, if they were made.
        before: The bytes of memory when the clock started: Python, its modules and the input.
        peak: The peak memory in bytes.
    """

    seconds: float
    processor: float
    bytes: int
    json_bytes: int = 0
    before: int
    peak: int


@dataclass(frozen=True, slots=True)
class _Clock:
    """The wall and processor time of a piece of work, and the bytes of memory before it."""

    seconds: float
    processor: float
    before: int

    def done(self, *, size: int, json_size: int = 0) -> Done:
        return Done(
            seconds=self.seconds,
            processor=self.processor,
            bytes=size,
            json_bytes=json_size,
            before=self.before,
            peak=own_peak(),
        )


def _timed(work: Callable[[], object]) -> _Clock:
    before, busy, began = own_memory(), time.process_time(), time.perf_counter()
    work()
    return _Clock(time.perf_counter() - began, time.process_time() - busy, before)


def write(side: str, histories: HistorySet, folder: Path, *, from_json: bool) -> Done:
    """Write all runs, from Arrow tables or from JSON texts; a bundle is always verified too."""
    kept = FORMATS[side]
    tables = [histories.table(number) for number in range(histories.runs)]
    first = _emptied(folder.with_name(f"{folder.name}-first"))
    kept.write(first, histories, tables[:1])  # imports what is imported on first use
    shutil.rmtree(first)
    json_bytes = 0
    _emptied(folder)
    if from_json:
        lines = [json_lines(table) for table in tables]
        json_bytes = sum(map(len, lines))
        runs = [text.decode().splitlines() for text in lines]
        del tables, lines
        clock = _timed(lambda: kept.write_json(folder, histories, runs))
    else:
        clock = _timed(lambda: kept.write(folder, histories, tables))
    return clock.done(size=size_of(folder), json_size=json_bytes)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def load(side: str, histories: HistorySet, folder: Path) -> Done:
    """Read every run into a frame, and keep all frames."""
    read = FORMATS[side].reader(folder)
    read(0, None)
    frames: list[pd.DataFrame] = []
    clock = _timed(lambda: frames.extend(read(number, None) for number in range(histories.runs)))
    rows = sum(len(frame) for frame in frames)
    if rows != histories.all_rows:
        raise SystemExit(f"{side} gave {rows} rows, not {histories.all_rows}")
    return clock.done(size=size_of(folder))


def column(side: str, histories: HistorySet, folder: Path) -> Done:
    """Read one column of one run at a time, and return the median."""
    read = FORMATS[side].reader(folder)
    read(0, [PROBED])
    start = bytes_read()
    probes = [number * 7 % histories.runs for number in range(PROBES)]
    clocks = [_timed(partial(_probe, read, number, histories)) for number in probes]
    middle = sorted(clocks, key=lambda clock: clock.seconds)[PROBES // 2]
    return middle.done(size=(bytes_read() - start) // PROBES)


def _probe(read: Read, number: int, histories: HistorySet) -> None:
    if len(read(number, [PROBED])[PROBED]) != histories.rows:
        raise SystemExit("a column has fewer or more rows than its run")


def verify(_: str, __: HistorySet, folder: Path, *, deep: bool) -> Done:
    """Verify every byte of the bundle; with `deep`, every rows hash too."""
    bundle = folder / NAME
    found = []
    clock = _timed(lambda: found.append(verify_bundle(bundle, deep=deep)))
    if found[0].damages:
        raise SystemExit(f"the bundle is damaged: {found[0].damages[0].reason}")
    return clock.done(size=bundle.stat().st_size)


def opening(_: str, histories: HistorySet, folder: Path) -> Done:
    """Open the bundle and look up its last run; `bytes` is what was read."""
    open_bundle(folder / NAME).close()
    start = bytes_read()

    def work() -> None:
        with open_bundle(folder / NAME) as bundle:
            if bundle[f"{ENTITY}/{PROJECT}/run{histories.runs - 1:05d}"].rows != histories.rows:
                raise SystemExit("the last run is not complete")

    clock = _timed(work)
    return clock.done(size=bytes_read() - start)


TASKS: dict[str, Callable[[str, HistorySet, Path], Done]] = {
    "write": lambda side, histories, folder: write(side, histories, folder, from_json=False),
    "write-json": lambda side, histories, folder: write(side, histories, folder, from_json=True),
    "load": load,
    "column": column,
    "verify": lambda side, histories, folder: verify(side, histories, folder, deep=True),
    "verify-quick": lambda side, histories, folder: verify(side, histories, folder, deep=False),
    "open": opening,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("options", type=json.loads)
    arguments = parser.parse_args()
    options = arguments.options
    chosen = next(histories for histories in SETS if histories.name == options["set"])
    done = TASKS[arguments.task](options["side"], chosen, Path(options["folder"]))
    print(json.dumps(asdict(done)), flush=True)
