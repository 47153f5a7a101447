"""The local cache behind views of single runs: a bundle per run, asked for again only when it changed.

    CACHE/wandb-pull-logs/runs/WHO/entity=E/project=P/run=ID.wandb.zip

WHO is a hash of the API's host and the key, so that accounts do not see each other's
runs. Before a cached run is used, W&B is asked once for all runs together; where what it
says of a run is what it said when the run was cached, to the last key of its config and
summary, nothing else is asked. Of a run that changed only what is new is asked for (see
`refreshing`). Offline nothing is asked.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote

import anyio
import httpx
from anyio.to_thread import run_sync

from pull_logs.errors import DamageError, FileMissingError, RunNotFoundError, UsageError
from pull_logs.fetch.api import Client, Clock, RetryPolicy, Settings, load_settings
from pull_logs.fetch.concurrency import flat_errors, for_each, run_async
from pull_logs.fetch.context import Workshop
from pull_logs.fetch.discovery import Discovery, Found, Lessons, Missed
from pull_logs.fetch.history import bring, is_current
from pull_logs.fetch.progress import Meter, ProgressHook
from pull_logs.fetch.selection import Selection
from pull_logs.fetch.windows import WindowSize
from pull_logs.runs import RunPath, RunReference
from pull_logs.snapshot import Bundle, Run, Spool, open_bundle

_RUNS_AT_ONCE = 8


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
    concurrency: int = 32,
    policy: RetryPolicy | None = None,
) -> list[Run]:
    """The runs of a selection, from the cache where it has them as they are now.

    Works inside a running event loop too.

    Args:
        selection: Which runs.
        stack: Closes the runs' bundles.
        refresh: Whether to ask for all of them again, whole, whatever is cached.
        offline: Whether to ask nobody: only what is cached is there.
        settings: Which W&B, and as whom; found as the SDK finds them if None.
        folder: The cache; the user's own if None.
        transport: Replaces the network.
        progress: Told how it goes.
        concurrency: Most requests in flight.
        policy: How long to go on asking.

    Returns:
        A run for each of `selection.runs`, in order, then those of its projects and sweeps in path order.

    Raises:
        UsageError: `refresh` and `offline` were both asked for, or a project offline.
        RunNotFoundError: A run is not there, or not cached when offline.
        AccessError: W&B could not be asked.
    """
    if refresh and offline:
        raise UsageError("refresh asks W&B and offline asks nobody", hint="leave one of them out")
    cache = Cache(folder or default_folder(), settings or load_settings())
    paths = (
        cache.find_all(selection)
        if offline
        else run_async(
            partial(
                _update,
                cache,
                selection,
                refresh=refresh,
                transport=transport,
                meter_hook=progress,
                concurrency=concurrency,
                policy=policy,
            )
        )
    )
    return [next(stack.enter_context(cache.open(path)).runs()) for path in paths]


def default_folder() -> Path:
    """The user's own cache folder for this program."""
    from platformdirs import user_cache_path

    return user_cache_path("wandb-pull-logs", appauthor=False)


