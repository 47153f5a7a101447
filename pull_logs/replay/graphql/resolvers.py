"""The objects of the GraphQL schema and the values of their fields.

An object is a mapping from field names, in snake case, to values; a value that takes work or arguments is a
function. `query_root` is the root of every query.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pull_logs.errors import DataError, NotFoundError, UsageError
from pull_logs.replay.data import (
    METADATA,
    FileNode,
    Library,
    ProjectKey,
    config_text,
    history_keys,
    json_rows,
    live_data,
    page,
    record_text,
    sampled_indices,
    sweep_text,
    thin,
    thin_rows,
)
from pull_logs.replay.graphql.answers import (
    DEFAULT_PAGE,
    MAX_PAGE,
    UNKNOWN_TIME,
    Context,
    Node,
    connection,
    cursor_index,
    internal_id,
    opaque,
)
from pull_logs.replay.graphql.artifacts import find_artifact, map_client_id, project_artifacts, run_artifacts
from pull_logs.replay.graphql.schema import snake_case
from pull_logs.replay.graphql.work import Work
from pull_logs.replay.not_found import console_missing, files_missing, note_unknown_keys
from pull_logs.rows.canonical import canonical_text, parse_json
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import LIVE_STATES, Coverage, RunPath
from pull_logs.snapshot import Run
from pull_logs.snapshot.format import ConsoleLine

_FEATURES = ("TOTAL_COUNT_IN_FILE_CONNECTION",)
"""What the SDK asks for before it uses it; without this one, `list(artifact.files())` raises."""

DEFAULT_SAMPLES = 500
_BLOCK = 1000
"""Rows that are searched for a key at the cost of one lookup."""

_RUN_FIELDS = {
    snake_case(field.graphql): field.reader
    for field in RUN_FIELDS
    if field.graphql and field.kind in ("text", "time")
}
"""The fields of a run that are answered as they are, by their names in the schema in snake case."""


def query_root(
    library: Library, base_url: str, work: Work, *, on_run: Callable[[RunPath], None] = lambda _: None
) -> Node:
    """Return the root object of a query.

    Args:
        library: What is read.
        base_url: The beginning of links in answers.
        work: Counts what the query costs.
        on_run: Called with the path of each run that is in the answer.
    """
    context = Context(library, base_url, work, on_run, project=_project_info)
    return {
        "viewer": lambda: _viewer(context),
        "server_info": {
            "cli_version_info": {},
            "latest_local_version_info": None,
            "features": [{"name": name, "is_enabled": True} for name in _FEATURES],
        },
        "project": partial(_find_project, context),
        "models": partial(_models, context),
        "artifact": partial(find_artifact, context),
        "client_id_mapping": partial(map_client_id, context),
        "entity": partial(_entity, context),
    }


def _viewer(context: Context) -> Node:
    """Return the only user, whose default entity is the entity of the first run."""
    catalog = context.library.catalog
    return {
        "id": opaque("User", "replay"),
        "name": "replay",
        "username": "replay",
        "email": "replay@localhost",
        "admin": False,
        "flags": "{}",
        "entity": catalog.entity,
        "default_entity": lambda: _entity_node(context, catalog.entity),
        "user_entity": None,
        "deleted_at": None,
        "api_keys": {"edges": []},
        "teams": lambda **_: {"edges": [{"node": _entity_node(context, name)} for name in catalog.entities]},
    }


def _entity(context: Context, name: str | None = None) -> Node:
    catalog = context.library.catalog
    catalog.projects(name)
    return _entity_node(context, name or catalog.entity)


def _entity_node(context: Context, name: str) -> Node:
    return {
        "id": opaque("Entity", name),
        "name": name,
        "available": False,
        "entity_type": "team",
        "project_count": lambda: len(context.library.catalog.projects(name)),
        "projects": lambda **page: _models(context, name, page.get("after"), page.get("first")),
    }


def _find_project(context: Context, name: str | None = None, entity_name: str | None = None) -> Node:
    catalog = context.library.catalog
    key = (entity_name or catalog.entity, name or "")
    if not catalog.count(key) and context.library.artifacts.collections(*key):
        # A run may have used an artifact of a project of which the bundles have no run.
        run = partial(_find_run, context, key)  # `artifact.logged_by()` asks for it
        return {**_project_info(key), "run": run, **project_artifacts(context, key)}
    if not (catalog.count(key) or context.work.may_suggest()):
        raise NotFoundError(f"no project {'/'.join(key)!r}")
    return _project(context, catalog.project(*key))


def _models(
    context: Context, entity_name: str | None = None, after: str | None = None, first: int | None = None
) -> Node:
    keys = context.library.catalog.projects(entity_name)
    return connection(keys, lambda key: _project(context, key), after=after, first=first)


def _project(context: Context, key: ProjectKey) -> Node:
    catalog = context.library.catalog

    def run_count(filters: Any = None) -> int:
        context.look_at(key)
        return len(catalog.listed(key, _json_text(filters), None))

    def runs() -> Iterable[Run]:
        context.look_at(key)
        return catalog.runs(key)

    return {
        "id": opaque("Project", "/".join(key)),
        "internal_id": internal_id(key),
        "entity_name": key[0],
        "name": key[1],
        "created_at": lambda: _first_time(runs()),
        "last_active": lambda: _last_time(runs()),
        "is_benchmark": False,
        "read_only": True,
        "description": None,
        "user": None,
        "run_count": run_count,
        "total_runs": run_count,
        "runs": partial(_runs, context, key),
        "run": partial(_find_run, context, key),
        "total_sweeps": lambda: len(_swept(context, key)),
        "sweeps": partial(_sweeps, context, key),
        "sweep": partial(_find_sweep, context, key),
        "entity": lambda: _entity_node(context, key[0]),
        **project_artifacts(context, key),
    }


def _project_info(key: ProjectKey) -> Node:
    """Return the names of a project, of which the bundles need not have a run."""
    return {
        "id": opaque("Project", "/".join(key)),
        "internal_id": internal_id(key),
        "name": key[1],
        "entity_name": key[0],
        "entity": {"id": opaque("Entity", key[0]), "name": key[0]},
    }


def _runs(
    context: Context,
    key: ProjectKey,
    *,
    filters: Any = None,
    after: str | None = None,
    first: int | None = None,
    order: str | None = None,
) -> Node:
    context.look_at(key)
    runs = context.library.catalog.listed(key, _json_text(filters), order)
    return connection(
        runs, lambda run: _run(context, key, run), after=after, first=first, count="total_count"
    )


def _find_run(context: Context, key: ProjectKey, name: str) -> Node:
    catalog = context.library.catalog
    if catalog.find(RunPath(*key, name)) is None and not context.work.may_suggest():
        raise NotFoundError(f"no run {'/'.join((*key, name))!r}")
    return _run(context, key, catalog.run(key, name))


def _run(context: Context, key: ProjectKey, run: Run) -> Node:
    """Return a run; nothing of it is parsed until its field is requested."""
    context.on_run(run.path)
    return {
        "id": opaque("Run", str(run.path)),
        "project_id": internal_id(key),
        **{name: partial(read, run) for name, read in _RUN_FIELDS.items()},
        "tags": lambda: list(run.tags),
        "read_only": True,
        "updated_at": lambda: run.heartbeat_at or run.created_at,
        "description": None,
        # The SDK builds a user from this even where the run has none.
        "user": lambda: {"id": None, "name": run.user or "", "username": run.user},
        "config": lambda: context.work.add_text(config_text(run)),
        "summary_metrics": lambda: context.work.add_text(record_text(run.summary)),
        "system_metrics": lambda: context.work.add_text(record_text(run.system_summary)),
        **_run_history(context, run),
        "file_count": lambda: len(context.library.files(run)),
        "files": partial(_files, context, run),
        "log_line_count": lambda: 0 if run.console is None else len(run.console),
        "log_lines": partial(_log_lines, context, run),
        "project": lambda: _project(context, key),
        "output_artifacts": partial(run_artifacts, context, run, "logged"),
        "input_artifacts": partial(run_artifacts, context, run, "used"),
    }


def _run_history(context: Context, run: Run) -> Node:
    # An incomplete run shows the rows that W&B promised, so that its reader sees that rows are missing.
    promised = Coverage() if run.complete else run.coverage
    last = promised.promised_last_step
    return {
        "history_line_count": max(run.rows, promised.promised_rows or 0),
        "history_keys": partial(_history_keys, context, run, last),
        "history": partial(_history, context, run),
        "events": partial(_events, context, run),
        "sampled_history": partial(_sampled_history, context, run),
        "parquet_history": partial(_parquet_history, context, run),
    }


def _history_keys(context: Context, run: Run, last_step: int | None) -> dict[str, Any] | None:
    if not run.rows:
        return None
    table = context.table(run)
    context.work.add_lookups(len(table.keys) + table.residual_values)
    return history_keys(table, last_step=last_step)


def _history(
    context: Context,
    run: Run,
    min_step: Any = None,
    max_step: Any = None,
    samples: int | None = DEFAULT_SAMPLES,
    **_limits: Any,
) -> list[str]:
    table = context.table(run)
    chosen = thin(table.window(_step(min_step), _step(max_step)), samples)
    context.work.add_rows(len(chosen), keys=len(table.keys))
    return page(table, chosen)


def _sampled_history(context: Context, run: Run, specs: Sequence[Any]) -> list[list[dict[str, Any]]]:
    table = context.table(run)
    answers = []
    for spec in map(_object, specs):
        keys = list(dict.fromkeys(map(str, spec.get("keys") or ()))) or None
        context.work.add_lookups(len(keys or ()) * (1 + len(table.steps) // _BLOCK))
        if not table.keys.issuperset(keys or ()) and context.work.may_suggest():
            note_unknown_keys(run.path, keys or (), table.keys)
        chosen = sampled_indices(table, spec, keys)
        context.work.add_rows(len(chosen), keys=len(table.keys if keys is None else keys))
        answers.append(json_rows(table, chosen, keys))
    return answers


def _parquet_history(context: Context, run: Run, live_keys: Sequence[str]) -> Node:
    """Return either the exported files of a run or all its rows as live data, never both."""
    context.library.note_scan(run)
    links = context.library.export_links(run, context.base_url)
    if links:
        return {"parquet_urls": links, "live_data": []}
    if not run.rows:
        return {"parquet_urls": [], "live_data": []}
    context.work.add_rows(run.rows, keys=len(live_keys))
    return {"parquet_urls": [], "live_data": live_data(context.table(run), live_keys)}


def _events(context: Context, run: Run, samples: int | None = DEFAULT_SAMPLES, **_steps: Any) -> list[str]:
    """Return the system metrics; they have no steps, so limits on steps do not apply."""
    rows = list(run.system_rows())
    context.work.add_rows(len(rows), keys=len(rows[0]) if rows else 0)
    return [canonical_text(row) for row in thin_rows(rows, samples)]


def _files(
    context: Context,
    run: Run,
    *,
    names: Sequence[str] | None = None,
    after: str | None = None,
    first: int | None = None,
    pattern: str | None = None,
) -> Node:
    """Return the files of a run in its bundle; `pattern` is a pattern for SQL's LIKE."""
    held = context.library.files(run)
    context.work.add_runs(len(held))
    wanted = None if not names else frozenset(names)
    chosen = [file for file in held if wanted is None or file.name in wanted]
    if names and not chosen and METADATA not in names:
        known = [file.name for file in held]
        pointers = None if run.coverage.from_server else context.library.pointers(run)
        subject = context.library.catalog.subject
        raise files_missing(run.path, names, subject=subject, files=known, pointers=pointers)
    if pattern and chosen:
        matches = pc.match_like(pa.array([file.name for file in chosen]), pattern).to_pylist()
        chosen = [file for file, match in zip(chosen, matches, strict=True) if match]
    return connection(chosen, lambda file: _file(context, run, file), after=after, first=first)


