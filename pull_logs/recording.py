"""Recording: runs that a test requests and its bundle lacks are pulled into the bundle, once.

The replay server reports what a query names. Runs that are missing are pulled
from W&B completely, as `fetch` pulls them, and added. Existing runs are unchanged,
byte for byte. The next query, and every later session, is answered from the bundle.

The bundle is served from private copies, because Windows replaces no open file, and because queries under way
still read the earlier one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from filelock import FileLock

from pull_logs.errors import NotFoundError
from pull_logs.fetch import RunFilter, Selection, Settings, pull_sync, run_async
from pull_logs.fetch.api import Client
from pull_logs.replay.data import compile_filter
from pull_logs.replay.graphql import Listing, QueryTarget, Sweep
from pull_logs.runs import RunInfo, RunPath, RunReference
from pull_logs.snapshot import (
    Bundle,
    disk_errors,
    make_folder,
    merge_bundles,
    open_bundle,
    replace_file,
    temporary_folder,
)
from pull_logs.snapshot.write import check_bundle_output


class Recorder:
    """Adds requested runs to a bundle, unless it or another served bundle has them.

    Use it in a `with` block. Several processes may record into one bundle: they take turns, and each sees
    what the others have added.

    Args:
        into: The bundle to which runs are added; it need not exist.
        others: Bundles that are served together with it.
        settings: The address of the API and the credentials.
        requested: What was requested before, with the bundle. It is not requested again, and new requests
            are added to it.

    Attributes:
        bundles: The bundles to serve.
        added: The paths of the runs that were added.
    """

    def __init__(
        self,
        into: Path,
        others: Sequence[Path],
        *,
        settings: Settings,
        requested: set[tuple[Path, QueryTarget]],
    ) -> None:
        self._into, self._others = into, others
        self._settings = settings
        self._requested = requested
        self._stack = ExitStack()
        self._copies = Path()
        self._state: tuple[int, ...] | None = None
        self.bundles: tuple[Bundle, ...] = ()
        self.added: list[RunPath] = []

    def __enter__(self) -> Self:
        """Open the bundles that exist."""
        with ExitStack() as stack:
            self._stack = stack
            self._copies = stack.enter_context(temporary_folder())
            self._open()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every bundle that was served, and remove the copies."""
        self._stack.close()

    def entity(self) -> str | None:
        """Return the default entity for a server; None if a bundle has a run, whose entity is used then."""
        if any(len(bundle) for bundle in self.bundles):
            return None
        return self._settings.entity or run_async(partial(_default_entity, self._settings))

    def record(self, named: Collection[QueryTarget]) -> Sequence[Bundle] | None:
        """Pull what is neither in a bundle nor was requested before.

        Returns:
            The bundles to serve from now on; None if they did not change.

        Raises:
            PullLogsError: A request failed, or the bundle could not be written.
        """
        new = {one for one in named if (self._into, one) not in self._requested and not self._holds(one)}
        if not new:
            return None
        with _turn(self._into, "record"):
            before = self._state
            if _state_of(self._into) != before:
                self._open()
            for one in sorted(new, key=str):
                if not self._holds(one):
                    self._pull(_selection(one, self._holds))
                self._requested.add((self._into, one))
        return self.bundles if self._state != before else None

    def _holds(self, named: QueryTarget) -> bool:
        return isinstance(named, RunPath) and any(str(named) in bundle for bundle in self.bundles)

    def _pull(self, selection: Selection) -> None:
        """Pull runs into the bundle."""
        hint = "free some space and try again; nothing was changed"
        with disk_errors(self._into, hint=hint):
            make_folder(self._into.parent)
        target = check_bundle_output(self._into)
        with disk_errors(self._into, hint=hint), temporary_folder(self._into.parent) as folder:
            pulled = folder / "pulled.wandb.zip"
            try:
                report = pull_sync(selection, out=pulled, settings=self._settings)
            except NotFoundError:
                return  # the server reports that they do not exist
            with _turn(self._into, "replace"):
                if self._into.exists():
                    with open_bundle(self._into) as old, open_bundle(pulled) as new:
                        merge_bundles([old, new], self._into)
                else:
                    replace_file(pulled, target)
        self.added += [outcome.path for outcome in report.runs if outcome.sealed]
        self._open()

    def _open(self) -> None:
        """Open the bundles in their current state; the earlier ones stay open for queries under way."""
        self._state = _state_of(self._into)
        paths = [*([self._copy()] if self._into.exists() else []), *self._others]
        self.bundles = tuple([self._stack.enter_context(open_bundle(path)) for path in paths])

    def _copy(self) -> Path:
        """Return a copy of the bundle that nothing replaces, of the same name: messages show it."""
        if self._into.is_dir():
            return self._into
        with disk_errors(self._copies, hint="free some space for temporary files"):
            copy = Path(tempfile.mkdtemp(dir=self._copies), self._into.name)
            with _turn(self._into, "replace"):
                return shutil.copyfile(self._into, copy)


def _state_of(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a file is replaced; None without a file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


@contextmanager
def _turn(path: Path, what: Literal["record", "replace"]) -> Iterator[None]:
    """Wait until no other process of this user records into a bundle, or replaces or copies it.

    The lock is not next to the bundle.

    Raises:
        MachineLimitError: The lock cannot be written.
    """
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:24]
    file = Path(tempfile.gettempdir()) / f"pull-logs-{what}-{name}.lock"
    lock = FileLock(file, mode=0o600)
    with disk_errors(file, hint="free some space for temporary files"):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _selection(named: QueryTarget, held: Callable[[QueryTarget], bool]) -> Selection:
    """Return the runs to pull; of a listing or a sweep only those that are not held.

    Raises:
        UsageError: The filter of a listing is not a W&B filter.
    """
    if isinstance(named, RunPath):
        return Selection(runs=(RunReference(named.run_id, project=named.project, entity=named.entity),))
    project = f"{named.entity}/{named.project}"
    filters = named.filters if isinstance(named, Listing) else "{}"
    keep = compile_filter(filters)

    def wanted(info: RunInfo) -> bool:
        return keep(info) and not held(info.path)

    kept = RunFilter(text=filters, holds=wanted, prefilter=json.loads(filters) or {})
    if isinstance(named, Sweep):
        return Selection(sweeps=(f"{project}/{named.sweep_id}",), filter=kept)
    return Selection(projects=(project,), filter=kept)


async def _default_entity(settings: Settings) -> str | None:
    async with Client(settings) as client:
        return await client.default_entity()
