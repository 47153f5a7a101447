"""The `pull-logs` command: the group of commands, the view without a command, and error reporting.

A command is imported when it is run, and heavy modules by the command that needs them, so that `--help` and
usage errors cost no more than click.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

import click

from pull_logs.cli.commands import add_examples
from pull_logs.cli.completion import COMPLETE_VARIABLE
from pull_logs.cli.formats import format_options
from pull_logs.cli.options import (
    assert_options,
    engine_options,
    hint_options,
    origin_options,
    output_options,
    source_options,
    typed_words,
    view_options,
)
from pull_logs.cli.signals import StopSignals
from pull_logs.cli.sources import take_sources
from pull_logs.cli.spelling import SpellingGroup, refuse_empty
from pull_logs.cli.streams import STDOUT, discard_output, prepare_streams
from pull_logs.errors import (
    ExpressionError,
    MachineLimitError,
    PullLogsError,
    UnknownNameError,
    UsageError,
)
from pull_logs.executors import processors

INTERNAL, USAGE, INTERRUPTED = 1, 2, 130
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"
_CONTINUE = "the same command continues where it stopped"
_START_OVER = "the same command starts over"
_AFTER_STOP: Mapping[str | None, str] = {
    None: f"{_START_OVER}; runs that were downloaded completely come from the cache",
    "archive": _CONTINUE,
    "compare": f"{_START_OVER}; runs that were downloaded completely come from the cache",
    "fetch": _CONTINUE,
    "overview": f"{_START_OVER}; runs that were downloaded completely come from the cache",
    "refresh": _CONTINUE,
}
"""What the same command does after an interruption, for the commands that do not simply start over."""

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "archive": ("archives.archive", "archive"),
    "audit": ("audit", "audit"),
    "cache": ("cache", "cache"),
    "compare": ("compare", "compare"),
    "completion": ("shells.completion", "completion"),
    "demo": ("demo", "demo"),
    "diff": ("diff", "diff"),
    "exec": ("exec", "exec_command"),
    "export": ("export", "export"),
    "fetch": ("fetch", "fetch"),
    "import": ("import_runs", "import_command"),
    "info": ("info", "info"),
    "logs": ("data.logs", "logs"),
    "mcp": ("servers.mcp", "mcp"),
    "media": ("data.media", "media"),
    "merge": ("merge", "merge"),
    "overview": ("overview", "overview"),
    "plot": ("pictures.plot", "plot"),
    "reconcile": ("proofs.reconcile", "reconcile"),
    "refresh": ("refresh", "refresh"),
    "report": ("pictures.report", "report"),
    "serve": ("serve", "serve"),
    "set": ("sets.group", "set_group"),
    "skill": ("skills.skill", "skill"),
    "sql": ("data.sql", "sql"),
    "subset": ("subset", "subset"),
    "sync": ("fetch", "sync"),
    "verify": ("proofs.verify", "verify"),
}
"""The module of `commands` that defines each command, and its name there."""


class _Stopped(Exception):  # noqa: N818 - nothing failed
    """A command was interrupted.

    Attributes:
        next_step: What the same command does.
    """

    def __init__(self, command: str | None) -> None:
        super().__init__(command)
        self.next_step = _AFTER_STOP.get(command, _START_OVER)


class _Group(SpellingGroup):
    """The group of all commands, which imports them on demand."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and report which one was interrupted."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as exc:
            raise _Stopped(ctx.invoked_subcommand) from exc

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS and cmd_name not in self.commands:
            module, name = _COMMANDS[cmd_name]
            package = "pull_logs.cli" if module == "cache" else "pull_logs.cli.commands"
            command = getattr(import_module(f"{package}.{module}"), name)
            add_examples(command, cmd_name)
            self.add_command(command)
        return super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse a command line; bundles without a command before them are sources of the view."""
        words = list(args)
        with suppress(click.UsageError):
            while rest := self.make_parser(ctx).parse_args(list(words))[1]:
                from pull_logs.cli.spelling import source_option

                first = len(words) - len(rest)
                if rest[0] in _COMMANDS or source_option(rest[0]) != "-b" or "--" in words[:first]:
                    break
                words[first:first] = ["-b"]
        return super().parse_args(ctx, words)


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@source_options
@view_options
@assert_options
@origin_options
@format_options(compares=True)
@output_options
@hint_options
@engine_options
@click.version_option(package_name="wandb-pull-logs", prog_name="pull-logs")
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """Show Weights & Biases runs, or process them with a command.

    Without a command: pull-logs SOURCES [VIEW], as in
    `pull-logs -b sweep.wandb.zip --stats` or `pull-logs -c best.pt --schema`.
    """
    words = typed_words(ctx)
    if ctx.invoked_subcommand is not None:
        if words:
            import shlex

            raise UsageError(
                f"{words[0]} is before the command {ctx.invoked_subcommand!r}",
                hint=f"write: pull-logs {ctx.invoked_subcommand} {shlex.join(words)}",
            )
        return
    if not words:
        click.echo(ctx.get_help())
        return
    from pull_logs.cli.show import show

    show(take_sources(options), **options)


add_examples(cli)


@dataclass(frozen=True, slots=True)
class _Failure:
    """How an error is reported.

    Attributes:
        text: The message.
        code: The exit code.
        kind: What comes before the message.
        caret: Lines after it: an expression and a caret under the part that is wrong.
    """

    text: str
    code: int
    kind: str = "error"
    caret: str = ""


def _fail(exc: BaseException) -> int:
    """Report an error on stderr and return the exit code."""
    from pull_logs.cli.render import inline

    failure = _describe(exc)
    click.echo(f"pull-logs: {failure.kind}: {inline(failure.text)}", err=True)
    if failure.caret:
        click.echo(failure.caret, err=True)
    return failure.code


def _describe(exc: BaseException) -> _Failure:
    """Return how an error is reported; a fault of this program is raised again where that is asked for."""
    exc = _of_machine(exc) or exc
    if isinstance(exc, (ExpressionError, UnknownNameError)):
        text, *lines = str(exc).rsplit("\n", 2)
        return _Failure(text, exc.exit_code, caret="\n".join(lines))
    if isinstance(exc, PullLogsError):
        return _Failure(str(exc), exc.exit_code)
    if isinstance(exc, click.ClickException):
        return _describe_click(exc)
    if isinstance(exc, _Stopped):
        return _Failure(f"interrupted; {exc.next_step}", INTERRUPTED, "stopped")
    if isinstance(exc, (KeyboardInterrupt, click.Abort)):
        return _Failure(f"interrupted; {_START_OVER}", INTERRUPTED, "stopped")
    if os.environ.get("PULL_LOGS_DEBUG"):
        raise exc
    text = f"{type(exc).__name__}: {exc}; set PULL_LOGS_DEBUG=1 for the traceback and report it"
    return _Failure(text, INTERNAL, "internal error")


def _of_machine(exc: BaseException) -> PullLogsError | None:
    """Return an error of the system that no module expected as one of this package; None for another."""
    if isinstance(exc, MemoryError):
        return MachineLimitError("there is not enough memory", hint="name fewer runs or metrics")
    if not isinstance(exc, OSError) or exc.errno is None:
        return None
    from pull_logs.system_errors import from_system_error

    if exc.filename == STDOUT:
        discard_output()
    return from_system_error(exc, action="used")


_WORDS = {
    "is not a valid integer range": "is not a whole number",
    "is not a valid integer": "is not a whole number",
    "is not a valid float range": "is not a number",
    "is not a valid float": "is not a number",
}
"""Plain words for those of click."""


def _describe_click(exc: click.ClickException) -> _Failure:
    """Return how an error of click is reported."""
    if isinstance(exc, click.NoSuchOption) and exc.ctx is not None:
        from pull_logs.cli.spelling import unknown_option

        return _Failure(str(unknown_option(exc.option_name, exc.ctx)), USAGE)
    if isinstance(exc, click.BadParameter) and exc.param is not None:
        from pull_logs.cli.spelling import nearest_choice

        if hint := nearest_choice(exc.message, exc.param):
            return _Failure(f"{exc.format_message().rstrip('.')}; {hint}", USAGE)
    if isinstance(exc, click.UsageError):
        command = exc.ctx.command_path if exc.ctx else "pull-logs"
        text = exc.format_message().rstrip(".")
        for kind, word in _WORDS.items():
            text = text.replace(kind, word)
        return _Failure(f"{text}; see `{command} --help`", USAGE)
    return _Failure(exc.format_message(), exc.exit_code)


def main(arguments: Sequence[str] | None = None, *, workers: int = 0) -> int:
    """Run one command line and return its exit code; every error is caught and reported here.

    Args:
        arguments: The words after the program's name; those of the process by default.
        workers: How many other processes a command may start to be faster.
    """
    try:
        _prepare_completion()
        refuse_empty(sys.argv[1:] if arguments is None else arguments)
        result = cli.main(args=arguments, prog_name="pull-logs", standalone_mode=False, obj=workers)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # The reader closed the pipe, which click turns into a SystemExit.
        discard_output()
        return 0
    except BaseException as exc:  # noqa: BLE001 - errors end here
        return _fail(exc)
    return result if isinstance(result, int) else 0


def _prepare_completion() -> None:
    """Complete the words of a shell with the names of bundles, where a shell asks for that."""
    if COMPLETE_VARIABLE in os.environ:
        from pull_logs.cli.completion import register_shells

        register_shells()


def _start_no_blas_threads() -> None:
    """Have numpy start no threads for linear algebra, which no command uses: they wait busily for work.

    The variable is not in `os.environ`, from which `exec` makes the environment of a program.
    """
    if _BLAS_THREADS not in os.environ:
        os.putenv(_BLAS_THREADS, "1")


def run() -> NoReturn:
    """Run the command line of the process and exit."""
    _start_no_blas_threads()
    # A view of thousands of runs makes hundreds of thousands of objects, all of which are used.
    gc.set_threshold(200_000, 20, 50)
    stop = StopSignals()
    stop.install()
    prepare_streams()
    code = stop.exit_code(main(workers=processors() - 1))
    # The end of the process frees all memory; a last collection would take a tenth of a view's time.
    gc.freeze()
    raise SystemExit(code)
