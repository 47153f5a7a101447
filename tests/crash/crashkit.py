"""Enumerates what a loss of power may leave of an operation, and judges it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from diskmodel import State, Tree, digest, states
from diskrecord import Event, Recorder, changes, recorded, tree_of
from operationkit import Operation, one_thread

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
    found = {name: value for name, value in without_locks(tree).items() if f"{name}/".startswith(f"{path}/")}
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
        trace: The calls, and what was read.
    """

    operation: Operation
    before: Tree
    after: Tree
    trace: Sequence[Event]

    @cached_property
    def events(self) -> list[Event]:
        """The calls that changed the file system or waited for it."""
        return changes(self.trace)

    def states(self, events: Sequence[Event], numbers: Sequence[int]) -> Iterator[State]:
        """The states after calls, which may be in another order, with these ascending numbers."""
        operation = self.operation
        return states(
            operation.name, self.before, events, numbers, variants=VARIANTS, copied=operation.copied
        )

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
        return Recording(operation, before, tree_of(root), recorder.trace)


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
        if state.ended and operation.acknowledged and not _is_done(operation, kept, old, new):
            return f"it was reported as done, and {operation.kept} is {_described(kept, old, new)}"
        if not _allowed(operation, kept, old, new):
            beside = operation.apart and not kept and is_beside(state.tree, operation.kept, (old, new))
            if not beside:
                return f"{operation.kept} is {_described(kept, old, new)}"
        if state.ended and operation.gone in state.tree:
            return f"it was reported as done, and {operation.gone} is there"
        if wrong := operation.inconsistent(state.tree):
            return wrong
        for path, content in before.items():
            own = (f"{operation.kept}/", operation.works_in)
            changes = path == operation.kept or path.startswith(own) or path in operation.copied
            # What the operation moves may be gone once all that is new is there.
            moved = path not in after and path not in state.tree and new.items() <= kept.items()
            if not changes and not moved and state.tree.get(path, b"missing") != content:
                return f"{path} is not as it was"
        # A copy for which nobody waited may be lost, and then nothing can be done with it.
        lost = any(state.tree.get(path, b"missing") != before[path] for path in operation.copied)
        return self._rerun(state.tree) if rerun and not (lost and new.items() > kept.items()) else ""

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
    return False


def _is_done(operation: Operation, kept: Tree, old: Tree, new: Tree) -> bool:
    """Whether all that is new is there; of separate files, those that were removed may be there too."""
    if not operation.partly:
        return kept == new
    return new.items() <= kept.items() <= (old.items() | new.items())


def is_beside(tree: Tree, kept: str, folders: Sequence[Tree]) -> bool:
    """Whether each of these folders is there completely under some other name."""
    found = [
        {f"{kept}{name[len(path) :]}": tree[name] for name in tree if f"{name}/".startswith(f"{path}/")}
        for path in tree
        if tree[path] is None
    ]
    return all(folder in found for folder in folders)


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
