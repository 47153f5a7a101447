"""Some runs of a bundle, or some of their metrics, as a bundle of its own."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pull_logs.errors import MetricNotFoundError, UsageError
from pull_logs.rows.batches import select_keys
from pull_logs.rows.canonical import STEP, TIMESTAMP
from pull_logs.snapshot.privacy import earlier_markers
from pull_logs.snapshot.read import Run
from pull_logs.snapshot.write import BundleRun, SealReport, write_bundle

_NEAREST = 5


def subset_bundle(runs: Iterable[Run], out: Path, *, metrics: str | None = None) -> SealReport:
    """Make a bundle of these runs.

    Without `metrics` the runs are copied byte for byte. With it they are what a pull with the same metrics
    would have brought: every row stays, with `_step`, `_timestamp` and the metrics that match; summary,
    system metrics and files stay whole.

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
    held, markers = list(runs), Counter[str]()
    keep = None if metrics is None else _keeper(metrics, held)
    return write_bundle(
        out, _parts(held, keep, markers), redacted=markers, metrics=_kept_metrics(held, metrics)
    )


def metrics_of(runs: Iterable[Run]) -> str | None:
    """Which metrics were kept of these runs when they were pulled; None for all, or where they do not agree."""
    rules = {run.bundle_metrics for run in runs}
    return rules.pop() if len(rules) == 1 else None


def _kept_metrics(runs: Sequence[Run], metrics: str | None) -> str | None:
    """The regular expression of the metrics that are left when of these runs those are kept that match."""
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
    # Numbered groups and flags are not the same behind one another: then the names say it.
    return rf"\A(?:{'|'.join(map(re.escape, left))})\Z"


def _keeper(metrics: str, runs: Sequence[Run]) -> Callable[[str], bool]:
    """What says of a key whether it stays."""
    search = _search(metrics)
    if not any(search(name) for run in runs for name in run.column_names()):
        raise _no_match(metrics, runs)
    return lambda key: key == TIMESTAMP or bool(search(key))


def _parts(
    runs: Iterable[Run], keep: Callable[[str], bool] | None, markers: Counter[str]
) -> Iterator[BundleRun | Run]:
    """The runs as they are to be, and in `markers` what was removed from them before."""
    for run in runs:
        markers += earlier_markers(run, keep)
        yield run if keep is None else _thinned(run, keep)


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


def _thinned(run: Run, keep: Callable[[str], bool]) -> BundleRun:
    return BundleRun(
        info=run.info,
        coverage=run.coverage,
        batches=lambda: (select_keys(batch, keep) for batch in run.batches()),
        system=run.system_table(),
        files=tuple(run.files.values()),
    )
