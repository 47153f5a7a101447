"""The commands that work on whole bundles: diff, merge, subset, export."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import OUT, Named, near_or_far
from pull_logs.cli.options import Sources, pick_options
from pull_logs.cli.render import say_sealed
from pull_logs.cli.sharing import made_for_sharing, redact_option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pull_logs.analyze import Subject
    from pull_logs.snapshot import MergeReport, Run

_OUT = click.option("-o", "--out", required=True, type=OUT, metavar="FILE", help="The bundle to write.")

_TOLD = 20
"""Runs that are told of one by one on stderr."""


@click.command()
@click.argument("old", metavar="OLD", callback=near_or_far)
@click.argument("new", metavar="NEW", callback=near_or_far)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything differs.")
def diff(old: Named, new: Named, *, as_json: bool, exit_code: bool) -> int:
    """Tell what changed between two bundles: runs, rows, configs, summaries."""
    from pull_logs.cli.render import diff_object, diff_text, json_text
    from pull_logs.snapshot import diff_bundles, open_bundle

    with open_bundle(old) as before, open_bundle(new) as after:
        difference = diff_bundles(before, after)
        told = diff_object(before, after, difference)
    click.echo(json_text(told) + "\n" if as_json else diff_text(told), nl=False)
    return int(exit_code and bool(difference))


def _tell_choices(report: MergeReport) -> None:
    from pull_logs.cli.render import inline

    for choice in report.choices[:_TOLD]:
        left = ", ".join(map(repr, choice.left))
        click.echo(
            inline(f"pull-logs: note: {choice.path}: {choice.kept!r} over {left}: {choice.reason}"), err=True
        )
    if len(report.choices) > _TOLD:
        click.echo(f"pull-logs: note: the same of {len(report.choices) - _TOLD} more runs", err=True)


@click.command()
@click.argument("bundles", nargs=-1, required=True, metavar="BUNDLE...", callback=near_or_far)
@_OUT
@click.option(
    "--prefer",
    type=click.Choice(["newest", "first"]),
    help="Where bundles disagree about a run: take the one last heard of, or that of the first bundle.",
)
@redact_option
def merge(bundles: tuple[Named, ...], out: Path, prefer: Any, *, redact: bool) -> None:
    """Make one bundle of several; their order does not matter.

    A run that is in several is taken from the bundle that has all that the others have of it. If none has,
    nothing is written (exit 2), unless --prefer says which to take.
    """
    from pull_logs.cli.render import inline
    from pull_logs.errors import MergeConflictError
    from pull_logs.snapshot import merge_bundles, open_bundle

    with ExitStack() as stack:
        opened = [stack.enter_context(open_bundle(path)) for path in bundles]
        try:
            report = merge_bundles(opened, out, prefer=prefer)
        except MergeConflictError as exc:
            for conflict in exc.conflicts[:_TOLD]:
                click.echo(inline(f"pull-logs: conflict: {conflict}"), err=True)
            raise
    _tell_choices(report)
    say_sealed(made_for_sharing(report.seal, redact=redact))


def _picks(bundle: Named, options: dict[str, Any]) -> Sources:
    """The runs of a bundle that the pick options name."""
    return Sources(bundles=(bundle,), **options)


def _runs(subjects: Iterable[Subject]) -> list[Run]:
    """Each run once, however often it was named."""
    from pull_logs.snapshot import Run

    runs = [subject.run for subject in subjects]
    return list({run.path: run for run in runs if isinstance(run, Run)}.values())


@click.command()
@click.argument("bundle", metavar="BUNDLE", callback=near_or_far)
@_OUT
@pick_options
@click.option("--metrics", metavar="REGEX", help="Only metrics whose name matches.")
def subset(*, bundle: Named, out: Path, metrics: str | None, **options: Any) -> None:
    """Make a bundle of some runs of another, or of some of their metrics.

    Runs that keep all their metrics are copied byte for byte.
    """
    from pull_logs.cli.runs import open_subjects
    from pull_logs.snapshot import subset_bundle

    with open_subjects(_picks(bundle, options)) as subjects:
        report = subset_bundle(_runs(subjects), out, metrics=metrics)
    say_sealed(report)


@click.command()
@click.argument("bundle", metavar="BUNDLE", callback=near_or_far)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder to make.",
)
@click.option(
    "--format",
    "to",
    type=click.Choice(["parquet", "csv", "ndjson"]),
    default="parquet",
    show_default=True,
    help="The format of the files.",
)
@click.option("--force", is_flag=True, help="Replace an export that is there.")
@pick_options
def export(*, bundle: Named, out: Path, to: Any, force: bool, **options: Any) -> None:
    """Write runs as plain Parquet, CSV or NDJSON files in Hive folders, for other tools."""
    from pull_logs.cli.runs import open_subjects
    from pull_logs.snapshot import export_runs

    with open_subjects(_picks(bundle, options)) as subjects:
        report = export_runs(_runs(subjects), out, to=to, force=force)
    click.echo(
        f"{out}: {report.runs} runs, {report.rows} rows, {report.files} files, {report.bytes / 1e6:.2f} MB",
        err=True,
    )
