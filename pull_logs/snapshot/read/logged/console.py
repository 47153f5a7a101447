"""The console log of a run of a bundle, read with a part of it in memory."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.snapshot.format import read_lines

if TYPE_CHECKING:
    from pull_logs.snapshot.format import ConsoleLine, ConsoleRecord, ConsoleResource, Container


class RunConsole:
    """What a run printed, line by line; the bundle has to stay open.

    Attributes:
        record: Its sizes and hashes.
    """

    __slots__ = ("_checked", "_container", "_member", "_run", "record")

    def __init__(self, container: Container, resource: ConsoleResource, *, run: str) -> None:
        self._container, self._member, self._run = container, resource.path, run
        self._checked = False
        self.record: ConsoleRecord = resource.record

    def __repr__(self) -> str:
        return f"<RunConsole of {self._run!r}: {len(self)} lines>"

    def __len__(self) -> int:
        """Return the number of lines."""
        return self.record.lines

    def __iter__(self) -> Iterator[ConsoleLine]:
        """Iterate over the lines in order.

        Raises:
            BundleDamagedError: They are not those that were written.
        """
        self.check()
        try:
            yield from read_lines(self.chunks(), self.record)
        except DataError as exc:
            raise self._damaged(exc.message) from exc

    def tail(self, count: int) -> list[ConsoleLine]:
        """Return the last lines.

        Raises:
            BundleDamagedError: They are not those that were written.
        """
        return list(deque(self, count)) if count > 0 else []

    def check(self) -> None:
        """Check the hash of the compressed text, once.

        Raises:
            BundleDamagedError: It is not that of the manifest.
        """
        if self._checked:
            return
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        if f"sha256:{digest.hexdigest()}" != self.record.hash:
            raise self._damaged("it does not have its hash")
        self._checked = True

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the compressed text in parts, **not checked**: see `check`."""
        with self._container.open(self._member) as file:
            file.expect(lambda: [(0, self.record.bytes)])
            yield from file.chunks()

    def _damaged(self, reason: str) -> BundleDamagedError:
        shown = str(self._container.path)
        return BundleDamagedError(
            f"{shown!r} is damaged: the console log of run {self._run!r}: {reason}",
            path=shown,
            member=self._member,
            hint="run `pull-logs verify` to see where",
        )