def _file(context: Context, run: Run, file: FileNode) -> Node:
    link = context.library.link(run.path, file.object_name, context.base_url)
    return {
        "id": opaque("File", f"{run.path}/{file.name}"),
        "name": file.name,
        "url": lambda **_: link,
        "direct_url": link,
        "size_bytes": file.size,
        "mimetype": file.mediatype,
        "updated_at": run.heartbeat_at or run.created_at,
        "md5": base64.b64encode(bytes.fromhex(file.md5)).decode(),
    }


def _log_lines(
    context: Context,
    run: Run,
    *,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    **_pagination: bool,
) -> Node:
    """Return lines of the console log of a run: from the first on, after a cursor, or the last ones."""
    if not run.bundle_has_console:
        imported = not run.coverage.from_server
        error = console_missing(run.path, subject=context.library.catalog.subject, imported=imported)
        context.library.note_once(error.message)
        raise error
    total = 0 if run.console is None else len(run.console)
    consoles = context.library.consoles
    if last is not None:
        lines = consoles.tail(run, last)
        start = total - len(lines)
    else:
        start = 0 if not after else cursor_index(after) + 1
        lines = consoles.page(run, start, min(max(DEFAULT_PAGE if first is None else first, 0), MAX_PAGE))
    context.work.add_rows(len(lines), keys=5)
    edges = [
        {"cursor": opaque("Cursor", str(index)), "node": _log_line(line)}
        for index, line in enumerate(lines, start)
    ]
    info = {
        "end_cursor": edges[-1]["cursor"] if edges else None,
        "has_next_page": last is None and start + len(lines) < total,
    }
    return {"edges": edges, "page_info": info}


