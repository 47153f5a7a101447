"""Measure what compressing texts costs and saves when a bundle is written, read and verified.

    python benchmarks/compressed_texts.py [--quick]

Sets are 10,000 logs of 7 kB, 200 tables of W&B as JSON, and one log of 2 GB. Each is written twice, in a
process of its own: with texts compressed, and with texts as they are. Printed are the size of the bundle, the
processor seconds of writing (which verifies each byte) and of reading every file, and the peak memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

from pull_logs.rows.batches import batch_from_rows
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot import BundleRun, open_bundle, write_bundle
from pull_logs.snapshot.format import FileRecord, record_of
from pull_logs.snapshot.write.compression import texts

RUN = RunPath("acme", "bench", "run00000")


@dataclass(frozen=True, slots=True)
class Text:
    """A file whose bytes are computed each time they are read."""

    record: FileRecord
    make: Callable[[], Iterator[bytes]]

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes in parts."""
        return self.make()


def log(seed: int, size: int) -> Iterator[bytes]:
    """Iterate over a log of about this size; one of more than 16 MB repeats its lines."""
    chance, step, parts = random.Random(seed), 0, list[bytes]()
    while sum(map(len, parts)) < min(size, 16_000_000):
        lines = []
        for _ in range(min(5_000, size // 60 + 1)):
            step += 1
            rate, norm = chance.random() / step, chance.random()
            lines.append(f"step {step:8d} loss {rate:.6f} grad_norm {norm:.4f} {step * 0.31:.2f} s\n")
        parts.append("".join(lines).encode())
    left = size
    for part in cycle(parts):
        yield part
        left -= len(part)
        if left <= 0:
            return


def table(seed: int) -> Iterator[bytes]:
    """Return a table of predictions as the SDK writes it."""
    chance = random.Random(seed)
    rows = [
        [
            number,
            chance.random(),
            f"class {chance.randrange(10)}",
            f"class {chance.randrange(10)}",
            chance.gauss(0, 1),
        ]
        for number in range(2_000)
    ]
    yield json.dumps({"columns": ["id", "score", "label", "predicted", "logit"], "data": rows}).encode()


def sets(*, quick: bool) -> dict[str, list[tuple[str, Callable[[], Iterator[bytes]]]]]:
    """Return the names and the bytes of the files of each set."""
    few = 50 if quick else 1
    return {
        "10,000 logs of 7 kB": [
            (f"logs/{number:05}.txt", partial(log, number, 4_000)) for number in range(10_000 // few)
        ],
        "200 tables": [
            (f"media/table/{number}.table.json", partial(table, number)) for number in range(200 // few)
        ],
        "a log of 2 GB": [("output.log", partial(log, 1, 2_000_000_000 // (few * few)))],
    }


def measure(name: str, *, compress: bool, quick: bool, folder: Path) -> dict[str, float]:
    """Write, read and check one bundle in this process."""
    if not compress:
        setattr(texts, "compress_text", lambda *_: None)  # noqa: B010
    files = [Text(record_of(file, make()), make) for file, make in sets(quick=quick)[name]]
    run = BundleRun(
        info=RunInfo(path=RUN, name="texts", state="finished"),
        coverage=Coverage(received_rows=1, received_last_step=0),
        batches=lambda: [batch_from_rows([{"_step": 0, "loss": 1.0}])],
        files=files,
    )
    out = folder / "out.wandb.zip"
    began = time.process_time()
    write_bundle(out, [run], force=True)
    written = time.process_time()
    digest = hashlib.sha256()
    with open_bundle(out) as bundle:
        for file in bundle["run00000"].files.values():
            for chunk in file.chunks():
                digest.update(chunk)
    read = time.process_time()
    return {
        "bytes": out.stat().st_size,
        "write": written - began,
        "read": read - written,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main(arguments: Sequence[str]) -> int:
    """Measure each set with and without compression, and print one table."""
    parser = argparse.ArgumentParser(description="measure what compressing texts costs and saves")
    parser.add_argument("--quick", action="store_true", help="a fiftieth of each: checks that it works")
    parser.add_argument("--one", nargs=2, metavar=("SET", "COMPRESS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="pull-logs-") as name:
        if options.one:
            found, compress = options.one
            print(
                json.dumps(measure(found, compress=compress == "1", quick=options.quick, folder=Path(name)))
            )
            return 0
        print("| set | texts | bundle MB | write, CPU s | read, CPU s | peak MB |")
        print("|---|---|---|---|---|---|", flush=True)
        for title in sets(quick=options.quick):
            for compress, texts_are in (("0", "as they are"), ("1", "compressed")):
                words = [sys.executable, __file__, "--one", title, compress, *(["--quick"] * options.quick)]
                answer = subprocess.run(words, check=True, capture_output=True, text=True)
                one = json.loads(answer.stdout)
                cells = [f"{one['bytes'] / 1e6:,.1f}", f"{one['write']:.1f}", f"{one['read']:.1f}"]
                print(
                    f"| {title} | {texts_are} | {' | '.join(cells)} | {one['peak'] / 1e6:,.0f} |", flush=True
                )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
