"""`merge`: one bundle of several."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import Named, bundle_argument
from pull_logs.cli.options import bundle_out_option, force_option
from pull_logs.cli.pulling import uploads
from pull_logs.cli.render import print_seal_report
from pull_logs.cli.sharing import check_for_sharing, redact_option, write_without
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.snapshot import MergeReport


_MOST_LINES = 20
"""The runs that are reported one by one on stderr."""


def _print_choices(report: MergeReport) -> None:
    from pull_logs.cli.render import inline

    for choice in report.choices[:_MOST_LINES]:
        left = ", ".join(map(repr, choice.left))
        click.echo(
            inline(f"pull-logs: note: {choice.path}: {choice.kept!r} over {left}: {choice.reason}"), err=True
        )
    if len(report.choices) > _MOST_LINES:
        more = counted(len(report.choices) - _MOST_LINES, "more run")
        click.echo(f"pull-logs: note: {more} likewise", err=True)


@click.command()
@bundle_argument("bundles", metavar="BUNDLE...", count=None)
@bundle_out_option
@click.option(
    "--prefer",
    type=click.Choice(["newest", "first"]),
    help="If bundles disagree about a run: take the one last seen by W&B, or that of the first bundle.",
)
@force_option
@redact_option
@uploads
def merge(bundles: tuple[Named, ...], out: Path, prefer: Any, *, force: bool, redact: bool) -> None:
    """Make one bundle of several; their order does not matter.

    A run that is in several is taken from the bundle that has everything the others have of it. If there is
    none, nothing is written (exit 2), unless --prefer says which to take.
    """
    from pull_logs.cli.render import inline
    from pull_logs.errors import MergeConflictError
    from pull_logs.snapshot import merge_bundles, open_bundle
    from pull_logs.snapshot.privacy import KINDS
    from pull_logs.snapshot.write import check_bundle_output

    def write(path: Path, *, force: bool = True) -> MergeReport:
        with ExitStack() as stack:
            opened = [stack.enter_context(open_bundle(bundle)) for bundle in bundles]
            try:
                return merge_bundles(opened, path, prefer=prefer, force=force)
            except MergeConflictError as exc:
                for conflict in exc.conflicts[:_MOST_LINES]:
                    click.echo(inline(f"pull-logs: conflict: {conflict}"), err=True)
                raise

    target = check_bundle_output(out, force=force)
    if redact:
        report, seal = write_without(KINDS, out, write, target=target, force=force)
    else:
        report = write(out, force=force)
        seal = check_for_sharing(report.seal)
    _print_choices(report)
    print_seal_report(seal)