def _log_line(line: ConsoleLine) -> Node:
    return {
        "number": line.number,
        "timestamp": line.timestamp,
        "level": line.level,
        "label": line.label,
        "line": line.text,
    }


def _sweeps(
    context: Context, key: ProjectKey, after: str | None = None, first: int | None = None, **_filters: Any
) -> Node:
    found = _swept(context, key)
    return connection(list(found), lambda name: _sweep(key, name, found[name]), after=after, first=first)


def _swept(context: Context, key: ProjectKey) -> Mapping[str, list[Run]]:
    context.look_at(key)
    return context.library.catalog.sweeps(key)


def _find_sweep(context: Context, key: ProjectKey, sweep_name: str | None = None) -> Node:
    context.look_at(key)
    name = sweep_name or ""
    return _sweep(key, name, context.library.catalog.sweep(key, name))


def _sweep(key: ProjectKey, name: str, runs: Sequence[Run]) -> Node:
    """Return a sweep from the records of its runs; one of them may have the sweep's config."""
    alive = any(run.state in LIVE_STATES for run in runs)
    config = next((swept for run in runs if (swept := run.sweep_config) is not None), {})
    method, cap = config.get("method"), config.get("run_cap")
    return {
        "id": opaque("Sweep", f"{'/'.join(key)}/{name}"),
        "name": name,
        "display_name": None,
        "method": method if isinstance(method, str) else "unknown",
        "state": "RUNNING" if alive else "FINISHED",
        "description": None,
        "best_loss": None,
        "config": lambda: sweep_text(config),
        "created_at": _first_time(runs),
        "updated_at": _last_time(runs),
        "run_count": len(runs),
        "run_count_expected": cap if type(cap) is int and 0 <= cap < 2**31 else None,
    }


def _first_time(runs: Iterable[Run]) -> str:
    return min((run.created_at for run in runs if run.created_at), default=UNKNOWN_TIME)


def _last_time(runs: Iterable[Run]) -> str | None:
    return max((run.heartbeat_at for run in runs if run.heartbeat_at), default=None)


def _json_text(value: Any) -> str | None:
    """Return a JSON argument as text, whether it was sent as text or as an object."""
    return value if value is None or isinstance(value, str) else canonical_text(value)


def _step(value: Any) -> int | None:
    if value is None:
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise UsageError(f"a step is {value!r}, not an integer") from exc


def _object(spec: Any) -> Mapping[str, Any]:
    """Parse a sampling spec, a JSON object."""
    try:
        found = parse_json(spec) if isinstance(spec, str) else spec
    except DataError as exc:
        raise UsageError(f"a sampling spec is {exc.message}") from exc
    if not isinstance(found, Mapping):
        raise UsageError(f"a sampling spec is {found!r}, not an object")
    for name in ("minStep", "maxStep", "samples"):
        _step(found.get(name))
    return found
