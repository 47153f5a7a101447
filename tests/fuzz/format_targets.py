"""Fuzz targets for what a bundle consists of: its directory, manifest, tables, histories and logs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from artifactkit import entry_of, reference
from bundlekit import make_bundle, members_of, two_runs
from consolekit import console_of, printed
from fuzzkit import Target, as_file, scratch
from mutation import after, either, json_lines, json_value, some_bytes, zip_fields

from pull_logs.errors import BundleDamagedError, DataError, PullLogsError
from pull_logs.rows.batches import batch_from_rows, batch_rows
from pull_logs.runs import RunPath
from pull_logs.snapshot import add_bundles, open_store
from pull_logs.snapshot.format import (
    ArtifactRecord,
    Resource,
    Resources,
    StoredConsole,
    arrow_table,
    check_format,
    encode_entries,
    encode_logged_table,
    encode_records,
    load_metrics_table,
    parse_entries,
    parse_manifest,
    parse_records,
    parse_table,
    read_lines,
    render_digest,
    render_manifest,
    sha256,
)
from pull_logs.snapshot.format.compression import decompressed
from pull_logs.snapshot.format.container import ZipContainer
from pull_logs.snapshot.format.parquet_read import damaged_chunks, read_footer, read_table
from pull_logs.snapshot.format.parquet_write import encode_table
from pull_logs.snapshot.format.runs_table import load_runs_table
from pull_logs.snapshot.read import open_bundle, verify_bundle
from pull_logs.snapshot.sets.catalog import Catalog, is_set_member

MEMORY = 64 * 2**20
"""The memory limit of a fuzzed table."""


@cache
def good_members() -> dict[str, bytes]:
    """Return the members of a small bundle with system metrics."""
    return members_of(make_bundle(scratch() / "good.wandb.zip"))


@cache
def good_bundle() -> bytes:
    """Return the bytes of that bundle."""
    good_members()
    return (scratch() / "good.wandb.zip").read_bytes()


@cache
def good_paths() -> list[RunPath]:
    """Return the runs of that bundle."""
    return [run.info.path for run in two_runs()]


@cache
def good_console() -> StoredConsole:
    """Return a console log."""
    return console_of(printed(30))


class Memory:
    """Bytes as the file of a container."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    def read_at(self, offset: int, size: int) -> bytes:
        data = self._data[offset : offset + size]
        if len(data) < size:
            raise BundleDamagedError("'fuzzed' is cut short", path="fuzzed")
        return data

    def expect(self, ranges: object) -> None:
        pass

    def close(self) -> None:
        pass


def zip_directory(data: bytes) -> None:
    """What we accept, the standard library reads alike."""
    container = ZipContainer("fuzzed", Memory(data))
    ours = {name: container.read(name, limit=2**20) for name, size in container.sizes.items() if size < 2**20}
    with zipfile.ZipFile(io.BytesIO(data)) as theirs:
        assert theirs.namelist() == list(container.sizes)
        for name, content in ours.items():
            info = theirs.getinfo(name)
            assert info.file_size == info.compress_size == len(content)
            assert data[info.header_offset :].startswith(b"PK\x03\x04")
            end = info.header_offset + 30 + len(name.encode()) + len(content)
            assert content in data[info.header_offset : end + 20]


def manifest(data: bytes) -> None:
    """What we accept is written as it was read."""
    known = [*good_members()]
    read = parse_manifest(data, path="fuzzed", members=known)
    again = parse_manifest(render_manifest(read), path="fuzzed", members=known)
    assert again == read


def format_mark(data: bytes) -> None:
    check_format(data, path="fuzzed")


def parquet_footer(data: bytes) -> None:
    """The chunks of a footer that we accept lie one after the other."""
    info = read_footer(data, footer=data)
    assert info.rows >= 0
    for chunk in info.chunks:
        assert 0 <= chunk.start <= chunk.end


def parquet(data: bytes) -> None:
    """A file that we read has the rows that its footer counts, and is located where it is damaged."""
    rows = read_footer(data).rows
    try:
        table = read_table(data, memory_limit=MEMORY)
    except DataError:
        for chunk in damaged_chunks(data):
            assert 0 <= chunk.start <= chunk.end <= len(data)
        raise
    assert table.num_rows == rows
    if rows < 1000:
        list(batch_rows(table))


