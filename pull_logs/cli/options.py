"""The options that several commands share (docs/cli.md, "Options shared by the commands").

Sources say which runs a command is about, views what is shown of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import FILE_OUT, named_bundles
from pull_logs.errors import UsageError

if TYPE_CHECKING:
    from pull_logs.executors import Engine

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
    help="entity/project/run_id, a part of it, a URL, or a local folder or file of W&B or another tracker.",
)
_CHECKPOINT = click.option(
    "-c",
    "--checkpoint",
    "checkpoints",
    multiple=True,
    metavar="FILE",
    help="A checkpoint that names its run; also a glob or a folder.",
)
_BUNDLE = click.option(
    "-b",
    "--bundle",
    "bundles",
    multiple=True,
    metavar="FILE",
    callback=named_bundles,
    help="A bundle, a folder or glob of bundles, or a URL; runs of -r and -c are looked up in it.",
)
_PROJECT = click.option(
    "-p",
    "--project",
    "projects",
    multiple=True,
    metavar="ENTITY/PROJECT",
    help="All runs of a project; also its URL.",
)
_SWEEP = click.option(
    "--sweep", "sweeps", multiple=True, metavar="E/P/ID", help="All runs of a sweep; also its URL."
)
_TENSORBOARD = click.option(
    "--tensorboard", multiple=True, metavar="PATH", help="Event files of TensorBoard, or a folder above them."
)
_MLFLOW = click.option(
    "--mlflow",
    multiple=True,
    metavar="STORE",
    help="Runs of MLflow: sqlite:///mlflow.db, mlruns/ or the URL of a server.",
)
_TRACKIO = click.option(
    "--trackio", multiple=True, metavar="PATH", help="A database of Trackio, or a folder of databases."
)
_TRACKERS = (_TENSORBOARD, _MLFLOW, _TRACKIO)
_FILTER = click.option(
    "--filter",
    "keep",
    metavar="EXPR",
    help="Only runs for which EXPR holds, for example 'config.lr <= 1e-3 and state == \"finished\"'.",
)
_CHECKPOINT_KEY = click.option(
    "--checkpoint-key", metavar="KEY", help="The key of the run path in a checkpoint, for example 'meta.run'."
)


def source_options(command: Command) -> Command:
    """Add the options that name runs, and those of trackers."""
    named = (_RUN, _CHECKPOINT, _BUNDLE, _PROJECT, _SWEEP, *_TRACKERS)
    return _decorate(command, (*named, _FILTER, _CHECKPOINT_KEY))


def bundle_words(command: Command) -> Command:
    """Add bundles as arguments, for commands that take `-b` too."""
    return click.argument("words", nargs=-1, metavar="[BUNDLE]...", callback=named_bundles)(command)


def pick_options(command: Command) -> Command:
    """Add the options that name runs of a bundle given as an argument: those of sources without -b."""
    return _decorate(command, (_RUN, _CHECKPOINT, _PROJECT, _SWEEP, _FILTER, _CHECKPOINT_KEY))


def origin_options(command: Command) -> Command:
    """Add the options about the cache and the network: --refresh --offline."""
    return _decorate(
        command,
        (
            click.option("--refresh", is_flag=True, help="Download again what the cache has."),
            click.option(
                "--offline", is_flag=True, envvar="PULL_LOGS_OFFLINE", help="Never use the network."
            ),
        ),
    )


where_option = click.option("--where", metavar="EXPR", help="Only rows for which EXPR holds.")
eval_option = click.option(
    "--eval",
    "evals",
    multiple=True,
    metavar="NAME=EXPR",
    help="Add a computed column; it may use columns added before it.",
)
unfold_option = click.option(
    "--unfold", is_flag=True, help="Show each of the names that differ only in numbers; --select does too."
)

_VIEW = (
    click.option("--schema", is_flag=True, help="Show names, types, counts and ranges of the metrics."),
    click.option(
        "--stats", is_flag=True, help="Show percentiles, mean, first and last value of the metrics."
    ),
    click.option(
        "--quantiles", metavar="P,P,...", help="Show --stats with these percentiles, such as 50,95,99."
    ),
    click.option("--meta", is_flag=True, help="Show when, where and with what each run ran."),
    click.option("--select", metavar="REGEX", help="Only metrics whose name matches."),
    unfold_option,
    where_option,
    eval_option,
    click.option("--show-all", is_flag=True, help="Show rows in which every selected metric is missing."),
    click.option(
        "--around",
        type=int,
        metavar="STEP",
        help="Only the row nearest to STEP and rows before and after it.",
    ),
    click.option(
        "--window",
        type=int,
        metavar="N",
        help="Number of rows before and after --around; 10 by default.",
    ),
    click.option("--last", type=int, metavar="N", help="Only the last N rows."),
    click.option("--every", type=int, metavar="N", help="Only every N-th row, starting with the first."),
    click.option("-H", "--human", is_flag=True, help="Show a short overview without the history."),
    click.option(
        "--max-rows",
        type=click.IntRange(min=0),
        default=200,
        show_default=True,
        help="Most rows of history per run; 0 for all.",
    ),
)


def view_options(command: Command) -> Command:
    """Add the options that say what to show, and how many rows."""
    return _decorate(command, _VIEW)


def assert_options(command: Command) -> Command:
    """Add the option that checks conditions: --assert."""
    return _decorate(
        command,
        (
            click.option(
                "--assert",
                "asserts",
                multiple=True,
                metavar="EXPR",
                help="Exit with 7 unless EXPR holds for each run's summary, or for its rows "
                "with 'any: EXPR', 'all: EXPR' or 'step 1000: EXPR'.",
            ),
        ),
    )


def hint_options(command: Command) -> Command:
    """Add the option that turns off hints: --no-hints."""
    return _decorate(
        command,
        (
            click.option(
                "--hints/--no-hints",
                default=True,
                help="Print on stderr which commands to run next, at most two.",
            ),
        ),
    )


def engine_options(command: Command) -> Command:
    """Add the options about where histories are read: --jobs --engine."""
    return _decorate(
        command,
        (
            click.option(
                "--jobs", type=click.IntRange(min=1), metavar="N", help="Read histories in N processes."
            ),
            click.option(
                "--engine",
                "engine_name",
                metavar="processes|threads|dask://HOST:PORT",
                help="What reads histories: processes (--jobs), threads, or the workers of a Dask cluster.",
            ),
        ),
    )


def take_engine(options: dict[str, Any]) -> AbstractContextManager[Engine]:
    """Remove the options about where histories are read, and return what starts it (see `open_engine`)."""
    from pull_logs.executors import open_engine

    return open_engine(options.pop("engine_name"), jobs=options.pop("jobs"))


budget_option = click.option(
    "--max-tokens",
    type=click.IntRange(min=0),
    help="Most tokens of the answer; 0 for no limit. By default 16000.",
)

text_budget_option = click.option(
    "--max-tokens",
    type=click.IntRange(min=0),
    help="Most tokens of the text; 0 for no limit. By default 16000. JSON is always complete.",
)


def output_options(command: Command) -> Command:
    """Add the options about the output: --max-tokens --strict."""
    return _decorate(
        command,
        (
            click.option(
                "--max-tokens",
                type=click.IntRange(min=0),
                help="Most tokens of the answer; 0 for no limit. By default 16000; for text, 2500 in "
                "overview and 1500 with -H.",
            ),
            click.option("--strict", is_flag=True, help="Exit with 4 if data is incomplete."),
        ),
    )


def typed_words(ctx: click.Context) -> list[str]:
    """Return the options that were typed, as words of an equivalent command line."""
    words: list[str] = []
    for param in ctx.command.params:
        if ctx.get_parameter_source(param.name or "") is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = ctx.params[param.name or ""]
        if isinstance(param, click.Argument):
            words += map(str, value)
        elif value is True:
            words.append(param.opts[0])
        else:
            for item in value if isinstance(value, tuple) else (value,):
                words += [param.opts[0], str(item)]
    return words


def parse_evals(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Split `NAME=EXPR` texts into pairs.

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
    "-o",
    "--out",
    required=True,
    type=FILE_OUT,
    metavar="FILE",
    help="The bundle to write, or the URL of one on object storage.",
)

force_option = click.option(
    "--force", is_flag=True, help="Replace FILE even if it is not a bundle, or one of another selection."
)
