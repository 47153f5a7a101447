"""Errors of the operating system as errors of this package; no other module judges an `errno`.

A file that does not exist is not found (exit code 3), a path that no file can have is wrong usage (2), and
everything else that the system refuses is a limit of the machine (8).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Literal

from pull_logs.errors import (
    FileMissingError,
    MachineLimitError,
    NetworkError,
    PullLogsError,
    UsageError,
)

Action = Literal["read", "written", "used", "deleted"]
"""What could not be done with a path."""

_SPACE = "free some space and run the same command again"
_FULL: Mapping[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", _SPACE),
    getattr(errno, "EDQUOT", errno.ENOSPC): ("the disk quota is used up", _SPACE),
    errno.EFBIG: ("the limit of file sizes is reached", "raise it with `ulimit -f`"),
}
"""No more bytes can be written: what is wrong, and the next step."""

_HINTS: Mapping[int, str] = {
    errno.EACCES: "check the permissions, or choose another path",
    errno.EPERM: "check the permissions, or choose another path",
    errno.EROFS: "choose a path on another file system",
    errno.EIO: "check the disk, or choose a path on another one",
    errno.EMFILE: "raise the limit of open files with `ulimit -n`",
    errno.ENFILE: "end other programs, or raise the limit of open files",
    errno.ENOMEM: "end other programs, or use a machine with more memory",
}
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})
_NOT_A_PATH = frozenset(
    {
        errno.EEXIST,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOTEMPTY,
    }
)


def from_system_error(
    exc: OSError, *, path: str | os.PathLike[str] | None = None, action: Action, hint: str = ""
) -> PullLogsError:
    """Return an error of the operating system as one of this package.

    Args:
        exc: The error.
        path: What could not be read or written; the path in `exc` if None.
        action: What could not be done.
        hint: The next step if nothing more can be written; a general one if empty.
    """
    if isinstance(exc, (ConnectionError, TimeoutError)):
        return NetworkError(f"a connection failed: {exc.strerror or exc}")
    shown = repr(_text(exc.filename if path is None else path)) if path or exc.filename else "a file"
    number = exc.errno or 0
    if number in _FULL and action in ("written", "used"):
        reason, general = _FULL[number]
        next_step = hint if hint and number != errno.EFBIG else general
        return MachineLimitError(f"{reason}, {shown} is not finished", hint=next_step)
    failed = f"{shown} cannot be {action}: {exc.strerror or exc}"
    if number in _MISSING:
        return _missing(shown, failed, action)
    if number in _NOT_A_PATH:
        return UsageError(failed, hint="choose another path")
    if number in _FULL:
        return MachineLimitError(failed, hint=_FULL[number][1])
    return MachineLimitError(failed, hint=_HINTS.get(number, ""))


def _missing(shown: str, failed: str, action: Action) -> PullLogsError:
    if action == "written":
        return FileMissingError(f"{shown} cannot be written: its folder does not exist")
    return FileMissingError(failed)


def _text(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
