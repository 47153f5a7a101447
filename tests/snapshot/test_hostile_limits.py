"""Bundles that exceed limits are refused within a second and 300 MB.

Bundles refused for names and fields are in `test_hostile_bundles.py`; these are the large ones. Each is
opened, read and verified in a separate process that measures its own time and memory.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bundlekit import Raw, bundle_run, forge, forged_from, make_bundle, members_of
from checkout import ROOT

from pull_logs.snapshot.format.manifest import render_digest
from pull_logs.snapshot.format.parquet_write import Encoded
from pull_logs.snapshot.write import encoded_history

SECONDS, BYTES = 1.0, 300_000_000

MEASURED = r"""
import json, re, sys, time
from pathlib import Path
import pyarrow.parquet, numpy
from pull_logs.errors import DamageError
from pull_logs.snapshot import open_bundle, verify_bundle

def read(path):
    with open_bundle(path) as bundle:
        for run in bundle.runs():
            for _ in run.scan_history():
                pass

def check(path):
    damages = verify_bundle(path).damages
    if damages:
        raise DamageError(damages[0].reason)

found = []
for use in (read, check):
    start = time.process_time()
    try:
        use(sys.argv[1])
        found.append("not refused")
    except DamageError as exc:
        found.append(exc.message)
    found.append(time.process_time() - start)
status = Path("/proc/self/status")
peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1] if status.exists() else 0
print(json.dumps([*found, int(peak) * 1024]))
"""


def refusal(path: Path) -> tuple[str, str]:
    """Return the refusals of reading and of verifying a bundle, by a process within its limits."""
    before = sorted(path.parent.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    reading, reading_time, verifying, verifying_time, memory = json.loads(done.stdout)
    assert max(reading_time, verifying_time) < SECONDS
    assert memory < BYTES
    assert sorted(path.parent.iterdir()) == before
    return reading, verifying


def parquet(table: pa.Table, **settings: Any) -> bytes:
    sink = io.BytesIO()
    wanted: dict[str, Any] = {
        "data_page_version": "2.0",
        "write_page_checksum": True,
        "store_schema": False,
        "compression": "zstd",
    }
    pq.write_table(table, sink, **(wanted | settings))
    return sink.getvalue()


def stepped(rows: int, **columns: pa.Array) -> pa.Table:
    fields = [pa.field("_step", pa.int64(), nullable=False)]
    fields += [pa.field(name, array.type) for name, array in columns.items()]
    return pa.Table.from_arrays([pa.array(np.arange(rows)), *columns.values()], schema=pa.schema(fields))


def zeros(rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(0.0), rows)


def bomb_of_rows() -> bytes:
    """A row group larger than the format allows: a few hundred bytes per column give any number of cells."""
    return parquet(stepped(400_000, x=zeros(400_000)), row_group_size=400_000)


def bomb_of_text() -> bytes:
    """13 GB of text from one dictionary entry."""
    rows = 131_072
    text = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), ["x" * 100_000])
    return parquet(stepped(rows, x=text), use_dictionary=["x"], row_group_size=rows)


def bomb_of_zstd() -> bytes:
    """Pages of zstd that expand ten thousandfold, in one column after the other: 12 GB in total."""
    text = pa.array(["y" * 500_000_000])
    columns = dict.fromkeys((f"x{index}" for index in range(24)), text)
    return parquet(stepped(1, **columns), use_dictionary=False, write_statistics=False)


def of_extension_type() -> bytes:
    return parquet(stepped(2, x=pa.array(["{}", "{}"], pa.json_())), store_schema=True)


def nested() -> bytes:
    return parquet(stepped(2, x=pa.array([[[[1]]], [[[2]]]])))


def with_history(path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle with correct hashes whose history another program wrote."""
    metadata = pq.read_metadata(io.BytesIO(data))
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") :]
    digests = [f"sha256:{hashlib.sha256(part).hexdigest()}" for part in (data, footer)]

    def written(_: object, sink: BinaryIO, *, describe: object) -> Encoded:
        sink.write(data)
        return Encoded(
            rows=metadata.num_rows,
            first_step=0,
            last_step=metadata.num_rows - 1,
            rows_hash=f"sha256:{'0' * 64}",
            bytes=len(data),
            hash=digests[0],
            footer_bytes=len(footer),
            footer_hash=digests[1],
        )

    with monkeypatch.context() as patch:
        patch.setattr(encoded_history, "write_table", written)
        return make_bundle(path, [bundle_run()])


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (bomb_of_rows, "row group 0 of the Parquet file has 400000 rows, and 131072 are the most"),
        (
            bomb_of_text,
            "the Parquet data would take 13109297152 bytes of memory, more than the 8589934592 allowed",
        ),
        pytest.param(
            bomb_of_zstd,
            "bytes of memory, more than the 8589934592 allowed",
            marks=pytest.mark.slow,
        ),
        (of_extension_type, "column 'x' of the Parquet file has the type extension<arrow.json>"),
        (nested, "column 'x' of the Parquet file is nested"),
    ],
)
def test_a_history_that_expands_to_too_much_or_is_of_another_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[[], bytes], reason: str
) -> None:
    data = made()
    assert len(data) < 2_000_000
    path = with_history(tmp_path / "bad.wandb.zip", data, monkeypatch)
    reading, verifying = refusal(path)
    index = "runs/entity=acme/project=nano/run=3fk2a/history.parquet"
    assert reading.startswith(f"{str(path)!r} is damaged: history.parquet of run 'acme/nano/3fk2a': ")
    assert reading.endswith(reason)
    assert verifying.startswith(f"{index!r} cannot be read: ")
    assert verifying.endswith(reason)


