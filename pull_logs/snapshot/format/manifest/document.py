"""The manifest of a bundle: a Frictionless data package, written so that the same bundle has the same bytes.

Each resource is on one line, keys are sorted, and it does not record when, where or by whom the bundle was
made. `datapackage-digest.json` holds the SHA-256 of the manifest, which is the bundle's id. See
docs/bundle-format.md, "The manifest".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import chain
from typing import Any, NotRequired, TypeAlias, TypedDict
from urllib.parse import quote

import orjson

from pull_logs.snapshot.format.artifacts import (
    ContentEntry,
    ContentRecord,
    ContentResource,
    content_entry,
)
from pull_logs.snapshot.format.compression import Compressed
from pull_logs.snapshot.format.console import ConsoleEntry, ConsoleRecord, ConsoleResource, console_entry
from pull_logs.snapshot.format.file_record import FileEntry, FileRecord, FileResource, file_entry
from pull_logs.snapshot.format.manifest.marker import FORMAT_NAME
from pull_logs.snapshot.format.manifest.resources import Resource, Resources
from pull_logs.snapshot.format.names import MANIFEST, TABLES

MAX_MANIFEST = 64 * 2**20
"""Most bytes of a manifest."""


AnyResource: TypeAlias = Resource | FileResource | ConsoleResource | ContentResource


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of `datapackage.json`.

    Attributes:
        content_id: The identity of the content, whichever writer encoded it.
        resources: The Parquet files by name, in their order in the bundle.
        redacted: If values were removed before the bundle was made, the number of markers of each kind;
            empty otherwise.
        files: The files that runs logged, by the folder of the run; only runs that have files.
        consoles: The console logs, by the name of the member.
        contents: The records of artifacts and their contents, by the name of the member without the `.zst` of
            a compressed one.
        metrics: The regular expression that selected the metrics by name; None if all were kept.
    """

    content_id: str
    resources: Resources
    redacted: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, Sequence[FileResource]] = field(default_factory=dict)
    consoles: Mapping[str, ConsoleResource] = field(default_factory=dict)
    contents: Mapping[str, ContentResource] = field(default_factory=dict)
    metrics: str | None = None

    @property
    def version(self) -> int:
        """The version of the format: the first whose readers read the bundle as it is."""
        files = chain.from_iterable(self.files.values())
        compressed = any(file.compressed is not None for file in files) or any(
            content.compressed is not None for content in self.contents.values()
        )
        return 2 if compressed else 1

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Iterate over the names and sizes of its members, tables first, then in the order of their names."""
        tables = [(name, self.resources[name].bytes) for name in TABLES if name in self.resources]
        files = ((file.member, file.stored.bytes) for one in self.files.values() for file in one)
        consoles = ((name, console.record.bytes) for name, console in self.consoles.items())
        contents = ((one.member, one.stored.bytes) for one in self.contents.values())
        parquet = (found for found in self.resources.sizes() if found[0] not in TABLES)
        return chain(tables, merge(parquet, files, consoles, contents))

    def members(self) -> dict[str, AnyResource]:
        """Return all its members, in the order of the bundle."""
        named: dict[str, AnyResource] = dict(self.resources)
        if not self.files and not self.consoles and not self.contents:
            return named
        tables = {name: named.pop(name) for name in TABLES if name in named}
        named |= {file.member: file for files in self.files.values() for file in files}
        named |= self.consoles
        named |= {content.member: content for content in self.contents.values()}
        return {**tables, **dict(sorted(named.items()))}


def stored_form(
    resource: AnyResource,
) -> Resource | FileRecord | ConsoleRecord | ContentRecord | Compressed:
    """Return what has the size and the hash of the bytes of a member."""
    if isinstance(resource, Resource):
        return resource
    return resource.record if isinstance(resource, ConsoleResource) else resource.stored


def sha256(data: bytes) -> str:
    """Return `sha256:` and the hex digest."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def render_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of `datapackage.json`."""
    writers = {resource.writer for resource in manifest.resources.values()}
    shared = writers.pop() if len(writers) == 1 else None
    tables = sum(name in manifest.resources for name in TABLES)
    # Joined one by one: the bytes that orjson returns hold much more memory than their length.
    lines = bytearray()
    for number, resource in enumerate(manifest.members().values(), 1 - tables):
        entry = orjson.dumps(_entry(number, resource, shared), option=orjson.OPT_SORT_KEYS)
        lines += b",\n" + entry if lines else entry
    head: dict[str, Any] = {
        "contentId": manifest.content_id,
        "format": FORMAT_NAME,
        "formatVersion": manifest.version,
    }
    if manifest.metrics is not None:
        # Percent-encoded, because commas are counted before a manifest is parsed (`_check_values`).
        head["metrics"] = quote(manifest.metrics, safe="", errors="replace")
    head |= {"name": "wandb-runs", "profile": "data-package"}
    if manifest.redacted:
        head["redacted"] = dict(sorted(manifest.redacted.items()))
    opening = b",\n".join(orjson.dumps({key: value})[1:-1] for key, value in head.items())
    closing = b'],\n"writer":' + orjson.dumps(shared) + b"\n}\n" if shared else b"]\n}\n"
    return b"{\n" + opening + b',\n"resources":[\n' + bytes(lines) + b"\n" + closing


class _FooterEntry(TypedDict):
    bytes: int
    hash: str


class _ParquetEntry(TypedDict):
    """The entry of a Parquet file."""

    bytes: int
    footer: _FooterEntry
    format: str
    hash: str
    name: str
    path: str
    rows: int
    rowsHash: NotRequired[str]
    writer: NotRequired[str]


def _entry(
    number: int, resource: AnyResource, shared_writer: str | None
) -> _ParquetEntry | FileEntry | ConsoleEntry | ContentEntry:
    if isinstance(resource, FileResource):
        return file_entry(number, resource)
    if isinstance(resource, ConsoleResource):
        return console_entry(number, resource)
    if isinstance(resource, ContentResource):
        return content_entry(number, resource)
    entry: _ParquetEntry = {
        "bytes": resource.bytes,
        "footer": {"bytes": resource.footer_bytes, "hash": resource.footer_hash},
        "format": "parquet",
        "hash": resource.hash,
        "name": resource.path.removesuffix(".parquet") if resource.path in TABLES else f"r{number}",
        "path": resource.path,
        "rows": resource.rows,
    }
    if resource.rows_hash is not None:
        entry["rowsHash"] = resource.rows_hash
    if resource.writer != shared_writer:
        entry["writer"] = resource.writer
    return entry


def render_digest(manifest: bytes) -> bytes:
    """Return the bytes of `datapackage-digest.json`, as in WACZ 1.1.1."""
    return render_digest_of(sha256(manifest))


def render_digest_of(bundle_id: str) -> bytes:
    """Return the bytes of `datapackage-digest.json` by the hash of the manifest."""
    return f'{{"path":"{MANIFEST}","hash":"{bundle_id}"}}\n'.encode()
