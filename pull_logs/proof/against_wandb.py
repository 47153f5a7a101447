"""Asks W&B again what it has of the runs of a bundle, and gives each run a verdict.

Everything but the rows is counted and listed, ten runs in one query. The rows, the system metrics and the
console lines are downloaded again into a temporary bundle and compared, because no count shows a value that
changed. After that W&B is asked once more, so that a run that was resumed meanwhile is not safe, and the
artifacts are listed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pull_logs.errors import (
    AccessError,
    DataError,
    IncompleteError,
    NotFoundError,
    PullLogsError,
    RunNotFoundError,
)
from pull_logs.fetch import (
    Client,
    Clock,
    PullOptions,
    PullReport,
    RemoteRun,
    RetryPolicy,
    Selection,
    Settings,
    load_settings,
    pull,
    read_inventories,
    run_async,
)
from pull_logs.fetch.api import affects_all_runs, host_of
from pull_logs.proof.foreign import foreign
from pull_logs.proof.parts import QUICK, Comparison, compare_parts
from pull_logs.proof.verdicts import BundleProof, RunProof
from pull_logs.runs import LIVE_STATES, STATES, RunPath, RunReference
from pull_logs.snapshot import Bundle, Run, open_bundle, temporary_folder

if TYPE_CHECKING:
    import httpx

    from pull_logs.fetch import PullProgress

    Inventories = Mapping[RunPath, RemoteRun | PullLogsError]
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOptions:
    """How W&B is asked.

    Attributes:
        settings: The address of the API and the credentials; found as the SDK finds them if None.
        concurrency: The maximum number of requests in flight, for GraphQL and storage each.
        policy: How often and how long a failed request is sent again.
        transport: Replaces the network, for tests and for replay in one process.
        clock: The source of time.
        progress: Receives the progress of the download of the rows.
    """

    settings: Settings | None = None
    concurrency: int = 32
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    transport: httpx.AsyncBaseTransport | None = None
    clock: Clock | None = None
    progress: Callable[[PullProgress], None] | None = None


def prove_against_wandb(
    path: str | os.PathLike[str], *, compare_rows: bool = True, options: AskOptions | None = None
) -> BundleProof:
    """Compare the runs of a bundle with W&B, and give each a verdict.

    The hashes in the manifest are trusted: check the bundle with `verify_bundle` first.

    Args:
        path: The bundle: a path or a URL.
        compare_rows: Whether the rows are read again and compared; without that, no run that has rows is
            safe.
        options: How W&B is asked.

    Raises:
        SignInError: There is no key, or W&B refused it.
        NetworkError: W&B could not be reached.
        BundleDamagedError: The bundle is damaged.
    """
    options = options or AskOptions()
    settings = options.settings or load_settings()
    with ExitStack() as stack:
        bundle = stack.enter_context(open_bundle(path))
        own = [run.path for run in bundle.runs() if not foreign(run, settings)]
        found, requests = run_async(partial(_ask, own, settings, options))
        again: _Again = _Again(reason=f"its rows {QUICK}")
        if compare_rows:
            idle = [path for path in own if _is_idle(found[path])]
            again = stack.enter_context(_download(idle, settings, options))
            if again.report is not None:
                requests += again.report.requests
                found, more = run_async(partial(_ask, own, settings, options, with_artifacts=True))
                requests += more
        runs = [_judge(run, settings, found.get(run.path), again) for run in bundle.runs()]
        return BundleProof(
            path=str(bundle.path),
            bundle_id=bundle.bundle_id,
            host=settings.host,
            runs=runs,
            requests=requests,
            compared=compare_rows,
        )


async def _ask(
    paths: Sequence[RunPath], settings: Settings, options: AskOptions, *, with_artifacts: bool = False
) -> tuple[Inventories, int]:
    """Return what W&B has of runs, and how many requests that took."""
    if not paths:
        return {}, 0
    async with Client(
        settings,
        transport=options.transport,
        concurrency=options.concurrency,
        policy=options.policy,
        clock=options.clock,
    ) as client:
        found = await read_inventories(client, paths, with_artifacts=with_artifacts)
        return found, client.meter.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class _Again:
    """The runs that were downloaded again.

    Attributes:
        bundle: The temporary bundle of them; None if there is none.
        report: The report of the download.
        reason: Why the runs could not be downloaded.
    """

    bundle: Bundle | None = None
    report: PullReport | None = None
    reason: str = ""

    def run(self, path: RunPath) -> tuple[Run | None, str]:
        """Return a run, and why it was not downloaded completely; empty if it was."""
        if self.report is None:
            return None, self.reason
        outcome = next((outcome for outcome in self.report.runs if outcome.path == path), None)
        if outcome is None or self.bundle is None:
            return None, "its rows were not read again"
        run = self.bundle.get(str(path)) if outcome.sealed else None
        if run is None or not outcome.complete or not run.complete:
            return run, f"its rows could not be read again: {outcome.reason}"
        return run, ""


@contextmanager
def _download(paths: Sequence[RunPath], settings: Settings, options: AskOptions) -> Iterator[_Again]:
    """Download the rows, system metrics and console lines of runs again, for the duration of a block."""
    if not paths:
        yield _Again(reason="its rows were not read again")
        return
    references = tuple(RunReference(path.run_id, path.project, path.entity) for path in paths)
    with temporary_folder() as folder:
        out = folder / "again.wandb.zip"
        work = partial(
            pull,
            Selection(runs=references),
            out=out,
            options=PullOptions(
                system=True, console=True, concurrency=options.concurrency, policy=options.policy
            ),
            settings=settings,
            transport=options.transport,
            clock=options.clock,
            progress=options.progress,
        )
        try:
            report = run_async(work)
        except (AccessError, DataError, IncompleteError, NotFoundError) as exc:
            if affects_all_runs(exc, api_host=host_of(settings.base_url)):
                raise
            yield _Again(reason=f"its rows could not be read again: {exc.message}")
            return
        with open_bundle(out) as bundle:
            yield _Again(bundle=bundle, report=report)


def _is_idle(found: RemoteRun | PullLogsError) -> bool:
    """Return whether a run may be safe: W&B has it, and it does not log any more."""
    return isinstance(found, RemoteRun) and found.found.info.state not in LIVE_STATES


def _judge(run: Run, settings: Settings, found: RemoteRun | PullLogsError | None, again: _Again) -> RunProof:
    """Return the verdict about a run."""
    obstacles = list(_obstacles(run, settings))
    if isinstance(found, RunNotFoundError):
        return RunProof(path=run.path, gone=True)
    if not isinstance(found, RemoteRun):
        if found is not None:
            obstacles.append(f"it could not be requested: {found.message}")
        return RunProof(path=run.path, obstacles=obstacles)
    info = found.found.info
    if info.state in LIVE_STATES:
        obstacles.append(f"W&B has it as {info.state}, so it may still log")
    elif info.state not in STATES:
        obstacles.append(f"W&B has it in the state {info.state!r}, which is not known")
    fresh, why_not = again.run(run.path)
    comparison = Comparison(run=run, remote=found, again=fresh, why_not=why_not)
    return RunProof(
        path=run.path,
        obstacles=obstacles,
        parts=tuple(compare_parts(comparison)),
        state=info.state,
        heartbeat_at=info.heartbeat_at,
    )


def _obstacles(run: Run, settings: Settings) -> Iterator[str]:
    """Yield what makes a run not safe whatever W&B has."""
    if why := foreign(run, settings):
        yield why
    if not run.complete:
        yield f"it is incomplete in the bundle: {run.coverage.reason}"
    if run.bundle_metrics is not None:
        yield f"the bundle keeps only the metrics that match {run.bundle_metrics!r}"
    if run.bundle_redacted:
        yield "something was removed from the bundle"
