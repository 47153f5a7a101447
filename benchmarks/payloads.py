"""Measure pulls of many small files and of large artifacts: time, requests, and memory as they grow.

    python benchmarks/payloads.py [--only files|entries|large] [--quick] [--work DIR]

`files` are run files of 2 kB, `entries` files of one artifact of 2 kB, `large` artifact files of 64 MB; each
set has two sizes, a tenth and all. For each, a bundle is made, served, fetched by the command, fetched again
(nothing changed), verified, copied by `subset`, and its artifacts are downloaded by the real SDK. Each step
runs in a process of its own; printed is the peak memory of the process and its children, and of the server.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from everything import POLICY
from measuring import Server, environment, processor_seconds, serving, watching
from workloads import Scenario

from pull_logs.rows.batches import batch_from_rows
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot import BundleRun, write_bundle
from pull_logs.snapshot.format import (
    ArtifactEntry,
    ArtifactRecord,
    ContentRecord,
    ContentSource,
    FileRecord,
    FileSource,
    GivenArtifacts,
    content_of,
    digest_of,
    encode_entries,
    encode_records,
    record_of,
)

RUN = RunPath("acme", "bench", "run00000")
SMALL, LARGE = 2_000, 64 * 2**20
_BLOCK = 2**20
_STEPS = ("fetch", "fetch again", "verify", "subset", "SDK download")
_DOWNLOAD = """
import sys, wandb
for artifact in wandb.Api().run(sys.argv[1]).logged_artifacts():
    artifact.download(sys.argv[2])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What one run has.

    Attributes:
        name: The name of the set.
        files: The number of its small run files.
        entries: The number of small files of its artifact.
        large: The number of large files of its artifact.
    """

    name: str
    files: int = 0
    entries: int = 0
    large: int = 0

    @property
    def title(self) -> str:
        """What is in it, for the table."""
        parts = (f"{self.files:,} run files", f"{self.entries:,} artifact files")
        sized = f"{self.large * LARGE / 1e9:.2g} GB of artifacts"
        found = zip((*parts, sized), (self.files, self.entries, self.large), strict=True)
        return next(text for text, count in found if count)


PAYLOADS = (
    Payload(name="files", files=1_000),
    Payload(name="files", files=10_000),
    Payload(name="entries", entries=1_000),
    Payload(name="entries", entries=10_000),
    Payload(name="large", large=3),
    Payload(name="large", large=30),
)
QUICK = (Payload(name="files", files=20), Payload(name="entries", entries=20), Payload(name="large", large=1))


Record = TypeVar("Record", FileRecord, ContentRecord)


@dataclass(frozen=True, slots=True)
class Random(Generic[Record]):
    """Bytes of a seed, as a run file or a content of an artifact, computed each time they are read."""

    record: Record
    seed: int
    size: int

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes in parts."""
        yield from _chunks(self.seed, self.size)


def _chunks(seed: int, size: int) -> Iterator[bytes]:
    chance = np.random.default_rng(seed)
    for start in range(0, size, _BLOCK):
        yield chance.bytes(min(_BLOCK, size - start))


@dataclass(frozen=True, slots=True)
class Step:
    """One measured step."""

    name: str
    seconds: float
    processor: float
    requests: int
    sent: int
    peak: int
    server_peak: int


