"""What `fetch`, `sync` and `refresh` say on stderr while they run and at the end: --quiet, -v, --log-json."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.render import output_name
from pull_logs.errors import UsageError
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.fetch import DownloadReport, PullProgress
    from pull_logs.snapshot import SealReport

Command = Callable[..., Any]

_LOGGED = (
    "runs_done",
    "runs_failed",
    "runs_total",
    "rows",
    "bytes_received",
    "requests",
    "retries",
    "limit",
    "seconds",
)
"""The counters of a pull that are in the log, in order."""

_PROGRESS_SECONDS = 1.0
"""The seconds between two reports of progress in the log."""


def _echo(line: str) -> None:
    click.echo(line, err=True)


def _both(
    first: Callable[[PullProgress], None], second: Callable[[PullProgress], None]
) -> Callable[[PullProgress], None]:
    def call(state: PullProgress) -> None:
        first(state)
        second(state)

    return call


def log_options(command: Command) -> Command:
    """Add the options about messages: --quiet --verbose --log-json."""
    for option in (
        click.option(
            "--log-json", is_flag=True, help="Write messages to stderr as JSON, one object per line."
        ),
        click.option(
            "-v", "--verbose", is_flag=True, help="Report progress and every run, not only changes."
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing if every run is complete."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class PullLog:
    """Writes the messages of a pull to stderr.

    Attributes:
        quiet: Whether nothing is printed if every run is complete.
        verbose: Whether progress and every run are reported.
        as_json: Whether each message is a JSON object on a line of its own.

    Raises:
        UsageError: Options exclude each other.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False

    def __post_init__(self) -> None:
        if self.quiet and (self.verbose or self.as_json):
            other = "-v" if self.verbose else "--log-json"
            raise UsageError(f"--quiet reports less and {other} more", hint="omit one of them")

    @classmethod
    def take(cls, options: dict[str, Any]) -> PullLog:
        """Remove the options of `log_options` from the options of a command.

        Raises:
            UsageError: Options exclude each other.
        """
        return cls(
            quiet=options.pop("quiet"), verbose=options.pop("verbose"), as_json=options.pop("log_json")
        )

    def say(self, text: str) -> None:
        """Write a note or a warning, of which the text begins with the name of the program."""
        if self.as_json:
            kind, _, message = text.removeprefix("pull-logs: ").partition(": ")
            self._write({"event": kind, "message": message})
        elif not self.quiet:
            from pull_logs.cli.render import inline

            click.echo(inline(text), err=True)

    @contextmanager
    def progress(self) -> Iterator[Callable[[PullProgress], None] | None]:
        """Yield a hook for `pull`: a live display on a terminal, or lines; None if nothing is shown.

        With --verbose the lines are printed above the display. A terminal that cannot redraw gets lines.
        """
        if self.quiet:
            yield None
            return
        if self.as_json:
            yield self._progress_lines(_echo)
            return
        from pull_logs.cli.pulling.live import pull_display

        with pull_display() as display:
            if display is None:
                yield self._progress_lines(_echo) if self.verbose or sys.stderr.isatty() else None
                return
            draw, say = display
            yield _both(draw, self._progress_lines(say)) if self.verbose else draw

    @contextmanager
    def counting(self, items: str, *, ending: str) -> Iterator[Callable[[int, int], None] | None]:
        """Yield a hook that draws how many items are done, on a terminal; see `count_display`."""
        if self.quiet or self.as_json:
            yield None
            return
        from pull_logs.cli.pulling.live import count_display

        with count_display(items, ending=ending) as hook:
            yield hook

    def report(self, report: DownloadReport) -> None:
        """Write the report of a pull, or of the changes of an archive."""
        if self.as_json:
            content = report.to_json()
            if "out" in content:
                content["out"] = output_name(content["out"])
            for run in content.pop("runs"):
                self._write({"event": "run", **run})
            self._write({"event": "report", **content})
        elif not self.quiet or report.incomplete:
            from pull_logs.cli.render import print_report

            print_report(report, every_run=self.verbose)

    def sealed(self, report: SealReport) -> None:
        """Write the report of a bundle that was written without a pull."""
        if self.as_json:
            self._write(
                {
                    "event": "report",
                    "out": output_name(report.path),
                    "bundle_id": report.bundle_id,
                    "content_id": report.content_id,
                    "rows": report.rows,
                    "incomplete": {str(path): reason for path, reason in report.incomplete},
                }
            )
        elif not self.quiet or report.incomplete:
            from pull_logs.cli.render import print_seal_report

            print_seal_report(report)

    def _progress_lines(self, say: Callable[[str], None]) -> Callable[[PullProgress], None]:
        """Return a hook that writes a line when runs were finished, at most one each second."""
        written: list[PullProgress] = []

        def write(state: PullProgress) -> None:
            last = written[-1] if written else None
            if last and (
                last.runs_done == state.runs_done or state.seconds - last.seconds < _PROGRESS_SECONDS
            ):
                return
            written[:] = [state]
            if self.as_json:
                self._write({"event": "progress", **{name: getattr(state, name) for name in _LOGGED}})
                return
            total = "?" if state.runs_total is None else f"{state.runs_total:,}"
            say(
                f"pull-logs: {state.seconds:.0f} s: {state.runs_done:,} of {total} runs,"
                f" {counted(state.rows, 'row')}, {counted(state.requests, 'request')},"
                f" {counted(state.retries, 'retry', 'retries')}"
            )

        return write

    def _write(self, content: dict[str, Any]) -> None:
        click.echo(json.dumps(content), err=True)
