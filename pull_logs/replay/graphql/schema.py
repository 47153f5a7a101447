"""The part of W&B's GraphQL schema that reading needs. See docs/protocol.md, "Queries".

The context of an execution is its `Work`, which counts and bounds what it computes.
A field is resolved by the entry of its object (`resolvers`) with the field's name in snake case: a value, or
a function of the field's arguments.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from graphql import GraphQLError, GraphQLObjectType, GraphQLResolveInfo, GraphQLSchema, build_schema

from pull_logs.errors import NotFoundError, PullLogsError
from pull_logs.replay.graphql.work import RequestTooLargeError, Work
from pull_logs.replay.not_found import NotInBundleError

_LOG = logging.getLogger("pull_logs.replay")

SDL = """
scalar JSON
scalar JSONString
scalar Int64
scalar DateTime

type Query {
  viewer: User
  serverInfo: ServerInfo
  project(name: String, entityName: String): Project
  models(entityName: String, after: String, first: Int): ProjectConnection
  entity(name: String): Entity
  artifact(id: ID!): Artifact
  clientIDMapping(clientID: ID!): ClientIDMapping
}

type ClientIDMapping { serverID: ID! }

type PageInfo { endCursor: String hasNextPage: Boolean! }

type User {
  id: ID! name: String! username: String email: String admin: Boolean flags: JSONString entity: String
  deletedAt: DateTime apiKeys: ApiKeyConnection teams(first: Int): TeamConnection
  defaultEntity: Entity userEntity: Entity
}
type ApiKeyConnection { edges: [ApiKeyEdge!]! }
type ApiKeyEdge { node: ApiKey }
type ApiKey { id: ID! name: String! description: String }
type TeamConnection { edges: [TeamEdge!]! }
type TeamEdge { node: Entity }
type Entity {
  id: ID! name: String! available: Boolean entityType: String projectCount: Int
  projects(first: Int, after: String, order: String): ProjectConnection
}

type ServerInfo {
  cliVersionInfo: JSON latestLocalVersionInfo: LocalVersionInfo features: [ServerFeature!]!
}
type LocalVersionInfo {
  outOfDate: Boolean latestVersionString: String versionOnThisInstanceString: String
}
type ServerFeature { name: String! isEnabled: Boolean! }

type ProjectConnection { edges: [ProjectEdge!]! pageInfo: PageInfo! }
type ProjectEdge { node: Project cursor: String! }
type Project {
  id: ID! internalId: ID! name: String! entityName: String! createdAt: DateTime isBenchmark: Boolean!
  readOnly: Boolean description: String user: User lastActive: DateTime
  runCount(filters: JSONString): Int! totalRuns: Int!
  runs(filters: JSONString, after: String, first: Int, order: String): RunConnection!
  run(name: String!): Run
  totalSweeps: Int!
  sweeps(after: String, first: Int, filters: JSONString): SweepConnection!
  sweep(sweepName: String): Sweep
  entity: Entity
  artifact(name: String!, enableTracking: Boolean): Artifact
  artifactCollection(name: String!): ArtifactCollection
  artifactCollectionMembership(name: String!): ArtifactCollectionMembership
  artifactCollections(
    after: String, first: Int, filters: JSONString, order: String
  ): ArtifactCollectionConnection
  artifactTypes(after: String, first: Int): ArtifactTypeConnection
  artifactType(name: String!): ArtifactType
}

type RunConnection { edges: [RunEdge!]! pageInfo: PageInfo! totalCount: Int! }
type RunEdge { node: Run! cursor: String! }
type Run {
  id: ID! projectId: ID! name: String! displayName: String state: String tags: [String!] group: String
  jobType: String sweepName: String commit: String readOnly: Boolean createdAt: DateTime heartbeatAt: DateTime
  updatedAt: DateTime description: String notes: String user: RunUser
  config: JSONString summaryMetrics: JSONString systemMetrics: JSONString
  historyLineCount: Int historyKeys: JSON
  history(minStep: Int64, maxStep: Int64, samples: Int, maxKeyLimit: Int): [JSONString!]
  events(minStep: Int64, maxStep: Int64, samples: Int): [JSONString!]
  sampledHistory(specs: [JSONString!]!): [JSON!]
  parquetHistory(liveKeys: [String!]!): ParquetHistory
  fileCount: Int
  files(names: [String], after: String, first: Int, pattern: String): FileConnection
  project: Project
  outputArtifacts(after: String, first: Int): ArtifactConnection
  inputArtifacts(after: String, first: Int): ArtifactConnection
  logLineCount: Int
  logLines(first: Int, after: String, last: Int, useImprovedPagination: Boolean): LogLineConnection
}
type RunUser { id: ID name: String! username: String }
type ParquetHistory { parquetUrls: [String!]! liveData: [JSON!] }

type FileConnection { edges: [FileEdge!]! pageInfo: PageInfo! totalCount: Int }
type FileEdge { node: File cursor: String! }
type File {
  id: ID! name: String! url(upload: Boolean): String directUrl: String! sizeBytes: Int64! mimetype: String
  updatedAt: DateTime md5: String displayName: String storagePath: String digest: String
}

type LogLineConnection { edges: [LogLineEdge!]! pageInfo: PageInfo! }
type LogLineEdge { node: LogLine! cursor: String! }
type LogLine { number: Int64! timestamp: String level: String label: String line: String! }

