"""Merge several bundles into one that has every run of each of them.

Each run is copied byte for byte from one of the bundles. Where bundles have different versions of a run, one
version covers another if it has all rows of it with all cells and the same values, all its system metrics,
all its files, artifacts and as many console lines; a file or a line may differ if the covering version has a
later heartbeat, because logs grow while a run is active. The version that covers all others is taken: a run
that continued, or one that was downloaded with all its metrics. Versions with the same rows, system metrics,
files and console log may differ in their facts; then the one with the latest heartbeat is taken. If no
version covers all others, the run is a conflict, unless the caller says which one to prefer of those that no
other version covers.

The order of the bundles does not matter, except to `prefer="first"`, and versions are never mixed. So
merging is commutative and idempotent, to the byte, and associative as long as there is no conflict.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pull_logs.errors import MergeConflictError
from pull_logs.rows.batches import steps_of
from pull_logs.rows.canonical import canonical_text
from pull_logs.rows.diff import HistoryDiff
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import coverage_fields, info_fields
from pull_logs.snapshot.operations.artifact_cover import why_artifacts_not_covered
from pull_logs.snapshot.operations.inputs import GivenBundle, opened_bundles
from pull_logs.snapshot.operations.subset import metrics_of
from pull_logs.snapshot.privacy import markers_in
from pull_logs.snapshot.read import Bundle, Run, walk_runs
from pull_logs.snapshot.write import CopiedRun, SealReport, check_bundle_output, write_bundle
from pull_logs.suggestions import counted

Prefer = Literal["newest", "first"]
"""The version to take in a conflict: the one with the latest heartbeat, or that of the first bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The choice among several versions of a run.

    Attributes:
        path: The run.
        kept: The bundle whose version was taken.
        left: The bundles whose versions were not taken.
        reason: Why, as the end of a sentence.
    """

    path: RunPath
    kept: str
    left: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """A merged bundle.

    Attributes:
        seal: The new bundle.
        choices: The runs of which there were several versions, in path order.
    """

    seal: SealReport
    choices: tuple[Choice, ...]


def merge_bundles(
    bundles: Iterable[GivenBundle],
    out: str | os.PathLike[str],
    *,
    prefer: Prefer | None = None,
    force: bool = False,
) -> MergeReport:
    """Make one bundle of the runs of several bundles.

    Args:
        bundles: The bundles, each open or what `open_bundle` takes; their order matters to `prefer="first"`
            alone.
        out: The bundle to write; it may be one of them, which is then closed.
        prefer: The version to take in a conflict; None makes a conflict an error.
        force: Whether to replace what is not a bundle, or a bundle that has other runs or metrics.

    Raises:
        UsageError: `out` cannot be written or must not be replaced, or `bundles` is one bundle.
        FileMissingError: A bundle does not exist or cannot be read.
        MergeConflictError: The bundles disagree about a run and `prefer` is None; nothing is written.
        BundleDamagedError: A bundle is damaged.
        PullLogsError: The disk is full, or the file cannot be written.
    """
    check_bundle_output(out, force=force)
    with opened_bundles(bundles) as opened:
        return _merge(opened, Path(out), prefer=prefer, force=force)


def _merge(bundles: Sequence[Bundle], out: Path, *, prefer: Prefer | None, force: bool) -> MergeReport:
    decisions: list[_Decision] = []
    conflicts: list[str] = []
    for path, runs in _runs_by_path(bundles).items():
        try:
            decisions.append(_decide(_distinct(runs), prefer))
        except MergeConflictError as exc:
            conflicts.append(f"run {str(path)!r}: {exc.message}")
    if conflicts:
        more = f", and {counted(len(conflicts) - 1, 'more run')}" if len(conflicts) > 1 else ""
        raise MergeConflictError(
            f"the bundles disagree about {conflicts[0]}{more}",
            conflicts=tuple(conflicts),
            hint="pass --prefer newest, or --prefer first with the preferred bundle named first",
        )
    taken = [decision.run for decision in decisions]
    copies = (CopiedRun(run=run, redacted=markers_in(run)) for run in taken)
    read = [run for bundle in bundles for run in bundle.runs()]
    seal = write_bundle(out, copies, metrics=metrics_of(taken), read=read, force=force)
    choices = tuple(decision.choice for decision in decisions if decision.choice is not None)
    return MergeReport(seal=seal, choices=choices)


def choose_run(runs: Sequence[Run], prefer: Prefer | None) -> tuple[Run, Choice]:
    """Choose one of several versions of a run, as `merge_bundles` does.

    Raises:
        MergeConflictError: No version covers all others, and `prefer` is None.
        BundleDamagedError: A bundle is damaged.
    """
    decision = _decide(_distinct(runs), prefer)
    choice = decision.choice or Choice(
        path=decision.run.path, kept=decision.run.bundle_path, left=(), reason="the versions are the same"
    )
    return decision.run, choice


def _runs_by_path(bundles: Sequence[Bundle]) -> dict[RunPath, list[Run]]:
    """Collect the versions of each run, in path order; those of one run are in the order of the bundles."""
    versions: dict[RunPath, list[Run]] = {}
    for bundle in {bundle.bundle_id: bundle for bundle in reversed(bundles)}.values():
        for run in bundle.runs():
            versions.setdefault(run.path, []).append(run)
    order = {str(bundle.path): index for index, bundle in reversed(list(enumerate(bundles)))}
    return {path: sorted(versions[path], key=lambda run: order[run.bundle_path]) for path in sorted(versions)}


_Data: TypeAlias = tuple[str, str | None, str | None, str | None, str | None]


def _heartbeat(run: Run) -> str:
    """Return the last heartbeat of a run so that it sorts by time: "00.5Z" is after "00Z"."""
    return (run.heartbeat_at or "").removesuffix("Z")


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of a run.

    Attributes:
        run: The run.
        facts: Its facts as JSON, to compare them.
    """

    run: Run
    facts: str

    @property
    def data(self) -> _Data:
        """The hashes of its rows, system metrics, files, console log and artifacts."""
        run = self.run
        hashes = run.files_hash, run.console_hash, run.artifacts_hash
        return run.rows_hash, run.system_rows_hash, *hashes

    @property
    def rank(self) -> tuple[object, ...]:
        """A key that is greater for a later heartbeat; a total order, so that no tie is decided by chance."""
        run = self.run
        last = -sys.maxsize if run.last_step is None else run.last_step
        encoded = run.system_encoded
        hashes = (run.history_encoded.hash, encoded.hash if encoded else "", run.writer)
        swept, gone = run.sweep_config is not None, run.last_seen is not None
        return (
            *(_heartbeat(run), last, run.rows, run.complete, gone, swept, run.parts is not None, self.facts),
            *hashes,
            run.files_hash or "",
            run.console_hash or "",
            run.artifacts_hash or "",
        )


