"""The manifest of a bundle: a Frictionless data package, written so that the same bundle has the same bytes.

Each resource is on one line, keys are sorted, and it does not record when, where or by whom the bundle was
made. `datapackage-digest.json` holds the SHA-256 of the manifest, which is the bundle's id. See
docs/bundle-format.md, "The manifest".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from reprlib import Repr
from typing import Any, NotRequired, TypeAlias, TypedDict
from urllib.parse import quote, unquote

import orjson

from pull_logs.errors import BundleDamagedError, FormatTooNewError, UnsafeFileError
from pull_logs.snapshot.format.artifacts import (
    ContentEntry,
    ContentRecord,
    ContentResource,
    content_entry,
    content_member,
)
from pull_logs.snapshot.format.console import ConsoleEntry, ConsoleRecord, ConsoleResource, console_entry
from pull_logs.snapshot.format.file_record import (
    MAX_NAME,
    FileEntry,
    FileRecord,
    FileResource,
    file_entry,
    is_mediatype,
)
from pull_logs.snapshot.format.names import (
    ARTIFACTS,
    CONSOLE,
    MANIFEST,
    RUNS,
    TABLES,
    file_name_of,
    folder_of_file,
    folder_of_table,
    is_content_name,
    is_member_name,
    why_refused,
)

FORMAT_NAME = "wandb-pull-logs/snapshot"
FORMAT_VERSION = 1
FORMAT_BYTES = b'{"format":"wandb-pull-logs/snapshot","reader":"0.1.0","version":1}\n'
"""The member FORMAT of this version; `reader` is the first release that can read it."""

MAX_FORMAT = 4096
MAX_MANIFEST = 64 * 2**20
"""Most bytes of a manifest."""

MAX_VALUES = 32
"""Most values of a manifest per file of the bundle; those of this library have less than half as many."""

MAX_COUNT = 2**48
"""Most rows or bytes of a resource."""

MAX_METRICS = 2**20
"""Most characters of the regular expression of metrics."""

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_KIND = re.compile(r"[a-z][a-z-]{0,39}")
_FIXED_FILES = 4
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_RELEASE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A Parquet file of the bundle.

    Attributes:
        path: The name of its member.
        bytes: Its size.
        hash: `sha256:` and the hex digest of its bytes.
        rows: Its rows.
        rows_hash: The rows hash of a history or of system metrics; None for any other table.
        footer_bytes: Size of the Parquet footer at the end of the file.
        footer_hash: `sha256:` and the hex digest of the footer.
        writer: The library that encoded it.
    """

    path: str
    bytes: int
    hash: str
    rows: int
    rows_hash: str | None
    footer_bytes: int
    footer_hash: str
    writer: str


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
        contents: The records of artifacts and their contents, by the name of the member.
        metrics: The regular expression that selected the metrics by name; None if all were kept.
    """

    content_id: str
    resources: Mapping[str, Resource]
    redacted: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, Sequence[FileResource]] = field(default_factory=dict)
    consoles: Mapping[str, ConsoleResource] = field(default_factory=dict)
    contents: Mapping[str, ContentResource] = field(default_factory=dict)
    metrics: str | None = None

    def members(self) -> dict[str, AnyResource]:
        """Return all its members, in the order of the bundle."""
        named: dict[str, AnyResource] = dict(self.resources)
        if not self.files and not self.consoles and not self.contents:
            return named
        tables = {name: named.pop(name) for name in TABLES if name in named}
        named |= {file.path: file for files in self.files.values() for file in files}
        named |= self.consoles
        named |= self.contents
        return {**tables, **dict(sorted(named.items()))}


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
        "formatVersion": FORMAT_VERSION,
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
    return f'{{"path":"{MANIFEST}","hash":"{sha256(manifest)}"}}\n'.encode()


def refuse_newer_format(data: bytes, *, path: str) -> None:
    """Refuse a bundle with a later format version; other faults of FORMAT are found by `check_format`.

    Raises:
        FormatTooNewError: The version is later; the hint names the release to install.
    """
    try:
        mark = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    if not isinstance(mark, dict) or mark.get("format") != FORMAT_NAME:
        return
    version, reader = mark.get("version"), mark.get("reader")
    if type(version) is not int or version <= FORMAT_VERSION:
        return
    known = isinstance(reader, str) and _RELEASE.fullmatch(reader)
    raise FormatTooNewError(
        f"{path!r} has format version {version}, and this release reads versions up to {FORMAT_VERSION}",
        hint=f"install wandb-pull-logs {reader} or later" if known else "install a newer wandb-pull-logs",
    )


def check_format(data: bytes, *, path: str) -> None:
    """Check the bytes of the member FORMAT.

    Raises:
        FormatTooNewError: It has a later format version.
        BundleDamagedError: It is not the FORMAT of this version.
    """
    refuse_newer_format(data, path=path)
    if data != FORMAT_BYTES:
        raise BundleDamagedError(
            f"{path!r} is damaged: FORMAT is not that of {FORMAT_NAME} version {FORMAT_VERSION}",
            path=path,
            member="FORMAT",
        )


def check_digest(digest: bytes, manifest: bytes, *, path: str) -> None:
    """Check that the digest is that of the manifest.

    Raises:
        UnsafeFileError: It uses another algorithm.
        BundleDamagedError: It is the digest of another manifest.
    """
    if digest == render_digest(manifest):
        return
    found = digest.split(b'"hash":"', 1)[-1].split(b'"', 1)[0]
    if b":" in found and not found.startswith(b"sha256:") and len(found) < 200:
        algorithm = found.split(b":", 1)[0].decode("ascii", "backslashreplace")
        raise UnsafeFileError(
            f"{path!r} is not safe to use: its manifest is hashed with {_SHORT.repr(algorithm)}, not sha256"
        )
    raise BundleDamagedError(
        f"{path!r} is damaged: {MANIFEST} does not have the hash in its digest",
        path=path,
        member=MANIFEST,
    )


def parse_manifest(data: bytes, *, path: str, members: Collection[str] | None = None) -> Manifest:
    """Read `datapackage.json`, checking every field that is used.

    Args:
        data: Its bytes.
        path: The bundle, for errors.
        members: The names of the files in the bundle, already checked. Their number limits that of the
            values: 64 MiB of empty lists would take gigabytes of memory.

    Raises:
        UnsafeFileError: It names a file or a hash algorithm that no bundle has, or has too many values.
        BundleDamagedError: It is not JSON, or a field is missing or of the wrong type.
    """
    if members is not None:
        _check_values(data, len(members), path)
    try:
        raw = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise _damaged(path, f"is not JSON: {exc}") from exc
    if not isinstance(raw, dict) or not isinstance(raw.get("resources"), list):
        raise _damaged(path, "lists no resources")
    if raw.get("format") != FORMAT_NAME or raw.get("formatVersion") != FORMAT_VERSION:
        raise _damaged(path, f"is not of {FORMAT_NAME} version {FORMAT_VERSION}")
    content = _hash(raw.get("contentId"), "contentId", path)
    writer = raw.get("writer", "")
    resources, files, consoles, contents = _parse_resources(
        raw["resources"], writer=writer if isinstance(writer, str) else "", path=path, known=members or ()
    )
    redacted = _parse_redacted(raw.get("redacted", {}), path)
    return Manifest(
        content_id=content,
        resources=resources,
        redacted=redacted,
        files=files,
        consoles=consoles,
        contents=contents,
        metrics=_parse_metrics(raw.get("metrics"), path),
    )


def _parse_metrics(value: object, path: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > MAX_METRICS:
        raise _damaged(path, f"has {_SHORT.repr(value)} for the selected metrics")
    return unquote(value, errors="replace")


def _check_values(data: bytes, members: int, path: str) -> None:
    values = sum(data.count(mark) for mark in (b",", b"[", b"{"))
    if values > MAX_VALUES * (members + _FIXED_FILES):
        raise UnsafeFileError(
            f"{path!r} is not safe to use: {MANIFEST} has {values} values, too many for {members} files"
        )


def _parse_redacted(value: object, path: str) -> dict[str, int]:
    """Parse the number of removed values by kind; a later release may have other kinds."""
    if not isinstance(value, dict) or not all(map(_KIND.fullmatch, value)):
        raise _damaged(path, f"has {_SHORT.repr(value)} for the number of redacted values")
    return {kind: _count(count, "redacted", path) for kind, count in value.items()}


def _parse_resources(
    entries: Sequence[object], *, writer: str, path: str, known: Collection[str]
) -> tuple[
    dict[str, Resource],
    dict[str, Sequence[FileResource]],
    dict[str, ConsoleResource],
    dict[str, ContentResource],
]:
    resources: dict[str, Resource] = {}
    consoles, contents = dict[str, ConsoleResource](), dict[str, ContentResource]()
    files: dict[str, dict[str, FileResource]] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            raise _damaged(path, "has a resource that is not an object")
        name = entry.get("path")
        folder = folder_of_file(name) if isinstance(name, str) else None
        if isinstance(name, str) and folder is not None:
            if name in files.setdefault(folder, {}):
                raise _damaged(path, f"names {name!r} twice")
            files[folder][name] = _parse_file(entry, name, path)
            continue
        if isinstance(name, str) and _is_other(name):
            if name in consoles or name in contents:
                raise _damaged(path, f"names {name!r} twice")
            if name.endswith(f"/{CONSOLE}"):
                consoles[name] = _parse_console(entry, name, path)
            else:
                contents[name] = _parse_content(entry, name, path)
            continue
        resource = _parse_resource(entry, writer=writer, path=path, known=known)
        if resource.path in resources:
            raise _damaged(path, f"names {resource.path!r} twice")
        resources[resource.path] = resource
    if RUNS not in resources:
        raise _damaged(path, f"does not name {RUNS}")
    grouped: dict[str, Sequence[FileResource]] = {
        folder: tuple(found.values()) for folder, found in files.items()
    }
    return resources, grouped, consoles, contents


def _is_other(name: str) -> bool:
    """Return whether a member is neither a Parquet file nor a file that a run logged."""
    return (name.endswith((f"/{ARTIFACTS}", f"/{CONSOLE}")) and is_member_name(name)) or is_content_name(name)


def _parse_content(entry: Mapping[str, Any], name: str, path: str) -> ContentResource:
    record = ContentRecord(_count(entry.get("bytes"), name, path), _hash(entry.get("hash"), name, path))
    if name.startswith("contents/") and name != content_member(record.hash):
        raise UnsafeFileError(f"{path!r} is not safe to use: member {name[:100]!r} has another hash")
    return ContentResource(name, record)


def _parse_console(entry: Mapping[str, Any], name: str, path: str) -> ConsoleResource:
    writer = entry.get("writer")
    record = ConsoleRecord(
        bytes=_count(entry.get("bytes"), name, path),
        hash=_hash(entry.get("hash"), name, path),
        lines=_count(entry.get("lines"), name, path),
        text_bytes=_count(entry.get("textBytes"), name, path),
        text_hash=_hash(entry.get("textHash"), name, path),
        writer=writer if isinstance(writer, str) else "",
    )
    return ConsoleResource(path=name, record=record)


def _parse_file(entry: Mapping[str, Any], name: str, path: str) -> FileResource:
    logged_name, md5, mediatype = file_name_of(name), entry.get("md5"), entry.get("mediatype")
    if logged_name is None:
        encoded = entry.get("file")
        logged_name = unquote(encoded, errors="replace") if isinstance(encoded, str) else ""
    if not 0 < len(logged_name.encode(errors="replace")) <= MAX_NAME:
        raise _damaged(path, f"has no valid file name for {name!r}")
    if not isinstance(md5, str) or not _MD5.fullmatch(md5):
        raise _damaged(path, f"has {_SHORT.repr(md5)} for a hash of {name!r}")
    if mediatype is not None and not (isinstance(mediatype, str) and is_mediatype(mediatype)):
        raise _damaged(path, f"has {_SHORT.repr(mediatype)} for the media type of {name!r}")
    record = FileRecord(
        name=logged_name,
        bytes=_count(entry.get("bytes"), name, path),
        hash=_hash(entry.get("hash"), name, path),
        md5=md5,
        mediatype=mediatype,
    )
    return FileResource(path=name, record=record)


def _parse_resource(entry: Mapping[str, Any], *, writer: str, path: str, known: Collection[str]) -> Resource:
    """Parse the entry of a Parquet file; the `known` names have been checked before."""
    name, footer = entry.get("path"), entry.get("footer")
    valid = isinstance(name, str) and name.endswith(".parquet") and (name in known or is_member_name(name))
    if not isinstance(name, str) or not valid:
        reason = why_refused(name) if isinstance(name, str) else "is not text"
        raise UnsafeFileError(
            f"{path!r} is not safe to use: the path {_SHORT.repr(name)} in its manifest {reason}"
        )
    if not isinstance(footer, dict):
        raise _damaged(path, f"has no footer for {name!r}")
    own = entry.get("writer", writer)
    rows_hash = entry.get("rowsHash")
    if (rows_hash is None) is not (name in TABLES or folder_of_table(name) is not None):
        raise _damaged(path, f"has the wrong hashes for {name!r}")
    size, footer_size = _count(entry.get("bytes"), name, path), _count(footer.get("bytes"), name, path)
    if footer_size > size:
        raise _damaged(path, f"has a footer of {footer_size} bytes for {name!r}, which has {size}")
    return Resource(
        path=name,
        bytes=size,
        hash=_hash(entry.get("hash"), name, path),
        rows=_count(entry.get("rows"), name, path),
        rows_hash=None if rows_hash is None else _hash(rows_hash, name, path),
        footer_bytes=footer_size,
        footer_hash=_hash(footer.get("hash"), name, path),
        writer=own if isinstance(own, str) else "",
    )


def _count(value: object, name: str, path: str) -> int:
    if type(value) is int and 0 <= value <= MAX_COUNT:
        return value
    raise _damaged(path, f"has {_SHORT.repr(value)} for a count of {name!r}")


def _hash(value: object, name: str, path: str) -> str:
    if isinstance(value, str) and _HASH.fullmatch(value):
        return value
    if isinstance(value, str) and ":" in value and not value.startswith("sha256:"):
        algorithm = value.split(":", 1)[0]
        raise UnsafeFileError(
            f"{path!r} is not safe to use: {name!r} is hashed with {_SHORT.repr(algorithm)}, not sha256"
        )
    raise _damaged(path, f"has {_SHORT.repr(value)} for a hash of {name!r}")


def _damaged(path: str, reason: str) -> BundleDamagedError:
    return BundleDamagedError(f"{path!r} is damaged: {MANIFEST} {reason}", path=path, member=MANIFEST)
