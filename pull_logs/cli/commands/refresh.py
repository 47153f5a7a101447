"""`refresh`: bring a bundle up to date with W&B."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pull_logs.cli.bundle_paths import OUT, near
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
)
from pull_logs.cli.runs import warn
from pull_logs.cli.sharing import redact_option, redacted
from pull_logs.errors import UsageError

if TYPE_CHECKING:
    from pull_logs.snapshot import Bundle


@click.command()
@click.argument("bundle", metavar="BUNDLE", callback=near)
@click.option("-o", "--out", type=OUT, metavar="FILE", help="Write here instead of replacing BUNDLE.")
@METRICS
@FILES
@MAX_FILE_SIZE
@redact_option
@CONCURRENCY
@REPORT
@STRICT
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
    check_files(files, max_file_size)
    check_output(out, report_json)
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
    finish_pull(report, report_json=report_json, redact=False, strict=strict)


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
