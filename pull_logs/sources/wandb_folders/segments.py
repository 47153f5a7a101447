"""The segments of runs: one log per start of a run, its rows in scratch files, and its offset of steps.

The logs of one run id are the segments of one run, in order of time. A segment starts over if its first
step is not after the first step of the attempt before it: the run was restarted under its old id without its
old steps. `arrange` keeps such a segment after the earlier ones, with its steps offset, or lets it replace
them. Later segments belong to the same attempt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pull_logs.errors import DamageError, DataError, FormatTooNewError
from pull_logs.rows.canonical import STEP, canon_row
from pull_logs.runs import RunPath
from pull_logs.sources.wandb_folders.find import start_order
from pull_logs.sources.wandb_folders.run_log import RunLog, read_run_log, run_id_of

if TYPE_CHECKING:
    import pyarrow as pa

OnRestart = Literal["offset", "overwrite", "error"]
"""How to treat a segment that starts over: keep it after the others, replace them by it, or refuse it."""

DEFAULT_ENTITY = "local"
DEFAULT_PROJECT = "uncategorized"
"""Entity and project of a run whose log names none; the project is W&B's own default."""

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\#?%:]")


@dataclass(frozen=True, slots=True)
class Segment:
    """One log of a run.

    Attributes:
        log: The log without its rows.
        files: The files with its rows.
        offset: The number that is added to its steps.
    """

    log: RunLog
    files: tuple[Path, ...]
    offset: int = 0

    @property
    def folder(self) -> str:
        """The name of its run folder, for messages."""
        return self.log.file.parent.name

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and last step in the run; None without rows."""
        if self.log.first_step is None or self.log.last_step is None:
            return None
        return self.log.first_step + self.offset, self.log.last_step + self.offset

    def batches(self) -> Iterable[pa.Table]:
        """Read its rows, batch by batch, with their steps offset.

        Raises:
            DataError: An offset step does not fit into 64 bits.
        """
        return (_load(file, offset=self.offset) for file in self.files)


def _load(file: Path, *, offset: int) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    with pa.memory_map(str(file)) as source:
        batch = pa.ipc.open_file(source).read_all()
    if not offset:
        return batch
    try:
        steps = pc.add_checked(batch[STEP], offset)
    except pa.ArrowInvalid as exc:
        raise DataError(f"a step offset by {offset} does not fit into 64 bits") from exc
    index = batch.schema.get_field_index(STEP)
    return batch.set_column(index, batch.schema.field(index), steps)


def read_segments(files: Sequence[Path], scratch: Path) -> list[Segment]:
    """Read logs, each with its rows in a folder of `scratch`, and sort them by the time of their start.

    A file that is not a W&B log becomes an empty segment with a note, unless every file is one.

    Raises:
        FormatTooNewError: A log is of a later version.
        DamageError: None of the files is a W&B log.
    """
    segments, foreign = [], []
    for number, file in enumerate(files):
        folder = scratch / f"{number:06d}"
        folder.mkdir()
        sink = _BatchFiles(folder)
        try:
            log = read_run_log(file, sink=sink)
        except FormatTooNewError:
            raise
        except DamageError as exc:
            foreign.append(exc)
            log = RunLog(file=file, run_id=run_id_of(file), reason=exc.message, notes=(exc.message,))
        segments.append(Segment(log, tuple(sink.files)))
    if len(foreign) == len(files):
        raise foreign[0]
    return sorted(segments, key=lambda segment: start_order(segment.log.file, segment.log.started_at))


class _BatchFiles:
    """Writes each batch of rows to a file of its own, in the layout of a bundle.

    Attributes:
        files: The files so far.
    """

    def __init__(self, folder: Path) -> None:
        self.files: list[Path] = []
        self._folder = folder

    def __call__(self, rows: list[dict[str, Any]], /) -> int:
        import pyarrow as pa

        batch, refused = _batch(rows)
        file = self._folder / f"{len(self.files):06d}.arrow"
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_table(batch)
        self.files.append(file)
        return refused


def _batch(rows: list[dict[str, Any]]) -> tuple[pa.Table, int]:
    """Return the rows in the layout of a bundle, and how many of them no history can hold."""
    from pull_logs.rows.batches import batch_from_rows

    try:
        return batch_from_rows(rows), 0
    except DataError:
        kept = list(filter(_fits, rows))
        return batch_from_rows(kept), len(rows) - len(kept)


def _fits(row: dict[str, Any]) -> bool:
    try:
        canon_row(row)
    except DataError:
        return False
    return True


def group_segments(
    segments: Sequence[Segment], *, entity: str | None, project: str | None
) -> dict[RunPath, list[Segment]]:
    """Return the segments of each run, in the given order.

    Args:
        segments: The segments of all runs.
        entity: The entity of all runs; None uses the one in the log.
        project: The project of all runs; None uses the one in the log.

    Raises:
        DataError: A log names an entity, project or run id that no run path can have.
    """
    grouped: dict[RunPath, list[Segment]] = {}
    homes: dict[str, set[tuple[str | None, str | None]]] = {}
    for segment in segments:
        if segment.log.project:
            homes.setdefault(segment.log.run_id, set()).add((segment.log.entity, segment.log.project))
    for segment in segments:
        log = segment.log
        known = homes.get(log.run_id, set())
        # A log that ends before it names its project belongs to the only run with its id, if there is one.
        named = next(iter(known)) if not log.project and len(known) == 1 else (log.entity, log.project)
        path = RunPath(
            entity or named[0] or DEFAULT_ENTITY, project or named[1] or DEFAULT_PROJECT, log.run_id
        )
        _check_path(path, log.file)
        grouped.setdefault(path, []).append(segment)
    return grouped


def _check_path(path: RunPath, file: Path) -> None:
    parts = (("entity", path.entity), ("project", path.project), ("run id", path.run_id))
    for what, part in parts:
        if not part or part in (".", "..") or _FORBIDDEN.search(part):
            raise DataError(
                f"{str(file)!r} gives the {what} {part!r}, which no run path can hold",
                hint="choose others with --entity and --project",
            )


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The segments of one run, each with its offset.

    Attributes:
        segments: The segments that are kept.
        notes: What was damaged, offset or left out, one sentence each.
    """

    segments: tuple[Segment, ...]
    notes: tuple[str, ...]


