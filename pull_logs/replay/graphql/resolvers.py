"""The objects behind the GraphQL schema: what each field of a query answers.

An object is a mapping from field names, in snake case, to answers; an answer
that costs something or takes arguments is a function. `query_root` is where
every query begins.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pull_logs.errors import DataError, UsageError
from pull_logs.replay.data import (
    METADATA,
    FileNode,
    Library,
    ProjectKey,
    config_text,
    history_keys,
    live_data,
    page,
    record_text,
    sampled,
    sweep_text,
    thin_rows,
)
from pull_logs.replay.graphql.schema import snake_case
from pull_logs.replay.not_found import files_missing, note_unknown_keys
from pull_logs.rows.canonical import canonical_text, parse_json
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import LIVE_STATES, Coverage
from pull_logs.snapshot import Run

MAX_PAGE = 1000
"""Edges that a page has at most; a client that asks for more finds the rest on the next page."""

DEFAULT_PAGE = 50
DEFAULT_SAMPLES = 500
UNKNOWN_TIME = "1970-01-01T00:00:00Z"

_RUN_FIELDS = {
    snake_case(field.graphql): field.reader
    for field in RUN_FIELDS
    if field.graphql and field.kind in ("text", "time")
}
"""The fields of a run that are answered as they are, by their names in the schema in snake case."""

Node = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Scene:
    """What every answer of one request is made from."""

    library: Library
    base_url: str


def query_root(library: Library, base_url: str) -> Node:
    """The root object of a query; links in its answers begin with `base_url`."""
    scene = _Scene(library, base_url)
    return {
        "viewer": lambda: _viewer(scene),
        "server_info": {"cli_version_info": {}, "latest_local_version_info": None, "features": []},
        "project": partial(_find_project, scene),
        "models": partial(_models, scene),
        "entity": partial(_entity, scene),
    }


def _viewer(scene: _Scene) -> Node:
    """The one user there is, whose default entity is that of the first run."""
    catalog = scene.library.catalog
    return {
        "id": _opaque("User", "replay"),
        "name": "replay",
        "username": "replay",
        "email": "replay@localhost",
        "admin": False,
        "flags": "{}",
        "entity": catalog.entity,
        "default_entity": lambda: _entity_node(scene, catalog.entity),
        "user_entity": None,
        "deleted_at": None,
        "api_keys": {"edges": []},
        "teams": lambda **_: {"edges": [{"node": _entity_node(scene, name)} for name in catalog.entities]},
    }


def _entity(scene: _Scene, name: str | None = None) -> Node:
    catalog = scene.library.catalog
    catalog.projects(name)
    return _entity_node(scene, name or catalog.entity)


def _entity_node(scene: _Scene, name: str) -> Node:
    return {
        "id": _opaque("Entity", name),
        "name": name,
        "available": False,
        "entity_type": "team",
        "project_count": lambda: len(scene.library.catalog.projects(name)),
        "projects": lambda **page: _models(scene, name, page.get("after"), page.get("first")),
    }


def _find_project(scene: _Scene, name: str | None = None, entity_name: str | None = None) -> Node:
    return _project(scene, scene.library.catalog.project(entity_name, name))


def _models(
    scene: _Scene, entity_name: str | None = None, after: str | None = None, first: int | None = None
) -> Node:
    keys = scene.library.catalog.projects(entity_name)
    return _connection(keys, lambda key: _project(scene, key), after=after, first=first)


def _project(scene: _Scene, key: ProjectKey) -> Node:
    catalog = scene.library.catalog

    def run_count(filters: Any = None) -> int:
        return len(catalog.listed(key, _json_text(filters), None))

    return {
        "id": _opaque("Project", "/".join(key)),
        "internal_id": _internal_id(key),
        "entity_name": key[0],
        "name": key[1],
        "created_at": lambda: _first_moment(catalog.runs(key)),
        "last_active": lambda: _last_moment(catalog.runs(key)),
        "is_benchmark": False,
        "read_only": True,
        "description": None,
        "user": None,
        "run_count": run_count,
        "total_runs": run_count,
        "runs": partial(_runs, scene, key),
        "run": partial(_find_run, scene, key),
        "total_sweeps": lambda: len(catalog.sweeps(key)),
        "sweeps": partial(_sweeps, scene, key),
        "sweep": partial(_find_sweep, scene, key),
    }


def _runs(
    scene: _Scene,
    key: ProjectKey,
    *,
    filters: Any = None,
    after: str | None = None,
    first: int | None = None,
    order: str | None = None,
) -> Node:
    runs = scene.library.catalog.listed(key, _json_text(filters), order)
    return _connection(runs, lambda run: _run(scene, key, run), after=after, first=first, count="total_count")


def _find_run(scene: _Scene, key: ProjectKey, name: str) -> Node:
    return _run(scene, key, scene.library.catalog.run(key, name))


def _run(scene: _Scene, key: ProjectKey, run: Run) -> Node:
    """A run of which nothing is parsed that is not asked for."""
    return {
        "id": _opaque("Run", str(run.path)),
        "project_id": _internal_id(key),
        **{name: partial(read, run) for name, read in _RUN_FIELDS.items()},
        "tags": lambda: list(run.tags),
        "read_only": True,
        "updated_at": lambda: run.heartbeat_at or run.created_at,
        "description": None,
        # The SDK builds a user out of this whether there is one or not.
        "user": lambda: {"id": None, "name": run.user or "", "username": run.user},
        "config": lambda: config_text(run),
        "summary_metrics": lambda: record_text(run.summary),
        "system_metrics": lambda: record_text(run.system_summary),
        **_run_history(scene, run),
        "file_count": lambda: len(scene.library.files(run)),
        "files": partial(_files, scene, run),
    }


def _run_history(scene: _Scene, run: Run) -> Node:
    library = scene.library
    # Of a run that did not arrive whole: what W&B promised, so that who reads it here also sees that it is not whole.
    promised = Coverage() if run.complete else run.coverage
    last = promised.promised_last_step
    return {
        "history_line_count": max(run.rows, promised.promised_rows or 0),
        "history_keys": lambda: history_keys(library.table(run), last_step=last) if run.rows else None,
        "history": partial(_history, scene, run),
        "events": partial(_events, run),
        "sampled_history": partial(_sampled_history, scene, run),
        "parquet_history": partial(_parquet_history, scene, run),
    }


def _history(
    scene: _Scene,
    run: Run,
    min_step: Any = None,
    max_step: Any = None,
    samples: int | None = DEFAULT_SAMPLES,
    **_limits: Any,
) -> list[str]:
    table = scene.library.table(run)
    return page(table, min_step=_step(min_step), stop_step=_step(max_step), samples=samples)


def _sampled_history(scene: _Scene, run: Run, specs: Sequence[Any]) -> list[list[dict[str, Any]]]:
    table = scene.library.table(run)
    wanted = [_object(spec) for spec in specs]
    for spec in wanted:
        note_unknown_keys(run.path, map(str, spec.get("keys") or ()), table.keys)
    return [sampled(table, spec) for spec in wanted]


def _parquet_history(scene: _Scene, run: Run, live_keys: Sequence[str]) -> Node:
    """Either the exports of a run or all its rows as not exported yet, never both."""
    links = scene.library.export_links(run, scene.base_url)
    if links:
        return {"parquet_urls": links, "live_data": []}
    rows = live_data(scene.library.table(run), live_keys) if run.rows else []
    return {"parquet_urls": [], "live_data": rows}


def _events(run: Run, samples: int | None = DEFAULT_SAMPLES, **_steps: Any) -> list[str]:
    """System metrics; they have no steps to be asked for by."""
    return [canonical_text(row) for row in thin_rows(list(run.system_rows()), samples)]


def _files(
    scene: _Scene,
    run: Run,
    *,
    names: Sequence[str] | None = None,
    after: str | None = None,
    first: int | None = None,
    pattern: str | None = None,
) -> Node:
    """The files of a run that the bundle holds; `pattern` is one of SQL's LIKE."""
    held = scene.library.files(run)
    wanted = None if not names else frozenset(names)
    chosen = [file for file in held if wanted is None or file.name in wanted]
    if names and not chosen and METADATA not in names:
        known = [file.name for file in held]
        raise files_missing(run.path, names, held=scene.library.catalog.held, files=known)
    if pattern and chosen:
        matches = pc.match_like(pa.array([file.name for file in chosen]), pattern).to_pylist()
        chosen = [file for file, match in zip(chosen, matches, strict=True) if match]
    return _connection(chosen, lambda file: _file(scene, run, file), after=after, first=first)


