"""The reports of `fetch` and `refresh`: which runs are complete, why others are not, and what a pull took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from pull_logs.cli.render.escape import inline
from pull_logs.cli.render.seal_report import print_seal_report
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.fetch import DownloadReport, PullEstimate, RunOutcome

_MOST_LINES = 50
"""The runs that are reported one by one."""

_TITLES = ("RUN", "ROWS", "PROMISED", "STATE")


def print_report(report: DownloadReport, *, every_run: bool = False) -> None:
    """Print on stderr what a pull downloaded and what it took, and first the bundle if it made just one.

    Args:
        report: The report.
        every_run: Whether each run has a line of its own; otherwise only runs that changed have one.
    """
    from pull_logs.fetch import PullReport

    if isinstance(report, PullReport):
        print_seal_report(replace(report.seal, incomplete=()))
    complete = [outcome for outcome in report.runs if outcome.complete]
    click.echo(
        f"{len(complete)} of {counted(len(report.runs), 'run')} complete;"
        f" {_traffic(report)}, {report.seconds:.1f} s",
        err=True,
    )
    _print_origins(report, every_run=every_run)
    _print_pruned(report)
    for note in report.notes:
        click.echo(inline(f"pull-logs: note: {note}"), err=True)
    if report.incomplete:
        _print_incomplete(complete, report.incomplete)


def _traffic(report: DownloadReport) -> str:
    """Return what was requested, as far as that is known: what the wandb SDK requests is not counted."""
    own = (
        f"{counted(report.requests, 'request')}, {report.bytes_received / 1e6:.2f} MB received,"
        f" {report.retries} retries"
    )
    if report.via == "graphql":
        return own
    read = f"{counted(report.rows_received, 'row')} read by the wandb SDK, whose requests are not counted"
    return f"{own}, {read}" if report.requests else read


def _print_incomplete(complete: Sequence[RunOutcome], others: Sequence[RunOutcome]) -> None:
    """Print the complete runs on one line, and each of the others on a line with the reason."""
    lines = [_TITLES]
    if complete:
        rows = sum(outcome.rows for outcome in complete)
        promised = sum(outcome.promised_rows or 0 for outcome in complete)
        lines.append((counted(len(complete), "run"), f"{rows:,}", f"{promised:,}", "complete"))
    for outcome in others[:_MOST_LINES]:
        received = f"{outcome.rows:,}" if outcome.sealed else "-"
        expected = "-" if outcome.promised_rows is None else f"{outcome.promised_rows:,}"
        lines.append((inline(str(outcome.path)), received, expected, inline(_state(outcome))))
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    for name, received, expected, state in lines:
        click.echo(
            f"{name:<{widths[0]}}  {received:>{widths[1]}}  {expected:>{widths[2]}}  {state}", err=True
        )
    if len(others) > _MOST_LINES:
        more = counted(len(others) - _MOST_LINES, "more incomplete run")
        click.echo(f"... and {more}; --report-json lists every run", err=True)
    if any(outcome.how not in ("kept", "gone") for outcome in others):
        click.echo("the same command downloads only what is missing", err=True)


def _state(outcome: RunOutcome) -> str:
    if not outcome.sealed:
        return f"not in the bundle: {outcome.reason}"
    return outcome.reason if outcome.how == "kept" else f"incomplete: {outcome.reason}"


def _print_pruned(report: DownloadReport) -> None:
    """Print the runs that were dropped because W&B no longer has them."""
    for path in report.pruned[:_MOST_LINES]:
        click.echo(inline(f"{path}: dropped, W&B no longer has it"), err=True)
    if len(report.pruned) > _MOST_LINES:
        click.echo(
            f"... and {len(report.pruned) - _MOST_LINES:,} more; --report-json lists every run", err=True
        )


def _print_origins(report: DownloadReport, *, every_run: bool) -> None:
    """Print where the runs came from, unless all were downloaded, and each run that was not simply copied."""
    sealed = [outcome for outcome in report.runs if outcome.sealed]
    listed = [outcome for outcome in sealed if every_run or _is_listed(outcome)]
    counts: Counter[str] = Counter(outcome.how for outcome in sealed)
    if counts.keys() <= {"complete"} and not listed:
        return
    new_rows = sum(outcome.new_rows for outcome in sealed if outcome.how == "appended")
    origins = {
        "resumed": "from an earlier attempt",
        "copied": "copied",
        "appended": f"appended to ({counted(new_rows, 'new row')})",
        "complete": "downloaded completely",
        "kept": "kept as they were",
        "gone": "kept although W&B no longer has them",
        "unchanged": "unchanged",
    }
    click.echo(", ".join(f"{counts[how]:,} {text}" for how, text in origins.items() if counts[how]), err=True)
    most = len(listed) if every_run else _MOST_LINES
    for outcome in listed[:most]:
        click.echo(_origin(outcome), err=True)
    if len(listed) > most:
        click.echo(f"... and {len(listed) - _MOST_LINES:,} more; --report-json lists every run", err=True)


def _is_listed(outcome: RunOutcome) -> bool:
    """Return whether a run has a line of its own: it has new rows, or a note about its download."""
    return outcome.how in ("appended", "gone") or bool(
        outcome.note and outcome.how not in ("copied", "resumed", "unchanged")
    )


def _origin(outcome: RunOutcome) -> str:
    texts = {
        "appended": counted(outcome.new_rows, "new row"),
        "kept": "kept as it was",
        "copied": "copied",
        "resumed": "from an earlier attempt",
        "gone": "kept, W&B no longer has it",
        "unchanged": "unchanged",
    }
    how = texts.get(outcome.how, "downloaded completely")
    return inline(f"{outcome.path}: {how}{outcome.note and f': {outcome.note}'}")


def print_estimate(found: PullEstimate) -> None:
    """Print on stdout what a pull would take."""
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
