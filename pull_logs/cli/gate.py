"""Gates: the `[ASSERTIONS]` section, and exit 7 that names which run and which value broke an `--assert`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pull_logs.cli.render import NAMED_AT_MOST
from pull_logs.errors import AssertionNotHeldError


@contextmanager
def gate(verdicts: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """Print an answer, then refuse what is broken, even where its reader has gone before it was all said.

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
        verdicts: The `assertions` of an answer (`pull_logs.analyze.questions.assertions.Assertions.verdicts`).

    Raises:
        AssertionNotHeldError: One or more do not hold; the message names runs and values.
    """
    told = [_told(verdict) for verdict in verdicts if not verdict["holds"]]
    if told:
        raise AssertionNotHeldError(". ".join(told), hint="--json lists every run and value under assertions")


def _told(verdict: Mapping[str, Any]) -> str:
    broken = verdict["broken"]
    named = [f"{run['run']} {run['path']} ({run['message']})" for run in broken[:NAMED_AT_MOST]]
    more = len(broken) - len(named)
    return f"--assert {verdict['assert']!r} does not hold for {', '.join(named)}" + (
        f" and {more} more runs" if more > 0 else ""
    )
