"""The `[ASSERTIONS]` section: which assertion holds, and which runs break one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pull_logs.cli.render.escape import escape, json_text
from pull_logs.cli.render.tables import Table, table

NAMED_AT_MOST = 5


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
    rows = [row for verdict in shown for row in _rows(verdict)[:NAMED_AT_MOST]]
    yield from table(
        _COLUMNS, [[write(value) for write, value in zip(_SHOW, row, strict=True)] for row in rows]
    )
    for verdict, full in zip(shown, whole, strict=False):
        more = len(full["broken"]) - min(len(verdict["broken"]), NAMED_AT_MOST)
        if more > 0:
            yield f"# {more} more runs break {json_text(verdict['assert'])}; --json lists all"


def _rows(verdict: Mapping[str, Any]) -> list[list[Any]]:
    told = [verdict["assert"], "yes" if verdict["holds"] else "no"]
    return [[*told, run["run"], run["path"], run["message"]] for run in verdict["broken"]] or [
        [*told, "", "", ""]
    ]
