"""A bundle without what should not be shared: what `auditing` finds, replaced by markers, and sealed anew.

What was removed depends on the bundle alone, so the same bundle gives the same
bytes, and a bundle that nothing is found in gives itself. Runs without findings
are copied byte for byte. The manifest says how many markers of each kind the
bundle holds.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pull_logs.snapshot.auditing import Finding, Scrubber, audit_run
from pull_logs.snapshot.bundle import Bundle, open_bundle
from pull_logs.snapshot.run import Run
from pull_logs.snapshot.seal import BundleRun, SealReport, write_bundle
from pull_logs.snapshot.sensitive import KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What `redact_bundle` did.

    Attributes:
        seal: The bundle it made.
        findings: What it removed.
        redacted: The markers in the bundle, as its manifest tells them.
    """

    seal: SealReport
    findings: tuple[Finding, ...]
    redacted: dict[str, int]


def redact_bundle(
    bundle: str | os.PathLike[str], out: str | os.PathLike[str], *, kinds: Iterable[str] = KINDS
) -> Redaction:
    """Make a bundle of another one, with markers in place of what `audit_bundle` finds in it.

    Args:
        bundle: A file, or the folder that one was unzipped to.
        out: The bundle to write; it may be `bundle` itself. There is the old file or the new one, whenever
            this is interrupted.
        kinds: The kinds to remove, of `sensitive.KINDS`.

    Raises:
        FileMissingError: Nothing can be read there, or the folder of `out` does not exist.
        BundleDamagedError: The bundle is damaged.
        UnsafeFileError: It is not a bundle, or holds what no bundle holds.
        PullLogsError: The disk is full or does not take the file.
    """
    findings: list[Finding] = []
    markers: Counter[str] = Counter()
    with open_bundle(bundle) as opened:
        runs = _scrubbed_runs(opened, frozenset(kinds), findings, markers)
        report = write_bundle(Path(out), runs, redacted=markers)
    return Redaction(seal=report, findings=tuple(findings), redacted=dict(sorted(markers.items())))


def _scrubbed_runs(
    bundle: Bundle, kinds: frozenset[str], findings: list[Finding], markers: Counter[str]
) -> Iterator[BundleRun | Run]:
    """The runs of a bundle without what was found in them, which is told in `findings` and `markers`."""
    for run in bundle.runs():
        scrubber = Scrubber(str(run.path), kinds=kinds)
        in_history = audit_run(run, scrubber)
        findings += scrubber.findings
        markers += scrubber.markers
        yield _scrubbed(run, kinds, in_history=in_history) if scrubber.findings else run


def _scrubbed(run: Run, kinds: frozenset[str], *, in_history: bool) -> BundleRun:
    def scrubber() -> Scrubber:
        return Scrubber(str(run.path), kinds=kinds)

    def batches() -> Iterator[pa.Table]:
        return (scrubber().batch(batch, "history") for batch in run.batches())

    system = run.system_table()
    if system is not None:
        system = scrubber().batch(system, "system")
    return BundleRun(
        info=scrubber().info(run.info),
        coverage=run.coverage,
        batches=batches if in_history else run.batches,
        system=system,
    )
