"""The bundle that a pull finds where it is to write: it is brought up to date, or must not be replaced.

A bundle of the same selection is updated. Its unchanged runs are copied, and its runs that W&B no longer has
are kept. That is how an archive of a project only grows. A run of another host is another run, whatever its
path, so a bundle of it is one of another selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pull_logs.errors import UsageError
from pull_logs.fetch.api import Settings, load_settings
from pull_logs.fetch.options import PullOptions
from pull_logs.fetch.selection import Selection
from pull_logs.runs import RunPath
from pull_logs.snapshot.write import FORCE_HINT, check_bundle_output, refuse_other_selection
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.snapshot import Bundle, Run

SweepPath = tuple[str, str, str]
"""The entity, the project and the id of a sweep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where a pull writes.

    Attributes:
        shown: The path as the caller wrote it.
        target: The path with symbolic links followed.
        options: The options of the pull, with the bundle that it brings up to date as `previous`.
        redacted: Whether something was removed from the bundle that is brought up to date.
    """

    shown: Path
    target: Path
    options: PullOptions
    redacted: bool = False

    def refuse_redacted(self) -> None:
        """Make sure that what was removed from a bundle does not come back.

        Raises:
            UsageError: Something was removed from the bundle that is brought up to date.
        """
        if self.redacted:
            raise UsageError(
                f"{str(self.shown)!r} is a redacted bundle, and `pull` would add what was removed from it",
                hint="bring it up to date with `pull-logs sync`, which removes it again, or pull into another"
                " file and redact that",
            )


def find_output(
    out: Path | str, selection: Selection, options: PullOptions, *, settings: Settings | None = None
) -> Output:
    """Check that a bundle can be written, and find the one that is brought up to date.

    Args:
        out: The bundle to write.
        selection: The runs to pull.
        options: The options of the pull.
        settings: The address of the API; found as the SDK finds it if None.

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
        output = replace(output, redacted=bool(existing.manifest.redacted))
        if options.previous is not None:
            return output
        _refuse_other_host(output, runs, settings or load_settings())
        console = options.console or any(run.console is not None for run in runs)
        artifacts, media = artifacts_in(runs), media_in(existing)
        with_system = [run.system_rows_hash is not None for run in runs]
        same = existing.manifest.metrics == options.metrics and (all(with_system) or not options.system)
    system, reuse = options.system or any(with_system), same and not options.fresh
    updated = replace(
        options,
        previous=target,
        system=system,
        console=console,
        kept_artifacts=artifacts,
        kept_media=media,
        reuse=reuse,
    )
    return replace(output, options=updated)


def artifacts_in(runs: Sequence[Run]) -> str | None:
    """Return the artifacts to pull so that a bundle of these runs keeps those that it has; None for none.

    Raises:
        BundleDamagedError: The bundle is damaged.
    """
    from pull_logs.snapshot import ArtifactSelection
    from pull_logs.snapshot.read import selection_of

    found = {selection_of(run.artifacts) for run in runs if run.artifacts is not None}
    if not found:
        return None
    if len(found) == 1:
        return str(found.pop())
    return str(ArtifactSelection.ALL)


def media_in(bundle: Bundle) -> tuple[str, ...]:
    """Return patterns for the media to pull so that a bundle keeps being complete in those that it has.

    Raises:
        BundleDamagedError: The bundle is damaged.
    """
    from pull_logs.snapshot.format import MEDIA
    from pull_logs.snapshot.read import complete_media

    if MEDIA not in bundle.manifest.resources:
        return ()
    return complete_media(run.media() for run in bundle.runs())


def _refuse_other_host(output: Output, runs: Sequence[Run], settings: Settings) -> None:
    """Refuse to bring a bundle up to date with the runs of another host.

    Raises:
        UsageError: A run of the bundle was downloaded from another host.
    """
    others = [run for run in runs if settings.is_other_host(run.host)]
    if others:
        raise UsageError(
            f"{str(output.shown)!r} is a bundle of another selection: it has {counted(len(others), 'run')}"
            f" of {others[0].host}, and the new one those of {settings.host}",
            hint=FORCE_HINT,
        )


def sweeps_in(bundle: Path) -> frozenset[SweepPath]:
    """Return the sweeps whose runs a bundle has."""
    from pull_logs.snapshot import open_bundle

    with open_bundle(bundle) as opened:
        return frozenset(
            (run.path.entity, run.path.project, run.sweep) for run in opened.runs() if run.sweep is not None
        )


def _paths_of(bundle: Path) -> set[RunPath]:
    from pull_logs.snapshot import open_bundle

    with open_bundle(bundle) as opened:
        return {run.path for run in opened.runs()}
