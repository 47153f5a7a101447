"""The files, the console log, the artifacts and the sweep of a run, read by a process of the SDK."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from anyio import CancelScope

from pull_logs.errors import AccessError, DataError
from pull_logs.fetch.api import Client, Query
from pull_logs.fetch.artifacts import (
    ArtifactReader,
    ArtifactSource,
    Known,
    read_artifact,
    read_manifest_file,
)
from pull_logs.fetch.context import PullContext
from pull_logs.fetch.discovery import SweepConfigs, SweepKey
from pull_logs.fetch.files import (
    FetchedConsole,
    FileChangedError,
    FileReader,
    ListedFile,
    SpooledFile,
    add_lines,
    checked_file,
    create_log,
    read_listed,
)
from pull_logs.fetch.sdk.process import BorrowedProcess, Line, SdkPool
from pull_logs.rows.canonical import canon_record
from pull_logs.runs import RunPath
from pull_logs.snapshot import RunFile
from pull_logs.snapshot.format import (
    ArtifactEntry,
    ArtifactRecord,
    ConsoleWriter,
    ContentSource,
    Relation,
    StoredConsole,
)
from pull_logs.snapshot.read import RunConsole

_LOG = "console"


class SdkFileReader(FileReader):
    """Downloads the files of one run with the SDK, which itself tries again."""

    attempts: ClassVar[int] = 2

    def __init__(
        self,
        context: PullContext,
        path: RunPath,
        earlier: Mapping[str, RunFile],
        pointed: Collection[str],
        *,
        process: BorrowedProcess,
    ) -> None:
        super().__init__(context, path, earlier, pointed)
        self._process = process

    async def find(self, names: Collection[str] | None) -> list[ListedFile]:
        """Return the files of the run, all of them or those with these names."""
        if names is not None and not names:
            return []
        wanted = None if names is None else sorted(names)
        nodes = await self._process.lines("files", path=str(self._path), names=wanted)
        base_url = self._context.client.settings.base_url
        found = (read_listed(line["file"], base_url=base_url) for line in nodes)
        return [listed for listed in found if listed is not None]

    async def _download(self, listed: ListedFile, path: Path, number: int) -> SpooledFile:  # noqa: ARG002
        folder = path.with_name(f"{path.name}.sdk")
        line = await self._process.one("download", path=str(self._path), name=listed.name, folder=str(folder))
        await self._context.in_thread(partial(_take, line, folder, path))
        return await self._context.in_thread(partial(checked_file, listed, path))


def _take(line: Line, folder: Path, path: Path) -> None:
    """Move the file that the SDK wrote below a folder, and remove the folder."""
    written = Path(line["file"])
    try:
        if not written.resolve().is_relative_to(folder.resolve()):
            raise FileChangedError("the SDK wrote it somewhere else")
        written.replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def read_console_with_sdk(
    context: PullContext, path: RunPath, process: BorrowedProcess, *, earlier: RunConsole | None
) -> FetchedConsole:
    """Store the console log of a run in the spool, if it is selected or an earlier bundle has it.

    The SDK does not report how many lines there are, so that missing numbers alone show what is missing.

    Raises:
        KeyRefusedError: The key was refused.
    """
    if not context.console and earlier is None:
        return FetchedConsole()
    folder = await context.in_thread(partial(context.spool.files_folder, path))
    file = folder / _LOG
    sink = await context.in_thread(partial(create_log, file))
    writer = ConsoleWriter(sink)
    reason = ""

    async def add(line: Line) -> None:
        await context.in_thread(partial(add_lines, writer, line["lines"]))

    try:
        await process.each(add, "console", path=str(path))
    except (AccessError, DataError) as exc:
        if context.ends_pull(exc):
            raise
        reason = f"the console log could not be downloaded: {exc.message}"
    finally:
        record = writer.close()
        with CancelScope(shield=True):
            await context.in_thread(sink.close)
    if not reason and record.lines != writer.last + 1:
        reason = f"the SDK gave {record.lines} console lines up to number {writer.last}"
    source = StoredConsole(record, lambda: file.open("rb")) if record.lines else None
    if reason and earlier is not None and len(earlier) > record.lines:
        return FetchedConsole(earlier, reason)
    return FetchedConsole(source, reason)


class SdkArtifacts(ArtifactSource):
    """The artifacts of a run as the SDK reads them."""

    def __init__(self, context: PullContext, process: BorrowedProcess) -> None:
        super().__init__(context)
        self._process = process

    async def find(self, path: RunPath, relation: Relation) -> list[ArtifactRecord]:
        """Return the artifacts that a run logged, or those that it used."""
        used = relation == "used"
        lines = await self._process.lines("artifacts", path=str(path), used=used)
        found: dict[str, ArtifactRecord] = {}
        for line in lines:
            record = read_artifact(line["artifact"], relation=relation, run=path)
            found.setdefault(record.id, record)
        return list(found.values())

    async def ask(self, query: Query) -> Mapping[str, Any]:
        """Send a query through the SDK, and return the data of its answer.

        Raises:
            AccessError: The request failed, or this release of the SDK sends no queries of others.
        """
        line = await self._process.one("query", text=query.text, variables=query.variables)
        return dict(line["data"])

    def reader(self, record: ArtifactRecord, known: Known) -> ArtifactReader:
        """Return what downloads an artifact."""
        return _SdkArtifactReader(self._context, record, known, process=self._process)


class _SdkArtifactReader(ArtifactReader):
    """Downloads one artifact with the SDK."""

    def __init__(
        self, context: PullContext, record: ArtifactRecord, known: Known, *, process: BorrowedProcess
    ) -> None:
        super().__init__(context, record, known)
        self._process = process

    @property
    def _name(self) -> str:
        record = self.record
        return f"{record.entity}/{record.project}/{record.collection}:v{record.version}"

    async def entries(self) -> tuple[Mapping[str, object], Sequence[ArtifactEntry]]:
        """Return how W&B stores the files of the artifact, and its entries."""
        store = self._context.spool.contents
        path = await self._context.in_thread(partial(store.unfinished, f"manifest\n{self.record.id}"))
        await self._process.one("manifest", artifact=self._name, file=str(path))
        return await self._context.in_thread(partial(read_manifest_file, path))

    async def download(self, missing: dict[str, ArtifactEntry]) -> None:
        """Download files, given by their paths; what cannot be downloaded is recorded as lost."""
        for entry in missing.values():
            await self.fetch((entry, ""))

    async def fetch_bytes(self, entry: ArtifactEntry, url: str) -> None:  # noqa: ARG002 - the SDK finds it
        """Download a file; why it cannot be downloaded is recorded."""
        try:
            self.keep(entry, await self._fetch_entry(entry))
        except FileChangedError as exc:
            self.lost[entry.path] = str(exc)
        except AccessError as exc:
            if self._context.ends_pull(exc):
                raise
            self.lost[entry.path] = exc.message

    async def _fetch_entry(self, entry: ArtifactEntry) -> ContentSource:
        store, in_thread = self._context.spool.contents, self._context.in_thread
        path = await in_thread(partial(store.unfinished, self.key_of(entry)))
        folder = path.with_name(f"{path.name}.sdk")
        line = await self._process.one("entry", artifact=self._name, entry=entry.path, folder=str(folder))
        await in_thread(partial(_take, line, folder, path))
        return await self.add(entry, path)


class SdkSweepConfigs(SweepConfigs):
    """The configs of sweeps as the SDK reads them."""

    def __init__(self, client: Client, pool: SdkPool) -> None:
        super().__init__(client)
        self._pool = pool

    async def request(self, key: SweepKey) -> Mapping[str, object] | None:
        """Return the config of a sweep; None if it has none or it cannot be read, which is recorded."""
        try:
            async with self._pool.borrow() as process:
                config = (await process.one("sweep", path="/".join(key)))["config"]
            return canon_record(config) if isinstance(config, dict) and config else None
        except (AccessError, DataError) as exc:
            self.lost["/".join(key)] = exc.message
            return None
