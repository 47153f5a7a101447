"""The exported files of one run: downloaded concurrently, with new URLs where old ones are refused."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio.from_thread import check_cancelled

from pull_logs.errors import AccessError
from pull_logs.fetch.api import Download, UrlRefusedError, affects_all_runs, download, run_exports
from pull_logs.fetch.concurrency import for_each
from pull_logs.fetch.context import PullContext
from pull_logs.fetch.decoding import FileDamagedError, batches_of_file, clip
from pull_logs.fetch.discovery import ExportedHistory, FoundRun, read_exports
from pull_logs.fetch.history.pieces import Pieces
from pull_logs.rows.batches import batch_from_rows

URL_SECONDS = 600.0
"""Seconds for which URLs are used before new ones are requested; their lifetime is not documented."""

_FILE_ATTEMPTS = 4
_WORKERS = 16
_ROUNDS = 3


class _FileLostError(Exception):
    """An exported file could not be downloaded; the message is the reason."""


class ShardReader:
    """Reads the exported files of one run into its pieces.

    Attributes:
        lost: Why files could not be downloaded, by file.
    """

    def __init__(
        self, context: PullContext, found: FoundRun, pieces: Pieces, *, arrived: Callable[[], None]
    ) -> None:
        """Read the files of a run.

        Args:
            context: What the download needs.
            found: The run.
            pieces: Receives the rows.
            arrived: Called after rows arrived.
        """
        self.lost: dict[str, str] = {}
        self._context = context
        self._path = found.path
        self._pieces = pieces
        self._arrived = arrived
        self._planned = found.exports
        self._exports = found.exports
        self._last_step = found.promise.last_step
        self._renewing = anyio.Lock()

    async def exports(self) -> ExportedHistory:
        """Return where the rows of the history are, which is requested if discovery did not.

        Raises:
            RunNotFoundError: The run was deleted in the meantime.
            AccessError: The request failed.
        """
        if self._exports is None:
            self._exports = self._planned = await self._request()
        return self._exports

    async def _request(self) -> ExportedHistory:
        path, now = self._path, self._context.client.clock.now()
        run = await self._context.query_run(run_exports(path.entity, path.project, path.run_id), path)
        exports = read_exports(run.get("parquetHistory"), now=now)
        return exports or ExportedHistory(urls={}, live_steps=None, requested_at=now)

    async def _renew(self, old: ExportedHistory) -> None:
        """Request new URLs, once for all files that wait for them."""
        async with self._renewing:
            if self._exports is old:
                self._exports = await self._request()

    async def read(self) -> None:
        """Read all files that are not in the pieces yet.

        Raises:
            RunNotFoundError: The run was deleted in the meantime.
            DataError: A file holds a value that no history can hold.
            AccessError: The key was refused, or the API could not be reached.
        """
        for _ in range(_ROUNDS):
            # Files may be replaced by others while they are read. Then the others are read too.
            urls = (await self.exports()).urls
            todo = [
                shard for shard in urls if shard not in self._pieces.shards_done and shard not in self.lost
            ]
            if not todo:
                break
            await for_each(todo, self._read_one, workers=_WORKERS)
        listed = (await self.exports()).urls
        self.lost = {shard: reason for shard, reason in self.lost.items() if shard in listed}

    async def _read_one(self, shard: str) -> None:
        try:
            await self._fetch(shard)
        except _FileLostError as exc:
            self.lost[shard] = str(exc)

    async def _fetch(self, shard: str) -> None:
        """Download and decode one file, with new URLs where old ones are refused.

        Raises:
            _FileLostError: It could not be downloaded.
        """
        client, reason = self._context.client, ""
        for _ in range(_FILE_ATTEMPTS):
            exports = await self.exports()
            if client.clock.now() - exports.requested_at > URL_SECONDS:
                await self._renew(exports)
                exports = await self.exports()
            url = exports.urls.get(shard)
            if url is None:
                raise _FileLostError(reason or "it is no longer listed")
            try:
                await self._download(shard, url)
            except UrlRefusedError as exc:
                reason = str(exc.error)
            except FileDamagedError as exc:
                reason = exc.message
            except AccessError as exc:
                if affects_all_runs(exc, api_host=client.host):
                    raise
                raise _FileLostError(exc.message) from exc
            else:
                return
            await self._renew(exports)
        raise _FileLostError(reason)

    async def _download(self, shard: str, url: str) -> None:
        context = self._context
        async with context.downloads:
            early, client = context.early_files, context.client
            file = await early.take(url) if early is not None else None
            if file is None:
                file = await download(client.pool, client.storage, url, folder=context.spool.folder)
            try:
                if not await self._keep_encoded(shard, file):
                    await context.in_thread(lambda: self._decode(shard, file))
            finally:
                file.close()
        self._arrived()

    async def _keep_encoded(self, shard: str, file: Download) -> bool:
        """Have the only file of a history encoded by another process and keep it; False if none does it."""
        if not (self._pieces.only_file and file.in_memory) or self._stop(shard) is not None:
            return False
        data = file.read()
        encoded = await self._context.encoders.encode(data)
        if encoded is not None:
            self._pieces.add_encoded(encoded, data, shard=shard)
        return encoded is not None

    def _stop(self, shard: str) -> int | None:
        """The step before which the rows of a file are kept; None for all of them."""
        if self._planned is not None and shard not in self._planned.urls and self._last_step is not None:
            # The file was exported after the plan was made. Rows logged after the plan wait for a refresh.
            return self._last_step + 1
        return None

    def _decode(self, shard: str, file: Download) -> None:
        """Keep the parts of a file, and mark the last one as such."""
        stop = self._stop(shard)
        held, number = None, 0
        for batch in batches_of_file(file.open()):
            check_cancelled()
            if held is not None:
                self._pieces.add_part(held, shard=shard, number=number, last=False)
                number += 1
            held = clip(batch, start=None, stop=stop)
        if held is None:
            held = batch_from_rows([])
        self._pieces.add_part(held, shard=shard, number=number, last=True)
