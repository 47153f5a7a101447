"""The GraphQL queries, with the fields that each requests (docs/protocol.md, "Queries")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_INFO = (
    "id name displayName state tags group jobType sweepName notes commit createdAt heartbeatAt"
    " user { name username } config summaryMetrics systemMetrics historyKeys historyLineCount"
)
"""The fields of the SDK's `RunFragment`, so that every server that serves the SDK has them."""

_EXPORTS = 'parquetHistory(liveKeys: ["_step"]) { parquetUrls liveData }'


@dataclass(frozen=True, slots=True)
class Query:
    """A GraphQL request.

    Attributes:
        operation: The name of the operation.
        text: The document.
        variables: The values of its variables; text from users is only here.
    """

    operation: str
    text: str
    variables: dict[str, Any]


def default_entity() -> Query:
    """Return the query for the default entity of the user."""
    return Query("GetDefaultEntity", "query GetDefaultEntity { viewer { id entity } }", {})


def list_runs(
    *, entity: str, project: str, filters: str, cursor: str | None, page: int, exports: bool
) -> Query:
    """Return the query for a page of a project's runs, oldest first, with all fields of each run.

    Args:
        entity: The entity of the project.
        project: The name of the project.
        filters: A Mongo-like filter as JSON.
        cursor: The cursor of the last edge of the previous page; None for the first page.
        page: The number of runs in the page.
        exports: Whether to request the Parquet URLs too; a server may refuse that in a listing.
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
    """Return the query for several runs of one project, under the aliases `r0`, `r1`, ..."""
    names = [f"$name{number}" for number in range(len(run_ids))]
    fields = f"{_INFO} {_EXPORTS}" if exports else _INFO
    runs = " ".join(f"r{number}: run(name: {name}) {{ {fields} }}" for number, name in enumerate(names))
    declared = ", ".join(f"{name}: String!" for name in names)
    text = (
        f"query NamedRuns($project: String!, $entity: String!, {declared})"
        f" {{ project(name: $project, entityName: $entity) {{ {runs} }} }}"
    )
    variables = {f"name{number}": run_id for number, run_id in enumerate(run_ids)}
    return Query("NamedRuns", text, {"project": project, "entity": entity, **variables})


def one_run(entity: str, project: str, run_id: str) -> Query:
    """Return the SDK's query for one run."""
    text = (
        "query Run($project: String!, $entity: String!, $name: String!)"
        f" {{ project(name: $project, entityName: $entity) {{ run(name: $name) {{ {_INFO} }} }} }}"
    )
    return Query("Run", text, {"project": project, "entity": entity, "name": run_id})


def run_exports(entity: str, project: str, run_id: str) -> Query:
    """Return the SDK's query for the Parquet URLs and live steps of one run."""
    text = (
        "query RunParquetHistory($entity: String!, $project: String!, $runName: String!,"
        " $liveKeys: [String!]!) { project(name: $project, entityName: $entity) { run(name: $runName) {"
        " parquetHistory(liveKeys: $liveKeys) { parquetUrls liveData } } } }"
    )
    variables = {"entity": entity, "project": project, "runName": run_id, "liveKeys": ["_step"]}
    return Query("RunParquetHistory", text, variables)


