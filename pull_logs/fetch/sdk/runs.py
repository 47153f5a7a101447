"""One run read by the SDK into the spool: the slow way, with the rows and facts of the ordinary one.

A run is complete by the rule of the ordinary way: the rows that arrived are compared with the number and
the last step that W&B reported just before the scan. Of system metrics W&B reports no number. The SDK gives
a sample of them, which is all of them if it has fewer rows than were asked for, and never complete otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from pull_logs.errors import BundleDamagedError, RunNotFoundError
from pull_logs.fetch.artifacts import FetchedArtifacts, artifacts_to_read, read_artifacts
from pull_logs.fetch.context import PullContext
from pull_logs.fetch.decoding import metric_filter
from pull_logs.fetch.discovery import FoundRun, read_node
from pull_logs.fetch.files import FetchedConsole, FetchedFiles, read_files
from pull_logs.fetch.history import (
    SYSTEM_SAMPLES,
    FetchedSystem,
    is_current,
    is_last_request,
    sampled_reason,
    usable_artifacts,
    usable_console,
    usable_files,
)
from pull_logs.fetch.outcomes import FetchedRun
from pull_logs.fetch.sdk.parts import SdkArtifacts, SdkFileReader, read_console_with_sdk
from pull_logs.fetch.sdk.process import BorrowedProcess, Line, SdkMissingError, SdkPool
from pull_logs.fetch.sdk.rows_file import batches_in, rows_in, scan_rows
from pull_logs.rows.batches import select_keys, system_batch_from_rows
from pull_logs.rows.merge import Lane, LanedBatch, merge_batches
from pull_logs.runs import Coverage, RunInfo
from pull_logs.snapshot import ArtifactSelection, Run
from pull_logs.snapshot.write import RunExtras

Rows = Callable[[], tuple[Iterable[pa.Table], Mapping[str, Any]]]
"""Returns the batches of a history and the summary, whose values point to files and artifacts."""

_ROWS, _EVENTS = "sdk-rows", "sdk-events"


@dataclass(frozen=True, slots=True)
class SdkSource:
    """The SDK as the source of a pull.

    Attributes:
        pool: Its processes.
        version: Its version.
    """

    pool: SdkPool
    version: str

    async def fetch(self, context: PullContext, found: FoundRun, earlier: Run | None) -> FetchedRun:
        """Store a run in the spool.

        Args:
            context: What the download needs.
            found: The run as it was listed.
            earlier: The run in an earlier bundle; it is copied if it is unchanged.

        Raises:
            RunNotFoundError: The run was deleted in the meantime.
            DataError: A row cannot be read or stored.
            AccessError: The SDK could not read the run.
        """
        note = ""
        if earlier is not None:
            try:
                info, coverage = await context.in_thread(lambda: (earlier.info, earlier.coverage))
                if is_current(with_internal_config(found, info), info, coverage):
                    return await self._copy(context, found, earlier)
            except BundleDamagedError:
                note = "the earlier bundle is damaged"
        async with self.pool.borrow() as process:
            try:
                coverage = await _SdkRun(context, found, earlier, process, self.version).read()
            except SdkMissingError as exc:
                raise RunNotFoundError(f"run {str(found.path)!r} was deleted while it was read") from exc
        return FetchedRun(coverage=coverage, how="complete", new_rows=coverage.received_rows, note=note)

    async def _copy(self, context: PullContext, found: FoundRun, earlier: Run) -> FetchedRun:
        """Copy an unchanged run, with what of it is selected and was not before.

        Raises:
            BundleDamagedError: The earlier bundle is damaged.
            AccessError: The SDK could not read the run.
        """
        files, console = context.files is not None, context.console and earlier.console is None
        if not (files or console or context.artifacts):
            return await context.copy(earlier)
        async with self.pool.borrow() as process:
            run = _SdkRun(context, found, earlier, process, self.version)

            def pointing() -> tuple[Iterable[pa.Table], Mapping[str, Any]]:
                return earlier.batches(columns=()), earlier.info.summary

            found_files = await run.read_files(pointing) if files else FetchedFiles()
            printed = await run.read_console() if console else FetchedConsole()
            versions = await run.update_artifacts(pointing)
        coverage = versions.apply_to(printed.apply_to(found_files.apply_to(earlier.coverage)))
        return await context.copy(
            earlier,
            coverage=coverage,
            files=found_files.sources if files else None,
            console=printed.source,
            artifacts=versions.source,
        )


def with_internal_config(found: FoundRun, earlier: RunInfo) -> FoundRun:
    """Return a listed run with the internal keys of its config, which the SDK drops in listings."""
    if found.info.config_internal:
        return found
    info = replace(found.info, config_internal=earlier.config_internal, parts=earlier.parts)
    return replace(found, info=info)


class _SdkRun:
    """Reads one run with a process of the SDK."""

    def __init__(
        self,
        context: PullContext,
        found: FoundRun,
        earlier: Run | None,
        process: BorrowedProcess,
        version: str,
    ) -> None:
        self._context, self._process, self._path = context, process, found.path
        self._sweep_config, self._earlier, self._version = found.info.sweep_config, earlier, version

    async def read(self) -> Coverage:
        context, path = self._context, self._path
        node = (await self._process.one("facts", path=str(path)))["node"]
        found = read_node(
            node,
            entity=path.entity,
            project=path.project,
            host=context.client.settings.host,
            now=context.client.clock.now(),
        )
        info = replace(found.info, sweep_config=self._sweep_config, via=f"sdk {self._version}")
        folder = await context.in_thread(partial(context.spool.files_folder, path))
        await self._read_rows(folder / _ROWS)
        rows = await context.in_thread(partial(scan_rows, folder / _ROWS))
        reason = found.promise.shortfall(rows=rows.count, last_step=rows.last_step)
        coverage = Coverage(
            promised_rows=found.promise.rows,
            promised_last_step=found.promise.last_step,
            received_rows=rows.count,
            received_last_step=rows.last_step,
            complete=not reason,
            reason=reason,
        )
        system = await self._read_system(folder / _EVENTS)

        def pointing() -> tuple[Iterable[pa.Table], Mapping[str, Any]]:
            return batches_in(folder / _ROWS), info.summary

        files, console = await self.read_files(pointing), await self.read_console()
        artifacts = await self.read_artifacts(pointing)
        coverage = system.apply_to(artifacts.apply_to(console.apply_to(files.apply_to(coverage))))
        batches = partial(self._batches, folder / _ROWS, ascending=rows.ascending)
        store = partial(
            context.spool.store_merged,
            info,
            coverage,
            batches,
            RunExtras(
                system=system.table,
                files=files.sources,
                console=console.source,
                artifacts=artifacts.source,
            ),
        )
        await context.in_thread(store)
        return coverage

    async def _read_rows(self, file: Path) -> None:
        meter = self._context.client.meter

        async def count(line: Line) -> None:
            meter.rows += line["rows"]
            meter.notify()

        await self._process.each(count, "rows", path=str(self._path), file=str(file))

    def _batches(self, file: Path, *, ascending: bool) -> Iterator[pa.Table]:
        """Yield the selected metrics of the rows, merged; only rows that ascend need little memory."""
        keep = metric_filter(self._context.metrics)
        batches = (batch if keep is None else select_keys(batch, keep) for batch in batches_in(file))
        yield from batches if ascending else merge_batches([LanedBatch(Lane.SHARD, one) for one in batches])

    async def _read_system(self, file: Path) -> FetchedSystem:
        """Read the system metrics, if they are selected."""
        context, samples = self._context, SYSTEM_SAMPLES
        if not context.system:
            return FetchedSystem()
        while True:
            line = await self._process.one("events", path=str(self._path), samples=samples, file=str(file))
            if is_last_request(line["rows"], samples=samples):
                break
            samples *= 10
        table = await context.in_thread(lambda: system_batch_from_rows(rows_in(file)))
        return FetchedSystem(table, sampled_reason(line["rows"], samples=samples))

    async def read_files(self, rows: Rows) -> FetchedFiles:
        """Read the selected files, and those that the earlier bundle has."""
        context, kept = self._context, None
        if self._earlier is not None:
            kept = await context.in_thread(partial(usable_files, self._earlier))
        reader = partial(SdkFileReader, process=self._process)
        return await read_files(context, self._path, earlier=kept, rows=rows, reader=reader)

    async def read_console(self) -> FetchedConsole:
        """Read the console log, if it is selected or the earlier bundle has it."""
        context, printed = self._context, None
        if self._earlier is not None:
            printed = await context.in_thread(partial(usable_console, self._earlier))
        return await read_console_with_sdk(context, self._path, self._process, earlier=printed)

    async def update_artifacts(self, rows: Rows) -> FetchedArtifacts:
        """Read the artifacts of an unchanged run, if the earlier bundle does not have them as they are."""
        earlier = None if self._earlier is None else self._earlier.artifacts
        source = SdkArtifacts(self._context, self._process)
        selection = await artifacts_to_read(self._context, self._path, earlier, source=source)
        return FetchedArtifacts() if selection is None else await self.read_artifacts(rows, selection)

    async def read_artifacts(
        self, rows: Rows, selection: ArtifactSelection | None = None
    ) -> FetchedArtifacts:
        """Read artifacts; those that are selected for the pull if None."""
        context, held = self._context, None
        if self._earlier is not None:
            held = await context.in_thread(partial(usable_artifacts, self._earlier))
        source = SdkArtifacts(context, self._process)
        return await read_artifacts(
            context, self._path, earlier=held, rows=rows, source=source, selection=selection
        )
