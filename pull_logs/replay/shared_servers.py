"""Servers that are kept: one a set of bundles, started when the first asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pull_logs.replay.server import ReplayServer, serve_bundle

_Identity = tuple[str, int, int, int]


class SharedServers:
    """Gives the same server for the same bundles until it is closed."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._running: dict[tuple[_Identity, ...], ReplayServer] = {}

    def serve(self, paths: Sequence[Path]) -> ReplayServer:
        """A server over these bundles as they are now; a file that was replaced gets a new one.

        Raises:
            PullLogsError: A bundle cannot be opened or served.
        """
        key = tuple(map(_identity, paths))
        if key not in self._running:
            self._running[key] = self._stack.enter_context(serve_bundle(*paths))
        return self._running[key]

    def close(self) -> None:
        """Stop all servers."""
        self._running.clear()
        self._stack.close()


def _identity(path: Path) -> _Identity:
    resolved = path.resolve()
    if not resolved.exists():
        return (str(resolved), 0, 0, 0)
    found = resolved.stat()
    return (str(resolved), found.st_ino, found.st_size, found.st_mtime_ns)
