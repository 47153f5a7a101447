"""`archive`: bring the bundles of many projects up to date, night after night."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from pull_logs.cli.bundle_paths import OUT
from pull_logs.cli.commands.archives.results import (
    ProjectResult,
    prometheus_text,
    results_json,
    total_line,
)
from pull_logs.cli.commands.archives.window import Window
from pull_logs.cli.commands.fetch import download
from pull_logs.cli.options import Command
from pull_logs.cli.pulling import (
    ARTIFACTS,
    CONCURRENCY,
    CONSOLE,
    FILES,
    MAX_FILE_SIZE,
    MEDIA,
    METRICS,
    REPORT,
    VIA,
    check_report,
    log_options,
    staged,
    write_json,
)
from pull_logs.errors import MachineLimitError, PullLogsError, UsageError

if TYPE_CHECKING:
    from pull_logs.fetch import PullReport

UNFINISHED = 9
"""The exit code of an archive that goes on in its next window."""

_UNFINISHED = frozenset({"stopped", "waiting"})

_DEFAULTS: dict[str, Any] = {
    "runs": (),
    "checkpoints": (),
    "bundles": (),
    "sweeps": (),
    "keep": None,
    "checkpoint_key": None,
    "states": (),
    "since": None,
    "fresh": False,
    "prune": False,
    "force": False,
    "strict": False,
    "redact": False,
}
"""The options of `sync` that an archive does not have."""


def _options(command: Command) -> Command:
    for option in reversed(
        (
            click.option(
                "-o",
                "--out",
                required=True,
                metavar="SET",
                help="The folder of the archive, or s3://BUCKET/PREFIX; it need not exist.",
            ),
            click.option("--until", metavar="HH:MM", help="Stop at this time, and go on there next time."),
            click.option(
                "--for", "duration", metavar="DURATION", help="Stop after this time, such as 6h or 90m."
            ),
            click.option(
                "--shard",
                metavar="I/N",
                help="Only the I-th of N parts of the runs of each project, in bundles of their own.",
            ),
            METRICS,
            click.option("--system", is_flag=True, help="Download system metrics too."),
            CONSOLE,
            ARTIFACTS,
            FILES,
            MEDIA,
            MAX_FILE_SIZE,
            CONCURRENCY,
            VIA,
            REPORT,
            click.option(
                "--metrics-file",
                type=OUT,
                metavar="FILE",
                help="Write metrics for Prometheus, as node_exporter reads them from a file.",
            ),
            log_options,
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("projects", nargs=-1, required=True, metavar="ENTITY/PROJECT...")
@_options
def archive(
    *,
    projects: tuple[str, ...],
    out: str,
    until: str | None,
    duration: str | None,
    report_json: Path | None,
    metrics_file: Path | None,
    **options: Any,
) -> int:
    """Keep bundles of projects up to date: one per project, only what changed is downloaded and written.

    Each is what `sync` makes; runs that W&B no longer has stay. A project that fails does not stop the
    others. With --until or --for, exit code 9 says that the time ended before all was done; the same command
    goes on.
    """
    window = Window.parse(until, duration, now=datetime.now())  # noqa: DTZ005 - the local clock
    check_report(report_json, force=False)
    _check_metrics_file(metrics_file)
    archived = _Archive(_Target.parse(out), options, window)
    archived.run(_in_order(dict.fromkeys(projects), report_json))
    results = archived.results
    if report_json is not None:
        write_json(report_json, results_json(results, out=out))
    if metrics_file is not None:
        _write_metrics(metrics_file, prometheus_text(results, finished=time.time()))
    for result in results:
        click.echo(result.line)
    click.echo(total_line(results))
    failed = [result.exit_code for result in results if result.state == "failed"]
    return failed[0] if failed else UNFINISHED if window.ended and archived.unfinished else 0


class _Archive:
    """An archive that is being brought up to date.

    Attributes:
        results: What was done with each project so far.

    Args:
        target: Where the bundles are.
        options: The options of the downloads.
        window: The time that it may take.
    """

    def __init__(self, target: _Target, options: dict[str, Any], window: Window) -> None:
        self.results: list[ProjectResult] = []
        self._target, self._options, self._window = target, options, window

    @property
    def unfinished(self) -> bool:
        """Whether the window ended before a project was done."""
        return any(result.state in _UNFINISHED for result in self.results)

    def run(self, projects: Sequence[str]) -> None:
        """Bring projects up to date, one after the other, until the window ends.

        Raises:
            MachineLimitError: The disk is full, or cannot be written.
        """
        begun: list[str] = []
        with self._window.stopping():
            for project in projects:
                if self._window.ended:
                    break
                begun.append(project)
                self.results.append(self._update(project))
        done = [result.project for result in self.results]
        for project in projects:
            if project not in done:
                self.results.append(ProjectResult(project, "stopped" if project in begun else "waiting"))

    def _update(self, project: str) -> ProjectResult:
        try:
            report = self._download(project)
        except MachineLimitError:
            raise
        except PullLogsError as exc:
            return ProjectResult(project, "failed", error=str(exc), exit_code=exc.exit_code)
        return ProjectResult(project, "empty" if report is None else "done", report)

    def _download(self, project: str) -> PullReport | None:
        options = {**_DEFAULTS, **self._options, "projects": (project,), "report_json": None}
        with self._target.bundle(project, shard=self._options["shard"]) as file:
            return download(file, options)


class _Target:
    """Where the bundles of an archive are: a folder, or a prefix on object storage.

    Args:
        location: The folder, or the URL without a slash at its end.
    """

    def __init__(self, location: Path | str) -> None:
        self._location = location

    @classmethod
    def parse(cls, text: str) -> _Target:
        """Read the value of `--out`; a folder is created.

        Raises:
            UsageError: It cannot be a folder.
            PullLogsError: The folder cannot be created.
        """
        from pull_logs.snapshot import disk_errors
        from pull_logs.snapshot.storage import is_object_url

        if is_object_url(text):
            return cls(text.rstrip("/"))
        folder = Path(text)
        if folder.is_file():
            raise UsageError(f"{text!r} is a file", hint="name the folder of the archive")
        with disk_errors(folder, hint=""):
            folder.mkdir(exist_ok=True)
        return cls(folder)

    def bundle(self, project: str, *, shard: str | None) -> AbstractContextManager[Path]:
        """Return what yields the file of the bundle of a project, which is uploaded if that is where it is.

        Raises:
            UsageError: The text does not name a project.
        """
        entity, slash, name = project.partition("/")
        if not (entity and slash and name):
            raise UsageError(f"{project!r} is not a project", hint="write ENTITY/PROJECT")
        part = "" if shard is None else f".{shard.replace('/', '-of-')}"
        file = f"{quote(entity, safe='')}--{quote(name, safe='')}{part}.wandb.zip"
        if isinstance(self._location, Path):
            return nullcontext(self._location / file)
        return staged(f"{self._location}/{file}", force=False)


def _in_order(projects: Iterable[str], report: Path | None) -> list[str]:
    """Return projects, those first that the last archive did not finish, as its report says."""
    unfinished: list[str] = []
    if report is not None and report.exists():
        with suppress(OSError, ValueError, KeyError, TypeError):
            last = json.loads(report.read_bytes())
            unfinished = [one["project"] for one in last["projects"] if one["state"] in _UNFINISHED]
    return sorted(projects, key=lambda project: project not in unfinished)


def _check_metrics_file(file: Path | None) -> None:
    """Check that the metrics may be written.

    Raises:
        UsageError: The file exists and has something else.
    """
    if file is None or not file.exists():
        return
    with suppress(OSError, ValueError):
        if file.read_text("utf-8").startswith("# HELP pull_logs_archive_"):
            return
    raise UsageError(f"{str(file)!r} exists and does not have these metrics", hint="name another file")


def _write_metrics(file: Path, text: str) -> None:
    """Replace the metrics at once, so that a reader finds all of them or the earlier ones."""
    from pull_logs.snapshot import disk_errors, write_file

    with disk_errors(file, hint=""):
        write_file(file, text.encode())
