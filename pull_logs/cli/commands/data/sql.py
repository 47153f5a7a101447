"""`sql`: one SELECT over runs, answered by DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pull_logs.cli.bundle_paths import FILE_OUT, Named, named_bundles
from pull_logs.cli.formats import format_options, take_choice
from pull_logs.cli.notes import warn
from pull_logs.cli.options import budget_option, origin_options, source_options
from pull_logs.cli.output import print_result, take_budget
from pull_logs.cli.pulling import uploads
from pull_logs.cli.render import output_name
from pull_logs.cli.sources import take_sources
from pull_logs.cli.spelling import source_option
from pull_logs.errors import UsageError
from pull_logs.suggestions import counted

_MOST_ROWS = 200
_USAGE = "write the query last, in quotes: pull-logs sql sweep.wandb.zip 'SELECT run FROM runs'"


def _with_query(ctx: click.Context, param: click.Parameter, words: tuple[str, ...]) -> tuple[Any, str]:
    """Return the bundles and the query, which is the last word.

    Raises:
        UsageError: The last word is a bundle, or another one is not.
    """
    *bundles, query = words
    if source_option(query) == "-b":
        raise UsageError(f"{query!r} is a bundle and not a query", hint=_USAGE)
    for word in bundles:
        if source_option(word) is None and not Path(word).exists():
            raise UsageError(f"{word!r} is not a bundle", hint=_USAGE)
    return named_bundles(ctx, param, tuple(bundles)), query


@click.command()
@click.argument("asked", nargs=-1, required=True, metavar="[BUNDLE]... QUERY", callback=_with_query)
@source_options
@click.option(
    "-o",
    "--out",
    type=FILE_OUT,
    metavar="FILE",
    help="Write all rows of the answer to a Parquet file instead.",
)
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.option(
    "--max-rows",
    type=click.IntRange(min=0),
    help="Most rows that are shown; 0 for all. By default 200, and all in CSV, Markdown and LaTeX.",
)
@click.option(
    "--timeout",
    type=float,
    default=300.0,
    show_default=True,
    metavar="S",
    help="Most seconds; 0 for no limit.",
)
@click.option("--memory", default="2GB", show_default=True, metavar="SIZE", help="Most memory of DuckDB.")
@origin_options
@format_options(compares=True)
@budget_option
@uploads
def sql(
    *,
    asked: tuple[tuple[Named, ...], str],
    out: Path | None,
    force: bool,
    max_rows: int | None,
    timeout: float,
    memory: str,
    **options: Any,
) -> None:
    """Answer one SELECT over the views runs, history, system, metrics, files and artifacts.

    It only reads, and from these views alone: no files, no network, no settings.
    """
    choice = take_choice(options)
    max_tokens = take_budget(options, choice)
    options["words"], query = asked
    sources = take_sources(options)
    sources.check()
    from pull_logs.analyze.sql import Limits, check_table_file, open_query, write_table
    from pull_logs.cli.pulling import progress_display
    from pull_logs.cli.render import SQL_SHAPES, check_budget, fit_json
    from pull_logs.cli.sections.data import sql_object, sql_sections
    from pull_logs.interface import open_subjects, runs_of_one_source

    limits = Limits(memory=memory, seconds=timeout)
    limits.check()
    check_budget(max_tokens, as_json=choice.as_json)
    if out is not None:
        check_table_file(out, force=force)
    most = max_rows if max_rows is not None else 0 if choice.complete else _MOST_ROWS
    with (
        open_subjects(sources, report=warn, display=progress_display) as subjects,
        open_query(runs_of_one_source(subjects), query, limits=limits) as rows,
    ):
        if out is not None:
            written = write_table(rows, out)
            click.echo(
                f"{output_name(out)}: {counted(written.rows, 'row')}, {written.bytes / 1e6:.2f} MB", err=True
            )
            return
        answer = sql_object(rows, most=most)
    print_result(
        choice,
        sections=lambda: sql_sections(answer),
        json=lambda: fit_json(answer, SQL_SHAPES, max_tokens=max_tokens),
        max_tokens=max_tokens,
    )
