"""The views of SQL over runs, each made when a query names it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from pull_logs.analyze.sql.columns import SqlColumn, Type, array_of_cells, sql_names, type_of_cells
from pull_logs.analyze.sql.history import HistoryView, metric_types
from pull_logs.analyze.sql.parts import RUN_COLUMNS
from pull_logs.frames import MetricFacts, flatten, plain_key

if TYPE_CHECKING:
    from pull_logs.snapshot import Run

View: TypeAlias = pa.Table | HistoryView

_BIGINT, _DOUBLE, _BOOLEAN, _VARCHAR, _JSON = Type
_RUN_TYPES: Mapping[str, Type] = dict.fromkeys(RUN_COLUMNS, _VARCHAR)

_RUNS: Mapping[str, Type] = {
    "path": _VARCHAR,
    "entity": _VARCHAR,
    "project": _VARCHAR,
    "run": _VARCHAR,
    "name": _VARCHAR,
    "state": _VARCHAR,
    "tags": _JSON,
    "group": _VARCHAR,
    "job_type": _VARCHAR,
    "sweep": _VARCHAR,
    "user": _VARCHAR,
    "commit": _VARCHAR,
    "notes": _VARCHAR,
    "created_at": _VARCHAR,
    "heartbeat_at": _VARCHAR,
    "duration": _DOUBLE,
    "rows": _BIGINT,
    "first_step": _BIGINT,
    "last_step": _BIGINT,
    "complete": _BOOLEAN,
    "bundle": _VARCHAR,
    "config": _JSON,
    "summary": _JSON,
}
_METRICS: Mapping[str, Type] = {
    **_RUN_TYPES,
    "metric": _VARCHAR,
    "type": _VARCHAR,
    "count": _BIGINT,
    "numbers": _BIGINT,
    "nonfinite": _BIGINT,
    "first_step": _BIGINT,
    "last_step": _BIGINT,
    "interval": _DOUBLE,
    "first": _JSON,
    "last": _JSON,
    "last_number": _DOUBLE,
    "last_finite": _DOUBLE,
    "min": _DOUBLE,
    "min_step": _BIGINT,
    "max": _DOUBLE,
    "max_step": _BIGINT,
}
_FILES: Mapping[str, Type] = {
    **_RUN_TYPES,
    "name": _VARCHAR,
    "size": _BIGINT,
    "mediatype": _VARCHAR,
    "md5": _VARCHAR,
    "sha256": _VARCHAR,
}
_ARTIFACTS: Mapping[str, Type] = {
    **_RUN_TYPES,
    "relation": _VARCHAR,
    "artifact": _VARCHAR,
    "type": _VARCHAR,
    "aliases": _JSON,
    "size": _BIGINT,
    "file_count": _BIGINT,
    "created_at": _VARCHAR,
    "metadata": _JSON,
}


def _run_cells(run: Run) -> tuple[str, str, str, str]:
    path = run.path
    return str(path), path.entity, path.project, path.run_id


def _table(types: Mapping[str, Type], rows: Iterable[Sequence[Any]]) -> pa.Table:
    """Return the table of these rows, which have a value for each column."""
    cells: list[list[Any]] = [[] for _ in types]
    for row in rows:
        for column, value in zip(cells, row, strict=True):
            column.append(value)
    columns = [SqlColumn(name, name, kind) for name, kind in types.items()]
    return _of_columns(columns, cells)


def _of_columns(columns: Sequence[SqlColumn], cells: Sequence[Sequence[Any]]) -> pa.Table:
    arrays = [array_of_cells(values, column.type) for column, values in zip(columns, cells, strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema([column.field for column in columns]))


def _runs(runs: Sequence[Run]) -> pa.Table:
    """Return one row per run: its fields, and a column for each value of a config or a summary."""
    from pull_logs.analyze.questions import duration_of

    rows = []
    flat: dict[str, list[Any]] = {}
    for number, run in enumerate(runs):
        documents = {"config": run.config, "summary": run.summary}
        for word, document in documents.items():
            for key, value in flatten(document, keep_typed=True).items():
                cells = flat.setdefault(f"{word}.{key}", [])
                cells += [None] * (number - len(cells))
                cells.append(value)
        fields = {name: getattr(run, name) for name in _RUNS if hasattr(run, name)}
        fields |= dict(zip(RUN_COLUMNS, _run_cells(run), strict=True)) | documents
        fields |= {"duration": duration_of(run), "bundle": run.bundle_path, "tags": list(run.tags)}
        rows.append([fields[name] for name in _RUNS])
    table = _table(_RUNS, rows)
    names = _plain_names(flat, taken=tuple(_RUNS))
    columns = [SqlColumn(names[key], key, type_of_cells(cells)) for key, cells in flat.items()]
    padded = [[*cells, *[None] * (len(runs) - len(cells))] for cells in flat.values()]
    added = _of_columns(columns, padded) if columns else pa.table({})
    for column in added.schema:
        table = table.append_column(column, added.column(column.name))
    return table


def _plain_names(keys: Iterable[str], *, taken: Sequence[str]) -> dict[str, str]:
    """Return the names in SQL of flat keys: without the backslashes before dots, which SQL does not need."""
    plain: dict[str, list[str]] = {}
    for key in keys:
        plain.setdefault(plain_key(key), []).append(key)
    spelled = {key: name if len(same) == 1 else key for name, same in plain.items() for key in same}
    names = sql_names(spelled.values(), taken=taken)
    return {key: names[spelling] for key, spelling in spelled.items()}


def _metrics(runs: Sequence[Run]) -> pa.Table:
    """Return one row per run and metric, as the index of the bundle has it."""
    return _table(
        _METRICS, ([*_run_cells(run), *_fact_cells(facts)] for run in runs for facts in run.metric_facts())
    )


def _fact_cells(facts: MetricFacts) -> list[Any]:
    return [
        facts.name,
        facts.type,
        facts.cells,
        facts.numbers,
        facts.nonfinite,
        facts.first_step,
        facts.last_step,
        facts.interval,
        facts.first,
        facts.last,
        facts.last_number,
        facts.last_finite,
        facts.min,
        facts.min_step,
        facts.max,
        facts.max_step,
    ]


def _files(runs: Sequence[Run]) -> pa.Table:
    """Return one row per file that a run logged."""
    return _table(
        _FILES,
        (
            [*_run_cells(run), file.name, file.size, file.mediatype, file.md5, file.sha256]
            for run in runs
            for file in run.files.values()
        ),
    )


def _artifacts(runs: Sequence[Run]) -> pa.Table:
    """Return one row per run and artifact that it logged or used."""

    def rows() -> Iterator[list[Any]]:
        for run in runs:
            for relation, found in (("logged", run.logged_artifacts()), ("used", run.used_artifacts())):
                for record in (artifact.record for artifact in found):
                    yield [
                        *_run_cells(run),
                        relation,
                        record.path,
                        record.type,
                        list(record.aliases),
                        record.size,
                        record.file_count,
                        record.created_at,
                        record.metadata,
                    ]

    return _table(_ARTIFACTS, rows())


def _system(runs: Sequence[Run]) -> pa.Table:
    """Return one row per sample of the system metrics of a run, in the order of their time."""
    rows: list[tuple[str, str, str, str]] = []
    flat: dict[str, list[Any]] = {}
    for run in runs:
        for sample in run.system_rows():
            for key, value in sample.items():
                cells = flat.setdefault(key, [])
                cells += [None] * (len(rows) - len(cells))
                cells.append(value)
            rows.append(_run_cells(run))
    order = sorted(flat)
    names = sql_names(order, taken=RUN_COLUMNS)
    columns = [
        *(SqlColumn(name, name, kind) for name, kind in _RUN_TYPES.items()),
        *(SqlColumn(names[key], key, type_of_cells(flat[key])) for key in order),
    ]
    runs_of = zip(*rows, strict=True) if rows else [()] * len(RUN_COLUMNS)
    padded = ([*flat[key], *[None] * (len(rows) - len(flat[key]))] for key in order)
    return _of_columns(columns, [*map(list, runs_of), *padded])


def _history(runs: Sequence[Run]) -> HistoryView:
    """Return the rows of the histories."""
    return HistoryView(runs, metric_types(runs))


VIEWS: Mapping[str, Callable[[Sequence[Run]], View]] = {
    "runs": _runs,
    "history": _history,
    "system": _system,
    "metrics": _metrics,
    "files": _files,
    "artifacts": _artifacts,
}
"""What makes each view."""
