"""The operations that change bundle sets."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
from diskmodel import Tree
from operationkit import Operation, beside_temporary_folders, both
from setkit import grown_bundle

from pull_logs.snapshot import add_bundles, drop_runs, open_bundle_set, open_store, subset_bundle
from pull_logs.snapshot.format import catalog_version
from pull_logs.snapshot.sets import compact_set
from pull_logs.snapshot.sets.catalog import Catalog


def _given(root: Path) -> None:
    grown_bundle(root / "given.zip", {"acme/nano/a": 3, "acme/nano/b": 2})


def _later(root: Path) -> None:
    grown_bundle(root / "later.zip", {"acme/nano/b": 4, "acme/nano/c": 1})


def _add(root: Path, name: str = "given.zip") -> None:
    add_bundles(open_store(root / "set", create=True), [root / name], keep=True)


def _move(root: Path) -> None:
    add_bundles(open_store(root / "set", create=True), [root / "given.zip"])


def _move_again(root: Path) -> None:
    """Move what was not moved; what is not there any more has to be in the set."""
    if (root / "given.zip").exists():
        _move(root)


def _without_links(call: Callable[[Path], object]) -> Callable[[Path], object]:
    """Do it in a file system that has no hard links."""

    def refuse(source: Any, *_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(source))

    def run(root: Path) -> None:
        with patch.object(os, "link", refuse):
            call(root)

    return run


def _drop(root: Path) -> None:
    with open_bundle_set(root / "set") as opened:
        there = "acme/nano/b" in opened
    if there:
        drop_runs(open_store(root / "set"), ["acme/nano/b"])


def _compact(root: Path) -> None:
    compact_set(open_store(root / "set"), grace=0)


def _refresh(root: Path) -> None:
    """Bring a run of a set up to date, as `set refresh` does."""
    with open_bundle_set(root / "set") as opened, opened.store.scratch() as scratch:
        file = scratch / "refresh0.wandb.zip"
        subset_bundle([opened["acme/nano/b"]], file)
        grown_bundle(file, {"acme/nano/b": 4})
        add_bundles(opened.store, [file], prefer="newest")


@cache
def _members_of(content: bytes, version: int) -> frozenset[str]:
    catalog = Catalog(pa.BufferReader(content), path="catalog", version=version)
    try:
        return frozenset(catalog.members())
    finally:
        catalog.close()


def missing_members(tree: Tree) -> str:
    """What a catalog names and a set does not have; empty if nothing."""
    versions = {catalog_version(name.removeprefix("set/")): name for name in tree}
    found = {number: name for number, name in versions.items() if number is not None}
    if not found:
        return ""
    content = tree[found[max(found)]]
    assert content is not None
    missing = [name for name in _members_of(content, max(found)) if f"set/{name}" not in tree]
    return f"the set has a catalog and not its members {missing}" if missing else ""


_two = both(_given, _add, _later)
_add_later = partial(_add, name="later.zip")
_both_added = both(_two, _add_later)


def set_operation(
    name: str,
    prepare: Callable[[Path], object],
    run: Callable[[Path], object],
    again: Callable[[Path], object] | None = None,
    **more: Any,
) -> Operation:
    """An operation that changes a set."""
    return Operation(
        name,
        prepare,
        run,
        again,
        kept="set",
        relevant=beside_temporary_folders,
        partly=True,
        inconsistent=missing_members,
        left=".pull-logs-",
        **more,
    )


SET_OPERATIONS = (
    set_operation("set", _given, _add),
    set_operation("set-move", _given, _move, _move_again),
    set_operation("set-move-copied", _given, _move, _move_again, copied=("given.zip",)),
    set_operation("set-move-without-links", _given, _without_links(_move), _without_links(_move_again)),
    set_operation("set-add", _two, _add_later),
    set_operation("set-drop", _two, _drop),
    set_operation("set-refresh", _two, _refresh),
    set_operation("set-compact", _both_added, _compact),
)
