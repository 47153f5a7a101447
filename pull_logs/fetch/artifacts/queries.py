"""The GraphQL queries about artifacts, with the fields that each requests (docs/protocol.md, "Artifacts")."""

from __future__ import annotations

from collections.abc import Sequence

from pull_logs.fetch.api import Query

_PROJECT = "project { name entity { name } }"
_FIELDS = (
    f"id artifactSequence {{ name {_PROJECT} }} versionIndex artifactType {{ name }} description metadata"
    f" tags {{ name }} historyStep state size digest commitHash fileCount createdAt updatedAt"
    f" aliases {{ alias artifactCollection {{ __typename name {_PROJECT} }} }}"
    f" createdBy {{ __typename ... on Run {{ name {_PROJECT} }} }}"
)
"""The fields of the SDK's `ArtifactFragment`, and who logged it."""

_MEMBERSHIP = (
    "project(name: $project, entityName: $entity) { artifactCollection(name: $collection) { __typename"
    " artifactMembership(aliasName: $alias)"
)


def run_artifacts(
    entity: str, project: str, run_id: str, *, used: bool, cursor: str | None, page: int, algorithm: bool
) -> Query:
    """Return the query for a page of the artifacts that a run logged, or of those that it used.

    Args:
        entity: The entity of the run.
        project: The project of the run.
        run_id: The id of the run.
        used: Whether to request those that it used.
        cursor: The cursor at the end of the previous page; None for the first page.
        page: The number of artifacts in the page.
        algorithm: Whether to request how digests were computed, which older servers do not know.
    """
    operation, field = (
        ("RunInputArtifacts", "inputArtifacts") if used else ("RunOutputArtifacts", "outputArtifacts")
    )
    fields = f"{_FIELDS} digestAlgorithm" if algorithm else _FIELDS
    text = (
        f"query {operation}($entity: String!, $project: String!, $run: String!, $cursor: String,"
        " $perPage: Int) { project(entityName: $entity, name: $project) { run(name: $run) {"
        f" artifacts: {field}(after: $cursor, first: $perPage) {{ totalCount"
        f" pageInfo {{ endCursor hasNextPage }} edges {{ node {{ {fields} }} }} }} }} }} }}"
    )
    variables = {"entity": entity, "project": project, "run": run_id, "cursor": cursor, "perPage": page}
    return Query(operation, text, variables)


def artifact_manifest(artifact_id: str) -> Query:
    """Return the SDK's query for the address of the manifest of an artifact."""
    text = (
        "query FetchArtifactManifest($id: ID!) { artifact(id: $id) {"
        " currentManifest { file { directUrl } } } }"
    )
    return Query("FetchArtifactManifest", text, {"id": artifact_id})


def client_ids(ids: Sequence[str]) -> Query:
    """Return the query for the ids at W&B of artifacts, given those that the SDK gave them.

    The SDK's query has one of them.
    """
    names = ", ".join(f"$id{number}: ID!" for number in range(len(ids)))
    mappings = [f"a{at}: clientIDMapping(clientID: $id{at}) {{ serverID }}" for at in range(len(ids))]
    variables = {f"id{number}": one for number, one in enumerate(ids)}
    return Query("ClientIDMapping", f"query ClientIDMapping({names}) {{ {' '.join(mappings)} }}", variables)


def artifact_file_urls(
    entity: str, project: str, collection: str, alias: str, *, cursor: str | None, page: int
) -> Query:
    """Return the SDK's query for the addresses of a page of the files of an artifact.

    Args:
        entity: The entity of the collection.
        project: The project of the collection.
        collection: The name of the collection.
        alias: The version.
        cursor: The cursor at the end of the previous page; None for the first page.
        page: The number of files in the page.
    """
    text = (
        "query GetArtifactMembershipFileUrls($entity: String!, $project: String!, $collection: String!,"
        f" $alias: String!, $cursor: String, $perPage: Int) {{ {_MEMBERSHIP} {{"
        " files(after: $cursor, first: $perPage) { pageInfo { endCursor hasNextPage }"
        " edges { node { __typename name directUrl } } } } } } }"
    )
    variables = _membership(entity, project, collection, alias) | {"cursor": cursor, "perPage": page}
    return Query("GetArtifactMembershipFileUrls", text, variables)


def artifact_files(entity: str, project: str, collection: str, alias: str, *, names: Sequence[str]) -> Query:
    """Return the SDK's query for files of an artifact by name, with new addresses.

    Args:
        entity: The entity of the collection.
        project: The project of the collection.
        collection: The name of the collection.
        alias: The version.
        names: The names of the files.
    """
    text = (
        "query ArtifactMembershipFiles($entity: String!, $project: String!, $collection: String!,"
        f" $alias: String!, $fileNames: [String!], $perPage: Int = 50) {{ {_MEMBERSHIP} {{"
        " files(names: $fileNames, first: $perPage) { edges { node { __typename name: displayName url"
        " directUrl } } } } } } }"
    )
    variables = _membership(entity, project, collection, alias)
    return Query(
        "ArtifactMembershipFiles", text, variables | {"fileNames": list(names), "perPage": len(names)}
    )


def _membership(entity: str, project: str, collection: str, alias: str) -> dict[str, object]:
    return {"entity": entity, "project": project, "collection": collection, "alias": alias}
