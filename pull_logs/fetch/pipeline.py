"""The pull: discovery, then many runs side by side, then one sealed bundle.

    discovery -> bounded stream -> workers -> decoding threads -> spool -> seal

A run that fails does not touch the others: its reason is told, and they are sealed; where
an earlier bundle is at hand that has the run, it is kept as it was there. What would fail
for all of them (the key is refused, the API cannot be reached, the disk is full) ends the
pull. However it ends before the bundle is sealed, the spool stays, and the same call goes
on from it; it stays too, as a note of what was sealed, where runs are not whole (see
`leftovers`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.to_thread import run_sync

from pull_logs.errors import (
    AccessError,
    DamageError,
    DataError,
    IncompleteError,
    NotFoundError,
    PullLogsError,
    RunNotFoundError,
    UsageError,
)
from pull_logs.fetch.api import (
    Client,
    Clock,
    KeyRefusedError,
    RetryPolicy,
    Settings,
    UnreachableError,
    load_settings,
)
from pull_logs.fetch.concurrency import flat_errors, run_async
from pull_logs.fetch.context import Workshop
from pull_logs.fetch.discovery import Discovery, Found, Lessons, Missed, SweepConfigs
from pull_logs.fetch.history import Brought, bring, is_current
from pull_logs.fetch.progress import Meter, ProgressHook
from pull_logs.fetch.reports import PullReport, RunOutcome
from pull_logs.fetch.resume import Earlier, note_sealed, open_spool
from pull_logs.fetch.selection import Selection
from pull_logs.fetch.wantedfiles import FileTally, WantedFiles
from pull_logs.fetch.windows import WindowSize
from pull_logs.runs import RunInfo
from pull_logs.snapshot import Run, SealReport, Spool
from pull_logs.snapshot.write import StoredRun

MOST_CONCURRENCY = 256

Item = Found | Missed


async def pull(
    selection: Selection,
    *,
    out: Path | str,
    settings: Settings | None = None,
    concurrency: int = 32,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
    strict: bool = False,
    metrics: str | None = None,
    system: bool = False,
    files: Sequence[str] = (),
    max_file_size: int | None = None,
    fresh: bool = False,
    previous: Path | None = None,
    policy: RetryPolicy | None = None,
    clock: Clock | None = None,
) -> PullReport:
    """Pull runs, whole and unsampled, into one sealed and verified bundle.

    Args:
        selection: Which runs.
        out: The bundle to write; one that is there already is replaced, in the moment of sealing.
        settings: Which W&B, and as whom; found as the SDK finds them if None.
        concurrency: Most requests in flight, GraphQL and storage each.
        transport: Replaces the network, in tests and for replay in one process.
        progress: Told how it goes.
        strict: Whether an incomplete or missing run is an error, raised after the others are sealed.
        metrics: A regular expression; only metrics in whose name it is found are kept, and `_timestamp`.
        system: Whether system metrics are pulled too.
        files: Patterns of names (`*.log`; `*` matches slashes too): the run files that match one are pulled too.
        max_file_size: Bytes of the largest file that is pulled; a larger one is left out, and told.
        fresh: Whether to forget what an earlier call left in the spool.
        previous: A bundle pulled with the same `metrics` and `system`; its runs that did not change since
            are copied from it, and of the others only what is new is asked for (see `refreshing`).
        policy: How long to go on asking.
        clock: Where time comes from.

    Raises:
        UsageError: An argument is wrong, or the spool holds another selection's data.
        ProjectNotFoundError: A project that was asked for as a whole is not there.
        RunNotFoundError: No run was found.
        SignInError: There is no key, or W&B refused it.
        NetworkError: W&B could not be asked.
        IncompleteError: No run could be pulled, or `strict` and some could not be pulled whole.
        PullLogsError: The disk does not take it.
    """
    if not 1 <= concurrency <= MOST_CONCURRENCY:
        raise UsageError(f"concurrency is {concurrency}, not between 1 and {MOST_CONCURRENCY}")
    clock = clock or Clock()
    meter = Meter(now=clock.now, hook=progress)
    settings = settings or load_settings()
    options = _Options(
        selection,
        Path(out),
        settings,
        metrics=metrics,
        system=system,
        files=WantedFiles(tuple(files), max_file_size) if files else None,
        fresh=fresh,
        previous=previous,
    )
    with flat_errors():
        async with Client(
            settings, transport=transport, concurrency=concurrency, policy=policy, clock=clock, meter=meter
        ) as client:
            report = await _Pull(client, options, workers=concurrency).run()
    if strict and report.incomplete:
        raise IncompleteError(
            f"{len(report.incomplete)} of {len(report.runs)} runs are not whole; the first,"
            f" {report.incomplete[0].path}: {report.incomplete[0].reason}",
            hint="the others are sealed; run the same command again",
        )
    return report


def pull_sync(
    selection: Selection,
    *,
    out: Path | str,
    settings: Settings | None = None,
    concurrency: int = 32,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
    strict: bool = False,
    metrics: str | None = None,
    system: bool = False,
    files: Sequence[str] = (),
    max_file_size: int | None = None,
    fresh: bool = False,
    previous: Path | None = None,
) -> PullReport:
    """`pull` for synchronous callers, also from inside a running event loop, such as a notebook's."""
    return run_async(
        partial(
            pull,
            selection,
            out=out,
            settings=settings,
            concurrency=concurrency,
            transport=transport,
            progress=progress,
            strict=strict,
            metrics=metrics,
            system=system,
            files=files,
            max_file_size=max_file_size,
            fresh=fresh,
            previous=previous,
        )
    )


