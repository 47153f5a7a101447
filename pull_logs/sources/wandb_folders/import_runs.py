"""Import local W&B folders into a bundle.

Each start of a run has a folder and a log, which is a segment of the run (`segments`). Segments are merged
like other sources of one history: of two rows of a step, the later wins. State, summary and config of the
run are those of its latest segment; keys that only earlier segments have are kept. Rows are read once, batch
by batch, written to files in a scratch folder, and mapped into memory from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.sources.wandb_folders.arrangement import Arrangement, Arranger, OnRestart
from pull_logs.sources.wandb_folders.find import find_logs
from pull_logs.sources.wandb_folders.last_values import merge_summaries
from pull_logs.sources.wandb_folders.run_log import RunLog
from pull_logs.sources.wandb_folders.segments import (
    Segment,
    group_segments,
    joined_lines,
    last_step,
    read_segments,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from pull_logs.snapshot import ArtifactSelection, Bundle, BundleRun, FileSelection, SealReport
    from pull_logs.snapshot.format import StoredConsole
    from pull_logs.sources.wandb_folders.logged_artifacts import LoggedRun


@dataclass(frozen=True, slots=True)
class LocalImport:
    """Runs read from local folders.

    Attributes:
        runs: The runs, in path order; their rows are in the scratch folder.
        notes: What was damaged, offset, merged or left out, one sentence each.
    """

    runs: tuple[BundleRun, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The result of an import.

    Attributes:
        seal: The bundle that was written.
        notes: See `LocalImport.notes`.
    """

    seal: SealReport
    notes: tuple[str, ...]


