"""A pool of processes that end with this one, and at once where a question is interrupted.

The workers of `ProcessPoolExecutor` outlive a process that is killed, because each holds both ends of the
queue that it waits for. Here each of them also holds the reading end of a pipe, whose other end only this
process has, and ends when that is closed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection


@contextmanager
def process_pool(workers: int) -> Iterator[Executor]:
    """Start processes when they are needed, and yield what runs tasks in them; they end with the block."""
    context = get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, initializer=end_with, initargs=(theirs,))
    try:
        yield pool
    except BaseException:
        ours.close()  # what they are doing is no longer needed
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        ours.close()
        theirs.close()


def end_with(pipe: Connection) -> None:
    """End this process when the other end of a pipe is closed: what a worker starts with."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it

    def wait() -> None:
        with suppress(EOFError, OSError):
            pipe.recv_bytes()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
