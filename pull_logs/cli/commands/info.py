"""`info`: the identities of a bundle and its runs."""

from __future__ import annotations

from typing import Any

import click

from pull_logs.cli.bundle_paths import Named, bundle_argument
from pull_logs.cli.formats import format_options, take_choice
from pull_logs.cli.options import budget_option
from pull_logs.cli.output import print_result, take_budget


@click.command()
@bundle_argument()
@format_options()
@budget_option
def info(bundle: Named, **options: Any) -> None:
    """Show the identities and the runs of a bundle."""
    from pull_logs.cli.render import INFO_SHAPES, check_budget, fit_json
    from pull_logs.cli.sections import info_object, info_sections
    from pull_logs.snapshot import open_bundle

    choice = take_choice(options)
    max_tokens = take_budget(options, choice)
    check_budget(max_tokens, as_json=choice.as_json)
    with open_bundle(bundle) as opened:
        result = info_object(opened)
    print_result(
        choice,
        sections=lambda: info_sections(result),
        json=lambda: fit_json(result, INFO_SHAPES, max_tokens=max_tokens),
        max_tokens=max_tokens,
    )
