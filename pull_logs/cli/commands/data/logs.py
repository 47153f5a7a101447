"""`logs`: what runs printed."""

from __future__ import annotations

from typing import Any

import click

from pull_logs.cli.formats import format_options, take_choice
from pull_logs.cli.notes import warn
from pull_logs.cli.options import budget_option, bundle_words, source_options
from pull_logs.cli.output import print_result, take_budget
from pull_logs.cli.sources import take_sources
from pull_logs.errors import UsageError


@click.command()
@bundle_words
@source_options
@click.option(
    "--tail",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="N",
    help="Only the last N lines of each run; 0 for all.",
)
@click.option("--grep", metavar="RE", help="Only lines that match, for example '(?i)error'.")
@click.option(
    "--around-step",
    type=int,
    metavar="STEP",
    help="Only lines printed near the time at which STEP was logged.",
)
@click.option(
    "--window",
    type=click.IntRange(min=0),
    metavar="N",
    help="Number of lines before and after --around-step; 10 by default.",
)
@format_options()
@budget_option
def logs(
    *,
    tail: int,
    grep: str | None,
    around_step: int | None,
    window: int | None,
    **options: Any,
) -> None:
    """Show console logs: the last lines that runs printed, or those that match, or those near a step.

    Bundles have console logs if they were fetched with --console or imported.
    """
    if window is not None and around_step is None:
        raise UsageError(
            "--window is given without --around-step", hint="name a step with --around-step STEP"
        )
    choice = take_choice(options)
    max_tokens = take_budget(options, choice)
    sources = take_sources(options)
    sources.check()
    from pull_logs.cli.pulling import progress_display
    from pull_logs.cli.render import LOGS_SHAPES, check_budget, fit_json
    from pull_logs.cli.sections import logs_object, logs_sections
    from pull_logs.interface import ConsoleView, excerpt, open_subjects, require_consoles
    from pull_logs.snapshot import Run

    check_budget(max_tokens, as_json=choice.as_json)
    view = ConsoleView(
        tail=tail, pattern=grep, around_step=around_step, window=10 if window is None else window
    )
    with open_subjects(sources, report=warn, display=progress_display) as subjects:
        runs = [subject.run for subject in subjects if isinstance(subject.run, Run)]
        require_consoles(runs)
        excerpts = [excerpt(run, view) for run in runs]
        answer = logs_object(subjects, excerpts)
    print_result(
        choice,
        sections=lambda: logs_sections(answer),
        json=lambda: fit_json(answer, LOGS_SHAPES, max_tokens=max_tokens),
        max_tokens=max_tokens,
    )
