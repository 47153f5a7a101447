"""`exec`: a command for which bundles are all of W&B there is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import near
from pull_logs.errors import FileMissingError, UsageError

if TYPE_CHECKING:
    import subprocess

_HANDED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "-b",
    "--bundle",
    "bundles",
    multiple=True,
    required=True,
    metavar="FILE",
    callback=near,
    help="A bundle to read from; repeatable.",
)
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
def exec_command(bundles: tuple[Path, ...], command: tuple[str, ...]) -> int:
    """Run a command whose wandb.Api() reads these bundles and nothing else.

    Exits with what the command exits with; 128 + N if signal N ended it.
    """
    from pull_logs.cli.render import inline
    from pull_logs.replay import serve_bundle, without_wandb

    with serve_bundle(*bundles) as server:
        code = _run(command, {**without_wandb(os.environ), **server.environment()})
        refused = server.refused.as_dict()
    for address in refused:
        click.echo(inline(f"pull-logs: refused: W&B at {address}; only bundles answer here"), err=True)
    return code


def _run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command to its end and give its exit code."""
    import subprocess

    with _handing_on_signals() as started:
        try:
            process = subprocess.Popen(command, env=environ)  # noqa: S603 - to run what was typed is the point
        except FileNotFoundError as exc:
            raise FileMissingError(
                f"there is no command {command[0]!r}",
                hint="write: pull-logs exec -b BUNDLE -- COMMAND ARGUMENTS",
            ) from exc
        except OSError as exc:
            raise UsageError(f"{command[0]!r} cannot be run: {exc.strerror}") from exc
        with process:
            started(process)
            code = process.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _handing_on_signals() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Hand signals on while the block runs, so that whoever stops this process stops the command.

    Yields a function to call with the process once it is started; signals that
    came before go to it then.
    """
    processes: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def hand_on(number: int, _frame: Any) -> None:
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

    numbers = [getattr(signal, name) for name in _HANDED_ON if hasattr(signal, name)]
    before = {number: signal.signal(number, hand_on) for number in numbers}
    try:
        yield started
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    """Whether Ctrl-C in a terminal reaches the command by itself, as it does all of the foreground group."""
    if sys.platform == "win32":
        return True
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False
