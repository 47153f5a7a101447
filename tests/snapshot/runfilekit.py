"""Runs with files, for tests of bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundlekit import bundle_run

from pull_logs.snapshot import (
    merge_bundles,
    open_bundle,
)
from pull_logs.snapshot.format.file_record import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile
from pull_logs.snapshot.write.run_sources import BundleRun

FOLDER = "runs/entity=acme/project=nano/run=3fk2a"
Contents = Mapping[str, bytes]

CONTENTS: Contents = {
    "output.log": b"epoch 0\nepoch 1\n",
    "media/images/a b.png": b"\x89PNG\x00\xff" * 300,
    "empty.txt": b"",
    "..": b"up",
    "CON.txt": b"device",
    "history.parquet": b"PAR1 of a user's own",
}


def files_of(contents: Contents, **mediatypes: str) -> list[TextFile]:
    return [
        TextFile(record_of(name, [data], mediatype=mediatypes.get(name.partition(".")[0])), data)
        for name, data in contents.items()
    ]


def with_files(contents: Contents = CONTENTS, path: str = "acme/nano/3fk2a", **facts: Any) -> BundleRun:
    run = bundle_run(path, **facts)
    return BundleRun(
        info=run.info,
        coverage=run.coverage,
        batches=run.batches,
        files=files_of(contents, output="text/plain"),
    )


def contents_in(bundle: Path, run: str = "3fk2a") -> dict[str, bytes]:
    with open_bundle(bundle) as opened:
        return {name: file.read() for name, file in opened[run].files.items()}


def merged(paths: Sequence[Path], out: Path) -> Path:
    """Merge bundles."""
    opened = [open_bundle(path) for path in paths]
    try:
        merge_bundles(opened, out)
    finally:
        for bundle in opened:
            bundle.close()
    return out
