"""Another process that decodes and encodes exported files, so that they use more than one processor.

It runs this module with the interpreter of this process, reads the bytes of files from its standard input,
each after its size, and answers with encoded files in the same order. It ends with its input, that is when
this process ends for whatever reason. A file that it does not encode is decoded by this process.

It is started before this process has imported what decodes a file, which therefore is imported on demand.
"""

from __future__ import annotations

import gc
import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from threading import Event, Lock
from typing import IO, TYPE_CHECKING

from pull_logs.errors import PullLogsError

if TYPE_CHECKING:
    from pull_logs.fetch.decoding.encoded_file import EncodedFile

_SIZE = struct.Struct("<Q")
_READY = b"ready"
_NOTHING = b""
"""The answer for a file that it does not encode."""

_PIPE_BYTES = 1 << 20
"""The size of the pipes, in which most files fit, so that neither process waits for the other."""

_VARIABLES = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
"""Variables of the process: numpy starts no threads for linear algebra, which nothing here uses, and the C
library of Linux keeps the memory of one file for the next one, which is as large.
"""


class EncoderProcess:
    """A process that encodes files. `encode` may be called from several threads at once.

    Args:
        metrics: The regular expression of the metrics that are kept; None for all.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, metrics: str | None) -> None:
        # -P: a module in the current folder is never taken for one of ours.
        command = [sys.executable, "-P", "-m", __name__, *([] if metrics is None else [metrics])]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_VARIABLES},
        )
        for pipe in (self._process.stdin, self._process.stdout):
            _widen(_pipe(pipe))
        self._sending = Lock()
        self._sent = self._answered = 0
        # Answers arrive in the order of the files: each call reads its own after that of the call before it.
        self._last = Event()
        self._last.set()
        self.usable = False

    def wait_until_ready(self) -> None:
        """Wait until it has imported what it needs, or ended."""
        with suppress(OSError, ValueError):
            self.usable = _read(_pipe(self._process.stdout)) == _READY

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def waiting(self) -> int:
        """The number of files that it has not answered."""
        return self._sent - self._answered

    def encode(self, data: bytes) -> EncodedFile | None:
        """Return the encoded file; None if it cannot be encoded there, or the process has ended."""
        from pull_logs.fetch.decoding.encoded_file import from_bytes

        answered = Event()
        with self._sending:
            before, self._last = self._last, answered
            self._sent += 1
            try:
                _write(_pipe(self._process.stdin), data)
            except (OSError, ValueError):
                self.usable = False
        before.wait()
        try:
            answer = _read(_pipe(self._process.stdout)) if self.usable else _NOTHING
        except (OSError, ValueError):
            self.usable, answer = False, _NOTHING
        finally:
            self._answered += 1
            answered.set()
        try:
            return from_bytes(answer) if answer else None
        except ValueError:
            self.usable = False
            return None

    def kill(self) -> None:
        """End the process, and with it every call of `encode` that waits for it."""
        self.usable = False
        self._process.kill()

    def close(self) -> None:
        """End the process, and wait for its end."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                _pipe(pipe).close()
        self._process.wait()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the process has no pipes")
    return pipe


def _widen(pipe: IO[bytes]) -> None:
    """Make a pipe larger where the system can and permits it."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _write(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_SIZE.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes:
    """Read one message.

    Raises:
        ValueError: The pipe has ended.
        OSError: It cannot be read.
    """
    (size,) = _SIZE.unpack(_read_exactly(pipe, _SIZE.size))
    return _read_exactly(pipe, size)


def _read_exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) != size:
        raise ValueError("the process has ended")
    return data


def _serve(source: IO[bytes], sink: IO[bytes], metrics: str | None) -> None:
    """Answer files until there are no more: what the process does."""
    import re

    from pull_logs.fetch.decoding.encoded_file import encode_file, to_bytes
    from pull_logs.fetch.decoding.metric_filter import metric_filter

    keep = metric_filter(None if metrics is None else re.compile(metrics))
    gc.freeze()
    _write(sink, _READY)
    with suppress(ValueError, OSError):
        while True:
            data = _read(source)
            try:
                encoded = encode_file(data, keep=keep)
            except (PullLogsError, MemoryError):
                encoded = None
            _write(sink, _NOTHING if encoded is None else to_bytes(encoded))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    gc.set_threshold(100_000, 20, 50)  # modules make many objects, all of which are used
    _serve(sys.stdin.buffer, sys.stdout.buffer, sys.argv[1] if len(sys.argv) > 1 else None)