def main(arguments: Sequence[str]) -> int:
    """Measure the chosen sets and print one table."""
    parser = argparse.ArgumentParser(description="measure pulls of many files and of large artifacts")
    parser.add_argument("--only", choices=("files", "entries", "large"), help="one set")
    parser.add_argument("--quick", action="store_true", help="small sizes: checks that it works")
    parser.add_argument("--work", type=Path, help="the folder to work in, which is emptied after each size")
    options = parser.parse_args(arguments)
    chosen = [one for one in (QUICK if options.quick else PAYLOADS) if options.only in (None, one.name)]
    print("| what | step | seconds | CPU s | requests | MB sent | peak MB | peak MB of the server |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for payload in chosen:
        with tempfile.TemporaryDirectory(prefix="pull-logs-", dir=options.work) as name:
            for step in _measured(payload, Path(name)):
                cells = [
                    payload.title,
                    step.name,
                    f"{step.seconds:.1f}",
                    f"{step.processor:.1f}",
                    f"{step.requests:,}",
                ]
                cells += [f"{size / 1e6:,.0f}" for size in (step.sent, step.peak, step.server_peak)]
                print(f"| {' | '.join(cells)} |", flush=True)
    return 0


def _measured(payload: Payload, folder: Path) -> Iterator[Step]:
    source, out = folder / "served.wandb.zip", folder / "out.wandb.zip"
    write_bundle(source, [_run(payload)])
    pull = ["-m", "pull_logs", "fetch", "-p", RUN.project_path, "-o", str(out)]
    pull += ["--files", "*"] if payload.files else ["--artifacts", "all"]
    commands = {
        "fetch": pull,
        "fetch again": pull,
        "verify": ["-m", "pull_logs", "verify", str(out)],
        "subset": ["-m", "pull_logs", "subset", str(out), "-o", str(folder / "copy.wandb.zip")],
        "SDK download": ["-c", _DOWNLOAD, str(RUN), str(folder / "downloaded")],
    }
    with ExitStack() as stack:
        server = stack.enter_context(serving(Scenario(name=payload.name, runs=1, rows=10), source))
        for name in _STEPS:
            if name != "SDK download" or not payload.files:
                yield _step(name, commands[name], server, folder)


def _step(name: str, words: Sequence[str], server: Server, folder: Path) -> Step:
    variables = {
        "WANDB_BASE_URL": server.url,
        "WANDB_API_KEY": server.api_key,
        "WANDB_ERROR_REPORTING": "false",
        "HOME": str(folder),
        **{f"WANDB_{kind}_DIR": str(folder / kind) for kind in ("CACHE", "CONFIG", "DATA")},
    }
    server.reset()
    began, spent = time.perf_counter(), processor_seconds()
    with (
        (folder / "said").open("w+") as said,
        subprocess.Popen(
            [sys.executable, *words], env=environment(variables), cwd=folder, stdout=said, stderr=said
        ) as process,
        watching(process.pid) as watch,
    ):
        code = process.wait()
        seconds = time.perf_counter() - began
    if code:
        raise SystemExit(f"{name} failed: {(folder / 'said').read_text()[-500:]}")
    traffic = server.reset()
    processor = processor_seconds() - spent
    sent, requests = traffic["sent"], traffic["requests"]
    return Step(name, seconds, processor, requests, sent, watch.peak, _peak_of(server))


def _peak_of(server: Server) -> int:
    """Return the peak memory of the server so far."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return 1024 * int(found[1]) if found else 0


def _run(payload: Payload) -> BundleRun:
    rows = [{"_step": step, "loss": 1 / (step + 1)} for step in range(10)]
    return BundleRun(
        info=RunInfo(path=RUN, name="payload", state="finished", created_at="2026-01-02T03:04:05Z"),
        coverage=Coverage(received_rows=10, received_last_step=9),
        batches=lambda: [batch_from_rows(rows)],
        files=[_file(number) for number in range(payload.files)],
        artifacts=_artifacts(payload) if payload.entries or payload.large else None,
    )


def _file(number: int) -> FileSource:
    return Random(record_of(f"media/{number:06d}.bin", _chunks(number, SMALL)), number, SMALL)


def _artifacts(payload: Payload) -> GivenArtifacts:
    sizes = [SMALL] * payload.entries + [LARGE] * payload.large
    contents: list[ContentSource] = []
    entries: list[ArtifactEntry] = []
    for number, size in enumerate(sizes):
        sha256 = hashlib.sha256()
        for chunk in _chunks(number, size):
            sha256.update(chunk)
        record = ContentRecord(size, f"sha256:{sha256.hexdigest()}")
        contents.append(Random(record, number, size))
        entries.append(
            ArtifactEntry(
                path=f"data/{number:06d}.bin",
                digest=digest_of("MD5", _chunks(number, size)),
                size=size,
                hash=record.hash,
            )
        )
    listing = content_of(encode_entries(entries))
    artifact = ArtifactRecord(
        relation="logged",
        entity=RUN.entity,
        project=RUN.project,
        collection="payload",
        version=0,
        id="QXJ0aWZhY3Q6cGF5bG9hZA==",
        type="dataset",
        state="COMMITTED",
        digest=hashlib.md5(json.dumps(sizes).encode(), usedforsecurity=False).hexdigest(),
        size=sum(sizes),
        file_count=len(entries),
        created_at="2026-01-02T03:04:05Z",
        policy=POLICY,
        entries=listing.record.hash,
        logged_by=str(RUN),
    )
    table = content_of(encode_records([artifact]))
    return GivenArtifacts(
        table=table, contents=sorted([listing, *contents], key=lambda content: content.record.hash)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
