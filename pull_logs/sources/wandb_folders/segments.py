"""The segments of runs: one log per start of a run, its rows in scratch files, and its offset of steps.

The logs of one run id are the segments of one run, in order of time. `arrangement` puts them together.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pull_logs.errors import DamageError, DataError, FormatTooNewError
from pull_logs.rows.canonical import STEP, canon_row
from pull_logs.runs import RunPath
from pull_logs.sources.wandb_folders.find import start_order
from pull_logs.sources.wandb_folders.last_values import LastRows, LastValue, SummaryPart
from pull_logs.sources.wandb_folders.run_log import RunLog, read_run_log, run_id_of

if TYPE_CHECKING:
    import pyarrow as pa

    from pull_logs.snapshot.format import ConsoleLine, ConsoleWriter, StoredConsole

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
        console: What it printed; None if it printed nothing.
        offset: The number that is added to its steps.
        until: The last step that is kept, before `offset` is added; None keeps all.
        inherited: Whether it is a segment of the run that this run was forked from.
        kept: The last value of each metric up to `until`; None if all rows are kept.
    """

    log: RunLog
    files: tuple[Path, ...]
    console: StoredConsole | None = None
    offset: int = 0
    until: int | None = None
    inherited: bool = False
    kept: Mapping[str, LastValue] | None = None

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

    def cut(self, until: int) -> Segment:
        """Return the segment with its rows up to a step (before `offset` is added).

        The log then has the counts, steps and last values of these rows, and its summary values are still
        those of all rows.
        """
        from pull_logs.rows.batches import batch_rows

        if self.log.last_step is None or self.log.last_step <= until:
            return self
        shorter = replace(self, until=until)
        steps: list[int] = []
        last = LastRows()
        for batch in replace(shorter, offset=0).batches():
            for row in batch_rows(batch):
                last.take(row)
                steps.append(row[STEP])
        log = replace(
            self.log,
            rows=len(steps),
            first_step=min(steps, default=None),
            last_step=max(steps, default=None),
        )
        return replace(shorter, log=log, kept=last.values())

    @property
    def summary_part(self) -> SummaryPart:
        """The summary of the log and what is needed to merge it with others."""
        log, kept = self.log, self.log.last_values if self.kept is None else self.kept
        return SummaryPart(log.summary, log.last_values, kept, log.derived, self.offset, self.inherited)

    def batches(self) -> Iterator[pa.Table]:
        """Read its rows, batch by batch, with their steps offset.

        Raises:
            DataError: An offset step does not fit into 64 bits.
        """
        try:
            for file in self.files:
                yield _load(file, offset=self.offset, until=self.until)
        except OverflowError as exc:
            raise DataError(
                f"{self.folder}: a step offset by {self.offset} does not fit into 64 bits",
                hint="import with --on-restart overwrite",
            ) from exc


def _load(file: Path, *, offset: int, until: int | None) -> pa.Table:
    """Read a file of rows, and offset their steps.

    Raises:
        OverflowError: A step does not fit into 64 bits.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    # pyarrow opens paths of UTF-8 only, so the file is opened and mapped here.
    with file.open("rb") as source:
        mapped = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
    batch = pa.ipc.open_file(pa.py_buffer(mapped)).read_all()
    if until is not None:
        batch = batch.filter(pc.less_equal(batch[STEP], until))
    if not offset:
        return batch
    # An offset can be larger than any step; its halves are not.
    half = offset // 2
    try:
        steps = pc.add_checked(pc.add_checked(batch[STEP], half), offset - half)
    except pa.ArrowInvalid as exc:
        raise OverflowError from exc
    index = batch.schema.get_field_index(STEP)
    return batch.set_column(index, batch.schema.field(index), steps)


def read_segments(
    files: Sequence[Path], scratch: Path, *, progress: Callable[[int, int], None] | None = None
) -> list[Segment]:
    """Read logs, each with its rows in a folder of `scratch`, and sort them by the time of their start.

    A file that is not a W&B log becomes an empty segment with a note, unless every file is one.

    Args:
        files: The logs.
        scratch: An empty folder.
        progress: Called with the number of logs that were read, and of all, before each and at the end.

    Raises:
        FormatTooNewError: A log is of a later version.
        DamageError: None of the files is a W&B log.
    """
    segments, foreign = [], []
    report = progress or (lambda _done, _total: None)
    for number, file in enumerate(files):
        report(number, len(files))
        folder = scratch / f"{number:06d}"
        folder.mkdir()
        sink, console = _BatchFiles(folder), _ConsoleFile(folder / "console")
        try:
            log = read_run_log(file, sink=sink, console=console.add)
        except FormatTooNewError:
            console.close()
            raise
        except DamageError as exc:
            foreign.append(exc)
            log = RunLog(file=file, run_id=run_id_of(file), reason=exc.message, notes=(exc.message,))
        segments.append(Segment(log, tuple(sink.files), console.close()))
    report(len(files), len(files))
    if len(foreign) == len(files):
        raise foreign[0]
    return sorted(segments, key=lambda segment: start_order(segment.log.file, segment.log.started_at))


class _ConsoleFile:
    """Compresses the lines that a segment printed into a file, which is created with the first line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._writer: ConsoleWriter | None = None

    def add(self, line: ConsoleLine) -> None:
        """Add a line."""
        from pull_logs.snapshot.format import ConsoleWriter

        if self._writer is None:
            self._file = self._path.open("wb")
            self._writer = ConsoleWriter(self._file)
        self._writer.add(line)

    def close(self) -> StoredConsole | None:
        """Return the lines; None if there are none."""
        if self._writer is None or self._file is None:
            return None
        from pull_logs.snapshot.format import StoredConsole

        with self._file:
            record = self._writer.close()
        return StoredConsole(record, lambda: self._path.open("rb"))


