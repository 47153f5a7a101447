"""The `pull-logs` command: its group, its bare view and its one error edge.

A command is imported when it is asked for, and everything heavy by the command that
needs it, so that `--help` and usage errors cost no more than click, and a view no more
than it needs.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Mapping, Sequence
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
from pull_logs.cli.spelling import unknown_command, unknown_option
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
    "verify": ("verify", "verify"),
}
"""The module of this folder that each command is in, and its name there."""


class _Group(click.Group):
    """A group whose bare form is a view, and which says where a misplaced word belongs."""

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
    """Show Weights & Biases runs, or work on them with a command.

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


def _say(kind: str, text: str) -> None:
    """One line on stderr, whatever a server or a file has put into the text."""
    from pull_logs.cli.render import inline

    click.echo(f"pull-logs: {kind}: {inline(text)}", err=True)


def _fail(exc: BaseException) -> int:
    """Tell an error in one line (an expression's adds its caret) and give the exit code."""
    kind, text, code, caret = "error", str(exc), USAGE, ""
    if isinstance(exc, PullLogsError):
        code = exc.exit_code
        if isinstance(exc, (ExpressionError, UnknownNameError)):
            text, *lines = text.rsplit("\n", 2)
            caret = "\n".join(lines)
    elif isinstance(exc, click.NoSuchOption) and exc.ctx is not None:
        text = str(unknown_option(exc.option_name, exc.ctx))
    elif isinstance(exc, click.UsageError):
        command = exc.ctx.command_path if exc.ctx else "pull-logs"
        text = f"{exc.format_message().rstrip('.')}; see `{command} --help`"
    elif isinstance(exc, click.ClickException):
        text, code = exc.format_message(), exc.exit_code
    elif isinstance(exc, (KeyboardInterrupt, click.Abort)):
        kind, code = "stopped", INTERRUPTED
        text = "interrupted; the same command goes on where it stopped"
    elif isinstance(exc, OSError) and exc.errno is not None:
        text, code = f"{exc.strerror}: {exc.filename or 'no file name'}", INTERNAL
    elif os.environ.get("PULL_LOGS_DEBUG"):
        raise exc
    else:
        kind, code = "internal error", INTERNAL
        text = f"{type(exc).__name__}: {exc}; set PULL_LOGS_DEBUG=1 for the traceback and report it"
    _say(kind, text)
    if caret:
        click.echo(caret, err=True)
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code; the only place that catches everything.

    Args:
        arguments: The words after the program's name; those of the process by default.
    """
    try:
        result = cli.main(args=arguments, prog_name="pull-logs", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # The reader has seen enough (click makes a SystemExit of that); what Python still holds goes nowhere.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as exc:  # noqa: BLE001 - the error edge
        return _fail(exc)
    return result if isinstance(result, int) else 0


def run() -> NoReturn:
    """The console script."""
    code = main()
    # Nothing is left to be freed but by the end of the process; looking for it would take a tenth of a view.
    gc.freeze()
    raise SystemExit(code)
