"""The pull: discovery, then many runs concurrently, then one sealed bundle.

    discovery -> bounded stream -> workers -> decoding threads -> spool -> seal

A run that fails does not affect the others: its reason is reported, and they are sealed. If an earlier
bundle has the run, it is kept as it was. An error that would meet every run (the key is refused, the API
cannot be reached, the disk is full) ends the pull. If the pull ends before the bundle is sealed, the spool
remains and the same call continues from it. It also remains, as a note of what was sealed, where runs are
incomplete (see `resume`).
"""

from __future__ import annotations

import os
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
    NotFoundError,
    PullLogsError,
    RunNotFoundError,
)
from pull_logs.fetch.api import Capabilities, Client, Clock, Settings, affects_all_runs, load_settings
from pull_logs.fetch.concurrency import flat_errors, run_async
from pull_logs.fetch.context import PullContext, cpu_limiter
from pull_logs.fetch.discovery import FoundRun, MissedRun, SweepConfigs, find_runs
from pull_logs.fetch.history import fetch_run, is_current
from pull_logs.fetch.options import PullOptions
from pull_logs.fetch.outcomes import FetchedRun, FileCounts, Outcomes
from pull_logs.fetch.progress import ProgressHook
from pull_logs.fetch.reports import PullReport
from pull_logs.fetch.resume import EarlierBundles, Plan, note_sealed, open_spool
from pull_logs.fetch.selection import Selection
from pull_logs.runs import RunInfo
from pull_logs.snapshot import Run, SealReport, Spool, open_bundle
from pull_logs.snapshot.write import StoredRun, check_bundle_output, refuse_other_selection

Item = FoundRun | MissedRun


async def pull(
    selection: Selection,
    *,
    out: Path | str,
    options: PullOptions | None = None,
    settings: Settings | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
    clock: Clock | None = None,
) -> PullReport:
    """Pull runs, complete and unsampled, into one sealed and verified bundle.

    Args:
        selection: The runs to pull.
        out: The bundle to write; an existing one of the same selection is replaced at the moment of sealing.
            If it is a symbolic link, the file that it names is replaced.
        options: What the pull includes and how it proceeds.
        settings: The address of the API and the credentials; found as the SDK finds them if None.
        transport: Replaces the network, for tests and for replay in one process.
        progress: Receives the progress of the pull.
        clock: The source of time.

    Raises:
        UsageError: An argument is wrong, `out` is not a bundle or one of another selection, or the spool
            holds the data of another selection.
        ProjectNotFoundError: A project does not exist.
        RunNotFoundError: No run was found.
        SignInError: There is no key, or W&B refused it.
        NetworkError: W&B could not be reached.
        IncompleteError: No run could be pulled, or `strict` is set and some could not be pulled completely.
        PullLogsError: The disk does not accept the bundle.
    """
    options = options or PullOptions()
    await run_sync(partial(_check_output, out, selection, options))
    with flat_errors():
        async with Client(
            settings or load_settings(),
            transport=transport,
            concurrency=options.concurrency,
            policy=options.policy,
            clock=clock,
            progress=progress,
        ) as client:
            report = await _Pull(client, selection, Path(out), options).run()
    if options.strict:
        report.require_complete()
    return report


def pull_sync(
    selection: Selection,
    *,
    out: Path | str,
    options: PullOptions | None = None,
    settings: Settings | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
) -> PullReport:
    """Pull runs as `pull` does, for synchronous callers.

    It also works inside a running event loop, for example in a notebook.
    """
    return run_async(
        partial(
            pull,
            selection,
            out=out,
            options=options,
            settings=settings,
            transport=transport,
            progress=progress,
        )
    )


def _check_output(out: Path | str, selection: Selection, options: PullOptions) -> None:
    """Make sure that the bundle can be written, and that it replaces no bundle of another selection."""
    target = check_bundle_output(out, force=options.force)
    if options.force or not target.exists():
        return
    with open_bundle(target) as existing:
        lost = [run.path for run in existing.runs() if not selection.covers(run.info)]
        refuse_other_selection(out, lost, before=existing.manifest.metrics, metrics=options.metrics)


def _plan(selection: Selection, settings: Settings, options: PullOptions) -> Plan:
    """Return the description of a pull; two pulls with equal descriptions are the same pull."""
    plan: dict[str, Any] = {
        "plan": 1,
        "host": settings.host,
        "entity": settings.entity or "",
        "project": settings.project or "",
        "selection": selection.describe(),
        "metrics": options.metrics or "",
        "system": options.system,
    }
    if options.file_selection is not None:
        plan["files"] = options.file_selection.describe()
    return plan