def arrange(path: RunPath, segments: Sequence[Segment], on_restart: OnRestart) -> Arrangement:
    """Give each segment of a run its offset, and leave out those that were overwritten.

    Args:
        path: The run.
        segments: Its segments, in order of time.
        on_restart: How to treat a segment that starts over.

    Raises:
        DataError: A segment starts over and `on_restart` is `error`.
    """
    arranger = _Arranger(path, on_restart)
    for segment in segments:
        arranger.add(segment)
    return Arrangement(tuple(arranger.kept), tuple(arranger.notes))


class _Arranger:
    """The arrangement of the segments so far."""

    def __init__(self, path: RunPath, on_restart: OnRestart) -> None:
        self.kept: list[Segment] = []
        self.notes: list[str] = []
        self._path, self._on_restart = path, on_restart
        self._attempt_first: int | None = None
        self._last: int | None = None
        self._offset = 0

    def add(self, segment: Segment) -> None:
        """Add the next segment."""
        self.notes += (f"{segment.folder}: {note}" for note in segment.log.notes)
        first = segment.log.first_step
        if first is None:
            self.kept.append(replace(segment, offset=self._offset))
            return
        if self._attempt_first is None or first <= self._attempt_first:
            if self._last is not None:
                self._start_over(segment, first, self._last)
            self._attempt_first = first
        segment = replace(segment, offset=self._offset)
        self.notes += _step_notes(segment, self._last)
        self.kept.append(segment)
        self._last = last_step([segment], self._last)

    def _start_over(self, segment: Segment, first: int, last: int) -> None:
        if self._on_restart == "error":
            raise DataError(
                f"run {str(self._path)!r} starts over at step {first} in {segment.folder!r}",
                hint="keep both with --on-restart offset, or the later with --on-restart overwrite",
            )
        note = f"{segment.folder}: starts over at step {first}"
        if self._on_restart == "overwrite":
            dropped = sum(former.log.rows for former in self.kept)
            self.notes.append(f"{note}; {dropped} rows before it are left out")
            self.kept = []
            self._last = None
        else:
            self._offset = last + 1 - first
            self.notes.append(note)


def _step_notes(segment: Segment, last: int | None) -> list[str]:
    """Return notes about the offset of a segment, and about steps that earlier segments have too."""
    if segment.span is None or last is None:
        return []
    first, end = segment.span
    notes = []
    if segment.offset:
        steps = f"{segment.log.first_step} to {segment.log.last_step}"
        notes.append(f"{segment.folder}: its steps {steps} are kept as {first} to {end}")
    if first <= last:
        notes.append(
            f"{segment.folder}: steps {first} to {min(last, end)} may be logged twice; "
            "of two values the later is kept"
        )
    return notes


def last_step(segments: Iterable[Segment], last: int | None = None) -> int | None:
    """Return the greatest step of the segments, and of `last` if it is given; None without rows."""
    ends = [segment.span[1] for segment in segments if segment.span is not None]
    return max(ends if last is None else [*ends, last], default=None)
