"""Export runs of a bundle as plain files: Parquet, CSV or NDJSON in Hive folders.

    DIR/runs.FORMAT                                            one row per run
    DIR/runs/entity=E/project=P/run=ID/history.FORMAT          the rows of the run
    DIR/runs/entity=E/project=P/run=ID/system.FORMAT           its system metrics, if there are any
    DIR/runs/entity=E/project=P/run=ID/console.ndjson          what it printed, if that is in the bundle
    DIR/runs/entity=E/project=P/run=ID/files/NAME              the files that it logged, if there are any
    DIR/runs/entity=E/project=P/run=ID/tables/KEY/STEP.parquet the tables that it logged, if those are there
    DIR/runs/entity=E/project=P/run=ID/artifacts.ndjson        its artifacts, if those are there
    DIR/media.parquet                                          what rows point to, if the files are there
    DIR/artifacts/entity=E/project=P/artifact=A/version=N/PATH the files of artifacts, if those are there

The folders are those of a bundle. Parquet and CSV have the columns of `plain_columns`; a line of NDJSON is
the canonical JSON of a row, with its nesting and without the keys that the row lacks. Everything is written
to a temporary folder next to DIR, which gets its name at the end.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pull_logs.errors import BundleDamagedError, DataError, UsageError
from pull_logs.executors import SERIAL, Engine
from pull_logs.frames import bundle_order, put_back
from pull_logs.rows.canonical import canonical_text
from pull_logs.runs import RunPath
from pull_logs.snapshot.disk import disk_errors, files_below, name_folder
from pull_logs.snapshot.format import (
    DOCUMENTS,
    MEDIA,
    OPTIONAL,
    SCHEMA,
    SWEEP_CONFIG,
    coverage_fields,
    info_fields,
    member_folders,
)
from pull_logs.snapshot.operations.exported_media import ARTIFACT_FILES, export_artifacts, export_media
from pull_logs.snapshot.operations.exported_runs import (
    WRITERS,
    Format,
    RunFilesWriter,
    open_writer,
    plan_columns,
)
from pull_logs.snapshot.operations.inputs import GivenRuns, given_runs
from pull_logs.snapshot.read import Run
from pull_logs.snapshot.workers import map_runs_in_parts
from pull_logs.snapshot.write import check_output_path, temporary_folder

_RUNS_AT_ONCE = 256
_FILE = re.compile(
    r"runs/entity=[^/]+/project=[^/]+/run=[^/]+/"
    r"(?:(?:history|system)\.(\w+)|console\.ndjson|artifacts\.ndjson|files/[^/]+|tables/[^/]+/[^/]+\.parquet)"
    rf"|{re.escape(MEDIA)}|{ARTIFACT_FILES}/entity=[^/]+/project=[^/]+/artifact=[^/]+/version=[0-9]+/[^/]+"
)
_FOLDER = "folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """An export.

    Attributes:
        path: The folder.
        runs: The number of runs.
        rows: The number of rows of all histories.
        files: The number of files that were written.
        bytes: The total size of these files.
    """

    path: Path
    runs: int
    rows: int
    files: int
    bytes: int


def export_runs(
    runs: GivenRuns,
    out: str | os.PathLike[str],
    *,
    to: Format,
    force: bool = False,
    raw: bool = False,
    engine: Engine = SERIAL,
) -> ExportReport:
    """Write runs as plain files.

    Args:
        runs: Runs of open bundles, or an open bundle for all its runs.
        out: The folder to create.
        to: The format of the files.
        force: Whether to replace `out` if it is an export; anything else is never replaced.
        raw: Whether to leave texts in CSV as they are that a spreadsheet would run as formulas.
        engine: Where histories are read and written; the files do not depend on it.

    Raises:
        UsageError: `out` already exists, a run is given twice, or `raw` is given without CSV.
        BundleDamagedError: A bundle is damaged.
        PullLogsError: The disk is full, or a file cannot be written.
    """
    out = Path(out)
    target = check_export_folder(out, force=force)
    held = sorted(given_runs(runs), key=lambda run: run.path)
    twice = [left.path for left, right in pairwise(held) if left.path == right.path]
    if twice:
        raise UsageError(f"run {str(twice[0])!r} is given twice")
    if raw and to != "csv":
        raise UsageError(f"{to} has no formulas to escape", hint="only CSV can be raw")
    with (
        disk_errors(out, hint="free some space and try again; nothing was changed"),
        temporary_folder(target.parent) as temp,
    ):
        folder = temp / "new"
        _Export(folder, to, raw, engine).write(held)
        sizes = array("q", (file.stat().st_size for file in files_below(folder)))
        name_folder(folder, target, old=target.with_name(f".{target.name}.replaced"))
    rows = sum(run.rows for run in held)
    return ExportReport(path=out.absolute(), runs=len(held), rows=rows, files=len(sizes), bytes=sum(sizes))


def check_export_folder(folder: Path, *, force: bool = False) -> Path:
    """Check that an export can be written, and return the path of its folder with symbolic links followed.

    Args:
        folder: The folder to create.
        force: Whether to replace it if it is an export; anything else is never replaced.

    Raises:
        UsageError: It cannot be written, or already exists.
        FileMissingError: The folder that contains it does not exist.
        PullLogsError: The folder that contains it cannot be written.
    """
    out, shown = check_output_path(folder), str(folder)
    if not out.exists():
        return out
    if not _is_export(out):
        raise UsageError(f"{shown!r} exists and is not an export", hint="name a folder that does not exist")
    if not force and any(out.iterdir()):
        raise UsageError(f"{shown!r} already exists", hint="pass --force to replace it")
    return out


def are_export_files(names: Collection[str]) -> bool:
    """Return whether objects under a prefix are those of an export, perhaps of one that was interrupted."""
    tables = {name for name in names if "/" not in name} - {MEDIA}
    formats = {table.removeprefix("runs.") for table in tables}
    found = [_FILE.fullmatch(name) for name in names if name not in tables]
    formats |= {match[1] for match in found if match and match[1]}
    return len(formats) <= 1 and formats <= WRITERS.keys() and all(found)


def _is_export(folder: Path) -> bool:
    """Return whether an export wrote everything in a folder; true for an empty folder."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    top = {item.name for item in folder.iterdir()} - {"runs", MEDIA, ARTIFACT_FILES}
    if len(top) != 1:
        return not any(folder.iterdir())
    table, to = folder / min(top), min(top).removeprefix("runs.")
    items = [item for item in folder.rglob("*") if item.is_symlink() or not item.is_dir()]
    names = (item.relative_to(folder).as_posix() for item in items if item != table)
    plain = table.is_file() and all(item.is_file() and not item.is_symlink() for item in items)
    found = [_FILE.fullmatch(name) for name in names]
    return to in WRITERS and plain and all(match and match[1] in (to, None) for match in found)


