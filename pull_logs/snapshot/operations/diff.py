"""Compare two bundles: their runs, rows, configs, summaries and files.

Runs with the same rows hash are not read; of the others, one row group of each side is in memory at a time.
The time, host and user of a download do not count as differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import numpy as np

from pull_logs.errors import BundleDamagedError
from pull_logs.rows.batches import steps_of
from pull_logs.rows.canonical import same
from pull_logs.rows.cells import utf8_order
from pull_logs.rows.diff import HistoryDiff
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import RunPath
from pull_logs.snapshot.operations.inputs import GivenBundle, opened_bundles
from pull_logs.snapshot.read import Bundle, Run, walk_runs

EXAMPLES = 5
"""The most cells of a run that are shown as examples of what was rewritten."""

_FACTS = (*(field.name for field in RUN_FIELDS if field.identified), "complete")


Change = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change of a value in the config, the summary or the facts of a run.

    Attributes:
        path: The keys that lead to the value.
        change: What happened to the value.
        old: The old value; None if there was none.
        new: The new value; None if there is none.
    """

    path: tuple[str, ...]
    change: Change
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEdit:
    """A cell of a row that was rewritten; None means that there is no cell."""

    step: int
    key: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsDifference:
    """How the rows of a run changed.

    Attributes:
        appended: The number of new rows after the last step of the old rows.
        inserted: The number of new rows before that step.
        gone: The number of old rows whose steps no longer exist.
        rewritten: The number of rows with the same step and other values.
        first_step: The first step that was rewritten; None if none was.
        last_step: The last step that was rewritten; None if none was.
        keys: The number of rewritten rows by key.
        examples: The first rewritten cells, at most `EXAMPLES`, of as many different keys as possible.
    """

    appended: int
    inserted: int
    gone: int
    rewritten: int
    first_step: int | None
    last_step: int | None
    keys: Mapping[str, int]
    examples: tuple[CellEdit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDifference:
    """How one run changed.

    Attributes:
        path: The run.
        facts: Changes of its name, state, tags, group, job type, notes, sweep, the config of its sweep, its
            creation and its completeness.
        config: Changes of its config.
        summary: Changes of its summary.
        rows: How its rows changed; None if they did not.
        system: Whether its system metrics changed.
        files: Changes of its files; a path is the name of a file, and a value is a `FileState`.
        console: The old and the new number of console lines; None if its console log did not change.
        artifacts: Changes of its artifacts; a path is a relation and the name of a version, and a value is
            an `ArtifactState`.
    """

    path: RunPath
    facts: tuple[Edit, ...] = ()
    config: tuple[Edit, ...] = ()
    summary: tuple[Edit, ...] = ()
    rows: RowsDifference | None = None
    system: bool = False
    files: tuple[Edit, ...] = ()
    console: tuple[int, int] | None = None
    artifacts: tuple[Edit, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything changed."""
        lists = self.facts or self.config or self.summary or self.files or self.artifacts
        return bool(lists or self.rows or self.system or self.console)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleDifference:
    """How a new bundle differs from an old one.

    Attributes:
        added: The runs that only the new bundle has, in path order.
        gone: The runs that only the old bundle has, in path order.
        changed: The runs that both have and that changed, in path order.
        unchanged: The number of runs that both have and that did not change.
    """

    added: tuple[RunPath, ...]
    gone: tuple[RunPath, ...]
    changed: tuple[RunDifference, ...]
    unchanged: int

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.gone or self.changed)


def diff_bundles(old: GivenBundle, new: GivenBundle) -> BundleDifference:
    """Compare two bundles.

    If nothing changed, both have the same `content_id`. The hashes in the manifests are trusted: verify
    bundles from untrusted sources with `verify_bundle` first.

    Args:
        old: The old bundle: an open one, or what `open_bundle` takes.
        new: The new bundle, likewise.

    Raises:
        FileMissingError: A file does not exist or cannot be read.
        BundleDamagedError: A bundle is damaged.
        UnsafeFileError: A file is not a bundle, or has members that no bundle has.
    """
    with opened_bundles((old, new)) as (before, after):
        return _diff(before, after)


def _diff(old: Bundle, new: Bundle) -> BundleDifference:
    before, after = ({run.path: run for run in bundle.runs()} for bundle in (old, new))
    common = sorted(before.keys() & after.keys())
    changed = [change for path in common if (change := diff_runs(before[path], after[path]))]
    return BundleDifference(
        added=tuple(sorted(after.keys() - before.keys())),
        gone=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(changed),
        unchanged=len(common) - len(changed),
    )


def diff_runs(old: Run, new: Run) -> RunDifference:
    """Compare two states of a run; the difference is false if nothing changed.

    Args:
        old: The old state.
        new: The new state.

    Raises:
        BundleDamagedError: A bundle is damaged.
    """
    return RunDifference(
        path=new.path,
        facts=tuple(record_edits(_facts(old), _facts(new))),
        config=tuple(record_edits(old.config, new.config)),
        summary=tuple(record_edits(old.summary, new.summary)),
        rows=None if old.rows_hash == new.rows_hash else _diff_rows(old, new),
        system=old.system_rows_hash != new.system_rows_hash,
        files=tuple(_file_edits(_files(old), _files(new))),
        console=None if old.console_hash == new.console_hash else (_lines(old), _lines(new)),
        artifacts=tuple(artifact_edits(old, new)),
    )


class ArtifactState(TypedDict):
    """The digest of an artifact, its aliases, and the files of which the bundle has the bytes."""

    digest: str | None
    aliases: list[str]
    files: int


def artifact_edits(old: Run, new: Run) -> Iterator[Edit]:
    """Compare the artifacts of two states of a run, in the order of their relations and names."""
    if old.artifacts_hash == new.artifacts_hash:
        return
    before, after = _artifacts(old), _artifacts(new)
    for relation, name in sorted({*before, *after}):
        left, right = before.get((relation, name)), after.get((relation, name))
        if left != right:
            yield Edit(path=(relation, name), change=_change(left, right), old=left, new=right)


def _artifacts(run: Run) -> dict[tuple[str, str], ArtifactState]:
    found: dict[tuple[str, str], ArtifactState] = {}
    for artifact in (*run.logged_artifacts(), *run.used_artifacts()):
        record = artifact.record
        entries = artifact.entries.values() if record.entries is not None else ()
        files = sum(entry.content is not None for entry in entries)
        state = ArtifactState(digest=record.digest, aliases=list(record.aliases), files=files)
        found[record.relation, artifact.path] = state
    return found


def _lines(run: Run) -> int:
    return 0 if run.console is None else len(run.console)


class FileState(TypedDict):
    """The size and the SHA-256 of a file."""

    bytes: int
    sha256: str


def _files(run: Run) -> dict[str, FileState]:
    return {file.name: FileState(bytes=file.size, sha256=file.sha256) for file in run.files.values()}


def _file_edits(old: Mapping[str, FileState], new: Mapping[str, FileState]) -> Iterator[Edit]:
    for name in utf8_order({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before != after:
            yield Edit(path=(name,), change=_change(before, after), old=before, new=after)


def _change(before: object, after: object) -> Change:
    if before is None:
        return "added"
    return "removed" if after is None else "changed"


def _facts(run: Run) -> dict[str, Any]:
    facts = {name: getattr(run, name) for name in _FACTS}
    swept = run.sweep_config
    return facts | {"tags": sorted(run.tags)} | ({} if swept is None else {"sweep_config": swept})


def record_edits(
    old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[Edit]:
    """Compare two canonical records; the changes are in the order of the UTF-8 bytes of the keys.

    Args:
        old: The old record.
        new: The new record.
        path: The keys that lead to the records.
    """
    for key in utf8_order({*old, *new}):
        before, after, keys = old.get(key), new.get(key), (*path, key)
        if key not in new:
            yield Edit(path=keys, change="removed", old=before)
        elif key not in old:
            yield Edit(path=keys, change="added", new=after)
        elif isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from record_edits(before, after, keys)
        elif not same(before, after):
            yield Edit(path=keys, change="changed", old=before, new=after)


@dataclass(slots=True)
class _RowCounts:
    """Counts the changes of the rows of a run, one window after another.

    Attributes:
        last: The last step of the old rows; the others are those of `RowsDifference`.
    """

    last: int | None
    appended: int = 0
    inserted: int = 0
    gone: int = 0
    rewritten: int = 0
    first_step: int | None = None
    last_step: int | None = None
    keys: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[CellEdit]] = field(default_factory=dict)

    def add(self, window: HistoryDiff) -> None:
        """Count the changes of one window."""
        appended = len(window.added) if self.last is None else int((window.added > self.last).sum())
        self.appended += appended
        self.inserted += len(window.added) - appended
        self.gone += len(window.gone)
        if not window.keys:
            return
        steps = steps_of(window.old)
        touched = np.zeros(len(steps), dtype=np.bool_)
        for key, changes in window.keys.items():
            touched |= changes.rows
            rows = np.flatnonzero(changes.rows)
            self.keys[key] = self.keys.get(key, 0) + len(rows)
            if len(self.examples) < EXAMPLES:
                self.examples.setdefault(key, [])
            known = self.examples.get(key, [])
            wanted = EXAMPLES - len(known) if key in self.examples else 0
            for row in rows[:wanted].tolist():
                before, after = window.values(key, row)
                known.append(CellEdit(step=int(steps[row]), key=key, old=before, new=after))
        self.rewritten += int(touched.sum())
        self.first_step = int(steps[touched][0]) if self.first_step is None else self.first_step
        self.last_step = int(steps[touched][-1])

    def chosen(self) -> tuple[CellEdit, ...]:
        """Return the examples to show: the first one of each key, then the second ones, and so on."""
        ranked = [
            (rank, edit.step, edit) for edits in self.examples.values() for rank, edit in enumerate(edits)
        ]
        ranked.sort(key=lambda item: item[:2])
        return tuple(
            sorted((edit for _, _, edit in ranked[:EXAMPLES]), key=lambda edit: (edit.step, edit.key))
        )


def _diff_rows(old: Run, new: Run) -> RowsDifference:
    counts = _RowCounts(old.last_step)
    for window in walk_runs(old, new):
        counts.add(window)
    if not (counts.appended or counts.inserted or counts.gone or counts.rewritten):
        raise BundleDamagedError(
            f"run {str(new.path)!r} has two different rows hashes for the same rows",
            path=new.bundle_path,
            hint="run `pull-logs verify` on both bundles",
        )
    return RowsDifference(
        appended=counts.appended,
        inserted=counts.inserted,
        gone=counts.gone,
        rewritten=counts.rewritten,
        first_step=counts.first_step,
        last_step=counts.last_step,
        keys={key: counts.keys[key] for key in utf8_order(counts.keys)},
        examples=counts.chosen(),
    )
