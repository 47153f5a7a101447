"""Compare the histories of two stored runs."""

from __future__ import annotations

from collections.abc import Iterator

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows.diff import HistoryDiff, compare_histories
from pull_logs.snapshot.read.run import Run


def walk_runs(old: Run, new: Run) -> Iterator[HistoryDiff]:
    """Compare the histories of two runs as `compare_histories` does.

    Raises:
        BundleDamagedError: A bundle is damaged.
    """
    try:
        yield from compare_histories(old.batches(), new.batches())
    except DataError as exc:
        raise BundleDamagedError(
            f"the histories of run {str(new.path)!r} cannot be compared: {exc.message}",
            path=new.bundle_path,
            hint="run `pull-logs verify` on both bundles",
        ) from exc
