"""Local W&B folders -> runs of a bundle.

Every start of a run has a folder and a log of its own; the logs of one run id
are the *segments* of one run, in time order. Segments that go on are merged by
the law of a history (of two rows of a step, the later wins). A segment *starts
over* when its first step is not after the first step of the attempt before:
a run that was restarted under its old id without its old steps. Its rows are
kept, behind the former ones, with their steps offset, and told; segments that
come after it are counted to the same attempt.

The latest segment's state and summary are the run's, and its config; keys that
only former segments had stay. Rows are read once, a batch at a time, to files
in a scratch folder, and mapped into memory from there.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pull_logs.errors import DamageError, DataError, FormatTooNewError
from pull_logs.rows.canonical import STEP, canon_row
from pull_logs.rows.merge import Lane
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.sources.wandb_folders.find import find_logs, start_order
from pull_logs.sources.wandb_folders.run_log import RunLog, read_run_log, run_id_of

if TYPE_CHECKING:
    import pyarrow as pa

    from pull_logs.snapshot import BundleRun, SealReport

OnRestart = Literal["offset", "overwrite", "error"]
"""What becomes of a segment that starts over: kept behind the former, put in its place, refused."""

DEFAULT_ENTITY = "local"
DEFAULT_PROJECT = "uncategorized"
"""Where a run belongs whose log names none; the project is W&B's own default."""

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\#?%:]")


