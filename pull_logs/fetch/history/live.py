"""The live rows of one run: windows of steps, split where they come back full or are too heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from pull_logs.errors import ServerError
from pull_logs.fetch.api import HeavyRequestError, history_page
from pull_logs.fetch.concurrency import for_each
from pull_logs.fetch.context import Workshop
from pull_logs.fetch.history.decode import batch_of_page
from pull_logs.fetch.history.pieces import Pieces
from pull_logs.fetch.windows import EXACT, Window, samples_for
from pull_logs.rows.batches import steps_of
from pull_logs.runs import RunPath

_HEAVY_ATTEMPTS = 2

_LIGHTER = 5
"""How often a window is halved because it is too heavy, so that an outage does not become a flood."""

_FEW_STEPS = 10
_WORKERS = 16


class LiveReader:
    """Reads windows of one run's live rows into its pieces.

    Args:
        shop: What reading needs.
        path: The run.
        pieces: Where its rows go.
        arrived: Called when some did.
    """

    def __init__(self, shop: Workshop, path: RunPath, pieces: Pieces, *, arrived: Callable[[], None]) -> None:
        self._shop = shop
        self._path = path
        self._pieces = pieces
        self._arrived = arrived

    async def read(self, windows: Iterable[Window]) -> None:
        """Read these windows, which do not overlap, nor what was read before.

        Raises:
            RunNotFoundError: The run was deleted meanwhile.
            DataError: A row cannot be read.
            AccessError: The server could not be asked.
        """
        await for_each(windows, partial(self._read, lighter=_LIGHTER), workers=_WORKERS)

    async def _read(self, window: Window, *, lighter: int) -> None:
        """Read a window, or its halves where it cannot be known to be whole.

        Args:
            window: What to read.
            lighter: How often it may still be halved because it is too heavy.
        """
        try:
            texts = await self._ask(window, may_be_lighter=lighter > 0)
        except HeavyRequestError:
            self._shop.size.shrink()
            await self._read_halves(window, lighter=lighter - 1)
            return
        batch = await self._shop.in_thread(lambda: batch_of_page(texts, start=window.start, stop=window.stop))
        steps = np.unique(steps_of(batch))
        # A full answer is whole only where each step came: then nothing but repeated lines can be missing.
        full = len(texts) >= samples_for(window) and len(steps) < window.width
        sampled = window.expected is not None and window.width > EXACT and len(steps) < window.expected
        if window.width > 1 and (full or sampled):
            middle = int(steps[len(steps) // 2]) if len(steps) else None
            await self._read_halves(window, at=middle, lighter=lighter)
            return
        await self._shop.in_thread(
            lambda: self._pieces.add_window(batch, start=window.start, stop=window.stop)
        )
        self._arrived()

    async def _read_halves(self, window: Window, *, at: int | None = None, lighter: int) -> None:
        for half in window.split(at):
            await self._read(half, lighter=lighter)

    async def _ask(self, window: Window, *, may_be_lighter: bool) -> Sequence[object]:
        path, clock = self._path, self._shop.client.clock
        query = history_page(
            path.entity,
            path.project,
            path.run_id,
            start=window.start,
            stop=window.stop,
            samples=samples_for(window),
        )
        began = clock.now()
        heavy_attempts = _HEAVY_ATTEMPTS if may_be_lighter and window.width > _FEW_STEPS else None
        run = await self._shop.ask_run(query, path, heavy_attempts=heavy_attempts)
        texts = run.get("history")
        if texts is None:
            return ()
        if not isinstance(texts, list):
            raise ServerError(f"{self._shop.client.host} sent a history of {str(path)!r} that is no list")
        size = sum(len(text) for text in texts if isinstance(text, str))
        self._shop.size.learn(rows=len(texts), size=size, seconds=clock.now() - began)
        return texts
