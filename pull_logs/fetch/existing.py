"""The bundle that a pull finds where it is to write: it is brought up to date, or must not be replaced.

A bundle of the same selection is updated. Its unchanged runs are copied, and its runs that W&B no longer has
are kept. That is how an archive of a project only grows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pull_logs.fetch.options import PullOptions
from pull_logs.fetch.selection import Selection
from pull_logs.runs import RunPath
from pull_logs.snapshot.write import check_bundle_output, refuse_other_selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where a pull writes.

    Attributes:
        shown: The path as the caller wrote it.
        target: The path with symbolic links followed.
        options: The options of the pull, with the bundle that it brings up to date as `previous`.
    """

    shown: Path
    target: Path
    options: PullOptions


def find_output(out: Path | str, selection: Selection, options: PullOptions) -> Output:
    """Check that a bundle can be written, and find the one that is brought up to date.

    Args:
        out: The bundle to write.
        selection: The runs to pull.
        options: The options of the pull.

    Raises:
        UsageError: `out` cannot be written, or exists and is not a bundle of the same selection.
        FileMissingError: The folder of `out` does not exist.
        PullLogsError: The folder of `out` cannot be written.
    """
    target = check_bundle_output(out, force=options.force)
    output = Output(shown=Path(out), target=target, options=options)
    if options.force or not target.exists():
        return output
    from pull_logs.snapshot import open_bundle

    with open_bundle(target) as existing:
        runs = list(existing.runs())
        kept = set() if options.previous is None else _paths_of(options.previous)
        lost = [run.path for run in runs if run.path not in kept and not selection.covers(run.info)]
        refuse_other_selection(out, lost, before=existing.manifest.metrics, metrics=options.metrics)
        if options.previous is not None:
            return output
        with_system = [run.system_rows_hash is not None for run in runs]
        same = existing.manifest.metrics == options.metrics and (all(with_system) or not options.system)
    system, reuse = options.system or any(with_system), same and not options.fresh
    return replace(output, options=replace(options, previous=target, system=system, reuse=reuse))


def _paths_of(bundle: Path) -> set[RunPath]:
    from pull_logs.snapshot import open_bundle

    with open_bundle(bundle) as opened:
        return {run.path for run in opened.runs()}
