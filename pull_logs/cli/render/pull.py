"""What `fetch` and `refresh` tell at their end: which runs are whole, which are not and why, and what it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from pull_logs.cli.render.escape import inline
from pull_logs.cli.render.sealed import say_sealed

if TYPE_CHECKING:
    from pull_logs.fetch import PullEstimate, PullReport, RunOutcome

_MOST_LINES = 50
"""Runs that are told one by one."""

_TITLES = ("RUN", "ROWS", "PROMISED", "STATE")


def tell_report(report: PullReport) -> None:
    """Tell on stderr what a pull brought, whole or not, and what it took."""
    say_sealed(replace(report.seal, incomplete=()))
    whole = [outcome for outcome in report.runs if outcome.complete]
    click.echo(
        f"{len(whole)} of {count(len(report.runs), 'run')} whole; {count(report.requests, 'request')},"
        f" {report.bytes_received / 1e6:.2f} MB received, {report.retries} retries, {report.seconds:.1f} s",
        err=True,
    )
    _tell_refreshed(report)
    for note in report.notes:
        click.echo(inline(f"pull-logs: note: {note}"), err=True)
    if report.incomplete:
        _tell_table(whole, report.incomplete)


def count(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _tell_table(whole: Sequence[RunOutcome], others: Sequence[RunOutcome]) -> None:
    """The whole runs on one line, the others on a line each, with the reason."""
    lines = [_TITLES]
    if whole:
        rows = sum(outcome.rows for outcome in whole)
        promised = sum(outcome.promised_rows or 0 for outcome in whole)
        lines.append((count(len(whole), "run"), f"{rows:,}", f"{promised:,}", "whole"))
    for outcome in others[:_MOST_LINES]:
        arrived = f"{outcome.rows:,}" if outcome.sealed else "-"
        promised_here = "-" if outcome.promised_rows is None else f"{outcome.promised_rows:,}"
        lines.append((inline(str(outcome.path)), arrived, promised_here, inline(_state(outcome))))
    widths = [max(len(line[place]) for line in lines) for place in range(3)]
    for name, arrived, promised_here, state in lines:
        click.echo(
            f"{name:<{widths[0]}}  {arrived:>{widths[1]}}  {promised_here:>{widths[2]}}  {state}", err=True
        )
    if len(others) > _MOST_LINES:
        more = count(len(others) - _MOST_LINES, "run")
        click.echo(f"... and {more} more that are not whole; --report-json tells of every run", err=True)
    if any(outcome.how != "kept" for outcome in others):
        click.echo("the same command asks for what is missing, and for nothing else", err=True)


def _state(outcome: RunOutcome) -> str:
    if not outcome.sealed:
        return f"not in the bundle: {outcome.reason}"
    if outcome.how == "kept":
        return outcome.reason
    return f"not whole: {outcome.reason}"


def _tell_refreshed(report: PullReport) -> None:
    """Tell how the runs came, where not all were asked for whole: a line for each that was asked for."""
    sealed = [outcome for outcome in report.runs if outcome.sealed]
    told = [
        outcome for outcome in sealed if outcome.how == "appended" or (outcome.note and not _at_hand(outcome))
    ]
    counts: Counter[str] = Counter(outcome.how for outcome in sealed)
    if counts.keys() <= {"complete"} and not told:
        return
    new = sum(outcome.new_rows for outcome in sealed if outcome.how == "appended")
    ways = {
        "resumed": "there from an earlier attempt",
        "copied": "copied",
        "appended": f"appended to ({count(new, 'new row')})",
        "complete": "asked for whole",
        "kept": "kept as they were",
    }
    click.echo(", ".join(f"{counts[how]:,} {way}" for how, way in ways.items() if counts[how]), err=True)
    for outcome in told[:_MOST_LINES]:
        click.echo(_how(outcome), err=True)
    if len(told) > _MOST_LINES:
        click.echo(f"... and {len(told) - _MOST_LINES:,} more; --report-json tells of every run", err=True)


def _at_hand(outcome: RunOutcome) -> bool:
    return outcome.how in ("copied", "resumed")


def _how(outcome: RunOutcome) -> str:
    how = {"appended": count(outcome.new_rows, "new row"), "kept": "kept as it was"}.get(
        outcome.how, "asked for whole"
    )
    return inline(f"{outcome.path}: {how}{outcome.note and f': {outcome.note}'}")


def tell_estimate(found: PullEstimate) -> None:
    """Tell on stdout what a pull would take."""
    click.echo(
        f"runs {found.runs}\nrows {found.rows}\nfiles {found.files}\nlive_rows {found.live_rows}\n"
        f"requests {found.requests}\nlisting_seconds {found.listing_seconds:.1f}\n"
        f"expected_seconds {found.seconds:.0f}"
    )
    if found.run_files is not None:
        click.echo(f"run_files {found.run_files}\nrun_file_bytes {found.run_file_bytes}")
    for note in found.notes:
        click.echo(inline(f"pull-logs: note: {note}"), err=True)
    for path, reason in found.missing:
        click.echo(inline(f"missing {path}: {reason}"))
