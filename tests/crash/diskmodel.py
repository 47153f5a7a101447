"""What a loss of power may leave of recorded calls: a model of the promises of POSIX, and nothing more.

- The bytes of a file are on the disk up to the last `fsync` of that file. What was written later may be there
  or not, each sector of 512 bytes for itself; the file may have its new size and zeros in it.
- A name in a folder is on the disk as of the last `fsync` of that folder. Of the later changes of a name any
  prefix may be there, whatever is there of other names.
- A renamed file has one of its names: the old one is not gone before the new one is there. Two names that
  were exchanged are both the old ones or both the new ones.

What the system refuses, such as giving a folder the name of another one that is not empty, is an error of the
model too: so a call that another order makes impossible is known.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from diskrecord import Event

SECTOR = 512
EXTREMES = (
    (True, "all"),
    (False, "none"),
    (True, "none"),
    (False, "all"),
    (True, "zeros"),
    (True, "torn"),
    (True, "short"),
)
"""Whether all changed names are there, and what of the files that were not waited for."""

JOURNAL = 6
"""In every so many states, the names are as they were after some call."""

Tree = Mapping[str, "bytes | None"]
"""The files below a folder with their bytes, and the folders with None."""


@dataclass
class File:
    """A file: what is on the disk, and the changes since."""

    durable: bytes = b""
    pending: list[Event] = field(default_factory=list)

    def latest(self) -> bytes:
        content = bytearray(self.durable)
        for event in self.pending:
            if event.kind == "truncate":
                content = content[: event.start].ljust(event.start, b"\0")
            else:
                content = content.ljust(event.start, b"\0")
                content[event.start : event.start + len(event.data)] = event.data
        return bytes(content)


@dataclass
class Folder:
    """A folder: the values that each name had since the folder was last waited for.

    A value is what the name stands for, the call that changed it, and the new name of what it stood for, if
    that was renamed.
    """

    names: dict[str, list[tuple[Node | None, int, tuple[Folder, str] | None]]] = field(default_factory=dict)

    def get(self, name: str) -> Node | None:
        return self.names[name][-1][0] if name in self.names else None


Node = File | Folder


class RefusedError(Exception):
    """The system would refuse a call."""


@dataclass(frozen=True)
class Pending:
    """What a crash leaves open at one moment, in a fixed order.

    Attributes:
        names: Changed names, each with its folder.
        files: Files that were not waited for.
    """

    names: Sequence[tuple[Folder, str]]
    files: Sequence[File]


class Disk:
    """The state after some calls.

    Args:
        tree: What was there before, on the disk.
        copied: Those of its files that nobody waited for, as a copy leaves them: neither bytes nor name.
    """

    def __init__(self, tree: Tree, copied: Collection[str] = ()) -> None:
        self.root = Folder()
        self.count = 0
        self._files: dict[int, File] = {}
        for path in sorted(tree):
            content = tree[path]
            parent, name = self._parent(path)
            node = Folder() if content is None else File(content)
            parent.names[name] = [(node, 0, None)]
            if path in copied:
                written = File(b"", [Event("write", path, data=content or b"")])
                parent.names[name] = [(None, 0, None), (written, 0, None)]

    def _find(self, path: str) -> Node:
        node: Node = self.root
        for part in () if path == "." else path.split("/"):
            found = node.get(part) if isinstance(node, Folder) else None
            if found is None:
                raise RefusedError(path)
            node = found
        return node

    def _parent(self, path: str) -> tuple[Folder, str]:
        parent, _, name = path.rpartition("/")
        found = self._find(parent or ".")
        if not isinstance(found, Folder):
            raise RefusedError(path)
        return found, name

    def _file(self, event: Event) -> File:
        if event.inode not in self._files:
            found = self._find(event.path)  # one of before
            assert isinstance(found, File)
            self._files[event.inode] = found
        return self._files[event.inode]

    def apply(self, event: Event) -> None:
        """Make a call.

        Raises:
            RefusedError: The system would not make it.
        """
        self.count += 1
        match event.kind:
            case "write" | "truncate":
                self._file(event).pending.append(event)
            case "fsync":
                self._sync(self._find(event.path) if not event.inode else self._file(event))
            case "rename" | "exchange" | "link":
                self._name(event)
            case "read":
                self._find(event.path)
            case _:
                self._create_or_remove(event)

    def _name(self, event: Event) -> None:
        (parent, name), (folder, new) = self._parent(event.path), self._parent(event.target)
        node, replaced = self._find(event.path), folder.get(new)
        if event.kind == "exchange":
            self._set(parent, name, self._find(event.target), moved=(folder, new))
            self._set(folder, new, node, moved=(parent, name))
        elif event.kind == "link":
            if replaced is not None:
                raise RefusedError(event.target)
            self._set(folder, new, node)
        elif node is not replaced:  # of two names of one file, none changes
            if replaced is not None and (not _is_empty(replaced) or type(replaced) is not type(node)):
                raise RefusedError(event.target)
            self._set(folder, new, node)
            self._set(parent, name, None, moved=(folder, new))

    def _create_or_remove(self, event: Event) -> None:
        folder, name = self._parent(event.path)
        new: Node | None = Folder() if event.kind == "mkdir" else None
        if event.kind == "create":
            new = self._files[event.inode] = File()
        elif event.kind == "unlink" and not _is_empty(folder.get(name)):
            raise RefusedError(event.path)
        self._set(folder, name, new)

    def _set(
        self, folder: Folder, name: str, node: Node | None, *, moved: tuple[Folder, str] | None = None
    ) -> None:
        folder.names.setdefault(name, [(None, 0, None)]).append((node, self.count, moved))

    def _sync(self, node: Node) -> None:
        if isinstance(node, File):
            node.durable, node.pending = node.latest(), []
            return
        for name, values in list(node.names.items()):
            latest = values[-1]
            for _, call, moved in values:
                # The new name is on the disk before the old one is gone.
                if moved is not None:
                    self._settle(*moved, since=call)
            if latest[0] is None:
                del node.names[name]
            else:
                node.names[name] = [latest]

    def _settle(self, folder: Folder, name: str, *, since: int) -> None:
        values = folder.names.get(name, [])
        kept = [value for value in values if value[1] >= since]
        if kept:
            folder.names[name] = kept

    def pending(self) -> Pending:
        """What a crash at this moment leaves open."""
        names: list[tuple[Folder, str]] = []
        files: dict[int, File] = {}
        seen, stack = set[int](), [self.root]
        while stack:
            folder = stack.pop()
            if id(folder) in seen:
                continue
            seen.add(id(folder))
            for name, values in folder.names.items():
                if len(values) > 1:
                    names.append((folder, name))
                for node, _, _ in values:
                    if isinstance(node, Folder):
                        stack.append(node)
                    elif node is not None and node.pending:
                        files[id(node)] = node
        return Pending(names, list(files.values()))


def _is_empty(node: Node | None) -> bool:
    """Whether nothing prevents that a name of a file or folder is removed or replaced."""
    return not isinstance(node, Folder) or all(values[-1][0] is None for values in node.names.values())


class Choice:
    """One way in which a crash may have gone: which value each name has, and what each file holds."""

    def __init__(self, disk: Disk, number: int, seed: str) -> None:
        self._disk, self._pending, self._number = disk, disk.pending(), number
        self._chance = random.Random(seed)
        self._index: dict[tuple[int, str], int] = {}
        self._content: dict[int, bytes] = {}
        self._choose()
        self._never_without_a_name()

    def _choose(self) -> None:
        names, files = self._pending.names, self._pending.files
        number = self._number
        # First the extremes, then each name and each file alone, then at random; between them, as of a call.
        if number < len(EXTREMES):
            kept, how = EXTREMES[number]
            for folder, name in names:
                self._index[id(folder), name] = len(folder.names[name]) - 1 if kept else 0
            for file in files:
                self._content[id(file)] = self._bytes(file, how)
            return
        if number % JOURNAL == 0:
            self._choose_journal()
            return
        number -= len(EXTREMES) + number // JOURNAL - len(EXTREMES) // JOURNAL
        single = number // 2
        if single < len(names) + len(files):
            kept = number % 2 == 0
            for at, (folder, name) in enumerate(names):
                self._index[id(folder), name] = len(folder.names[name]) - 1 if (at != single) == kept else 0
            for at, file in enumerate(files, len(names)):
                how = "all" if at != single else self._chance.choice(["none", "zeros", "torn", "short"])
                self._content[id(file)] = self._bytes(file, how)
            return
        share = self._chance.choice([0.1, 0.5, 0.9])
        for folder, name in names:
            values = folder.names[name]
            latest = self._chance.random() < share
            self._index[id(folder), name] = len(values) - 1 if latest else self._chance.randrange(len(values))
        for file in files:
            how = self._chance.choice(["all", "all", "none", "zeros", "torn", "short", "sectors"])
            self._content[id(file)] = self._bytes(file, how)

    def _choose_journal(self) -> None:
        """Let all names be as they were after one of the first calls that nobody waited for.

        A file system with a journal leaves them so.
        """
        names = self._pending.names
        calls = sorted({value[1] for folder, name in names for value in folder.names[name][1:]})
        last = calls[min(self._number // JOURNAL - 2, len(calls) - 1)] if calls else 0
        for folder, name in names:
            values = folder.names[name]
            self._index[id(folder), name] = max(
                at for at, value in enumerate(values) if not at or value[1] <= last
            )
        for file in self._pending.files:
            self._content[id(file)] = self._bytes(file, self._chance.choice(["all", "none", "torn"]))

    def _bytes(self, file: File, how: str) -> bytes:
        if how == "none":
            return file.durable
        latest = file.latest()
        old, sectors = file.durable.ljust(len(latest), b"\0")[: len(latest)], -(-len(latest) // SECTOR)
        if how == "zeros":
            return old
        if how == "short":
            return latest[: SECTOR * self._chance.randrange(sectors + 1)]
        if how == "torn":
            cut = SECTOR * self._chance.randrange(sectors + 1)
            return latest[:cut] + old[cut:]
        if how == "sectors":
            parts = [
                self._chance.choice((latest, old))[at * SECTOR : (at + 1) * SECTOR] for at in range(sectors)
            ]
            return b"".join(parts)
        return latest

    def _never_without_a_name(self) -> None:
        """Give a renamed file its new name where its old one is gone."""
        changed = True
        while changed:
            changed = False
            for folder, name in self._pending.names:
                for value in folder.names[name][1 : self._index[id(folder), name] + 1]:
                    changed = changed or (value[2] is not None and self._keep_target(*value[2], value[1]))

    def _keep_target(self, folder: Folder, name: str, call: int) -> bool:
        """Let a name have its value of a renaming, or a later one; whether it had an earlier one."""
        values = folder.names.get(name, [])
        first = next((at for at, value in enumerate(values) if value[1] >= call), None)
        if first is None or self._index.get((id(folder), name), len(values) - 1) >= first:
            return False
        self._index[id(folder), name] = first
        return True

    @cached_property
    def tree(self) -> dict[str, bytes | None]:
        """What is left, as a tree."""
        found: dict[str, bytes | None] = {}
        stack: list[tuple[str, Folder]] = [("", self._disk.root)]
        while stack:
            prefix, folder = stack.pop()
            for name, values in folder.names.items():
                node = values[self._index.get((id(folder), name), len(values) - 1)][0]
                if isinstance(node, Folder):
                    found[prefix + name] = None
                    stack.append((f"{prefix}{name}/", node))
                elif node is not None:
                    found[prefix + name] = self._content.get(id(node), node.durable)
        return found


def digest(tree: Tree) -> bytes:
    """A hash of a tree."""
    hasher = hashlib.blake2b(digest_size=16)
    for path in sorted(tree):
        content = tree[path]
        hasher.update(f"{path}\0{-1 if content is None else len(content)}\0".encode())
        hasher.update(content or b"")
    return hasher.digest()


@dataclass(frozen=True)
class State:
    """What a loss of power left.

    Attributes:
        number: Its number among those of its operation.
        ended: Whether the operation had ended and reported success.
        tree: What is left.
    """

    number: int
    ended: bool
    tree: Tree


def states(
    name: str,
    before: Tree,
    events: Sequence[Event],
    numbers: Sequence[int],
    *,
    variants: int,
    copied: Collection[str] = (),
) -> Iterator[State]:
    """The states with these ascending numbers: `variants` after each of the calls."""
    disk = Disk(before, copied)
    for number in numbers:
        calls, variant = divmod(number, variants)
        while disk.count < calls:
            disk.apply(events[disk.count])
        choice = Choice(disk, variant, f"{name}:{number}")
        yield State(number, calls == len(events), choice.tree)
