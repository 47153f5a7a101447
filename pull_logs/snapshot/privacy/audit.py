"""Find secrets and personal data in a bundle.

Every text of every run is looked through once: the name, notes and tags, the nested documents, the string
columns of histories, the console log, and the text files that the run logged (see `file_scrubber`). Numbers,
keys, run paths and the host of the API are not looked at. The footer of a history says which columns hold
text, so a history of numbers costs no more than reading its footer. Each distinct value of a text column is
looked at once, and only if a cheap search over the column finds a reason to.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows.batches import select_keys
from pull_logs.snapshot.privacy.artifact_scrubber import scrub_artifacts
from pull_logs.snapshot.privacy.console_scrubber import scrub_console
from pull_logs.snapshot.privacy.file_scrubber import scrub_files
from pull_logs.snapshot.privacy.patterns import KINDS
from pull_logs.snapshot.privacy.scrubber import Finding, Scrubber
from pull_logs.snapshot.read import Bundle, Run, open_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAudit:
    """What was found in one run.

    Attributes:
        findings: The findings, by location and kind.
        in_histories: Whether there are findings in its history or its system metrics.
        in_console: Whether there are findings in its console log.
        in_artifacts: Whether there are findings in its artifacts.
        earlier: The number of markers of each kind that the run has.
        markers: The number of markers of each kind that the run has once the findings are replaced.
        unread: The names of its files that are text too long to be looked through.
        left_out: The files of artifacts that a redacted bundle does not have, because they have findings or
            are text too long to be looked through.
    """

    findings: tuple[Finding, ...]
    in_histories: bool
    in_console: bool
    in_artifacts: bool
    earlier: Mapping[str, int]
    markers: Mapping[str, int]
    unread: tuple[str, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found in a bundle.

    Attributes:
        path: The bundle.
        bundle_id: The id of the bundle.
        runs: The number of its runs.
        findings: The findings, by run, location and kind.
        redacted: The number of markers of each kind, which earlier redactions left.
        unread: The files that are text too long to be looked through, each as its run and its name.
    """

    path: str
    bundle_id: str
    runs: int
    findings: tuple[Finding, ...]
    redacted: Mapping[str, int]
    unread: tuple[tuple[str, str], ...] = ()

    @property
    def secrets(self) -> int:
        """The number of findings that are secrets."""
        return sum(finding.secret for finding in self.findings)

    @property
    def personal(self) -> int:
        """The number of findings that are personal data."""
        return len(self.findings) - self.secrets


def audit_bundle(bundle: Bundle | str | os.PathLike[str], *, kinds: Iterable[str] = KINDS) -> Audit:
    """Find secrets and personal data in a bundle.

    Args:
        bundle: An open bundle, a bundle file, or the folder of an unzipped bundle.
        kinds: The kinds to look for, of `KINDS`.

    Raises:
        FileMissingError: The file does not exist or cannot be read.
        BundleDamagedError: The bundle is damaged.
        UnsafeFileError: The file is not a bundle, or has members that no bundle has.
    """
    if not isinstance(bundle, Bundle):
        with open_bundle(bundle) as opened:
            return audit_bundle(opened, kinds=kinds)
    kinds = frozenset(kinds)
    audits = [(str(run.path), audit_run(run, kinds=kinds)) for run in bundle.runs()]
    redacted: Counter[str] = Counter()
    for _, audit in audits:
        redacted.update(audit.earlier)
    return Audit(
        path=str(bundle.path),
        bundle_id=bundle.bundle_id,
        runs=len(bundle),
        findings=tuple(finding for _, audit in audits for finding in audit.findings),
        redacted=dict(sorted(redacted.items())),
        unread=tuple((run, name) for run, audit in audits for name in audit.unread),
    )


def audit_run(run: Run, *, kinds: Iterable[str] = KINDS) -> RunAudit:
    """Find secrets and personal data in a run.

    Args:
        run: The run.
        kinds: The kinds to look for, of `KINDS`.

    Raises:
        BundleDamagedError: The run is damaged.
    """
    scrubber = Scrubber(str(run.path), kinds=kinds)
    scrubber.info(run.info)
    in_facts = len(scrubber.findings)
    if columns := run.text_columns():
        try:
            for batch in run.batches(columns):
                scrubber.batch(batch, "history")
        except DataError as exc:
            raise BundleDamagedError(
                f"the history of run {str(run.path)!r} is damaged: {exc.message}", path=str(run.path)
            ) from exc
    if run.system_text_columns() and (system := run.system_table()) is not None:
        scrubber.batch(system, "system")
    in_histories = len(scrubber.findings) > in_facts
    before = len(scrubber.findings)
    for _ in scrub_console(run.console_logs(), scrubber):
        pass
    in_console = len(scrubber.findings) > before
    unread = scrub_files(run, scrubber).unread
    before = len(scrubber.findings)
    artifacts = scrub_artifacts(run, scrubber)
    return RunAudit(
        findings=scrubber.findings,
        in_histories=in_histories,
        in_console=in_console,
        in_artifacts=len(scrubber.findings) > before,
        earlier=scrubber.earlier,
        markers=scrubber.markers,
        unread=unread,
        left_out=artifacts.left_out,
    )


def markers_in(run: Run, keep: Callable[[str], bool] | None = None) -> Mapping[str, int]:
    """Count the markers of each kind in a run; a run of a bundle without redactions has none.

    Args:
        run: The run.
        keep: Whether a key of its history counts; None counts all.

    Raises:
        BundleDamagedError: The run is damaged.
    """
    if not run.bundle_redacted:
        return {}
    if keep is None:
        return audit_run(run, kinds=()).earlier
    scrubber = Scrubber(str(run.path), kinds=())
    scrubber.info(run.info)
    for batch in run.batches():
        scrubber.batch(select_keys(batch, keep), "history")
    if (system := run.system_table()) is not None:
        scrubber.batch(system, "system")
    for _ in scrub_console(run.console_logs(), scrubber):
        pass
    scrub_files(run, scrubber)
    scrub_artifacts(run, scrubber)
    return scrubber.earlier
