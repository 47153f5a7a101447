"""What operations are given: bundles that are open or not, and runs or the bundle that has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

from pull_logs.errors import UsageError
from pull_logs.snapshot.read import Bundle, Run, open_bundle

GivenBundle: TypeAlias = Bundle | str | os.PathLike[str]
"""An open bundle, or what `open_bundle` takes."""

GivenRuns: TypeAlias = Bundle | Iterable[Run]
"""Runs of open bundles, or an open bundle for all its runs."""


@contextmanager
def opened_bundles(bundles: Iterable[GivenBundle]) -> Iterator[tuple[Bundle, ...]]:
    """Open the bundles that are not open, while the block runs.

    Yields:
        All of them, in their order.

    Raises:
        UsageError: `bundles` is one bundle.
        PullLogsError: As `open_bundle`.
    """
    if isinstance(bundles, Bundle | str | os.PathLike):
        raise UsageError("bundles is one bundle, not a list of bundles", hint="put it in a list")
    with ExitStack() as opened:
        yield tuple(
            bundle if isinstance(bundle, Bundle) else opened.enter_context(open_bundle(bundle))
            for bundle in bundles
        )


def given_runs(runs: GivenRuns) -> Iterable[Run]:
    """Return the runs."""
    return runs.runs() if isinstance(runs, Bundle) else runs
