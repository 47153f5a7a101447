"""The artifacts of a run and the entries of an artifact as W&B lists them (docs/protocol.md, "Artifacts")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pull_logs.errors import DataError, NetworkError, NotFoundError, ServerError
from pull_logs.fetch.api import Client, Query, RejectedQueryError, join_url
from pull_logs.fetch.artifacts.queries import (
    artifact_file_urls,
    artifact_files,
    artifact_manifest,
    client_ids,
    run_artifacts,
)
from pull_logs.rows.canonical import canon_record, canon_text, parse_json
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import ArtifactEntry, ArtifactRecord, Relation

PAGE = 50
"""The artifacts in a page, as the SDK requests them."""

URL_PAGE = 500
"""The addresses of files in a page. They expire, so a page is downloaded before the next is listed."""

Ask = Callable[[Query], Awaitable[Mapping[str, Any]]]
"""Sends a query, and returns the data of its answer."""


async def list_artifacts(client: Client, path: RunPath, relation: Relation) -> list[ArtifactRecord]:
    """Return the artifacts that a run logged, or those that it used.

    Raises:
        RunNotFoundError: The run was deleted in the meantime.
        AccessError: A request failed.
        DataError: W&B lists an artifact without a name or version.
    """
    found: dict[str, ArtifactRecord] = {}
    cursor, algorithm = None, True
    while True:
        query = run_artifacts(
            path.entity,
            path.project,
            path.run_id,
            used=relation == "used",
            cursor=cursor,
            page=PAGE,
            algorithm=algorithm,
        )
        try:
            run = await client.query_run(query, path)
        except RejectedQueryError:
            if not algorithm:
                raise
            algorithm = False
            continue
        connection = _mapping(run.get("artifacts"))
        for node in _nodes(connection):
            record = read_artifact(node, relation=relation, run=path)
            found.setdefault(record.id, record)
        following = _next_cursor(connection)
        if following is None:
            return list(found.values())
        if following == cursor:
            raise ServerError(f"{client.host} lists the artifacts of run {path} without end")
        cursor = following


def read_artifact(node: Mapping[str, Any], *, relation: Relation, run: RunPath) -> ArtifactRecord:
    """Return the record of an artifact as W&B lists it.

    Args:
        node: The fields.
        relation: Whether the run logged or used it.
        run: The run.

    Raises:
        DataError: It has no name or version.
    """
    sequence = _mapping(node.get("artifactSequence"))
    entity, project = _project_of(sequence)
    identity, name, version = node.get("id"), sequence.get("name"), node.get("versionIndex")
    if not (isinstance(identity, str) and isinstance(name, str) and type(version) is int and version >= 0):
        raise DataError(f"W&B lists an artifact without an id, name or version: {dict(node)!r:.200}")
    aliases = [
        alias.get("alias")
        for alias in _mappings(node.get("aliases"))
        if _collection_of(alias) in ((entity, project, name), None)
    ]
    creator = _mapping(node.get("createdBy"))
    logged_by = str(run) if relation == "logged" else _run_of(creator)
    return ArtifactRecord(
        relation=relation,
        entity=canon_text(entity or run.entity),
        project=canon_text(project or run.project),
        collection=canon_text(name),
        version=version,
        id=canon_text(identity),
        type=_text(_mapping(node.get("artifactType")).get("name")) or "unknown",
        description=_text(node.get("description")),
        metadata=_metadata(node.get("metadata")),
        aliases=tuple(
            sorted({canon_text(one) for one in aliases if isinstance(one, str) and one != f"v{version}"})
        ),
        tags=tuple(sorted({text for tag in _mappings(node.get("tags")) if (text := _text(tag.get("name")))})),
        state=_text(node.get("state")),
        digest=_text(node.get("digest")),
        digest_algorithm=_text(node.get("digestAlgorithm")),
        size=_count(node.get("size")),
        file_count=_count(node.get("fileCount")),
        created_at=_text(node.get("createdAt")),
        updated_at=_text(node.get("updatedAt")),
        history_step=_count(node.get("historyStep")),
        commit_hash=_text(node.get("commitHash")),
        logged_by=logged_by,
    )


async def list_client_ids(ask: Ask, ids: Sequence[str]) -> dict[str, str]:
    """Return the ids at W&B of artifacts, by those that the SDK gave them; nothing where W&B does not say.

    Args:
        ask: Sends a query.
        ids: The ids that the SDK gave.

    Raises:
        AccessError: A request failed.
    """
    found: dict[str, str] = {}
    for start in range(0, len(ids), PAGE):
        page = ids[start : start + PAGE]
        try:
            data = await ask(client_ids(page))
        except (RejectedQueryError, NotFoundError, ServerError):
            return found
        for number, one in enumerate(page):
            identity = _mapping(data.get(f"a{number}")).get("serverID")
            if isinstance(identity, str):
                found[one] = canon_text(identity)
    return found


async def manifest_url(client: Client, artifact: ArtifactRecord) -> str:
    """Return the address of the manifest of an artifact.

    Raises:
        ServerError: W&B names none.
        AccessError: The request failed.
    """
    answer = await client.query(artifact_manifest(artifact.id))
    manifest = _mapping(_mapping(answer.data.get("artifact")).get("currentManifest"))
    url = _url(_mapping(manifest.get("file")).get("directUrl"), client)
    if url is None:
        raise ServerError(f"{client.host} names no address for the manifest of {artifact.path!r}")
    return url


def read_manifest(data: bytes) -> tuple[dict[str, Any], list[ArtifactEntry]]:
    """Return how W&B stores the files of an artifact, and its entries.

    Args:
        data: The manifest as W&B has it.

    Raises:
        DataError: It is not a manifest of version 1.
    """
    manifest = parse_json(data)
    contents = manifest.get("contents") if isinstance(manifest, Mapping) else None
    if not isinstance(contents, Mapping) or manifest.get("version") != 1:
        raise DataError("it is not a manifest of version 1")
    policy = {name: manifest[name] for name in ("storagePolicy", "storagePolicyConfig") if name in manifest}
    return canon_record(policy), [
        _read_entry(path, entry) for path, entry in contents.items() if isinstance(entry, Mapping)
    ]


def _read_entry(path: str, entry: Mapping[str, Any]) -> ArtifactEntry:
    digest, extra = entry.get("digest"), entry.get("extra")
    if not path or not isinstance(digest, str):
        raise DataError(f"entry {path[:80]!r} has no digest")
    return ArtifactEntry(
        path=canon_text(path),
        digest=canon_text(digest),
        size=_count(entry.get("size")),
        ref=_text(entry.get("ref")),
        birth_artifact_id=_text(entry.get("birthArtifactID")),
        extra=canon_record(extra) if isinstance(extra, dict) else {},
    )


async def list_urls(
    client: Client, artifact: ArtifactRecord, *, cursor: str | None
) -> tuple[dict[str, str], str | None]:
    """Return the addresses of a page of the files of an artifact by path, and the cursor of the next page.

    Args:
        client: Sends the request.
        artifact: The artifact.
        cursor: The cursor of the page; None for the first page.

    Raises:
        AccessError: The request failed.
    """
    query = artifact_file_urls(*_membership(artifact), cursor=cursor, page=URL_PAGE)
    connection = await _files(client, query)
    following = _next_cursor(connection)
    if following is not None and following == cursor:
        raise ServerError(f"{client.host} lists the files of artifact {artifact.path!r} without end")
    return _urls(client, connection), following


async def new_url(client: Client, artifact: ArtifactRecord, path: str) -> str | None:
    """Return a new address of a file of an artifact; None if W&B names none.

    Raises:
        AccessError: The request failed.
    """
    query = artifact_files(*_membership(artifact), names=[path])
    return _urls(client, await _files(client, query)).get(path)


async def _files(client: Client, query: Query) -> Mapping[str, Any]:
    data = (await client.query(query)).data
    collection = _mapping(_mapping(data.get("project")).get("artifactCollection"))
    return _mapping(_mapping(collection.get("artifactMembership")).get("files"))


def _urls(client: Client, connection: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for node in _nodes(connection):
        name, url = node.get("name"), _url(node.get("directUrl"), client)
        if isinstance(name, str) and url is not None:
            found[canon_text(name)] = url
    return found


def _membership(artifact: ArtifactRecord) -> tuple[str, str, str, str]:
    return artifact.entity, artifact.project, artifact.collection, f"v{artifact.version}"


def _url(value: object, client: Client) -> str | None:
    """Return an address, which may be relative; None where it is missing or malformed."""
    if not isinstance(value, str) or not value:
        return None
    try:
        return join_url(client.settings.base_url + "/", value)
    except NetworkError:
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _nodes(connection: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    edges = _mappings(connection.get("edges"))
    return [node for edge in edges if isinstance(node := edge.get("node"), Mapping)]


def _next_cursor(connection: Mapping[str, Any]) -> str | None:
    info = _mapping(connection.get("pageInfo"))
    cursor = info.get("endCursor")
    return cursor if info.get("hasNextPage") and isinstance(cursor, str) else None


def _text(value: object) -> str | None:
    return canon_text(value) if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    """Return a count, which may be text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19:
        return int(value)
    return value if type(value) is int and 0 <= value < 2**63 else None


def _metadata(value: object) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except DataError:
            return None
    return canon_record(value) if isinstance(value, dict) else None


def _project_of(owner: Mapping[str, Any]) -> tuple[str, str]:
    project = _mapping(owner.get("project"))
    entity, name = _mapping(project.get("entity")).get("name"), project.get("name")
    return (entity if isinstance(entity, str) else ""), (name if isinstance(name, str) else "")


def _collection_of(alias: Mapping[str, Any]) -> tuple[str, str, str] | None:
    collection = _mapping(alias.get("artifactCollection"))
    name = collection.get("name")
    return (*_project_of(collection), name) if isinstance(name, str) else None


def _run_of(creator: Mapping[str, Any]) -> str | None:
    name, (entity, project) = creator.get("name"), _project_of(creator)
    known = creator.get("__typename") == "Run" and isinstance(name, str)
    return f"{entity}/{project}/{name}" if known and entity and project else None
