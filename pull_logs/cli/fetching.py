"""`fetch` and `refresh`: runs from W&B into a bundle, and a bundle brought up to date."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.auditing import made_for_sharing, redact_option
from pull_logs.cli.bundles import say_sealed
from pull_logs.cli.options import Sources, source_options, take_sources
from pull_logs.cli.subjects import read_checkpoints
from pull_logs.errors import IncompleteError, RunNotFoundError, UsageError

if TYPE_CHECKING:
    from pull_logs.analyze import RunCondition
    from pull_logs.fetch import PullReport, Selection, Survey

FILE = click.Path(path_type=Path)
_MOST_LINES = 20
"""Runs of which the end of a refresh tells one by one."""

_CONCURRENCY = click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=32,
    show_default=True,
    help="Most requests in flight.",
)
_METRICS = click.option("--metrics", metavar="REGEX", help="Only metrics whose name matches.")
_STRICT = click.option(
    "--strict", is_flag=True, help="Incomplete data is an error (exit 4); what is whole is kept."
)
_REPORT = click.option(
    "--report-json", type=FILE, metavar="FILE", help="Write what it brought and took as JSON."
)


def _condition(sources: Sources, states: tuple[str, ...], since: str | None) -> RunCondition | None:
    """`--filter`, `--state` and `--since` as one condition on runs."""
    from pull_logs.analyze import RunCondition

    terms = [] if sources.keep is None else [f"({sources.keep})"]
    if states:
        terms.append(f"state in [{', '.join(map(json.dumps, states))}]")
    if since is not None:
        terms.append(f"created_at >= {json.dumps(since)}")
    if sources.keep is not None:
        RunCondition(sources.keep)  # so that an error points into what was typed
    return RunCondition(" and ".join(terms)) if terms else None


def _selection(sources: Sources, condition: RunCondition | None) -> Selection:
    """What to pull, of the sources on the command line.

    Raises:
        UsageError: Nothing was named, or a bundle was.
        NotFoundError: A checkpoint is not there, or has no run in it.
    """
    from pull_logs.fetch import RunFilter, Selection
    from pull_logs.runs import RunReference

    if sources.bundles:
        raise UsageError(
            "fetch asks W&B and -b names a bundle",
            hint="leave -b out, or bring the bundle up to date with `pull-logs refresh`",
        )
    sources.check()
    references = [RunReference.parse(text) for text in sources.runs]
    if scan := read_checkpoints(sources):
        references += dict.fromkeys(checkpoint.reference for checkpoint in scan.found)
    kept = condition and RunFilter(text=condition.text, holds=condition.holds, prefilter=condition.prefilter)
    return Selection(
        runs=tuple(references), projects=sources.projects, sweeps=sources.sweeps, filter=kept or None
    )


def tell_report(report: PullReport) -> None:
    """Tell on stderr what a pull brought, whole or not, and what it took."""
    from pull_logs.cli.safetext import inline

    say_sealed(report.seal)
    whole = len(report.runs) - len(report.incomplete)
    click.echo(
        f"{whole} of {len(report.runs)} runs whole; {report.requests} requests,"
        f" {report.bytes_received / 1e6:.2f} MB received, {report.retries} retries, {report.seconds:.1f} s",
        err=True,
    )
    _tell_refreshed(report)
    for outcome in report.incomplete:
        if not outcome.sealed:
            click.echo(inline(f"pull-logs: not in the bundle: {outcome.path}: {outcome.reason}"), err=True)
        elif outcome.how == "kept":
            click.echo(inline(f"pull-logs: {outcome.path}: {outcome.reason}"), err=True)


def _tell_refreshed(report: PullReport) -> None:
    """Tell how the runs came, where an earlier bundle was at hand: a line for each that was asked for."""
    from pull_logs.cli.safetext import inline

    sealed = [outcome for outcome in report.runs if outcome.sealed]
    counts = Counter(outcome.how for outcome in sealed)
    asked = [outcome for outcome in sealed if outcome.how == "appended" or outcome.note]
    if counts.keys() <= {"whole"} and not asked:
        return
    new = sum(outcome.new_rows for outcome in sealed if outcome.how == "appended")
    click.echo(
        f"{counts['copied']} copied, {counts['appended']} appended to ({new} new rows),"
        f" {counts['whole']} asked for whole, {counts['kept']} kept as they were",
        err=True,
    )
    told = [outcome for outcome in asked if outcome.how != "copied"]
    for outcome in told[:_MOST_LINES]:
        how = f"{outcome.new_rows} new rows" if outcome.how == "appended" else "asked for whole"
        click.echo(inline(f"{outcome.path}: {how}{outcome.note and f': {outcome.note}'}"), err=True)
    if len(told) > _MOST_LINES:
        click.echo(f"... and {len(told) - _MOST_LINES} more; --report-json tells of every run", err=True)


def _finish(report: PullReport, *, report_json: Path | None, redact: bool, strict: bool) -> None:
    report = replace(report, seal=made_for_sharing(report.seal, redact=redact))
    tell_report(report)
    if report_json is not None:
        report_json.write_text(json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n")
    if strict and report.incomplete:
        raise IncompleteError(
            f"{len(report.incomplete)} of {len(report.runs)} runs are not whole",
            hint="run the same command again",
        )


def _names_in_no_run(selection: Selection, condition: RunCondition | None) -> str:
    """What a filter that kept nothing asks for in vain; W&B is asked again without the prefilter."""
    from pull_logs.fetch import survey_sync

    if condition is None or selection.filter is None:
        return ""
    if condition.prefilter:
        survey_sync(replace(selection, filter=replace(selection.filter, prefilter={})))
    return ", ".join(map(repr, condition.absent))


def _tell_survey(found: Survey) -> None:
    from pull_logs.cli.safetext import inline

    click.echo(
        f"runs {found.runs}\nrows {found.rows}\nfiles {found.files}\nlive_rows {found.live_rows}\n"
        f"requests {found.requests}\nlisting_seconds {found.listing_seconds:.1f}"
    )
    for path, reason in found.missing:
        click.echo(inline(f"missing {path}: {reason}"))


@click.command()
@source_options
@click.option("-o", "--out", type=FILE, metavar="FILE", help="The bundle to write.")
@click.option(
    "--state", "states", multiple=True, metavar="STATE", help="Only runs in this state, as in 'finished'."
)
@click.option("--since", metavar="DATE", help="Only runs created on or after DATE (UTC), as in 2026-11-01.")
@_METRICS
@click.option("--system", is_flag=True, help="Pull system metrics too.")
@click.option("--dry-run", is_flag=True, help="Tell what a pull would take; pull nothing.")
@click.option("--fresh", is_flag=True, help="Forget what an interrupted pull into the same file has left.")
@redact_option
@_CONCURRENCY
@_REPORT
@_STRICT
def fetch(
    *,
    out: Path | None,
    states: tuple[str, ...],
    since: str | None,
    metrics: str | None,
    concurrency: int,
    report_json: Path | None,
    system: bool,
    dry_run: bool,
    fresh: bool,
    redact: bool,
    strict: bool,
    **options: Any,
) -> None:
    """Pull runs from W&B, whole and unsampled, into one verified bundle.

    Stopped half way, the same command goes on where it stopped.
    """
    sources = take_sources(options)
    condition = _condition(sources, states, since)
    selection = _selection(sources, condition)
    if out is None and not dry_run:
        raise UsageError(
            "fetch has no file to write", hint="name it with -o FILE.wandb.zip, or ask with --dry-run"
        )
    from pull_logs.cli.progress import progress_display
    from pull_logs.fetch import pull_sync, survey_sync

    try:
        with progress_display() as hook:
            if out is None or dry_run:
                _tell_survey(survey_sync(selection, concurrency=concurrency, progress=hook))
                return
            report = pull_sync(
                selection,
                out=out,
                metrics=metrics,
                system=system,
                fresh=fresh,
                concurrency=concurrency,
                progress=hook,
            )
    except RunNotFoundError as exc:
        names = _names_in_no_run(selection, condition)
        if not names:
            raise
        raise RunNotFoundError(exc.message, hint=f"no run has {names}, which the filter asks for") from exc
    _finish(report, report_json=report_json, redact=redact, strict=strict)


@click.command()
@click.argument("bundle", type=FILE, metavar="BUNDLE")
@click.option("-o", "--out", type=FILE, metavar="FILE", help="Write here instead of replacing BUNDLE.")
@_METRICS
@redact_option
@_CONCURRENCY
@_REPORT
@_STRICT
def refresh(
    *,
    bundle: Path,
    out: Path | None,
    metrics: str | None,
    concurrency: int,
    report_json: Path | None,
    redact: bool,
    strict: bool,
) -> None:
    """Ask W&B only for what is new in the runs of a bundle; what did not change is copied.

    A run whose history was rewritten is asked for whole, and told; one that cannot be
    asked for is kept as it was. Give the --metrics that the bundle was fetched with.
    """
    from pull_logs.cli.progress import progress_display
    from pull_logs.fetch import Selection, pull_sync
    from pull_logs.runs import RunReference
    from pull_logs.snapshot import open_bundle

    with open_bundle(bundle) as opened:
        runs = list(opened.runs())
        paths = [run.path for run in runs]
        system = any(run.system_rows_hash is not None for run in runs)
    references = tuple(RunReference(path.run_id, project=path.project, entity=path.entity) for path in paths)
    with progress_display() as hook:
        report = pull_sync(
            Selection(runs=references),
            out=out or bundle,
            previous=bundle,
            metrics=metrics,
            system=system,
            concurrency=concurrency,
            progress=hook,
        )
    _finish(report, report_json=report_json, redact=redact, strict=strict)
