"""What earlier calls left: the spool of an interrupted pull, and bundles from which runs can be copied.

A pull that sealed a bundle with incomplete or missing runs leaves a spool that holds only the note
`sealed.json`. The same call then copies the complete runs from that bundle and requests only the others.
A pull of another selection into the same file discards the note.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from pull_logs.errors import DamageError
from pull_logs.fetch.earlier.archived_runs import ArchivedRuns
from pull_logs.runs import RunPath
from pull_logs.snapshot import Spool, write_file
from pull_logs.snapshot.write import FolderLock, spool_path
from pull_logs.system_errors import from_system_error

if TYPE_CHECKING:
    from pull_logs.snapshot import Bundle, Run

Plan = Mapping[str, Any]

_SEALED = "sealed.json"
"""Names the bundle that an earlier call with the same plan sealed with incomplete or missing runs."""


class EarlierBundles:
    """The bundles that were pulled earlier.

    Args:
        spool: The spool of the pull, whose note may name a bundle.
        previous: The bundle to update; None if there is none.
        stack: Closes the bundles.
        reuse: Whether unchanged runs of `previous` may be copied; otherwise it only keeps runs that W&B no
            longer has.
        archived: The runs of an archive; None if there is none.
        may_reuse: Whether a run of the archive may be copied.

    Attributes:
        paths: The runs of `previous` and of the archive.

    Raises:
        FileMissingError: `previous` does not exist.
        DamageError: `previous` is damaged.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        previous: Path | None,
        stack: ExitStack,
        reuse: bool = True,
        archived: ArchivedRuns | None = None,
        may_reuse: Callable[[Run], bool] = lambda _run: True,
    ) -> None:
        self._bundles: list[Bundle] = []
        self._reuse = reuse
        self._archived, self._may_reuse = archived, may_reuse
        self.paths: set[RunPath] = set() if archived is None else set(archived.paths)
        sealed = _noted_bundle(spool) if archived is None else None
        if sealed is not None:
            self._bundles.append(stack.enter_context(sealed))
        if previous is not None:
            from pull_logs.snapshot import open_bundle

            self._bundles.append(stack.enter_context(open_bundle(previous)))
            self.paths |= {run.path for run in self._bundles[-1].runs()}

    def run(self, path: RunPath) -> Run | None:
        """Return the version of a run from which unchanged parts may be copied."""
        found = self.kept(path) if self._reuse else None
        return found if found is not None and self._may_reuse(found) else None

    def kept(self, path: RunPath) -> Run | None:
        """Return the run in the first bundle that has it complete, or in the first that has it at all."""
        if self._archived is not None:
            return self._archived.find(path)
        runs = [bundle[path] for bundle in self._bundles if str(path) in bundle]
        return next((run for run in runs if run.complete), runs[0] if runs else None)


def _noted_bundle(spool: Spool) -> Bundle | None:
    """Return the bundle at `out`, if it is the one that the note in the spool names."""
    note = spool.folder / _SEALED
    if not note.exists() or not spool.out.exists():
        return None
    from pull_logs.snapshot import open_bundle

    try:
        bundle = open_bundle(spool.out)
    except DamageError:
        return None
    if bundle.bundle_id == orjson.loads(note.read_bytes())["bundle_id"]:
        return bundle
    bundle.close()
    return None


def open_spool(out: Path, *, plan: Plan, fresh: bool, replace: bool = False) -> Spool:
    """Create the spool of a pull, or open the one that an earlier call left.

    Args:
        out: The bundle to write.
        plan: The description of the pull.
        fresh: Whether to discard what an earlier call left.
        replace: Whether to discard what an earlier call with another plan left.

    Raises:
        UsageError: The spool holds data of another plan, or another process uses it.
        FileMissingError: The folder of `out` does not exist.
        PullLogsError: The disk does not accept it.
    """
    if fresh or replace or _holds_only_note(spool_path(out)):
        _remove(spool_path(out), unless=None if fresh else plan)
    return Spool.open(out, plan=plan)


def note_sealed(out: Path, *, plan: Plan, bundle_id: str) -> None:
    """Leave a spool with which the same call can complete what is incomplete in the sealed bundle."""
    with Spool.open(out, plan=plan) as spool:
        write_file(spool.folder / _SEALED, orjson.dumps({"bundle_id": bundle_id}))


def _holds_only_note(folder: Path) -> bool:
    """Return whether a spool holds a note and no data."""
    parts = ("runs/*", "frames/*", "files/*")
    return (folder / _SEALED).exists() and not any(any(folder.glob(part)) for part in parts)


def _remove(folder: Path, *, unless: Plan | None) -> None:
    """Delete a spool, unless it is that of a plan."""
    file = folder / "plan.json"
    if not file.exists() or (unless is not None and orjson.loads(file.read_bytes()) == unless):
        return
    try:
        lock = FolderLock(folder)
        try:
            lock.remove_folder()
        finally:
            lock.release()
    except OSError as exc:
        raise from_system_error(exc, path=folder, action="deleted") from exc
