"""`refresh`: bring a bundle up to date with W&B."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import OUT, bundle_argument
from pull_logs.cli.notes import warn
from pull_logs.cli.options import force_option
from pull_logs.cli.pull_options import (
    CONCURRENCY,
    FILES,
    MAX_FILE_SIZE,
    METRICS,
    REPORT,
    STRICT,
    check_report,
    finish_pull,
    take_pull_options,
)
from pull_logs.cli.sharing import redact_option, write_redacted
from pull_logs.errors import UsageError

if TYPE_CHECKING:
    from pull_logs.snapshot import Bundle


@click.command()
@bundle_argument(urls=False)
@click.option("-o", "--out", type=OUT, metavar="FILE", help="Write here instead of replacing BUNDLE.")
@METRICS
@FILES
@MAX_FILE_SIZE
@force_option
@redact_option
@CONCURRENCY
@REPORT
@STRICT
def refresh(
    *,
    bundle: Path,
    out: Path | None,
    report_json: Path | None,
    redact: bool,
    strict: bool,
    **options: Any,
) -> None:
    """Download what is new in the runs of a bundle, and copy what did not change.

    A run whose history was rewritten is downloaded completely, and reported; one that cannot be downloaded is
    kept as it was. The bundle keeps the metrics that it was fetched with, and what was removed from it is
    removed again. Files in the bundle are brought up to date if their run has new rows; --files adds others.
    """
    asked = take_pull_options(options)
    check_report(report_json, force=asked.force)
    from pull_logs.cli.render import progress_display
    from pull_logs.fetch import Selection, pull_sync
    from pull_logs.runs import RunReference
    from pull_logs.snapshot import open_bundle
    from pull_logs.snapshot.write import check_bundle_output

    resolved = check_bundle_output(out or bundle, force=asked.force or out is None)
    with open_bundle(bundle) as opened:
        paths = [run.path for run in opened.runs()]
        system = any(run.system_rows_hash is not None for run in opened.runs())
        metrics = _same_metrics(opened, asked.metrics)
        kinds = _same_kinds(opened, redact=redact)
    references = tuple(RunReference(path.run_id, project=path.project, entity=path.entity) for path in paths)
    target = out or bundle
    # Data that is to be removed is never under the bundle's name, whenever this is interrupted.
    written = target if kinds is None else resolved.with_name(f".{resolved.name}.unredacted")
    pull_options = replace(asked, previous=bundle, metrics=metrics, system=system)
    if kinds is not None:
        pull_options = replace(pull_options, force=True)
    with progress_display() as hook:
        report = pull_sync(Selection(runs=references), out=written, options=pull_options, progress=hook)
    if kinds is not None:
        try:
            report = replace(
                report, out=target, seal=write_redacted(written, target, kinds=kinds, force=asked.force)
            )
        finally:
            written.unlink(missing_ok=True)
    finish_pull(report, report_json=report_json, redact=False, strict=strict)


def _same_metrics(bundle: Bundle, metrics: str | None) -> str | None:
    """Return the metrics to download: those that the bundle was fetched with.

    Raises:
        UsageError: Others were asked for.
    """
    known = bundle.manifest.metrics
    if known is not None and metrics is None:
        warn(f"only metrics that match {known!r} are downloaded, as the bundle has no others")
    if known is None or metrics in (None, known):
        return metrics or known
    raise UsageError(
        f"--metrics {metrics!r}: {str(bundle.path)!r} was fetched with --metrics {known!r},"
        " which a refresh keeps",
        hint="omit --metrics, or fetch the runs again with other metrics",
    )


def _same_kinds(bundle: Bundle, *, redact: bool) -> frozenset[str] | None:
    """Return the kinds of data to remove from a bundle that is brought up to date; None for none.

    If something was removed from the bundle before, all kinds are removed again except those that were left
    in it.
    """
    from pull_logs.snapshot.privacy import KINDS, audit_bundle

    removed = bundle.manifest.redacted
    if redact or not removed:
        return frozenset(KINDS) if redact else None
    left = {finding.kind for finding in audit_bundle(bundle).findings}
    return frozenset(KINDS) - (left - set(removed))
