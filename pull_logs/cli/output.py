"""Prints the answer of a command, then hints, then raises the errors of `--assert` and `--strict`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pull_logs.errors import AssertionNotHeldError, IncompleteError

if TYPE_CHECKING:
    from pull_logs.analyze import Subject
    from pull_logs.cli.render import Section, Shape

DEFAULT_TOKENS = 16_000
"""The budget of an answer."""

SCREEN_TOKENS = 1_500
"""The budget of a text of one screen (`--human`)."""

OVERVIEW_TOKENS = 2_500
"""The budget of an overview as text."""

_MOST_NAMED = 5
"""The runs that a message names of those that break an assertion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The output options of a command.

    Attributes:
        as_json: Print one JSON object instead of sections (`--json`).
        max_tokens: The budget of the answer; 0 for no limit (`--max-tokens`).
        strict: Incomplete runs are an error (`--strict`).
        hints: Print which commands to run next (`--hints`).
    """

    as_json: bool
    max_tokens: int
    strict: bool
    hints: bool


def take_output(options: dict[str, Any], *, screen: int | None = None) -> Output:
    """Remove the output options from the options of a command and return them.

    Args:
        options: The options of the command.
        screen: The budget of a text that is meant to be one screen, unless another one was given.
    """
    found = {name: options.pop(name) for name in ("as_json", "max_tokens", "strict", "hints")}
    if found["max_tokens"] is None:
        found["max_tokens"] = DEFAULT_TOKENS if screen is None or found["as_json"] else screen
    return Output(**found)


def print_answer(
    answer: Mapping[str, Any],
    subjects: Sequence[Subject],
    output: Output,
    *,
    sections: Callable[[Mapping[str, Any]], list[Section]],
    shapes: Mapping[str, Shape],
    hints: Iterable[Sequence[str]] = (),
) -> None:
    """Print an answer on stdout and hints on stderr.

    Args:
        answer: The answer, as the JSON has it.
        subjects: The runs it is about.
        output: The output options.
        sections: Makes the sections of the answer.
        shapes: How its JSON is cut by a budget.
        hints: Commands to run next.

    Raises:
        UsageError: The budget is too small for any answer.
        AssertionNotHeldError: An assertion does not hold; the answer is printed first.
        IncompleteError: A run is incomplete and `--strict` is set; the answer is printed first.
    """
    import click

    from pull_logs.cli.render import fit_json, render_text

    with gate(answer.get("assertions", ())):
        if output.as_json:
            click.echo(fit_json(answer, shapes, max_tokens=output.max_tokens))
        else:
            click.echo(render_text(sections(answer), max_tokens=output.max_tokens), nl=False)
        if output.hints:
            from pull_logs.cli.hints import print_hints

            print_hints(hints)
        if output.strict:
            refuse_incomplete(subjects)


@contextmanager
def gate(verdicts: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """Raise for assertions that do not hold after the answer was printed, even if its reader closed the pipe.

    Raises:
        AssertionNotHeldError: As `refuse_broken`.
    """
    try:
        yield
    except BrokenPipeError:
        refuse_broken(verdicts)
        raise
    refuse_broken(verdicts)


def refuse_broken(verdicts: Sequence[Mapping[str, Any]]) -> None:
    """Make an assertion that does not hold an error.

    Args:
        verdicts: The `assertions` of an answer.

    Raises:
        AssertionNotHeldError: One or more do not hold; the message names runs and values.
    """
    broken = [_broken(verdict) for verdict in verdicts if not verdict["holds"]]
    if broken:
        raise AssertionNotHeldError(
            ". ".join(broken), hint="--json lists every run and value under assertions"
        )


def _broken(verdict: Mapping[str, Any]) -> str:
    runs = verdict["broken"]
    named = [f"{run['run']} {run['path']} ({run['message']})" for run in runs[:_MOST_NAMED]]
    more = len(runs) - len(named)
    return f"--assert {verdict['assert']!r} does not hold for {', '.join(named)}" + (
        f" and {more} more runs" if more > 0 else ""
    )


def refuse_incomplete(subjects: Sequence[Subject]) -> None:
    """Make incomplete runs an error, for `--strict`.

    Raises:
        IncompleteError: A run is not complete.
    """
    missing = [f"{item.label} ({item.run.coverage.reason})" for item in subjects if not item.run.complete]
    if missing:
        raise IncompleteError(
            f"incomplete under --strict: {', '.join(missing)}",
            hint="run it again with --refresh, or without --strict",
        )
