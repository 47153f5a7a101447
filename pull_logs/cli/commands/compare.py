"""`compare`: many runs side by side, in groups, with statistics and a plain verdict."""

from __future__ import annotations

from typing import Any

import click

from pull_logs.cli.gate import gate
from pull_logs.cli.options import (
    Command,
    assert_options,
    hint_options,
    origin_options,
    output_options,
    source_options,
    take_sources,
    typed_words,
)

_OPTIONS = (
    click.option("--select", metavar="REGEX", help="Only metrics whose name matches."),
    click.option(
        "--group-by",
        multiple=True,
        metavar="KEY",
        help="Group runs by a config key (config.lr), or by all that differs but some: all-but:seed.",
    ),
    click.option(
        "--seed",
        "seeds",
        multiple=True,
        metavar="KEY",
        help="The key that tells the runs of a group apart; by default, keys called like a seed.",
    ),
    click.option(
        "--best", metavar="METRIC[:min|max]", help="Rank runs and groups by it, and test the best one's lead."
    ),
    click.option("--sort", metavar="METRIC[:min|max]", help="Rank runs and groups by it, without a test."),
    click.option("--top", type=click.IntRange(min=1), metavar="N", help="Show the N best alone."),
    click.option(
        "--at",
        default="last",
        show_default=True,
        metavar="STEP|last|best|checkpoint",
        help="Where in its history each run is read; best is where --best was.",
    ),
    click.option(
        "--x",
        "axis",
        default="_step",
        show_default=True,
        metavar="METRIC|defined",
        help="The axis of --at; defined is the one that each metric was logged over.",
    ),
    click.option(
        "--interpolation",
        type=click.Choice(["linear", "previous"]),
        default="linear",
        show_default=True,
        help="What to take between two rows.",
    ),
    click.option(
        "--ci",
        "interval",
        type=click.Choice(["t", "bootstrap"]),
        default="t",
        show_default=True,
        help="The 95% interval of a group's mean.",
    ),
)


def _compare_options(command: Command) -> Command:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@source_options
@_compare_options
@assert_options
@origin_options
@hint_options
@output_options
@click.pass_context
def compare(ctx: click.Context, /, **options: Any) -> None:
    """Compare runs: metrics, configs, groups over seeds, and whether a difference is real.

    As in `pull-logs compare -b sweep.wandb.zip --group-by config.lr --best val/acc:max`.
    """
    from pull_logs.cli.runs import open_subjects, refuse_incomplete

    words = ["pull-logs", "compare", *typed_words(ctx)]
    sources = take_sources(options)
    sources.check()
    as_json, max_tokens, strict, hints = (
        options.pop(name) for name in ("as_json", "max_tokens", "strict", "hints")
    )
    from pull_logs.analyze.answers import compare_runs
    from pull_logs.cli.hints import tell_hints
    from pull_logs.cli.render import check_tokens, compare_json, compare_text

    check_tokens(max_tokens)
    question = _question(options)
    told: list[str] = []
    with open_subjects(sources, tell=told.append) as subjects:
        answer = compare_runs(subjects, question)
        answer["notes"] = [*told, *answer["notes"]]
        further = [[*words, *flags] for flags in answer.pop("next")]
        write = compare_json if as_json else compare_text
        with gate(answer.get("assertions", ())):
            click.echo(write(answer, max_tokens=max_tokens), nl=False)
            if hints:
                tell_hints(iter(further))
            if strict:
                refuse_incomplete(subjects)


def _question(options: dict[str, Any]) -> Any:
    from pull_logs.analyze.answers import Comparison
    from pull_logs.analyze.questions import Position
    from pull_logs.analyze.statistics import Criterion

    best, sort = (options.pop(name) for name in ("best", "sort"))
    return Comparison(
        best=None if best is None else Criterion.parse(best),
        sort=None if sort is None else Criterion.parse(sort),
        at=Position.parse(options.pop("at")),
        **options,
    )
