"""The pull: discovery, then many runs concurrently, then one sealed bundle (see `attempt`).

A run that fails does not affect the others: its reason is reported, and they are sealed. If an earlier
bundle has the run, it is kept as it was. An error that would meet every run (the key is refused, the API
cannot be reached, the disk is full) ends the pull. If the pull ends before the bundle is sealed, the spool
remains and the same call continues from it. It also remains, as a note of what was sealed, where runs are
incomplete (see `resume`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from pull_logs.fetch.api import Client, Clock, Settings, UnknownFieldError, load_settings
from pull_logs.fetch.attempt import PART_BYTES, Attempt
from pull_logs.fetch.concurrency import flat_errors, run_async
from pull_logs.fetch.earlier import ArchivedRuns
from pull_logs.fetch.existing import Output, find_output
from pull_logs.fetch.options import PullOptions
from pull_logs.fetch.progress import ProgressHook
from pull_logs.fetch.reports import ChangesReport, PullReport
from pull_logs.fetch.selection import Selection
from pull_logs.snapshot import disk_errors

if TYPE_CHECKING:
    import httpx

Announce = Callable[[str], None]

SDK_PROCESSES = 4
"""The most processes of the SDK at a time."""


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
    new_client = _new_client(settings, options, transport=transport, progress=progress, clock=clock)
    attempt = partial(Attempt, selection=selection, output=output)
    done = await _pull(new_client, attempt, output, announce=announce, replaced=transport is not None)
    (seal,) = done.bundles
    report = PullReport.of(done, out=output.shown, seal=replace(seal, path=output.shown))
    if options.strict:
        report.require_complete()
    return report


async def pull_changes(
    selection: Selection,
    *,
    archived: ArchivedRuns,
    out: Path,
    options: PullOptions | None = None,
    settings: Settings | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
    announce: Announce | None = None,
    clock: Clock | None = None,
    size: int = PART_BYTES,
) -> ChangesReport:
    """Pull the runs that are new or have changed since an archive was written into bundles of their own.

    An archived run is compared as `pull` compares one of an earlier bundle, and of one that goes on only the
    new rows are requested. An archived run that W&B no longer has is in the bundles once: when it is marked
    with the last day on which W&B saw it. If the pull ends early, the same call continues.

    Args:
        selection: The runs to pull.
        archived: The runs that the archive has.
        out: The first bundle to write, in a folder that is for this archive and selection alone. Others have
            a number in their names.
        options: As for `pull`; what an earlier call with other options left is discarded.
        settings: As for `pull`.
        transport: As for `pull`.
        progress: As for `pull`.
        announce: As for `pull`.
        clock: As for `pull`.
        size: About how many bytes a bundle has.

    Raises:
        UsageError: The archived runs must not be brought up to date with these options.
        PullLogsError: As for `pull`.
    """
    settings, options = settings or load_settings(), options or PullOptions()
    await run_sync(archived.check, options, settings)
    if not options.system and await run_sync(archived.has_system_metrics):
        options = replace(options, system=True)
    output = Output(shown=out, target=out, options=options)
    new_client = _new_client(settings, options, transport=transport, progress=progress, clock=clock)
    attempt = partial(Attempt, selection=selection, output=output, archived=archived, size=size)
    return await _pull(new_client, attempt, output, announce=announce, replaced=transport is not None)


def _new_client(
    settings: Settings,
    options: PullOptions,
    *,
    transport: httpx.AsyncBaseTransport | None,
    progress: ProgressHook | None,
    clock: Clock | None,
) -> Callable[[], Client]:
    return partial(
        Client,
        settings,
        transport=transport,
        concurrency=options.concurrency,
        requests_per_minute=options.requests_per_minute,
        policy=options.policy,
        clock=clock,
        progress=progress,
    )


async def _pull(
    new_client: Callable[[], Client],
    attempt: Callable[..., Attempt],
    output: Output,
    *,
    announce: Announce | None,
    replaced: bool,
) -> ChangesReport:
    """Pull by the chosen way, and once more with the SDK if W&B does not know a field of a query."""
    via, notes = output.options.via, ("the runs were read with the W&B SDK",)
    if via != "sdk":
        may_use_sdk = via == "auto" and not replaced
        try:
            with _disk_errors(output), flat_errors():
                async with new_client() as client:
                    return await attempt(client, may_use_sdk=may_use_sdk).run()
        except UnknownFieldError as exc:
            if not may_use_sdk:
                raise
            notes = (f"W&B rejected a query, and the runs were read with the W&B SDK: {exc.message}",)
            if announce is not None:
                announce(
                    f"W&B rejected a query, so the W&B SDK reads the runs, which is slower: {exc.message}"
                    " (--via graphql forbids that)"
                )
    from pull_logs.fetch.sdk import SdkPool
    from pull_logs.snapshot import temporary_folder

    with _disk_errors(output), flat_errors(), ExitStack() as stack:
        folder = await run_sync(stack.enter_context, temporary_folder())
        async with (
            new_client() as client,
            SdkPool(client.settings, folder, size=min(SDK_PROCESSES, output.options.concurrency)) as pool,
        ):
            return await attempt(client, pool=pool, notes=notes).run()


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
