"""The GraphQL texts that are sent, and what of a run they ask for (read API facts, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_INFO = (
    "id name displayName state tags group jobType sweepName notes commit createdAt heartbeatAt"
    " user { name username } config summaryMetrics systemMetrics historyKeys historyLineCount"
)
"""The SDK's own `RunFragment`, so that every server that serves the SDK serves it."""

_EXPORTS = 'parquetHistory(liveKeys: ["_step"]) { parquetUrls liveData }'


@dataclass(frozen=True, slots=True)
class Query:
    """A GraphQL request.

    Attributes:
        operation: The operation's name.
        text: The document.
        variables: Values of its variables; all that users wrote travels here.
    """

    operation: str
    text: str
    variables: dict[str, Any]


def default_entity() -> Query:
    """The user's own entity, for runs named without one."""
    return Query("GetDefaultEntity", "query GetDefaultEntity { viewer { id entity } }", {})


def list_runs(
    *, entity: str, project: str, filters: str, cursor: str | None, page: int, exports: bool
) -> Query:
    """A page of a project's runs, oldest first, with all that can ride along.

    Args:
        entity: The project's entity.
        project: Its name.
        filters: A Mongo-like filter as JSON.
        cursor: The last edge's cursor of the page before; None for the first.
        page: Runs wanted.
        exports: Whether to ask for the parquet URLs too; a server may refuse that in a listing.
    """
    text = (
        "query Runs($project: String!, $entity: String!, $cursor: String, $perPage: Int = 50,"
        " $order: String, $filters: JSONString) { project(name: $project, entityName: $entity) {"
        " runCount(filters: $filters)"
        " runs(filters: $filters, after: $cursor, first: $perPage, order: $order) {"
        f" edges {{ node {{ {_INFO}{' ' + _EXPORTS if exports else ''} }} cursor }}"
        " pageInfo { endCursor hasNextPage } } } }"
    )
    variables = {
        "project": project,
        "entity": entity,
        "cursor": cursor,
        "perPage": page,
        "order": "+created_at",
        "filters": filters,
    }
    return Query("Runs", text, variables)


def named_runs(entity: str, project: str, run_ids: Sequence[str], *, exports: bool) -> Query:
    """Several runs of one project in one request, under the aliases `r0`, `r1`, ..."""
    names = [f"$name{number}" for number in range(len(run_ids))]
    asked = f"{_INFO} {_EXPORTS}" if exports else _INFO
    runs = " ".join(f"r{number}: run(name: {name}) {{ {asked} }}" for number, name in enumerate(names))
    text = (
        f"query NamedRuns($project: String!, $entity: String!, {', '.join(f'{name}: String!' for name in names)})"
        f" {{ project(name: $project, entityName: $entity) {{ {runs} }} }}"
    )
    variables = {f"name{number}": run_id for number, run_id in enumerate(run_ids)}
    return Query("NamedRuns", text, {"project": project, "entity": entity, **variables})


def one_run(entity: str, project: str, run_id: str) -> Query:
    """One run, as the SDK asks for it."""
    text = (
        "query Run($project: String!, $entity: String!, $name: String!)"
        f" {{ project(name: $project, entityName: $entity) {{ run(name: $name) {{ {_INFO} }} }} }}"
    )
    return Query("Run", text, {"project": project, "entity": entity, "name": run_id})


def run_exports(entity: str, project: str, run_id: str) -> Query:
    """The parquet URLs and live steps of one run, as the SDK asks for them."""
    text = (
        "query RunParquetHistory($entity: String!, $project: String!, $runName: String!, $liveKeys: [String!]!)"
        " { project(name: $project, entityName: $entity) { run(name: $runName) {"
        " parquetHistory(liveKeys: $liveKeys) { parquetUrls liveData } } } }"
    )
    variables = {"entity": entity, "project": project, "runName": run_id, "liveKeys": ["_step"]}
    return Query("RunParquetHistory", text, variables)


def history_page(entity: str, project: str, run_id: str, *, start: int, stop: int, samples: int) -> Query:
    """The live rows with `start <= _step < stop`, as JSON strings, not sampled up to `samples` rows."""
    text = (
        "query HistoryPage($entity: String!, $project: String!, $run: String!, $minStep: Int64!,"
        " $maxStep: Int64!, $pageSize: Int!) { project(name: $project, entityName: $entity) {"
        " run(name: $run) { history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize) } } }"
    )
    variables = {
        "entity": entity,
        "project": project,
        "run": run_id,
        "minStep": start,
        "maxStep": stop,
        "pageSize": samples,
    }
    return Query("HistoryPage", text, variables)


def system_events(entity: str, project: str, run_id: str, *, samples: int) -> Query:
    """The system metrics of one run, as JSON strings."""
    text = (
        "query RunFullHistory($project: String!, $entity: String!, $name: String!, $samples: Int)"
        " { project(name: $project, entityName: $entity) { run(name: $name) { events(samples: $samples) } } }"
    )
    return Query(
        "RunFullHistory",
        text,
        {"project": project, "entity": entity, "name": run_id, "samples": samples},
    )


def sweep_config(entity: str, project: str, sweep: str, *, legacy: bool = False) -> Query:
    """A sweep's config, by the fields that the SDK asks for, or by those of its query for older servers."""
    fields = "id name state bestLoss config" if legacy else "id name displayName method state config"
    text = (
        "query GetSweep($name: String!, $project: String!, $entity: String!)"
        " { project(name: $project, entityName: $entity) { sweep(sweepName: $name) {"
        f" {fields} }} }} }}"
    )
    return Query(
        "GetSweepLegacy" if legacy else "GetSweep",
        text.replace("GetSweep", "GetSweepLegacy", 1) if legacy else text,
        {"name": sweep, "project": project, "entity": entity},
    )


def run_files(
    entity: str, project: str, run_id: str, *, names: Sequence[str], cursor: str | None, page: int
) -> Query:
    """A page of the files of a run, as the SDK asks for them.

    Args:
        entity: The run's entity.
        project: Its project.
        run_id: The run.
        names: Only files of these names; all where there are none.
        cursor: The last edge's cursor of the page before; None for the first.
        page: Files wanted.
    """
    text = (
        "query RunFiles($project: String!, $entity: String!, $name: String!, $fileCursor: String,"
        " $fileLimit: Int = 50, $fileNames: [String] = [], $upload: Boolean = false)"
        " { project(name: $project, entityName: $entity) { run(name: $name) {"
        " files(names: $fileNames, after: $fileCursor, first: $fileLimit) { edges { node {"
        " id name url(upload: $upload) directUrl sizeBytes mimetype md5 } cursor }"
        " pageInfo { endCursor hasNextPage } } } } }"
    )
    variables = {
        "project": project,
        "entity": entity,
        "name": run_id,
        "fileCursor": cursor,
        "fileLimit": page,
        "fileNames": list(names),
        "upload": False,
    }
    return Query("RunFiles", text, variables)
