"""Compares a sample of the runs of a bundle with what the real W&B SDK reads, row by row.

What the SDK itself loses is counted apart and not as a difference: an integer that it makes a
float of, because it does not fit its types.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pull_logs.fetch import Settings, load_settings, read_with_sdk
from pull_logs.frames import join_path
from pull_logs.proof.foreign import foreign
from pull_logs.rows.batches import steps_of
from pull_logs.runs import RunPath
from pull_logs.snapshot import Bundle, Run, open_bundle, record_edits, temporary_folder
from pull_logs.snapshot.read import walk_runs

MOST_DIFFERENCES = 100
"""Differences of a run that are kept; the others are counted."""

_EXACT = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class SdkDifference:
    """A value that the bundle and the SDK do not have alike.

    Attributes:
        part: `row`, `config` or `summary`.
        step: The step of the row; None for a config and a summary.
        key: The flat key; empty for a row that only one of both has.
        bundle: The value in the bundle; None if it has none.
        sdk: The value that the SDK gave; None if it gave none.
    """

    part: str
    step: int | None
    key: str
    bundle: Any
    sdk: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SdkRun:
    """The comparison of one run.

    Attributes:
        path: The run.
        rows: The rows in the bundle.
        sdk_rows: The rows that the SDK gave; rows of one step are counted each. None if it gave none at all.
        count: The number of differences.
        differences: The first of them.
        lost: How many values the SDK itself lost.
        error: Why the run was not compared; empty if it was.
    """

    path: RunPath
    rows: int
    sdk_rows: int | None = None
    count: int = 0
    differences: Sequence[SdkDifference] = ()
    lost: int = 0
    error: str = ""

    @property
    def equal(self) -> bool:
        """Whether the run was compared and is equal."""
        return not self.error and not self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class SdkCheck:
    """The comparison of a sample.

    Attributes:
        host: The host of the W&B that was read.
        seed: The seed of the sample.
        total: The number of runs in the bundle.
        runs: The comparison of each run of the sample, in path order.
    """

    host: str
    seed: int
    total: int
    runs: Sequence[SdkRun]


def check_against_sdk(
    path: str | os.PathLike[str], *, sample: int, seed: int = 0, settings: Settings | None = None
) -> SdkCheck:
    """Compare a sample of the runs of a bundle with what the SDK reads.

    Args:
        path: The bundle: a path or a URL.
        sample: How many runs to compare; all if there are fewer.
        seed: Chooses the runs; the same seed chooses the same runs.
        settings: The address of the API and the credentials; found as the SDK finds them if None.

    Raises:
        SignInError: There is no key.
        NetworkError: The SDK could not be started.
        BundleDamagedError: The bundle is damaged.
    """
    settings = settings or load_settings()
    settings.require_key()
    with open_bundle(path) as bundle:
        everything = [run.path for run in bundle.runs()]
        chosen = sorted(random.Random(seed).sample(everything, min(sample, len(everything))))  # noqa: S311
        skipped = {name: why for name in chosen if (why := foreign(bundle[name], settings))}
        asked = [name for name in chosen if name not in skipped]
        found = {name: SdkRun(path=name, rows=bundle[name].rows, error=why) for name, why in skipped.items()}
        if asked:
            with temporary_folder() as folder:
                read = read_with_sdk(asked, folder=folder, settings=settings)
                with open_bundle(read.path) as other:
                    for name in asked:
                        error = read.failed.get(name, "")
                        found[name] = _compare(bundle, other, name, read.received.get(name), error)
        return SdkCheck(
            host=settings.host, seed=seed, total=len(everything), runs=[found[name] for name in chosen]
        )


def _compare(bundle: Bundle, other: Bundle, path: RunPath, received: int | None, error: str) -> SdkRun:
    run = bundle[path]
    if error:
        return SdkRun(path=path, rows=run.rows, error=f"the SDK could not read it: {error}")
    count, lost = 0, 0
    kept: list[SdkDifference] = []
    for difference in _differences(run, other[path]):
        if is_sdk_loss(difference.bundle, difference.sdk):
            lost += 1
            continue
        count += 1
        if len(kept) < MOST_DIFFERENCES:
            kept.append(difference)
    return SdkRun(
        path=path, rows=run.rows, sdk_rows=received, count=count, differences=tuple(kept), lost=lost
    )


def _differences(run: Run, other: Run) -> Iterator[SdkDifference]:
    """Yield every difference, that of the config and the summary first, then by step."""
    for part in ("config", "summary"):
        for edit in record_edits(getattr(run, part), getattr(other, part)):
            yield SdkDifference(part=part, step=None, key=join_path(edit.path), bundle=edit.old, sdk=edit.new)
    for window in walk_runs(run, other):
        for step in window.gone.tolist():
            yield SdkDifference(part="row", step=step, key="", bundle="a row", sdk=None)
        for step in window.added.tolist():
            yield SdkDifference(part="row", step=step, key="", bundle=None, sdk="a row")
        steps = steps_of(window.old)
        for key, changes in window.keys.items():
            for row in np.flatnonzero(changes.rows).tolist():
                here, there = window.values(key, row)
                yield SdkDifference(part="row", step=int(steps[row]), key=key, bundle=here, sdk=there)


def is_sdk_loss(bundle: Any, sdk: Any) -> bool:
    """Return whether a value differs only because the SDK made a float of a large integer, at any depth."""
    if isinstance(bundle, dict) and isinstance(sdk, dict):
        return bundle.keys() == sdk.keys() and all(_alike(bundle[key], sdk[key]) for key in bundle)
    if isinstance(bundle, list) and isinstance(sdk, list):
        return len(bundle) == len(sdk) and all(map(_alike, bundle, sdk))
    if isinstance(bundle, bool) or isinstance(sdk, bool) or not isinstance(bundle, int):
        return False
    return isinstance(sdk, (int, float)) and abs(bundle) > _EXACT and _float(bundle) == _float(sdk)


def _alike(bundle: Any, sdk: Any) -> bool:
    from pull_logs.rows.canonical import same

    return same(bundle, sdk) or is_sdk_loss(bundle, sdk)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
