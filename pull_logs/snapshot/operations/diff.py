"""What changed between two bundles: runs, rows, configs, summaries, files.

Runs whose rows hash is the same are not read; of the others a row group of
each side is in memory. What a bundle says of the time, host and user of a pull
is no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from pull_logs.errors import BundleDamagedError
from pull_logs.rows.batches import steps_of
from pull_logs.rows.canonical import same
from pull_logs.rows.cells import utf8_order
from pull_logs.rows.diff import HistoryDiff
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import RunPath
from pull_logs.snapshot.read import Bundle, Run, walk_runs

EXAMPLES = 5
"""Cells of a run that are shown as examples of what was rewritten."""

_FACTS = (*(field.name for field in RUN_FIELDS if field.identified), "complete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A value of a config, a summary or the facts of a run that changed.

    Attributes:
        path: The keys that lead to it.
        change: What happened to it.
        old: What it was; None if it was not there.
        new: What it is; None if it is gone.
    """

    path: tuple[str, ...]
    change: Literal["added", "removed", "changed"]
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEdit:
    """A cell of a row that was rewritten; None stands for a cell that is not there."""

    step: int
    key: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsDifference:
    """How the rows of a run changed.

    Attributes:
        appended: New rows behind the last step of the old ones.
        inserted: New rows before it.
        gone: Old rows whose steps are there no more.
        rewritten: Rows of a step that both have, with other values.
        first_step: The first step that was rewritten; None if none was.
        last_step: The last one.
        keys: Per key in which rows were rewritten, in how many.
        examples: The first cells that were, `EXAMPLES` at most and of as many keys as there are.
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
        facts: What changed of its name, state, tags, group, job type, notes, sweep, its sweep's config, creation
            and completeness.
        config: What changed in its config.
        summary: What changed in its summary.
        rows: How its rows changed; None if they did not.
        system: Whether its system metrics changed.
        files: What changed of its files, by name: each value has the size and the SHA-256.
    """

    path: RunPath
    facts: tuple[Edit, ...] = ()
    config: tuple[Edit, ...] = ()
    summary: tuple[Edit, ...] = ()
    rows: RowsDifference | None = None
    system: bool = False
    files: tuple[Edit, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.facts or self.config or self.summary or self.rows or self.system or self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleDifference:
    """How one bundle differs from another.

    Attributes:
        added: The runs that only the new one has, in path order.
        gone: The runs that only the old one has.
        changed: The runs that both have and that changed.
        unchanged: How many runs both have and did not change.
    """

    added: tuple[RunPath, ...]
    gone: tuple[RunPath, ...]
    changed: tuple[RunDifference, ...]
    unchanged: int

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.gone or self.changed)


def diff_bundles(old: Bundle, new: Bundle) -> BundleDifference:
    """What changed from one bundle to another.

    Where nothing did, both have the same `content_id`. The hashes of the manifests are believed: see
    `verify_bundle` for bundles from strangers.

    Raises:
        BundleDamagedError: One of them is damaged.
    """
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
    """What changed from one state of a run to another; false if nothing did.

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
    )


def _files(run: Run) -> dict[str, dict[str, Any]]:
    return {file.name: {"bytes": file.size, "sha256": file.sha256} for file in run.files.values()}


def _file_edits(old: Mapping[str, dict[str, Any]], new: Mapping[str, dict[str, Any]]) -> Iterator[Edit]:
    for name in utf8_order({*old, *new}):
        here, there = old.get(name), new.get(name)
        if here != there:
            change: Literal["added", "removed", "changed"] = (
                "added" if here is None else "removed" if there is None else "changed"
            )
            yield Edit(path=(name,), change=change, old=here, new=there)


def _facts(run: Run) -> dict[str, Any]:
    facts = {name: getattr(run, name) for name in _FACTS}
    swept = run.sweep_config
    return facts | {"tags": sorted(run.tags)} | ({} if swept is None else {"sweep_config": swept})


def record_edits(
    old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[Edit]:
    """What changed between two canonical records, in the order of the keys' UTF-8 bytes.

    Args:
        old: The record as it was.
        new: The record as it is.
        path: The keys that lead to it.
    """
    for key in utf8_order({*old, *new}):
        here, there, place = old.get(key), new.get(key), (*path, key)
        if key not in new:
            yield Edit(path=place, change="removed", old=here)
        elif key not in old:
            yield Edit(path=place, change="added", new=there)
        elif isinstance(here, Mapping) and isinstance(there, Mapping):
            yield from record_edits(here, there, place)
        elif not same(here, there):
            yield Edit(path=place, change="changed", old=here, new=there)


@dataclass(slots=True)
class _Count:
    """The running count of what changed in the rows of a run."""

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
        behind = len(window.added) if self.last is None else int((window.added > self.last).sum())
        self.appended += behind
        self.inserted += len(window.added) - behind
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
        """The examples to show: the first of each key, then the second ones."""
        ranked = [
            (place, edit.step, edit) for edits in self.examples.values() for place, edit in enumerate(edits)
        ]
        ranked.sort(key=lambda item: item[:2])
        return tuple(
            sorted((edit for _, _, edit in ranked[:EXAMPLES]), key=lambda edit: (edit.step, edit.key))
        )


def _diff_rows(old: Run, new: Run) -> RowsDifference:
    count = _Count(old.last_step)
    for window in walk_runs(old, new):
        count.add(window)
    if not (count.appended or count.inserted or count.gone or count.rewritten):
        raise BundleDamagedError(
            f"run {str(new.path)!r} has two rows hashes for the same rows",
            path=new.bundle_path,
            hint="run `pull-logs verify` on both bundles",
        )
    return RowsDifference(
        appended=count.appended,
        inserted=count.inserted,
        gone=count.gone,
        rewritten=count.rewritten,
        first_step=count.first_step,
        last_step=count.last_step,
        keys={key: count.keys[key] for key in utf8_order(count.keys)},
        examples=count.chosen(),
    )
