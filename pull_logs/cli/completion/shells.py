"""The shells that complete: click's scripts, with the names of bundles."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

from pull_logs.cli.completion.values import Line, bundles_in, file_item, values_at
from pull_logs.cli.completion.variable import COMPLETE_VARIABLE

if TYPE_CHECKING:
    _Base = ShellComplete
else:
    _Base = object

PROGRAM = "pull-logs"


class _Names(_Base):
    """Completes values of options by what the bundles of the line have, and arguments by files."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Return what the word under the cursor may be; nothing, and no message, where anything fails."""
        try:
            return self._found(args, incomplete)
        except Exception:  # noqa: BLE001 - a shell in the middle of a line must not show an error
            return []

    def _found(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        words = split_arg_string(os.environ.get("COMP_WORDS", ""))[1:]
        line = Line(_command(self.cli, args), args, incomplete, bundles_in(words))
        values = values_at(line)
        if values is not None:
            return values
        return super().get_completions(args, incomplete) or (
            [] if incomplete.startswith("-") else file_item(incomplete)
        )


def _command(group: click.Command, words: list[str]) -> click.Command:
    """Return the command of a line; the group itself where none is named."""
    command = group
    for word in words:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        if found is None:
            continue
        command = found
    return command


class _Bash(_Names, BashComplete):
    """bash."""


class _Zsh(_Names, ZshComplete):
    """zsh."""


class _Fish(_Names, FishComplete):
    """fish."""


SHELLS: Mapping[str, type[ShellComplete]] = {"bash": _Bash, "fish": _Fish, "zsh": _Zsh}
"""The shells."""


def register_shells() -> None:
    """Make click complete with the names of bundles."""
    for shell in SHELLS.values():
        add_completion_class(shell)


def shell_script(shell: str, group: click.Command) -> str:
    """Return the script that a shell reads to complete.

    Args:
        shell: One of `SHELLS`.
        group: The command.
    """
    arguments: dict[str, Any] = {}
    return SHELLS[shell](group, arguments, PROGRAM, COMPLETE_VARIABLE).source()
