"""The Parquet files of neptune-exporter: which runs they have, and what each of them logged.

A run is in one file or in several parts, `NAME_part_0.parquet` and so on, with one row per value. The columns
are those that the exporter documents (docs/other-trackers.md, "Neptune").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pull_logs.errors import DamageError, PullLogsError

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = frozenset({"project_id", "run_id", "attribute_path", "attribute_type", "step", "timestamp"})
"""The columns by which an export is recognized."""

VALUES: Mapping[str, str] = {
    "float": "float_value",
    "int": "int_value",
    "string": "string_value",
    "bool": "bool_value",
    "datetime": "datetime_value",
    "string_set": "string_set_value",
    "float_series": "float_value",
    "string_series": "string_value",
    "histogram_series": "histogram_value",
    "file": "file_value",
    "file_series": "file_value",
}
"""The column with the value, by the type of an attribute."""

_PART = re.compile(r"(?P<name>.+)_part_(?P<number>[0-9]+)\.parquet")


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a run.

    Attributes:
        path: The path of the attribute.
        kind: Its type, one of `VALUES`, or one that a later exporter has.
        step: The step, if it is of a series.
        time: When it was logged, in seconds since 1970.
        value: The value.
    """

    path: str
    kind: str
    step: Decimal | None
    time: float | None
    value: Any


@dataclass(frozen=True, slots=True)
class ExportedRun:
    """The files of a run.

    Attributes:
        project: The project, `workspace/project`.
        run_id: The id of the run.
        parts: Its files, in their order.
        missing: The numbers of parts that are not there.
    """

    project: str
    run_id: str
    parts: tuple[Path, ...]
    missing: tuple[int, ...]

    def values(self) -> Iterator[Value]:
        """Yield what it logged.

        Raises:
            DamageError: A file cannot be read, or has values of another run.
        """
        for part in self.parts:
            for batch in _batches(part):
                for row in batch.to_pylist():
                    if (row["project_id"], row["run_id"]) != (self.project, self.run_id):
                        raise DamageError(
                            f"{part.name!r} has values of run {row['run_id']!r} of {row['project_id']!r}"
                            f" beside those of {self.run_id!r} of {self.project!r}",
                            hint="export the project again into a new folder",
                        )
                    yield _value(row)


def is_export(file: Path) -> bool:
    """Return whether a file is a part of an export."""
    import pyarrow.parquet as pq

    from pull_logs.rows.arrow import ARROW_ERRORS

    if _PART.fullmatch(file.name) is None or not file.is_file():
        return False
    try:
        return set(pq.read_schema(file).names) >= COLUMNS
    except ARROW_ERRORS:
        return False


def find_exports(path: Path) -> list[ExportedRun]:
    """Return the runs of a file, or of the files of a folder at any depth, in the order of their names.

    Raises:
        DamageError: A file cannot be read.
    """
    files = sorted(path.rglob("*_part_*.parquet")) if path.is_dir() else [path]
    grouped: dict[tuple[Path, str], dict[int, Path]] = {}
    for file in files:
        if (match := _PART.fullmatch(file.name)) and is_export(file):
            grouped.setdefault((file.parent, match["name"]), {})[int(match["number"])] = file
    return [run for parts in grouped.values() if (run := _run_of(parts)) is not None]


def _run_of(parts: Mapping[int, Path]) -> ExportedRun | None:
    """Return the run of some parts; None if they have no values."""
    ordered = [parts[number] for number in sorted(parts)]
    missing = tuple(sorted(set(range(max(parts) + 1)) - parts.keys()))
    for part in ordered:
        for batch in _batches(part, columns=("project_id", "run_id")):
            for row in batch.slice(0, 1).to_pylist():
                return ExportedRun(str(row["project_id"]), str(row["run_id"]), tuple(ordered), missing)
    return None


def _batches(file: Path, *, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    from pull_logs.rows.arrow import open_parquet

    with _errors(file), open_parquet(file) as opened:
        yield from opened.iter_batches(columns=columns)


@contextmanager
def _errors(file: Path) -> Iterator[None]:
    """Make an error of pyarrow about a file one of this package."""
    from pull_logs.rows.arrow import ARROW_ERRORS

    try:
        yield
    except PullLogsError:
        raise
    except ARROW_ERRORS as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # of the machine; pyarrow also raises it for pages that it cannot decode
        raise DamageError(f"{file.name!r} cannot be read: {exc}", hint="export the run again") from exc


def _value(row: Mapping[str, Any]) -> Value:
    kind = str(row["attribute_type"])
    time = row["timestamp"]
    return Value(
        path=str(row["attribute_path"]),
        kind=kind,
        step=row["step"],
        time=None if time is None else time.timestamp(),
        value=row.get(VALUES.get(kind, "")),
    )
