"""Make a bundle of some runs of a bundle, or of some of their metrics."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pull_logs.errors import MetricNotFoundError, UsageError
from pull_logs.rows.canonical import STEP, TIMESTAMP
from pull_logs.snapshot.operations.inputs import GivenRuns, given_runs
from pull_logs.snapshot.privacy import markers_in
from pull_logs.snapshot.read import Run
from pull_logs.snapshot.write import CopiedRun, SealReport, SelectedRun, check_bundle_output, write_bundle
from pull_logs.suggestions import did_you_mean


def subset_bundle(
    runs: GivenRuns, out: str | os.PathLike[str], *, metrics: str | None = None, force: bool = False
) -> SealReport:
    """Make a bundle of runs of other bundles.

    Without `metrics`, the runs are copied byte for byte. With it, they are what a download with the same
    `metrics` gives: every row is kept, with `_step`, `_timestamp` and the matching metrics; summary, system
    metrics and files are kept completely. The metrics are copied as they are encoded wherever encoding them
    again would give the same bytes.

    Args:
        runs: Runs of open bundles, or an open bundle for all its runs.
        out: The bundle to write; it may be the one that the runs are from, which is then closed.
        metrics: A regular expression; a metric is kept if it is found in its name.
        force: Whether to replace what is not a bundle, or a bundle that has other runs or metrics.

    Raises:
        UsageError: `metrics` is not a valid regular expression, a run is given twice, or `out` cannot be
            written or must not be replaced.
        MetricNotFoundError: No metric of any run matches.
        BundleDamagedError: A bundle is damaged.
        PullLogsError: The disk is full, or the file cannot be written.
    """
    check_bundle_output(out, force=force)
    held = list(given_runs(runs))
    keep = None if metrics is None else _keeper(metrics, held)
    parts = (_part(run, keep) for run in held)
    return write_bundle(Path(out), parts, metrics=_kept_metrics(held, metrics), read=held, force=force)


def metrics_of(runs: Iterable[Run]) -> str | None:
    """Return the regular expression of the metrics that the bundles of these runs kept.

    None means that all were kept, or that the bundles differ.
    """
    patterns = {run.bundle_metrics for run in runs}
    return patterns.pop() if len(patterns) == 1 else None


def _kept_metrics(runs: Sequence[Run], metrics: str | None) -> str | None:
    """Return the regular expression that matches the metrics of these runs that are left by `metrics`."""
    before = metrics_of(runs)
    if before is None or metrics is None or before == metrics:
        return before if metrics is None else metrics
    both = rf"\A(?s:(?=.*?(?:{before}))(?=.*?(?:{metrics})))"
    names = sorted({name for run in runs for name in run.column_names()} - {STEP, TIMESTAMP})
    left = list(filter(_search(metrics), names))
    try:
        if left == list(filter(re.compile(both).search, names)):
            return both
    except re.error:
        pass
    # Numbered groups and flags may change their meaning in a longer pattern: then the names are listed.
    return rf"\A(?:{'|'.join(map(re.escape, left))})\Z"


def _keeper(metrics: str, runs: Sequence[Run]) -> Callable[[str], bool]:
    """Return a function that says whether a key of a row is kept."""
    search = _search(metrics)
    if not any(search(name) for run in runs for name in run.column_names()):
        names = sorted({name for run in runs for name in run.column_names()} - {STEP})
        raise MetricNotFoundError(f"no metric matches {metrics!r}", hint=did_you_mean(metrics, names))
    return lambda key: key == TIMESTAMP or bool(search(key))


def _search(metrics: str) -> Callable[[str], object]:
    try:
        return re.compile(metrics).search
    except re.error as exc:
        raise UsageError(f"metrics {metrics!r} is not a valid regular expression: {exc}") from exc


def _part(run: Run, keep: Callable[[str], bool] | None) -> SelectedRun | CopiedRun:
    """Return a run with the keys that are kept; None keeps all."""
    redacted = markers_in(run, keep)
    if keep is None:
        return CopiedRun(run=run, redacted=redacted)
    return SelectedRun(run=run, keep=keep, redacted=redacted)
