"""Prints the answer of a command, then hints, then raises the errors of `--assert` and `--strict`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pull_logs.cli.formats import Choice, draw_sections, take_choice
from pull_logs.cli.render import check_budget, fit_json
from pull_logs.errors import AssertionNotHeldError, IncompleteError, UsageError
from pull_logs.suggestions import counted, joined

if TYPE_CHECKING:
    from pull_logs.analyze import Subject
    from pull_logs.cli.render import Section, Shape
    from pull_logs.executors import Engine

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
        choice: The format, and which sections (`--format`, `--json`, `--section`).
        max_tokens: The budget of the answer; 0 for no limit (`--max-tokens`).
        strict: Incomplete runs are an error (`--strict`).
        hints: Print which commands to run next (`--hints`).
    """

    choice: Choice
    max_tokens: int
    strict: bool
    hints: bool

    @property
    def as_json(self) -> bool:
        """Whether one JSON object is printed instead of sections."""
        return self.choice.as_json


def take_output(options: dict[str, Any], *, screen: int | None = None) -> Output:
    """Remove the output options from the options of a command and return them.

    Args:
        options: The options of the command.
        screen: The budget of a text that is meant to be one screen, unless another one was given.
    """
    choice = take_choice(options)
    max_tokens = take_budget(options, choice, screen=screen)
    flags = {name: options.pop(name) for name in ("strict", "hints")}
    return Output(choice=choice, max_tokens=max_tokens, **flags)


def take_budget(options: dict[str, Any], choice: Choice, *, screen: int | None = None) -> int:
    """Remove the budget from the options of a command and return it.

    Args:
        options: The options of the command.
        choice: The format; one that is read by programs or printed in papers is complete by default.
        screen: The budget of a text that is meant to be one screen, unless another one was given.
    """
    given: int | None = options.pop("max_tokens")
    if given is not None:
        return given
    if choice.complete:
        return 0
    return DEFAULT_TOKENS if screen is None or choice.as_json else screen


def take_text_budget(options: dict[str, Any], choice: Choice, *, command: str) -> int:
    """Remove the budget from the options of a command whose JSON is always complete, and return it.

    Args:
        options: The options of the command.
        choice: The format.
        command: What the message calls the command.

    Raises:
        UsageError: The budget is too small for any answer, or was given for JSON.
    """
    if choice.as_json and options["max_tokens"]:
        raise UsageError(
            f"--max-tokens limits the text of {command}; its JSON is always complete",
            hint="leave out --max-tokens or --json",
        )
    max_tokens = take_budget(options, choice)
    check_budget(max_tokens)
    return max_tokens


def print_answer(
    answer: Mapping[str, Any],
    subjects: Sequence[Subject],
    output: Output,
    *,
    sections: Callable[[Mapping[str, Any]], list[Section]],
    shapes: Mapping[str, Shape],
    hints: Iterable[Sequence[str]] = (),
    engine: Engine | None = None,
) -> None:
    """Print an answer on stdout and hints on stderr.

    Args:
        answer: The answer, as the JSON has it.
        subjects: The runs it is about.
        output: The output options.
        sections: Makes the sections of the answer.
        shapes: How its JSON is cut by a budget.
        hints: Commands to run next.
        engine: Where long texts are written.

    Raises:
        UsageError: The budget is too small for any answer.
        AssertionNotHeldError: An assertion does not hold; the answer is printed first.
        IncompleteError: A run is incomplete and `--strict` is set; the answer is printed first.
    """
    with gate(answer.get("assertions", ())):
        print_result(
            output.choice,
            sections=lambda: sections(answer),
            json=lambda: fit_json(answer, shapes, max_tokens=output.max_tokens),
            max_tokens=output.max_tokens,
            engine=engine,
        )
        if output.hints:
            from pull_logs.cli.hints import print_hints

            print_hints(hints)
        if output.strict:
            refuse_incomplete(subjects)


def print_result(
    choice: Choice,
    *,
    sections: Callable[[], list[Section]],
    json: Callable[[], str],
    max_tokens: int = 0,
    engine: Engine | None = None,
) -> None:
    """Print an answer on stdout in the format that was chosen.

    Args:
        choice: The format.
        sections: Makes the sections of the answer.
        json: Makes its JSON, without the end of the last line.
        max_tokens: The budget of the sections; 0 for no limit.
        engine: Where long texts are written.

    Raises:
        UsageError: The answer has nothing for the format, or the budget is too small for any answer.
    """
    import click

    if choice.as_json:
        click.echo(json())
        return
    drawn = draw_sections(sections(), choice, max_tokens=max_tokens, engine=engine)
    click.echo(drawn, nl=False, color=True if choice.form == "table" else None)


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
    named = [f"{run['path']} ({run['message']})" for run in runs[:_MOST_NAMED]]
    more = len(runs) - len(named)
    return f"--assert {verdict['assert']!r} does not hold for {', '.join(named)}" + (
        f" and {counted(more, 'more run')}" if more > 0 else ""
    )


def refuse_incomplete(subjects: Sequence[Subject]) -> None:
    """Make incomplete runs an error, for `--strict`.

    Raises:
        IncompleteError: A run is not complete.
    """
    reasons: dict[str, list[str]] = {}
    for item in subjects:
        if not item.run.complete:
            reasons.setdefault(item.run.coverage.reason, []).append(item.label)
    if reasons:
        missing = [f"{joined(labels)} ({reason})" for reason, labels in reasons.items()]
        raise IncompleteError(
            f"incomplete under --strict: {joined(missing)}",
            hint="run it again with --refresh, or without --strict",
        )
