"""`report`: runs as one HTML file to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pull_logs.cli.bundle_paths import FILE_OUT
from pull_logs.cli.options import bundle_words, origin_options, source_options
from pull_logs.cli.pulling import uploads
from pull_logs.cli.sources import take_sources


@click.command()
@bundle_words
@source_options
@click.option("--select", metavar="REGEX", help="Only metrics whose name matches.")
@click.option(
    "--group-by",
    multiple=True,
    metavar="KEY",
    help="Group runs by a config key (config.lr); by default as compare suggests.",
)
@click.option(
    "--best",
    metavar="METRIC[:min|max]",
    help="The metric that ranks runs and groups; by default the one that compare suggests.",
)
@click.option(
    "--points",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Most points of a curve in the file; 0 for as many as 20 MB allow. Extremes always stay.",
)
@click.option("--title", help="The title of the page.")
@click.option(
    "-o",
    "--out",
    type=FILE_OUT,
    default=Path("report.html"),
    show_default=True,
    metavar="FILE",
    help="The HTML file to write.",
)
@click.option("--force", is_flag=True, help="Replace FILE even if it is not a report.")
@origin_options
@uploads
def report(*, out: Path, force: bool, **options: Any) -> None:
    """Write runs as one HTML file: verdict, health, table and charts, without any request."""
    sources = take_sources(options)
    sources.check()
    from pull_logs.cli.report_file import draw_report
    from pull_logs.report import ReportOptions, check_report_output

    draw_report(sources, check_report_output(out, force=force), options=ReportOptions(**options), named=out)
