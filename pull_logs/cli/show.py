"""The bare view: the runs that were named, as sections or as one JSON object."""

from __future__ import annotations

from typing import Any

import click

from pull_logs.cli.notes import warn
from pull_logs.cli.options import parse_evals, take_engine
from pull_logs.cli.output import SCREEN_TOKENS, print_answer, take_output
from pull_logs.interface import Sources


def show(sources: Sources, **options: Any) -> None:
    """Print what the view options ask for about the runs that the sources name.

    Args:
        sources: Which runs.
        **options: The view and output options of the command line, by their names in `cli.options`.

    Raises:
        PullLogsError: As described in `open_subjects` and `pull_logs.analyze.answer`.
    """
    evals, percents = parse_evals(options.pop("evals")), options.pop("quantiles")
    engine = take_engine(options)
    sources.check()
    from functools import partial

    from pull_logs.analyze import Picking, View, answer, arrange
    from pull_logs.analyze.statistics import parse_quantiles
    from pull_logs.cli.hints import show_hints
    from pull_logs.cli.pulling import progress_display
    from pull_logs.cli.render import VIEW_SHAPES, check_budget
    from pull_logs.cli.sections import view_sections
    from pull_logs.interface import answering, keeping_statistics

    output = take_output(options, screen=SCREEN_TOKENS if options["human"] else None)
    check_budget(output.max_tokens, as_json=output.as_json)
    picking = Picking(**{name: options.pop(name) for name in ("around", "window", "last", "every")})
    if percents is not None:
        options |= {"quantiles": parse_quantiles(percents), "stats": True}
    on_request = not output.as_json and output.max_tokens > 0
    view = View(evals=evals, picking=picking, max_tokens=output.max_tokens, on_request=on_request, **options)
    with (
        engine as reading,
        keeping_statistics() as known,
        answering(
            sources, partial(answer, view=view, engine=reading, known=known), display=progress_display
        ) as (subjects, answered),
    ):
        found = arrange(answered, unfold=not view.folds)
        print_answer(
            found,
            subjects,
            output,
            sections=view_sections,
            shapes=VIEW_SHAPES,
            hints=show_hints(found, sources),
            engine=reading,
        )


def show_comparison(sources: Sources, *, select: str) -> None:
    """Print runs side by side: how these metrics went, and how the configs differ."""
    from pull_logs.analyze import View, answer, arrange
    from pull_logs.cli.render import render_text
    from pull_logs.cli.sections import view_sections
    from pull_logs.interface import open_subjects

    with open_subjects(sources, report=warn) as subjects:
        found = arrange(answer(subjects, View(human=True, select=select)), unfold=True)
    members = ("runs", "comparison", "config_diff", "config_same")
    click.echo(
        render_text(view_sections({name: cell for name, cell in found.items() if name in members})), nl=False
    )