@dataclass(frozen=True, slots=True)
class _Decision:
    """The version of a run that is taken, and the choice if there were several versions."""

    run: Run
    choice: Choice | None = None


def _distinct(runs: Sequence[Run]) -> list[_Version]:
    """Return the different versions of a run; of equal ones, the first."""
    if len(runs) == 1:
        return [_Version(runs[0], "")]
    found: dict[tuple[object, ...], _Version] = {}
    for run in runs:
        facts = json.dumps(info_fields(run.info) | coverage_fields(run.coverage), sort_keys=True)
        version = _Version(run, facts)
        found.setdefault(version.rank, version)
    return list(found.values())


def _decide(versions: Sequence[_Version], prefer: Prefer | None) -> _Decision:
    """Choose a version of a run.

    Raises:
        MergeConflictError: No version covers all others, and `prefer` is None.
    """
    if len(versions) == 1:
        return _Decision(versions[0].run)
    newest_first = sorted(versions, key=lambda version: version.rank, reverse=True)
    newest: dict[_Data, _Version] = {}
    for version in newest_first:
        newest.setdefault(version.data, version)
    different = {data: newest[data].run for data in sorted(newest, key=str)}
    try:
        covering = _covering(list(different.values()))
    except MergeConflictError as exc:
        if prefer is None:
            raise
        uncovered = _uncovered(different)
        candidates = [
            version
            for version in (versions if prefer == "first" else newest_first)
            if version.data in uncovered
        ]
        return _decision(candidates[0], versions, f"{prefer} was preferred; {exc.message}")
    reason = (
        "it has all that the others have"
        if len(different) > 1
        else "the rows are the same, and its heartbeat is the latest"
    )
    best = next(version for version in newest.values() if version.run is covering)
    return _decision(best, versions, reason)


