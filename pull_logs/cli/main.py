"""The `pull-logs` command: the group of commands, the view without a command, and error reporting.

A command is imported when it is run, and heavy modules by the command that needs them, so that `--help` and
usage errors cost no more than click.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

import click

from pull_logs.cli.options import (
    assert_options,
    hint_options,
    origin_options,
    output_options,
    source_options,
    typed_words,
    view_options,
)
from pull_logs.cli.sources import take_sources
from pull_logs.errors import ExpressionError, PullLogsError, UnknownNameError, UsageError

INTERNAL, USAGE, INTERRUPTED = 1, 2, 130
_COMMANDS: Mapping[str, tuple[str, str]] = {
    "audit": ("audit", "audit"),
    "compare": ("compare", "compare"),
    "demo": ("demo", "demo"),
    "diff": ("diff", "diff"),
    "exec": ("exec", "exec_command"),
    "export": ("export", "export"),
    "fetch": ("fetch", "fetch"),
    "import": ("import_runs", "import_command"),
    "info": ("info", "info"),
    "merge": ("merge", "merge"),
    "overview": ("overview", "overview"),
    "refresh": ("refresh", "refresh"),
    "serve": ("serve", "serve"),
    "subset": ("subset", "subset"),
    "sync": ("fetch", "sync"),
    "verify": ("verify", "verify"),
}
"""The module of `commands` that defines each command, and its name there."""


class _Group(click.Group):
    """A group that imports commands on demand and suggests the right spelling of one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS and cmd_name not in self.commands:
            module, name = _COMMANDS[cmd_name]
            self.add_command(getattr(import_module(f"pull_logs.cli.commands.{module}"), name))
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            from pull_logs.cli.spelling import unknown_command

            raise unknown_command(name, self.list_commands(ctx))
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@source_options
@view_options
@assert_options
@origin_options
@output_options
@hint_options
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
    if isinstance(exc, (ExpressionError, UnknownNameError)):
        text, *lines = str(exc).rsplit("\n", 2)
        return _Failure(text, exc.exit_code, caret="\n".join(lines))
    if isinstance(exc, PullLogsError):
        return _Failure(str(exc), exc.exit_code)
    if isinstance(exc, click.ClickException):
        return _describe_click(exc)
    if isinstance(exc, (KeyboardInterrupt, click.Abort)):
        return _Failure("interrupted; the same command continues where it stopped", INTERRUPTED, "stopped")
    if isinstance(exc, OSError) and exc.errno is not None:
        return _Failure(f"{exc.strerror}: {exc.filename or 'no file name'}", INTERNAL)
    if os.environ.get("PULL_LOGS_DEBUG"):
        raise exc
    text = f"{type(exc).__name__}: {exc}; set PULL_LOGS_DEBUG=1 for the traceback and report it"
    return _Failure(text, INTERNAL, "internal error")


def _describe_click(exc: click.ClickException) -> _Failure:
    """Return how an error of click is reported."""
    if isinstance(exc, click.NoSuchOption) and exc.ctx is not None:
        from pull_logs.cli.spelling import unknown_option

        return _Failure(str(unknown_option(exc.option_name, exc.ctx)), USAGE)
    if isinstance(exc, click.UsageError):
        command = exc.ctx.command_path if exc.ctx else "pull-logs"
        return _Failure(f"{exc.format_message().rstrip('.')}; see `{command} --help`", USAGE)
    return _Failure(exc.format_message(), exc.exit_code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; every error is caught and reported here.

    Args:
        arguments: The words after the program's name; those of the process by default.
    """
    try:
        result = cli.main(args=arguments, prog_name="pull-logs", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # The reader closed the pipe, which click turns into a SystemExit; output that is left is discarded.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as exc:  # noqa: BLE001 - errors end here
        return _fail(exc)
    return result if isinstance(result, int) else 0


def run() -> NoReturn:
    """Run the command line of the process and exit."""
    code = main()
    # The end of the process frees all memory; a last collection would take a tenth of a view's time.
    gc.freeze()
    raise SystemExit(code)
