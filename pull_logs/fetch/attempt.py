"""One attempt at a pull.

The data flow: discovery, a bounded stream, workers, decoding in threads and processes, the spool, the seal.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.to_thread import run_sync

from pull_logs.errors import RunNotFoundError
from pull_logs.fetch.api import Capabilities, Client, Settings
from pull_logs.fetch.decoding import Encoders
from pull_logs.fetch.discovery import (
    EarlyFiles,
    FoundRun,
    Item,
    MissedRun,
    RunGroups,
    SweepConfigs,
    find_runs,
)
from pull_logs.fetch.earlier import ArchivedRuns
from pull_logs.fetch.existing import Output, SweepPath, sweeps_in
from pull_logs.fetch.options import PullOptions
from pull_logs.fetch.outcomes import FileCounts, Outcomes
from pull_logs.fetch.reports import ChangesReport
from pull_logs.fetch.selection import Selection
from pull_logs.runs import RunPath, RunReference
from pull_logs.snapshot.write import spool_path

if TYPE_CHECKING:
    from pull_logs.fetch.context import PullContext
    from pull_logs.fetch.sdk import SdkPool, SdkSource
    from pull_logs.fetch.worker import Worker
    from pull_logs.snapshot import Run, SealReport, Spool

PART_BYTES = 256 * 2**20
"""About how large a bundle of the changes since an archive was written is."""

_EARLY_FILES = 12
"""The most files whose download begins early: where the network takes no time, more delay the imports."""

_WORKER = "pull_logs.fetch.worker"
"""The module that decodes and stores; it imports numpy and pyarrow."""

_SEAL = "pull_logs.snapshot.write.seal"
"""The module that makes a bundle of what was stored; it imports what reads and verifies bundles."""


def _plan(selection: Selection, settings: Settings, options: PullOptions) -> dict[str, Any]:
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


class Attempt:
    """One attempt at a pull, with this package's queries or with the processes of the SDK."""

    def __init__(
        self,
        client: Client,
        *,
        selection: Selection,
        output: Output,
        archived: ArchivedRuns | None = None,
        size: int = PART_BYTES,
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
        self._archived, self._size = archived, size
        self._listed = False
        self._capabilities = Capabilities()
        self._outcomes = Outcomes(client.meter)
        self._sweeps = SweepConfigs(client)
        self._file_counts = FileCounts()
        self._encoders = Encoders(processes=output.options.processes, metrics=output.options.metrics)
        early = min(_EARLY_FILES, output.options.concurrency)
        self._early_files = EarlyFiles(client, folder=output.target.parent, most=early)

    async def run(self) -> ChangesReport:
        """Pull and seal.

        Raises:
            PullLogsError: See `pull`.
        """
        with self._encoders, self._early_files:
            if await run_sync(self._may_have_rows):
                self._early_files.stop()
            bundles = await self._pull_found()
        if bundles is None:
            raise RunNotFoundError(
                "there is no run to pull", hint="check the project, the sweep and the filter"
            )
        missing = [await run_sync(_missing_media, bundle.path, self._options) for bundle in bundles]
        return self._report(bundles, [one for one in missing if one])

    async def _pull_found(self) -> tuple[SealReport, ...] | None:
        """Pull the runs that are found, and seal them; None if there are no runs."""
        send, receive = anyio.create_memory_object_stream[Item](2 * self._options.concurrency)
        bundles: tuple[SealReport, ...] | None = None
        async with receive, anyio.create_task_group() as group:
            group.start_soon(self._discover, send, group)
            # Arrow takes about as long to import as a server to answer, so it is imported meanwhile.
            await run_sync(import_module, _WORKER)
            self._early_files.stop()
            group.start_soon(partial(run_sync, import_module, _SEAL))
            if self._pool is not None:
                from pull_logs.fetch.sdk import SdkSweepConfigs

                self._sweeps = SdkSweepConfigs(self._client, self._pool)
            # The spool is created when the first run is found: a misspelt project leaves nothing.
            first: Item | None = None
            with suppress(anyio.EndOfStream):
                first = await receive.receive()
            if first is not None or (self._listed and self._has_earlier):
                bundles = await self._pull(first, receive)
        return bundles

    @property
    def _has_earlier(self) -> bool:
        """Whether there are runs of an earlier bundle, or of an archive."""
        return self._options.previous is not None or bool(self._archived and self._archived.paths)

    def _may_have_rows(self) -> bool:
        """Whether rows of the runs may be there already, so that not every file has to be downloaded."""
        return self._has_earlier or (not self._options.fresh and spool_path(self._output.target).exists())

    async def _discover(self, send: MemoryObjectSendStream[Item], group: TaskGroup) -> None:
        previous, known = self._options.previous, frozenset[SweepPath]()
        if previous is not None and self._selection.sweeps:
            known = await run_sync(sweeps_in, previous)
        async with send:
            await self._find(self._selection, send, group, known_sweeps=known)
            self._listed = True

    async def _find(
        self,
        selection: Selection,
        send: MemoryObjectSendStream[Item],
        group: TaskGroup,
        *,
        known_sweeps: Collection[SweepPath] = (),
    ) -> None:
        groups = RunGroups(self._capabilities, send.send)
        if self._pool is not None:
            from pull_logs.fetch.sdk import find_runs_with_sdk

            await find_runs_with_sdk(
                self._pool, self._client, selection, emit=groups.add, known_sweeps=known_sweeps
            )
            await groups.flush()
            return

        async def add(item: FoundRun | MissedRun) -> None:
            if isinstance(item, FoundRun) and not self._has_earlier:
                # The runs of a project are alike: the first one shows whether there will be many files.
                files = len(item.exports.urls) if item.exports else 0
                self._encoders.expect(files * (self._client.meter.runs_total or 1))
                self._early_files.begin(item, group)
            await groups.add(item)

        await find_runs(
            self._client,
            selection,
            capabilities=self._capabilities,
            emit=add,
            known_sweeps=known_sweeps,
        )
        await groups.flush()

    async def _pull(
        self, first: Item | None, receive: MemoryObjectReceiveStream[Item]
    ) -> tuple[SealReport, ...]:
        from pull_logs.fetch.earlier import EarlierBundles, note_sealed, open_spool
        from pull_logs.fetch.worker import Worker

        options, plan, target = self._options, self._plan, self._output.target
        only_changes = self._archived is not None
        spool = await run_sync(
            partial(open_spool, target, plan=plan, fresh=options.fresh, replace=only_changes)
        )
        with spool:
            with ExitStack() as stack:
                stack.callback(self._encoders.stop)
                open_earlier = partial(
                    EarlierBundles,
                    spool,
                    previous=options.previous,
                    stack=stack,
                    archived=self._archived,
                    may_reuse=self._may_reuse,
                )
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
            if not spool.stored and not any(outcome.sealed for outcome in self._outcomes):
                self._outcomes.raise_failure()
            bundles = await run_sync(self._seal, spool)
        incomplete = (run for run in self._outcomes if not run.complete and run.how not in ("kept", "gone"))
        if not only_changes and any(incomplete):
            await run_sync(partial(note_sealed, target, plan=plan, bundle_id=bundles[0].bundle_id))
        return bundles

    def _seal(self, spool: Spool) -> tuple[SealReport, ...]:
        metrics = self._options.metrics or None
        if self._archived is None:
            return (spool.seal(metrics=metrics),)
        return spool.seal_parts(size=self._size, metrics=metrics)

    def _may_reuse(self, run: Run) -> bool:
        """Return whether an archived run has the metrics, and the kinds of data, that are pulled."""
        if self._archived is None:
            return True
        with_system = run.system_rows_hash is not None or not self._options.system
        return with_system and run.bundle_metrics == (self._options.metrics or None)

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
                await self._find(selection, send, group)

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
            early_files=self._early_files,
            capabilities=self._capabilities,
            metrics=options.metric_pattern,
            system=options.system,
            console=options.console,
            files=options.file_selection,
            file_counts=self._file_counts,
            artifacts=options.artifact_selection,
            asks_for_artifacts=options.artifacts is not None,
            may_use_sdk=self._may_use_sdk,
            only_changes=self._archived is not None,
        )

    def _report(self, bundles: tuple[SealReport, ...], missing: Sequence[str]) -> ChangesReport:
        meter = self._client.meter
        return ChangesReport(
            bundles=bundles,
            runs=tuple(self._outcomes),
            pruned=self._outcomes.pruned,
            requests=meter.requests,
            graphql_requests=meter.graphql_requests,
            throttled=meter.throttled,
            retries=meter.retries,
            bytes_received=meter.bytes_received,
            rows_received=meter.rows,
            seconds=meter.seconds,
            notes=(*self._notes(), *missing),
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