def _decision(best: _Version, versions: Iterable[_Version], reason: str) -> _Decision:
    left = tuple(version.run.bundle_path for version in versions if version is not best)
    choice = Choice(path=best.run.path, kept=best.run.bundle_path, left=left, reason=reason)
    return _Decision(best.run, choice)


def _covering(runs: Sequence[Run]) -> Run:
    """Return the run that covers all others.

    Raises:
        MergeConflictError: There is none; the message says what one has and another has not.
    """
    best = runs[0]
    for run in runs[1:]:
        if why_not_covered(best, run) is None:
            best = run
    for run in runs:
        if run is not best and (reason := why_not_covered(run, best)) is not None:
            raise MergeConflictError(reason, conflicts=(reason,))
    return best


def _uncovered(runs: Mapping[_Data, Run]) -> set[_Data]:
    """Return those of the different versions that no other one covers."""
    return {
        data
        for data, run in runs.items()
        if all(why_not_covered(run, other) is not None for other in runs.values() if other is not run)
    }


def why_not_covered(less: Run, more: Run) -> str | None:
    """Return what one version of a run has and another has not, as a sentence; None if it is covered.

    Args:
        less: The version that may be covered.
        more: The version that may cover it.

    Raises:
        BundleDamagedError: A bundle is damaged.
    """
    less_path, more_path = repr(less.bundle_path), repr(more.bundle_path)
    if less.rows_hash != more.rows_hash:
        for window in walk_runs(less, more):
            if reason := _first_loss(window, less_path, more_path):
                return reason
    if less.system_rows_hash not in (None, more.system_rows_hash):
        here, there = (Counter(map(canonical_text, run.system_rows())) for run in (less, more))
        if here - there:
            return f"{less_path} has system metrics that {more_path} has not"
    return (
        _why_files_not_covered(less, more)
        or _why_console_not_covered(less, more)
        or why_artifacts_not_covered(less, more)
    )


def _why_console_not_covered(less: Run, more: Run) -> str | None:
    if less.console_hash in (None, more.console_hash):
        return None
    less_path, more_path = repr(less.bundle_path), repr(more.bundle_path)
    ours, others = less.console, more.console
    if ours is None or others is None:
        return f"{less_path} has a console log and {more_path} has not"
    if len(others) < len(ours):
        return f"{less_path} has {counted(len(ours), 'console line')} and {more_path} has {len(others)}"
    if _heartbeat(less) < _heartbeat(more):
        return None
    for line, other in zip(ours, others, strict=False):
        if line != other:
            return (
                f"console line {line.number} differs between {less_path} and {more_path}, and the heartbeat"
                " of the latter is not later"
            )
    return None


def _why_files_not_covered(less: Run, more: Run) -> str | None:
    if less.files_hash in (None, more.files_hash):
        return None
    less_path, more_path = repr(less.bundle_path), repr(more.bundle_path)
    kept = more.files
    for name, file in less.files.items():
        if name not in kept:
            return f"{less_path} has file {name!r} and {more_path} has not"
        if file.sha256 != kept[name].sha256 and _heartbeat(less) >= _heartbeat(more):
            return (
                f"file {name!r} differs between {less_path} and {more_path}, and the heartbeat of the latter"
                " is not later"
            )
    return None


def _first_loss(window: HistoryDiff, less: str, more: str) -> str | None:
    """Return the first row or cell of the old rows that the new rows do not have, as a sentence."""
    steps = steps_of(window.old)
    losses = [(int(window.gone[0]), "")] if len(window.gone) else []
    for key, changes in window.keys.items():
        rows = (changes.lost | changes.changed).nonzero()[0]
        losses += [(int(steps[rows[0]]), key)] if len(rows) else []
    if not losses:
        return None
    step, key = min(losses)
    if not key:
        return f"{less} has step {step} and {more} has not"
    row = int(steps.searchsorted(step))
    values = [canonical_text(value) for value in window.values(key, row) if value is not None]
    if len(values) == 1:
        return f"{key!r} at step {step} is {values[0][:80]} in {less} and missing in {more}"
    return f"{key!r} at step {step} is {values[0][:80]} in {less} and {values[1][:80]} in {more}"
