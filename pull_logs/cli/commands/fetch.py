"""`fetch`: pull runs from W&B into a bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import OUT
from pull_logs.cli.options import source_options
from pull_logs.cli.pull_options import (
    CONCURRENCY,
    FILES,
    MAX_FILE_SIZE,
    METRICS,
    REPORT,
    STRICT,
    check_files,
    check_output,
    finish_pull,
    write_json,
)
from pull_logs.cli.render import tell_estimate
from pull_logs.cli.runs import read_checkpoints
from pull_logs.cli.sharing import redact_option
from pull_logs.cli.sources import Sources, take_sources
from pull_logs.errors import RunNotFoundError, UsageError
from pull_logs.runs import STATES

if TYPE_CHECKING:
    from pull_logs.analyze import RunCondition
    from pull_logs.fetch import PullOptions, Selection


def _condition(sources: Sources, states: tuple[str, ...], since: str | None) -> RunCondition | None:
    """`--filter`, `--state` and `--since` as one condition on runs."""
    from pull_logs.analyze import RunCondition

    terms = [] if sources.keep is None else [f"({sources.keep})"]
    if states:
        terms.append(f"state in [{', '.join(map(json.dumps, states))}]")
    if since is not None:
        terms.append(f"created_at >= {json.dumps(_moment(since))}")
    if sources.keep is not None:
        RunCondition(sources.keep)  # so that an error points into what was typed
    return RunCondition(" and ".join(terms)) if terms else None


def _moment(text: str) -> str:
    """A date or a time of `--since` in UTC, to be compared with `created_at`; it has no `Z`, which sorts last.

    Raises:
        UsageError: It is neither.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as exc:
        raise UsageError(
            f"--since {text!r} is no date", hint="write it as 2026-11-01 or 2026-11-01T09:30:00+01:00"
        ) from exc
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat()


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
    if not sources.named:
        raise UsageError(
            "no source was given",
            hint="name one with -p ENTITY/PROJECT, -r RUN, -c CHECKPOINT or --sweep E/P/ID",
        )
    for text in sources.runs:
        if Path(text).is_dir():
            raise UsageError(
                f"{text!r} is a folder, and fetch asks W&B",
                hint=f"write: pull-logs import {text} -o FILE.wandb.zip",
            )
    references = [RunReference.parse(text) for text in sources.runs]
    if scan := read_checkpoints(sources):
        references += dict.fromkeys(checkpoint.reference for checkpoint in scan.found)
    kept = condition and RunFilter(text=condition.text, holds=condition.holds, prefilter=condition.prefilter)
    return Selection(
        runs=tuple(references), projects=sources.projects, sweeps=sources.sweeps, filter=kept or None
    )


def _names_in_no_run(selection: Selection, condition: RunCondition | None) -> str:
    """What a filter that kept nothing asks for in vain; W&B is asked again without the prefilter."""
    from pull_logs.fetch import estimate_pull_sync

    if condition is None or selection.filter is None:
        return ""
    if condition.prefilter:
        estimate_pull_sync(replace(selection, filter=replace(selection.filter, prefilter={})))
    return ", ".join(map(repr, condition.absent))


def _dry_run(selection: Selection, options: PullOptions, *, report_json: Path | None) -> None:
    from pull_logs.cli.render import progress_display
    from pull_logs.fetch import estimate_pull_sync

    with progress_display() as hook:
        found = estimate_pull_sync(selection, options=options, progress=hook)
    tell_estimate(found)
    if report_json is not None:
        write_json(report_json, found.to_json())


@click.command()
@source_options
@click.option("-o", "--out", type=OUT, metavar="FILE", help="The bundle to write.")
@click.option(
    "--state",
    "states",
    multiple=True,
    metavar="STATE",
    type=click.Choice(sorted(STATES)),
    help="Only runs in this state, as in 'finished'; may be repeated.",
)
@click.option("--since", metavar="DATE", help="Only runs created on or after DATE (UTC), as in 2026-11-01.")
@METRICS
@click.option("--system", is_flag=True, help="Pull system metrics too.")
@FILES
@MAX_FILE_SIZE
@click.option("--dry-run", is_flag=True, help="Tell what a pull would take; pull nothing.")
@click.option("--fresh", is_flag=True, help="Forget what an interrupted pull into the same file has left.")
@redact_option
@CONCURRENCY
@REPORT
@STRICT
def fetch(
    *,
    out: Path | None,
    states: tuple[str, ...],
    since: str | None,
    metrics: str | None,
    concurrency: int,
    report_json: Path | None,
    system: bool,
    files: tuple[str, ...],
    max_file_size: int | None,
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
    check_output(out, report_json)
    check_files(files, max_file_size)
    from pull_logs.cli.render import progress_display
    from pull_logs.fetch import PullOptions, pull_sync

    pull_options = PullOptions(
        metrics=metrics,
        system=system,
        files=files,
        max_file_size=max_file_size,
        fresh=fresh,
        concurrency=concurrency,
    )
    if out is None or dry_run:
        _dry_run(selection, pull_options, report_json=report_json)
        return
    try:
        with progress_display() as hook:
            report = pull_sync(selection, out=out, options=pull_options, progress=hook)
    except RunNotFoundError as exc:
        names = _names_in_no_run(selection, condition)
        if not names:
            raise
        raise RunNotFoundError(exc.message, hint=f"no run has {names}, which the filter asks for") from exc
    finish_pull(report, report_json=report_json, redact=redact, strict=strict)
