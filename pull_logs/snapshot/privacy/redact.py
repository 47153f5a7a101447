"""Make a copy of a bundle in which markers replace secrets and personal data.

What `audit` finds is replaced. What is removed depends on the bundle alone, so the same bundle gives the
same bytes, and a bundle without findings gives itself. Runs without findings are copied byte for byte. In
text files that a run logged, findings are replaced too, and JSON and YAML files are then written in
canonical form; text files that are too long to be looked through are left out and reported; other files are
copied. The manifest says how many markers of each kind the bundle holds.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pull_logs.snapshot.format import console_in_memory
from pull_logs.snapshot.privacy.artifact_scrubber import scrub_artifacts
from pull_logs.snapshot.privacy.audit import RunAudit, audit_run
from pull_logs.snapshot.privacy.console_scrubber import scrub_console
from pull_logs.snapshot.privacy.file_scrubber import scrub_files
from pull_logs.snapshot.privacy.patterns import KINDS
from pull_logs.snapshot.privacy.scrubber import Finding, Scrubber
from pull_logs.snapshot.read import Run, open_bundle
from pull_logs.snapshot.write import BundleRun, CopiedRun, SealReport, check_bundle_output, write_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """A redacted bundle.

    Attributes:
        seal: The new bundle.
        findings: What was replaced.
        redacted: The number of markers of each kind in the new bundle, as its manifest says.
        left_out: The files that are text too long to be looked through, and the files of artifacts with
            findings, each as its run and its name.
    """

    seal: SealReport
    findings: tuple[Finding, ...]
    redacted: Mapping[str, int]
    left_out: tuple[tuple[str, str], ...] = ()


def redact_bundle(
    bundle: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    kinds: Iterable[str] = KINDS,
    force: bool = False,
) -> Redaction:
    """Make a copy of a bundle with markers in place of what `audit_bundle` finds in it.

    Args:
        bundle: A bundle file, or the folder of an unzipped bundle.
        out: The bundle to write; it may be `bundle` itself. If this is interrupted, there is either the old
            file or the new one.
        kinds: The kinds to replace, of `KINDS`.
        force: Whether to replace what is not a bundle, or a bundle that has other runs or metrics.

    Raises:
        UsageError: `out` cannot be written or must not be replaced.
        FileMissingError: The file does not exist or cannot be read, or the folder of `out` does not exist.
        BundleDamagedError: The bundle is damaged.
        UnsafeFileError: The file is not a bundle, or has members that no bundle has.
        PullLogsError: The disk is full, or the file cannot be written.
    """
    check_bundle_output(out, force=force)
    kinds = frozenset(kinds)
    with open_bundle(bundle) as opened:
        audits = [(run, audit_run(run, kinds=kinds)) for run in opened.runs()]
        runs = (_redacted(run, audit, kinds) for run, audit in audits)
        report = write_bundle(
            Path(out),
            runs,
            metrics=opened.manifest.metrics,
            read=[run for run, _ in audits],
            force=force,
        )
    markers: Counter[str] = Counter()
    for _, audit in audits:
        markers.update(audit.markers)
    return Redaction(
        seal=report,
        findings=tuple(finding for _, audit in audits for finding in audit.findings),
        redacted=dict(sorted(markers.items())),
        left_out=tuple(
            (str(run.path), name) for run, audit in audits for name in (*audit.unread, *audit.left_out)
        ),
    )


def _redacted(run: Run, audit: RunAudit, kinds: frozenset[str]) -> BundleRun | CopiedRun:
    """Return a run without what was found in it; without findings, the run is copied."""
    if not (audit.findings or audit.unread or audit.left_out):
        return CopiedRun(run=run, redacted=audit.markers)

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
        batches=batches if audit.in_histories else run.batches,
        system=system,
        files=scrub_files(run, scrubber()).files,
        console=console_in_memory(scrub_console(run.console_logs(), scrubber()))
        if audit.in_console
        else run.console,
        artifacts=scrub_artifacts(run, scrubber()).source
        if audit.in_artifacts or audit.left_out
        else run.artifacts,
        redacted=audit.markers,
    )