@dataclass(frozen=True, slots=True)
class LocalImport:
    """Runs read from local folders.

    Attributes:
        runs: The runs, in path order; their rows lie in the scratch folder.
        notes: What was damaged, offset, merged or left out, a sentence each.
    """

    runs: tuple[BundleRun, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import wrote.

    Attributes:
        seal: The bundle.
        notes: As `LocalImport.notes`.
    """

    seal: SealReport
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Segment:
    """A log, its rows in files, and what is added to their steps."""

    log: RunLog
    files: tuple[Path, ...]
    offset: int = 0

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and last step in the run; None without rows."""
        if self.log.first_step is None or self.log.last_step is None:
            return None
        return self.log.first_step + self.offset, self.log.last_step + self.offset


def import_runs(
    paths: Sequence[Path],
    *,
    out: Path,
    entity: str | None = None,
    project: str | None = None,
    on_restart: OnRestart = "offset",
) -> ImportReport:
    """Write the runs of local W&B folders to a bundle.

    Args:
        paths: Run folders, `wandb/` folders, folders that contain one, or logs.
        out: The bundle to write.
        entity: The entity of all runs; without it the one in the log, else `local`.
        project: The project of all runs; without it the one in the log, else `uncategorized`.
        on_restart: What to do with a segment that starts over.

    Raises:
        FileMissingError: A path does not exist, there is no run in it, or no folder to write to.
        DataError: A run starts over and `on_restart` is `error`, or a log names an impossible path.
        DamageError: None of the files is a W&B log.
        PullLogsError: The disk is full or does not take the file.
    """
    from pull_logs.snapshot import disk_errors, write_bundle

    with (
        disk_errors(out, hint="free some space and try again; nothing was changed"),
        tempfile.TemporaryDirectory(prefix=f".{out.name}.rows-", dir=out.parent) as scratch,
    ):
        found = read_run_dirs(
            paths, scratch=Path(scratch), entity=entity, project=project, on_restart=on_restart
        )
        seal = write_bundle(out, found.runs)
    return ImportReport(seal, found.notes)


def read_run_dirs(
    paths: Sequence[Path],
    *,
    scratch: Path,
    entity: str | None = None,
    project: str | None = None,
    on_restart: OnRestart = "offset",
) -> LocalImport:
    """Read the runs of local W&B folders into memory and a scratch folder.

    Args:
        paths: As for `import_runs`.
        scratch: An empty folder for the rows. It must outlive the runs.
        entity: As for `import_runs`.
        project: As for `import_runs`.
        on_restart: As for `import_runs`.

    Raises:
        FileMissingError: As for `import_runs`.
        DataError: As for `import_runs`.
        DamageError: As for `import_runs`.
    """
    logs = find_logs(paths)
    notes = list(logs.notes)
    segments = _read_segments(logs.files, scratch)
    runs = []
    for path, group in sorted(_group(segments, entity=entity, project=project).items()):
        told: list[str] = []
        runs.append(_assemble(path, _place(path, group, on_restart, told), told))
        notes += (f"{path}: {note}" for note in told)
    return LocalImport(tuple(runs), tuple(notes))


def _read_segments(files: Sequence[Path], scratch: Path) -> list[_Segment]:
    segments, foreign = [], []
    for number, file in enumerate(files):
        folder = scratch / f"{number:06d}"
        folder.mkdir()
        sink = _Spill(folder)
        try:
            log = read_run_log(file, sink=sink)
        except FormatTooNewError:
            raise
        except DamageError as exc:
            foreign.append(exc)
            log = RunLog(file=file, run_id=run_id_of(file), reason=exc.message, notes=(exc.message,))
        segments.append(_Segment(log, tuple(sink.files)))
    if len(foreign) == len(files):
        raise foreign[0]
    return sorted(segments, key=lambda segment: start_order(segment.log.file, segment.log.started_at))


class _Spill:
    """Writes each batch of rows to a file of its own, in bundle shape.

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
    """The rows in bundle shape, and how many no history can hold."""
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


def _group(
    segments: Iterable[_Segment], *, entity: str | None, project: str | None
) -> dict[RunPath, list[_Segment]]:
    """The segments of each run, in the order given."""
    placed: dict[RunPath, list[_Segment]] = {}
    homes: dict[str, set[tuple[str | None, str | None]]] = {}
    segments = list(segments)
    for segment in segments:
        if segment.log.project:
            homes.setdefault(segment.log.run_id, set()).add((segment.log.entity, segment.log.project))
    for segment in segments:
        log = segment.log
        known = homes.get(log.run_id, set())
        # A log that never got as far as naming its project belongs to the run of its id, if there is one.
        named = next(iter(known)) if not log.project and len(known) == 1 else (log.entity, log.project)
        path = RunPath(
            entity or named[0] or DEFAULT_ENTITY, project or named[1] or DEFAULT_PROJECT, log.run_id
        )
        _check_path(path, log.file)
        placed.setdefault(path, []).append(segment)
    return placed


def _check_path(path: RunPath, file: Path) -> None:
    parts = (("entity", path.entity), ("project", path.project), ("run id", path.run_id))
    for what, part in parts:
        if not part or part in (".", "..") or _FORBIDDEN.search(part):
            raise DataError(
                f"{str(file)!r} gives the {what} {part!r}, which no run path can hold",
                hint="choose others with --entity and --project",
            )


def _place(
    path: RunPath, segments: Sequence[_Segment], on_restart: OnRestart, told: list[str]
) -> list[_Segment]:
    """The segments with their offsets; without those that were overwritten."""
    placed: list[_Segment] = []
    attempt_first: int | None = None
    last: int | None = None
    offset = 0
    for segment in segments:
        folder, first = segment.log.file.parent.name, segment.log.first_step
        told += (f"{folder}: {note}" for note in segment.log.notes)
        if first is None:
            placed.append(replace(segment, offset=offset))
            continue
        over = attempt_first is not None and first <= attempt_first
        if attempt_first is None or over:
            attempt_first = first
        if over and last is not None:
            if on_restart == "error":
                raise DataError(
                    f"run {str(path)!r} starts over at step {first} in {folder!r}",
                    hint="keep both with --on-restart offset, or the later with --on-restart overwrite",
                )
            if on_restart == "overwrite":
                dropped = sum(former.log.rows for former in placed)
                told.append(f"{folder}: starts over at step {first}; {dropped} rows before it are left out")
                placed = []
                last = None
            else:
                offset = last + 1 - first
                told.append(f"{folder}: starts over at step {first}")
        now = replace(segment, offset=offset)
        _tell_place(now, last, told)
        placed.append(now)
        last = _greatest(last, now)
    return placed


def _tell_place(segment: _Segment, last: int | None, told: list[str]) -> None:
    if segment.span is None or last is None:
        return
    folder, (first, end) = segment.log.file.parent.name, segment.span
    if segment.offset:
        told.append(
            f"{folder}: its steps {segment.log.first_step} to {segment.log.last_step}"
            f" are kept as {first} to {end}"
        )
    if first <= last:
        told.append(
            f"{folder}: steps {first} to {min(last, end)} may be logged twice; of two values the later is kept"
        )


def _greatest(last: int | None, segment: _Segment) -> int | None:
    spans = [] if segment.span is None else [segment.span[1]]
    return max([*spans, *([] if last is None else [last])], default=None)


def _assemble(path: RunPath, segments: Sequence[_Segment], told: list[str]) -> BundleRun:
    from pull_logs.rows.batches import system_batch_from_rows
    from pull_logs.snapshot import BundleRun

    if len(segments) > 1:
        told.append(f"put together from {len(segments)} folders")
    reasons = [
        f"{segment.log.file.parent.name}: {segment.log.reason}" for segment in segments if segment.log.reason
    ]
    last: int | None = None
    for segment in segments:
        last = _greatest(last, segment)
    system_rows = [row for segment in segments for row in segment.log.system_rows]
    return BundleRun(
        info=_run_info(path, segments),
        coverage=Coverage(
            received_rows=sum(segment.log.rows for segment in segments),
            received_last_step=last,
            complete=not reasons,
            reason="; ".join(reasons),
        ),
        batches=_batches(segments),
        system=system_batch_from_rows(system_rows) if system_rows else None,
    )


def _run_info(path: RunPath, segments: Sequence[_Segment]) -> RunInfo:
    """What is known of the run: of each value, the latest segment's that has one."""
    logs = [segment.log for segment in segments]
    # A log without a record tells nothing, neither how the run ended.
    latest = next((log for log in reversed(logs) if log.started_at or log.rows), logs[-1])

    def known(name: str) -> Any:
        return next((value for log in reversed(logs) if (value := getattr(log, name))), None)

    def merged(name: str) -> dict[str, Any]:
        return {key: value for log in logs for key, value in getattr(log, name).items()}

    summary = merged("summary")
    told = next((segment for segment in reversed(segments) if STEP in segment.log.summary), None)
    if told is not None and isinstance(step := told.log.summary[STEP], int):
        summary[STEP] = step + told.offset
    return RunInfo(
        path=path,
        name=known("name") or path.run_id,
        state=latest.state,
        tags=known("tags") or (),
        group=known("group"),
        job_type=known("job_type"),
        sweep=known("sweep"),
        notes=known("comment"),
        commit=known("commit"),
        created_at=next((log.started_at for log in logs if log.started_at), None),
        heartbeat_at=known("ended_at"),
        config=merged("config"),
        config_internal=_merged_internal([log.config_internal for log in logs]),
        summary=summary,
        system_summary=merged("system_summary"),
        metadata=known("metadata") or {},
    )


def _merged_internal(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """W&B's own part of the config; of its sections too, one that the latest segment lacks stays."""
    merged: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            known = merged.get(key)
            if isinstance(known, Mapping) and isinstance(value, Mapping):
                merged[key] = {**known, **value}
            else:
                merged[key] = value
    return merged


def _batches(segments: Sequence[_Segment]) -> Callable[[], Iterator[pa.Table]]:
    def batches() -> Iterator[pa.Table]:
        from pull_logs.rows.merge import LanedBatch, merge_batches

        return merge_batches(
            [
                LanedBatch(lane=Lane.LIVE, batch=_load(file, offset=segment.offset))
                for segment in segments
                for file in segment.files
            ]
        )

    return batches


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
        raise DataError(f"a step offset by {offset} is no whole number of 64 bits") from exc
    place = batch.schema.get_field_index(STEP)
    return batch.set_column(place, batch.schema.field(place), steps)
