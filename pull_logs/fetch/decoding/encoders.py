"""The processes that encode the exported files of a pull.

They are started when there are many files, and end with the pull. A file is given to a process if one is free
for it. Otherwise, and where a process fails, the file is decoded by this process, with the same result.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Lock, Thread
from typing import Self

import anyio
from anyio.to_thread import run_sync

from pull_logs.fetch.decoding.encoded_file import EncodedFile
from pull_logs.fetch.decoding.encoder_process import EncoderProcess

MOST_PROCESSES = 4
MANY_FILES = 24
"""The number of files from which another process is worth its start."""

_FILES_AT_ONCE = 6
"""How many files a process has at once, so that it never waits for this one."""


class Encoders:
    """Encodes exported files in other processes; a context manager that ends them.

    Args:
        processes: The number of processors to use, this process included; with 1 there is no other process.
        metrics: The regular expression of the metrics that are kept; None for all.
    """

    def __init__(self, *, processes: int, metrics: str | None) -> None:
        self._metrics = metrics
        self._most = max(0, min(processes - 1, MOST_PROCESSES))
        self._files = 0
        self._lock = Lock()
        self._started: list[EncoderProcess] = []
        self._threads = anyio.CapacityLimiter(max(1, _FILES_AT_ONCE * self._most))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._most = 0
            for process in self._started:
                process.close()

    async def encode(self, data: bytes) -> EncodedFile | None:
        """Return the encoded file; None if this process has to decode it."""
        if not self._most:
            return None
        self._files += 1
        if self._files == MANY_FILES:
            Thread(target=self._start, name="pull-logs-encoders", daemon=True).start()
        process = self._free()
        return None if process is None else await run_sync(process.encode, data, limiter=self._threads)

    def _start(self) -> None:
        """Start the processes, and wait until they are ready."""
        with self._lock, suppress(OSError):
            for _ in range(self._most):
                self._started.append(EncoderProcess(self._metrics))
        for process in tuple(self._started):
            process.wait_until_ready()

    def _free(self) -> EncoderProcess | None:
        ready = [one for one in self._started if one.usable and one.waiting < _FILES_AT_ONCE]
        return min(ready, key=lambda one: one.waiting, default=None)