interface ArtifactCollection {
  id: ID! name: String! description: String createdAt: DateTime! updatedAt: DateTime project: Project
  defaultArtifactType: ArtifactType! tags: TagConnection!
  artifactMembership(aliasName: String!): ArtifactCollectionMembership
  artifacts(after: String, first: Int, order: String, filters: JSONString): VersionedArtifactConnection
}
type ArtifactSequence implements ArtifactCollection {
  id: ID! name: String! description: String createdAt: DateTime! updatedAt: DateTime project: Project
  defaultArtifactType: ArtifactType! tags: TagConnection!
  artifactMembership(aliasName: String!): ArtifactCollectionMembership
  artifacts(after: String, first: Int, order: String, filters: JSONString): VersionedArtifactConnection
}
type ArtifactCollectionConnection {
  totalCount: Int edges: [ArtifactCollectionEdge!]! pageInfo: PageInfo!
}
type ArtifactCollectionEdge { node: ArtifactCollection cursor: String! }
type ArtifactCollectionMembership {
  id: ID! versionIndex: Int createdAt: DateTime! aliases: [ArtifactAlias!]! artifact: Artifact
  artifactCollection: ArtifactCollection
  files(names: [String!], after: String, first: Int): FileConnection
}
type MembershipConnection { edges: [MembershipEdge!]! }
type MembershipEdge { node: ArtifactCollectionMembership }
type ArtifactAlias { id: ID! alias: String! artifactCollection: ArtifactCollection }
type ArtifactType {
  id: ID! name: String! description: String createdAt: DateTime!
  artifactCollections(
    after: String, first: Int, filters: JSONString, order: String
  ): ArtifactCollectionConnection
  artifactCollection(name: String!): ArtifactCollection
  artifact(name: String!): Artifact
}
type ArtifactTypeConnection { edges: [ArtifactTypeEdge!]! pageInfo: PageInfo! }
type ArtifactTypeEdge { node: ArtifactType cursor: String! }
type Tag { id: ID! name: String! }
type TagConnection { edges: [TagEdge!]! }
type TagEdge { node: Tag }
union ArtifactCreator = Run
type ArtifactUsers { edges: [ArtifactUserEdge!]! }
type ArtifactUserEdge { node: Run }
type ArtifactManifest { file: File }
type ArtifactConnection { totalCount: Int edges: [ArtifactEdge!]! pageInfo: PageInfo! }
type ArtifactEdge { node: Artifact cursor: String! }
type VersionedArtifactConnection { totalCount: Int edges: [VersionedArtifactEdge!]! pageInfo: PageInfo! }
type VersionedArtifactEdge { node: Artifact version: String cursor: String! }
type Artifact {
  id: ID! artifactSequence: ArtifactSequence! versionIndex: Int artifactType: ArtifactType!
  description: String metadata: JSONString ttlDurationSeconds: Int64! ttlIsInherited: Boolean!
  tags: [Tag!]! historyStep: Int64
  state: String! size: Int64! digest: String! digestAlgorithm: String commitHash: String fileCount: Int64!
  createdAt: DateTime! updatedAt: DateTime aliases: [ArtifactAlias!]! createdBy: ArtifactCreator
  usedBy: ArtifactUsers currentManifest: ArtifactManifest artifactMemberships: MembershipConnection
  files(names: [String!], after: String, first: Int): FileConnection
}

# SDKs up to 0.22 look for this type before they delete files.
input DeleteFilesInput { files: [ID!]! }

type SweepConnection { edges: [SweepEdge!]! pageInfo: PageInfo! }
type SweepEdge { node: Sweep! cursor: String! }
type Sweep {
  id: ID! name: String! displayName: String method: String! state: String! description: String bestLoss: Float
  config: String! createdAt: DateTime! updatedAt: DateTime runCount: Int! runCountExpected: Int
}
"""


def read_schema() -> GraphQLSchema:
    """Return the executable schema; its root value is `resolvers.query_root`."""
    schema = build_schema(SDL)
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
            for name, field in kind.fields.items():
                field.resolve = partial(_resolve, attribute=snake_case(name))
                for argument_name, argument in field.args.items():
                    argument.out_name = snake_case(argument_name)
    return schema


def snake_case(name: str) -> str:
    """Return the snake case of a name in camel case: `client_id_mapping` of `clientIDMapping`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _resolve(source: object, info: GraphQLResolveInfo, *, attribute: str, **arguments: Any) -> Any:
    work: Work = info.context
    try:
        value = source[attribute] if isinstance(source, Mapping) else getattr(source, attribute)
        if callable(value):
            work.check()
            value = value(**arguments)
        if isinstance(value, Mapping) and isinstance(value.get("edges"), list):
            work.add_objects(len(value["edges"]), fields=work.fields_of(info))
    except RequestTooLargeError as exc:
        raise GraphQLError(str(exc)) from exc
    except NotFoundError as exc:
        if info.path.key != info.field_name:
            # W&B answers null. A client that uses aliases requests many objects at once and checks each.
            return None
        raise GraphQLError(str(exc), extensions={"code": "NOT_FOUND"}) from exc
    except NotInBundleError as exc:
        # Not a null: the SDK requests it by another name of the field, and would show an empty list.
        raise GraphQLError(str(exc), extensions={"code": "NOT_IN_BUNDLE"}) from exc
    except PullLogsError as exc:
        raise GraphQLError(str(exc)) from exc
    except Exception as exc:
        _LOG.exception("field %s.%s failed", info.parent_type.name, info.field_name)
        raise GraphQLError("the server could not answer this field") from exc
    else:
        return value
