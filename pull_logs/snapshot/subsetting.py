"""Some runs of a bundle, or some of their metrics, as a bundle of its own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pull_logs.errors import MetricNotFoundError, UsageError
from pull_logs.snapshot.canon import STEP, TIMESTAMP
from pull_logs.snapshot.columns import select_keys
from pull_logs.snapshot.run import Run
from pull_logs.snapshot.seal import BundleRun, SealReport, write_bundle

_NEAREST = 5


def subset_bundle(runs: Iterable[Run], out: Path, *, metrics: str | None = None) -> SealReport:
    """Make a bundle of these runs.

    Without `metrics` the runs are copied byte for byte. With it they are what a pull with the same metrics
    would have brought: every row stays, with `_step`, `_timestamp` and the metrics that match; summary and
    system metrics stay whole.

    Args:
        runs: Runs of open bundles.
        out: The bundle to write; it may be the one they are from.
        metrics: A regular expression; only metrics in whose name it is found are kept.

    Raises:
        UsageError: `metrics` is no regular expression, or a run is given twice.
        MetricNotFoundError: No run has a metric that matches.
        BundleDamagedError: A bundle is damaged.
        PullLogsError: The disk is full or does not take the file.
    """
    if metrics is None:
        return write_bundle(out, runs)
    held, search = list(runs), _search(metrics)
    if not any(search(name) for run in held for name in run.column_names()):
        raise _no_match(metrics, held)
    return write_bundle(out, (_thinned(run, search) for run in held))


def _search(metrics: str) -> Callable[[str], object]:
    try:
        return re.compile(metrics).search
    except re.error as exc:
        raise UsageError(f"metrics {metrics!r} is not a regular expression: {exc}") from exc


def _no_match(metrics: str, runs: Sequence[Run]) -> MetricNotFoundError:
    names = sorted({name for run in runs for name in run.column_names()} - {STEP})
    near = difflib.get_close_matches(metrics, names, n=_NEAREST, cutoff=0.4)
    return MetricNotFoundError(
        f"no metric matches {metrics!r}",
        hint=f"the nearest are {', '.join(map(repr, near))}" if near else "",
    )


def _thinned(run: Run, search: Callable[[str], object]) -> BundleRun:
    def keep(key: str) -> bool:
        return key == TIMESTAMP or bool(search(key))

    return BundleRun(
        info=run.info,
        coverage=run.coverage,
        batches=lambda: (select_keys(batch, keep) for batch in run.batches()),
        system=run.system_table(),
    )