def runs_table(data: bytes) -> None:
    """Every run of a table that opens can be read, or is refused."""
    for rows in (2, 1):
        try:
            table = load_runs_table(data, rows=rows, path="fuzzed")
        except PullLogsError:
            continue
        assert [row.info.path for row in table.rows()] == list(table.paths)


def metrics_table(data: bytes) -> None:
    """Every metric of an index that opens can be read, or is refused."""
    paths = good_paths()
    size = int.from_bytes(data[-8:-4], "little") + 8
    for rows in (9, 5, 4):
        try:
            table = load_metrics_table(
                pa.BufferReader(data), data[-size:], paths=paths, rows=rows, path="fuzzed"
            )
        except PullLogsError:
            continue
        for index in range(len(paths)):
            assert len(table.names(index)) == len(table.facts(index))


def artifact_records(data: bytes) -> None:
    parse_records(data)


def artifact_entries(data: bytes) -> None:
    assert encode_entries(parse_entries(data)) == data


def logged_table(data: bytes) -> None:
    """A table of W&B becomes Parquet with as many rows and columns."""
    table = parse_table(data, name="fuzzed")
    arrow = arrow_table(table)
    assert arrow.num_columns == len(table.columns)
    if arrow.num_columns:
        assert arrow.num_rows == len(table.rows)
    assert pq.read_table(io.BytesIO(encode_logged_table(arrow))).num_rows == arrow.num_rows


def console(data: bytes) -> None:
    """The lines of a log are those that its record counts."""
    record = replace(good_console().record, bytes=len(data), hash=sha256(data))
    lines = list(read_lines([data[:100], data[100:]], record))
    assert len(lines) == record.lines


def compressed_text(data: bytes) -> None:
    """The first three bytes are the size of the text; what we read, the library of zstandard reads too."""
    size, frame = int.from_bytes(data[:3], "little"), data[3:]
    text = b"".join(decompressed([frame[:50], frame[50:]], stored=len(frame), size=size))
    assert len(text) == size
    assert zstandard.ZstdDecompressor().decompress(frame, max_output_size=size + 1) == text


def resealed(data: bytes) -> None:
    """A member of a bundle is replaced and all digests are made to fit, as an attacker would.

    The first byte selects the member. What verifies can be read completely, with as many rows as it has.
    """
    if not data:
        return
    members = dict(good_members())
    kinds = [name for name in members if name.endswith(".parquet")]
    name = kinds[data[0] % len(kinds)]
    members[name] = data[1:]
    read = parse_manifest(members["datapackage.json"], path="good", members=[*members])
    changed = {**read.resources, name: _resource(read.resources[name], data[1:])}
    resources = Resources.of(changed.values())
    _read_everything(_zipped(_with_manifest(members, render_manifest(replace(read, resources=resources)))))


def resealed_manifest(data: bytes) -> None:
    """The manifest of a bundle is replaced and its digest is made to fit."""
    _read_everything(_zipped(_with_manifest(good_members(), data)))


def _with_manifest(members: Mapping[str, bytes], manifest: bytes) -> dict[str, bytes]:
    return {**members, "datapackage.json": manifest, "datapackage-digest.json": render_digest(manifest)}


def _read_everything(bundle_bytes: bytes) -> None:
    """Verify a bundle and read it: what verifies has as many rows as it claims."""
    path = as_file(bundle_bytes, "resealed.wandb.zip")
    with open_bundle(path) as bundle:
        report = verify_bundle(path)
        for run in bundle.runs():
            rows = list(run.scan_history())
            assert report.damages or len(rows) == run.rows
            list(run.system_rows())


def _resource(known: Resource, data: bytes) -> Resource:
    footer = min(int.from_bytes(data[-8:-4], "little") + 8, len(data))
    return known._replace(
        bytes=len(data),
        hash=sha256(data),
        footer_bytes=footer,
        footer_hash=sha256(data[len(data) - footer :]),
    )


def _zipped(members: dict[str, bytes]) -> bytes:
    from pull_logs.snapshot.format.zip_layout import ContainerWriter

    out = io.BytesIO()
    writer = ContainerWriter(out)
    for name, content in members.items():
        writer.add(name, [content], size=len(content))
    writer.finish()
    return out.getvalue()