def history_page(entity: str, project: str, run_id: str, *, start: int, stop: int, samples: int) -> Query:
    """Return the query for the live rows with `start <= _step < stop`, unsampled up to `samples` rows."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOfRun:
    """The live rows of one run in a query for those of several.

    Attributes:
        run_id: The id of the run.
        start: The first step.
        stop: The step after the last.
        samples: The number of rows up to which the answer is unsampled.
    """

    run_id: str
    start: int
    stop: int
    samples: int


def history_pages(entity: str, project: str, pages: Sequence[PageOfRun]) -> Query:
    """Return the query for live rows of several runs of one project, under the aliases `r0`, `r1`, ..."""
    declared, runs = [], []
    variables: dict[str, Any] = {"entity": entity, "project": project}
    for number, page in enumerate(pages):
        declared.append(
            f"$run{number}: String!, $min{number}: Int64!, $max{number}: Int64!, $size{number}: Int!"
        )
        history = f"history(minStep: $min{number}, maxStep: $max{number}, samples: $size{number})"
        runs.append(f"r{number}: run(name: $run{number}) {{ {history} }}")
        variables |= {
            f"run{number}": page.run_id,
            f"min{number}": page.start,
            f"max{number}": page.stop,
            f"size{number}": page.samples,
        }
    text = (
        f"query HistoryPages($project: String!, $entity: String!, {', '.join(declared)})"
        f" {{ project(name: $project, entityName: $entity) {{ {' '.join(runs)} }} }}"
    )
    return Query("HistoryPages", text, variables)


def system_events(entity: str, project: str, run_id: str, *, samples: int) -> Query:
    """Return the query for the system metrics of one run, as JSON strings."""
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
    """Return the SDK's query for the config of a sweep, or its query for older servers."""
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
    """Return the SDK's query for a page of the files of a run.

    Args:
        entity: The entity of the run.
        project: The project of the run.
        run_id: The id of the run.
        names: The names of the files; all files where it is empty.
        cursor: The cursor of the last edge of the previous page; None for the first page.
        page: The number of files in the page.
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


_LINE = "edges { node { number timestamp level label line } }"


def console_page(entity: str, project: str, run_id: str, *, cursor: str | None, page: int) -> Query:
    """Return the SDK's query for a page of the console log of a run, from its first line on.

    Args:
        entity: The entity of the run.
        project: The project of the run.
        run_id: The id of the run.
        cursor: The cursor at the end of the previous page; None for the first page.
        page: The number of lines in the page.
    """
    text = (
        "query RunConsoleLogPage($entity: String!, $project: String!, $runName: String!, $first: Int,"
        " $after: String) { project(name: $project, entityName: $entity) { run(name: $runName) { logLineCount"
        f" logLines(first: $first, after: $after, useImprovedPagination: true) {{ {_LINE}"
        " pageInfo { endCursor hasNextPage } } } } }"
    )
    variables = {"entity": entity, "project": project, "runName": run_id, "first": page, "after": cursor}
    return Query("RunConsoleLogPage", text, variables)


def console_tail(entity: str, project: str, run_id: str, *, last: int) -> Query:
    """Return the SDK's query for the last lines of the console log of a run."""
    text = (
        "query RunConsoleLogTail($entity: String!, $project: String!, $runName: String!, $last: Int!)"
        " { project(name: $project, entityName: $entity) { run(name: $runName) { logLineCount"
        f" logLines(last: $last) {{ {_LINE} }} }} }} }}"
    )
    variables = {"entity": entity, "project": project, "runName": run_id, "last": last}
    return Query("RunConsoleLogTail", text, variables)


_FILES = "edges { node { id name sizeBytes md5 } cursor } pageInfo { endCursor hasNextPage }"


def run_inventories(entity: str, project: str, run_ids: Sequence[str], *, files: int) -> Query:
    """Return the query for all that W&B has of several runs of one project, counted where it can be counted.

    The runs have the aliases `r0`, `r1`, ...

    Args:
        entity: The entity of the project.
        project: The name of the project.
        run_ids: The ids of the runs.
        files: The number of files of each run to list.
    """
    fields = (
        f"{_INFO} files(first: {files}) {{ {_FILES} }} logLineCount events(samples: 1)"
        " logged: outputArtifacts(first: 1) { totalCount } used: inputArtifacts(first: 1) { totalCount }"
    )
    names = [f"name{number}" for number in range(len(run_ids))]
    runs = " ".join(f"r{number}: run(name: ${name}) {{ {fields} }}" for number, name in enumerate(names))
    declared = ", ".join(f"${name}: String!" for name in names)
    text = (
        f"query RunInventories($project: String!, $entity: String!, {declared})"
        f" {{ project(name: $project, entityName: $entity) {{ {runs} }} }}"
    )
    variables = dict(zip(names, run_ids, strict=True))
    return Query("RunInventories", text, {"project": project, "entity": entity, **variables})


def count_artifacts(entity: str, project: str, run_id: str, *, used: bool) -> Query:
    """Return the SDK's query for the artifacts that a run logged or used, with their number alone."""
    operation, artifacts = (
        ("RunInputArtifacts", "inputArtifacts") if used else ("RunOutputArtifacts", "outputArtifacts")
    )
    text = (
        f"query {operation}($entity: String!, $project: String!, $run: String!, $cursor: String,"
        " $perPage: Int) { project(entityName: $entity, name: $project) { run(name: $run) {"
        f" artifacts: {artifacts}(after: $cursor, first: $perPage) {{ totalCount }} }} }} }}"
    )
    variables = {"entity": entity, "project": project, "run": run_id, "cursor": None, "perPage": 1}
    return Query(operation, text, variables)
