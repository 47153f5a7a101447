"""`fetch` and `refresh`: runs from W&B into a bundle, and a bundle brought up to date."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import near
from pull_logs.cli.options import Sources, source_options, take_sources
from pull_logs.cli.render import tell_estimate, tell_report
from pull_logs.cli.runs import read_checkpoints, warn
from pull_logs.cli.sharing import made_for_sharing, redact_option, redacted
from pull_logs.errors import FileMissingError, IncompleteError, RunNotFoundError, UsageError
from pull_logs.runs import STATES

if TYPE_CHECKING:
    from pull_logs.analyze import RunCondition
    from pull_logs.fetch import PullOptions, PullReport, Selection
    from pull_logs.snapshot import Bundle

FILE = click.Path(path_type=Path)

_CONCURRENCY = click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=32,
    show_default=True,
    help="Most requests in flight, to the API and to storage each.",
)
_METRICS = click.option("--metrics", metavar="REGEX", help="Only metrics whose name matches.")
_FILES = click.option(
    "--files",
    multiple=True,
    metavar="GLOB",
    help="Run files whose name matches, as in '*.log'; may be repeated. '*' matches slashes too.",
)
_MAX_FILE_SIZE = click.option(
    "--max-file-size",
    metavar="SIZE",
    callback=lambda _context, _option, text: None if text is None else size_in_bytes(text),
    help="With --files: leave out files larger than this, as in 500kB, 20MB or 1GiB.",
)
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
        terms.append(f"created_at >= {json.dumps(_moment(since))}")
    if sources.keep is not None:
        RunCondition(sources.keep)  # so that an error points into what was typed
    return RunCondition(" and ".join(terms)) if terms else None


def size_in_bytes(text: str) -> int:
    """A size of `--max-file-size` in bytes.

    Raises:
        UsageError: It is none.
    """
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?) ?([kKMGT]?)(i?)B?", text.strip())
    if found is None:
        raise UsageError(f"--max-file-size {text!r} is no size", hint="write it as 500kB, 20MB or 1GiB")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** " KMGT".index(found[2].upper() or " "))


def _check_files(files: tuple[str, ...], max_file_size: int | None) -> None:
    """Refuse `--max-file-size` without `--files`."""
    if max_file_size is not None and not files:
        raise UsageError(
            "--max-file-size is for files, and none were asked for", hint="ask with --files GLOB"
        )


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


def _finish(report: PullReport, *, report_json: Path | None, redact: bool, strict: bool) -> None:
    report = replace(report, seal=made_for_sharing(report.seal, redact=redact))
    tell_report(report)
    if report_json is not None:
        _write_json(report_json, report.to_json())
    if strict and report.incomplete:
        raise IncompleteError(
            f"{len(report.incomplete)} of {len(report.runs)} runs are not whole",
            hint="run the same command again",
        )


def _names_in_no_run(selection: Selection, condition: RunCondition | None) -> str:
    """What a filter that kept nothing asks for in vain; W&B is asked again without the prefilter."""
    from pull_logs.fetch import estimate_pull_sync

    if condition is None or selection.filter is None:
        return ""
    if condition.prefilter:
        estimate_pull_sync(replace(selection, filter=replace(selection.filter, prefilter={})))
    return ", ".join(map(repr, condition.absent))


def _check_output(out: Path | None, report_json: Path | None) -> None:
    """Make sure that what comes out can be written, before anything is asked for.

    Raises:
        FileMissingError: A folder is not there.
    """
    for file in (out, report_json):
        if file is not None and not file.parent.is_dir():
            raise FileMissingError(
                f"{str(file)!r} cannot be written: its folder does not exist", hint="make the folder first"
            )


def _write_json(file: Path, content: dict[str, Any]) -> None:
    try:
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as exc:
        raise FileMissingError(f"the report {str(file)!r} cannot be written: {exc.strerror}") from exc


def _dry_run(selection: Selection, options: PullOptions, *, report_json: Path | None) -> None:
    from pull_logs.cli.render import progress_display
    from pull_logs.fetch import estimate_pull_sync

    with progress_display() as hook:
        found = estimate_pull_sync(selection, options=options, progress=hook)
    tell_estimate(found)
    if report_json is not None:
        _write_json(report_json, found.to_json())


@click.command()
@source_options
@click.option("-o", "--out", type=FILE, metavar="FILE", help="The bundle to write.")
@click.option(
    "--state",
    "states",
    multiple=True,
    metavar="STATE",
    type=click.Choice(sorted(STATES)),
    help="Only runs in this state, as in 'finished'; may be repeated.",
)
@click.option("--since", metavar="DATE", help="Only runs created on or after DATE (UTC), as in 2026-11-01.")
@_METRICS
@click.option("--system", is_flag=True, help="Pull system metrics too.")
@_FILES
@_MAX_FILE_SIZE
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
    _check_output(out, report_json)
    _check_files(files, max_file_size)
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
    _finish(report, report_json=report_json, redact=redact, strict=strict)


@click.command()
@click.argument("bundle", metavar="BUNDLE", callback=near)
@click.option("-o", "--out", type=FILE, metavar="FILE", help="Write here instead of replacing BUNDLE.")
@_METRICS
@_FILES
@_MAX_FILE_SIZE
@redact_option
@_CONCURRENCY
@_REPORT
@_STRICT
def refresh(
    *,
    bundle: Path,
    out: Path | None,
    metrics: str | None,
    files: tuple[str, ...],
    max_file_size: int | None,
    concurrency: int,
    report_json: Path | None,
    redact: bool,
    strict: bool,
) -> None:
    """Ask W&B only for what is new in the runs of a bundle; what did not change is copied.

    A run whose history was rewritten is asked for whole, and told; one that cannot be
    asked for is kept as it was. The bundle keeps to the metrics that it was fetched with,
    and from one that something was removed from it is removed again. Files that the bundle
    has of a run that went on are brought up to date; --files adds others.
    """
    _check_files(files, max_file_size)
    _check_output(out, report_json)
    from pull_logs.cli.render import progress_display
    from pull_logs.fetch import PullOptions, Selection, pull_sync
    from pull_logs.runs import RunReference
    from pull_logs.snapshot import open_bundle

    with open_bundle(bundle) as opened:
        runs = list(opened.runs())
        paths = [run.path for run in runs]
        system = any(run.system_rows_hash is not None for run in runs)
        metrics = _same_metrics(opened, metrics)
        kinds = _same_kinds(opened, redact=redact)
    references = tuple(RunReference(path.run_id, project=path.project, entity=path.entity) for path in paths)
    target = out or bundle
    # What is to be removed never stands under the bundle's name, whenever this is interrupted.
    place = target if kinds is None else target.with_name(f".{target.name}.unredacted")
    options = PullOptions(
        previous=bundle,
        metrics=metrics,
        system=system,
        files=files,
        max_file_size=max_file_size,
        concurrency=concurrency,
    )
    with progress_display() as hook:
        report = pull_sync(Selection(runs=references), out=place, options=options, progress=hook)
    if kinds is not None:
        try:
            report = replace(report, out=target, seal=redacted(place, target, kinds=kinds))
        finally:
            place.unlink(missing_ok=True)
    _finish(report, report_json=report_json, redact=False, strict=strict)


def _same_metrics(bundle: Bundle, metrics: str | None) -> str | None:
    """The metrics to ask for: those that the bundle was made with.

    Raises:
        UsageError: Others were asked for.
    """
    known = bundle.manifest.metrics
    if known is not None and metrics is None:
        warn(f"keeping to the metrics that match {known!r}, as the bundle does")
    if known is None or metrics in (None, known):
        return metrics or known
    raise UsageError(
        f"--metrics {metrics!r}: {str(bundle.path)!r} was made with --metrics {known!r}, and a refresh keeps to it",
        hint="leave --metrics out, or fetch the runs anew with others",
    )


def _same_kinds(bundle: Bundle, *, redact: bool) -> frozenset[str] | None:
    """What to remove from a bundle that is brought up to date; None for nothing.

    From one that something was removed from, all is removed again but the kinds that were left in it.
    """
    from pull_logs.snapshot.privacy import KINDS, audit_bundle

    removed = bundle.manifest.redacted
    if redact or not removed:
        return frozenset(KINDS) if redact else None
    left = {finding.kind for finding in audit_bundle(bundle).findings}
    return frozenset(KINDS) - (left - set(removed))
