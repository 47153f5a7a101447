"""The right spelling of a command or an option that does not exist, or is an option of another command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from pull_logs.errors import UsageError
from pull_logs.suggestions import did_you_mean, listed

_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".safetensors", ".bin")
_CUTOFF = 0.75
_MOST = 2


def unknown_command(name: str, commands: Sequence[str]) -> UsageError:
    """Return the error about a word that is not a command: a source without its option, or a typing error.

    Args:
        name: The word.
        commands: The commands that exist.
    """
    option = _source_option(name)
    if option is not None:
        hint = f"write: pull-logs {option} {shlex.quote(name)}"
    else:
        every = f"the commands are {', '.join(commands)}"
        hint = did_you_mean(name, commands, otherwise=every, cutoff=_CUTOFF, most=_MOST)
    return UsageError(f"{name!r} is not a command", hint=hint)


def _source_option(name: str) -> str | None:
    """Return the option that a word needs before it if it is a bundle, a checkpoint or a run."""
    path = Path(name)
    if name.endswith((".wandb.zip", ".zip")) or (path / "datapackage.json").is_file():
        return "-b"
    if path.suffix in _CHECKPOINTS:
        return "-c"
    return "-r" if "/" in name or path.is_dir() else None


def unknown_option(name: str, context: click.Context) -> UsageError:
    """Return the error about an option that a command does not have.

    Args:
        name: The option, as it was typed.
        context: The context of the command.
    """
    command, group = context.command, context.find_root()
    whose = "pull-logs" if context.parent is None else f"pull-logs {context.info_name}"
    elsewhere = [] if command is group.command else [("SOURCES", group.command)]
    elsewhere += [item for item in _commands(group) if item[1] is not command]
    owners = [where for where, other in elsewhere if name in _options(other)]
    if owners:
        hint = _owned(name, owners)
    else:
        usage = f"see `{whose} --help`"
        known = [option for option in _options(command) if option.startswith("--")]
        hint = did_you_mean(name, known, otherwise=usage, cutoff=_CUTOFF, most=_MOST)
    return UsageError(f"`{whose}` has no option {name!r}", hint=hint)


def _owned(name: str, owners: Sequence[str]) -> str:
    """Say which commands have an option; the bare view comes first where it is one of them."""
    if owners[0] == "SOURCES":
        return f"it is an option of the view, which has no command: pull-logs SOURCES {name}"
    if len(owners) == 1:
        return f"write: pull-logs {owners[0]} {name}"
    return f"it is an option of {listed(owners)}"


def _commands(group: click.Context) -> Iterator[tuple[str, click.Command]]:
    if isinstance(group.command, click.Group):
        for name in group.command.list_commands(group):
            command = group.command.get_command(group, name)
            if command is not None:
                yield name, command


def _options(command: click.Command) -> list[str]:
    """Return the spellings of the options of a command."""
    return [
        spelling
        for param in command.params
        if isinstance(param, click.Option)
        for spelling in (*param.opts, *param.secondary_opts)
    ]
