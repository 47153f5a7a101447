"""Gates: the `[ASSERTIONS]` section, and exit 7 that names which run and which value broke an `--assert`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pull_logs.cli.safetext import escape, json_text
from pull_logs.cli.tables import Table, table
from pull_logs.errors import AssertionNotHeldError

_NAMED_AT_MOST = 5
_COLUMNS = ("assert", "holds", "run", "path", "because")


def _path(path: str) -> str:
    return escape(path) if path else ""


def _because(told: str) -> str:
    return json_text(told) if told else ""


_SHOW: Sequence[Callable[[Any], str]] = (json_text, str, str, _path, _because)


def assertion_facts(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What the heading of `[ASSERTIONS]` tells."""
    return {"asserted": len(verdicts), "broken": sum(not verdict["holds"] for verdict in verdicts)}


def assertions_table(answer: Mapping[str, Any]) -> Table:
    """The section of `compare`: a row for each run that breaks an assertion, and one for each that holds."""
    verdicts = answer["assertions"]
    return Table(
        facts=assertion_facts(verdicts),
        columns=_COLUMNS,
        rows=[row for verdict in verdicts for row in _rows(verdict)],
        show=_SHOW,
        kept=len(_COLUMNS),
    )


def assertion_lines(shown: Sequence[Mapping[str, Any]], whole: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The section of `overview`: of each assertion, a few of the runs that break it and how many more do.

    Args:
        shown: What a budget left of the verdicts.
        whole: The verdicts.
    """
    rows = [row for verdict in shown for row in _rows(verdict)[:_NAMED_AT_MOST]]
    yield from table(
        _COLUMNS, [[write(value) for write, value in zip(_SHOW, row, strict=True)] for row in rows]
    )
    for verdict, full in zip(shown, whole, strict=False):
        more = len(full["broken"]) - min(len(verdict["broken"]), _NAMED_AT_MOST)
        if more > 0:
            yield f"# {more} more runs break {json_text(verdict['assert'])}; --json lists all"


def _rows(verdict: Mapping[str, Any]) -> list[list[Any]]:
    told = [verdict["assert"], "yes" if verdict["holds"] else "no"]
    return [[*told, run["run"], run["path"], run["told"]] for run in verdict["broken"]] or [
        [*told, "", "", ""]
    ]


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
