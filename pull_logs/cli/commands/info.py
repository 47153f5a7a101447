"""`info`: the identities of a bundle and its runs."""

from __future__ import annotations

import click

from pull_logs.cli.bundle_paths import Named, bundle_argument
from pull_logs.cli.options import budget_option


@click.command()
@bundle_argument()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@budget_option
def info(bundle: Named, *, as_json: bool, max_tokens: int) -> None:
    """Show the identities and the runs of a bundle."""
    from pull_logs.cli.render import INFO_SHAPES, check_budget, fit_json, render_text
    from pull_logs.cli.sections import info_object, info_sections
    from pull_logs.snapshot import open_bundle

    check_budget(max_tokens, as_json=as_json)
    with open_bundle(bundle) as opened:
        result = info_object(opened)
    if as_json:
        click.echo(fit_json(result, INFO_SHAPES, max_tokens=max_tokens))
    else:
        click.echo(render_text(info_sections(result), max_tokens=max_tokens), nl=False)
