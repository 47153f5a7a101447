"""Find what should not be shared in a bundle: every text of every run, looked at once.

Texts are names, notes, tags, the nested documents, the string columns of
histories and the text files among those that a run logged (`filetexts`); numbers, keys, run paths and the API's host are not looked at. Which
columns hold text the footer tells, so a history of numbers costs a footer; of
a text column each distinct value is looked at once, and only where a cheap
search over the whole column gives a reason to.

`Scrubber` does it for one run. It finds and it replaces in one walk, so that
what is removed (`redaction`) is what was found.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows.batches import select_keys
from pull_logs.snapshot.privacy.file_scrubber import scrub_files
from pull_logs.snapshot.privacy.patterns import KINDS
from pull_logs.snapshot.privacy.scrubber import Finding, Scrubber
from pull_logs.snapshot.read import Bundle, Run, open_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What `audit_bundle` found.

    Attributes:
        path: The bundle.
        bundle_id: Its id.
        runs: How many runs it has.
        findings: By run in path order, then by place and kind.
        redacted: What was removed earlier: how many markers of each kind there are.
        unread: The files that are text too long to be looked at, each with its run.
    """

    path: str
    bundle_id: str
    runs: int
    findings: tuple[Finding, ...]
    redacted: Mapping[str, int]
    unread: tuple[tuple[str, str], ...] = ()

    @property
    def secrets(self) -> int:
        """How many findings are secrets."""
        return sum(finding.secret for finding in self.findings)

    @property
    def personal(self) -> int:
        """How many findings are personal data."""
        return len(self.findings) - self.secrets


def audit_run(run: Run, scrubber: Scrubber) -> bool:
    """Look through all of a run; returns whether its histories have anything to remove.

    Raises:
        BundleDamagedError: The run is damaged.
    """
    scrubber.info(run.info)
    before = scrubber.findings
    columns = run.text_columns()
    if columns:
        try:
            for batch in run.batches(columns):
                scrubber.batch(batch, "history")
        except DataError as exc:
            raise _damaged(run, exc) from exc
    if run.system_text_columns():
        system = run.system_table()
        if system is not None:
            scrubber.batch(system, "system")
    in_histories = len(scrubber.findings) > len(before)
    scrub_files(run, scrubber)
    return in_histories


def earlier_markers(run: Run, keep: Callable[[str], bool] | None = None) -> Counter[str]:
    """Per kind, the markers in a run of a bundle that says that something was removed from it; else nothing.

    Args:
        run: The run.
        keep: Which keys of its history count; all when None.

    Raises:
        BundleDamagedError: The run is damaged.
    """
    scrubber = Scrubber(str(run.path), kinds=())
    if run.bundle_redacted:
        if keep is None:
            audit_run(run, scrubber)
        else:
            scrubber.info(run.info)
            for batch in run.batches():
                scrubber.batch(select_keys(batch, keep), "history")
            if (system := run.system_table()) is not None:
                scrubber.batch(system, "system")
            scrub_files(run, scrubber)
    return scrubber.earlier


def _damaged(run: Run, exc: DataError) -> BundleDamagedError:
    return BundleDamagedError(
        f"the history of run {str(run.path)!r} is damaged: {exc.message}", path=str(run.path)
    )


def audit_bundle(bundle: Bundle | str | os.PathLike[str], *, kinds: Iterable[str] = KINDS) -> Audit:
    """Find what should not be shared in a bundle.

    Args:
        bundle: An open bundle, a file, or the folder that one was unzipped to.
        kinds: The kinds to look for, of `sensitive.KINDS`.

    Raises:
        FileMissingError: Nothing can be read there.
        BundleDamagedError: It is damaged.
        UnsafeFileError: It is not a bundle, or holds what no bundle holds.
    """
    if not isinstance(bundle, Bundle):
        with open_bundle(bundle) as opened:
            return audit_bundle(opened, kinds=kinds)
    findings: list[Finding] = []
    earlier: Counter[str] = Counter()
    unread: list[tuple[str, str]] = []
    for run in bundle.runs():
        scrubber = Scrubber(str(run.path), kinds=kinds)
        audit_run(run, scrubber)
        unread += [(str(run.path), name) for name in scrubber.unread]
        findings += scrubber.findings
        earlier += scrubber.earlier
    return Audit(
        path=str(bundle.path),
        bundle_id=bundle.bundle_id,
        runs=len(bundle),
        findings=tuple(findings),
        redacted=dict(sorted(earlier.items())),
        unread=tuple(unread),
    )