def _file(scene: _Scene, run: Run, file: FileNode) -> Node:
    link = scene.library.link(run.path, file.object_name, scene.base_url)
    return {
        "id": _opaque("File", f"{run.path}/{file.name}"),
        "name": file.name,
        "url": lambda **_: link,
        "direct_url": link,
        "size_bytes": file.size,
        "mimetype": file.mediatype,
        "updated_at": run.heartbeat_at or run.created_at,
        "md5": base64.b64encode(bytes.fromhex(file.md5)).decode(),
    }


def _sweeps(
    scene: _Scene, key: ProjectKey, after: str | None = None, first: int | None = None, **_filters: Any
) -> Node:
    found = scene.library.catalog.sweeps(key)
    return _connection(list(found), lambda name: _sweep(key, name, found[name]), after=after, first=first)


def _find_sweep(scene: _Scene, key: ProjectKey, sweep_name: str | None = None) -> Node:
    name = sweep_name or ""
    return _sweep(key, name, scene.library.catalog.sweep(key, name))


def _sweep(key: ProjectKey, name: str, runs: Sequence[Run]) -> Node:
    """A sweep as its runs tell of it; its config is there where it was pulled with one of them."""
    alive = any(run.state in LIVE_STATES for run in runs)
    config = next((swept for run in runs if (swept := run.sweep_config) is not None), {})
    method, cap = config.get("method"), config.get("run_cap")
    return {
        "id": _opaque("Sweep", f"{'/'.join(key)}/{name}"),
        "name": name,
        "display_name": None,
        "method": method if isinstance(method, str) else "unknown",
        "state": "RUNNING" if alive else "FINISHED",
        "description": None,
        "best_loss": None,
        "config": lambda: sweep_text(config),
        "created_at": _first_moment(runs),
        "updated_at": _last_moment(runs),
        "run_count": len(runs),
        "run_count_expected": cap if type(cap) is int and 0 <= cap < 2**31 else None,
    }