def with_manifest(folder: Path, data: bytes) -> Path:
    def change(members: dict[str, Raw]) -> None:
        members["datapackage.json"].data = data
        members["datapackage-digest.json"].data = render_digest(data)

    return forged_from(make_bundle(folder / "good.wandb.zip"), folder / "bad.wandb.zip", change)


HUGE: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "larger than it may be": (
        lambda: b"[" * (64 * 2**20 + 1),
        "is not safe to use: datapackage.json claims 67108865 bytes, and 67108864 are the most",
    ),
    "empty lists": (
        lambda: b'{"resources":[' + b"[]," * 15_000_000 + b"[]]}",
        "is not safe to use: datapackage.json has 30000003 values, too many for 8 files",
    ),
    "as deep as it is long": (
        lambda: b'{"a":' * 10_000_000,
        "is not safe to use: datapackage.json has 10000000 values, too many for 8 files",
    ),
    "one long text": (
        lambda: b'{"resources":"' + b"x" * 50_000_000 + b'"}',
        "is damaged: datapackage.json lists no resources",
    ),
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_huge_manifest(tmp_path: Path, kind: str) -> None:
    made, reason = HUGE[kind]
    path = with_manifest(tmp_path, made())
    message = f"{str(path)!r} {reason}"
    reading, verifying = refusal(path)
    assert message in {reading, verifying}
    assert reading == message


def test_a_manifest_of_the_library_is_far_from_its_limit(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "a.wandb.zip", [bundle_run(f"a/b/{index}") for index in range(40)])
    data = members_of(path)["datapackage.json"]
    assert sum(data.count(mark) for mark in (b",", b"[", b"{")) < 15 * (40 + 4)


def test_thousands_of_members_in_the_same_bytes(tmp_path: Path) -> None:
    first = Raw(b"runs/entity=e/project=p/run=r/history.parquet", b"x" * 1000)
    rest = [
        Raw(f"runs/entity=e/project=p/run=r{index}/history.parquet".encode(), size=0, offset=0)
        for index in range(3_000)
    ]
    path = forge(tmp_path / "bad.wandb.zip", [first, *rest])
    name = "runs/entity=e/project=p/run=r0/history.parquet"
    message = f"{str(path)!r} is not safe to use: member {name!r} overlaps its neighbour"
    assert refusal(path) == (message, message)