class Cache:
    """The cached runs of one account.

    Attributes:
        settings: Whose.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Name a cache; nothing is made yet.

        Args:
            folder: Where all caches are.
            settings: Whose it is.
        """
        self.settings = settings
        user = settings.api_key or str(settings.identity_token_file or "")
        account = f"{settings.host}\n{hashlib.sha256(user.encode()).hexdigest()}"
        self._root = folder
        self._folder = folder / "runs" / hashlib.sha256(account.encode()).hexdigest()[:24]

    def prepare(self) -> Path:
        """Make the folder, for its owner's eyes alone.

        Raises:
            FileMissingError: It cannot be made.
        """
        try:
            for folder in (self._root, self._folder.parent, self._folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
        except OSError as exc:
            raise FileMissingError(
                f"the cache {str(self._root)!r} cannot be used: {exc.strerror}",
                hint="set XDG_CACHE_HOME to a folder that can be written to",
            ) from exc
        return self._folder

    def file(self, path: RunPath) -> Path:
        """Where a run is cached, or would be."""
        entity, project, run_id = (quote(part, safe="") for part in (path.entity, path.project, path.run_id))
        return self._folder / f"entity={entity}" / f"project={project}" / f"run={run_id}.wandb.zip"

    def open(self, path: RunPath) -> Bundle:
        """The bundle of a cached run.

        Raises:
            FileMissingError: It is not cached.
            DamageError: It was damaged.
        """
        return open_bundle(self.file(path))

    def has(self, found: Found) -> bool:
        """Whether a run is cached as it is now. Reads files: call it in a worker thread."""
        try:
            with self.open(found.path) as bundle:
                run = next(bundle.runs())
                return is_current(found, run.info, run.coverage)
        except (FileMissingError, DamageError):
            return False

    def find_all(self, selection: Selection) -> list[RunPath]:
        """The cached runs that were named.

        Raises:
            UsageError: A project or sweep was named: what belongs to it is not known here.
            RunNotFoundError: One is not cached.
        """
        whole = [*selection.projects, *selection.sweeps]
        if whole:
            raise UsageError(
                f"the runs of {whole[0]!r} cannot be listed offline",
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
            several = ", ".join(map(str, found))
            raise RunNotFoundError(
                f"{str(reference)!r} fits several cached runs: {several}", hint="write its full path"
            )
        raise RunNotFoundError(
            f"run {str(wanted)!r} is not in the cache", hint="show it once without --offline"
        )

    def _paths(self) -> Iterator[RunPath]:
        for file in sorted(self._folder.glob("entity=*/project=*/run=*.wandb.zip")):
            names = (file.parent.parent.name, file.parent.name, file.name.removesuffix(".wandb.zip"))
            entity, project, run_id = (unquote(name.partition("=")[2]) for name in names)
            yield RunPath(entity, project, run_id)


async def _update(
    cache: Cache,
    selection: Selection,
    *,
    refresh: bool,
    transport: httpx.AsyncBaseTransport | None,
    meter_hook: ProgressHook | None,
    concurrency: int,
    policy: RetryPolicy | None,
) -> list[RunPath]:
    """Bring the cache up to date with the selection; the runs' paths, in the order they were named."""
    clock = Clock()
    meter = Meter(now=clock.now, hook=meter_hook)
    found: dict[RunPath, Found] = {}

    async def collect(item: Found | Missed) -> None:
        if isinstance(item, Missed):
            raise item.error
        found[item.path] = item

    with flat_errors():
        async with Client(
            cache.settings,
            transport=transport,
            concurrency=concurrency,
            policy=policy,
            clock=clock,
            meter=meter,
        ) as client:
            discovery = Discovery(client, selection, lessons=Lessons(), emit=collect)
            await discovery.run()
            await run_sync(cache.prepare)
            stale = list(found.values())
            if not refresh:
                stale = [item for item in stale if not await run_sync(cache.has, item)]
            filler = _Filler(
                cache=cache,
                client=client,
                threads=anyio.CapacityLimiter(os.cpu_count() or 1),
                lessons=Lessons(),
                anew=refresh,
            )
            await for_each(stale, filler.fill, workers=_RUNS_AT_ONCE)
    rest = sorted(found.keys() - set(discovery.named))
    return [path for path in discovery.named if path in found] + rest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filler:
    """Brings cached runs up to date; other processes may do the same at the same time.

    Attributes:
        anew: Whether to ask for them whole, whatever is cached.
    """

    cache: Cache
    client: Client
    threads: anyio.CapacityLimiter
    lessons: Lessons
    anew: bool

    async def fill(self, found: Found) -> None:
        """Put a run into the cache as it is now."""
        prefix = partial(tempfile.mkdtemp, prefix="new-", dir=self.cache.prepare())
        place = Path(await run_sync(prefix))
        try:
            sealed = await self._pull(found, place / "run.wandb.zip")
            await run_sync(_install, sealed, self.cache.file(found.path))
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(partial(shutil.rmtree, place, ignore_errors=True))
        self.client.meter.runs_done += 1
        self.client.meter.tell()

    async def _pull(self, found: Found, out: Path) -> Path:
        with ExitStack() as kept, await run_sync(partial(Spool.open, out, plan={})) as spool:
            shop = Workshop(
                client=self.client,
                spool=spool,
                threads=self.threads,
                hands=anyio.Semaphore(_RUNS_AT_ONCE),
                lessons=self.lessons,
                size=WindowSize(),
            )
            await bring(shop, found, await run_sync(self._earlier, found, kept))
            return (await run_sync(spool.seal)).path

    def _earlier(self, found: Found, kept: ExitStack) -> Run | None:
        if self.anew:
            return None
        with suppress(FileMissingError, DamageError):
            return next(kept.enter_context(self.cache.open(found.path)).runs())
        return None


def _install(sealed: Path, file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sealed.replace(file)