def import_runs(
    paths: Sequence[Path],
    *,
    out: Path,
    entity: str | None = None,
    project: str | None = None,
    on_restart: OnRestart = "offset",
    files: FileSelection | None = None,
    artifacts: ArtifactSelection | None = None,
    follow_links: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Write the runs of local W&B folders to a bundle.

    Args:
        paths: Run folders, `wandb/` folders, folders that contain one, or logs.
        out: The bundle to write.
        entity: The entity of all runs; None uses the one in the log, else `local`.
        project: The project of all runs; None uses the one in the log, else `uncategorized`.
        on_restart: How to treat a segment that starts over.
        files: The files of the run folders to copy; None copies none.
        artifacts: Whether the artifacts that the runs logged are taken, and the bytes of their files; None
            takes none.
        follow_links: Whether files that are symbolic links are copied; otherwise they are reported.
        force: Whether to replace what is not a bundle, or a bundle that has other runs or metrics.
        progress: Called with the number of logs that were read, and of all.

    Raises:
        UsageError: `out` cannot be written or must not be replaced.
        FileMissingError: A path does not exist or has no run in it, or the folder of `out` does not exist.
        DataError: A run starts over and `on_restart` is `error`, or a log names an impossible path.
        DamageError: None of the files is a W&B log.
        PullLogsError: The disk is full, or the bundle cannot be written.
    """
    from pull_logs.snapshot import disk_errors, open_bundle, temporary_folder, write_bundle
    from pull_logs.snapshot.write import check_bundle_output

    target = check_bundle_output(out, force=force)
    with (
        disk_errors(out, hint="free some space and try again; nothing was changed"),
        temporary_folder(target.parent) as scratch,
    ):
        found = read_run_dirs(
            paths,
            scratch=scratch,
            entity=entity,
            project=project,
            on_restart=on_restart,
            files=files,
            artifacts=artifacts,
            follow_links=follow_links,
            progress=progress,
        )
        seal = write_bundle(out, found.runs, force=force)
    with open_bundle(out) as bundle:
        pointers = tuple(pointer_notes(bundle))
    return ImportReport(seal, (*found.notes, *pointers))


def pointer_notes(bundle: Bundle) -> Iterator[str]:
    """Yield which values of each run of a bundle point to files that it does not have."""
    from pull_logs.rows.file_pointers import count_pointers, pointers_text

    for run in bundle.runs():
        if not count_pointers(run.batches(columns=()), available=run.files.keys()):
            continue
        media = [item for item in run.media() if item.in_artifact]
        held = {*run.files, *(item.name for item in media if item.file is not None)}
        of_run = held | {item.name for item in media}
        missing = count_pointers(run.batches(columns=()), available=of_run)
        in_artifacts = count_pointers(run.batches(columns=()), available=held) - missing
        for found, hint in ((missing, _COPIES), (in_artifacts, _IN_ARTIFACTS)):
            if found:
                yield f"{run.path}: the bundle lacks the files of {pointers_text(found)}; {hint}"


_COPIES = "`pull-logs import --media` copies them from the folder of the run"
_IN_ARTIFACTS = "they are files of artifacts that the bundle lacks, see `--artifacts`"


def read_run_dirs(
    paths: Sequence[Path],
    *,
    scratch: Path,
    entity: str | None = None,
    project: str | None = None,
    on_restart: OnRestart = "offset",
    files: FileSelection | None = None,
    artifacts: ArtifactSelection | None = None,
    follow_links: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> LocalImport:
    """Read the runs of local W&B folders into memory and a scratch folder.

    Args:
        paths: See `import_runs`.
        scratch: An empty folder for the rows and files. It must outlive the runs.
        entity: See `import_runs`.
        project: See `import_runs`.
        on_restart: See `import_runs`.
        files: See `import_runs`.
        artifacts: See `import_runs`.
        follow_links: See `import_runs`.
        progress: See `import_runs`.

    Raises:
        FileMissingError: See `import_runs`.
        DataError: See `import_runs`.
        DamageError: See `import_runs`.
    """
    from pull_logs.snapshot.read import pointed_names
    from pull_logs.sources.wandb_folders.logged_artifacts import read_artifacts
    from pull_logs.sources.wandb_folders.run_files import copy_files

    logs = find_logs(paths)
    notes = list(logs.notes)
    grouped = group_segments(
        read_segments(logs.files, scratch, progress=progress), entity=entity, project=project
    )
    notes += grouped.notes
    arranger = Arranger(grouped.runs, on_restart)
    runs: list[BundleRun] = []
    logged: list[LoggedRun] = []
    for path in sorted(grouped.runs):
        arranged = arranger.arrange(path)
        console = _console(arranged.own, scratch / f"{len(runs):06d}.console")
        run = _bundle_run(path, arranged, console)
        if files is not None:
            folder = scratch / f"{len(runs):06d}.files"
            pointed = pointed_names(files, run.batches(), run.info.summary) if files.needs_rows else ()
            copied = copy_files(arranged.own, files, folder, pointed=pointed, follow_links=follow_links)
            run = replace(run, files=copied.files)
            notes += (f"{path}: {note}" for note in copied.notes)
        runs.append(run)
        if artifacts is not None:
            logged.append(_logged_artifacts(run, arranged))
        notes += (f"{path}: {note}" for note in arranged.notes)
        if len(arranged.own) > 1:
            notes.append(f"{path}: put together from {len(arranged.own)} folders")
    if artifacts is not None:
        found = read_artifacts(logged, artifacts, scratch / "contents")
        runs = [replace(run, artifacts=found[run.info.path].source) for run in runs]
        notes += (f"{path}: {note}" for path, one in sorted(found.items()) for note in one.notes)
    return LocalImport(tuple(runs), tuple(notes))


def _logged_artifacts(run: BundleRun, arranged: Arrangement) -> LoggedRun:
    from pull_logs.snapshot.read import pointed_artifacts
    from pull_logs.sources.wandb_folders.logged_artifacts import LoggedRun

    logs = [segment.log for segment in arranged.own]
    artifacts = [artifact for log in logs for artifact in log.artifacts]
    return LoggedRun(
        path=run.info.path,
        started_at=run.info.created_at,
        artifacts=artifacts,
        pointed=pointed_artifacts(run.batches(), run.info.summary) if artifacts else frozenset(),
        used=sum(log.used_artifacts for log in logs),
    )


def _console(segments: Sequence[Segment], file: Path) -> StoredConsole | None:
    """Return what the segments of a run printed, one after the other; None if they printed nothing."""
    from pull_logs.snapshot.format import console_in_file

    found = [segment for segment in segments if segment.console is not None]
    return found[0].console if len(found) == 1 else console_in_file(joined_lines(found), file)


def _bundle_run(path: RunPath, arranged: Arrangement, console: StoredConsole | None) -> BundleRun:
    from pull_logs.rows.batches import system_batch_from_rows
    from pull_logs.snapshot import BundleRun

    segments = arranged.segments
    reasons = [f"{segment.folder}: {segment.log.reason}" for segment in segments if segment.log.reason]
    reasons += arranged.reasons
    system_rows = [row for segment in arranged.own for row in segment.log.system_rows]
    return BundleRun(
        info=_run_info(path, arranged),
        coverage=Coverage(
            received_rows=sum(segment.log.rows for segment in segments),
            received_last_step=last_step(segments),
            complete=not reasons,
            reason="; ".join(reasons),
        ),
        batches=_merged_batches(segments),
        system=system_batch_from_rows(system_rows) if system_rows else None,
        console=console,
    )


def _merged_batches(segments: Sequence[Segment]) -> Callable[[], Iterator[pa.Table]]:
    def batches() -> Iterator[pa.Table]:
        from pull_logs.rows.merge import Lane, LanedBatch, merge_batches

        return merge_batches(
            [LanedBatch(lane=Lane.LIVE, batch=batch) for segment in segments for batch in segment.batches()]
        )

    return batches


def _run_info(path: RunPath, arranged: Arrangement) -> RunInfo:
    """Return the record of a run: each value from the latest segment that has one."""
    logs = [segment.log for segment in arranged.own]
    # A log without records does not show how the run ended.
    latest = next((log for log in reversed(logs) if log.started_at or log.rows), logs[-1])

    def known(name: str) -> Any:
        return next((value for log in reversed(logs) if (value := getattr(log, name))), None)

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
        config=_merged(logs, "config"),
        config_internal=_merged_internal([log.config_internal for log in logs]),
        summary=merge_summaries(segment.summary_part for segment in arranged.segments),
        system_summary=_merged(logs, "system_summary"),
        metadata=known("metadata") or {},
        parts=arranged.parts,
    )


def _merged(logs: Sequence[RunLog], name: str) -> dict[str, Any]:
    return {key: value for log in logs for key, value in getattr(log, name).items()}


def _merged_internal(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the internal config; a member of `_wandb` that the latest segment lacks is kept."""
    merged: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            known = merged.get(key)
            if isinstance(known, Mapping) and isinstance(value, Mapping):
                merged[key] = {**known, **value}
            else:
                merged[key] = value
    return merged
