"""Several bundles as one: every run of any of them, each as one bundle has it, byte for byte.

Where bundles have different versions of a run, one version *holds* another when
it has all its rows, with all their cells and the same values, all its system
metrics, and files of all the names that it has files of; where such a file has other
bytes, it must have been heard of later, for logs grow while a run goes on. The version that holds all others is taken: a run that went on, or one
pulled with all its metrics. Versions with the same rows and system metrics may
differ in facts; the one last heard of is taken. If no version holds all others,
the run is a conflict, unless it was said which to prefer of those that no other
one holds.

Nothing of this depends on the order of the bundles (but `prefer="first"`), and
versions are never mixed, so the result is commutative and idempotent, to the
byte, and associative where no conflict has to be decided.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pull_logs.errors import MergeConflictError
from pull_logs.rows.batches import steps_of
from pull_logs.rows.canonical import canonical_text
from pull_logs.rows.diff import HistoryDiff
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import coverage_fields, info_fields
from pull_logs.snapshot.operations.subset import metrics_of
from pull_logs.snapshot.privacy import earlier_markers
from pull_logs.snapshot.read import Bundle, Run, walk_runs
from pull_logs.snapshot.write import SealReport, write_bundle

Prefer = Literal["newest", "first"]
"""Which version of a run to take in a conflict: the one last heard of, or that of the first bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A run of which the bundles had several versions.

    Attributes:
        path: The run.
        kept: The bundle whose version was taken.
        left: The bundles whose versions were not.
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
        seal: What was sealed.
        choices: The runs of which there were several versions, in path order.
    """

    seal: SealReport
    choices: tuple[Choice, ...]


def merge_bundles(bundles: Sequence[Bundle], out: Path, *, prefer: Prefer | None = None) -> MergeReport:
    """Make one bundle of the runs of several.

    Args:
        bundles: Open ones; their order matters to `prefer="first"` alone.
        out: The bundle to write; it may be one of them.
        prefer: Which version to take in a conflict.

    Raises:
        MergeConflictError: The bundles disagree about a run and `prefer` is None; nothing is written.
        BundleDamagedError: One of them is damaged.
        PullLogsError: The disk is full or does not take the file.
    """
    versions: dict[RunPath, list[Run]] = {}
    for bundle in {bundle.bundle_id: bundle for bundle in reversed(bundles)}.values():
        for run in bundle.runs():
            versions.setdefault(run.path, []).append(run)
    order = {str(bundle.path): place for place, bundle in reversed(list(enumerate(bundles)))}
    taken: list[Run] = []
    choices: list[Choice] = []
    conflicts: list[str] = []
    for path in sorted(versions):
        runs = sorted(versions[path], key=lambda run: order[run.bundle_path])
        decided = _decide(_distinct(runs), prefer)
        if isinstance(decided, str):
            conflicts.append(f"run {str(path)!r}: {decided}")
            continue
        taken.append(decided[0])
        choices += decided[1:]
    if conflicts:
        more = f", and {len(conflicts) - 1} more runs" if len(conflicts) > 1 else ""
        raise MergeConflictError(
            f"the bundles disagree about {conflicts[0]}{more}",
            conflicts=tuple(conflicts),
            hint="pass --prefer newest, or --prefer first with the bundle to believe named first",
        )
    markers: Counter[str] = Counter()
    seal = write_bundle(out, _counted(taken, markers), redacted=markers, metrics=metrics_of(taken))
    return MergeReport(seal=seal, choices=tuple(choices))


def _counted(runs: Iterable[Run], markers: Counter[str]) -> Iterator[Run]:
    """The runs, and in `markers` what was removed from them before."""
    for run in runs:
        markers += earlier_markers(run)
        yield run


_Data = tuple[str, str | None, str | None]


def _heard(run: Run) -> str:
    """When a run was last heard of, in the order of time: "00.5Z" is after "00Z"."""
    return (run.heartbeat_at or "").removesuffix("Z")


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of a run, and what ranks it among others."""

    run: Run
    facts: str

    @property
    def data(self) -> _Data:
        """What its rows, system metrics and files are."""
        return self.run.rows_hash, self.run.system_rows_hash, self.run.files_hash

    @property
    def rank(self) -> tuple[object, ...]:
        """Greater for the version that was heard of later; a total order, so that no tie is left to chance."""
        run = self.run
        heard = _heard(run)
        last = -sys.maxsize if run.last_step is None else run.last_step
        encoded = run.system_encoded
        files = (run.history_encoded.hash, encoded.hash if encoded else "", run.writer)
        swept = run.sweep_config is not None
        return (heard, last, run.rows, run.complete, swept, self.facts, *files, run.files_hash or "")


