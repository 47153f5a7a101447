"""What the word under the cursor of a shell may be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click
from click.shell_completion import CompletionItem

from pull_logs.cli.completion.names import Kind, names_in

_NAMES: Mapping[str, Sequence[Kind]] = {
    "--run": ("run",),
    "--select": ("metric",),
    "--metric": ("metric",),
    "--best": ("metric",),
    "--sort": ("metric", "key"),
    "--effect": ("metric",),
    "--x": ("metric",),
    "--group-by": ("key",),
    "--seed": ("key",),
    "--task": ("key",),
}
"""The options whose value is a name."""

_EXPRESSIONS: Mapping[str, Sequence[Kind]] = {
    "--filter": ("field",),
    "--where": ("metric",),
    "--eval": ("metric",),
    "--assert": ("metric",),
    "--column": ("metric", "key"),
    "--fit": ("metric", "key"),
    "--pareto": ("metric", "key"),
}
"""The options whose value is an expression, of which the last name is completed."""

_FILES = ("FILE", "PATH", "PATTERN")
_LAST_NAME = re.compile(r"[A-Za-z_][\w./:]*$")


@dataclass(frozen=True, slots=True)
class Line:
    """A command line under a cursor.

    Attributes:
        command: The command.
        before: The words before the one under the cursor.
        word: What is typed of that.
        bundles: The bundles that the complete line names.
    """

    command: click.Command
    before: Sequence[str]
    word: str
    bundles: Sequence[str]


def bundles_in(words: Sequence[str]) -> list[str]:
    """Return the words of a line that name bundles."""
    from pull_logs.cli.spelling import source_option

    found = []
    for before, word in zip(["", *words], words, strict=False):
        if before in ("-b", "--bundle"):
            found.append(word)
        elif word.startswith("--bundle="):
            found.append(word.partition("=")[2])
        elif (
            ("=" in before or not before.startswith("-"))
            and not word.startswith("-")
            and source_option(word) == "-b"
        ):
            found.append(word)
    return found


def values_at(line: Line) -> list[CompletionItem[str]] | None:
    """Return what the value under the cursor may be; None if it is not the value of an option."""
    option = _option(line)
    if option is None:
        return None
    for spelling in option.opts:
        if spelling in _NAMES:
            names = names_in(line.bundles, _NAMES[spelling])
            found = [CompletionItem(name) for name in names if name.startswith(line.word)]
            return found or (file_item(line.word) if spelling == "--run" else [])
        if spelling in _EXPRESSIONS:
            return _in_expression(line, _EXPRESSIONS[spelling])
    if isinstance(option.type, click.Choice):
        return None
    return file_item(line.word, folder="DIR" in str(option.metavar)) if _takes_file(option) else []


def _option(line: Line) -> click.Option | None:
    """Return the option whose value is under the cursor."""
    if not line.before:
        return None
    for param in line.command.params:
        if isinstance(param, click.Option) and line.before[-1] in param.opts:
            return None if param.is_flag or param.count else param
    return None


def _takes_file(option: click.Option) -> bool:
    return any(word in str(option.metavar or "") for word in (*_FILES, "DIR")) or option.type.name == "path"


def file_item(word: str, *, folder: bool = False) -> list[CompletionItem[str]]:
    """Return what makes the shell complete files or folders by itself."""
    return [CompletionItem(word, type="dir" if folder else "file")]


def _in_expression(line: Line, kinds: Sequence[Kind]) -> list[CompletionItem[str]]:
    """Return the expression with its last name completed."""
    found = _LAST_NAME.search(line.word)
    start = found.start() if found else len(line.word)
    head, name = line.word[:start], line.word[start:]
    return [CompletionItem(head + known) for known in names_in(line.bundles, kinds) if known.startswith(name)]
