"""The live rows of one run: windows of steps, split where an answer is full, too large or too slow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from pull_logs.errors import ServerError
from pull_logs.fetch.api import HeavyRequestError, history_page
from pull_logs.fetch.concurrency import for_each
from pull_logs.fetch.context import PullContext
from pull_logs.fetch.decoding import batch_of_page
from pull_logs.fetch.discovery import LivePage
from pull_logs.fetch.history.pieces import Pieces
from pull_logs.fetch.windows import EXACT, Window, samples_for
from pull_logs.rows.batches import distinct_steps, steps_of
from pull_logs.runs import RunPath

_HEAVY_ATTEMPTS = 2

_MOST_HALVINGS = 5
"""How often a window is halved because it is too large, so that an outage does not multiply the requests."""

_FEW_STEPS = 10
_WORKERS = 16


class LiveReader:
    """Reads windows of one run's live rows into its pieces.

    Args:
        context: What the download needs.
        path: The path of the run.
        pieces: Receives the rows.
        arrived: Called after rows arrived.
        page: Rows that were requested already, and need not be requested again.
    """

    def __init__(
        self,
        context: PullContext,
        path: RunPath,
        pieces: Pieces,
        *,
        arrived: Callable[[], None],
        page: LivePage | None = None,
    ) -> None:
        self._context = context
        self._path = path
        self._pieces = pieces
        self._arrived = arrived
        self._page = page

    async def read(self, windows: Iterable[Window]) -> None:
        """Read windows that overlap neither each other nor those that were read before.

        Raises:
            RunNotFoundError: The run was deleted in the meantime.
            DataError: A row cannot be read.
            AccessError: A request failed.
        """
        await for_each(windows, partial(self._read, halvings=_MOST_HALVINGS), workers=_WORKERS)

    async def _read(self, window: Window, *, halvings: int) -> None:
        """Read a window, or its halves where the answer may be incomplete.

        Args:
            window: The window.
            halvings: How often it may still be halved because it is too large.
        """
        try:
            texts = await self._request(window, may_halve=halvings > 0)
        except HeavyRequestError:
            self._context.window_size.shrink()
            await self._read_halves(window, halvings=halvings - 1)
            return
        batch = await self._context.in_thread(
            lambda: batch_of_page(texts, start=window.start, stop=window.stop)
        )
        steps = distinct_steps(steps_of(batch))
        # A full answer is complete only if it has every step: then only repeated lines can be missing.
        full = len(texts) >= samples_for(window) and len(steps) < window.width
        sampled = window.expected is not None and window.width > EXACT and len(steps) < window.expected
        if window.width > 1 and (full or sampled):
            middle = int(steps[len(steps) // 2]) if len(steps) else None
            await self._read_halves(window, at=middle, halvings=halvings)
            return
        await self._context.in_thread(
            lambda: self._pieces.add_window(batch, start=window.start, stop=window.stop)
        )
        self._arrived()

    async def _read_halves(self, window: Window, *, at: int | None = None, halvings: int) -> None:
        for half in window.split(at):
            await self._read(half, halvings=halvings)

    async def _request(self, window: Window, *, may_halve: bool) -> Sequence[object]:
        page, self._page = self._page, None
        if page is not None and (page.start, page.stop) == (window.start, window.stop):
            return page.rows
        path, clock = self._path, self._context.client.clock
        query = history_page(
            path.entity,
            path.project,
            path.run_id,
            start=window.start,
            stop=window.stop,
            samples=samples_for(window),
        )
        began = clock.now()
        heavy_attempts = _HEAVY_ATTEMPTS if may_halve and window.width > _FEW_STEPS else None
        run = await self._context.query_run(query, path, heavy_attempts=heavy_attempts)
        texts = run.get("history")
        if texts is None:
            return ()
        if not isinstance(texts, list):
            host = self._context.client.host
            raise ServerError(f"{host} sent a history of run {str(path)!r} that is not a list")
        size = sum(len(text) for text in texts if isinstance(text, str))
        self._context.window_size.update(rows=len(texts), size=size, seconds=clock.now() - began)
        return texts
