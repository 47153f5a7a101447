"""Small bundles, and hostile ZIP files."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pull_logs.rows.batches import batch_from_rows, system_batch_from_rows
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.format.container import open_container
from pull_logs.snapshot.format.manifest import Resources, parse_manifest, render_digest, render_manifest
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.snapshot.write.seal import write_bundle

ROWS: tuple[dict[str, Any], ...] = (
    {"_step": 0, "_timestamp": 1.5, "loss": 2.25, "note": "start"},
    {"_step": 1, "_timestamp": 2.5, "loss": float("nan"), "acc": 0.5},
    {"_step": 4, "_timestamp": 3.5, "loss": 1, "acc": "odd", "pics": {"_type": "image-file", "n": [1, None]}},
)
"""Three rows with a NaN, a gap, a cell of another kind and a nested one."""

SYSTEM_ROWS = ({"_timestamp": 1.0, "system.cpu": 12.5}, {"_timestamp": 2.0, "system.cpu": 50.0})


def run_info(path: str = "acme/nano/3fk2a", **facts: Any) -> RunInfo:
    known: dict[str, Any] = {"path": RunPath(*path.split("/")), "name": "brisk-sun-1", "state": "finished"}
    return RunInfo(**known | facts)


def bundle_run(
    path: str = "acme/nano/3fk2a",
    rows: Sequence[Mapping[str, Any]] = ROWS,
    *,
    system: Sequence[Mapping[str, Any]] = (),
    coverage: Coverage | None = None,
    **facts: Any,
) -> BundleRun:
    batch = batch_from_rows(rows)
    last = rows[-1]["_step"] if rows else None
    return BundleRun(
        info=run_info(path, **facts),
        coverage=coverage or Coverage(received_rows=len(rows), received_last_step=last),
        batches=lambda: [batch],
        system=system_batch_from_rows(system) if system else None,
    )


def two_runs() -> list[BundleRun]:
    return [
        bundle_run("acme/nano/3fk2a", config={"lr": 0.1}, summary={"loss": 1}, system=SYSTEM_ROWS),
        bundle_run("acme/nano/b", ROWS[:1], state="crashed"),
    ]


def make_bundle(path: Path, runs: Iterable[BundleRun] | None = None) -> Path:
    write_bundle(path, two_runs() if runs is None else runs, force=True)
    return path


def members_of(path: Path | str) -> dict[str, bytes]:
    """Return the bytes of every member of a bundle."""
    container = open_container(Path(path))
    try:
        return {name: container.read(name, limit=2**30) for name in container.sizes}
    finally:
        container.close()


def unzipped(bundle: Path, folder: Path) -> Path:
    for name, data in members_of(bundle).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def without_index(path: Path, out: Path) -> Path:
    """The bundle as a version before the index wrote it."""
    folder = unzipped(path, out)
    (folder / "metrics.parquet").unlink()

    sizes = {
        str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()
    }
    data = (folder / "datapackage.json").read_bytes()
    manifest = parse_manifest(data, path="a", members=[*sizes, "metrics.parquet"])
    resources = Resources.of(one for name, one in manifest.resources.items() if name != "metrics.parquet")
    rendered = render_manifest(replace(manifest, resources=resources))
    (folder / "datapackage.json").write_bytes(rendered)
    (folder / "datapackage-digest.json").write_bytes(render_digest(rendered))
    return folder


@dataclass
class Raw:
    """A member of a forged ZIP; fields that are None are correct."""

    name: bytes
    data: bytes = b""
    method: int = 0
    flags: int = 0
    mode: int = stat.S_IFREG | 0o644
    size: int | None = None
    offset: int | None = None
    local_name: bytes | None = None
    extra: bytes = b""

    def local(self) -> bytes:
        name = self.name if self.local_name is None else self.local_name
        size = len(self.data) if self.size is None else self.size
        sizes = (zlib.crc32(self.data), len(self.data), size)
        head = struct.pack(
            "<4s5H3I2H", b"PK\x03\x04", 20, self.flags, self.method, 0, 33, *sizes, len(name), 0
        )
        return head + name + self.data

    def central(self, offset: int) -> bytes:
        size = len(self.data) if self.size is None else self.size
        sizes = (zlib.crc32(self.data), len(self.data), size)
        claimed = offset if self.offset is None else self.offset
        head = struct.pack(
            "<4s6H3I5H2I",
            *(b"PK\x01\x02", 3 << 8 | 20, 20, self.flags, self.method, 0, 33, *sizes),
            *(len(self.name), len(self.extra), 0, 0, 0, self.mode << 16, claimed),
        )
        return head + self.name + self.extra


def forge(path: Path, members: Sequence[Raw], *, comment: bytes = b"") -> Path:
    """Write a ZIP with the fields of the members, correct or not."""
    body, directory = b"", b""
    for member in members:
        directory += member.central(len(body))
        body += member.local()
    counts = (0, 0, len(members), len(members), len(directory), len(body), len(comment))
    path.write_bytes(body + directory + struct.pack("<4s4H2IH", b"PK\x05\x06", *counts) + comment)
    return path


def forged_from(bundle: Path, out: Path, change: Callable[[dict[str, Raw]], None]) -> Path:
    """Write a bundle with some of its members changed, in their new order."""
    members = {name: Raw(name.encode(), data) for name, data in members_of(bundle).items()}
    change(members)
    return forge(out, list(members.values()))