class _Options:
    """What is pulled, where to, and how; two pulls with one plan are the same pull."""

    def __init__(
        self,
        selection: Selection,
        out: Path,
        settings: Settings,
        *,
        metrics: str | None,
        system: bool,
        files: WantedFiles | None,
        fresh: bool,
        previous: Path | None,
    ) -> None:
        self.selection = selection
        self.out = out
        self.fresh = fresh
        self.previous = previous
        self.system = system
        self.files = files
        try:
            self.keys = None if metrics is None else re.compile(metrics)
        except re.error as exc:
            raise UsageError(f"metrics {metrics!r} is not a regular expression: {exc}") from exc
        self.plan: Mapping[str, Any] = {
            "plan": 1,
            "host": settings.host,
            "entity": settings.entity or "",
            "project": settings.project or "",
            "selection": selection.describe(),
            "metrics": metrics or "",
            "system": system,
        }
        if files is not None:
            self.plan = {**self.plan, "files": files.describe()}


class _Pull:
    def __init__(self, client: Client, options: _Options, *, workers: int) -> None:
        self._client = client
        self._meter = client.meter
        self._options = options
        self._workers = workers
        self._lessons = Lessons()
        self._outcomes: list[RunOutcome] = []
        self._errors: list[PullLogsError] = []
        self._earlier = Earlier()
        self._sweeps = SweepConfigs(client)
        self._file_tally = FileTally()

    async def run(self) -> PullReport:
        send, receive = anyio.create_memory_object_stream[Item](2 * self._workers)
        seal: SealReport | None = None
        async with receive, anyio.create_task_group() as group:
            group.start_soon(self._discover, send)
            # The spool is made when there is something to put into it: a misspelt project leaves nothing.
            with suppress(anyio.EndOfStream):
                seal = await self._pull(await receive.receive(), receive)
        if seal is None:
            raise RunNotFoundError(
                "there is no run to pull", hint="check the project, the sweep and the filter"
            )
        return self._report(seal)

    def _report(self, seal: SealReport) -> PullReport:
        self._outcomes.sort(key=lambda outcome: outcome.path)
        meter = self._meter
        return PullReport(
            out=self._options.out,
            seal=seal,
            runs=tuple(self._outcomes),
            requests=meter.requests,
            graphql_requests=meter.graphql_requests,
            throttled=meter.throttled,
            retries=meter.retries,
            bytes_received=meter.bytes_received,
            rows_received=meter.rows,
            seconds=meter.seconds,
            notes=self._notes(),
        )

    def _notes(self) -> tuple[str, ...]:
        files = self._options.files
        return (
            *(
                f"the config of sweep {sweep} could not be had: {reason}"
                for sweep, reason in sorted(self._sweeps.lost.items())
            ),
            *([] if files is None else self._file_tally.notes(files)),
        )

    async def _discover(self, send: MemoryObjectSendStream[Item]) -> None:
        async with send:
            await Discovery(
                self._client, self._options.selection, lessons=self._lessons, emit=send.send
            ).run()

    async def _pull(self, first: Item, receive: MemoryObjectReceiveStream[Item]) -> SealReport:
        options = self._options
        spool = await run_sync(partial(open_spool, options.out, plan=options.plan, fresh=options.fresh))
        with spool:
            with ExitStack() as stack:
                await run_sync(partial(self._earlier.open, spool, previous=options.previous, stack=stack))
                shop = self._workshop(spool)
                async with anyio.create_task_group() as group:
                    for number in range(self._workers):
                        group.start_soon(self._work, shop, receive, None if number else first)
            self._tell_unlisted(spool)
            if not spool.stored:
                self._raise_first()
            seal = await run_sync(partial(spool.seal, metrics=options.plan["metrics"] or None))
        if any(not outcome.complete and outcome.how != "kept" for outcome in self._outcomes):
            note = partial(note_sealed, options.out, plan=options.plan, bundle_id=seal.bundle_id)
            await run_sync(note)
        return seal

    def _workshop(self, spool: Spool) -> Workshop:
        return Workshop(
            client=self._client,
            spool=spool,
            threads=anyio.CapacityLimiter(os.cpu_count() or 1),
            hands=anyio.Semaphore(self._workers),
            lessons=self._lessons,
            size=WindowSize(),
            keys=self._options.keys,
            system=self._options.system,
            files=self._options.files,
            file_tally=self._file_tally,
        )

    def _tell_unlisted(self, spool: Spool) -> None:
        """Tell of runs that an earlier attempt brought and that are listed no more: they cannot be had again."""
        told = {outcome.path for outcome in self._outcomes}
        for path, stored in spool.stored.items():
            if path not in told:
                note = "an earlier attempt brought it, and it is not listed any more"
                self._done(RunOutcome.of(path, stored.coverage, how="kept", note=note))

    def _raise_first(self) -> None:
        error = self._errors[0]
        if len(self._errors) == 1:
            raise error
        raise IncompleteError(
            f"none of {len(self._errors)} runs could be pulled; the first, {self._outcomes[0].path}: {error.message}",
            hint=error.hint,
        )

    async def _work(
        self, shop: Workshop, receive: MemoryObjectReceiveStream[Item], first: Item | None
    ) -> None:
        if first is not None:
            await self._take(shop, first)
        async for item in receive:
            await self._take(shop, item)

    async def _take(self, shop: Workshop, item: Item) -> None:
        """Pull one run, or tell why it cannot be."""
        if isinstance(item, Missed):
            await self._fail(shop, item, item.error)
            return
        try:
            with flat_errors():
                brought = await self._bring(shop, item)
        except (AccessError, NotFoundError, DataError) as exc:
            if _concerns_all(exc, self._client.host):
                raise
            await self._fail(shop, item, exc)
        else:
            self._done(
                RunOutcome.of(
                    item.path,
                    brought.coverage,
                    how=brought.how,
                    new_rows=brought.new_rows,
                    note=brought.note,
                )
            )

    async def _bring(self, shop: Workshop, found: Found) -> Brought:
        stored, earlier = shop.spool.stored.get(found.path), self._earlier.run(found.path)
        if found.info.sweep is not None:
            info = await shop.in_thread(partial(_facts, stored or earlier))
            found = await self._sweeps.complete(found, earlier=info)
        brought = await self._at_hand(shop, found)
        return brought or await bring(shop, found, earlier)

    async def _fail(self, shop: Workshop, item: Item, error: PullLogsError) -> None:
        """Tell that a run cannot be pulled; an earlier bundle's is kept in its place."""
        earlier = self._earlier.run(item.path)
        if earlier is not None:
            try:
                stored = await shop.in_thread(partial(shop.spool.adopt, earlier))
            except DamageError as exc:
                error = exc
            else:
                kept = RunOutcome.of(item.path, stored.coverage, how="kept")
                self._done(replace(kept, complete=False, reason=f"kept as it was: {error.message}"))
                return
        self._errors.append(error)
        self._meter.runs_failed += 1
        self._done(RunOutcome(path=item.path, rows=0, complete=False, reason=error.message, sealed=False))

    def _done(self, outcome: RunOutcome) -> None:
        self._outcomes.append(outcome)
        self._meter.runs_done += 1
        self._meter.tell()

    async def _at_hand(self, shop: Workshop, found: Found) -> Brought | None:
        """A run that need not be asked for, because an earlier attempt has it as it is now."""
        stored = shop.spool.stored.get(found.path)
        if stored is not None:
            info = await shop.in_thread(stored.info)
            if is_current(found, info, stored.coverage):
                return Brought(coverage=stored.coverage, how="resumed")
            await shop.in_thread(partial(shop.spool.discard, found.path))
        return None


def _facts(run: StoredRun | Run | None) -> RunInfo | None:
    """What is known of a run that was pulled earlier; None where there is none, or it is damaged."""
    if run is None:
        return None
    try:
        return run.info() if isinstance(run, StoredRun) else run.info
    except DamageError:
        return None


def _concerns_all(error: PullLogsError, host: str) -> bool:
    return isinstance(error, KeyRefusedError) or (isinstance(error, UnreachableError) and error.host == host)
