"""Enumerates what a loss of power may leave of an operation, and judges it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from crashoperations import SPOOL, Operation, one_thread
from diskmodel import State, Tree, digest
from diskrecord import Event, Recorder, recorded, tree_of

VARIANTS = 72
"""The states after each call."""

_MEMORY = "/dev/shm"
_LOCKS = ("lock", "lock.pid", "lock.owner")
_LONG_AGO = 1_700_000_000


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory, where there is such a file system; always the same one, as it is for a user."""
    parent = Path(_MEMORY if os.access(_MEMORY, os.W_OK) else tempfile.gettempdir()).resolve()
    folder = parent / f"crash-{os.getpid()}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def materialize(tree: Tree, root: Path) -> None:
    """Write a tree into an empty folder; its folders are old, as those of a process that ended long ago."""
    for path in sorted(tree):
        content = tree[path]
        if content is None:
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            (root / path).write_bytes(content)
    for path in tree:
        if tree[path] is None:
            os.utime(root / path, (_LONG_AGO, _LONG_AGO))


def empty(root: Path) -> None:
    for item in root.iterdir():
        shutil.rmtree(item) if item.is_dir() else item.unlink()


def kept_of(operation: Operation, tree: Tree) -> Tree:
    """What the user keeps, without what a killed process leaves beside it."""
    path, left = operation.kept, operation.left
    found = {name: tree[name] for name in tree if name == path or name.startswith(f"{path}/")}
    return {name: content for name, content in found.items() if left not in name}


def without_locks(tree: Tree) -> Tree:
    return {name: content for name, content in tree.items() if name.rpartition("/")[2] not in _LOCKS}


@dataclass(frozen=True)
class Recording:
    """An operation that was recorded.

    Attributes:
        operation: The operation.
        before: What was there before.
        after: What was there afterwards.
        events: The calls.
    """

    operation: Operation
    before: Tree
    after: Tree
    events: Sequence[Event]

    @property
    def count(self) -> int:
        """The number of states."""
        return (len(self.events) + 1) * VARIANTS


def record(operation: Operation) -> Recording:
    """Do an operation once, without a crash."""
    with scratch() as root, one_thread():
        operation.prepare(root)
        before = tree_of(root)
        with recorded(Recorder(root)) as recorder:
            operation.run(root)
        return Recording(operation, before, tree_of(root), recorder.events)


@dataclass
class Judge:
    """Judges states; what has the same content is judged once.

    Attributes:
        recording: The operation.
        reruns: How many commands were run again.
        distinct: How many different trees there were.
    """

    recording: Recording
    reruns: int = 0
    known: dict[bytes, str] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)

    def problem(self, state: State, *, rerun: bool = True) -> str:
        """What is wrong with a state; empty if nothing is."""
        operation, before, after = self.recording.operation, self.recording.before, self.recording.after
        self.seen.add(digest(state.tree))
        kept, old, new = (kept_of(operation, tree) for tree in (state.tree, before, after))
        if state.ended and operation.acknowledged and kept != new:
            return f"it was reported as done, and {operation.kept} is {_described(kept, old, new)}"
        if not _allowed(operation, kept, old, new):
            return f"{operation.kept} is {_described(kept, old, new)}"
        for path, content in before.items():
            changes = path == operation.kept or path.startswith((f"{operation.kept}/", SPOOL))
            # What the operation moves may be gone once all that is new is there.
            moved = path not in after and path not in state.tree and new.items() <= kept.items()
            if not changes and not moved and state.tree.get(path, b"missing") != content:
                return f"{path} is not as it was"
        return self._rerun(state.tree) if rerun else ""

    def _rerun(self, tree: Tree) -> str:
        operation, after = self.recording.operation, self.recording.after
        key = digest(without_locks(operation.relevant(tree)))
        if key not in self.known:
            self.reruns += 1
            with scratch() as root, one_thread():
                materialize(tree, root)
                try:
                    (operation.again or operation.run)(root)
                    found = self.compared(tree_of(root))
                    self.known[key] = _difference(found, self.compared(after))
                except Exception as exc:  # noqa: BLE001 - whatever it is, the command cannot be run again
                    self.known[key] = f"the same command again: {type(exc).__name__}: {exc}"
        return self.known[key]

    def compared(self, tree: Tree) -> Tree:
        """The part of a tree that is always the same when the command has ended."""
        left = self.recording.operation.left
        return {path: content for path, content in without_locks(tree).items() if left not in path}


def _allowed(operation: Operation, kept: Tree, old: Tree, new: Tree) -> bool:
    if kept in (old, new):
        return True
    if operation.partly:  # each file for itself, under its name completely or not at all
        return all(content in (None, old.get(path), new.get(path)) for path, content in kept.items())
    folder = new.get(operation.kept, b"") is None
    # A folder is replaced by two renamings; until then there is none, and the same command makes it.
    return folder and not kept


def _described(kept: Tree, old: Tree, new: Tree) -> str:
    if not kept:
        return "missing"
    if kept == old:
        return "the old one"
    changed = sorted(path for path in kept.keys() | new.keys() if kept.get(path) != new.get(path))
    sizes = [(path, len(kept.get(path) or b""), len(new.get(path) or b"")) for path in changed[:4]]
    listed = ", ".join(f"{path} ({found} of {size} bytes)" for path, found, size in sizes)
    return f"neither the old nor the new one: {listed}"


def _difference(found: Tree, wanted: Tree) -> str:
    more = sorted(found.keys() - wanted.keys())
    less = sorted(wanted.keys() - found.keys())
    other = sorted(path for path in found.keys() & wanted.keys() if found[path] != wanted[path])
    if not (more or less or other):
        return ""
    return f"the same command again leaves {more}, lacks {less}, and {other} are others"
