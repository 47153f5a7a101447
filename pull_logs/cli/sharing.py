"""Secrets and personal data in bundles that commands write: warnings and `--redact`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from pull_logs.suggestions import counted
from pull_logs.system_errors import from_system_error

if TYPE_CHECKING:
    from pull_logs.snapshot import SealReport
    from pull_logs.snapshot.privacy import Finding, Redaction

Say = Callable[[str], None]
T = TypeVar("T")


def print_line(text: str) -> None:
    """Print a note or a warning on stderr, as one line."""
    from pull_logs.cli.render import inline

    click.echo(inline(text), err=True)


_MOST_FILES = 20
"""The files that are reported one by one."""

redact_option = click.option(
    "--redact", is_flag=True, help="Remove the secrets and personal data that `audit` finds."
)


def check_for_sharing(report: SealReport, *, say: Say = print_line) -> SealReport:
    """Look for secrets and personal data in a bundle that was just written, and warn about them.

    Args:
        report: The report of the bundle.
        say: Receives the warning.

    Returns:
        The report.
    """
    from pull_logs.cli.render import output_name
    from pull_logs.snapshot.privacy import audit_bundle

    findings = audit_bundle(report.path).findings
    if findings:
        command = f"pull-logs audit {shlex.quote(output_name(report.path))}"
        say(
            f"pull-logs: warning: the bundle contains {amount(findings)};"
            f" `{command}` shows them, --redact removes them"
        )
    return report


def write_without(
    kinds: Iterable[str],
    out: Path,
    write: Callable[[Path], T],
    *,
    target: Path,
    force: bool,
    written: Path | None = None,
    say: Say = print_line,
) -> tuple[T, SealReport]:
    """Write a bundle under another name, and then without some kinds of data under its own.

    Args:
        kinds: The kinds of data to remove.
        out: The bundle.
        write: Writes the bundle with these data to the path that it is given.
        target: The path of the bundle with symbolic links followed.
        force: Whether to replace what is not a bundle, or one of another selection.
        written: Where the bundle with these data is written meanwhile; in a temporary folder if None.
        say: Receives notes.

    Returns:
        What `write` returned, and the report of the bundle.
    """
    from pull_logs.snapshot import disk_errors, temporary_folder

    hint = "free some space and run the same command again"
    with disk_errors(out, hint=hint), temporary_folder(target.parent) as folder:
        path = folder / target.name if written is None else written
        try:
            result = write(path)
            seal = write_redacted(path, out, kinds=kinds, force=force, say=say)
        finally:
            _remove_unredacted(path)
    return result, seal


def _remove_unredacted(file: Path) -> None:
    """Remove a bundle with secrets, so that no loss of power brings it back.

    Raises:
        MachineLimitError: It cannot be removed.
    """
    from pull_logs.snapshot import remove_file

    try:
        remove_file(file)
    except OSError as exc:
        raise from_system_error(exc, path=file, action="deleted") from exc


def write_redacted(
    bundle: Path,
    out: Path,
    *,
    kinds: Iterable[str] | None = None,
    force: bool = False,
    say: Say = print_line,
) -> SealReport:
    """Write a bundle without secrets and personal data, and report how much was removed.

    Args:
        bundle: The bundle to read.
        out: The bundle to write.
        kinds: The kinds of data to remove; all kinds if None.
        force: Whether to replace what is not a bundle, or a bundle that has other runs or metrics.
        say: Receives notes.
    """
    from pull_logs.snapshot.privacy import KINDS, redact_bundle

    redaction = redact_bundle(bundle, out, kinds=KINDS if kinds is None else kinds, force=force)
    if redaction.findings:
        say(f"pull-logs: note: removed {amount(redaction.findings)}")
    print_left_out(redaction, say)
    return redaction.seal


def print_left_out(redaction: Redaction, say: Say = print_line) -> None:
    """Report the files that are not in the bundle because they are too long to be searched."""
    for run, name in redaction.left_out[:_MOST_FILES]:
        say(f"pull-logs: note: left out {name!r} of {run}: the text is too long to be searched")
    if len(redaction.left_out) > _MOST_FILES:
        say(f"pull-logs: note: and {len(redaction.left_out) - _MOST_FILES} more such files")


def amount(findings: Iterable[Finding]) -> str:
    """Return how many secrets and personal details were found in how many runs, as text."""
    found = list(findings)
    secrets = sum(finding.secret for finding in found)
    counts = ((secrets, "secret"), (len(found) - secrets, "personal detail"))
    parts = [counted(count, noun) for count, noun in counts if count]
    runs = {finding.run for finding in found}
    return f"{' and '.join(parts) or 'nothing'} in {counted(len(runs), 'run')}"
