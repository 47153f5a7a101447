"""`info`: the identities of a bundle and its runs."""

from __future__ import annotations

import click

from pull_logs.cli.bundle_paths import Named, bundle_argument


@click.command()
@bundle_argument()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def info(bundle: Named, *, as_json: bool) -> None:
    """Show the identities and the runs of a bundle."""
    from pull_logs.cli.render import json_lines, render_text
    from pull_logs.cli.sections import info_object, info_sections
    from pull_logs.snapshot import open_bundle

    with open_bundle(bundle) as opened:
        result = info_object(opened)
    click.echo(json_lines(result) + "\n" if as_json else render_text(info_sections(result)), nl=False)
