"""`archive`: bring the bundles of many projects up to date, night after night."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import OUT
from pull_logs.cli.commands.archives.results import (
    ProjectResult,
    dead_line,
    prometheus_text,
    results_json,
    total_line,
)
from pull_logs.cli.commands.archives.window import Window
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
    REQUESTS_PER_MINUTE,
    VIA,
    PullLog,
    ShardPart,
    check_report,
    log_options,
    take_pull_options,
    write_json,
)
from pull_logs.cli.sharing import amount
from pull_logs.errors import MachineLimitError, PullLogsError, RunNotFoundError, UsageError
from pull_logs.interface import archive_project

if TYPE_CHECKING:
    from pull_logs.interface import ArchiveReport
    from pull_logs.snapshot import SealReport
    from pull_logs.snapshot.sets import SetSize, SetStore

UNFINISHED = 9
"""The exit code of an archive that goes on in its next window."""

_UNFINISHED = frozenset({"stopped", "waiting"})

_OF_A_PROJECT = re.compile(r"[^/]+--[^/]+(?<!-[0-9a-f]{12})\.wandb\.zip")
"""The name of the bundle of a project in an archive of an earlier release; those of members end in a hash."""


def _options(command: Command) -> Command:
    for option in reversed(
        (
            click.option(
                "-o",
                "--out",
                required=True,
                metavar="SET",
                help="The bundle set: a folder, or s3://BUCKET/PREFIX; it need not exist.",
            ),
            click.option("--until", metavar="HH:MM", help="Stop at this time, and go on there next time."),
            click.option(
                "--for", "duration", metavar="DURATION", help="Stop after this time, such as 6h or 90m."
            ),
            click.option(
                "--shard",
                metavar="I/N",
                help="Only the I-th of N parts of the runs of each project, for as many machines or jobs; "
                "--concurrency and --max-requests-per-minute are those of all together.",
            ),
            METRICS,
            click.option("--system", is_flag=True, help="Download system metrics too."),
            CONSOLE,
            ARTIFACTS,
            FILES,
            MEDIA,
            MAX_FILE_SIZE,
            CONCURRENCY,
            REQUESTS_PER_MINUTE,
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
    """Keep projects in a bundle set up to date: only new and changed runs are downloaded and added.

    Runs that W&B no longer has stay. A project that fails does not stop the others. With --until or --for,
    exit code 9 says that the time ended before all was done; the same command goes on.
    """
    window = Window.parse(until, duration, now=datetime.now())  # noqa: DTZ005 - the local clock
    check_report(report_json, force=False)
    _check_metrics_file(metrics_file)
    archived = _Archive(_open_set(out), options, window)
    archived.run(_in_order(dict.fromkeys(projects), report_json))
    results, size = archived.results, archived.tidy()
    if report_json is not None:
        write_json(report_json, results_json(results, out=out, size=size))
    if metrics_file is not None:
        _write_metrics(metrics_file, prometheus_text(results, finished=time.time()))
    for result in results:
        click.echo(result.line)
    click.echo(total_line(results))
    if size is not None and (line := dead_line(size, out=out)):
        click.echo(line)
    failed = [result.exit_code for result in results if result.state == "failed"]
    return failed[0] if failed else UNFINISHED if window.ended and archived.unfinished else 0


class _Archive:
    """An archive that is being brought up to date.

    Attributes:
        results: What was done with each project so far.

    Args:
        store: The set.
        options: The options of the downloads, as `archive` has them.
        window: The time that it may take.

    Raises:
        UsageError: An option is not valid.
    """

    def __init__(self, store: SetStore, options: dict[str, Any], window: Window) -> None:
        from pull_logs.fetch import Shard

        self.results: list[ProjectResult] = []
        self._store, self._window = store, window
        self._log = PullLog.take(options)
        shard = options.pop("shard")
        self._shard = None if shard is None else Shard.parse(shard)
        self._options = take_pull_options(options)

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

    def tidy(self) -> SetSize | None:
        """Remove old versions of the catalog, and return the size of the set; None if nothing was added.

        Raises:
            PullLogsError: The set cannot be read or written.
        """
        if all(result.report is None or result.report.version is None for result in self.results):
            return None
        from pull_logs.snapshot.sets import clean_up, open_latest, size_of_set

        clean_up(self._store)
        opened = open_latest(self._store)
        if opened is None:
            return None
        with opened:
            return size_of_set(opened)

    def _update(self, project: str) -> ProjectResult:
        try:
            report = self._download(project)
        except MachineLimitError:
            raise
        except PullLogsError as exc:
            return ProjectResult(project, "failed", error=str(exc), exit_code=exc.exit_code)
        return ProjectResult(project, "empty" if report is None else "done", report)

    def _download(self, project: str) -> ArchiveReport | None:
        log, options = self._log, self._options
        part = None if self._shard is None else ShardPart(self._shard)
        try:
            with log.progress() as hook:
                report = archive_project(
                    self._store,
                    project,
                    options=options if part is None else part.share_of(options),
                    shard=self._shard,
                    run_filter=None if part is None else part.run_filter,
                    progress=hook,
                    announce=lambda text: log.say(f"pull-logs: warning: {text}"),
                    inspect=self._inspect,
                )
        except RunNotFoundError:
            if part is not None and part.elsewhere:
                return None
            raise
        log.report(report.changes)
        return report

    def _inspect(self, seal: SealReport) -> None:
        """Warn about secrets and personal data in the new runs."""
        from pull_logs.snapshot.privacy import audit_bundle

        findings = audit_bundle(seal.path).findings
        if findings:
            command = f"pull-logs audit {quote(self._store.shown)}"
            self._log.say(
                f"pull-logs: warning: the new runs contain {amount(findings)}; `{command}` shows them"
            )


def _open_set(out: str) -> SetStore:
    """Return the set to archive into; a folder is created.

    Raises:
        UsageError: It cannot be one, or it has the bundles of an earlier release instead of a catalog.
        PullLogsError: The folder cannot be created, or the set cannot be read.
    """
    from pull_logs.snapshot import open_store
    from pull_logs.snapshot.storage import is_object_url

    remote = is_object_url(out)
    if not remote and Path(out).is_file():
        raise UsageError(f"{out!r} is a file", hint="name the folder of the archive")
    store = open_store(f"{out.rstrip('/')}/" if remote else out, create=True)
    former = [name for name in store.members() if _OF_A_PROJECT.fullmatch(name)]
    if former and not store.versions():
        files = " ".join(quote(name if remote else str(Path(out) / name)) for name in former)
        where = "download them, and write" if remote else "write"
        raise UsageError(
            f"{store.shown!r} has a bundle per project, as archives of earlier releases, and no catalog",
            hint=f"{where}: pull-logs set add {quote(out)} {files}",
        )
    return store


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
