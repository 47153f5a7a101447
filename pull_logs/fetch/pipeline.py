"""The pull: discovery, then many runs concurrently, then one sealed bundle.

    discovery -> bounded stream -> workers -> decoding in threads and processes -> spool -> seal

A run that fails does not affect the others: its reason is reported, and they are sealed. If an earlier
bundle has the run, it is kept as it was. An error that would meet every run (the key is refused, the API
cannot be reached, the disk is full) ends the pull. If the pull ends before the bundle is sealed, the spool
remains and the same call continues from it. It also remains, as a note of what was sealed, where runs are
incomplete (see `resume`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.to_thread import run_sync

from pull_logs.errors import RunNotFoundError
from pull_logs.fetch.api import Capabilities, Client, Clock, Settings, UnknownFieldError, load_settings
from pull_logs.fetch.concurrency import flat_errors, run_async
from pull_logs.fetch.decoding import Encoders
from pull_logs.fetch.discovery import FoundRun, Item, MissedRun, RunGroups, SweepConfigs, find_runs
from pull_logs.fetch.existing import Output, SweepPath, find_output, sweeps_in
from pull_logs.fetch.options import PullOptions
from pull_logs.fetch.outcomes import FileCounts, Outcomes
from pull_logs.fetch.progress import ProgressHook
from pull_logs.fetch.reports import PullReport
from pull_logs.fetch.sdk import SdkPool, find_runs_with_sdk
from pull_logs.fetch.selection import Selection
from pull_logs.runs import RunPath, RunReference
from pull_logs.snapshot import disk_errors, temporary_folder

if TYPE_CHECKING:
    import httpx

    from pull_logs.fetch.context import PullContext
    from pull_logs.fetch.resume import Plan
    from pull_logs.fetch.sdk import SdkSource
    from pull_logs.fetch.worker import Worker
    from pull_logs.snapshot import SealReport, Spool

Announce = Callable[[str], None]

SDK_PROCESSES = 4
"""The most processes of the SDK at a time."""

_WORKER = "pull_logs.fetch.worker"
"""The module that decodes and stores; it imports numpy and pyarrow."""


async def pull(
    selection: Selection,
    *,
    out: Path | str,
    options: PullOptions | None = None,
    settings: Settings | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
    announce: Announce | None = None,
    clock: Clock | None = None,
) -> PullReport:
    """Pull runs, complete and unsampled, into one sealed and verified bundle.

    Args:
        selection: The runs to pull.
        out: The bundle to write. An existing one of the same selection is brought up to date: what did not
            change is copied, runs that W&B no longer has are kept, and the file is replaced at the moment of
            sealing. If it is a symbolic link, the file that it names is replaced.
        options: What the pull includes and how it proceeds.
        settings: The address of the API and the credentials; found as the SDK finds them if None.
        transport: Replaces the network, for tests and for replay in one process; the SDK cannot use it.
        progress: Receives the progress of the pull.
        announce: Receives a sentence if the pull goes on with the SDK.
        clock: The source of time.

    Raises:
        UsageError: An argument is wrong, `out` is not a bundle, one of another selection or one from which
            something was removed, or the spool holds the data of another selection.
        ProjectNotFoundError: A project does not exist.
        RunNotFoundError: No run was found.
        SignInError: There is no key, or W&B refused it.
        NetworkError: W&B could not be reached.
        IncompleteError: No run could be pulled, or `strict` is set and some could not be pulled completely.
        PullLogsError: The disk does not accept the bundle.
    """
    settings = settings or load_settings()
    given = options or PullOptions()
    output = await run_sync(partial(find_output, out, selection, given, settings=settings))
    output.refuse_redacted()
    options = output.options
    new_client = partial(
        Client,
        settings,
        transport=transport,
        concurrency=options.concurrency,
        policy=options.policy,
        clock=clock,
        progress=progress,
    )
    report = await _pull(new_client, selection, output, announce=announce, replaced=transport is not None)
    if options.strict:
        report.require_complete()
    return report


async def _pull(
    new_client: Callable[[], Client],
    selection: Selection,
    output: Output,
    *,
    announce: Announce | None,
    replaced: bool,
) -> PullReport:
    """Pull by the chosen way, and once more with the SDK if W&B does not know a field of a query."""
    via, notes = output.options.via, ("the runs were read with the W&B SDK",)
    if via != "sdk":
        may_use_sdk = via == "auto" and not replaced
        try:
            with _disk_errors(output), flat_errors():
                async with new_client() as client:
                    return await _Pull(client, selection, output, may_use_sdk=may_use_sdk).run()
        except UnknownFieldError as exc:
            if not may_use_sdk:
                raise
            notes = (f"W&B rejected a query, and the runs were read with the W&B SDK: {exc.message}",)
            if announce is not None:
                announce(
                    f"W&B rejected a query, so the W&B SDK reads the runs, which is slower: {exc.message}"
                    " (--via graphql forbids that)"
                )
    with _disk_errors(output), flat_errors(), ExitStack() as stack:
        folder = await run_sync(stack.enter_context, temporary_folder())
        async with (
            new_client() as client,
            SdkPool(client.settings, folder, size=min(SDK_PROCESSES, output.options.concurrency)) as pool,
        ):
            return await _Pull(client, selection, output, pool=pool, notes=notes).run()


def _disk_errors(output: Output) -> AbstractContextManager[None]:
    """Raise what the system refuses while files arrive, in whichever module, as an error of this package."""
    return disk_errors(
        output.shown, hint="what arrived is kept: free some space and run the same command again"
    )


def pull_sync(
    selection: Selection,
    *,
    out: Path | str,
    options: PullOptions | None = None,
    settings: Settings | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
    announce: Announce | None = None,
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
            announce=announce,
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
    if options.console:
        plan["console"] = True
    if options.artifacts is not None:
        plan["artifacts"] = str(options.artifacts)
    if options.file_selection is not None:
        plan["files"] = options.file_selection.describe()
    return plan


def _missing_media(bundle: Path, options: PullOptions) -> str:
    """Return which of the selected media a new bundle lacks, and why; empty if it lacks none."""
    from pull_logs.snapshot import open_bundle
    from pull_logs.snapshot.read import missing_media

    files = options.file_selection
    if files is None or not files.media:
        return ""
    with open_bundle(bundle) as opened:
        return "; ".join(missing_media((run.media() for run in opened.runs()), files))


class _Pull:
    """One attempt at a pull, with this package's queries or with the processes of the SDK."""

    def __init__(
        self,
        client: Client,
        selection: Selection,
        output: Output,
        *,
        may_use_sdk: bool = False,
        pool: SdkPool | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self._may_use_sdk, self._pool, self._given_notes = may_use_sdk, pool, notes
        self._client = client
        self._selection = selection
        self._output = output
        self._options = output.options
        self._plan = _plan(selection, client.settings, output.options)
        self._listed = False
        self._capabilities = Capabilities()
        self._outcomes = Outcomes(client.meter)
        self._sweeps = SweepConfigs(client)
        self._file_counts = FileCounts()
        self._encoders = Encoders(processes=output.options.processes, metrics=output.options.metrics)

    async def run(self) -> PullReport:
        """Pull and seal.

        Raises:
            PullLogsError: See `pull`.
        """
        with self._encoders:
            seal = await self._pull_found()
        if seal is None:
            raise RunNotFoundError(
                "there is no run to pull", hint="check the project, the sweep and the filter"
            )
        missing = await run_sync(partial(_missing_media, self._output.target, self._options))
        return self._report(seal, missing)

    async def _pull_found(self) -> SealReport | None:
        """Pull the runs that are found, and seal them; None if there is nothing to seal."""
        send, receive = anyio.create_memory_object_stream[Item](2 * self._options.concurrency)
        seal: SealReport | None = None
        async with receive, anyio.create_task_group() as group:
            group.start_soon(self._discover, send)
            # Arrow takes about as long to import as a server to answer, so it is imported meanwhile.
            await run_sync(import_module, _WORKER)
            if self._pool is not None:
                from pull_logs.fetch.sdk import SdkSweepConfigs

                self._sweeps = SdkSweepConfigs(self._client, self._pool)
            # The spool is created when the first run is found: a misspelt project leaves nothing.
            first: Item | None = None
            with suppress(anyio.EndOfStream):
                first = await receive.receive()
            if first is not None or (self._listed and self._options.previous is not None):
                seal = await self._pull(first, receive)
        return seal

    async def _discover(self, send: MemoryObjectSendStream[Item]) -> None:
        previous, known = self._options.previous, frozenset[SweepPath]()
        if previous is not None and self._selection.sweeps:
            known = await run_sync(sweeps_in, previous)
        async with send:
            await self._find(self._selection, send, known_sweeps=known)
            self._listed = True

    async def _find(
        self,
        selection: Selection,
        send: MemoryObjectSendStream[Item],
        *,
        known_sweeps: Collection[SweepPath] = (),
    ) -> None:
        groups = RunGroups(self._capabilities, send.send)
        if self._pool is not None:
            await find_runs_with_sdk(
                self._pool, self._client, selection, emit=groups.add, known_sweeps=known_sweeps
            )
            await groups.flush()
            return

        async def add(item: FoundRun | MissedRun) -> None:
            if isinstance(item, FoundRun) and self._options.previous is None:
                self._encoders.expect(len(item.exports.urls) if item.exports else 0)
            await groups.add(item)

        await find_runs(
            self._client,
            selection,
            capabilities=self._capabilities,
            emit=add,
            known_sweeps=known_sweeps,
        )
        await groups.flush()

    async def _pull(self, first: Item | None, receive: MemoryObjectReceiveStream[Item]) -> SealReport:
        from pull_logs.fetch.resume import EarlierBundles, note_sealed, open_spool
        from pull_logs.fetch.worker import Worker

        options, plan, target = self._options, self._plan, self._output.target
        spool = await run_sync(partial(open_spool, target, plan=plan, fresh=options.fresh))
        with spool:
            with ExitStack() as stack:
                stack.callback(self._encoders.stop)
                open_earlier = partial(EarlierBundles, spool, previous=options.previous, stack=stack)
                earlier = await run_sync(partial(open_earlier, reuse=options.reuse))
                worker = Worker(
                    self._context(spool),
                    earlier,
                    self._sweeps,
                    self._outcomes,
                    prune=options.prune,
                    sdk=self._source(),
                )
                await self._work(worker, receive, first)
                await worker.copy([path for path in options.untouched if path not in self._outcomes])
                await self._look_up(worker, earlier.paths | spool.stored.keys())
            if not spool.stored:
                self._outcomes.raise_failure()
            seal = await run_sync(partial(spool.seal, metrics=options.metrics or None))
        if any(not outcome.complete and outcome.how not in ("kept", "gone") for outcome in self._outcomes):
            await run_sync(partial(note_sealed, target, plan=plan, bundle_id=seal.bundle_id))
        return seal

    def _source(self) -> SdkSource | None:
        """Return the SDK as the source of the runs; None where this package's queries are."""
        if self._pool is None:
            return None
        from importlib.metadata import version

        from pull_logs.fetch.sdk import SdkSource

        return SdkSource(self._pool, version("wandb"))

    async def _work(
        self, worker: Worker, receive: MemoryObjectReceiveStream[Item], first: Item | None = None
    ) -> None:
        """Process runs concurrently until the stream ends."""
        async with anyio.create_task_group() as group:
            for number in range(self._options.concurrency):
                group.start_soon(worker.run, receive, None if number else first)

    async def _look_up(self, worker: Worker, known: Collection[RunPath]) -> None:
        """Process the runs of an earlier bundle or attempt that were not listed.

        They are requested by name, because a run that is not listed may still exist: the filter may not keep
        it any more.
        """
        paths = sorted(path for path in known if path not in self._outcomes)
        if not paths:
            return
        references = [RunReference(path.run_id, project=path.project, entity=path.entity) for path in paths]
        send, receive = anyio.create_memory_object_stream[Item](2 * self._options.concurrency)
        selection = Selection(runs=tuple(references))

        async def discover() -> None:
            async with send:
                await self._find(selection, send)

        async with receive, anyio.create_task_group() as group:
            group.start_soon(discover)
            await self._work(worker, receive)

    def _context(self, spool: Spool) -> PullContext:
        from pull_logs.fetch.context import PullContext, cpu_limiter

        options = self._options
        return PullContext(
            client=self._client,
            spool=spool,
            threads=cpu_limiter(),
            encoders=self._encoders,
            downloads=anyio.Semaphore(options.concurrency),
            capabilities=self._capabilities,
            metrics=options.metric_pattern,
            system=options.system,
            console=options.console,
            files=options.file_selection,
            file_counts=self._file_counts,
            artifacts=options.artifact_selection,
            asks_for_artifacts=options.artifacts is not None,
            may_use_sdk=self._may_use_sdk,
        )

    def _report(self, seal: SealReport, missing: str) -> PullReport:
        meter = self._client.meter
        return PullReport(
            out=self._output.shown,
            seal=replace(seal, path=self._output.shown),
            runs=tuple(self._outcomes),
            pruned=self._outcomes.pruned,
            requests=meter.requests,
            graphql_requests=meter.graphql_requests,
            throttled=meter.throttled,
            retries=meter.retries,
            bytes_received=meter.bytes_received,
            rows_received=meter.rows,
            seconds=meter.seconds,
            notes=(*self._notes(), *([missing] if missing else [])),
            via="graphql" if self._pool is None else "sdk",
        )

    def _notes(self) -> tuple[str, ...]:
        options = self._options
        # Of what a bundle merely keeps, nothing is missing where a run has none.
        files = options.file_selection if options.files or options.media else None
        sweeps = [
            f"the config of sweep {sweep} could not be downloaded: {reason}"
            for sweep, reason in sorted(self._sweeps.lost.items())
        ]
        return (*self._given_notes, *sweeps, *([] if files is None else self._file_counts.notes(files)))
