"""`audit`: find secrets and personal data in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pull_logs.cli.bundle_paths import FILE_OUT, Named, bundle_argument
from pull_logs.cli.formats import format_options, take_choice
from pull_logs.cli.options import force_option, text_budget_option
from pull_logs.cli.output import print_result, take_text_budget
from pull_logs.cli.pulling import uploads
from pull_logs.cli.sharing import amount, print_left_out
from pull_logs.errors import UsageError


def _redact(bundle: Named, out: Path, kinds: tuple[str, ...], *, force: bool) -> None:
    from pull_logs.cli.render import print_seal_report
    from pull_logs.snapshot.privacy import redact_bundle

    redaction = redact_bundle(bundle, out, kinds=kinds, force=force)
    click.echo(f"pull-logs: note: removed {amount(redaction.findings)}", err=True)
    print_left_out(redaction)
    print_seal_report(redaction.seal)


@click.command()
@bundle_argument()
@click.option("--secrets", is_flag=True, help="Only secrets, not names, addresses and paths of people.")
@format_options()
@text_budget_option
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything was found.")
@click.option("--redact", is_flag=True, help="Write the bundle without what was found to FILE (-o).")
@click.option("-o", "--out", type=FILE_OUT, metavar="FILE", help="The bundle that --redact writes.")
@force_option
@uploads
def audit(
    *,
    bundle: Named,
    secrets: bool,
    exit_code: bool,
    redact: bool,
    out: Path | None,
    force: bool,
    **options: Any,
) -> int:
    """Find secrets and personal data in a bundle before it is shared.

    Keys, tokens, passwords, signed URLs, e-mail addresses, host and user names,
    home folders and IP addresses are found; none of them is printed.
    """
    choice = take_choice(options)
    max_tokens = take_text_budget(options, choice, command="audit")
    if redact is not (out is not None):
        given, other = ("--redact", "-o FILE") if redact else ("-o", "--redact")
        raise UsageError(f"audit has {given} without {other}", hint="write: --redact -o FILE")
    from pull_logs.cli.render import json_text
    from pull_logs.cli.sections import audit_object, audit_sections
    from pull_logs.snapshot.privacy import KINDS, SECRETS, audit_bundle
    from pull_logs.snapshot.write import check_bundle_output

    if out is not None:
        check_bundle_output(out, force=force)
    kinds = SECRETS if secrets else KINDS
    found = audit_bundle(bundle, kinds=kinds)
    result = audit_object(found)
    print_result(
        choice,
        sections=lambda: audit_sections(result),
        json=lambda: json_text(result),
        max_tokens=max_tokens,
    )
    if out is not None:
        _redact(bundle, out, kinds, force=force)
    return int(exit_code and bool(found.findings))
