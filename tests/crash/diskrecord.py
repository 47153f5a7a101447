"""Records what an operation asks of the file system, call by call, and refuses a call on demand."""

# ruff: noqa: C901, PTH100, PTH110, PTH112, PTH115, PTH116, PTH118

from __future__ import annotations

import builtins
import contextlib
import io
import os
import secrets
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from checkout import ROOT

from pull_logs.snapshot import disk
from pull_logs.snapshot.disk import exchange

PACKAGE = f"{ROOT / 'pull_logs'}{os.sep}"

Kind = Literal[
    "create", "mkdir", "unlink", "rename", "link", "exchange", "write", "truncate", "fsync", "read"
]
Site = tuple[str, int]
"""A module of the package, relative to its folder, and a line that was being executed."""


@dataclass(frozen=True, slots=True)
class Event:
    """A call that changed the file system, waited for it, or opened a file to read it.

    Attributes:
        kind: What it did.
        path: The file or folder, relative to the recorded one; of a write, the name it was opened by.
        inode: The number of a file that was created, written, truncated or waited for; 0 for folders.
        target: The new name of a renaming or of a link, or the other one of an exchange.
        start: Where the bytes were written, or the size after truncating.
        data: The bytes.
        sites: The lines of the package that were being executed, the innermost one first.
    """

    kind: Kind
    path: str
    inode: int = 0
    target: str = ""
    start: int = 0
    data: bytes = b""
    sites: tuple[Site, ...] = ()


def tree_of(root: Path) -> dict[str, bytes | None]:
    """The files below a folder with their bytes, and the folders with None."""
    found: dict[str, bytes | None] = {}
    for parent, folders, files in os.walk(root):
        for name in folders:
            found[os.path.relpath(os.path.join(parent, name), root)] = None
        for name in files:
            file = Path(parent, name)
            found[os.path.relpath(file, root)] = file.read_bytes()
    return found


def changes(trace: Sequence[Event]) -> list[Event]:
    """The calls that changed the file system or waited for it."""
    return [event for event in trace if event.kind != "read"]


