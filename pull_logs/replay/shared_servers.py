"""Replay servers shared by several users: one per set of bundles, started when first requested."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from pathlib import Path

from pull_logs.replay.server import ReplayServer, serve_bundle
from pull_logs.runs import RunPath

_Identity = tuple[str, int, int, int]


class SharedServers:
    """Starts one server per set of bundles and keeps it running until `close`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._running: dict[tuple[_Identity, ...], ReplayServer] = {}

    def serve(self, paths: Sequence[Path]) -> ReplayServer:
        """Return the server over these bundles; a file that was replaced since gets a new server.

        Raises:
            PullLogsError: A bundle cannot be opened or served.
        """
        key = tuple(map(_identity, paths))
        if key not in self._running:
            self._running[key] = self._stack.enter_context(serve_bundle(*paths))
        return self._running[key]

    def used(self) -> dict[tuple[Path, ...], AbstractSet[RunPath]]:
        """Return the runs that were read of each set of bundles."""
        found: dict[tuple[Path, ...], AbstractSet[RunPath]] = {}
        for key, server in self._running.items():
            paths = tuple(Path(identity[0]) for identity in key)
            found[paths] = found.get(paths, frozenset()) | server.used
        return found

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
