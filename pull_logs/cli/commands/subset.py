"""`subset`: a bundle of some runs or metrics of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pull_logs.cli.bundle_paths import Named, bundle_argument
from pull_logs.cli.notes import warn
from pull_logs.cli.options import bundle_out_option, force_option, pick_options
from pull_logs.cli.pulling import uploads
from pull_logs.cli.render import print_seal_report
from pull_logs.cli.sources import bundle_sources


@click.command()
@bundle_argument()
@bundle_out_option
@force_option
@pick_options
@click.option("--metrics", metavar="REGEX", help="Only metrics whose name matches.")
@uploads
def subset(*, bundle: Named, out: Path, metrics: str | None, force: bool, **options: Any) -> None:
    """Make a bundle of some runs of another, or of some of their metrics.

    Runs that keep all their metrics are copied byte for byte.
    """
    from pull_logs.interface import distinct_runs, open_subjects
    from pull_logs.snapshot import subset_bundle
    from pull_logs.snapshot.write import check_bundle_output

    check_bundle_output(out, force=force)
    with open_subjects(bundle_sources(bundle, options), report=warn) as subjects:
        report = subset_bundle(distinct_runs(subjects), out, metrics=metrics, force=force)
    print_seal_report(report)
