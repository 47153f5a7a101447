"""`compare`: many runs side by side, in groups, with statistics and a verdict."""

from __future__ import annotations

from typing import Any

import click

from pull_logs.cli.bundle_paths import FILE_OUT, named_bundles
from pull_logs.cli.formats import format_options
from pull_logs.cli.options import (
    Command,
    assert_options,
    bundle_words,
    engine_options,
    eval_option,
    hint_options,
    origin_options,
    output_options,
    parse_evals,
    source_options,
    take_engine,
    typed_words,
    unfold_option,
    where_option,
)
from pull_logs.cli.output import print_answer, take_output
from pull_logs.cli.pulling import uploads_of
from pull_logs.cli.sources import take_sources

_OPTIONS = (
    click.option("--select", metavar="REGEX", help="Only metrics whose name matches."),
    unfold_option,
    click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="[NAME=]EXPR",
        help="Add one value per run, such as 'tok/s=mean(train/tokens_per_sec)', rows or duration / 3600.",
    ),
    where_option,
    eval_option,
    click.option(
        "--effect",
        metavar="METRIC[:min|max]",
        help="For each config key that differs: how much of METRIC it explains, and its rank correlation.",
    ),
    click.option(
        "--fit",
        "fits",
        multiple=True,
        metavar="Y ~ X",
        help="Fit a line through values of runs, such as 'log(train/loss) ~ log(config.num_params)'.",
    ),
    click.option(
        "--pareto",
        metavar="A:min,B:max",
        help="Show the runs that no other improves on, such as 'config.num_params:min, val/loss:min'.",
    ),
    click.option(
        "--group-by",
        multiple=True,
        metavar="KEY",
        help="Group runs by a config key (config.lr), or by all keys that differ but some (all-but:seed).",
    ),
    click.option(
        "--seed",
        "seeds",
        multiple=True,
        metavar="KEY",
        help="The key in which the runs of a group differ; by default, keys named like a seed.",
    ),
    click.option(
        "--best",
        metavar="METRIC[:min|max]",
        help="Rank runs and groups by METRIC, and test the lead of the best.",
    ),
    click.option(
        "--sort",
        metavar="METRIC[:min|max]",
        help="Rank runs and groups by METRIC, without a test; also by a column, created_at or config.KEY.",
    ),
    click.option(
        "--top", type=click.IntRange(min=1), metavar="N", help="Show only the N best runs or groups."
    ),
    click.option(
        "--at",
        default="last",
        show_default=True,
        metavar="STEP|last|best|checkpoint",
        help="Where in its history each run is read; best is where the metric of --best was best.",
    ),
    click.option(
        "--x",
        "axis",
        default="_step",
        show_default=True,
        metavar="METRIC|defined",
        help="The axis of --at; defined is the axis that each metric was defined over.",
    ),
    click.option(
        "--interpolation",
        type=click.Choice(["linear", "previous"]),
        default="linear",
        show_default=True,
        help="How values between two rows are computed.",
    ),
    click.option(
        "--ci",
        "interval",
        type=click.Choice(["t", "bootstrap"]),
        default="t",
        show_default=True,
        help="How the 95% interval of a group's mean is computed.",
    ),
    click.option(
        "--margin",
        metavar="NUMBER|PERCENT%",
        help="The largest difference that does not matter: within it, groups are equivalent.",
    ),
    click.option(
        "--alpha",
        type=float,
        default=0.05,
        show_default=True,
        metavar="SHARE",
        help="The share of false alarms that the tests may have.",
    ),
    click.option(
        "--task",
        metavar="KEY",
        help="Compare groups over several tasks: the values of a config key, such as config.dataset.",
    ),
    click.option(
        "--task-scale",
        "scale",
        type=click.Choice(["minmax", "raw"]),
        default="minmax",
        show_default=True,
        help="The scale of the scores of --task; minmax: in each task the worst run is 0 and the best is 1.",
    ),
    click.option(
        "--against",
        multiple=True,
        metavar="FILE",
        callback=named_bundles,
        help="Test the runs against those of this bundle, and exit with 7 if a --metric got worse.",
    ),
    click.option(
        "--metric",
        "gate_metrics",
        multiple=True,
        metavar="METRIC[:min|max]",
        help="A metric that must not get worse than in --against.",
    ),
    click.option(
        "--report-md",
        type=FILE_OUT,
        metavar="FILE",
        help="Write the result of --against as Markdown, for a comment on a pull request.",
    ),
)


def _compare_options(command: Command) -> Command:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@bundle_words
@source_options
@_compare_options
@assert_options
@origin_options
@engine_options
@hint_options
@format_options(compares=True)
@output_options
@click.pass_context
@uploads_of("report_md")
def compare(ctx: click.Context, /, **options: Any) -> None:
    """Compare runs: metrics, configs, groups over seeds, and whether a difference is real."""
    words = ["pull-logs", "compare", *typed_words(ctx)]
    evals = parse_evals(options.pop("evals"))
    sources = take_sources(options)
    sources.check()
    output = take_output(options)
    from functools import partial

    from pull_logs.analyze.answers import arrange, compare_runs
    from pull_logs.cli.pulling import progress_display
    from pull_logs.cli.regression_gate import answer_gate, gate_options
    from pull_logs.cli.render import COMPARISON_SHAPES, check_budget
    from pull_logs.cli.sections import compare_sections
    from pull_logs.interface import answering, comparison_of

    check_budget(output.max_tokens, as_json=output.as_json)
    unfold = options.pop("unfold") or options["select"] is not None
    gate, engine = gate_options(options), take_engine(options)
    if gate["against"]:
        answer_gate(sources, gate, {**options, "evals": evals}, output, engine=engine)
        return
    on_request = not output.as_json and output.max_tokens > 0
    question = comparison_of(**options, evals=evals, on_request=on_request, suggest=output.hints)
    with (
        engine as reading,
        answering(
            sources, partial(compare_runs, options=question, engine=reading), display=progress_display
        ) as (subjects, found),
    ):
        further = [[*words, *flags] for flags in found.pop("next")]
        answer = arrange(found, unfold=unfold)
        print_answer(
            answer, subjects, output, sections=compare_sections, shapes=COMPARISON_SHAPES, hints=further
        )
