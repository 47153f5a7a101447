"""Read the manifest of a bundle that may be hostile.

See docs/bundle-format.md, "What a reader checks".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from reprlib import Repr
from typing import Any
from urllib.parse import unquote

import orjson

from pull_logs.errors import BundleDamagedError, UnsafeFileError
from pull_logs.snapshot.format.artifacts import ContentRecord, ContentResource, content_member
from pull_logs.snapshot.format.compression import SUFFIX, Compressed
from pull_logs.snapshot.format.console import ConsoleRecord, ConsoleResource
from pull_logs.snapshot.format.file_record import MAX_NAME, FileRecord, FileResource, is_mediatype
from pull_logs.snapshot.format.manifest.document import Manifest, render_digest_of, sha256
from pull_logs.snapshot.format.manifest.marker import FORMAT_NAME
from pull_logs.snapshot.format.manifest.resources import Resource, Resources, ResourcesBuilder
from pull_logs.snapshot.format.names import (
    ARTIFACTS,
    CONSOLE,
    HISTORY_NAME,
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

MAX_VALUES = 32
"""Most values of a manifest per file of the bundle; those of this library have less than half as many."""

MAX_COUNT = 2**48
"""Most rows or bytes of a resource."""

MAX_METRICS = 2**20
"""Most characters of the regular expression of metrics."""

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_COUNT_TEXT, _HASH_TEXT = r"(0|[1-9][0-9]{0,13})", r'"sha256:([0-9a-f]{64})"'
_HISTORY_ENTRY = re.compile(
    rf'{{"bytes":{_COUNT_TEXT},"footer":{{"bytes":{_COUNT_TEXT},"hash":{_HASH_TEXT}}},"format":"parquet",'
    rf'"hash":{_HASH_TEXT},"name":"r[0-9]+","path":"({HISTORY_NAME})","rows":{_COUNT_TEXT},'
    rf'"rowsHash":{_HASH_TEXT}(?:,"writer":"([^"\\\x00-\x1f\x7f-\xff]*)")?}}'.encode()
)
"""The entry of a history, as nearly all entries are; numbers of 14 digits are below the largest count."""
_MD5 = re.compile(r"[0-9a-f]{32}")
_KIND = re.compile(r"[a-z][a-z-]{0,39}")
_FIXED_FILES = 4
_OPENING, _CLOSING = b'\n"resources":[\n', b"\n]"

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 200


def check_digest(digest: bytes, manifest: bytes, *, path: str) -> str:
    """Return the hash of the manifest, which is the id of the bundle, if the digest has it.

    Raises:
        UnsafeFileError: It uses another algorithm.
        BundleDamagedError: It is the digest of another manifest.
    """
    bundle_id = sha256(manifest)
    if digest == render_digest_of(bundle_id):
        return bundle_id
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
    known = members or ()
    with suppress(orjson.JSONDecodeError):
        if (parts := _in_parts(data)) is not None:
            return _parsed(*parts, path=path, known=known)
    try:
        raw = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise _damaged(path, f"is not JSON: {exc}") from exc
    if not isinstance(raw, dict) or not isinstance(raw.get("resources"), list):
        raise _damaged(path, "lists no resources")
    return _parsed(raw, raw["resources"], path=path, known=known)


def _in_parts(data: bytes) -> tuple[Mapping[str, Any], Iterable[object]] | None:
    """Return a manifest without its resources, and these, one of which is in memory at a time.

    Parsed at once, they take fifteen times the memory of their text. None for a manifest in which they are
    not lines, as every writer writes them: no text in JSON contains a line feed.

    Raises:
        JSONDecodeError: It is not JSON, or an entry takes several lines.
    """
    start, end = data.find(_OPENING) + len(_OPENING), data.rfind(_CLOSING)
    if not len(_OPENING) <= start <= end or data.count(_OPENING.strip()) > 1:
        return None
    raw = orjson.loads(data[:start] + data[end:])
    if not isinstance(raw, dict) or raw.get("resources") != []:
        return None
    return raw, _entries(data, start, end)


def _entries(data: bytes, start: int, end: int) -> Iterator[re.Match[bytes] | object]:
    """Iterate over the entries: a match for that of a history, the value of any other."""
    while start < end:
        stop = data.find(b"\n", start, end)
        stop, until = (end, end) if stop < 0 else (stop, stop - 1)
        if until < stop and data[until : until + 1] != b",":
            raise orjson.JSONDecodeError("an entry takes several lines", "", start)
        yield _HISTORY_ENTRY.fullmatch(data, start, until) or orjson.loads(data[start:until])
        start = stop + 1


def _parsed(
    raw: Mapping[str, Any], entries: Iterable[object], *, path: str, known: Collection[str]
) -> Manifest:
    if raw.get("format") != FORMAT_NAME:
        raise _damaged(path, f"is not of {FORMAT_NAME}")
    content = _hash(raw.get("contentId"), "contentId", path)
    writer = raw.get("writer", "")
    resources, files, consoles, contents = _parse_resources(
        entries, writer=writer if isinstance(writer, str) else "", path=path, known=known
    )
    redacted = _parse_redacted(raw.get("redacted", {}), path)
    manifest = Manifest(
        content_id=content,
        resources=resources,
        redacted=redacted,
        files=files,
        consoles=consoles,
        contents=contents,
        metrics=_parse_metrics(raw.get("metrics"), path),
    )
    if raw.get("formatVersion") != manifest.version:
        found = _SHORT.repr(raw.get("formatVersion"))
        raise _damaged(
            path, f"is of version {found}, and its members are those of version {manifest.version}"
        )
    return manifest


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
    entries: Iterable[object], *, writer: str, path: str, known: Collection[str]
) -> tuple[
    Resources,
    dict[str, Sequence[FileResource]],
    dict[str, ConsoleResource],
    dict[str, ContentResource],
]:
    resources = ResourcesBuilder()
    consoles, contents = dict[str, ConsoleResource](), dict[str, ContentResource]()
    files: dict[str, dict[str, FileResource]] = {}
    for entry in entries:
        if isinstance(entry, re.Match):
            _add_history(resources, entry, writer=writer, path=path)
            continue
        if not isinstance(entry, dict):
            raise _damaged(path, "has a resource that is not an object")
        name = entry.get("path")
        if isinstance(name, str) and name.endswith(f"/{CONSOLE}") and is_member_name(name):
            _refuse_twice(name, consoles, path)
            consoles[name] = _parse_console(entry, name, path)
            continue
        text, compressed = _parse_compressed(entry, path)
        name = text.get("path")
        if isinstance(name, str) and (folder := folder_of_file(name)) is not None:
            _refuse_twice(name, files.setdefault(folder, {}), path)
            files[folder][name] = _parse_file(text, name, path, compressed)
            continue
        if isinstance(name, str) and _is_content(name):
            _refuse_twice(name, contents, path)
            contents[name] = _parse_content(text, name, path, compressed)
            continue
        resource = _parse_resource(entry, writer=writer, path=path, known=known)
        resources.add(resource)
    found = resources.resources()
    if found.repeated is not None:
        raise _damaged(path, f"names {found.repeated!r} twice")
    if RUNS not in found:
        raise _damaged(path, f"does not name {RUNS}")
    return found, {folder: tuple(found.values()) for folder, found in files.items()}, consoles, contents


def _refuse_twice(name: str, known: Collection[str], path: str) -> None:
    if name in known:
        raise _damaged(path, f"names {name!r} twice")


def _is_content(name: str) -> bool:
    """Return whether a member has the artifacts of a run, or a content of them."""
    return (name.endswith(f"/{ARTIFACTS}") and is_member_name(name)) or is_content_name(name)


def _parse_compressed(entry: Mapping[str, Any], path: str) -> tuple[Mapping[str, Any], Compressed | None]:
    """Return the entry that a member has when it is not compressed, and its compressed form if it is."""
    name = entry.get("path")
    if "textHash" not in entry or not isinstance(name, str) or not name.endswith(SUFFIX):
        return entry, None
    text_name = name.removesuffix(SUFFIX)
    if folder_of_file(text_name) is None and not is_content_name(text_name):
        return entry, None
    writer = entry.get("writer")
    compressed = Compressed(
        _count(entry.get("bytes"), name, path),
        _hash(entry.get("hash"), name, path),
        writer if isinstance(writer, str) else "",
    )
    text = {"path": text_name, "bytes": entry.get("textBytes"), "hash": entry.get("textHash")}
    return {**entry, **text}, compressed


def _parse_content(
    entry: Mapping[str, Any], name: str, path: str, compressed: Compressed | None
) -> ContentResource:
    record = ContentRecord(_count(entry.get("bytes"), name, path), _hash(entry.get("hash"), name, path))
    if name.startswith("contents/") and name != content_member(record.hash):
        raise UnsafeFileError(f"{path!r} is not safe to use: member {name[:100]!r} has another hash")
    return ContentResource(name, record, compressed)


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


def _parse_file(
    entry: Mapping[str, Any], name: str, path: str, compressed: Compressed | None
) -> FileResource:
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
    return FileResource(path=name, record=record, compressed=compressed)


def _add_history(resources: ResourcesBuilder, entry: re.Match[bytes], *, writer: str, path: str) -> None:
    size, footer_size, footer, own, name, rows, rows_hash, wrote = entry.groups()
    sizes, text = (int(size), int(footer_size), int(rows)), name.decode()
    if sizes[1] > sizes[0]:
        raise _damaged(path, f"has a footer of {sizes[1]} bytes for {text!r}, which has {sizes[0]}")
    hashes = bytes.fromhex((own + footer + rows_hash).decode())
    resources.add_packed(text, sizes, hashes, writer=writer if wrote is None else wrote.decode())


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
