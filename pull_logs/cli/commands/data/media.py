"""`media`: the tables, images and other media that runs logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pull_logs.cli.bundle_paths import FOLDER_OUT
from pull_logs.cli.formats import format_options, take_choice
from pull_logs.cli.notes import warn
from pull_logs.cli.options import budget_option, bundle_words, source_options
from pull_logs.cli.output import print_result, take_budget
from pull_logs.cli.pulling import uploads_folder
from pull_logs.cli.render import output_name
from pull_logs.cli.sources import take_sources
from pull_logs.suggestions import counted


@click.command()
@bundle_words
@source_options
@click.option("--key", metavar="GLOB", help="Only media whose key matches, for example 'val/*'.")
@click.option(
    "-o",
    "--out",
    type=FOLDER_OUT,
    metavar="DIR",
    help="Write the files into this new folder, and each table as Parquet beside its JSON.",
)
@format_options()
@budget_option
@uploads_folder()
def media(*, key: str | None, out: Path | None, **options: Any) -> None:
    """List the tables, images and other media that rows and summaries point to, and write their files.

    Bundles have media if they were fetched or imported with --media.
    """
    choice = take_choice(options)
    max_tokens = take_budget(options, choice)
    sources = take_sources(options)
    sources.check()
    from pull_logs.cli.pulling import progress_display
    from pull_logs.cli.render import MEDIA_SHAPES, check_budget, fit_json
    from pull_logs.cli.sections import media_object, media_sections
    from pull_logs.interface import media_of_runs, open_subjects, save_media
    from pull_logs.snapshot import Run

    check_budget(max_tokens, as_json=choice.as_json)
    with open_subjects(sources, report=warn, display=progress_display) as subjects:
        found = media_of_runs((one.run for one in subjects if isinstance(one.run, Run)), key=key)
        if out is not None:
            files, size = save_media(found, out)
            click.echo(f"{output_name(out)}: {counted(files, 'file')}, {size / 1e6:.2f} MB", err=True)
        answer = media_object(subjects, found)
    print_result(
        choice,
        sections=lambda: media_sections(answer),
        json=lambda: fit_json(answer, MEDIA_SHAPES, max_tokens=max_tokens),
        max_tokens=max_tokens,
    )
