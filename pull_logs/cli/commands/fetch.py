"""`fetch` and `sync`: download runs from W&B into a bundle, or bring one of the same runs up to date."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import FILE_OUT
from pull_logs.cli.notes import warn
from pull_logs.cli.options import Command, force_option, source_options
from pull_logs.cli.pulling import (
    ARTIFACTS,
    CONCURRENCY,
    CONSOLE,
    FILES,
    MAX_FILE_SIZE,
    MEDIA,
    METRICS,
    PRUNE,
    REQUESTS_PER_MINUTE,
    STRICT,
    UPLOADED_REPORT,
    VIA,
    PullLog,
    Reporting,
    ShardPart,
    check_report,
    log_options,
    progress_display,
    pull_into,
    run_filter,
    take_pull_options,
    uploads_of,
    write_json,
)
from pull_logs.cli.render import print_estimate
from pull_logs.cli.sharing import redact_option
from pull_logs.cli.sources import take_sources
from pull_logs.errors import RunNotFoundError, UsageError
from pull_logs.interface import Sources
from pull_logs.runs import STATES

if TYPE_CHECKING:
    from pull_logs.analyze import RunCondition
    from pull_logs.fetch import PullOptions, PullReport, Selection
    from pull_logs.runs import RunReference


def _condition(sources: Sources, states: tuple[str, ...], since: str | None) -> RunCondition | None:
    """Combine `--filter`, `--state` and `--since` into one condition on runs."""
    terms = [] if sources.keep is None else [f"({sources.keep})"]
    if states:
        terms.append(f"state in [{', '.join(map(json.dumps, states))}]")
    if since is not None:
        terms.append(f"created_at >= {json.dumps(_moment(since))}")
    if not terms:
        return None
    from pull_logs.analyze import RunCondition

    if sources.keep is not None:
        RunCondition(sources.keep)  # so that an error points into the text that was typed
    return RunCondition(" and ".join(terms))


def _moment(text: str) -> str:
    """Convert a date or time of `--since` to the form of `created_at`, without the `Z`, which sorts last.

    Raises:
        UsageError: The text is neither a date nor a time.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as exc:
        raise UsageError(
            f"--since {text!r} is not a date", hint="write it as 2026-11-01 or 2026-11-01T09:30:00+01:00"
        ) from exc
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat()


def _selection(sources: Sources, condition: RunCondition | None) -> Selection:
    """Return the runs to download.

    Raises:
        UsageError: No source was given, or a bundle or a folder was.
        NotFoundError: A checkpoint does not exist, or names no run.
    """
    from pull_logs.fetch import Selection
    from pull_logs.runs import RunReference

    if sources.bundles:
        raise UsageError(
            "fetch downloads from W&B and -b names a bundle",
            hint="omit -b, or bring the bundle up to date with `pull-logs refresh`",
        )
    if not sources.named:
        raise UsageError(
            "no source was given",
            hint="name one with -p ENTITY/PROJECT, -r RUN, -c CHECKPOINT or --sweep E/P/ID",
        )
    from pull_logs.interface import is_local

    for tracker in sources.trackers:
        raise UsageError(
            f"--{tracker.kind} names runs of another tracker, and fetch downloads from W&B",
            hint=f"write: pull-logs import {tracker.location} -o FILE.wandb.zip",
        )
    for text in sources.runs:
        if is_local(text):
            kind = "file" if Path(text).is_file() else "folder"
            raise UsageError(
                f"{text!r} is a {kind}, and fetch downloads from W&B",
                hint=f"write: pull-logs import {text} -o FILE.wandb.zip",
            )
    references = [RunReference.parse(text) for text in sources.runs]
    if sources.checkpoints:
        references += _runs_of_checkpoints(sources)
    return Selection(
        runs=tuple(references),
        projects=sources.projects,
        sweeps=sources.sweeps,
        filter=run_filter(condition),
    )


def _runs_of_checkpoints(sources: Sources) -> Sequence[RunReference]:
    """Return the runs that the checkpoints of the sources name, each once.

    Raises:
        NotFoundError: A checkpoint does not exist, or names no run.
    """
    from pull_logs.interface import read_checkpoints, usable_checkpoints

    scan = read_checkpoints(sources, report=warn)
    found = usable_checkpoints(scan, report=warn) if scan else ()
    return list(dict.fromkeys(checkpoint.reference for checkpoint in found))


def _names_in_no_run(selection: Selection, condition: RunCondition | None) -> str:
    """Return the names in a filter that no run has; the runs are listed without the prefilter to see."""
    from pull_logs.fetch import estimate_pull_sync

    if condition is None or selection.filter is None:
        return ""
    if condition.prefilter:
        estimate_pull_sync(replace(selection, filter=replace(selection.filter, prefilter={})))
    return ", ".join(map(repr, condition.absent))


