"""The files of one run: listed, selected, and downloaded concurrently.

A file that an earlier bundle has with the MD5 that W&B reports is copied from there. One whose size or
MD5 differs from the listed one is listed again, because an active run writes its logs again. After a few
attempts it is reported as lost, with the reason, and the run is incomplete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from pull_logs.errors import AccessError, DataError
from pull_logs.fetch.api import UrlRefusedError
from pull_logs.fetch.concurrency import for_each
from pull_logs.fetch.context import PullContext
from pull_logs.fetch.files.download import FileChangedError, SpooledFile, download_file, spooled_file
from pull_logs.fetch.files.listing import ListedFile, list_files
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import RunFile
from pull_logs.snapshot.format import FileSource, check_name
from pull_logs.snapshot.read import pointed_names

_WORKERS = 8
_MOST_NAMES = 500
"""The most files that are listed by name; of more, all files of the run are listed."""


class FileLostError(Exception):
    """A file could not be downloaded; the message is the reason."""


@dataclass(frozen=True, slots=True)
class FetchedFiles:
    """The files of a run that arrived.

    Attributes:
        sources: Their bytes.
        lost: Why files could not be downloaded, by name.
    """

    sources: tuple[FileSource, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)

    def apply_to(self, coverage: Coverage) -> Coverage:
        """Return the coverage of a run, which is incomplete if a file is missing."""
        if not self.lost or not coverage.complete:
            return coverage
        name = min(self.lost)
        others = f", nor {len(self.lost) - 1} more" if len(self.lost) > 1 else ""
        return replace(
            coverage,
            complete=False,
            reason=f"file {name!r} could not be downloaded: {self.lost[name]}{others}",
        )


async def read_files(
    context: PullContext,
    path: RunPath,
    *,
    earlier: Mapping[str, RunFile] | None = None,
    rows: Callable[[], tuple[Iterable[pa.Table], Mapping[str, Any]]],
    reader: Callable[..., FileReader] | None = None,
) -> FetchedFiles:
    """Store the selected files of a run in the spool, and those that an earlier bundle has of it.

    Args:
        context: What the download needs, including the selection of files.
        path: The path of the run.
        earlier: The files of the run in an earlier bundle, which are updated whether selected or not.
        rows: Returns the batches of its history and its summary, whose values point to files; called only if
            files are selected by the keys of such values.
        reader: Makes what downloads the files; `FileReader` if None.

    Raises:
        RunNotFoundError: The run was deleted in the meantime.
        AccessError: The key was refused, or the API could not be reached.
    """
    selection = context.files
    if selection is None and not earlier:
        return FetchedFiles()
    pointed: frozenset[str] = frozenset()
    if selection is not None and selection.needs_rows:
        pointed = await context.in_thread(lambda: pointed_names(selection, *rows()))
    return await (reader or FileReader)(context, path, earlier or {}, pointed).read()


class FileReader:
    """Downloads the files of one run.

    Args:
        context: What the download needs, including the selection of files.
        path: The path of the run.
        earlier: The files of the run in an earlier bundle.
        pointed: The names of files to which rows point, which are selected too.

    Attributes:
        attempts: How often a file is downloaded that changes meanwhile, or whose address is refused.
    """

    attempts: ClassVar[int] = 4

    def __init__(
        self, context: PullContext, path: RunPath, earlier: Mapping[str, RunFile], pointed: Collection[str]
    ) -> None:
        self._pointed = pointed
        self._context = context
        self._path = path
        self._earlier = earlier
        self._found: dict[str, FileSource] = {}
        self._lost: dict[str, str] = {}
        self._folder = Path()
        self._matched = 0

    async def read(self) -> FetchedFiles:
        """Store the files in the spool.

        Raises:
            AccessError: See `read_files`.
        """
        context = self._context
        selected = await self._list()
        if context.files is not None:
            context.file_counts.add_run(matched=self._matched > 0)
        if selected:
            self._folder = await context.in_thread(partial(context.spool.files_folder, self._path))
            await for_each(selected, self._fetch, workers=_WORKERS)
        for name in self._lost.keys() & self._earlier.keys():
            self._found[name] = self._earlier[name]
        return FetchedFiles(tuple(self._found.values()), dict(self._lost))

    async def _list(self) -> list[ListedFile]:
        selection = self._context.files
        names: set[str] | None = {*self._earlier, *self._pointed}
        if selection is not None:
            literal = selection.literal_names()
            names = None if literal is None else {*literal, *self._earlier, *self._pointed}
        if names is not None and len(names) > _MOST_NAMES and self._pointed:
            names = None
        if names is not None and not names:
            return []
        return [listed for listed in await self.find(names) if self._is_selected(listed)]

    async def find(self, names: Collection[str] | None) -> list[ListedFile]:
        """Return the files of the run, all of them or those with these names.

        Raises:
            AccessError: A request failed.
        """
        return [listed async for listed in list_files(self._context.client, self._path, names=names)]

    def _is_selected(self, listed: ListedFile) -> bool:
        selection = self._context.files
        matches = selection is not None and (selection.matches(listed.name) or listed.name in self._pointed)
        self._matched += matches
        if not matches and listed.name not in self._earlier:
            return False
        if selection is not None and not selection.allows_size(listed.size):
            self._context.file_counts.omit(self._path, listed.name, listed.size or 0)
            return False
        try:
            check_name(listed.name)
        except DataError as exc:
            self._lost[listed.name[:80]] = exc.message
            return False
        return True

    async def _fetch(self, listed: ListedFile) -> None:
        """Copy a file from the earlier bundle or attempt where it is the same, and download it otherwise."""
        kept = self._earlier.get(listed.name)
        if kept is not None and listed.md5 == kept.md5 and listed.size in (None, kept.size):
            self._found[listed.name] = kept
            return
        path = self._folder / hashlib.sha256(listed.name.encode()).hexdigest()[:32]
        try:
            spooled = await self._context.in_thread(partial(spooled_file, listed, path))
            self._found[listed.name] = spooled or await self.download(listed, path)
        except FileLostError as exc:
            self._lost[listed.name] = str(exc)

    async def download(self, listed: ListedFile, path: Path) -> SpooledFile:
        """Download a file, and list it again after each failure that a new listing may cure.

        Raises:
            FileLostError: It could not be downloaded.
            AccessError: The key was refused, or the API could not be reached.
        """
        reason = ""
        for number in range(self.attempts):
            try:
                return await self._download(listed, path, number)
            except UrlRefusedError as exc:
                reason = exc.error.message
            except FileChangedError as exc:
                reason = str(exc)
            except AccessError as exc:
                if self._context.ends_pull(exc):
                    raise
                raise FileLostError(exc.message) from exc
            again = await self.find({listed.name})
            if not again:
                raise FileLostError("it is no longer listed")
            listed = again[0]
        raise FileLostError(reason)

    async def _download(self, listed: ListedFile, path: Path, number: int) -> SpooledFile:
        """Download a file once; `number` counts the attempts from 0."""
        # Storage accepts its signed URLs without a key. If it refuses, the API's own address may work.
        direct = listed.direct_url if listed.url is None or not number % 2 else None
        url = direct or listed.url
        if url is None:
            raise FileLostError("W&B names no address for it")
        client = self._context.client
        return await download_file(client, listed, url, path=path, signed=direct is not None)