def _named(ending: str) -> list[bytes]:
    return [data for name, data in good_members().items() if name.endswith(ending)]


def _resealable() -> list[bytes]:
    kinds = [name for name in good_members() if name.endswith(".parquet")]
    return [bytes([at]) + good_members()[name] for at, name in enumerate(kinds)]


def _footers() -> list[bytes]:
    found = _named("history.parquet")
    return [data[-int.from_bytes(data[-8:-4], "little") - 8 :] for data in found]


def _tables() -> list[bytes]:
    return [
        b'{"columns":["a","b"],"data":[[1,"x"],[NaN,null],[2.5,{"_type":"image-file"}]]}',
        (
            b'{"column_types":{"params":{"type_map":{"t":{"wb_type":"number"}}},"wb_type":"typedDict"},'
            b'"columns":["t"],"data":[[1.5],[9007199254740993],[-Infinity]]}'
        ),
    ]


def _console() -> list[bytes]:
    return [b"".join(good_console().chunks())]


def _compressed() -> list[bytes]:
    texts = [b"", b"loss: 0.5\n" * 100, bytes(300_000), b"epoch 1\n"]
    frames = [zstandard.ZstdCompressor(level=19, write_checksum=True).compress(text) for text in texts]
    return [len(text).to_bytes(3, "little") + frame for text, frame in zip(texts, frames, strict=True)]


def _records() -> list[bytes]:
    record = ArtifactRecord(
        relation="logged",
        entity="acme",
        project="nano",
        collection="weights",
        version=0,
        id="QXJ0",
        type="model",
    )
    more = replace(record, version=1, aliases=("latest",), metadata={"loss": 0.5}, size=12, file_count=1)
    return [encode_records([record, more])]


def _entries() -> list[bytes]:
    return [encode_entries([entry_of("a.txt", b"hello"), reference("b", "s3://bucket/b")])]


def _short_history() -> list[bytes]:
    long = [{"_step": step, "loss": step / 3, "text": f"t{step % 3}"} for step in range(40)]
    return [*_named("history.parquet"), encode_table(lambda: [batch_from_rows(long)])[0]]


@cache
def _catalogs() -> list[bytes]:
    """Return the catalog of a set of one bundle."""
    bundle = scratch() / "member.wandb.zip"
    bundle.write_bytes(good_bundle())
    store = open_store(scratch() / "set", create=True)
    add_bundles(store, [bundle])
    return [Path(store.catalog_path(1)).read_bytes()]


def set_catalog(data: bytes) -> None:
    """Read all that a catalog has; every member is in its folder, and every range is one."""
    catalog = Catalog(pa.BufferReader(data), path="catalog", version=1)
    for entry in catalog.entries():
        assert is_set_member(entry.location.member)
        assert entry.location.history_offset >= 0
        assert catalog.find_short(entry.path.run_id)
    for group in range(catalog.groups):
        catalog.table(group)
    assert set(catalog.members()) == {name for name, _ in catalog.member_ids()}
    catalog.identity()


TARGETS = (
    Target("zip-directory", zip_directory, lambda: [good_bundle()], either(zip_fields, some_bytes)),
    Target("manifest", manifest, lambda: [good_members()["datapackage.json"]], json_value),
    Target("format-mark", format_mark, lambda: [good_members()["FORMAT"]]),
    Target("parquet-footer", parquet_footer, _footers),
    Target("parquet", parquet, _short_history),
    Target("runs-table", runs_table, lambda: [good_members()["runs.parquet"]]),
    Target("metrics-table", metrics_table, lambda: [good_members()["metrics.parquet"]]),
    Target("artifact-records", artifact_records, _records, json_lines),
    Target("artifact-entries", artifact_entries, _entries, json_lines),
    Target("logged-table", logged_table, _tables, json_value),
    Target("compressed-text", compressed_text, _compressed),
    Target("console", console, _console),
    Target("resealed-bundle", resealed, _resealable, after(1, some_bytes)),
    Target("resealed-manifest", resealed_manifest, lambda: [good_members()["datapackage.json"]], json_value),
    Target("set-catalog", set_catalog, _catalogs),
)
