"""The console log of a run of a bundle, read with a part of it in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pull_logs.errors import DataError
from pull_logs.snapshot.format import read_lines
from pull_logs.snapshot.read.member_bytes import MemberBytes

if TYPE_CHECKING:
    from pull_logs.snapshot.format import ConsoleLine, ConsoleRecord, ConsoleResource, Container


class RunConsole:
    """What a run printed, line by line; the bundle has to stay open.

    Attributes:
        record: Its sizes and hashes.
    """

    __slots__ = ("_bytes", "_checked", "_run", "_shown", "record")

    def __init__(self, container: Container, resource: ConsoleResource, *, run: str) -> None:
        self._run, self._shown = run, f"the console log of run {run!r}"
        self._checked = False
        self.record: ConsoleRecord = resource.record
        self._bytes = MemberBytes(
            container,
            resource.path,
            shown=self._shown,
            size=resource.record.bytes,
            expected=resource.record.hash,
        )

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
            raise self._bytes.damaged(f"{self._shown}: {exc.message}") from exc

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
        if not self._checked:
            self._bytes.check()
            self._checked = True

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the compressed text in parts, **not checked**: see `check`."""
        return self._bytes.chunks()
