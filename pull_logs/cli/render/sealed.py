"""What every command that writes a bundle reports of it on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pull_logs.cli.render.escape import inline

if TYPE_CHECKING:
    from pull_logs.snapshot import SealReport


def say_sealed(report: SealReport) -> None:
    """Tell on stderr what was sealed, and which runs in it are not whole."""
    files = ""
    if report.files:
        files = f" {report.files} file{'s' * (report.files != 1)} of {report.file_bytes / 1e6:.2f} MB,"
    click.echo(
        f"{report.path}: {report.runs} run{'s' * (report.runs != 1)}, {report.rows} rows,{files}"
        f" {report.bytes / 1e6:.2f} MB, verified",
        err=True,
    )
    click.echo(f"bundle id  {report.bundle_id}\ncontent id {report.content_id}", err=True)
    for path, reason in report.incomplete:
        click.echo(inline(f"pull-logs: incomplete: {path}: {reason}"), err=True)
