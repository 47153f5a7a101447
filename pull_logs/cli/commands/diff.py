"""`diff`: what changed between two bundles."""

from __future__ import annotations

from typing import Any

import click

from pull_logs.cli.bundle_paths import Named, bundle_argument
from pull_logs.cli.formats import format_options, take_choice
from pull_logs.cli.options import text_budget_option
from pull_logs.cli.output import print_result, take_text_budget


@click.command()
@bundle_argument("bundles", metavar="OLD NEW", count=2)
@format_options()
@text_budget_option
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything differs.")
def diff(bundles: tuple[Named, Named], *, exit_code: bool, **options: Any) -> int:
    """Show what changed between two bundles: runs, rows, configs, summaries, files."""
    from pull_logs.cli.render import json_text
    from pull_logs.cli.sections import diff_object, diff_sections
    from pull_logs.snapshot import diff_bundles, open_bundle

    choice = take_choice(options)
    max_tokens = take_text_budget(options, choice, command="diff")
    old, new = bundles
    with open_bundle(old) as before, open_bundle(new) as after:
        difference = diff_bundles(before, after)
        result = diff_object(before, after, difference)
    print_result(
        choice,
        sections=lambda: diff_sections(result),
        json=lambda: json_text(result),
        max_tokens=max_tokens,
    )
    return int(exit_code and bool(difference))