class Recorder:
    """Records the calls on what is below a folder.

    Attributes:
        trace: The calls, in order.
        refuse: Called with the number of a call before it is made; an errno that it returns is raised.
    """

    def __init__(self, root: Path, *, refuse: Callable[[int, Kind], int | None] = lambda _, __: None) -> None:
        self.root = os.path.realpath(root)
        self.trace: list[Event] = []
        self.refuse = refuse
        self._calls, self._inodes, self._numbers = 0, 0, dict[tuple[int, int], int]()
        self._lock = threading.RLock()
        for parent, _, names in os.walk(self.root):
            for name in names:
                self.number(os.stat(os.path.join(parent, name)))

    @property
    def events(self) -> list[Event]:
        """The calls that changed the file system or waited for it."""
        return changes(self.trace)

    def inside(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The path relative to the folder; None if it is elsewhere."""
        if isinstance(path, int):
            return None
        text = os.fsdecode(path)
        if dir_fd is not None:
            text = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), text)
        parent, name = os.path.split(os.path.abspath(text))
        full = os.path.join(os.path.realpath(parent), name)
        return os.path.relpath(full, self.root) if full.startswith(self.root + os.sep) else None

    def of_descriptor(self, descriptor: int) -> str | None:
        """The path of an open file or folder, `.` for the recorded one; None if it is elsewhere."""
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if name == self.root:
            return "."
        return os.path.relpath(name, self.root) if name.startswith(self.root + os.sep) else None

    def number(self, status: os.stat_result, *, new: bool = False) -> int:
        """The number of a file: the system may give that of a removed one again."""
        key = (status.st_dev, status.st_ino)
        if new or key not in self._numbers:
            self._inodes += 1
            self._numbers[key] = self._inodes
        return self._numbers[key]

    def forget(self, path: str) -> None:
        """Forget the number of a file that is about to lose this name, and has no other."""
        with contextlib.suppress(OSError):
            status = os.lstat(os.path.join(self.root, path))
            if status.st_nlink == 1 and not stat.S_ISDIR(status.st_mode):
                self._numbers.pop((status.st_dev, status.st_ino), None)

    def catch_up(self, path: str) -> None:
        """Record a file that a library has written without Python, before something else is done with it."""
        full = Path(self.root, path)
        status = full.stat()
        if full.is_file() and (status.st_dev, status.st_ino) not in self._numbers:
            number = self.number(status)
            self.add(Event("create", path, number))
            self.add(Event("write", path, number, data=full.read_bytes()))

    def read(self, path: str | None) -> None:
        """Record that a file was opened for reading, if it was written before by what is recorded."""
        if path is not None:
            with contextlib.suppress(OSError):
                status = os.stat(os.path.join(self.root, path))
                if (status.st_dev, status.st_ino) in self._numbers and stat.S_ISREG(status.st_mode):
                    self.add(Event("read", path))

    def before(self, kind: Kind, path: str) -> None:
        """Count a call, and refuse it if that is asked for."""
        with self._lock:
            self._calls += 1
            refused = self.refuse(self._calls, kind)
        if refused is not None:
            raise OSError(refused, os.strerror(refused), os.path.join(self.root, path))

    def add(self, event: Event) -> None:
        with self._lock:
            self.trace.append(replace(event, sites=_sites()))


def _sites() -> tuple[Site, ...]:
    found: list[Site] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PACKAGE):
            found.append((name[len(PACKAGE) :], frame.f_lineno))
        frame = frame.f_back
    return tuple(found)


class _Raw(io.FileIO):
    """A file whose writes are recorded."""

    def __init__(self, recorder: Recorder, path: str, file: Any, mode: str) -> None:
        existed = os.path.exists(file)
        recorder.before("create", path)
        if existed:
            recorder.catch_up(path)
        super().__init__(file, mode)
        self._recorder, self._path = recorder, path
        self._number = recorder.number(os.fstat(self.fileno()), new=not existed)
        if not existed:
            recorder.add(Event("create", path, self._number))
        elif "w" in mode:
            recorder.add(Event("truncate", path, self._number))

    def write(self, data: Any) -> int:
        try:
            self._recorder.before("write", self._path)
        except OSError:
            self._write(memoryview(data)[: len(data) // 2])  # a full disk takes a part
            raise
        return self._write(data)

    def _write(self, data: Any) -> int:
        written: int = super().write(data) or 0
        start = self.tell() - written
        if written:
            taken = bytes(memoryview(data)[:written])
            self._recorder.add(Event("write", self._path, self._number, start=start, data=taken))
        return written

    def truncate(self, size: int | None = None) -> int:
        self._recorder.before("truncate", self._path)
        result = super().truncate(size)
        self._recorder.add(Event("truncate", self._path, self._number, start=result))
        return result


def _opener(recorder: Recorder, real: Any) -> Any:
    def open_(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any) -> Any:
        path, writes = recorder.inside(file), set(mode) & set("wax+")
        if (
            path is None or not writes or options.get("opener")
        ):  # without a name, a file is gone after a crash
            opened = real(file, mode, buffering, *rest, **options)
            recorder.read(None if writes else path)
            return opened
        raw = _Raw(recorder, path, file, mode.replace("b", "").replace("t", ""))
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        names = ("encoding", "errors", "newline")
        return io.TextIOWrapper(buffered, **dict(zip(names, rest, strict=False)), **options)

    return open_


def _exchanger(recorder: Recorder) -> Any:
    def exchange_(left: Path, right: Path) -> bool:
        name, other = recorder.inside(left), recorder.inside(right)
        assert (name is None) == (other is None), f"{left} is exchanged with a name that is not recorded"
        if name is not None:
            recorder.before("exchange", name)
        done = exchange(left, right)
        if done and name is not None and other is not None:
            recorder.add(Event("exchange", name, target=other))
        return done

    return exchange_


def _calls(recorder: Recorder) -> dict[str, Any]:
    """The functions of `os` that are replaced, with what replaces them."""
    real = {name: getattr(os, name) for name in ("open", "fsync", "truncate", "ftruncate", "mkdir")}
    replace_, link_, unlink_, rmdir_ = os.replace, os.link, os.unlink, os.rmdir

    def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        name = recorder.inside(path, dir_fd) if flags & os.O_CREAT else None
        existed = name is None or os.path.exists(os.path.join(recorder.root, name))
        if not existed:
            recorder.before("create", name or "")
        found: int = real["open"](path, flags, mode, dir_fd=dir_fd)
        if flags & (os.O_ACCMODE | os.O_CREAT) == os.O_RDONLY:
            recorder.read(recorder.inside(path, dir_fd))
        if name is not None and not existed:
            recorder.add(Event("create", name, recorder.number(os.fstat(found), new=True)))
        return found

    def fsync(file: Any) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        name = recorder.of_descriptor(descriptor)
        if name is None:
            return  # a real fsync has no effect that could be seen here
        status = os.fstat(descriptor)
        recorder.before("fsync", name)
        recorder.catch_up(name)
        folder = os.path.isdir(os.path.join(recorder.root, name))
        recorder.add(Event("fsync", name, 0 if folder else recorder.number(status)))

    def truncate(path: Any, length: int) -> None:
        name = recorder.of_descriptor(path) if isinstance(path, int) else recorder.inside(path)
        if name is not None:
            recorder.before("truncate", name)
        real["truncate"](path, length)
        if name is not None:
            recorder.add(Event("truncate", name, recorder.number(os.stat(path)), start=length))

    def rename(
        source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        name, new = recorder.inside(source, src_dir_fd), recorder.inside(target, dst_dir_fd)
        assert (name is None) == (new is None), f"{source} is moved into the recorded folder, or out of it"
        if name is not None:
            recorder.before("rename", name)
            recorder.catch_up(name)
        if new is not None:
            recorder.forget(new)
        replace_(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if name is not None and new is not None:
            recorder.add(Event("rename", name, target=new))

    def link(source: Any, target: Any, **options: Any) -> None:
        name, new = recorder.inside(source), recorder.inside(target)
        assert (name is None) == (new is None), f"{source} is linked into the recorded folder, or out of it"
        if name is not None:
            recorder.before("link", name)
            recorder.catch_up(name)
        link_(source, target, **options)
        if name is not None and new is not None:
            recorder.add(Event("link", name, target=new))

    def named(kind: Kind, call: Any) -> Any:
        def change(path: Any, *arguments: Any, dir_fd: int | None = None, **options: Any) -> Any:
            name = recorder.inside(path, dir_fd)
            if name is not None and (kind != "unlink" or os.path.lexists(os.path.join(recorder.root, name))):
                recorder.before(kind, name)
            if name is not None and kind == "unlink":
                recorder.forget(name)
            call(path, *arguments, dir_fd=dir_fd, **options)
            if name is not None:
                recorder.add(Event(kind, name))

        return change

    return {
        "open": open_,
        "fsync": fsync,
        "fdatasync": fsync,
        "truncate": truncate,
        "ftruncate": truncate,
        "rename": rename,
        "replace": rename,
        "link": link,
        "unlink": named("unlink", unlink_),
        "remove": named("unlink", unlink_),
        "rmdir": named("unlink", rmdir_),
        "mkdir": named("mkdir", real["mkdir"]),
    }


@contextmanager
def recorded(recorder: Recorder) -> Iterator[Recorder]:
    """Record the calls of a block, in which random names are always the same ones."""
    count = iter(range(10**9))
    changes: list[tuple[Any, str, Any]] = [(os, name, call) for name, call in _calls(recorder).items()]
    changes += [
        (io, "open", _opener(recorder, io.open)),
        (builtins, "open", _opener(recorder, builtins.open)),
    ]
    changes += [
        (secrets, "token_hex", lambda size=8: f"{next(count):0{2 * size}x}"),
        (shutil, "_USE_CP_SENDFILE", False),
        (disk, "exchange", _exchanger(recorder)),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    for module, name, value in changes:
        setattr(module, name, value)
    try:
        yield recorder
    finally:
        for module, name, value in before:
            setattr(module, name, value)
