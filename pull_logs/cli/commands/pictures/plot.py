"""`plot`: metrics of runs as a picture, or as text in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pull_logs.cli.bundle_paths import FILE_OUT
from pull_logs.cli.notes import warn
from pull_logs.cli.options import bundle_words, origin_options, source_options
from pull_logs.cli.pulling import uploads
from pull_logs.cli.render import output_name
from pull_logs.cli.sources import take_sources
from pull_logs.suggestions import counted


@click.command()
@bundle_words
@source_options
@click.option(
    "--select", metavar="REGEX", help="Metrics whose name matches; by default the one most likely to decide."
)
@click.option(
    "--group-by",
    multiple=True,
    metavar="KEY",
    help="Draw runs with the same value of a config key as their mean and a band; several keys may be given.",
)
@click.option("--smooth", type=float, default=0.0, metavar="WEIGHT", help="Moving average, 0 to below 1.")
@click.option("--x", default="_step", show_default=True, metavar="METRIC|time", help="The x axis.")
@click.option("--log-x", is_flag=True, help="Make the x axis logarithmic.")
@click.option("--log-y", is_flag=True, help="Make the y axis logarithmic.")
@click.option(
    "-o",
    "--out",
    type=FILE_OUT,
    metavar="FILE",
    help="Write a picture (.png, .svg or .pdf, with matplotlib) instead of text.",
)
@click.option("--force", is_flag=True, help="Replace FILE even if it is not a picture of this command.")
@origin_options
@uploads
def plot(*, out: Path | None, force: bool, **options: Any) -> None:
    """Draw metrics of runs: as text in the terminal, or as a picture with -o."""
    sources = take_sources(options)
    sources.check()
    from pull_logs.cli.pulling import progress_display
    from pull_logs.interface import open_subjects
    from pull_logs.plots import PlotOptions, check_picture, draw_figure, draw_text, read_panels, save_figure

    if out is not None:
        check_picture(out, force=force)
    asked = PlotOptions(**options, most=12 if out else 1)
    with open_subjects(sources, report=warn, display=progress_display) as subjects:
        found = read_panels(subjects, asked)
        if found.left_out:
            warn(f"{counted(found.left_out, 'more metric')} matched and not drawn; --select chooses")
        if out is None:
            click.echo(draw_text(found.panels[0], asked), nl=False)
            return
        save_figure(draw_figure(found.panels, asked), out)
    lines = sum(len(panel.lines) for panel in found.panels)
    click.echo(
        f"{output_name(out)}: {counted(len(found.panels), 'metric')}, {counted(lines, 'line')}", err=True
    )
