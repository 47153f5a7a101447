"""Artifacts for tests: versions with files and references, as a source for a bundle."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import strategies as st

from pull_logs.snapshot.format import (
    ArtifactEntry,
    ArtifactRecord,
    ContentSource,
    GivenArtifacts,
    content_of,
    digest_of,
    encode_entries,
    encode_records,
)

POLICY = {"storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {"storageLayout": "V2"}}

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
paths = st.one_of(texts, st.sampled_from(["../x", "/etc/x", "a/../../x", "C:\\x", "a/./b", "nul", "a\x00b"]))
files = st.dictionaries(paths, st.binary(max_size=40), max_size=5)


def entry_of(path: str, data: bytes, *, algorithm: str = "MD5", bytes_too: bool = True) -> ArtifactEntry:
    """An entry of a file with these bytes."""
    return ArtifactEntry(
        path=path,
        digest=digest_of(algorithm, [data]),
        size=len(data),
        hash=content_of(data).record.hash if bytes_too else None,
        extra={} if algorithm == "MD5" else {"alg": algorithm},
    )


def reference(path: str, ref: str, **more: Any) -> ArtifactEntry:
    """An entry that refers to an object elsewhere."""
    return ArtifactEntry(path=path, digest="etag-1", ref=ref, size=12, extra={"etag": "etag-1"}, **more)


class Version:
    """A version of an artifact with its files, to be logged or used by runs."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        name: str = "weights",
        version: int = 0,
        entity: str = "acme",
        project: str = "nano",
        references: Iterable[ArtifactEntry] = (),
        algorithm: str = "MD5",
        bytes_too: bool = True,
        **facts: Any,
    ) -> None:
        self.files = dict(files)
        entries = [
            *(entry_of(path, data, algorithm=algorithm, bytes_too=bytes_too) for path, data in files.items()),
            *references,
        ]
        listing = content_of(encode_entries(entries))
        digest = hashlib.md5(b"wandb-artifact-manifest-v1\n", usedforsecurity=False)
        for entry in sorted(entries, key=lambda one: one.path):
            digest.update(f"{entry.path}:{entry.digest}\n".encode())
        self.contents: list[ContentSource] = [listing]
        if bytes_too:
            self.contents += map(content_of, files.values())
        identity = base64.b64encode(f"Artifact:{entity}/{project}/{name}:v{version}".encode()).decode()
        known: dict[str, Any] = {
            "type": "model",
            "state": "COMMITTED",
            "digest": digest.hexdigest(),
            "size": sum(map(len, files.values())),
            "file_count": len(entries),
            "created_at": "2026-11-23T10:00:00Z",
            "updated_at": f"2026-11-23T10:00:0{min(version, 9)}Z",
            "policy": POLICY,
            "logged_by": f"{entity}/{project}/3fk2a",
        }
        self.facts: dict[str, Any] = (
            known
            | facts
            | {
                "entity": entity,
                "project": project,
                "collection": name,
                "version": version,
                "id": identity,
                "entries": listing.record.hash,
            }
        )

    def record(self, relation: str) -> ArtifactRecord:
        """Its record for a run."""
        return ArtifactRecord(relation=relation, **self.facts)  # type: ignore[arg-type]


def artifacts_of(logged: Iterable[Version] = (), used: Iterable[Version] = ()) -> GivenArtifacts:
    """The artifacts of a run, as a source for a bundle."""
    logged, used = list(logged), list(used)
    records = [
        *(version.record("logged") for version in logged),
        *(version.record("used") for version in used),
    ]
    contents = {one.record.hash: one for version in (*logged, *used) for one in version.contents}
    return GivenArtifacts(
        table=content_of(encode_records(records)), contents=[contents[key] for key in sorted(contents)]
    )
