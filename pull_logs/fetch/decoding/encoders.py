"""The processes that encode the exported files of a pull.

They are started when there will be many files, and end with the pull. A file is given to a process if one is
free for it. Otherwise, and where a process fails or does not answer, the file is decoded by this process,
with the same result.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from threading import Lock, Thread
from typing import TYPE_CHECKING, Self

import anyio
from anyio.to_thread import run_sync

from pull_logs.fetch.decoding.encoder_process import EncoderProcess

if TYPE_CHECKING:
    from pull_logs.fetch.decoding.encoded_file import EncodedFile

MOST_PROCESSES = 4
MANY_FILES = 24
"""The number of files from which another process is worth its start."""

_FILES_AT_ONCE = 6
"""How many files a process has at once, so that it never waits for this one."""

ANSWER_SECONDS = 30.0
"""The seconds after which a process that does not answer, for example because it was stopped, is ended."""


class Encoders:
    """Encodes exported files in other processes; a context manager that ends them.

    Args:
        processes: The number of processors to use, this process included; with 1 there is no other process.
        metrics: The regular expression of the metrics that are kept; None for all.
    """

    def __init__(self, *, processes: int, metrics: str | None) -> None:
        self._metrics = metrics
        # A program that embeds Python may not know an interpreter.
        self._most = max(0, min(processes - 1, MOST_PROCESSES)) if sys.executable else 0
        self._expected = self._files = 0
        self._starting = False
        self._lock = Lock()
        self._started: list[EncoderProcess] = []
        self._threads = anyio.CapacityLimiter(max(1, _FILES_AT_ONCE * self._most))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for process in self._started:
            process.close()

    @property
    def started(self) -> tuple[EncoderProcess, ...]:
        """The processes that were started."""
        return tuple(self._started)

    def stop(self) -> None:
        """End the processes without waiting for their end, because no more files will come."""
        with self._lock:
            self._most = 0
            for process in self._started:
                process.kill()

    async def encode(self, data: bytes) -> EncodedFile | None:
        """Return the encoded file; None if this process has to decode it."""
        self._files += 1
        self._start_if_many(self._files)
        process = self._free()
        if process is None:
            return None
        with anyio.move_on_after(ANSWER_SECONDS):
            return await run_sync(process.encode, data, limiter=self._threads, abandon_on_cancel=True)
        process.kill()
        return None

    def expect(self, files: int) -> None:
        """Start the processes if there will be many files, so that they are ready when the files arrive."""
        self._expected += files
        self._start_if_many(self._expected)

    def _start_if_many(self, files: int) -> None:
        if self._most and files >= MANY_FILES and not self._starting:
            self._starting = True
            Thread(target=self._start, name="pull-logs-encoders", daemon=True).start()

    def _start(self) -> None:
        """Start the processes; each is used as soon as it is ready."""
        with self._lock, suppress(OSError):
            for _ in range(self._most):
                self._started.append(EncoderProcess(self._metrics))
        for process in self.started:
            Thread(target=process.wait_until_ready, name="pull-logs-encoder", daemon=True).start()

    def _free(self) -> EncoderProcess | None:
        ready = [one for one in self.started if one.usable and one.waiting < _FILES_AT_ONCE]
        return min(ready, key=lambda one: one.waiting, default=None)
