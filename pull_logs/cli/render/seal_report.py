"""The report on stderr of every command that writes a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pull_logs.cli.render.escape import inline
from pull_logs.cli.render.output_names import output_name
from pull_logs.suggestions import counted, numbered

if TYPE_CHECKING:
    from pull_logs.snapshot import SealReport


def print_seal_report(report: SealReport) -> None:
    """Print what was written, and which of its runs are incomplete."""
    files = ""
    if report.files:
        files = f" {counted(report.files, 'file')} of {report.file_bytes / 1e6:.2f} MB,"
    if report.console_lines:
        files += f" {counted(report.console_lines, 'console line')},"
    if report.contents:
        contents = counted(report.contents, "content")
        files += f" {contents} of artifacts with {report.content_bytes / 1e6:.2f} MB,"
    rows = f"{report.rows} {numbered(report.rows, 'row')}"
    click.echo(
        f"{output_name(report.path)}: {counted(report.runs, 'run')}, {rows},{files}"
        f" {report.bytes / 1e6:.2f} MB, verified",
        err=True,
    )
    click.echo(f"bundle id  {report.bundle_id}\ncontent id {report.content_id}", err=True)
    for path, reason in report.incomplete:
        click.echo(inline(f"pull-logs: incomplete: {path}: {reason}"), err=True)
