"""`fetch`: pull runs from W&B into a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundles import say_sealed
from pull_logs.cli.options import Sources, source_options, take_sources
from pull_logs.errors import IncompleteError, UsageError

if TYPE_CHECKING:
    from pull_logs.fetch import PullReport, Selection


def selection_of(sources: Sources) -> Selection:
    """What to pull, of the sources on the command line.

    Raises:
        UsageError: Nothing was named, or a bundle was.
        NotFoundError: A checkpoint is not there, or has no run in it.
    """
    from pull_logs.fetch import Selection
    from pull_logs.runs import RunReference

    if sources.bundles:
        raise UsageError(
            "fetch asks W&B and -b names a bundle",
            hint="leave -b out, or look at the bundle with `pull-logs -b`",
        )
    sources.check()
    references = [RunReference.parse(text) for text in sources.runs]
    if sources.checkpoints:
        from pull_logs.sources import find_checkpoints, read_checkpoint

        references += [
            read_checkpoint(file, key=sources.checkpoint_key).reference
            for pattern in sources.checkpoints
            for file in find_checkpoints(pattern)
        ]
    return Selection(runs=tuple(references), projects=sources.projects, sweeps=sources.sweeps)


def tell_report(report: PullReport) -> None:
    """Tell on stderr what a pull brought, whole or not, and what it took."""
    if report.seal is not None:
        say_sealed(report.seal)
    missing = [outcome for outcome in report.runs if not outcome.complete]
    click.echo(
        f"{len(report.runs) - len(missing)} of {len(report.runs)} runs whole; {report.requests} requests,"
        f" {report.bytes_received / 1e6:.2f} MB received, {report.retries} retries, {report.seconds:.1f} s",
        err=True,
    )
    for outcome in missing:
        click.echo(f"pull-logs: not whole: {outcome.path}: {outcome.reason}", err=True)


@click.command()
@source_options
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The bundle to write."
)
@click.option("--metrics", metavar="REGEX", help="Only metrics whose name matches.")
@click.option("--system", is_flag=True, help="Pull system metrics too.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=32,
    show_default=True,
    help="Most requests in flight.",
)
@click.option("--strict", is_flag=True, help="Incomplete data is an error (exit 4); what is whole is kept.")
def fetch(
    out: Path, metrics: str | None, concurrency: int, *, system: bool, strict: bool, **options: Any
) -> None:
    """Pull runs from W&B, whole and unsampled, into one verified bundle.

    Stopped half way, the same command goes on where it stopped.
    """
    selection = selection_of(take_sources(options))
    from pull_logs.cli.progress import progress_display
    from pull_logs.fetch import pull_sync

    with progress_display() as hook:
        report = pull_sync(
            selection, out=out, metrics=metrics, system=system, concurrency=concurrency, progress=hook
        )
    tell_report(report)
    missing = [outcome for outcome in report.runs if not outcome.complete]
    if strict and missing:
        raise IncompleteError(
            f"{len(missing)} of {len(report.runs)} runs are not whole", hint="run the same command again"
        )
