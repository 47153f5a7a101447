"""The files of each run of an export: planned over all runs, then written run by run, on any engine.

The kinds of columns are decided over all runs before the first file is written, so that no file depends on
which worker writes it. Workers write into the folder of the export themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pull_logs.errors import BundleDamagedError, DataError, FileMissingError
from pull_logs.executors import Engine
from pull_logs.rows.batches import batch_rows
from pull_logs.rows.canonical import canonical_text
from pull_logs.snapshot.format import encode_line, file_members
from pull_logs.snapshot.operations.csv_text import escape_formulas, escape_name
from pull_logs.snapshot.operations.plain_columns import PlainPlan
from pull_logs.snapshot.read import Run
from pull_logs.snapshot.workers import RunItem, map_runs_in_parts

Format = Literal["parquet", "csv", "ndjson"]
Write = Callable[[pa.Table], None]


class RunKeys(NamedTuple):
    """The keys of a run.

    Attributes:
        history: Those of its rows.
        system: Those of its system metrics; None if there are none.
    """

    history: frozenset[str]
    system: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """The columns of all histories and of all system metrics.

    Attributes:
        histories: The kinds of the columns of histories.
        systems: The kinds of those of system metrics.
        keys: The keys of each run that was added.
    """

    histories: PlainPlan = field(default_factory=PlainPlan)
    systems: PlainPlan = field(default_factory=PlainPlan)
    keys: list[RunKeys] = field(default_factory=list)

    @classmethod
    def of(cls, runs: Sequence[RunItem]) -> ColumnPlan:
        """Return the plan of some runs: what a worker does."""
        plan = cls()
        for run, _ in runs:
            with decoding(run):
                history = plan.histories.add(run.schema(), run.batches(columns=()))
                system = run.system_table()
                keys = None if system is None else plan.systems.add(system.schema, [system])
            plan.keys.append(RunKeys(history, keys))
        return plan

    def join(self, other: ColumnPlan) -> None:
        """Add the runs of another plan, which come after those of this one."""
        self.histories.join(other.histories)
        self.systems.join(other.systems)
        known = dict(zip(self.keys, self.keys, strict=True))  # thousands of runs have the same keys
        self.keys.extend(known.setdefault(keys, keys) for keys in other.keys)


@dataclass(frozen=True, slots=True)
class RunFilesWriter:
    """Writes the files of runs.

    Attributes:
        out: The folder of the export.
        to: The format.
        raw: Whether texts in CSV stay as they are.
        histories: The columns of histories.
        systems: The columns of system metrics.
    """

    out: Path
    to: Format
    raw: bool
    histories: PlainPlan
    systems: PlainPlan

    def write(self, runs: Sequence[RunItem]) -> None:
        """Write the files of some runs: what a worker does.

        Args:
            runs: The runs, each with its folder in the export and its keys.

        Raises:
            BundleDamagedError: A run is damaged.
            FileMissingError: A worker does not see the folder of the export.
            OSError: A file cannot be written.
        """
        if not self.out.is_dir():
            raise FileMissingError(
                f"a worker does not find {str(self.out.parent.parent)!r}, where the export is written",
                hint="name a folder that every worker can write, with -o",
            )
        for run, (folder, keys) in runs:
            self._write_run(run, folder, keys)

    def _write_run(self, run: Run, folder: str, keys: RunKeys) -> None:
        path = self.out / folder
        path.mkdir(parents=True)
        with decoding(run):
            schema = self.histories.schema(keys.history, steps=True)
            self._write(path / "history", run.batches(), plan=self.histories, schema=schema)
            system = None if keys.system is None else run.system_table()
            if keys.system is not None and system is not None:
                schema = self.systems.schema(keys.system, steps=False)
                self._write(path / "system", [system], plan=self.systems, schema=schema)
        _write_console(run, path / "console.ndjson")
        _copy_files(run, folder, self.out)

    def _write(self, file: Path, batches: Iterable[pa.Table], *, plan: PlainPlan, schema: pa.Schema) -> None:
        with open_writer(self.to, raw=self.raw)(file.with_suffix(f".{self.to}"), schema) as write:
            for batch in batches:
                write(batch if self.to == "ndjson" else plan.table(batch, schema))


def plan_columns(runs: Sequence[Run], engine: Engine) -> ColumnPlan:
    """Decide the kinds of all columns.

    Args:
        runs: The runs.
        engine: Where their schemas are read.

    Raises:
        BundleDamagedError: A run is damaged.
        PullLogsError: A worker failed.
    """
    plan = ColumnPlan()
    for part in map_runs_in_parts(ColumnPlan.of, [(run, None) for run in runs], engine):
        plan.join(part)
    return plan


@contextmanager
def decoding(run: Run) -> Iterator[None]:
    """Report rows that cannot be decoded as damage of the bundle of the run."""
    try:
        yield
    except DataError as exc:
        path = run.bundle_path
        raise BundleDamagedError(
            f"{path!r} is damaged: run {str(run.path)!r}: {exc.message}", path=path
        ) from exc


def _write_console(run: Run, file: Path) -> None:
    """Write the lines that a run printed as JSON, whatever the format of the rows."""
    if run.console is not None:
        with file.open("wb") as out:
            out.writelines(map(encode_line, run.console))


def _copy_files(run: Run, folder: str, out: Path) -> None:
    """Write the logged files of a run under the names of the members of its bundle."""
    files = run.files
    members = file_members(folder, files) if files else {}
    for name, file in files.items():
        target = out / members[name]
        target.parent.mkdir(exist_ok=True)
        file.save(target, durable=False)


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


WRITERS: dict[Format, Callable[[Path, pa.Schema], AbstractContextManager[Write]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "ndjson": _ndjson,
}
"""What opens a file of each format, given the schema of its tables."""


def open_writer(to: Format, *, raw: bool) -> Callable[[Path, pa.Schema], AbstractContextManager[Write]]:
    """Return what opens a file of a format."""
    return _raw_csv if raw else WRITERS[to]