@dataclass(frozen=True, slots=True)
class _Export:
    """An export that is being written.

    Attributes:
        folder: Its folder.
        to: The format.
        raw: Whether texts in CSV stay as they are.
        engine: Where the files of runs are written.
    """

    folder: Path
    to: Format
    raw: bool
    engine: Engine

    def write(self, runs: Sequence[Run]) -> None:
        """Write the files of runs that are in path order."""
        folders = member_folders(run.path for run in runs)
        self.folder.mkdir()
        order = bundle_order(run.bundle_id for run in runs)
        ordered = [runs[position] for position in order]
        self._write_runs(ordered, order, folders)
        plan = plan_columns(ordered, self.engine)
        writer = RunFilesWriter(self.folder, self.to, self.raw, plan.histories, plan.systems)
        items = [(run, (folders[run.path], keys)) for run, keys in zip(ordered, plan.keys, strict=True)]
        for _ in map_runs_in_parts(writer.write, items, self.engine):
            pass
        with _decoding_all(runs):
            if any(run.files or run.artifacts is not None for run in ordered):
                contents = export_artifacts(runs, folders, self.folder)
                export_media(runs, folders, self.folder, contents)

    def _write_runs(self, runs: Sequence[Run], order: Sequence[int], folders: dict[RunPath, str]) -> None:
        """Write the table of runs.

        Args:
            runs: The runs as they are read, bundle by bundle.
            order: The row of each run in the table.
            folders: Their folders in the export.
        """
        file = self.folder / f"runs.{self.to}"
        optional = frozenset(name for run in runs for name in run.optional_fields)
        schema = _TABLES[self.to]
        for name in OPTIONAL:
            if name in optional:
                schema = schema.append(pa.field(name, pa.string()))
        if self.to == "ndjson":
            lines = (f"{canonical_text(_run_object(run, folders[run.path]))}\n" for run in runs)
            with file.open("w", encoding="utf-8", newline="\n") as out:
                out.writelines(put_back(order, lines))
            return
        groups = (runs[start : start + _RUNS_AT_ONCE] for start in range(0, len(runs), _RUNS_AT_ONCE))
        tables = (_run_table(group, folders, schema) for group in groups)
        with open_writer(self.to, raw=self.raw)(file, schema) as write:
            for table in tables if order == range(len(runs)) else _sorted(tables, order):
                write(table)


def _sorted(tables: Iterable[pa.Table], order: Sequence[int]) -> Iterator[pa.Table]:
    """Return the rows of tables in another order, as many together as before.

    Args:
        tables: The tables.
        order: The row that each of their rows will be.
    """
    found = pa.concat_tables(tables).take(pa.array(np.argsort(order)))
    return (found.slice(start, _RUNS_AT_ONCE) for start in range(0, len(found), _RUNS_AT_ONCE))


@contextmanager
def _decoding_all(runs: Sequence[Run]) -> Iterator[None]:
    """Report rows and artifacts that cannot be decoded as damage of the bundles of runs."""
    try:
        yield
    except DataError as exc:
        path = runs[0].bundle_path
        raise BundleDamagedError(f"{path!r} is damaged: {exc.message}", path=path) from exc


def _run_fields(run: Run, folder: str) -> dict[str, Any]:
    """Return the columns of `runs.parquet` for a run, and the folder of its files."""
    spans = {"rows": run.rows, "first_step": run.first_step, "last_step": run.last_step}
    return info_fields(run.info) | coverage_fields(run.coverage) | spans | {_FOLDER: folder}


def _run_object(run: Run, folder: str) -> dict[str, Any]:
    documents: dict[str, Any] = {name: getattr(run, name) for name in DOCUMENTS}
    swept = run.sweep_config
    if swept is not None:
        documents[SWEEP_CONFIG] = swept
    return _run_fields(run, folder) | documents


_PLAIN_RUNS = SCHEMA.append(pa.field(_FOLDER, pa.string(), nullable=False))
_TABLES = {
    "parquet": _PLAIN_RUNS,
    # CSV has no lists, so tags are a JSON list.
    "csv": _PLAIN_RUNS.set(_PLAIN_RUNS.get_field_index("tags"), pa.field("tags", pa.string())),
    "ndjson": _PLAIN_RUNS,
}


def _run_table(runs: Iterable[Run], folders: dict[RunPath, str], schema: pa.Schema) -> pa.Table:
    records = [_run_fields(run, folders[run.path]) for run in runs]
    if schema.field("tags").type == pa.string():
        records = [record | {"tags": canonical_text(record["tags"])} for record in records]
    return pa.Table.from_pylist(records, schema=schema)
