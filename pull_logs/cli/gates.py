"""Exit 7: which run and which value broke an `--assert`, once the answer has been printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pull_logs.errors import AssertionNotHeldError

_NAMED_AT_MOST = 5


def refuse_broken(verdicts: Sequence[Mapping[str, Any]]) -> None:
    """Make an assertion that does not hold an error.

    Args:
        verdicts: The `assertions` of an answer (`pull_logs.analyze.assertions.Assertions.verdicts`).

    Raises:
        AssertionNotHeldError: One or more do not hold; the message names runs and values.
    """
    told = [_told(verdict) for verdict in verdicts if not verdict["holds"]]
    if told:
        raise AssertionNotHeldError(". ".join(told), hint="--json lists every run and value under assertions")


def _told(verdict: Mapping[str, Any]) -> str:
    broken = verdict["broken"]
    named = [f"{run['run']} {run['path']} ({run['told']})" for run in broken[:_NAMED_AT_MOST]]
    more = len(broken) - len(named)
    return f"--assert {verdict['assert']!r} does not hold for {', '.join(named)}" + (
        f" and {more} more runs" if more > 0 else ""
    )
