"""The artifacts of the served bundles, found by id, name and alias, and their manifests."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pull_logs.snapshot import Artifact, Run

if TYPE_CHECKING:
    from pull_logs.snapshot.format import ArtifactRecord

CONTENT = "content-"
MANIFEST = "manifest-"

_POLICY = {"storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {"storageLayout": "V2"}}
_LATEST = "latest"

CollectionKey = tuple[str, str, str]
"""The entity, the project and the name of a collection."""


@dataclass(slots=True)
class HeldArtifact:
    """An artifact of the bundles.

    Attributes:
        artifact: The artifact.
        run: A run that logged or used it, whose bundle serves it.
        users: The runs that used it.
    """

    artifact: Artifact
    run: Run
    users: list[Run]

    @property
    def record(self) -> ArtifactRecord:
        """Its facts."""
        return self.artifact.record


class Artifacts:
    """The artifacts that runs logged and used, each version once.

    Args:
        runs: The runs of all bundles.
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        self._by_id: dict[str, HeldArtifact] = {}
        self._by_client_id: dict[str, HeldArtifact] = {}
        self._collections: dict[CollectionKey, list[HeldArtifact]] = {}
        for run in runs:
            for artifact in (*run.logged_artifacts(), *run.used_artifacts()):
                self._add(run, artifact)
        for held in self._by_id.values():
            key = held.record.entity, held.record.project, held.record.collection
            self._collections.setdefault(key, []).append(held)
        for versions in self._collections.values():
            versions.sort(key=lambda held: held.record.version)

    def _add(self, run: Run, artifact: Artifact) -> None:
        record = artifact.record
        held = self._by_id.setdefault(record.id, HeldArtifact(artifact, run, []))
        self._by_client_id |= dict.fromkeys(record.client_ids, held)
        if _rank(record) > _rank(held.record):
            held.artifact, held.run = artifact, run
        if record.relation == "used":
            held.users.append(run)

    def of_run(self, run: Run, relation: str) -> list[HeldArtifact]:
        """Return the artifacts that a run logged or used, as it knows them."""
        related = run.used_artifacts() if relation == "used" else run.logged_artifacts()
        return [HeldArtifact(one, run, self._by_id[one.record.id].users) for one in related]

    def by_id(self, identity: str) -> HeldArtifact | None:
        """Return an artifact by its id."""
        return self._by_id.get(identity)

    def by_client_id(self, client_id: str) -> HeldArtifact | None:
        """Return an artifact by the id that the SDK gave it."""
        return self._by_client_id.get(client_id)

    def collections(self, entity: str, project: str) -> dict[str, list[HeldArtifact]]:
        """Return the versions in the collections of a project, by the names of the collections."""
        found = {key[2]: held for key, held in self._collections.items() if key[:2] == (entity, project)}
        return dict(sorted(found.items()))

    def versions(self, entity: str, *, within: tuple[str, str] | None) -> Iterator[HeldArtifact]:
        """Yield the versions of an entity, or only those of one of its projects and a collection there."""
        for key, held in self._collections.items():
            if key[0] == entity and within in (None, key[1:]):
                yield from held

    def find(self, entity: str, project: str, name: str) -> HeldArtifact | None:
        """Return an artifact by `name:alias`, where the alias may be a version; the latest without one."""
        collection, _, alias = name.partition(":")
        versions = self._collections.get((entity, project, collection), [])
        alias = alias or _LATEST
        named = [
            held for held in versions if alias == f"v{held.record.version}" or alias in held.record.aliases
        ]
        return max(named, key=lambda held: (held.record.updated_at or "", held.record.version), default=None)

    def names(self, entity: str, project: str) -> list[str]:
        """Return `name:v3` of the artifacts of a project."""
        return [
            held.record.name for versions in self.collections(entity, project).values() for held in versions
        ]


def _rank(record: ArtifactRecord) -> tuple[object, ...]:
    known = record.entries is not None, record.relation == "logged", record.logged_by is not None
    return (record.updated_at or "", *known, record.entries or "")


def manifest_object(record: ArtifactRecord) -> str:
    """Return the name of the stored object with the manifest of an artifact."""
    return MANIFEST + base64.urlsafe_b64encode(record.id.encode()).decode().rstrip("=")


def artifact_id_of(name: str) -> str:
    """Return the id of the artifact whose manifest is the stored object `name`; empty for another name."""
    text = name.removeprefix(MANIFEST)
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return ""


def manifest_bytes(artifact: Artifact) -> bytes:
    """Return the manifest of an artifact as W&B writes it.

    Raises:
        FileMissingError: The bundle does not have its entries.
        BundleDamagedError: The bundle is damaged.
    """
    contents: dict[str, dict[str, Any]] = {}
    for path, logged in artifact.entries.items():
        entry = logged.entry
        members = {
            "digest": entry.digest,
            "size": entry.size,
            "ref": entry.ref,
            "birthArtifactID": entry.birth_artifact_id,
            "extra": dict(entry.extra) or None,
        }
        contents[path] = {name: value for name, value in members.items() if value is not None}
    manifest = {"version": 1, **(dict(artifact.record.policy) or _POLICY), "contents": contents}
    return json.dumps(manifest, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def hex_of(digest: str) -> str:
    """Return a digest in base64 as hex, as the SDK has it in addresses; empty for what is not base64."""
    try:
        return base64.b64decode(digest, validate=True).hex()
    except ValueError:
        return ""