def _distinct(runs: Sequence[Run]) -> list[_Version]:
    """The different versions among these, each as the first of them has it."""
    if len(runs) == 1:
        return [_Version(runs[0], "")]
    found: dict[tuple[object, ...], _Version] = {}
    for run in runs:
        facts = json.dumps(info_fields(run.info) | coverage_fields(run.coverage), sort_keys=True)
        version = _Version(run, facts)
        found.setdefault(version.rank, version)
    return list(found.values())


def _decide(versions: Sequence[_Version], prefer: Prefer | None) -> tuple[Run] | tuple[Run, Choice] | str:
    """The version to take and what to tell of it; or why there is none."""
    if len(versions) == 1:
        return (versions[0].run,)
    groups: dict[_Data, list[_Version]] = {}
    for version in sorted(versions, key=lambda version: version.rank, reverse=True):
        groups.setdefault(version.data, []).append(version)
    ordered = sorted(groups, key=str)
    found = _top([groups[data][0].run for data in ordered])
    if isinstance(found, str):
        if prefer is None:
            return found
        unheld = _unheld({data: groups[data][0].run for data in ordered})
        left = [version for version in versions if version.data in unheld]
        best = left[0] if prefer == "first" else max(left, key=lambda version: version.rank)
        return best.run, _choice(best, versions, f"{prefer} was preferred; {found}")
    best = groups[found.rows_hash, found.system_rows_hash, found.files_hash][0]
    why = (
        "it has all that the others have"
        if len(groups) > 1
        else "the rows are the same, and it was heard of last"
    )
    return best.run, _choice(best, versions, why)


def _choice(best: _Version, versions: Iterable[_Version], reason: str) -> Choice:
    left = tuple(version.run.bundle_path for version in versions if version is not best)
    return Choice(path=best.run.path, kept=best.run.bundle_path, left=left, reason=reason)


def _top(runs: Sequence[Run]) -> Run | str:
    """The one that holds all others, or why none does."""
    best = runs[0]
    for run in runs[1:]:
        if not why_not_held(best, run):
            best = run
    for run in runs:
        if run is not best and (reason := why_not_held(run, best)):
            return reason
    return best


def _unheld(runs: Mapping[_Data, Run]) -> set[_Data]:
    """Those of some versions with different rows, system metrics or files that no other of them holds."""
    return {
        data
        for data, run in runs.items()
        if all(why_not_held(run, other) for other in runs.values() if other is not run)
    }


def why_not_held(less: Run, more: Run) -> str:
    """What one version of a run has that another one lacks or contradicts, in one sentence; empty if nothing.

    Raises:
        BundleDamagedError: A bundle is damaged.
    """
    names = repr(less.bundle_path), repr(more.bundle_path)
    if less.rows_hash != more.rows_hash:
        for window in walk_runs(less, more):
            if reason := _first_loss(window, *names):
                return reason
    if less.system_rows_hash not in (None, more.system_rows_hash):
        here, there = (Counter(map(canonical_text, run.system_rows())) for run in (less, more))
        if here - there:
            return f"{names[0]} has system metrics that {names[1]} has not"
    return _why_files_not_held(less, more)


def _why_files_not_held(less: Run, more: Run) -> str:
    if less.files_hash in (None, more.files_hash):
        return ""
    kept = more.files
    for name, file in less.files.items():
        if name not in kept:
            return f"{less.bundle_path!r} has file {name!r} and {more.bundle_path!r} has not"
        if file.sha256 != kept[name].sha256 and _heard(less) >= _heard(more):
            return (
                f"file {name!r} differs between {less.bundle_path!r} and {more.bundle_path!r}, and the latter was"
                " not heard of later"
            )
    return ""


def _first_loss(window: HistoryDiff, less: str, more: str) -> str:
    """The first row or cell of a window that the new history does not have as the old one has it."""
    steps = steps_of(window.old)
    losses = [(int(window.gone[0]), "")] if len(window.gone) else []
    for key, changes in window.keys.items():
        rows = (changes.lost | changes.changed).nonzero()[0]
        losses += [(int(steps[rows[0]]), key)] if len(rows) else []
    if not losses:
        return ""
    step, key = min(losses)
    if not key:
        return f"{less} has step {step} and {more} has not"
    row = int(steps.searchsorted(step))
    values = [canonical_text(value) for value in window.values(key, row) if value is not None]
    if len(values) == 1:
        return f"{key!r} at step {step} is {values[0][:80]} in {less} and missing in {more}"
    return f"{key!r} at step {step} is {values[0][:80]} in {less} and {values[1][:80]} in {more}"