def _connection(
    items: Sequence[T],
    node: Callable[[T], Node | None],
    *,
    after: str | None,
    first: int | None,
    count: str = "",
) -> Node:
    """A page of items, as edges with cursors; a cursor is the place of an item in the whole list."""
    start = 0 if not after else _place(after) + 1
    stop = start + min(max(DEFAULT_PAGE if first is None else first, 0), MAX_PAGE)
    shown = range(start, min(stop, len(items)))
    edges = [{"cursor": _opaque("Cursor", str(at)), "node": node(items[at])} for at in shown]
    info = {
        "end_cursor": edges[-1]["cursor"] if edges else None,
        "has_next_page": stop < len(items),
    }
    return {"edges": edges, "page_info": info, **({count: len(items)} if count else {})}


def _place(cursor: str) -> int:
    try:
        kind, _, place = base64.b64decode(cursor, validate=True).decode().partition(":")
        if kind == "Cursor":
            return max(int(place), 0)
    except ValueError:
        pass
    raise UsageError(f"{cursor!r} is not a cursor of this server")


def _opaque(kind: str, text: str) -> str:
    return base64.b64encode(f"{kind}:{text}".encode()).decode()


def _internal_id(key: ProjectKey) -> str:
    """A number of the project's own, as the SDK wants one: the same in every process."""
    return str(zlib.crc32("/".join(key).encode()))


def _first_moment(runs: Iterable[Run]) -> str:
    return min((run.created_at for run in runs if run.created_at), default=UNKNOWN_TIME)


def _last_moment(runs: Iterable[Run]) -> str | None:
    return max((run.heartbeat_at for run in runs if run.heartbeat_at), default=None)


def _json_text(value: Any) -> str | None:
    """A JSON argument as text, whether it came as text or as the object itself."""
    return value if value is None or isinstance(value, str) else canonical_text(value)


def _step(value: Any) -> int | None:
    if value is None:
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise UsageError(f"a step is {value!r}, not a whole number") from exc


def _object(spec: Any) -> Mapping[str, Any]:
    """A sampling spec, which is JSON text of an object."""
    try:
        found = parse_json(spec) if isinstance(spec, str) else spec
    except DataError as exc:
        raise UsageError(f"a sampling spec is {exc.message}") from exc
    if not isinstance(found, Mapping):
        raise UsageError(f"a sampling spec is {found!r}, not an object")
    for name in ("minStep", "maxStep", "samples"):
        _step(found.get(name))
    return found
