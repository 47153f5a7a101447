"""Neptune as a source: the runs of a folder that neptune-exporter wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pull_logs.errors import FileMissingError
from pull_logs.runs import Coverage, RunInfo
from pull_logs.snapshot import BundleRun
from pull_logs.sources.neptune.exported_runs import ExportedRun, Value, find_exports, is_export
from pull_logs.sources.point_rows import column_name, renamed_note
from pull_logs.sources.row_batches import merged_batches, with_runtime
from pull_logs.sources.stored_rows import store_rows
from pull_logs.sources.times import utc_time
from pull_logs.sources.tracked_runs import Origin, ReadOptions, TrackedRun
from pull_logs.suggestions import counted, joined

if TYPE_CHECKING:
    from pull_logs.sources.stored_rows import StoredRows

NAME = "neptune"
STEP_COLUMN = f"{NAME}/step"
"""The column with the steps as they were logged, of a run whose steps are not all integers."""

_SYSTEM = "sys/"
"""What the paths of Neptune's own attributes begin with."""

_SERIES = frozenset({"float_series", "string_series", "histogram_series"})
_FILES = frozenset({"file", "file_series"})
_PARAMETERS = frozenset({"float", "int", "string", "bool", "datetime", "string_set"})


@dataclass(frozen=True, slots=True)
class NeptuneRun:
    """A run of an export, not yet read."""

    run: ExportedRun

    def read(self, scratch: Path, options: ReadOptions) -> TrackedRun:
        """Read it; see `FoundRun.read`.

        Raises:
            DamageError: A file cannot be read.
            DataError: It has a value that no run can hold.
        """
        logged = _Logged.of(self.run.values())
        started = min(logged.times, default=None)
        raw = with_runtime(logged.rows(), started)
        rows = store_rows(merged_batches(raw), scratch / "rows")
        info = self._info(logged, rows, started, options)
        reason = f"part {joined(list(map(str, self.run.missing)))} is missing" if self.run.missing else ""
        coverage = Coverage(
            received_rows=rows.rows,
            received_last_step=rows.last_step,
            complete=not reason,
            reason=reason,
        )
        run = BundleRun(info=info, coverage=coverage, batches=rows.batches)
        return TrackedRun(run, tuple(f"{info.path}: {note}" for note in logged.notes()))

    def _info(
        self, logged: _Logged, rows: StoredRows, started: float | None, options: ReadOptions
    ) -> RunInfo:
        own = {
            name.removeprefix(_SYSTEM): value for name, value in logged.parameters.items() if _is_own(name)
        }
        group, tags, created = own.get("name"), own.get("tags"), own.get("creation_time")
        return RunInfo(
            path=options.path(self.run.project.rpartition("/")[2], self.run.run_id),
            name=self.run.run_id,
            state="failed" if own.get("failed") is True else "finished",
            group=group if isinstance(group, str) and group else None,
            tags=tuple(sorted(tags)) if isinstance(tags, list) else (),
            created_at=created if isinstance(created, str) else utc_time(started),
            heartbeat_at=utc_time(max(logged.times, default=None)),
            config={name: value for name, value in logged.parameters.items() if not _is_own(name)},
            summary=rows.last,
            metadata=Origin(
                NAME, None, self.run.run_id, {"project": self.run.project, "attributes": own}
            ).as_metadata(),
        )


@dataclass(frozen=True, slots=True)
class _Logged:
    """What a run logged.

    Attributes:
        parameters: Single values, by their paths.
        points: Values of series.
        left_out: The number of values of each type that a run has no form for.
        empty: The number of values of series that the export has no value for, as it has none for NaN.
    """

    parameters: Mapping[str, Any]
    points: Sequence[Value]
    left_out: Mapping[str, int]
    empty: int = 0

    @classmethod
    def of(cls, values: Iterable[Value]) -> _Logged:
        parameters: dict[str, Any] = {}
        points: list[Value] = []
        left_out = Counter[str]()
        empty = 0
        for value in values:
            if value.kind in _PARAMETERS:
                # The exporter writes a row without a value for each attribute that other runs have.
                if value.value is not None:
                    parameters[value.path] = _parameter(value.value)
            elif value.kind in _SERIES and value.step is not None:
                points.append(value)
                empty += value.value is None
            else:
                left_out["file" if value.kind in _FILES else value.kind] += 1
        return cls(parameters, points, left_out, empty)

    @property
    def times(self) -> list[float]:
        """The times of the values of series."""
        return [point.time for point in self.points if point.time is not None]

    @property
    def scale(self) -> int:
        """The least power of ten that makes all steps integers."""
        return int(10 ** max((_places(_step(point)) for point in self.points), default=0))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield one row per step; of several values of a metric it has the latest."""
        scale = self.scale
        ordered = sorted(self.points, key=lambda point: (_step(point), point.time or 0))
        for step, points in groupby(ordered, key=_step):
            row: dict[str, Any] = {"_step": int(step * scale)}
            for point in points:
                row[column_name(point.path, NAME)] = _cell(point)
                row |= {} if point.time is None else {"_timestamp": point.time}
            yield {**row, STEP_COLUMN: float(step)} if scale > 1 else row

    def notes(self) -> list[str]:
        """Return what was left out, repeated or changed."""
        seen = Counter((point.path, point.step) for point in self.points)
        repeated = sum(count - 1 for count in seen.values())
        notes = renamed_note({column_name(point.path, NAME) for point in self.points}, NAME)
        if repeated:
            notes.append(
                f"{counted(repeated, 'value')} of {len(self.points)} have the metric and step of a later one,"
                " which is kept"
            )
        if self.empty:
            notes.append(f"{counted(self.empty, 'value')} of series are empty in the export, as NaN is there")
        if (scale := self.scale) > 1:
            notes.append(
                f"steps are multiplied by {scale}, since not all are integers; {STEP_COLUMN} has them"
            )
        for kind, count in sorted(self.left_out.items()):
            notes.append(f"{counted(count, f'value of type {kind}', f'values of type {kind}')} left out")
        return notes


def _is_own(path: str) -> bool:
    return path.startswith(_SYSTEM)


def _parameter(value: Any) -> Any:
    """Return a single value as a config holds it."""
    return utc_time(value.timestamp()) if isinstance(value, datetime) else value


def _cell(point: Value) -> Any:
    """Return a value of a series as a cell; a histogram in the form of W&B's."""
    if point.kind != "histogram_series" or not isinstance(point.value, dict):
        return point.value
    return {"_type": "histogram", "bins": point.value["edges"], "values": point.value["values"]}


def _step(point: Value) -> Decimal:
    return point.step or Decimal(0)


def _places(step: Decimal) -> int:
    """Return the number of digits after the point that a step needs."""
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


class Neptune:
    """The kind of source; see `Tracker`."""

    name = NAME

    def recognizes(self, location: str) -> bool:
        """Return whether there is a file of an export at a path, or below it."""
        if "://" in location:
            return False
        path = Path(location)
        files = path.rglob("*_part_*.parquet") if path.is_dir() else [path]
        return any(map(is_export, files))

    def find(self, location: str) -> Sequence[NeptuneRun]:
        """Return the runs of an export.

        Raises:
            FileMissingError: There is none.
            DamageError: A file cannot be read.
        """
        found = [NeptuneRun(run) for run in find_exports(Path(location))]
        if not found:
            raise FileMissingError(
                f"no run of Neptune in {location!r}",
                hint="name the folder that `neptune-exporter export --data-path` wrote, or a file of it",
            )
        return found
