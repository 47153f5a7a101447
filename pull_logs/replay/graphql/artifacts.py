"""The fields about artifacts: of runs, by name, by id, and their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pull_logs.errors import FileMissingError, NotFoundError
from pull_logs.replay.data import (
    CONTENT,
    Artifacts,
    HeldArtifact,
    ProjectKey,
    manifest_object,
    record_text,
)
from pull_logs.replay.graphql.answers import UNKNOWN_TIME, Context, Node, connection, opaque
from pull_logs.replay.not_found import artifact_bytes_missing, artifact_missing, artifacts_missing
from pull_logs.runs import RunPath
from pull_logs.snapshot import Run
from pull_logs.snapshot.format import ArtifactRecord, md5_hex
from pull_logs.snapshot.read import LoggedEntry

RunNode = Callable[[RunPath], Node]
"""Returns the object of a run, of which the bundles may have only the path."""

MAX_FILES = 5000
"""The most files of an artifact in one page, as the SDK requests them."""


def run_artifacts(
    context: Context,
    run: Run,
    relation: str,
    after: str | None = None,
    first: int | None = None,
) -> Node:
    """Return the artifacts that a run logged or used."""
    if not run.bundle_has_artifacts:
        imported = not run.coverage.from_server
        error = artifacts_missing(run.path, subject=context.library.catalog.subject, imported=imported)
        context.library.note_once(error.message)
        raise error
    held = context.library.artifacts.of_run(run, relation)
    return connection(held, partial(_artifact, context), after=after, first=first, count="total_count")


def project_artifacts(context: Context, key: ProjectKey) -> Node:
    """Return the fields of a project that are about artifacts; they are read when one is requested."""

    def artifacts() -> Artifacts:
        return context.library.artifacts

    def membership(name: str) -> Node | None:
        try:
            return _membership(context, _find(context, artifacts(), key, name))
        except NotFoundError:
            return None  # `artifact_exists` returns False for this alone; what is near was logged

    def collection(name: str) -> Node:
        if name not in artifacts().collections(*key):
            _find(context, artifacts(), key, f"{name}:")
        return _collection(context, (*key, name))

    def collections(after: str | None = None, first: int | None = None, **_filters: Any) -> Node:
        names = list(artifacts().collections(*key))
        return connection(
            names,
            lambda name: _collection(context, (*key, name)),
            after=after,
            first=first,
            count="total_count",
        )

    def types(after: str | None = None, first: int | None = None) -> Node:
        return connection(
            _types(artifacts(), key), lambda name: _type(context, key, name), after=after, first=first
        )

    def find_type(name: str) -> Node:
        if name not in _types(artifacts(), key):
            raise NotFoundError(f"no artifact type {name!r} in {'/'.join(key)!r}")
        return _type(context, key, name)

    return {
        "artifact_collection_membership": membership,
        "artifact_collection": collection,
        "artifact_collections": collections,
        "artifact": partial(_named_artifact, context, key),
        "artifact_types": types,
        "artifact_type": find_type,
    }


def _named_artifact(context: Context, key: ProjectKey, name: str, **_older: Any) -> Node | None:
    """Return an artifact by its name, as the SDK before 0.28.2 asks for it; None if there is none."""
    try:
        return _artifact(context, _find(context, context.library.artifacts, key, name))
    except NotFoundError:
        return None


def find_artifact(context: Context, id: str) -> Node:  # noqa: A002 - the name of the argument in the schema
    """Return an artifact by its id."""
    held = context.library.artifacts.by_id(id)
    if held is None:
        raise NotFoundError(f"no artifact with the id {id!r}")
    return _artifact(context, held)


def map_client_id(context: Context, client_id: str) -> Node | None:
    """Return the id of an artifact by the id that the SDK gave it; None if no artifact has it."""
    held = context.library.artifacts.by_client_id(client_id)
    return None if held is None else {"server_id": held.record.id}


def _find(context: Context, artifacts: Artifacts, key: ProjectKey, name: str) -> HeldArtifact:
    held = artifacts.find(*key, name)
    if held is None:
        subject = context.library.catalog.subject
        raise artifact_missing("/".join(key), name, subject=subject, names=artifacts.names(*key))
    return held


def _types(artifacts: Artifacts, key: ProjectKey) -> list[str]:
    versions = artifacts.collections(*key).values()
    return sorted({held.record.type for one in versions for held in one})


def _type(context: Context, key: ProjectKey, name: str) -> Node:
    artifacts = context.library.artifacts
    names = [
        collection
        for collection, versions in artifacts.collections(*key).items()
        if versions[0].record.type == name
    ]

    def collections(after: str | None = None, first: int | None = None, **_filters: Any) -> Node:
        return connection(
            names,
            lambda collection: _collection(context, (*key, collection)),
            after=after,
            first=first,
            count="total_count",
        )

    def collection(name: str) -> Node:
        if name not in names:
            raise NotFoundError(f"no artifact {name!r} of this type in {'/'.join(key)!r}")
        return _collection(context, (*key, name))

    return {
        "artifact": partial(_named_artifact, context, key),
        "id": opaque("ArtifactType", f"{'/'.join(key)}/{name}"),
        "name": name,
        "description": None,
        "created_at": UNKNOWN_TIME,
        "artifact_collections": collections,
        "artifact_collection": collection,
    }


def _collection(context: Context, key: tuple[str, str, str]) -> Node:
    artifacts = context.library.artifacts
    versions = artifacts.collections(key[0], key[1]).get(key[2], [])
    first = versions[0].record if versions else None

    def membership(alias_name: str) -> Node:
        return _membership(context, _find(context, artifacts, (key[0], key[1]), f"{key[2]}:{alias_name}"))

    def listed(after: str | None = None, first: int | None = None, **_filters: Any) -> Node:
        newest = versions[::-1]
        found = connection(newest, partial(_artifact, context), after=after, first=first, count="total_count")
        edges = [{**edge, "version": f"v{edge['node']['version_index']}"} for edge in found["edges"]]
        return {**found, "edges": edges}

    return {
        "__typename": "ArtifactSequence",
        "id": opaque("ArtifactSequence", "/".join(key)),
        "name": key[2],
        "description": None,
        "created_at": (first and first.created_at) or UNKNOWN_TIME,
        "updated_at": None,
        "project": lambda: context.project((key[0], key[1])),
        "default_artifact_type": {"name": first.type if first else "unknown"},
        "tags": {"edges": []},
        "artifact_membership": membership,
        "artifacts": listed,
    }


def _membership(context: Context, held: HeldArtifact) -> Node:
    record = held.record
    return {
        "id": opaque("ArtifactCollectionMembership", record.path),
        "version_index": record.version,
        "created_at": record.created_at or UNKNOWN_TIME,
        "aliases": lambda: _aliases(context, record),
        "artifact_collection": lambda: _collection(
            context, (record.entity, record.project, record.collection)
        ),
        "artifact": lambda: _artifact(context, held),
        "files": partial(_files, context, held),
    }


def _aliases(context: Context, record: ArtifactRecord) -> list[Node]:
    key = record.entity, record.project, record.collection
    return [
        {
            "id": opaque("ArtifactAlias", f"{'/'.join(key)}:{alias}"),
            "alias": alias,
            "artifact_collection": lambda: _collection(context, key),
        }
        for alias in record.aliases
    ]


def _artifact(context: Context, held: HeldArtifact) -> Node:
    """Return an artifact; nothing of its entries is read until a field needs them."""
    record = held.record
    key = record.entity, record.project, record.collection
    return {
        "id": record.id,
        "artifact_sequence": lambda: _collection(context, key),
        "version_index": record.version,
        "artifact_type": {"name": record.type},
        "description": record.description,
        "metadata": lambda: None if record.metadata is None else record_text(dict(record.metadata)),
        "ttl_duration_seconds": 0,
        "ttl_is_inherited": False,
        "tags": [{"id": opaque("Tag", f"{record.path}#{tag}"), "name": tag} for tag in record.tags],
        "history_step": record.history_step,
        "state": record.state or "COMMITTED",
        "size": record.size or 0,
        "digest": record.digest or "",
        "digest_algorithm": record.digest_algorithm,
        "commit_hash": record.commit_hash,
        "file_count": record.file_count or 0,
        "created_at": record.created_at or UNKNOWN_TIME,
        "updated_at": record.updated_at,
        "aliases": lambda: _aliases(context, record),
        "created_by": lambda: _creator(context, record),
        "used_by": lambda: {"edges": [{"node": _run_info(context, run.path)} for run in held.users]},
        "current_manifest": lambda: _manifest(context, held),
        "artifact_memberships": lambda: {"edges": [{"node": _membership(context, held)}]},
        "files": partial(_files, context, held),
    }


def _creator(context: Context, record: ArtifactRecord) -> Node | None:
    parts = (record.logged_by or "").split("/")
    return _run_info(context, RunPath(*parts)) if len(parts) == 3 else None


def _run_info(context: Context, path: RunPath) -> Node:
    """Return the name of a run, which need not be in a bundle."""
    return {
        "__typename": "Run",
        "id": opaque("Run", str(path)),
        "name": path.run_id,
        "project": lambda: context.project((path.entity, path.project)),
    }


def _manifest(context: Context, held: HeldArtifact) -> Node | None:
    if held.record.entries is None:
        return None
    link = context.library.link(held.run.path, manifest_object(held.record), context.base_url)
    return {"file": {"direct_url": link}}


def _files(
    context: Context,
    held: HeldArtifact,
    *,
    names: Sequence[str] | None = None,
    after: str | None = None,
    first: int | None = None,
) -> Node:
    """Return the files and references of an artifact."""
    try:
        entries = list(held.artifact.entries.values())
    except FileMissingError as exc:
        raise NotFoundError(exc.message) from exc
    context.work.add_runs(len(entries))
    if names:
        wanted = frozenset(names)
        entries = [entry for entry in entries if entry.path in wanted]
    return connection(
        entries,
        partial(_file, context, held),
        after=after,
        first=first,
        count="total_count",
        most=MAX_FILES,
    )


def _file(context: Context, held: HeldArtifact, entry: LoggedEntry) -> Node:
    def link() -> str:
        if entry.ref is not None:
            return entry.ref
        if entry.content is None:
            raise artifact_bytes_missing(
                held.record.path, entry.path, subject=context.library.catalog.subject
            )
        name = CONTENT + entry.content.record.hash.removeprefix("sha256:")
        return context.library.link(held.run.path, name, context.base_url)

    md5 = md5_hex(entry.digest) if entry.ref is None and entry.entry.algorithm == "MD5" else None
    return {
        "id": opaque("File", f"{held.record.path}/{entry.path}"),
        "name": entry.path,
        "display_name": entry.path,
        "url": lambda **_: link(),
        "direct_url": link,
        "size_bytes": entry.size or 0,
        "storage_path": None,
        "mimetype": None,
        "updated_at": held.record.updated_at,
        "digest": entry.digest,
        "md5": None if md5 is None else entry.digest,
    }
