"""A bundle without what should not be shared: what `auditing` finds, replaced by markers, and sealed anew.

What was removed depends on the bundle alone, so the same bundle gives the same
bytes, and a bundle that nothing is found in gives itself. Runs without findings
are copied byte for byte. Text files that a run logged lose what is found in them too
(JSON and YAML are then written anew, in canonical order); text that is too long to be
looked at is left out, and told; other files stay as they are. The manifest says how many markers of each kind the
bundle holds.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pull_logs.snapshot.privacy.audit import audit_run
from pull_logs.snapshot.privacy.file_scrubber import scrub_files
from pull_logs.snapshot.privacy.patterns import KINDS
from pull_logs.snapshot.privacy.scrubber import Finding, Scrubber
from pull_logs.snapshot.read import Bundle, Run, open_bundle
from pull_logs.snapshot.write import BundleRun, SealReport, write_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What `redact_bundle` did.

    Attributes:
        seal: The bundle it made.
        findings: What it removed.
        redacted: The markers in the bundle, as its manifest tells them.
        left_out: The files that are text too long to be looked at, each with its run.
    """

    seal: SealReport
    findings: tuple[Finding, ...]
    redacted: dict[str, int]
    left_out: tuple[tuple[str, str], ...] = ()


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
    left_out: list[tuple[str, str]] = []
    with open_bundle(bundle) as opened:
        runs = _scrubbed_runs(opened, frozenset(kinds), findings, markers, left_out)
        report = write_bundle(Path(out), runs, redacted=markers, metrics=opened.manifest.metrics)
    return Redaction(
        seal=report,
        findings=tuple(findings),
        redacted=dict(sorted(markers.items())),
        left_out=tuple(left_out),
    )


def _scrubbed_runs(
    bundle: Bundle,
    kinds: frozenset[str],
    findings: list[Finding],
    markers: Counter[str],
    left_out: list[tuple[str, str]],
) -> Iterator[BundleRun | Run]:
    """The runs of a bundle without what was found in them, which is told in the last three arguments."""
    for run in bundle.runs():
        scrubber = Scrubber(str(run.path), kinds=kinds)
        in_history = audit_run(run, scrubber)
        findings += scrubber.findings
        markers += scrubber.markers
        left_out += [(str(run.path), name) for name in scrubber.unread]
        clean = not scrubber.findings and not scrubber.unread
        yield run if clean else _scrubbed(run, kinds, in_history=in_history)


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
        files=scrub_files(run, scrubber()),
    )
