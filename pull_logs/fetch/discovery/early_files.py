"""The exported files of the first runs, downloaded while the modules that decode them are imported.

Numpy and Arrow take about as long to import as a server takes to send the first files. Nothing is downloaded
twice: the reader of a run takes its files from here, or the error where one could not be downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import anyio
from anyio.abc import TaskGroup

from pull_logs.fetch.api import Client, Download, download
from pull_logs.fetch.discovery.run_plan import FoundRun


@dataclass(slots=True)
class _EarlyFile:
    """A download that was begun: the file or the error, once it is done."""

    done: anyio.Event = field(default_factory=anyio.Event)
    file: Download | None = None
    error: Exception | None = None


class EarlyFiles:
    """Downloads the exported files of the first runs that are found; a context manager that closes them.

    Args:
        client: Sends the requests.
        folder: The folder for the temporary files of large downloads.
        most: The most files.
    """

    def __init__(self, client: Client, *, folder: Path, most: int) -> None:
        self._client, self._folder, self._left = client, folder, most
        self._files: dict[str, _EarlyFile] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for early in self._files.values():
            if early.file is not None:
                early.file.close()

    def begin(self, run: FoundRun, group: TaskGroup) -> None:
        """Begin to download the files of a run, unless there are enough."""
        for url in run.exports.urls.values() if run.exports else ():
            if self._left and url not in self._files:
                self._left -= 1
                self._files[url] = _EarlyFile()
                group.start_soon(self._download, url, self._files[url])

    def stop(self) -> None:
        """Begin no more downloads."""
        self._left = 0

    async def take(self, url: str) -> Download | None:
        """Return a file when it has arrived, for the caller to close; None if it was not begun, or was taken.

        Raises:
            UrlRefusedError: As for `download`.
            NetworkError: As for `download`.
        """
        early = self._files.get(url)
        if early is None:
            return None
        await early.done.wait()
        self._files.pop(url, None)
        if early.error is not None:
            raise early.error
        return early.file

    async def _download(self, url: str, early: _EarlyFile) -> None:
        client = self._client
        try:
            early.file = await download(client.pool, client.storage, url, folder=self._folder)
        except Exception as exc:  # noqa: BLE001 - raised by `take`
            early.error = exc
        finally:
            early.done.set()
