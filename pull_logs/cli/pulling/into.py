"""Pull into a bundle and report it: what `fetch`, `sync` and `refresh` do after they know which runs to pull.

What was removed from a bundle is removed again when it is brought up to date, and data that is to be removed
is never under the name of the bundle, whenever this is interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pull_logs.cli.pulling.log import PullLog
from pull_logs.cli.pulling.options import write_json
from pull_logs.cli.render import output_name
from pull_logs.cli.sharing import check_for_sharing, write_without
from pull_logs.errors import IncompleteError
from pull_logs.suggestions import incomplete_text

if TYPE_CHECKING:
    from pull_logs.fetch import PullOptions, PullReport, Selection
    from pull_logs.snapshot import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """How a pull is reported.

    Attributes:
        log: Writes the messages.
        report_json: The file for the report, if there is one.
        strict: Whether an incomplete run is an error.
    """

    log: PullLog
    report_json: Path | None
    strict: bool


def pull_into(
    out: Path, selection: Selection, options: PullOptions, *, redact: bool, reporting: Reporting
) -> PullReport:
    """Pull runs into a bundle, and report it.

    Args:
        out: The bundle to write; one of the same selection is brought up to date.
        selection: The runs.
        options: The options of the pull.
        redact: Whether to remove secrets and personal data.
        reporting: How it is reported.

    Raises:
        UsageError: The bundle must not be replaced.
        IncompleteError: A run is incomplete and that is an error.
        PullLogsError: See `pull`.
    """
    from pull_logs.fetch import find_output, pull_sync

    log = reporting.log
    output = find_output(out, selection, options)
    kinds = _all_kinds() if redact else None

    def announce(text: str) -> None:
        log.say(f"pull-logs: warning: {text}")

    if output.options.previous is not None:
        from pull_logs.snapshot import open_bundle

        with open_bundle(output.options.previous) as earlier:
            kinds = kinds_to_remove(earlier, redact=redact)
    if kinds is None:
        with log.progress() as hook:
            report = pull_sync(selection, out=out, options=options, progress=hook, announce=announce)
        seal = check_for_sharing(report.seal, say=log.say)
        return _finish(replace(report, seal=seal), reporting)

    def pull_unredacted(written: Path) -> PullReport:
        with log.progress() as hook:
            return pull_sync(
                selection,
                out=written,
                options=replace(output.options, force=True),
                progress=hook,
                announce=announce,
            )

    # The same name each time, so that an interrupted download continues.
    target = output.target
    written = target.with_name(f".{target.name}.unredacted")
    report, seal = write_without(
        kinds, out, pull_unredacted, target=target, force=options.force, written=written, say=log.say
    )
    return _finish(replace(report, out=out, seal=seal), reporting)


def _all_kinds() -> frozenset[str]:
    from pull_logs.snapshot.privacy import KINDS

    return frozenset(KINDS)


def kinds_to_remove(bundle: Bundle, *, redact: bool) -> frozenset[str] | None:
    """Return the kinds of data to remove from a bundle that is brought up to date; None for none.

    If something was removed from the bundle before, all kinds are removed again except those that were left
    in it.
    """
    from pull_logs.snapshot.privacy import KINDS, audit_bundle

    removed = bundle.manifest.redacted
    if redact or not removed:
        return frozenset(KINDS) if redact else None
    left = {finding.kind for finding in audit_bundle(bundle).findings}
    return frozenset(KINDS) - (left - set(removed))


def _finish(report: PullReport, reporting: Reporting) -> PullReport:
    """Report a pull and return its report, and raise if a run is incomplete and that is an error.

    Raises:
        IncompleteError: A run is incomplete.
    """
    reporting.log.report(report)
    if reporting.report_json is not None:
        write_json(reporting.report_json, {**report.to_json(), "out": output_name(report.out)})
    if reporting.strict and report.incomplete:
        raise IncompleteError(
            incomplete_text(len(report.incomplete), len(report.runs)),
            hint="run the same command again",
        )
    return report
