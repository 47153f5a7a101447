"""`overview`: a summary of any number of runs on one screen."""

from __future__ import annotations

from typing import Any

import click

from pull_logs.cli.formats import format_options
from pull_logs.cli.options import (
    assert_options,
    bundle_words,
    engine_options,
    hint_options,
    origin_options,
    output_options,
    source_options,
    take_engine,
    unfold_option,
)
from pull_logs.cli.output import OVERVIEW_TOKENS, print_answer, take_output
from pull_logs.cli.sources import take_sources


@click.command()
@bundle_words
@source_options
@click.option("--select", metavar="REGEX", help="Only metrics whose name matches.")
@unfold_option
@assert_options
@origin_options
@engine_options
@format_options()
@output_options
@hint_options
@click.pass_obj
def overview(workers: int, /, **options: Any) -> None:
    """Summarize runs: states, config keys, metrics, and what went wrong at which step.

    The flags are nan, divergence, gradient_explosion,
    spike, overfitting, plateau, learning_rate, slowdown, stalled and crashed; docs/health.md defines them.
    """
    sources = take_sources(options)
    sources.check()
    output = take_output(options, screen=OVERVIEW_TOKENS)
    from functools import partial

    from pull_logs.analyze import arrange
    from pull_logs.cli.hints import overview_hints
    from pull_logs.cli.pulling import progress_display
    from pull_logs.cli.render import OVERVIEW_SHAPES, check_budget
    from pull_logs.cli.sections import overview_sections
    from pull_logs.interface import answering, overview_of

    check_budget(output.max_tokens, as_json=output.as_json)
    unfold = options.pop("unfold") or options["select"] is not None
    jobs, engine = options["jobs"], take_engine(options)
    with (
        engine as reading,
        answering(
            sources,
            partial(overview_of, workers=workers if jobs is None else 0, engine=reading, **options),
            display=progress_display,
        ) as (subjects, found),
    ):
        answer = arrange(found, unfold=unfold)
        print_answer(
            answer,
            subjects,
            output,
            sections=overview_sections,
            shapes=OVERVIEW_SHAPES,
            hints=overview_hints(answer, sources),
        )
