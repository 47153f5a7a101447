"""Runs with every kind of data that W&B keeps, for the comparison with other archives."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pull_logs.rows.batches import batch_from_rows, system_batch_from_rows
from pull_logs.rows.canonical import canon_row
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot import BundleRun, write_bundle
from pull_logs.snapshot.format import (
    ArtifactEntry,
    ArtifactRecord,
    ConsoleLine,
    FileRecord,
    GivenArtifacts,
    console_in_memory,
    content_of,
    digest_of,
    encode_entries,
    encode_records,
)

ENTITY, PROJECT = "acme", "bench"
ROWS, SYSTEM_ROWS, LINES = 500, 60, 200
BEYOND_DOUBLES = 2**53 + 1
"""The first of the integers that a double does not hold exactly."""

POLICY = {"storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {"storageLayout": "V2"}}
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_TABLE = json.dumps({"columns": ["id", "guess", "right"], "data": [[0, "cat", True], [1, "dog", False]]})


@dataclass(frozen=True, slots=True)
class GivenFile:
    """A file that a run logged."""

    record: FileRecord
    data: bytes

    def chunks(self) -> Iterable[bytes]:
        """Return its bytes."""
        return (self.data,)


def make_runs(out: Path, *, runs: int) -> None:
    """Make a bundle of runs with histories, system metrics, console logs, files, media, tables, artifacts."""
    write_bundle(out, (_run(number) for number in range(runs)), force=True)


def history() -> list[dict[str, Any]]:
    """Return the rows of a run: numbers, and what is often lost."""
    return [canon_row(_row(step)) for step in range(ROWS)]


def _row(step: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "_step": step,
        "_timestamp": 1.7e9 + step,
        "loss": {3: math.nan, 4: math.inf}.get(step, 1 / (step + 1)),
    }
    if step % 10 == 0:
        row |= {"phase": "warmup" if step < 50 else "train", "ok": step % 20 == 0}
        row["tokens"] = BEYOND_DOUBLES + 2 * step
    if step % 100 == 0:
        row["gradients"] = {"_type": "histogram", "bins": [0.0, 1.0, 2.0], "values": [step, 4]}
    if step == ROWS - 1:
        row["sample"] = {"_type": "image-file", "path": "media/images/sample.png", "size": len(_PIXEL)}
        row["guesses"] = {
            "_type": "table-file",
            "path": "media/table/guesses.table.json",
            "ncols": 3,
            "nrows": 2,
        }
    return row


def _run(number: int) -> BundleRun:
    path = RunPath(ENTITY, PROJECT, f"run{number:05d}")
    batch = batch_from_rows(history())
    system = [{"_timestamp": 1.7e9 + second, "system.cpu": 50.0} for second in range(SYSTEM_ROWS)]
    files = {
        "output.log": b"".join(f"step {line}\n".encode() for line in range(LINES)),
        "requirements.txt": b"torch==2.13.0\n",
        "media/images/sample.png": _PIXEL,
        "media/table/guesses.table.json": _TABLE.encode(),
    }
    console = [
        ConsoleLine(
            number=line,
            text=f"step {line}",
            timestamp=f"2026-11-23T10:{line // 60:02}:{line % 60:02}",
            level="error" if line == 7 else "",
        )
        for line in range(LINES)
    ]
    return BundleRun(
        info=RunInfo(
            path=path,
            name=f"run {number}",
            state="finished",
            created_at="2026-11-23T10:00:00Z",
            heartbeat_at="2026-11-23T11:00:00Z",
            config={"lr": 10.0 ** -(number % 4), "seed": number},
            summary={"loss": 1 / ROWS, "_step": ROWS - 1},
        ),
        coverage=Coverage(
            promised_rows=ROWS, promised_last_step=ROWS - 1, received_rows=ROWS, received_last_step=ROWS - 1
        ),
        batches=lambda: [batch],
        system=system_batch_from_rows(system),
        files=[GivenFile(_record(name, data), data) for name, data in files.items()],
        console=console_in_memory(console),
        artifacts=_artifacts(path, number),
    )


def _record(name: str, data: bytes) -> FileRecord:
    return FileRecord(
        name=name,
        bytes=len(data),
        hash=f"sha256:{hashlib.sha256(data).hexdigest()}",
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
    )


def _artifacts(path: RunPath, number: int) -> GivenArtifacts:
    """Return a model that a run logged, and a data set of all runs that it used, with a reference."""
    weights = {"weights.bin": number.to_bytes(4, "little") * 16_384, "config.json": b"{}"}
    data = {"train.csv": b"x,y\n" + b"1,2\n" * 5_000}
    elsewhere = ArtifactEntry(
        path="raw", digest="etag-1", ref="s3://bucket/raw", size=12, extra={"etag": "etag-1"}
    )
    logged = _Version(f"model-{path.run_id}", "model", weights, logged_by=str(path))
    used = _Version("data", "dataset", data, references=[elsewhere], logged_by=None)
    records = encode_records([logged.record("logged"), used.record("used")])
    contents = {one.record.hash: one for one in (*logged.contents, *used.contents)}
    return GivenArtifacts(table=content_of(records), contents=[contents[key] for key in sorted(contents)])


class _Version:
    """A version of an artifact with its files."""

    def __init__(
        self,
        name: str,
        kind: str,
        files: Mapping[str, bytes],
        *,
        logged_by: str | None,
        references: Iterable[ArtifactEntry] = (),
    ) -> None:
        entries = [
            *(
                ArtifactEntry(
                    path=path,
                    digest=digest_of("MD5", [data]),
                    size=len(data),
                    hash=content_of(data).record.hash,
                )
                for path, data in files.items()
            ),
            *references,
        ]
        digest = hashlib.md5(b"wandb-artifact-manifest-v1\n", usedforsecurity=False)
        for entry in sorted(entries, key=lambda one: one.path):
            digest.update(f"{entry.path}:{entry.digest}\n".encode())
        listing = content_of(encode_entries(entries))
        self.contents = [listing, *map(content_of, files.values())]
        self._facts: dict[str, Any] = {
            "entity": ENTITY,
            "project": PROJECT,
            "collection": name,
            "version": 0,
            "id": base64.b64encode(f"Artifact:{ENTITY}/{PROJECT}/{name}:v0".encode()).decode(),
            "entries": listing.record.hash,
            "type": kind,
            "state": "COMMITTED",
            "digest": digest.hexdigest(),
            "size": sum(map(len, files.values())),
            "file_count": len(entries),
            "created_at": "2026-11-23T10:00:00Z",
            "updated_at": "2026-11-23T10:00:00Z",
            "policy": POLICY,
            "logged_by": logged_by,
        }

    def record(self, relation: Literal["logged", "used"]) -> ArtifactRecord:
        """Return its record for a run."""
        return ArtifactRecord(relation=relation, **self._facts)
