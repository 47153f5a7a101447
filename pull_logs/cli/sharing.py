"""What every command that writes a bundle does before the bundle is shared."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pull_logs.snapshot import SealReport
    from pull_logs.snapshot.privacy import Finding, Redaction

_TOLD = 20
"""Files that are told of one by one."""


redact_option = click.option(
    "--redact", is_flag=True, help="Remove secrets and personal data from the bundle, as `audit` finds them."
)


def made_for_sharing(report: SealReport, *, redact: bool) -> SealReport:
    """Look through a bundle that was just sealed: warn in one line of what is in it, or remove it.

    Returns:
        The report of what now stands under the bundle's name.
    """
    from pull_logs.cli.render import inline
    from pull_logs.snapshot.privacy import audit_bundle

    if redact:
        return redacted(report.path, report.path)
    findings = audit_bundle(report.path).findings
    if findings:
        command = inline(f"pull-logs audit {shlex.quote(str(report.path))}")
        click.echo(
            f"pull-logs: warning: the bundle holds {amount(findings)};"
            f" `{command}` shows them, --redact removes them",
            err=True,
        )
    return report


def redacted(bundle: Path, out: Path, *, kinds: Iterable[str] | None = None) -> SealReport:
    """Write a bundle without secrets and personal data, and tell how much was removed.

    Args:
        bundle: What it is made of.
        out: The bundle to write.
        kinds: What to remove; all that is known if None.
    """
    from pull_logs.snapshot.privacy import KINDS, redact_bundle

    redaction = redact_bundle(bundle, out, kinds=KINDS if kinds is None else kinds)
    if redaction.findings:
        click.echo(f"pull-logs: note: removed {amount(redaction.findings)}", err=True)
    tell_left_out(redaction)
    return redaction.seal


def tell_left_out(redaction: Redaction) -> None:
    """Tell which files are not in the bundle because nobody could look through them."""
    from pull_logs.cli.render import inline

    for run, name in redaction.left_out[:_TOLD]:
        click.echo(
            inline(f"pull-logs: note: left out {name!r} of {run}: too long a text to look at"), err=True
        )
    if len(redaction.left_out) > _TOLD:
        click.echo(f"pull-logs: note: and {len(redaction.left_out) - _TOLD} more such files", err=True)


def amount(findings: Iterable[Finding]) -> str:
    """How many secrets and personal details in how many runs, in words."""
    found = list(findings)
    secrets = sum(finding.secret for finding in found)
    counts = ((secrets, "secret", "secrets"), (len(found) - secrets, "personal detail", "personal details"))
    parts = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
    runs = len({finding.run for finding in found})
    return f"{' and '.join(parts) or 'nothing'} in {runs} {'run' if runs == 1 else 'runs'}"
