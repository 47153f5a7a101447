"""`refresh --from`: bring imported runs up to date with the local W&B folders that they are from."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from pull_logs.cli.pulling.into import kinds_to_remove
from pull_logs.cli.pulling.log import PullLog
from pull_logs.cli.sharing import check_for_sharing, write_without
from pull_logs.errors import IncompleteError, RunNotFoundError
from pull_logs.runs import RunPath
from pull_logs.suggestions import counted, incomplete_text, listed

if TYPE_CHECKING:
    from pull_logs.snapshot import Bundle, FileSelection, Run, SealReport

_MOST_NAMED = 3


def refresh_from_folders(
    bundle: Path,
    out: Path,
    folders: Sequence[Path],
    *,
    new: bool,
    redact: bool,
    strict: bool,
    force: bool,
    log: PullLog,
    files: FileSelection | None = None,
) -> None:
    """Bring the imported runs of a bundle up to date with local folders, without a server.

    Args:
        bundle: The bundle.
        out: The bundle to write; it may be `bundle`.
        folders: Run folders, or folders above them.
        new: Whether runs of the folders that the bundle does not have are added.
        redact: Whether to remove secrets and personal data.
        strict: Whether an incomplete run is an error.
        force: Whether to replace what is not a bundle, or a bundle of another selection.
        log: Writes the messages.
        files: The files of the run folders to copy, besides those of which the bundle has an earlier version.

    Raises:
        RunNotFoundError: None of the runs is in the folders.
        IncompleteError: A run is incomplete and `strict` is set.
        PullLogsError: See `import_runs` and `merge_bundles`.
    """
    from pull_logs.snapshot import open_bundle, subset_bundle
    from pull_logs.snapshot.write import check_bundle_output

    target = check_bundle_output(out, force=force or out == bundle)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pull-logs-")))
        old = stack.enter_context(open_bundle(bundle))
        fresh = stack.enter_context(_imported(old, folders, folder, log, files=files))
        wanted = _wanted(old, fresh, new=new, log=log)
        subset_bundle(wanted, folder / "wanted.zip", metrics=old.manifest.metrics)
        newest = stack.enter_context(open_bundle(folder / "wanted.zip"))
        kinds = kinds_to_remove(old, redact=redact)
        if kinds is None:
            seal = check_for_sharing(_merge(newest, old, out, force=force), say=log.say)
        else:
            _, seal = write_without(
                kinds,
                out,
                lambda written: _merge_and_close(newest, old, written),
                target=target,
                force=force,
                say=log.say,
            )
    log.sealed(seal)
    if strict and seal.incomplete:
        raise IncompleteError(incomplete_text(len(seal.incomplete), seal.runs))


def _imported(
    old: Bundle, folders: Sequence[Path], scratch: Path, log: PullLog, *, files: FileSelection | None
) -> Bundle:
    """Import the folders, under the entity and project of the bundle where the logs name no run of it.

    Raises:
        RunNotFoundError: No run of the bundle is in the folders.
    """
    from pull_logs.snapshot import open_bundle
    from pull_logs.sources import import_runs

    owners = {(run.path.entity, run.path.project) for run in old.runs() if run.host is None}
    names = [(None, None), *(owners if len(owners) == 1 else ())]
    for number, (entity, project) in enumerate(names):
        out = scratch / f"{number}.zip"
        with log.counting("logs", ending="writing the bundle") as hook:
            report = import_runs(
                folders,
                out=out,
                entity=entity,
                project=project,
                files=_selected(old, files),
                progress=hook,
            )
        fresh = open_bundle(out)
        if any(path in old.run_paths for path in fresh.run_paths):
            for note in report.notes:
                log.say(f"pull-logs: note: {note}")
            return fresh
        fresh.close()
    raise RunNotFoundError(
        f"no run of {str(old.path)!r} is in {listed([str(folder) for folder in folders])}",
        hint="`pull-logs info` lists the runs of the bundle",
    )


def _selected(old: Bundle, files: FileSelection | None) -> FileSelection | None:
    """Return the files to copy: the selected ones, and those of which the bundle has an earlier version."""
    from pull_logs.snapshot import FileSelection

    known = {escape(name) for run in old.runs() if run.host is None for name in run.files}
    globs = (*(() if files is None else files.globs), *sorted(known))
    if files is None:
        return FileSelection(globs) if globs else None
    return replace(files, globs=globs)


def _wanted(old: Bundle, fresh: Bundle, *, new: bool, log: PullLog) -> list[Run]:
    """Return the runs of the folders that update imported runs of the bundle, or are added to it."""
    local: set[RunPath] = {run.path for run in old.runs() if run.host is None}
    added = {run.path for run in fresh.runs() if str(run.path) not in old.run_paths}
    if added and not new:
        names = listed(sorted(map(str, added)), most=_MOST_NAMED)
        log.say(
            f"pull-logs: note: {counted(len(added), 'run')} of the folders not in the bundle: {names};"
            " --new adds them"
        )
    return [run for run in fresh.runs() if run.path in local or (new and run.path in added)]


def _merge(newest: Bundle, old: Bundle, out: Path, *, force: bool) -> SealReport:
    from pull_logs.snapshot import merge_bundles

    return merge_bundles([newest, old], out, prefer="first", force=force).seal


def _merge_and_close(newest: Bundle, old: Bundle, out: Path) -> SealReport:
    """Merge, and close the old bundle, which is replaced next: Windows replaces no open file."""
    seal = _merge(newest, old, out, force=True)
    old.close()
    return seal
