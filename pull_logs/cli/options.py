"""The flags that several commands share, and the values they become.

The names are those of design section 3: sources say which runs, the view says
what to show of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pull_logs.cli.bundle_paths import OUT, near_or_far
from pull_logs.errors import UsageError

Command = Callable[..., Any]


def _decorate(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


_RUN = click.option(
    "-r",
    "--run",
    "runs",
    multiple=True,
    metavar="PATH",
    help="entity/project/run_id, a part of it, a run URL or a local W&B run folder.",
)
_CHECKPOINT = click.option(
    "-c",
    "--checkpoint",
    "checkpoints",
    multiple=True,
    metavar="FILE",
    help="A checkpoint that carries its run; globs and folders too.",
)
_BUNDLE = click.option(
    "-b",
    "--bundle",
    "bundles",
    multiple=True,
    metavar="FILE",
    callback=near_or_far,
    help="A bundle, or the URL of one; runs named by -r and -c are looked up in it.",
)
_PROJECT = click.option(
    "-p", "--project", "projects", multiple=True, metavar="ENTITY/PROJECT", help="All runs there."
)
_SWEEP = click.option("--sweep", "sweeps", multiple=True, metavar="E/P/ID", help="All runs of a sweep.")
_FILTER = click.option(
    "--filter",
    "keep",
    metavar="EXPR",
    help="Keep runs for which EXPR holds, as in 'config.lr <= 1e-3 and state == \"finished\"'.",
)
_CHECKPOINT_KEY = click.option(
    "--checkpoint-key", metavar="KEY", help="Where a checkpoint holds its run, as in 'meta.run'."
)


def source_options(command: Command) -> Command:
    """The flags that say which runs: -r -c -b -p --sweep --filter --checkpoint-key."""
    return _decorate(command, (_RUN, _CHECKPOINT, _BUNDLE, _PROJECT, _SWEEP, _FILTER, _CHECKPOINT_KEY))


def pick_options(command: Command) -> Command:
    """The flags that say which runs of a bundle that is named without a flag: those of sources but -b."""
    return _decorate(command, (_RUN, _CHECKPOINT, _PROJECT, _SWEEP, _FILTER, _CHECKPOINT_KEY))


def origin_options(command: Command) -> Command:
    """The flags that say where an answer may come from: --refresh --offline."""
    return _decorate(
        command,
        (
            click.option("--refresh", is_flag=True, help="Ask W&B again instead of the local cache."),
            click.option(
                "--offline", is_flag=True, envvar="PULL_LOGS_OFFLINE", help="Never touch the network."
            ),
        ),
    )


def view_options(command: Command) -> Command:
    """The flags that say what to show: the seed skill's, and the budgets."""
    return _decorate(
        command,
        (
            click.option("--schema", is_flag=True, help="Names, types, counts and ranges of the metrics."),
            click.option("--stats", is_flag=True, help="Percentiles, mean, first and last of the metrics."),
            click.option("--select", metavar="REGEX", help="Only metrics whose name matches."),
            click.option("--where", metavar="EXPR", help="Only rows for which EXPR holds."),
            click.option(
                "--eval",
                "evals",
                multiple=True,
                metavar="NAME=EXPR",
                help="Add a column; a later one may use an earlier one.",
            ),
            click.option(
                "--show-all", is_flag=True, help="Show rows in which every selected metric is missing too."
            ),
            click.option(
                "--around", type=int, metavar="STEP", help="Only the row nearest to STEP and those beside it."
            ),
            click.option(
                "--window", type=int, metavar="N", help="Rows on each side of --around; 10 by default."
            ),
            click.option("--last", type=int, metavar="N", help="Only the last N rows."),
            click.option(
                "--every", type=int, metavar="N", help="Only the first row and every N-th after it."
            ),
            click.option("-H", "--human", is_flag=True, help="Compact, without the history."),
            click.option(
                "--max-rows",
                type=click.IntRange(min=0),
                default=200,
                show_default=True,
                help="History rows a run; 0 for all.",
            ),
        ),
    )


def assert_options(command: Command) -> Command:
    """The flag of gates: --assert."""
    return _decorate(
        command,
        (
            click.option(
                "--assert",
                "asserts",
                multiple=True,
                metavar="EXPR",
                help="Exit 7 where EXPR does not hold: of each run's summary, or of its rows with 'any: EXPR', "
                "'all: EXPR' or 'step 1000: EXPR'.",
            ),
        ),
    )


def hint_options(command: Command) -> Command:
    """The flag of commands that say what to ask next: --no-hints."""
    return _decorate(
        command,
        (
            click.option(
                "--hints/--no-hints",
                default=True,
                help="Say on stderr which commands to run next, two at most.",
            ),
        ),
    )


def output_options(command: Command) -> Command:
    """The flags of every answer: --json --max-tokens --strict."""
    return _decorate(
        command,
        (
            click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text sections."),
            click.option(
                "--max-tokens",
                type=click.IntRange(min=0),
                default=16000,
                show_default=True,
                help="Length of the answer, at 3 bytes a token; 0 for no limit.",
            ),
            click.option("--strict", is_flag=True, help="Incomplete data is an error (exit 4)."),
        ),
    )


def typed_words(ctx: click.Context) -> list[str]:
    """The options of a command that were typed, as words that mean the same again."""
    words: list[str] = []
    for param in ctx.command.params:
        if ctx.get_parameter_source(param.name or "") is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = ctx.params[param.name or ""]
        if value is True:
            words.append(param.opts[0])
        else:
            for item in value if isinstance(value, tuple) else (value,):
                words += [param.opts[0], str(item)]
    return words


def parse_evals(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`NAME=EXPR` texts as pairs.

    Raises:
        UsageError: A text has no name or no expression.
    """
    pairs = []
    for text in texts:
        name, equals, expression = text.partition("=")
        if not (equals and name.strip() and expression.strip()) or expression.startswith("="):
            raise UsageError(
                f"--eval {text!r} is not NAME=EXPR", hint="write it as --eval 'gap=train/loss - val/loss'"
            )
        pairs.append((name.strip(), expression.strip()))
    return tuple(pairs)


bundle_out_option = click.option(
    "-o", "--out", required=True, type=OUT, metavar="FILE", help="The bundle to write."
)
