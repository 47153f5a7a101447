"""The workers of a pull: each stores the runs that discovery finds, and records what became of them."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from anyio.streams.memory import MemoryObjectReceiveStream

from pull_logs.errors import (
    AccessError,
    DamageError,
    DataError,
    NotFoundError,
    PullLogsError,
    RunNotFoundError,
)
from pull_logs.fetch.concurrency import flat_errors, for_each
from pull_logs.fetch.context import PullContext
from pull_logs.fetch.discovery import FoundRun, Item, MissedRun, SweepConfigs
from pull_logs.fetch.earlier import EarlierBundles
from pull_logs.fetch.history import fetch_run, is_current, read_live_group
from pull_logs.fetch.outcomes import FetchedRun, Outcomes
from pull_logs.runs import RunInfo, RunPath
from pull_logs.snapshot.format import info_fields

if TYPE_CHECKING:
    from pull_logs.fetch.sdk import SdkSource
    from pull_logs.snapshot import Run
    from pull_logs.snapshot.write import StoredRun


class Worker:
    """Stores the runs that discovery finds in the spool, and records their outcomes.

    Args:
        context: What the download needs.
        earlier: The bundles that were pulled earlier.
        sweeps: The configs of sweeps.
        outcomes: Collects what becomes of each run.
        prune: Whether runs that W&B no longer has are dropped; otherwise they are kept.
        sdk: Reads the runs instead of this package's queries, if it is given.
    """

    def __init__(
        self,
        context: PullContext,
        earlier: EarlierBundles,
        sweeps: SweepConfigs,
        outcomes: Outcomes,
        *,
        prune: bool = False,
        sdk: SdkSource | None = None,
    ) -> None:
        self._context = context
        self._earlier = earlier
        self._sweeps = sweeps
        self._outcomes = outcomes
        self._prune = prune
        self._sdk = sdk

    async def run(self, receive: MemoryObjectReceiveStream[Item], first: Item | None) -> None:
        """Process runs until the stream ends, beginning with `first`."""
        if first is not None:
            await self._process(first)
        async for item in receive:
            await self._process(item)

    async def _process(self, item: Item) -> None:
        """Pull runs, or record why a run cannot be pulled."""
        if isinstance(item, MissedRun):
            if self._context.ends_pull(item.error):
                raise item.error
            await self._fail(item, item.error)
            return
        new = [run for run in item if not self._is_known(run)]
        known = [run for run in item if self._is_known(run)]
        if len(new) > 1:
            new = await read_live_group(self._context, new)
        await for_each([*new, *known], self._store, workers=len(item))

    def _is_known(self, run: FoundRun) -> bool:
        """Return whether rows of a run may be there already, from an earlier attempt or bundle."""
        spool = self._context.spool
        has_rows = run.path in spool.stored or spool.has_pages(run.path)
        return has_rows or self._earlier.run(run.path) is not None

    async def _store(self, item: FoundRun) -> None:
        """Pull one run, or record why it cannot be pulled."""
        try:
            with flat_errors():
                fetched = await self._fetch(item)
        except (AccessError, NotFoundError, DataError) as exc:
            if self._context.ends_pull(exc):
                raise
            await self._fail(item, exc)
        else:
            self._outcomes.add(item.path, await self._unless_same(item.path, fetched))

    async def _unless_same(self, path: RunPath, fetched: FetchedRun) -> FetchedRun:
        """Discard a run that arrived just as the archive has it, if only changes are pulled."""
        context = self._context
        stored, earlier = context.spool.stored.get(path), self._earlier.kept(path)
        if not context.only_changes or stored is None or earlier is None:
            return fetched
        if not await context.in_thread(partial(_is_same, stored, earlier)):
            return fetched
        await context.in_thread(partial(context.spool.discard, path))
        return replace(fetched, how="unchanged", new_rows=0)

    async def _fetch(self, found: FoundRun) -> FetchedRun:
        context = self._context
        self._refuse_other_host(found.path)
        stored, earlier = context.spool.stored.get(found.path), self._earlier.run(found.path)
        if found.info.sweep is not None:
            info = await context.in_thread(partial(_earlier_info, stored, earlier))
            found = await self._sweeps.complete(found, earlier=info)
        resumed = await self._resume(found)
        if resumed is not None:
            return resumed
        if self._sdk is not None:
            return await self._sdk.fetch(context, found, earlier)
        return await fetch_run(context, found, earlier)

    def _refuse_other_host(self, path: RunPath) -> None:
        """Make sure that a run does not replace one of another host that has the same path.

        Raises:
            DataError: An earlier bundle has that run of another host.
        """
        earlier, settings = self._earlier.kept(path), self._context.client.settings
        if earlier is not None and settings.is_other_host(earlier.host):
            raise DataError(
                f"the bundle has it from {earlier.host}, and that of {settings.host} is another run"
            )

    async def _resume(self, found: FoundRun) -> FetchedRun | None:
        """Return the run of an earlier attempt if it is up to date; otherwise discard it."""
        context = self._context
        stored = context.spool.stored.get(found.path)
        if stored is None:
            return None
        info = await context.in_thread(stored.info)
        if self._sdk is not None:
            from pull_logs.fetch.sdk import with_internal_config

            found = with_internal_config(found, info)
        if is_current(found, info, stored.coverage) and not await self._is_archived(found):
            return FetchedRun(coverage=stored.coverage, how="resumed")
        await context.in_thread(partial(context.spool.discard, found.path))
        return None

    async def _is_archived(self, found: FoundRun) -> bool:
        """Return whether the archive has the current state of a run, if only changes are pulled."""
        earlier = self._earlier.run(found.path) if self._context.only_changes else None
        if earlier is None:
            return False
        with suppress(DamageError):
            info, coverage = await self._context.in_thread(lambda: (earlier.info, earlier.coverage))
            return is_current(found, info, coverage)
        return False

    async def _fail(self, item: FoundRun | MissedRun, error: PullLogsError) -> None:
        """Record that a run cannot be pulled; that of an earlier bundle is kept instead."""
        context = self._context
        if isinstance(error, RunNotFoundError) and await self._settle_gone(item.path):
            return
        earlier = self._earlier.kept(item.path)
        if earlier is not None:
            try:
                kept = await context.copy(earlier)
            except DamageError as exc:
                error = exc
            else:
                self._outcomes.keep(item.path, kept.coverage, error)
                return
        self._outcomes.fail(item.path, error)

    async def copy(self, paths: Collection[RunPath]) -> None:
        """Copy runs of the earlier bundle as they are, without a request.

        Raises:
            DamageError: The earlier bundle is damaged.
        """
        for path in sorted(paths):
            earlier = self._earlier.kept(path)
            if earlier is not None:
                self._outcomes.add(path, await self._context.copy(earlier))

    async def _settle_gone(self, path: RunPath) -> bool:
        """Keep or drop a run that W&B no longer has; False if there is nothing of it, or it is damaged."""
        context = self._context
        stored, earlier = context.spool.stored.get(path), self._earlier.kept(path)
        if stored is None and earlier is None:
            return False
        is_later = partial(_is_later, stored, earlier)
        if context.only_changes and not (earlier is None or await context.in_thread(is_later)):
            await context.in_thread(partial(context.spool.discard, path))
            stored = None
        info = await context.in_thread(partial(_earlier_info, stored, earlier))
        if info is None or info.host is None or context.client.settings.is_other_host(info.host):
            return False  # a run that was imported, or pulled from another host, was never here
        if self._prune:
            await context.in_thread(partial(context.spool.discard, path))
            self._outcomes.drop(path)
            return True
        marked = info if info.last_seen is not None else replace(info, last_seen=_last_day(info))
        note = f"last seen {marked.last_seen}" if marked.last_seen else ""
        try:
            if stored is None and earlier is not None:
                coverage = (await context.copy(earlier, info=marked)).coverage
            elif stored is not None and info != marked:
                coverage = (await context.in_thread(partial(context.spool.restate, marked))).coverage
            else:
                assert stored is not None  # noqa: S101 - for the type checker: one of the two is there
                coverage = stored.coverage
        except DamageError:
            return False
        self._outcomes.add(path, FetchedRun(coverage=coverage, how="gone", note=note))
        return True


def _last_day(info: RunInfo) -> str:
    """Return the last day on which W&B saw a run: that of its heartbeat, else of its creation."""
    return (info.heartbeat_at or info.created_at or "")[:10]


def _earlier_info(stored: StoredRun | None, earlier: Run | None) -> RunInfo | None:
    """Return the facts of a run from an earlier attempt or bundle; None if it is missing or damaged."""
    with suppress(DamageError):
        if stored is not None:
            return stored.info()
        if earlier is not None:
            return earlier.info
    return None


def _is_later(stored: StoredRun | None, earlier: Run | None) -> bool:
    """Return whether a run of an earlier attempt was seen by W&B later than the one in the archive."""
    if stored is None or earlier is None:
        return stored is not None
    with suppress(DamageError):
        return _heartbeat(stored.info().heartbeat_at) > _heartbeat(earlier.heartbeat_at)
    return False


def _heartbeat(text: str | None) -> str:
    """Return a heartbeat so that it sorts by time: "00.5Z" is after "00Z"."""
    return (text or "").removesuffix("Z")


def _is_same(stored: StoredRun, earlier: Run) -> bool:
    """Return whether a run in the spool is the one in the archive; runs with artifacts are not compared."""
    with suppress(DamageError):
        console = stored.console
        return (
            stored.artifacts is None
            and earlier.artifacts is None
            and stored.coverage == earlier.coverage
            and stored.history.rows_hash == earlier.rows_hash
            and (stored.system and stored.system.rows_hash) == earlier.system_rows_hash
            and set(stored.files) == {file.record for file in earlier.files.values()}
            and (console and console.text_hash) == earlier.console_hash
            and info_fields(stored.info()) == info_fields(earlier.info)
        )
    return False
