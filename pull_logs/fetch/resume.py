"""What earlier calls left: the spool of an interrupted pull, and bundles from which runs can be copied.

Where a pull sealed a bundle in which runs are not whole, it leaves a spool with nothing in
it but the note `sealed.json`. The same call then takes the whole runs from that bundle and
asks for the others alone; another selection into the same file throws the note away.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson

from pull_logs.errors import DamageError, FileMissingError
from pull_logs.runs import RunPath
from pull_logs.snapshot import Bundle, Run, Spool, open_bundle
from pull_logs.snapshot.write import FolderLock

Plan = Mapping[str, Any]

_SEALED = "sealed.json"
"""Names the bundle that an earlier call with the same plan sealed without some of the runs, or with parts of them."""


class Earlier:
    """The bundles that were pulled earlier, for as long as the stack is open."""

    def __init__(self) -> None:
        self._bundles: list[Bundle] = []

    def open(self, spool: Spool, *, previous: Path | None, stack: ExitStack) -> None:
        """Open the bundle that the spool's note names, and the one that is brought up to date.

        Args:
            spool: The spool of the pull.
            previous: The bundle that is brought up to date; None if none is.
            stack: Closes them.

        Raises:
            FileMissingError: `previous` is not there.
            DamageError: It is damaged.
        """
        sealed = _noted(spool)
        if sealed is not None:
            self._bundles.append(stack.enter_context(sealed))
        if previous is not None:
            self._bundles.append(stack.enter_context(open_bundle(previous)))

    def run(self, path: RunPath) -> Run | None:
        """The run in the bundle that was pulled last; one that is whole, if there is."""
        runs = [bundle[path] for bundle in self._bundles if str(path) in bundle]
        return next((run for run in runs if run.complete), runs[0] if runs else None)


def _noted(spool: Spool) -> Bundle | None:
    """The bundle at `out`, if it is the one that the spool's note names."""
    note = spool.folder / _SEALED
    if not note.exists() or not spool.out.exists():
        return None
    try:
        bundle = open_bundle(spool.out)
    except DamageError:
        return None
    if bundle.bundle_id == orjson.loads(note.read_bytes())["bundle_id"]:
        return bundle
    bundle.close()
    return None


def open_spool(out: Path, *, plan: Plan, fresh: bool) -> Spool:
    """Begin the spool of a pull, or go on with it.

    Args:
        out: The bundle to be.
        plan: What is being pulled.
        fresh: Whether to forget what an earlier call left.

    Raises:
        UsageError: The spool holds data of another plan, or another process works on it.
        FileMissingError: The folder of `out` does not exist.
        PullLogsError: The disk does not take it.
    """
    if fresh or _only_noted(_folder(out)):
        _drop(_folder(out), unless=None if fresh else plan)
    return Spool.open(out, plan=plan)


def note_sealed(out: Path, *, plan: Plan, bundle_id: str) -> None:
    """Leave a spool that lets the same call go on with what is not whole in the sealed bundle."""
    with Spool.open(out, plan=plan) as spool:
        note = spool.folder / _SEALED
        temp = note.with_suffix(".tmp")
        temp.write_bytes(orjson.dumps({"bundle_id": bundle_id}))
        temp.replace(note)


def _folder(out: Path) -> Path:
    return out.with_name(out.name + ".partial")


def _only_noted(folder: Path) -> bool:
    """Whether nothing that arrived is in a spool but a note."""
    parts = ("runs/*", "frames/*", "files/*")
    return (folder / _SEALED).exists() and not any(any(folder.glob(part)) for part in parts)


def _drop(folder: Path, *, unless: Plan | None) -> None:
    """Delete a spool, unless it is that of a plan."""
    file = folder / "plan.json"
    if not file.exists() or (unless is not None and orjson.loads(file.read_bytes()) == unless):
        return
    lock = FolderLock(folder)
    try:
        shutil.rmtree(folder)
    except OSError as exc:
        raise FileMissingError(f"{str(folder)!r} cannot be deleted: {exc.strerror}") from exc
    finally:
        lock.release()
