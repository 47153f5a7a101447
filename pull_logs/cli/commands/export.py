"""`export`: the runs of a bundle as plain files for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pull_logs.cli.bundle_paths import FOLDER_OUT, Named, bundle_argument
from pull_logs.cli.notes import warn
from pull_logs.cli.options import engine_options, pick_options, take_engine
from pull_logs.cli.pulling import uploads_folder
from pull_logs.cli.render import output_name
from pull_logs.cli.sources import bundle_sources
from pull_logs.errors import UsageError
from pull_logs.suggestions import counted, numbered


def _is_export(names: Sequence[str]) -> bool:
    from pull_logs.snapshot.operations import are_export_files

    return are_export_files(names)


@click.command()
@bundle_argument()
@click.option(
    "-o",
    "--out",
    required=True,
    type=FOLDER_OUT,
    metavar="DIR",
    help="The folder to create.",
)
@click.option(
    "--format",
    "to",
    type=click.Choice(["parquet", "csv", "ndjson"]),
    default="parquet",
    show_default=True,
    help="The format of the files.",
)
@click.option("--raw", is_flag=True, help="Do not escape texts in CSV that a spreadsheet runs as formulas.")
@click.option("--force", is_flag=True, help="Replace an existing export.")
@engine_options
@pick_options
@uploads_folder(last=lambda to, **_: f"runs.{to}", ours=_is_export)
def export(*, bundle: Named, out: Path, to: Any, force: bool, raw: bool, **options: Any) -> None:
    """Write runs as plain Parquet, CSV or NDJSON files in Hive folders, for other tools."""
    from pull_logs.interface import distinct_runs, open_subjects
    from pull_logs.snapshot import check_export_folder, export_runs

    if raw and to != "csv":
        raise UsageError("--raw is for --format csv", hint="other formats have no formulas to escape")
    chosen = take_engine(options)
    check_export_folder(out, force=force)
    with chosen as engine, open_subjects(bundle_sources(bundle, options), report=warn) as subjects:
        report = export_runs(distinct_runs(subjects), out, to=to, force=force, raw=raw, engine=engine)
    click.echo(
        f"{output_name(out)}: {counted(report.runs, 'run')}, {report.rows} {numbered(report.rows, 'row')},"
        f" {counted(report.files, 'file')}, {report.bytes / 1e6:.2f} MB",
        err=True,
    )
