"""The options that choose the format of an answer, and the format that stdout gets without them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from pull_logs.cli.formats.terminal import is_terminal
from pull_logs.errors import UsageError
from pull_logs.suggestions import listed

FORMATS = ("text", "table", "json", "markdown", "csv", "latex")
"""All formats."""

PAPER_FORMATS = ("markdown", "latex")
"""The formats for papers and pull requests, of answers that compare runs."""

_EXACT = frozenset({"json", "csv"})
"""The formats whose numbers have all their digits."""

Command = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The format of an answer.

    Attributes:
        form: Its name, one of `FORMATS`.
        sections: The sections that are shown; empty for all.
        digits: The significant digits of floats; None for as many as distinguish them, at least six.
    """

    form: str = "text"
    sections: Sequence[str] = ()
    digits: int | None = None

    @property
    def as_json(self) -> bool:
        """Whether it is one JSON object."""
        return self.form == "json"

    @property
    def for_papers(self) -> bool:
        """Whether only sections that compare runs are shown."""
        return self.form in PAPER_FORMATS

    @property
    def complete(self) -> bool:
        """Whether nothing is cut unless a budget was given, because a program or a paper takes it."""
        return self.form in ("csv", *PAPER_FORMATS)


def format_options(*, compares: bool = False) -> Callable[[Command], Command]:
    """Add the options about the format: --json --format --section --digits.

    Args:
        compares: Whether the command compares runs, and has the formats of papers.
    """
    names = FORMATS if compares else tuple(name for name in FORMATS if name not in PAPER_FORMATS)

    def check(ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
        if value is not None and value not in names:
            raise UsageError(
                f"`{ctx.command_path}` has no --format {value}, which is for comparisons of runs",
                hint=f"its formats are {listed(names)}; `pull-logs compare` has all",
            )
        return value

    options = (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object; same as --format json."),
        click.option(
            "--format",
            "form",
            type=click.Choice(FORMATS),
            metavar=f"[{'|'.join(names)}]",
            callback=check,
            help="The format of the answer; by default table in a terminal and text in a pipe.",
        ),
        click.option(
            "--section",
            "sections",
            multiple=True,
            metavar="NAME",
            help="Only this section of the answer, such as RANKING.",
        ),
        click.option(
            "--digits",
            type=click.IntRange(1, 17),
            help="Significant digits of numbers that are not integers; by default 6, and up to 12 where two "
            "would look the same.",
        ),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def take_choice(options: dict[str, Any]) -> Choice:
    """Remove the options about the format from the options of a command and return what they choose.

    Raises:
        UsageError: They contradict each other.
    """
    choice = _choice(**{name: options.pop(name) for name in ("as_json", "form", "sections", "digits")})
    if choice.as_json and choice.sections:
        raise UsageError(
            "--section is for formats other than JSON",
            hint=f"read the member {choice.sections[0].lower()!r} of the object",
        )
    if choice.digits is not None and choice.form in _EXACT:
        raise UsageError(
            f"--digits is for text and tables; {choice.form.upper()} has all digits",
            hint=f"leave out --digits or choose another format than {choice.form}",
        )
    return choice


def _choice(*, as_json: bool, form: str | None, sections: Sequence[str], digits: int | None) -> Choice:
    if as_json and form not in (None, "json"):
        raise UsageError(f"--json and --format {form} contradict each other", hint="give one of them")
    if form is None:
        form = "json" if as_json else "table" if is_terminal(sys.stdout) else "text"
    names = tuple(name.strip("[]").upper() for name in sections)
    return Choice(form=form, sections=names, digits=digits)
