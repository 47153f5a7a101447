"""A bundle of ten gigabytes at a URL: one column of one run takes four requests and less than a megabyte."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from bundlekit import bundle_run, make_bundle, members_of
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from pull_logs.snapshot import open_bundle
from pull_logs.snapshot.format import record_of
from pull_logs.snapshot.format.manifest import parse_manifest, render_digest, render_manifest
from pull_logs.snapshot.format.names import member_order
from pull_logs.snapshot.format.zip_layout import Entry, central_entry, directory_end, local_header
from pull_logs.snapshot.privacy.file_scrubber import TextFile

RUNS, ROWS, METRICS = 200, 500, 20
LARGE = 10 * 2**30
FILE = "model.ckpt"


class Sparse:
    """Bytes of which most are zeros, and the requests for them."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, bytes]] = []
        self.length = 0
        self.requests = self.sent = 0

    def append(self, data: bytes) -> None:
        self.parts.append((self.length, data))
        self.length += len(data)

    def read(self, start: int, end: int) -> bytes:
        found = bytearray(end - start)
        for offset, data in self.parts:
            first, last = max(start, offset), min(end, offset + len(data))
            if first < last:
                found[first - start : last - start] = data[first - offset : last - offset]
        self.requests += 1
        self.sent += len(found)
        return bytes(found)


OBJECT = Sparse()


class _File(AbstractBufferedFile):  # type: ignore[misc]
    def _fetch_range(self, start: int, end: int) -> bytes:
        return OBJECT.read(start, end)


class SparseSystem(AbstractFileSystem):  # type: ignore[misc]
    """A file system that has one object, and counts a request for its size too."""

    protocol = "sparse"

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        OBJECT.requests += 1
        return {"name": path, "size": OBJECT.length, "type": "file"}

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        options.pop("block_size", None)
        options.pop("autocommit", None)
        return _File(self, path, mode, size=self.info(path)["size"], **options)


def run_rows() -> list[dict[str, Any]]:
    names = {f"metric{index:02d}": index for index in range(METRICS)}
    return [
        {"_step": step, **{name: (step * 37 + index) / 7 for name, index in names.items()}}
        for step in range(ROWS)
    ]


@pytest.fixture(scope="module")
def stretched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a small bundle; `OBJECT` is the same with a file of 10 GiB."""
    folder = tmp_path_factory.mktemp("large")
    rows = run_rows()
    runs = [bundle_run(f"acme/nano/r{number:03d}", rows, config={"lr": number}) for number in range(RUNS)]
    runs[50] = replace(runs[50], files=[TextFile(record_of(FILE, [b"x"]), b"x")])
    small = make_bundle(folder / "small.wandb.zip", runs)
    members = members_of(small)
    manifest = parse_manifest(members["datapackage.json"], path="a", members=[*members])
    files = {
        folder: tuple(replace(one, record=replace(one.record, bytes=LARGE)) for one in listed)
        for folder, listed in manifest.files.items()
    }
    rendered = render_manifest(replace(manifest, files=files))
    members |= {"datapackage.json": rendered, "datapackage-digest.json": render_digest(rendered)}
    entries = []
    with open_bundle(small) as bundle:
        crcs = {name: entry.crc for name, entry in bundle._container.entries.items()}  # type: ignore[attr-defined]
    for name in member_order(members):
        large = name.endswith(FILE)
        entry = Entry(name, LARGE if large else len(members[name]), crcs[name], OBJECT.length)
        entries.append(entry)
        OBJECT.append(local_header(entry))
        OBJECT.append(members[name])
        OBJECT.length += LARGE - 1 if large else 0
    start = OBJECT.length
    directory = b"".join(map(central_entry, entries))
    OBJECT.append(directory + directory_end(count=len(entries), size=len(directory), start=start))
    fsspec.register_implementation("sparse", SparseSystem, clobber=True)
    yield small
    sys.modules["fsspec.registry"]._registry.pop("sparse", None)  # `fsspec.registry` is a view of it


@pytest.mark.parametrize("number", [0, 120, RUNS - 1])
def test_one_column_of_one_run_takes_four_requests_and_less_than_a_megabyte(
    stretched: Path, number: int
) -> None:
    OBJECT.requests = OBJECT.sent = 0
    assert OBJECT.length > LARGE
    name = f"r{number:03d}"
    with open_bundle("sparse://lab/large.wandb.zip") as bundle, open_bundle(stretched) as local:
        frame = bundle[name].history(["metric07"])
        assert frame.equals(local[name].history(["metric07"]))
        assert len(frame) == ROWS
    assert OBJECT.requests <= 4
    assert OBJECT.sent <= 2**20
