"""The pull: discovery, then many runs concurrently, then one sealed bundle.

    discovery -> bounded stream -> workers -> decoding threads -> spool -> seal

A run that fails does not affect the others: its reason is reported, and they are sealed. If an earlier
bundle has the run, it is kept as it was. An error that would meet every run (the key is refused, the API
cannot be reached, the disk is full) ends the pull. If the pull ends before the bundle is sealed, the spool
remains and the same call continues from it. It also remains, as a note of what was sealed, where runs are
incomplete (see `resume`).
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.to_thread import run_sync

from pull_logs.errors import RunNotFoundError
from pull_logs.fetch.api import Capabilities, Client, Clock, Settings, load_settings
from pull_logs.fetch.concurrency import flat_errors, run_async
from pull_logs.fetch.discovery import SweepConfigs, find_runs
from pull_logs.fetch.options import PullOptions
from pull_logs.fetch.outcomes import FetchedRun, FileCounts, Outcomes
from pull_logs.fetch.progress import ProgressHook
from pull_logs.fetch.reports import PullReport
from pull_logs.fetch.run_groups import Item, RunGroups
from pull_logs.fetch.selection import Selection

if TYPE_CHECKING:
    import httpx

    from pull_logs.fetch.context import PullContext
    from pull_logs.fetch.resume import Plan
    from pull_logs.snapshot import SealReport, Spool

_WORKERS = "pull_logs.fetch.run_worker"
"""The module that decodes and stores; it imports numpy and pyarrow."""


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
        out: The bundle to write; an existing one is replaced at the moment of sealing.
        options: What the pull includes and how it proceeds.
        settings: The address of the API and the credentials; found as the SDK finds them if None.
        transport: Replaces the network, for tests and for replay in one process.
        progress: Receives the progress of the pull.
        clock: The source of time.

    Raises:
        UsageError: An argument is wrong, or the spool holds the data of another selection.
        ProjectNotFoundError: A project does not exist.
        RunNotFoundError: No run was found.
        SignInError: There is no key, or W&B refused it.
        NetworkError: W&B could not be reached.
        IncompleteError: No run could be pulled, or `strict` is set and some could not be pulled completely.
        PullLogsError: The disk does not accept the bundle.
    """
    options = options or PullOptions()
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
            # Arrow takes about as long to import as a server to answer, so it is imported meanwhile.
            await run_sync(import_module, _WORKERS)
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
            groups = RunGroups(self._capabilities, send.send)
            await find_runs(self._client, self._selection, capabilities=self._capabilities, emit=groups.add)
            await groups.flush()

    async def _pull(self, first: Item, receive: MemoryObjectReceiveStream[Item]) -> SealReport:
        from pull_logs.fetch.resume import EarlierBundles, note_sealed, open_spool
        from pull_logs.fetch.run_worker import RunWorker

        options, plan = self._options, self._plan
        spool = await run_sync(partial(open_spool, self._out, plan=plan, fresh=options.fresh))
        with spool:
            with ExitStack() as stack:
                earlier = await run_sync(
                    partial(EarlierBundles, spool, previous=options.previous, stack=stack)
                )
                worker = RunWorker(self._context(spool), earlier, self._sweeps, self._outcomes)
                async with anyio.create_task_group() as group:
                    for number in range(options.concurrency):
                        group.start_soon(worker.run, receive, None if number else first)
            self._add_unlisted(spool)
            if not spool.stored:
                self._outcomes.raise_failure()
            seal = await run_sync(partial(spool.seal, metrics=options.metrics or None))
        if any(not outcome.complete and outcome.how != "kept" for outcome in self._outcomes):
            await run_sync(partial(note_sealed, self._out, plan=plan, bundle_id=seal.bundle_id))
        return seal

    def _context(self, spool: Spool) -> PullContext:
        from pull_logs.fetch.context import PullContext, cpu_limiter

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
        files = self._options.file_selection
        sweeps = [
            f"the config of sweep {sweep} could not be downloaded: {reason}"
            for sweep, reason in sorted(self._sweeps.lost.items())
        ]
        return (*sweeps, *([] if files is None else self._file_counts.notes(files)))
