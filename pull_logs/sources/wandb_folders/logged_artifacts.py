"""The artifacts in local logs: their records, and the files that the SDK staged for an upload.

A log names a staged file by its path on the machine, which may be any path in a log from a stranger. So its
bytes are taken only if they have the size and the digest in the log: a log can get no file whose content it
does not know already. W&B numbers versions when it receives them; here they are numbered in the order in
which they were logged. What the log of an offline run does not have are the artifacts of other runs that it
used, and the times of versions.
"""

from __future__ import annotations

import base64
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canon_record, canon_text, parse_json
from pull_logs.runs import RunPath
from pull_logs.snapshot import ArtifactSelection
from pull_logs.snapshot.format import (
    ArtifactEntry,
    ArtifactRecord,
    ContentSource,
    GivenArtifacts,
    Relation,
    content_of,
    encode_entries,
    encode_records,
)
from pull_logs.snapshot.write import ContentStore
from pull_logs.suggestions import counted, listed

_MOST_NAMED = 3


class JsonItem(Protocol):
    """A key and a value as JSON text."""

    key: str
    value_json: str


class EntryMessage(Protocol):
    """A file or a reference of an artifact in a log."""

    path: str
    digest: str
    ref: str
    size: int
    local_path: str
    birth_artifact_id: str
    extra: Sequence[JsonItem]


class ManifestMessage(Protocol):
    """The manifest of an artifact in a log."""

    storage_policy: str
    storage_policy_config: Sequence[JsonItem]
    contents: Sequence[EntryMessage]
    manifest_file_path: str


class ArtifactMessage(Protocol):
    """An artifact in a log."""

    type: str
    name: str
    digest: str
    description: str
    metadata: str
    use_after_commit: bool
    client_id: str
    aliases: Sequence[str]
    tags: Sequence[str]
    digest_algorithm: str
    manifest: ManifestMessage


@dataclass(frozen=True, slots=True)
class LocalArtifacts:
    """The artifacts of a run.

    Attributes:
        source: Their records and contents; None without any.
        notes: What was left out, one sentence each.
    """

    source: GivenArtifacts | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoggedRun:
    """The artifacts in the logs of a run.

    Attributes:
        path: The run.
        started_at: When it started.
        artifacts: The artifacts, in the order in which they were logged.
        used: The number of artifacts of other runs that it used.
        pointed: The ids, as the SDK gave them, of the artifacts to whose files its rows point.
    """

    path: RunPath
    started_at: str | None
    artifacts: Sequence[ArtifactMessage]
    used: int
    pointed: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Version:
    """A version of a collection, and where its files are."""

    record: ArtifactRecord
    entries: Sequence[tuple[ArtifactEntry, str]]
    complete: bool


def read_artifacts(
    runs: Iterable[LoggedRun], selection: ArtifactSelection, scratch: Path
) -> Mapping[RunPath, LocalArtifacts]:
    """Return the artifacts that runs logged, with their files if they are selected and still there.

    Args:
        runs: The runs.
        selection: Whether the bytes of files are taken; which relations it names does not matter.
        scratch: A folder for copies of the files. It must outlive them.

    Raises:
        OSError: A copy cannot be written.
    """
    ordered = sorted(runs, key=lambda run: (run.started_at or "", run.path))
    collections: dict[tuple[str, str, str], list[_Version]] = {}
    held: dict[RunPath, list[tuple[Relation, _Version]]] = {}
    unread: Counter[RunPath] = Counter()
    for run in ordered:
        for message in run.artifacts:
            try:
                version = _version(run, message, collections)
            except DataError:
                unread[run.path] += 1
                continue
            relations: tuple[Relation, ...] = ("logged", "used") if message.use_after_commit else ("logged",)
            held.setdefault(run.path, []).extend((relation, version) for relation in relations)
    store = ContentStore(scratch)
    copier = _Copier(store, selection)
    return {
        run.path: _artifacts_of(run, held.get(run.path, ()), copier, unread=unread[run.path])
        for run in ordered
    }


def _version(
    run: LoggedRun,
    message: ArtifactMessage,
    collections: dict[tuple[str, str, str], list[_Version]],
) -> _Version:
    """Return the version that an artifact in a log is: a new one, unless it is what the last one has."""
    name = canon_text(message.name)
    if not name or not message.type:
        raise DataError("an artifact in the log has no name or type")
    key = run.path.entity, run.path.project, name
    versions = collections.setdefault(key, [])
    aliases = frozenset(map(canon_text, message.aliases))
    for version in versions:
        version.record = replace(version.record, aliases=tuple(sorted(set(version.record.aliases) - aliases)))
    if versions and versions[-1].record.digest == message.digest:
        last = versions[-1]
        last.record = replace(
            last.record,
            aliases=tuple(sorted({*last.record.aliases, *aliases})),
            client_ids=tuple(sorted({*last.record.client_ids, *_client_ids(run, message)})),
        )
        return last
    entries = [(_entry(entry), entry.local_path) for entry in message.manifest.contents]
    identity = f"local:{'/'.join(key)}:v{len(versions)}:{message.digest}"
    record = ArtifactRecord(
        relation="logged",
        entity=key[0],
        project=key[1],
        collection=name,
        version=len(versions),
        id=base64.b64encode(identity.encode()).decode(),
        type=canon_text(message.type),
        description=canon_text(message.description) or None,
        metadata=_object(message.metadata),
        aliases=tuple(sorted(aliases)),
        tags=tuple(sorted(map(canon_text, message.tags))),
        state="COMMITTED",
        digest=canon_text(message.digest) or None,
        digest_algorithm=canon_text(message.digest_algorithm) or None,
        size=sum(entry.size or 0 for entry, _ in entries),
        file_count=len(entries),
        logged_by=str(run.path),
        policy=_policy(message.manifest),
        client_ids=_client_ids(run, message),
    )
    version = _Version(record, entries, complete=not message.manifest.manifest_file_path)
    versions.append(version)
    return version


