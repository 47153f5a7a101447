"""Writes a report, and says what it has: for `report` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pull_logs.cli.notes import warn
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.interface import Sources
    from pull_logs.report import ReportOptions


def draw_report(
    sources: Sources, target: Path, *, options: ReportOptions | None = None, named: Path | None = None
) -> None:
    """Write a report and print what it has.

    Args:
        sources: Which runs.
        target: The file to write.
        options: What to show.
        named: The file as the user named it.

    Raises:
        PullLogsError: As `write_report`.
    """
    from pull_logs.cli.pulling import progress_display
    from pull_logs.cli.render import output_name
    from pull_logs.interface import open_subjects
    from pull_logs.report import ReportOptions, bundles_of, write_report

    with (
        bundles_of(sources) as (bundles, opened),
        open_subjects(opened, report=warn, display=progress_display) as subjects,
    ):
        size = write_report(subjects, target, options=options or ReportOptions(), bundles=bundles)
    for note in size.notes:
        warn(note)
    click.echo(
        f"{output_name(named or target)}: {counted(size.runs, 'run')}, {counted(size.metrics, 'metric')},"
        f" {counted(size.points, 'point')}, {size.bytes / 1e6:.2f} MB; open it in a browser",
        err=True,
    )
