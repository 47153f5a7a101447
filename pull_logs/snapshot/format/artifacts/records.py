"""The records of artifacts and their entries: a line of canonical JSON each.

`artifacts.ndjson` of a run has a record for each artifact that it logged or used. The entries of an artifact
are a content of the bundle, so that they are there once however many runs use it. All text is untrusted: a
path of an entry is checked before it is used as one. See docs/bundle-format.md, "Artifacts".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, Literal, TypeAlias, cast

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canon_record, canon_text, canonical_text, parse_json
from pull_logs.snapshot.format.artifacts.digests import MD5, XXH128

MAX_RECORDS = 64 * 2**20
"""Most bytes of the records of a run."""

MAX_ENTRIES = 256 * 2**20
"""Most bytes of the entries of an artifact."""

Relation: TypeAlias = Literal["logged", "used"]

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_COUNTS = frozenset({"version", "size", "file_count", "history_step"})
_TEXT_LISTS = frozenset({"aliases", "tags", "client_ids"})
_OBJECTS = frozenset({"metadata", "policy", "extra"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRecord:
    """A version of an artifact that a run logged or used.

    Attributes:
        relation: Whether the run logged or used it.
        entity: The entity of its collection.
        project: The project of its collection.
        collection: The name of its collection, `weights`.
        version: The number of its version, 3 for `v3`.
        id: Its id at W&B; a made one for an artifact that W&B does not have.
        type: Its type, `model`.
        description: Its description.
        metadata: Its metadata; None where W&B has none.
        aliases: Its aliases, `latest`, without that of its version.
        tags: Its tags.
        state: Its state, `COMMITTED`.
        digest: The digest of its manifest.
        digest_algorithm: How that was computed, `MANIFEST_MD5`; None where it is not known.
        size: The bytes of its files.
        file_count: The number of its files.
        created_at: When it was created.
        updated_at: When it was changed.
        history_step: The step of the run that logged it.
        commit_hash: The commit of its manifest.
        logged_by: `entity/project/run_id` of the run that logged it.
        policy: How W&B stores its files, as its manifest says: `storagePolicy` and `storagePolicyConfig`.
        entries: The hash of the content with its entries; None where they are not known.
        client_ids: The ids that the SDK gave it, by which rows point to its entries; empty where they are
            not known.
    """

    relation: Relation
    entity: str
    project: str
    collection: str
    version: int
    id: str
    type: str
    description: str | None = None
    metadata: Mapping[str, Any] | None = None
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    state: str | None = None
    digest: str | None = None
    digest_algorithm: str | None = None
    size: int | None = None
    file_count: int | None = None
    created_at: str | None = None
    updated_at: str | None = None
    history_step: int | None = None
    commit_hash: str | None = None
    logged_by: str | None = None
    policy: Mapping[str, Any] = field(default_factory=dict)
    entries: str | None = None
    client_ids: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """`entity/project/name:v3`."""
        return f"{self.entity}/{self.project}/{self.name}"

    @property
    def name(self) -> str:
        """`name:v3`."""
        return f"{self.collection}:v{self.version}"

    @property
    def order(self) -> tuple[Any, ...]:
        """The key by which the records of a run are sorted."""
        return (self.relation, self.entity, self.project, self.collection, self.version, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactEntry:
    """A file or a reference of an artifact.

    Attributes:
        path: Its path in the artifact; untrusted text.
        digest: Its digest in base64; of a reference, what identifies the object, an ETag for example.
        size: Its bytes; None where it is not known.
        ref: The address of a reference; None for a file.
        hash: The hash of the content with its bytes; None where the bundle does not have them.
        birth_artifact_id: The id of the artifact in which it was first logged.
        extra: What else the manifest says, `etag` and `versionID` of a reference for example.
    """

    path: str
    digest: str
    size: int | None = None
    ref: str | None = None
    hash: str | None = None
    birth_artifact_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def algorithm(self) -> str:
        """How the digest of a file was computed: `MD5` or `XXH128`."""
        return XXH128 if self.extra.get("alg") == XXH128 else MD5


def encode_records(records: Iterable[ArtifactRecord]) -> bytes:
    """Return the bytes of `artifacts.ndjson`.

    Raises:
        DataError: They are too long, or two records are of one artifact.
    """
    ordered = sorted(records, key=lambda record: record.order)
    for left, right in pairwise(ordered):
        if left.order == right.order:
            raise DataError(f"a run has artifact {left.path!r} twice")
    return _encode(ordered, limit=MAX_RECORDS, what="the records of the artifacts of a run")


def encode_entries(entries: Iterable[ArtifactEntry]) -> bytes:
    """Return the bytes of the content with the entries of an artifact.

    Raises:
        DataError: They are too long, or two entries have the same path.
    """
    ordered = sorted(entries, key=lambda entry: entry.path.encode())
    for left, right in pairwise(ordered):
        if left.path == right.path:
            raise DataError(f"an artifact has two entries {left.path!r}")
    return _encode(ordered, limit=MAX_ENTRIES, what="the entries of an artifact")


def _encode(items: Sequence[ArtifactRecord | ArtifactEntry], *, limit: int, what: str) -> bytes:
    data = "".join(canonical_text(_plain(item)) + "\n" for item in items).encode()
    if len(data) > limit:
        raise DataError(f"{what} have {len(data)} bytes, more than {limit}")
    return data


def _plain(item: ArtifactRecord | ArtifactEntry) -> dict[str, Any]:
    """Return the members of the object of a record or an entry: those that have a value."""
    found = {name.name: getattr(item, name.name) for name in fields(item)}
    kept = {name: value for name, value in found.items() if value is not None}
    empty = {name for name in (*_TEXT_LISTS, "policy", "extra") if name in kept and not kept[name]}
    return {name: value for name, value in kept.items() if name not in empty}


def parse_records(data: bytes) -> list[ArtifactRecord]:
    """Read the bytes of `artifacts.ndjson`.

    Raises:
        DataError: They are not those of records, as `encode_records` writes them.
    """
    records = [cast("ArtifactRecord", _parse(ArtifactRecord, line)) for line in _lines(data)]
    if not all(record.relation in ("logged", "used") for record in records):
        raise DataError("a record of an artifact has an unknown relation")
    if encode_records(records) != data:
        raise DataError("the records of artifacts are not in canonical form")
    return records


def parse_entries(data: bytes) -> list[ArtifactEntry]:
    """Read the bytes of the content with the entries of an artifact.

    Raises:
        DataError: They are not those of entries, as `encode_entries` writes them.
    """
    entries = [cast("ArtifactEntry", _parse(ArtifactEntry, line)) for line in _lines(data)]
    if not all(entry.path for entry in entries):
        raise DataError("an entry of an artifact has no path")
    if encode_entries(entries) != data:
        raise DataError("the entries of an artifact are not in canonical form")
    return entries


def _lines(data: bytes) -> list[bytes]:
    if data and not data.endswith(b"\n"):
        raise DataError("the last line is incomplete")
    return data.split(b"\n")[:-1]


def _parse(kind: type[ArtifactRecord | ArtifactEntry], line: bytes) -> ArtifactRecord | ArtifactEntry:
    raw = parse_json(line)
    names = {name.name for name in fields(kind)}
    if not isinstance(raw, dict) or not raw.keys() <= names:
        raise DataError(f"a line about an artifact is not an object with known members: {line[:80]!r}")
    try:
        return kind(**{name: _member(name, value) for name, value in raw.items()})
    except TypeError as exc:
        raise DataError(f"a line about an artifact lacks a member: {line[:80]!r}") from exc


def _is_text(value: object) -> bool:
    """Return whether a value is text that UTF-8 can hold: without lone surrogates."""
    return isinstance(value, str) and canon_text(value) == value


def _member(name: str, value: object) -> Any:
    """Return a member, checked."""
    if name in _COUNTS:
        valid = type(value) is int and 0 <= value < 2**63
    elif name in _TEXT_LISTS:
        valid = isinstance(value, list) and all(map(_is_text, value))
        value = tuple(cast("list[str]", value)) if valid else value
    elif name in _OBJECTS:
        valid = isinstance(value, dict)
        value = canon_record(cast("dict[str, Any]", value)) if valid else value
    else:
        valid = _is_text(value)
        if name in ("entries", "hash"):
            valid = isinstance(value, str) and _HASH.fullmatch(value) is not None
    if not valid:
        raise DataError(f"{name!r} of an artifact is {canon_text(str(value)[:80])!r}")
    return value