def joined_lines(segments: Iterable[Segment]) -> Iterator[ConsoleLine]:
    """Iterate over the lines of several segments, numbered as those of one console log."""
    from pull_logs.snapshot.format import read_lines

    first = 0
    for segment in segments:
        if segment.console is not None:
            for line in read_lines(segment.console.chunks(), segment.console.record):
                yield replace(line, number=first + line.number)
            first += segment.console.record.lines


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
        with file.open("wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
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


@dataclass(frozen=True, slots=True)
class Grouping:
    """The segments of each run.

    Attributes:
        runs: The segments by run, in the given order.
        notes: The logs that were joined with others although they do not name the entity, one sentence each.
    """

    runs: Mapping[RunPath, Sequence[Segment]]
    notes: tuple[str, ...]


def group_segments(segments: Sequence[Segment], *, entity: str | None, project: str | None) -> Grouping:
    """Return the segments of each run.

    A log that names no entity belongs to the run of its project and id whose entity another log names, if
    all such logs name the same. A log that ends before it names its project belongs to the only run of its
    id.

    Args:
        segments: The segments of all runs.
        entity: The entity of all runs; None uses the one in the log.
        project: The project of all runs; None uses the one in the log.

    Raises:
        DataError: A log names an entity, project or run id that no run path can have.
    """
    homes: dict[str, set[tuple[str | None, str | None]]] = {}
    for segment in segments:
        if segment.log.project:
            homes.setdefault(segment.log.run_id, set()).add((segment.log.entity, segment.log.project))
    grouped: dict[RunPath, list[Segment]] = {}
    notes: list[str] = []
    for segment in segments:
        log = segment.log
        named = _home(log, homes.get(log.run_id, set()))
        path = RunPath(
            entity or named[0] or DEFAULT_ENTITY, project or named[1] or DEFAULT_PROJECT, log.run_id
        )
        _check_path(path, log.file)
        if log.project and not log.entity and not entity and named[0]:
            notes.append(
                f"{path}: {segment.folder}: its log names no entity, and it was joined with {path}, "
                "which has the same project and id"
            )
        grouped.setdefault(path, []).append(segment)
    return Grouping(grouped, tuple(notes))


def _home(log: RunLog, homes: set[tuple[str | None, str | None]]) -> tuple[str | None, str | None]:
    """Return the entity and project of a log, from the logs of its run id if it does not name them."""
    if log.entity and log.project:
        return log.entity, log.project
    complete = {home for home in homes if home[0] and log.project in (None, home[1])}
    known = complete or {home for home in homes if log.project in (None, home[1])}
    return next(iter(known)) if len(known) == 1 else (log.entity, log.project)


def _check_path(path: RunPath, file: Path) -> None:
    parts = (("entity", path.entity), ("project", path.project), ("run id", path.run_id))
    for what, part in parts:
        if not part or part in (".", "..") or _FORBIDDEN.search(part):
            raise DataError(
                f"{str(file)!r} gives the {what} {part!r}, which no run path can hold",
                hint="choose others with --entity and --project",
            )


def last_step(segments: Iterable[Segment], last: int | None = None) -> int | None:
    """Return the greatest step of the segments, and of `last` if it is given; None without rows."""
    ends = [segment.span[1] for segment in segments if segment.span is not None]
    return max(ends if last is None else [*ends, last], default=None)