def _client_ids(run: LoggedRun, message: ArtifactMessage) -> tuple[str, ...]:
    """Return the id of an artifact to whose files rows point."""
    identity = canon_text(message.client_id)
    return (identity,) if identity in run.pointed else ()


def _entry(message: EntryMessage) -> ArtifactEntry:
    if not message.path:
        raise DataError("an entry of an artifact in the log has no path")
    return ArtifactEntry(
        path=canon_text(message.path),
        digest=canon_text(message.digest),
        size=message.size if message.size or not message.ref else None,
        ref=canon_text(message.ref) or None,
        birth_artifact_id=canon_text(message.birth_artifact_id) or None,
        extra=_items(message.extra),
    )


def _items(items: Sequence[JsonItem]) -> dict[str, Any]:
    return canon_record({item.key: parse_json(item.value_json) for item in items})


def _policy(manifest: ManifestMessage) -> dict[str, Any]:
    config = _items(manifest.storage_policy_config)
    return {"storagePolicy": canon_text(manifest.storage_policy), "storagePolicyConfig": config}


def _object(text: str) -> dict[str, Any] | None:
    found = parse_json(text) if text else None
    return canon_record(found) if isinstance(found, dict) else None


class _Copier:
    """Copies staged files, each content once."""

    def __init__(self, store: ContentStore, selection: ArtifactSelection) -> None:
        self._store, self._selection = store, selection

    def copy(self, version: _Version) -> tuple[list[ArtifactEntry], list[ContentSource], list[str]]:
        """Return the entries of a version with hashes, the contents, and the paths of missing files."""
        entries: list[ArtifactEntry] = []
        contents: list[ContentSource] = []
        missing: list[str] = []
        for entry, local_path in version.entries:
            content = None
            if entry.ref is None and self._selection.with_bytes:
                content = self._content(entry, local_path)
                if content is None:
                    missing.append(entry.path)
                else:
                    contents.append(content)
            entries.append(replace(entry, hash=None if content is None else content.record.hash))
        return entries, contents, missing

    def _content(self, entry: ArtifactEntry, local_path: str) -> ContentSource | None:
        size = entry.size or 0
        known = self._store.find(entry.algorithm, entry.digest, size)
        if known is not None:
            return known
        source = Path(local_path)
        try:
            status = source.stat()
            if not local_path or not stat.S_ISREG(status.st_mode) or status.st_size != size:
                return None
            copy = self._store.unfinished(local_path)
            shutil.copyfile(source, copy)
        except (OSError, ValueError):
            return None
        stored = self._store.add_file(copy, algorithm=entry.algorithm)
        return stored.content if stored.digest == entry.digest else None


def _artifacts_of(
    run: LoggedRun, held: Sequence[tuple[Relation, _Version]], copier: _Copier, *, unread: int
) -> LocalArtifacts:
    notes, contents = [], dict[str, ContentSource]()
    records: dict[tuple[object, ...], ArtifactRecord] = {}
    for relation, version in held:
        record = replace(version.record, relation=relation)
        if record.order in records:
            continue
        if version.complete:
            entries, found, missing = copier.copy(version)
            listing = content_of(encode_entries(entries))
            contents |= {content.record.hash: content for content in (listing, *found)}
            record = replace(record, entries=listing.record.hash)
            if missing:
                files = counted(len(missing), "file")
                notes.append(
                    f"left out {files} of artifact {record.name} (not staged on this machine any more, or"
                    f" changed): {listed(missing, most=_MOST_NAMED)}"
                )
        else:
            notes.append(f"the entries of artifact {record.name} are in a file that is not read")
        records[record.order] = record
    if unread:
        notes.append(f"left out {counted(unread, 'artifact')} (not readable)")
    if run.used:
        notes.append(f"left out {counted(run.used, 'artifact')} that it used: only W&B has them")
    if not records:
        return LocalArtifacts(notes=tuple(notes))
    table = content_of(encode_records(records.values()))
    source = GivenArtifacts(table=table, contents=[contents[key] for key in sorted(contents)])
    return LocalArtifacts(source, tuple(dict.fromkeys(notes)))
