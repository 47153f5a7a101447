"""`exec`: run a command whose requests to W&B are answered from bundles."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import Named, named_bundles
from pull_logs.cli.spelling import source_option
from pull_logs.errors import FileMissingError, UsageError

if TYPE_CHECKING:
    import subprocess

_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "-b",
    "--bundle",
    "bundles",
    multiple=True,
    metavar="FILE",
    callback=named_bundles,
    help="A bundle to read; repeatable. BUNDLE before -- is the same.",
)
@click.argument("command", nargs=-1, metavar="[BUNDLE...] -- COMMAND...", type=click.UNPROCESSED)
def exec_command(bundles: tuple[Named, ...], command: tuple[str, ...]) -> int:
    """Run a command whose wandb.Api() reads these bundles and nothing else.

    Exits with what the command exits with; 128 + N if signal N ended it.
    """
    from pull_logs.cli.render import inline
    from pull_logs.interface import find_bundles
    from pull_logs.replay import serve_bundle, without_wandb

    context = click.get_current_context()
    if "--" in command:
        end = command.index("--")
        bundles += named_bundles(context, context.command.params[0], command[:end])
        command = command[end + 1 :]
    named = find_bundles(bundles)
    if not named and command and source_option(command[0]) == "-b":
        words = f"{shlex.quote(command[0])} -- {shlex.join(command[1:]) or 'COMMAND'}"
        raise UsageError("exec has no -- before the command", hint=f"write: pull-logs exec {words}")
    if not named:
        raise click.UsageError("Missing option '-b' / '--bundle'.", ctx=context)
    if not command:
        raise click.UsageError("Missing argument '-- COMMAND...'.", ctx=context)
    with serve_bundle(*named) as server:
        code = _run(command, {**without_wandb(os.environ), **server.environment()})
        refused = server.refused.as_dict()
    for address in refused:
        click.echo(inline(f"pull-logs: refused: W&B at {address}; only bundles answer here"), err=True)
    return code


def _run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command to its end and return its exit code."""
    import subprocess

    with _forwarding_signals() as started:
        try:
            process = subprocess.Popen(command, env=environ)  # noqa: S603 - running what was typed is the purpose
        except FileNotFoundError as exc:
            raise FileMissingError(
                f"the command {command[0]!r} does not exist",
                hint="write: pull-logs exec -b BUNDLE -- COMMAND ARGUMENTS",
            ) from exc
        except OSError as exc:
            raise UsageError(f"{command[0]!r} cannot be run: {exc.strerror}") from exc
        with process:
            started(process)
            code = process.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _forwarding_signals() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Forward signals to the command while the block runs, so that stopping this process stops the command.

    Yields a function to call with the process once it is started; signals received before are forwarded then.
    """
    processes: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def forward(number: int, _frame: Any) -> None:
        if number == signal.SIGINT and _in_foreground():
            return
        if processes:
            processes[0].send_signal(number)
        else:
            early.append(number)

    def started(process: subprocess.Popen[bytes]) -> None:
        processes.append(process)
        for number in early:
            process.send_signal(number)

    numbers = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
    before = {number: signal.signal(number, forward) for number in numbers}
    try:
        yield started
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    """Return whether Ctrl-C in a terminal reaches the command by itself, as part of the foreground group."""
    if sys.platform == "win32":
        return True
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False
