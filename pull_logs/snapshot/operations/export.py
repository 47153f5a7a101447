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

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pull_logs.errors import BundleDamagedError, DataError, UsageError
from pull_logs.rows.batches import batch_rows
from pull_logs.rows.canonical import canonical_text
from pull_logs.runs import RunPath
from pull_logs.snapshot.disk import disk_errors, name_folder
from pull_logs.snapshot.format import (
    DOCUMENTS,
    MEDIA,
    OPTIONAL,
    SCHEMA,
    SWEEP_CONFIG,
    coverage_fields,
    encode_line,
    file_members,
    info_fields,
    member_folders,
)
from pull_logs.snapshot.operations.csv_text import escape_formulas, escape_name
from pull_logs.snapshot.operations.exported_media import ARTIFACT_FILES, export_artifacts, export_media
from pull_logs.snapshot.operations.plain_columns import PlainPlan
from pull_logs.snapshot.read import Run
from pull_logs.snapshot.write import check_output_path, temporary_folder

Format = Literal["parquet", "csv", "ndjson"]
Write = Callable[[pa.Table], None]

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
    runs: Iterable[Run], out: Path, *, to: Format, force: bool = False, raw: bool = False
) -> ExportReport:
    """Write runs as plain files.

    Args:
        runs: The runs of open bundles.
        out: The folder to create.
        to: The format of the files.
        force: Whether to replace `out` if it is an export; anything else is never replaced.
        raw: Whether to leave texts in CSV as they are that a spreadsheet would run as formulas.

    Raises:
        UsageError: `out` already exists, a run is given twice, or `raw` is given without CSV.
        BundleDamagedError: A bundle is damaged.
        PullLogsError: The disk is full, or a file cannot be written.
    """
    target = check_export_folder(out, force=force)
    held = sorted(runs, key=lambda run: run.path)
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
        _Export(folder, to, raw=raw).write(held)
        files = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
        name_folder(folder, target, old=temp / "old")
    rows = sum(run.rows for run in held)
    return ExportReport(path=out.absolute(), runs=len(held), rows=rows, files=len(files), bytes=sum(files))


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
    return to in _WRITERS and plain and all(match and match[1] in (to, None) for match in found)


class _Export:
    """An export that is being written."""

    def __init__(self, folder: Path, to: Format, *, raw: bool) -> None:
        self._folder, self._to = folder, to
        self._open = _raw_csv if raw else _WRITERS[to]

    def write(self, runs: Sequence[Run]) -> None:
        """Write the files of runs that are in path order."""
        folders = member_folders(run.path for run in runs)
        self._folder.mkdir()
        self._write_runs(runs, folders)
        histories, systems = PlainPlan(), PlainPlan()
        keys = [(_add_history(run, histories), _add_system(run, systems)) for run in runs]
        for run, (row_keys, system_keys) in zip(runs, keys, strict=True):
            folder = self._folder / folders[run.path]
            folder.mkdir(parents=True)
            with _decoding(run):
                schema = histories.schema(row_keys, steps=True)
                self._write(folder / "history", run.batches(), plan=histories, schema=schema)
                if system_keys is not None:
                    schema = systems.schema(system_keys, steps=False)
                    self._write(folder / "system", _system_batches(run), plan=systems, schema=schema)
            _write_console(run, folder / "console.ndjson")
            _copy_files(run, folders[run.path], self._folder)
        with _decoding_all(runs):
            contents = export_artifacts(runs, folders, self._folder)
            export_media(runs, folders, self._folder, contents)

    def _write(self, file: Path, batches: Iterable[pa.Table], *, plan: PlainPlan, schema: pa.Schema) -> None:
        with self._open(file.with_suffix(f".{self._to}"), schema) as write:
            for batch in batches:
                write(batch if self._to == "ndjson" else plan.table(batch, schema))

    def _write_runs(self, runs: Sequence[Run], folders: dict[RunPath, str]) -> None:
        file = self._folder / f"runs.{self._to}"
        schema = _TABLES[self._to]
        for name in OPTIONAL:
            if any(getattr(run, name) is not None for run in runs):
                schema = schema.append(pa.field(name, pa.string()))
        remaining = iter(runs)
        if self._to == "ndjson":
            with file.open("w", encoding="utf-8", newline="\n") as out:
                out.writelines(f"{canonical_text(_run_object(run, folders[run.path]))}\n" for run in runs)
            return
        with self._open(file, schema) as write:
            while group := list(islice(remaining, _RUNS_AT_ONCE)):
                write(_run_table(group, folders, schema))


def _write_console(run: Run, file: Path) -> None:
    """Write the lines that a run printed as JSON, whatever the format of the rows."""
    if run.console is not None:
        with file.open("wb") as out:
            out.writelines(map(encode_line, run.console))


def _copy_files(run: Run, folder: str, out: Path) -> None:
    """Write the logged files of a run under the names of the members of its bundle."""
    files = run.files
    for name, member in (file_members(folder, files) if files else {}).items():
        target = out / member
        target.parent.mkdir(exist_ok=True)
        files[name].save(target, durable=False)


def _add_history(run: Run, plan: PlainPlan) -> frozenset[str]:
    """Add the history of a run to a plan, and return its keys."""
    with _decoding(run):
        return plan.add(run.schema(), run.batches(columns=()))


def _add_system(run: Run, plan: PlainPlan) -> frozenset[str] | None:
    """Add the system metrics of a run to a plan, and return their keys; None if there are none."""
    with _decoding(run):
        system = run.system_table()
        return None if system is None else plan.add(system.schema, [system])


def _system_batches(run: Run) -> Iterator[pa.Table]:
    system = run.system_table()
    if system is not None:
        yield system


@contextmanager
def _decoding(run: Run) -> Iterator[None]:
    """Report rows that cannot be decoded as damage of the bundle of the run."""
    try:
        yield
    except DataError as exc:
        path = run.bundle_path
        raise BundleDamagedError(
            f"{path!r} is damaged: run {str(run.path)!r}: {exc.message}", path=path
        ) from exc


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


@contextmanager
def _parquet(file: Path, schema: pa.Schema) -> Iterator[Write]:
    # pyarrow opens paths of UTF-8 only, so the file is opened here.
    with file.open("wb") as sink, pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        yield writer.write_table


@contextmanager
def _csv(file: Path, schema: pa.Schema) -> Iterator[Write]:
    names = list(map(escape_name, schema.names))
    shown = pa.schema(list(zip(names, schema.types, strict=True)))
    with file.open("wb") as sink, pacsv.CSVWriter(sink, shown) as writer:
        yield lambda table: writer.write_table(escape_formulas(table))


@contextmanager
def _raw_csv(file: Path, schema: pa.Schema) -> Iterator[Write]:
    with file.open("wb") as sink, pacsv.CSVWriter(sink, schema) as writer:
        yield writer.write_table


@contextmanager
def _ndjson(file: Path, _: pa.Schema) -> Iterator[Write]:
    with file.open("w", encoding="utf-8", newline="\n") as out:

        def write(batch: pa.Table) -> None:
            out.writelines(f"{canonical_text(row)}\n" for row in batch_rows(batch))

        yield write


_WRITERS: dict[Format, Callable[[Path, pa.Schema], AbstractContextManager[Write]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "ndjson": _ndjson,
}
