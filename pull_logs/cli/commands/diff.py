"""`diff`: what changed between two bundles."""

from __future__ import annotations

import click

from pull_logs.cli.bundle_paths import Named, bundle_argument


@click.command()
@bundle_argument("bundles", metavar="OLD NEW", count=2)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything differs.")
def diff(bundles: tuple[Named, Named], *, as_json: bool, exit_code: bool) -> int:
    """Show what changed between two bundles: runs, rows, configs, summaries, files."""
    from pull_logs.cli.render import json_text, render_text
    from pull_logs.cli.sections import diff_object, diff_sections
    from pull_logs.snapshot import diff_bundles, open_bundle

    old, new = bundles
    with open_bundle(old) as before, open_bundle(new) as after:
        difference = diff_bundles(before, after)
        result = diff_object(before, after, difference)
    click.echo(json_text(result) + "\n" if as_json else render_text(diff_sections(result)), nl=False)
    return int(exit_code and bool(difference))