class _Pull:
    """One pull."""

    def __init__(self, client: Client, selection: Selection, out: Path, options: PullOptions) -> None:
        self._client = client
        self._selection = selection
        self._out = out
        self._target = Path(os.path.realpath(out))
        self._options = options
        self._plan = _plan(selection, client.settings, options)
        self._capabilities = Capabilities()
        self._outcomes = Outcomes(client.meter)
        self._sweeps = SweepConfigs(client)
        self._file_counts = FileCounts()

    async def run(self) -> PullReport:
        """Pull and seal.

        Raises:
            PullLogsError: See `pull`.
        """
        send, receive = anyio.create_memory_object_stream[Item](2 * self._options.concurrency)
        seal: SealReport | None = None
        async with receive, anyio.create_task_group() as group:
            group.start_soon(self._discover, send)
            # The spool is created when the first run is found: a misspelt project leaves nothing.
            with suppress(anyio.EndOfStream):
                seal = await self._pull(await receive.receive(), receive)
        if seal is None:
            raise RunNotFoundError(
                "there is no run to pull", hint="check the project, the sweep and the filter"
            )
        return self._report(seal)

    async def _discover(self, send: MemoryObjectSendStream[Item]) -> None:
        async with send:
            await find_runs(self._client, self._selection, capabilities=self._capabilities, emit=send.send)

    async def _pull(self, first: Item, receive: MemoryObjectReceiveStream[Item]) -> SealReport:
        options, plan = self._options, self._plan
        spool = await run_sync(partial(open_spool, self._target, plan=plan, fresh=options.fresh))
        with spool:
            with ExitStack() as stack:
                earlier = await run_sync(
                    partial(EarlierBundles, spool, previous=options.previous, stack=stack)
                )
                worker = _Worker(self._context(spool), earlier, self._sweeps, self._outcomes)
                async with anyio.create_task_group() as group:
                    for number in range(options.concurrency):
                        group.start_soon(worker.run, receive, None if number else first)
            self._add_unlisted(spool)
            if not spool.stored:
                self._outcomes.raise_failure()
            seal = await run_sync(partial(spool.seal, metrics=options.metrics or None))
        if any(not outcome.complete and outcome.how != "kept" for outcome in self._outcomes):
            await run_sync(partial(note_sealed, self._target, plan=plan, bundle_id=seal.bundle_id))
        return seal

    def _context(self, spool: Spool) -> PullContext:
        options = self._options
        return PullContext(
            client=self._client,
            spool=spool,
            threads=cpu_limiter(),
            downloads=anyio.Semaphore(options.concurrency),
            capabilities=self._capabilities,
            metrics=options.metric_pattern,
            system=options.system,
            files=options.file_selection,
            file_counts=self._file_counts,
        )

    def _add_unlisted(self, spool: Spool) -> None:
        """Record the runs of an earlier attempt that are no longer listed, so cannot be pulled again."""
        note = "an earlier attempt pulled it, and it is no longer listed"
        for path, stored in spool.stored.items():
            if path not in self._outcomes:
                self._outcomes.add(path, FetchedRun(coverage=stored.coverage, how="kept", note=note))

    def _report(self, seal: SealReport) -> PullReport:
        meter = self._client.meter
        return PullReport(
            out=self._out,
            seal=replace(seal, path=self._out),
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
        files = self._options.file_selection
        sweeps = [
            f"the config of sweep {sweep} could not be downloaded: {reason}"
            for sweep, reason in sorted(self._sweeps.lost.items())
        ]
        return (*sweeps, *([] if files is None else self._file_counts.notes(files)))


class _Worker:
    """Stores the runs that discovery finds in the spool, and records their outcomes."""

    def __init__(
        self, context: PullContext, earlier: EarlierBundles, sweeps: SweepConfigs, outcomes: Outcomes
    ) -> None:
        self._context = context
        self._earlier = earlier
        self._sweeps = sweeps
        self._outcomes = outcomes

    async def run(self, receive: MemoryObjectReceiveStream[Item], first: Item | None) -> None:
        """Process runs until the stream ends, beginning with `first`."""
        if first is not None:
            await self._process(first)
        async for item in receive:
            await self._process(item)

    async def _process(self, item: Item) -> None:
        """Pull one run, or record why it cannot be pulled."""
        if isinstance(item, MissedRun):
            await self._fail(item, item.error)
            return
        try:
            with flat_errors():
                fetched = await self._fetch(item)
        except (AccessError, NotFoundError, DataError) as exc:
            if affects_all_runs(exc, api_host=self._context.client.host):
                raise
            await self._fail(item, exc)
        else:
            self._outcomes.add(item.path, fetched)

    async def _fetch(self, found: FoundRun) -> FetchedRun:
        context = self._context
        stored, earlier = context.spool.stored.get(found.path), self._earlier.run(found.path)
        if found.info.sweep is not None:
            info = await context.in_thread(partial(_earlier_info, stored, earlier))
            found = await self._sweeps.complete(found, earlier=info)
        resumed = await self._resume(found)
        return resumed or await fetch_run(context, found, earlier)

    async def _resume(self, found: FoundRun) -> FetchedRun | None:
        """Return the run of an earlier attempt if it is up to date; otherwise discard it."""
        context = self._context
        stored = context.spool.stored.get(found.path)
        if stored is None:
            return None
        info = await context.in_thread(stored.info)
        if is_current(found, info, stored.coverage):
            return FetchedRun(coverage=stored.coverage, how="resumed")
        await context.in_thread(partial(context.spool.discard, found.path))
        return None

    async def _fail(self, item: Item, error: PullLogsError) -> None:
        """Record that a run cannot be pulled; that of an earlier bundle is kept instead."""
        context = self._context
        earlier = self._earlier.run(item.path)
        if earlier is not None:
            try:
                stored = await context.in_thread(partial(context.spool.adopt, earlier))
            except DamageError as exc:
                error = exc
            else:
                self._outcomes.keep(item.path, stored.coverage, error)
                return
        self._outcomes.fail(item.path, error)


def _earlier_info(stored: StoredRun | None, earlier: Run | None) -> RunInfo | None:
    """Return the facts of a run from an earlier attempt or bundle; None if it is missing or damaged."""
    with suppress(DamageError):
        if stored is not None:
            return stored.info()
        if earlier is not None:
            return earlier.info
    return None
