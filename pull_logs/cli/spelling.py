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
_CHECKED = ("-o", "--out", "--files")
"""Options whose values their commands check themselves."""

_CHOICE_CUTOFF = 0.5
_MOST = 2
_NEAR = 0.85
"""How similar an option of the command must be to be named before another command that has it exactly."""


class SpellingGroup(click.Group):
    """A group that suggests the right spelling of a command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a command line.

        Raises:
            UsageError: There is no such command.
        """
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise unknown_command(name, self.list_commands(ctx), sources=ctx.parent is None)
        return super().resolve_command(ctx, args)


def unknown_command(name: str, commands: Sequence[str], *, sources: bool = True) -> UsageError:
    """Return the error about a word that is not a command: a source without its option, or a typing error.

    Args:
        name: The word.
        commands: The commands that exist.
        sources: Whether the word may also be a source of the view.
    """
    option = source_option(name) if sources else None
    if option is not None:
        hint = f"write: pull-logs {option} {shlex.quote(name)}"
    else:
        every = f"the commands are {', '.join(commands)}"
        hint = did_you_mean(name, commands, otherwise=every, cutoff=_CUTOFF, most=_MOST)
    return UsageError(f"{name!r} is not a command", hint=hint)


def source_option(name: str) -> str | None:
    """Return the option that names a word if it is a bundle, a checkpoint or a run."""
    path = Path(name)
    if path.name.endswith((".zip", ".zip]", ".zip*")) or (path / "datapackage.json").is_file():
        return "-b"
    if path.is_dir() and any(path.glob("*.wandb.zip")):
        return "-b"
    if path.suffix in _CHECKPOINTS:
        return "-c"
    return "-r" if "/" in name or path.is_dir() else None


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse empty words of a command line, which name nothing; those of the command of `exec` may be empty.

    Raises:
        UsageError: A word, or the value of an option, is empty.
    """
    words = list(arguments)
    if words[:1] == ["exec"] and "--" in words:
        words = words[: words.index("--")]
    for before, word in zip(["", *words], words, strict=False):
        if before in _CHECKED:
            continue
        option, equals, value = word.partition("=")
        if word.startswith("--") and equals and not value and option not in _CHECKED:
            raise _empty(option)
        if not word:
            raise _empty(before)


def _empty(before: str) -> UsageError:
    if before.startswith("-"):
        return UsageError(f"{before} has an empty value", hint=f"give it a value, or omit {before}")
    return UsageError("an argument is empty", hint="name something, or omit it")


def nearest_choice(message: str, param: click.Parameter) -> str:
    """Return the hint of an error about a value that is none of the choices of an option, or no text."""
    if not isinstance(param.type, click.Choice) or "'" not in message:
        return ""
    choices = list(map(str, param.type.choices))
    return did_you_mean(message.split("'")[1], choices, cutoff=_CHOICE_CUTOFF, most=_MOST)


def unknown_option(name: str, context: click.Context) -> UsageError:
    """Return the error about an option that a command does not have.

    Args:
        name: The option, as it was typed.
        context: The context of the command.
    """
    command, group = context.command, context.find_root()
    whose = context.command_path if context.parent is not None else "pull-logs"
    elsewhere = [] if command is group.command else [("SOURCES", group.command)]
    elsewhere += [item for item in _commands(group) if item[1] is not command]
    owners = [where for where, other in elsewhere if name in _options(other)]
    known = [option for option in _options(command) if option.startswith("--")]
    if owners:
        near = did_you_mean(name, known, cutoff=_NEAR, most=1)
        hint = f"{near}; or {_owned(name, owners)}" if near else _owned(name, owners)
    else:
        usage = f"see `{whose} --help`"
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
            if isinstance(command, click.Group):
                yield from ((f"{name} {below}", item) for below, item in command.commands.items())


def _options(command: click.Command) -> list[str]:
    """Return the spellings of the options of a command."""
    return [
        spelling
        for param in command.params
        if isinstance(param, click.Option)
        for spelling in (*param.opts, *param.secondary_opts)
    ]
