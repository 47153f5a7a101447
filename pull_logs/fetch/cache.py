"""The local cache for views of single runs: one bundle per run, downloaded again only when the run changed.

    CACHE/wandb-pull-logs/runs/ACCOUNT/entity=E/project=P/run=ID.wandb.zip

ACCOUNT is a hash of the API's host and the key, so that accounts do not see each other's runs. Before
cached runs are used, their current facts are requested, for all of them together. A run whose facts
are unchanged, including every key of its config and summary, causes no further request. Of a run
that changed, only what is new is requested (see `history.refresh`). Offline, nothing is requested.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import anyio
from anyio.to_thread import run_sync

from pull_logs.errors import DamageError, FileMissingError, MachineLimitError, RunNotFoundError, UsageError
from pull_logs.fetch.api import Capabilities, Client, RetryPolicy, Settings, load_settings
from pull_logs.fetch.cache_folder import default_folder, using_cache
from pull_logs.fetch.concurrency import flat_errors, for_each, run_async
from pull_logs.fetch.context import PullContext, cpu_limiter
from pull_logs.fetch.decoding import Encoders
from pull_logs.fetch.discovery import FoundRun, MissedRun, find_runs
from pull_logs.fetch.history import fetch_run, is_current
from pull_logs.fetch.progress import ProgressHook
from pull_logs.fetch.selection import Selection
from pull_logs.runs import RunPath, RunReference
from pull_logs.snapshot import Bundle, Run, Spool, make_folder, open_bundle, temporary_folder
from pull_logs.suggestions import listed

if TYPE_CHECKING:
    import httpx

_CONCURRENT_RUNS = 8


def open_cached(
    selection: Selection,
    *,
    stack: ExitStack,
    refresh: bool = False,
    offline: bool = False,
    settings: Settings | None = None,
    folder: Path | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    progress: ProgressHook | None = None,
    policy: RetryPolicy | None = None,
    report: Callable[[str], None] | None = None,
) -> list[Run]:
    """Open the current state of the runs of a selection, from the cache where they are unchanged.

    It also works inside a running event loop. If the cache cannot be written, what is downloaded is kept in
    a temporary folder until `stack` is closed.

    Args:
        selection: The runs.
        stack: Closes the bundles of the runs.
        refresh: Whether to download all runs again, completely, even if they are cached.
        offline: Whether to use only cached runs, without any request.
        settings: The address of the API and the credentials; found as the SDK finds them if None.
        folder: The folder of the cache; that of the user if None.
        transport: Replaces the network.
        progress: Receives the progress of the downloads.
        policy: How often and how long a failed request is sent again.
        report: Called with a sentence if the cache cannot be written.

    Returns:
        A run for each of `selection.runs`, in order, then those of its projects and sweeps in path order.

    Raises:
        UsageError: Both `refresh` and `offline` are set, or `offline` is set for a project.
        RunNotFoundError: A run does not exist, or is not cached when offline.
        AccessError: A request failed.
        MachineLimitError: Neither the cache nor the temporary folder can be written.
    """
    if refresh and offline:
        raise UsageError("refresh needs W&B and offline excludes it", hint="omit one of them")
    if folder is None:
        folder = default_folder()
    cache = Cache(folder, settings or load_settings(), spare=_SpareFolder(stack, report or (lambda _: None)))
    stack.enter_context(using_cache(folder))
    if offline:
        paths = cache.find_all(selection)
    else:
        client = partial(Client, cache.settings, transport=transport, policy=policy, progress=progress)
        paths = run_async(partial(_update, cache, selection, client, refresh=refresh))
    return [next(stack.enter_context(cache.open(path)).runs()) for path in paths]


class _SpareFolder:
    """A temporary folder for what the cache cannot take, created when it is needed.

    Attributes:
        path: The folder; None until it is created.
    """

    def __init__(self, stack: ExitStack, report: Callable[[str], None]) -> None:
        self.path: Path | None = None
        self._stack, self._report = stack, report
        self._lock = Lock()

    def create(self, failure: MachineLimitError) -> Path:
        """Return the folder; the failure of the cache is reported once.

        Raises:
            MachineLimitError: It cannot be created.
        """
        with self._lock:
            if self.path is None:
                try:
                    self.path = self._stack.enter_context(temporary_folder())
                except OSError as exc:
                    raise failure from exc
                self._report(f"{failure.message}; continuing without a cache")
            return self.path


class Cache:
    """The cached runs of one account.

    Attributes:
        settings: The settings of the account.
    """

    def __init__(self, folder: Path, settings: Settings, *, spare: _SpareFolder | None = None) -> None:
        """Describe a cache, without creating it.

        Args:
            folder: The folder of all caches.
            settings: The settings of the account.
            spare: For the runs that the cache cannot take; None makes that an error.
        """
        self.settings = settings
        self._spare = spare
        user = settings.api_key or str(settings.identity_token_file or "")
        account = f"{settings.host}\n{hashlib.sha256(user.encode()).hexdigest()}"
        self._root = folder
        self._folder = folder / "runs" / hashlib.sha256(account.encode()).hexdigest()[:24]

    def prepare(self) -> Path:
        """Create the folder, readable only for its owner.

        Raises:
            MachineLimitError: It cannot be created.
        """
        try:
            for folder in (self._root, self._folder.parent, self._folder):
                make_folder(folder, mode=0o700)
                folder.chmod(0o700)
        except OSError as exc:
            raise self.failure(exc) from exc
        return self._folder

    def failure(self, exc: OSError) -> MachineLimitError:
        """Return the error of a cache that cannot be written."""
        return MachineLimitError(
            f"the cache {str(self._root)!r} cannot be used: {exc.strerror}",
            hint="set XDG_CACHE_HOME to a folder that can be written to",
        )

    def use_spare(self, failure: MachineLimitError) -> Path:
        """Return the temporary folder, which is used instead of the cache from now on."""
        if self._spare is None:
            raise failure
        return self._spare.create(failure)

    def file(self, path: RunPath) -> Path:
        """Return the path at which a run is cached, or would be."""
        spare = self._spare.path if self._spare else None
        if spare is not None and (file := _file_in(spare, path)).exists():
            return file
        return _file_in(self._folder, path)

    def open(self, path: RunPath) -> Bundle:
        """Open the bundle of a cached run.

        Raises:
            FileMissingError: The run is not cached.
            DamageError: The bundle is damaged.
        """
        return open_bundle(self.file(path))

    def has(self, found: FoundRun) -> bool:
        """Return whether the current state of a run is cached. It reads files: call it in a worker thread."""
        try:
            with self.open(found.path) as bundle:
                run = next(bundle.runs())
                return is_current(found, run.info, run.coverage)
        except (FileMissingError, DamageError, MachineLimitError):
            return False

    def find_all(self, selection: Selection) -> list[RunPath]:
        """Return the paths of the cached runs that were named.

        Raises:
            UsageError: A project or sweep was named, whose runs are not known offline.
            RunNotFoundError: A run is not cached.
        """
        listings = [*selection.projects, *selection.sweeps]
        if listings:
            raise UsageError(
                f"the runs of {listings[0]!r} cannot be listed offline",
                hint="`pull-logs fetch` makes a bundle of them",
            )
        return [self._find(reference) for reference in selection.runs]

    def _find(self, reference: RunReference) -> RunPath:
        self.settings.check_reference(reference)
        wanted = RunReference(
            reference.run_id,
            project=reference.project or self.settings.project,
            entity=reference.entity or self.settings.entity,
        )
        found = [path for path in self._paths() if wanted.matches(path)]
        if len(found) == 1:
            return found[0]
        if found:
            raise RunNotFoundError(
                f"{str(reference)!r} fits several cached runs: {listed([str(path) for path in found])}",
                hint="write its full path",
            )
        raise RunNotFoundError(
            f"run {str(wanted)!r} is not in the cache", hint="show it once without --offline"
        )

    def _paths(self) -> Iterator[RunPath]:
        for file in sorted(self._folder.glob("entity=*/project=*/run=*.wandb.zip")):
            names = (file.parent.parent.name, file.parent.name, file.name.removesuffix(".wandb.zip"))
            entity, project, run_id = (unquote(name.partition("=")[2]) for name in names)
            yield RunPath(entity, project, run_id)


def _file_in(folder: Path, path: RunPath) -> Path:
    entity, project, run_id = (quote(part, safe="") for part in (path.entity, path.project, path.run_id))
    return folder / f"entity={entity}" / f"project={project}" / f"run={run_id}.wandb.zip"


async def _update(
    cache: Cache, selection: Selection, client_factory: Callable[[], Client], *, refresh: bool
) -> list[RunPath]:
    """Update the cached runs of a selection and return their paths, in the order of `open_cached`."""
    found: dict[RunPath, FoundRun] = {}
    capabilities = Capabilities()

    async def collect(item: FoundRun | MissedRun) -> None:
        if isinstance(item, MissedRun):
            raise item.error
        found[item.path] = item

    with flat_errors():
        async with client_factory() as client:
            named = await find_runs(client, selection, capabilities=capabilities, emit=collect)
            stale = list(found.values())
            if not refresh:
                stale = [item for item in stale if not await run_sync(cache.has, item)]
            updater = _Updater(
                cache=cache,
                client=client,
                threads=cpu_limiter(),
                capabilities=capabilities,
                use_cached=not refresh,
            )
            await for_each(stale, updater.update, workers=_CONCURRENT_RUNS)
    rest = sorted(found.keys() - set(named))
    return [path for path in named if path in found] + rest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Updater:
    """Updates cached runs; other processes may do the same at the same time.

    Attributes:
        use_cached: Whether only what is new in a cached run is downloaded.
    """

    cache: Cache
    client: Client
    threads: anyio.CapacityLimiter
    capabilities: Capabilities
    use_cached: bool

    async def update(self, found: FoundRun) -> None:
        """Store the current state of a run in the cache, or in the spare folder if the cache refuses it."""
        try:
            try:
                await self._store(found, await run_sync(self.cache.prepare))
            except OSError as exc:
                raise self.cache.failure(exc) from exc
        except MachineLimitError as exc:
            await self._store(found, await run_sync(self.cache.use_spare, exc))
        self.client.meter.finish_run()

    async def _store(self, found: FoundRun, cache: Path) -> None:
        with ExitStack() as stack:
            folder = await run_sync(stack.enter_context, temporary_folder(cache))
            out = _file_in(cache, found.path)
            await run_sync(partial(make_folder, out.parent, mode=0o700))
            # Others may download the same run: each has a spool of its own, and the last one's bundle stays.
            opened = partial(Spool.open, out, plan={}, folder=folder / "spool")
            spool = stack.enter_context(await run_sync(opened))
            await self._pull(found, spool)
            await run_sync(spool.seal)

    async def _pull(self, found: FoundRun, spool: Spool) -> None:
        with ExitStack() as stack:
            context = PullContext(
                client=self.client,
                spool=spool,
                threads=self.threads,
                encoders=Encoders(processes=1, metrics=None),
                downloads=anyio.Semaphore(_CONCURRENT_RUNS),
                capabilities=self.capabilities,
            )
            await fetch_run(context, found, await run_sync(self._cached, found, stack))

    def _cached(self, found: FoundRun, stack: ExitStack) -> Run | None:
        if self.use_cached:
            with suppress(FileMissingError, DamageError, MachineLimitError):
                return next(stack.enter_context(self.cache.open(found.path)).runs())
        return None
