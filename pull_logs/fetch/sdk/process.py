"""A process in which the SDK reads, and several of them at once.

The SDK runs in a process of its own, because its service, its settings and its cache belong to a process. Its
cache is empty at the beginning: the SDK never checks whether what it has there is still what W&B has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.to_thread import run_sync

from pull_logs.errors import AccessError, NetworkError, ServerError
from pull_logs.fetch.api import KeyRefusedError, Settings
from pull_logs.rows.canonical import parse_json

SILENT_SECONDS = 600.0
"""A process is ended when it prints nothing for this time: a page of rows takes the SDK far less."""

_PROGRAM = "pull_logs.fetch.sdk.program"
_ERRORS = "errors.txt"
_LONGEST = 300

Line = dict[str, Any]


class SdkMissingError(ServerError):
    """The SDK did not find what it was asked for."""


class SdkProcess:
    """A process in which the SDK reads; it is started with the first command, and started again if it ended.

    Args:
        settings: The address of the API and the credentials.
        folder: A folder for the files of the SDK, which is created.
        python: The Python that runs it.
    """

    def __init__(self, settings: Settings, folder: Path, *, python: str = sys.executable) -> None:
        self._settings, self._folder, self._python = settings, folder, python
        self._process: subprocess.Popen[str] | None = None

    def ask(self, command: str, **words: Any) -> Iterator[Line]:
        """Yield the lines of the answer to a command; see `program` for the commands.

        Raises:
            SdkMissingError: The SDK did not find it.
            KeyRefusedError: The key was refused.
            AccessError: The SDK raised another exception, or its process ended.
        """
        process = self._running()
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            process.stdin.write(json.dumps({"command": command, **words}) + "\n")
            process.stdin.flush()
        except OSError as exc:
            raise self._ended(process) from exc
        while True:
            line = _read_line(process)
            if line is None:
                raise self._ended(process)
            if "failed" in line:
                raise _error(str(line["failed"])[:_LONGEST], line.get("kind"))
            if "end" in line:
                return
            yield line

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / _ERRORS).open("wb") as errors:
                self._process = subprocess.Popen(  # noqa: S603 - the words are fixed; commands come on stdin
                    [self._python, "-m", _PROGRAM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=self._environment(),
                    text=True,
                    encoding="utf-8",
                )
        return self._process

    def _environment(self) -> dict[str, str]:
        own = {
            f"WANDB_{name}_DIR": str(self._folder / name.lower())
            for name in ("CACHE", "CONFIG", "DATA", "ARTIFACT")
        }
        environment = {
            **os.environ,
            **own,
            "WANDB_BASE_URL": self._settings.base_url,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
        }
        if self._settings.api_key:
            environment["WANDB_API_KEY"] = self._settings.api_key
        return environment

    def _ended(self, process: subprocess.Popen[str]) -> NetworkError:
        if self._process is process:
            self.close()
        text = (self._folder / _ERRORS).read_text(errors="replace").strip()
        why = text.splitlines()[-1][:_LONGEST] if text else "it ended without a message"
        return NetworkError(f"the process of the SDK ended: {why}")

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # what could not be written to a process that ended


def _read_line(process: subprocess.Popen[str]) -> Any:
    """Return what the process prints next; None when it ends, or prints nothing for a long time."""
    timer = Timer(SILENT_SECONDS, process.kill)
    timer.daemon = True
    timer.start()
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
    except ValueError:
        return None  # the pipe was closed
    finally:
        timer.cancel()
    return parse_json(line) if line.endswith("\n") else None


def _error(text: str, kind: object) -> AccessError:
    if kind == "missing":
        return SdkMissingError(text)
    if kind == "denied":
        return KeyRefusedError(
            f"the SDK was refused: {text}", hint="sign in with `wandb login` or set WANDB_API_KEY"
        )
    return ServerError(f"the SDK raised {text}")


class SdkPool:
    """Several processes in which the SDK reads; an async context manager that ends them.

    Args:
        settings: The address of the API and the credentials.
        folder: A folder for the files of the SDK.
        size: The number of processes.
    """

    def __init__(self, settings: Settings, folder: Path, *, size: int) -> None:
        self._all = [SdkProcess(settings, folder / str(number)) for number in range(size)]
        self._free = list(reversed(self._all))
        self._slots = anyio.Semaphore(size)

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[BorrowedProcess]:
        """Wait for a process, and have it alone."""
        async with self._slots:
            process = self._free.pop()
            try:
                yield BorrowedProcess(process)
            finally:
                self._free.append(process)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            for process in self._all:
                await run_sync(process.close)


class BorrowedProcess:
    """A process of a pool; it answers one command at a time, and the others wait."""

    def __init__(self, process: SdkProcess) -> None:
        self._process = process
        self._lock = anyio.Lock()

    async def each(self, handle: Callable[[Line], Awaitable[None]], command: str, **words: Any) -> None:
        """Pass each line of the answer to a command to a function.

        Raises:
            SdkMissingError: See `SdkProcess.ask`.
            AccessError: See `SdkProcess.ask`.
        """
        async with self._lock:
            await self._each(handle, self._process.ask(command, **words))

    async def _each(self, handle: Callable[[Line], Awaitable[None]], lines: Iterator[Line]) -> None:
        finished = False
        try:
            # The thread of a cancelled task waits until the process is ended below.
            while line := await run_sync(partial(next, lines, None), abandon_on_cancel=True):
                await handle(line)
            finished = True
        except AccessError:
            finished = True
            raise
        finally:
            if not finished:
                with anyio.CancelScope(shield=True):
                    await run_sync(self._process.close)

    async def lines(self, command: str, **words: Any) -> list[Line]:
        """Return the lines of the answer to a command; see `each`."""
        found: list[Line] = []

        async def keep(line: Line) -> None:
            found.append(line)

        await self.each(keep, command, **words)
        return found

    async def one(self, command: str, **words: Any) -> Line:
        """Return the only line of the answer to a command; see `each`.

        Raises:
            ServerError: There is none, or there are several.
        """
        found = await self.lines(command, **words)
        if len(found) != 1:
            raise ServerError(f"the SDK answered {command} with {len(found)} lines")
        return found[0]
