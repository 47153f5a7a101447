"""The exported files of one run: downloaded side by side, with new URLs where old ones are refused."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio.from_thread import check_cancelled

from pull_logs.errors import AccessError
from pull_logs.fetch.api import Download, UnreachableError, UrlRefusedError, download, run_exports
from pull_logs.fetch.concurrency import for_each
from pull_logs.fetch.context import Workshop
from pull_logs.fetch.discovery import Exports, Found, read_exports
from pull_logs.fetch.history.decode import FileDamagedError, batches_of_file, clip
from pull_logs.fetch.history.pieces import Pieces
from pull_logs.rows.batches import batch_from_rows

URLS_LAST = 600.0
"""Seconds for which URLs are used without asking for new ones; how long they last is not documented."""

_FILE_ATTEMPTS = 4
_WORKERS = 16
_ROUNDS = 3


class ShardReader:
    """Reads the exported files of one run into its pieces.

    Attributes:
        lost: The files that could not be had, and why.
    """

    def __init__(self, shop: Workshop, found: Found, pieces: Pieces, *, arrived: Callable[[], None]) -> None:
        """Read the files of a run.

        Args:
            shop: What reading needs.
            found: The run.
            pieces: Where its rows go.
            arrived: Called when some did.
        """
        self.lost: dict[str, str] = {}
        self._shop = shop
        self._path = found.path
        self._pieces = pieces
        self._arrived = arrived
        self._planned = found.exports
        self._exports = found.exports
        self._last_step = found.promise.last_step
        self._renewing = anyio.Lock()

    async def exports(self) -> Exports:
        """Where the history lies; asked for if discovery did not bring it.

        Raises:
            RunNotFoundError: The run was deleted meanwhile.
            AccessError: The server could not be asked.
        """
        if self._exports is None:
            self._exports = self._planned = await self._ask()
        return self._exports

    async def _ask(self) -> Exports:
        path, now = self._path, self._shop.client.clock.now()
        run = await self._shop.ask_run(run_exports(path.entity, path.project, path.run_id), path)
        told = read_exports(run.get("parquetHistory"), now=now)
        return told or Exports(urls={}, live_steps=None, asked_at=now)

    async def _renew(self, old: Exports) -> None:
        """Ask for new URLs, once for all files that wait for them."""
        async with self._renewing:
            if self._exports is old:
                self._exports = await self._ask()

    async def read(self) -> None:
        """Read all files that are not in the pieces yet.

        Raises:
            RunNotFoundError: The run was deleted meanwhile.
            DataError: A file holds what no history can hold.
            AccessError: The API could not be asked.
        """
        for _ in range(_ROUNDS):
            # Files may be replaced by others while they are read: then the others are read too.
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
        reason = ""
        for _ in range(_FILE_ATTEMPTS):
            exports = await self.exports()
            if self._shop.client.clock.now() - exports.asked_at > URLS_LAST:
                await self._renew(exports)
                exports = await self.exports()
            url = exports.urls.get(shard)
            if url is None:
                reason = reason or "it is no longer listed"
                break
            try:
                await self._fetch(shard, url)
            except UrlRefusedError as exc:
                reason = str(exc.error)
            except FileDamagedError as exc:
                reason = exc.message
            except UnreachableError as exc:
                if exc.host == self._shop.client.host:
                    raise
                reason = exc.message
                break
            except AccessError as exc:
                reason = exc.message
                break
            else:
                return
            await self._renew(exports)
        self.lost[shard] = reason

    async def _fetch(self, shard: str, url: str) -> None:
        client = self._shop.client
        async with self._shop.hands:
            file = await download(client.wire, client.storage, url, folder=self._shop.spool.folder)
            try:
                await self._shop.in_thread(lambda: self._decode(shard, file))
            finally:
                file.close()
        self._arrived()

    def _decode(self, shard: str, file: Download) -> None:
        """Keep the parts of a file; the last one says that it is the last."""
        stop = None
        if self._planned is not None and shard not in self._planned.urls and self._last_step is not None:
            # Exported after the plan was made: rows that were logged after it wait for a refresh.
            stop = self._last_step + 1
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
