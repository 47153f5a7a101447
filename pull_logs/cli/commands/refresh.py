"""`refresh`: bring the runs of a bundle up to date with W&B, or with the local folders they are from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import FILE_OUT, bundle_argument
from pull_logs.cli.notes import warn
from pull_logs.cli.options import force_option, pick_options
from pull_logs.cli.pulling import (
    ARTIFACTS,
    CONCURRENCY,
    CONSOLE,
    FILES,
    MAX_FILE_SIZE,
    MEDIA,
    METRICS,
    PRUNE,
    STRICT,
    UPLOADED_REPORT,
    VIA,
    PullLog,
    Reporting,
    check_report,
    log_options,
    pull_into,
    refresh_from_folders,
    replaces,
    run_filter,
    take_pull_options,
    uploads_of,
)
from pull_logs.cli.sharing import redact_option
from pull_logs.cli.sources import bundle_sources, take_sources
from pull_logs.errors import RunNotFoundError, UsageError
from pull_logs.interface import Sources, distinct_runs
from pull_logs.runs import RunReference

if TYPE_CHECKING:
    from pull_logs.fetch import Selection
    from pull_logs.snapshot import Bundle, Run


@click.command()
@bundle_argument()
@click.option("-o", "--out", type=FILE_OUT, metavar="FILE", help="Write here instead of replacing BUNDLE.")
@pick_options
@click.option(
    "--new", is_flag=True, help="Add new runs too: of the projects of BUNDLE, or of -p and --sweep."
)
@click.option(
    "--from",
    "folders",
    multiple=True,
    metavar="RUN_DIR",
    type=click.Path(path_type=Path),
    help="Refresh imported runs from this local W&B folder, without a server; repeatable.",
)
@METRICS
@CONSOLE
@ARTIFACTS
@FILES
@MEDIA
@MAX_FILE_SIZE
@PRUNE
@force_option
@redact_option
@CONCURRENCY
@VIA
@UPLOADED_REPORT
@STRICT
@log_options
@replaces
@uploads_of("out", "report_json")
def refresh(
    *,
    bundle: Path,
    out: Path | None,
    new: bool,
    folders: tuple[Path, ...],
    report_json: Path | None,
    redact: bool,
    strict: bool,
    **options: Any,
) -> None:
    """Download what is new in the runs of a bundle, and copy what did not change.

    With -r, -c, -p, --sweep and --filter only these runs of the bundle are brought up to date. A run whose
    history was rewritten is downloaded completely, and reported; one that cannot be downloaded, or that W&B
    no longer has, is kept as it was. The bundle keeps the metrics that it was fetched with, and what was
    removed from it is removed again. Files in the bundle are brought up to date if their run has new rows;
    --files adds others. The same holds for console logs and artifacts, which --console and --artifacts add,
    and for media, which --media adds: of a key of which the bundle has all files, new ones are downloaded.
    """
    from pull_logs.fetch import artifacts_in, media_in
    from pull_logs.snapshot import is_bundle_set, open_bundle
    from pull_logs.snapshot.write import check_bundle_output

    log = PullLog.take(options)
    options["bundles"] = ()
    given = take_sources(options)
    asked = take_pull_options(options)
    check_report(report_json, force=asked.force)
    target = out or bundle
    if is_bundle_set(bundle):
        raise UsageError(
            f"{str(bundle)!r} is a bundle set", hint=f"write: pull-logs set refresh {quote(str(bundle))}"
        )
    check_bundle_output(target, force=asked.force or out is None)
    if folders:
        if given.named or given.keep is not None:
            raise UsageError(
                "--from refreshes every run of the folders", hint="omit the options that pick runs"
            )
        refresh_from_folders(
            bundle,
            target,
            folders,
            new=new,
            redact=redact,
            strict=strict,
            force=asked.force,
            log=log,
            files=asked.file_selection,
        )
        return
    with open_bundle(bundle) as opened:
        runs = list(opened.runs())
        system = any(run.system_rows_hash is not None for run in runs)
        console = asked.console or any(run.console is not None for run in runs)
        artifacts, media = artifacts_in(runs), media_in(opened)
        metrics = _same_metrics(opened, asked.metrics, log=log)
        _require_server(opened, runs)
        picked = _picked(bundle, given, new=new)
        selection = _selection(picked, given, new=new)
        paths = {run.path for run in picked}
        untouched = frozenset(run.path for run in runs if run.path not in paths)
    pull_options = replace(
        asked,
        previous=bundle,
        metrics=metrics,
        system=system,
        console=console,
        kept_artifacts=artifacts,
        kept_media=media,
        untouched=untouched,
    )
    reporting = Reporting(log=log, report_json=report_json, strict=strict)
    pull_into(target, selection, pull_options, redact=redact, reporting=reporting)


def _require_server(bundle: Bundle, runs: Sequence[Run]) -> None:
    """Make sure that some run of a bundle was downloaded from a server.

    Raises:
        UsageError: All of them were imported from local folders.
    """
    if runs and all(run.host is None for run in runs):
        raise UsageError(
            f"{str(bundle.path)!r} was imported from local folders and has no server to be refreshed from",
            hint=f"name the folders: pull-logs refresh {bundle.path} --from RUN_DIR",
        )


def _picked(bundle: Path, given: Sources, *, new: bool) -> list[Run]:
    """Return the runs of the bundle to bring up to date: those that were downloaded, of those that are named.

    Raises:
        RunNotFoundError: None is named, and no new ones are to be added.
    """
    from pull_logs.interface import open_subjects

    sources = replace(bundle_sources(bundle, {}), **_picks(given))
    try:
        with open_subjects(sources, report=warn) as subjects:
            runs = distinct_runs(subjects)
    except RunNotFoundError:
        if not new:
            raise
        runs = []
    return [run for run in runs if run.host is not None]


def _picks(given: Sources) -> dict[str, Any]:
    names = ("runs", "checkpoints", "projects", "sweeps", "keep", "checkpoint_key")
    return {name: getattr(given, name) for name in names}


def _selection(picked: Sequence[Run], given: Sources, *, new: bool) -> Selection:
    """Return what is requested: the picked runs, and with `new` the projects and sweeps to search.

    Raises:
        UsageError: `new` is set and single runs were named.
    """
    from pull_logs.fetch import Selection

    paths = [run.path for run in picked]
    references = tuple(RunReference(path.run_id, project=path.project, entity=path.entity) for path in paths)
    if not new:
        return Selection(runs=references)
    if given.runs or given.checkpoints:
        raise UsageError(
            "--new adds the new runs of projects and sweeps, and -r and -c name single runs",
            hint="add a run with `pull-logs sync -r RUN -o FILE`",
        )
    projects = given.projects
    if not projects and not given.sweeps:
        projects = tuple(sorted({path.project_path for path in paths}))
    from pull_logs.analyze import RunCondition

    kept = run_filter(None if given.keep is None else RunCondition(given.keep))
    return Selection(runs=references, projects=projects, sweeps=given.sweeps, filter=kept)


def _same_metrics(bundle: Bundle, metrics: str | None, *, log: PullLog) -> str | None:
    """Return the metrics to download: those that the bundle was fetched with.

    Raises:
        UsageError: Others were asked for.
    """
    known = bundle.manifest.metrics
    if known is not None and metrics is None:
        log.say(
            f"pull-logs: note: only metrics that match {known!r} are downloaded, as the bundle has no others"
        )
    if known is None or metrics in (None, known):
        return metrics or known
    raise UsageError(
        f"--metrics {metrics!r}: {str(bundle.path)!r} was fetched with --metrics {known!r},"
        " which a refresh keeps",
        hint="omit --metrics, or fetch the runs again with other metrics",
    )
