"""`verify`: check a bundle and locate damage."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import click

from pull_logs.cli.bundle_paths import bundle_argument
from pull_logs.cli.formats import format_options, take_choice
from pull_logs.cli.output import print_result


@click.command()
@bundle_argument(urls=False)
@click.option(
    "--deep/--quick",
    default=True,
    show_default=True,
    help="Decode every row, or check only structure and hashes.",
)
@format_options()
def verify(bundle: Path, *, deep: bool, **options: Any) -> None:
    """Check every byte of a bundle against its manifest; damage is located (exit 6)."""
    from pull_logs.cli.render import json_lines
    from pull_logs.cli.sections import damage_text, verify_object, verify_sections
    from pull_logs.errors import BundleDamagedError
    from pull_logs.snapshot import verify_bundle
    from pull_logs.snapshot.read import check_in_processes

    choice = take_choice(options)
    share = partial(check_in_processes, processes=os.cpu_count() or 1)
    report = verify_bundle(bundle, deep=deep, share=share)
    result = verify_object(report)
    print_result(choice, sections=lambda: verify_sections(result), json=lambda: json_lines(result))
    if report.damages:
        raise BundleDamagedError(
            f"{str(bundle)!r} is damaged: {damage_text(report.damages[0])}",
            path=str(bundle),
            member=report.damages[0].member,
            hint="get it again from its source; what is not named above is intact",
        )