def _dry_run(selection: Selection, options: PullOptions, *, report_json: Path | None) -> None:
    from pull_logs.fetch import estimate_pull_sync

    with progress_display() as hook:
        found = estimate_pull_sync(selection, options=options, progress=hook)
    print_estimate(found)
    if report_json is not None:
        write_json(report_json, found.to_json())


def download_options(command: Command) -> Command:
    """Add the options of a download from W&B: those that `fetch` and `sync` share."""
    for option in reversed(
        (
            source_options,
            click.option(
                "--state",
                "states",
                multiple=True,
                metavar="STATE",
                type=click.Choice(sorted(STATES)),
                help="Only runs in this state, for example 'finished'; repeatable.",
            ),
            click.option(
                "--since",
                metavar="DATE",
                help="Only runs created on or after DATE (UTC), for example 2026-11-01.",
            ),
            click.option(
                "--shard",
                metavar="I/N",
                help="Only the I-th of N parts of the runs, which other machines can download at the same "
                "time with the other numbers; --concurrency and --max-requests-per-minute are those of all "
                "together.",
            ),
            METRICS,
            click.option("--system", is_flag=True, help="Download system metrics too."),
            CONSOLE,
            ARTIFACTS,
            FILES,
            MEDIA,
            MAX_FILE_SIZE,
            click.option(
                "--fresh",
                is_flag=True,
                help="Download everything again, also what FILE or an interrupted fetch into it has.",
            ),
            PRUNE,
            force_option,
            redact_option,
            CONCURRENCY,
            REQUESTS_PER_MINUTE,
            VIA,
            UPLOADED_REPORT,
            STRICT,
            log_options,
        )
    ):
        command = option(command)
    return command


@click.command()
@download_options
@click.option("-o", "--out", type=FILE_OUT, metavar="FILE", help="The bundle to write.")
@click.option("--dry-run", is_flag=True, help="Estimate the download; download nothing.")
@uploads_of("out", "report_json")
def fetch(*, out: Path | None, dry_run: bool, **options: Any) -> None:
    """Download runs from W&B, complete and unsampled, into one verified bundle.

    If it is interrupted, the same command continues where it stopped. A bundle of the same runs is brought up
    to date, and runs that W&B no longer has are kept in it.
    """
    if out is None and not dry_run:
        raise UsageError(
            "fetch has no file to write", hint="name it with -o FILE.wandb.zip, or use --dry-run"
        )
    download(None if dry_run else out, options)


@click.command()
@download_options
@click.option(
    "-o", "--out", type=FILE_OUT, required=True, metavar="FILE", help="The archive; it need not exist."
)
@uploads_of("out", "report_json")
def sync(*, out: Path, **options: Any) -> None:
    """Update an archive: add and update runs, and keep those deleted from W&B.

    The same as `fetch` into the file. A run that W&B no longer has stays in the archive, with the last day on
    which W&B saw it, unless --prune drops it. A run that the filter kept before and no longer keeps is
    updated too; other sources or another filter that leave runs of the archive out need --force. If it is
    interrupted, the archive is as it was, and the same command continues where it stopped.
    """
    download(out, options)


def download(out: Path | None, options: dict[str, Any]) -> PullReport | None:
    """Download the runs that the options of `download_options` name, and return the report.

    It is None for an estimate, and for a part of the runs that has none.

    Args:
        out: The bundle to write; None estimates the download.
        options: The options.

    Raises:
        PullLogsError: See `pull`.
    """
    from pull_logs.fetch import Shard
    from pull_logs.snapshot.write import check_bundle_output

    force, report_json, redact = bool(options["force"]), options.pop("report_json"), options.pop("redact")
    if out is not None:
        check_bundle_output(out, force=force)
    check_report(report_json, force=force)
    reporting = Reporting(log=PullLog.take(options), report_json=report_json, strict=options.pop("strict"))
    sources = take_sources(options)
    condition = _condition(sources, options.pop("states"), options.pop("since"))
    selection = _selection(sources, condition)
    shard = options.pop("shard")
    pull_options = take_pull_options(options)
    part = None if shard is None else ShardPart(Shard.parse(shard), selection.filter)
    if part is not None:
        selection = replace(selection, filter=part.run_filter)
        pull_options = part.share_of(pull_options)
    if out is None:
        if pull_options.via == "sdk":
            raise UsageError("--dry-run asks W&B's API itself", hint="omit --via sdk")
        _dry_run(selection, pull_options, report_json=report_json)
        return None
    try:
        return pull_into(out, selection, pull_options, redact=redact, reporting=reporting)
    except RunNotFoundError as exc:
        if part is not None and part.elsewhere:
            warn(f"shard {part.shard} has no runs, and nothing was written; the other shards have them")
            return None
        names = _names_in_no_run(selection, condition)
        hint = f"no run has {names}, which the filter uses" if names else condition and condition.advice
        if not hint:
            raise
        raise RunNotFoundError(exc.message, hint=hint) from exc
