"""A set whose writer is killed at each step: what was there before, or what has to be there after."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from setkit import Model, grown_bundle, held

from pull_logs.snapshot import add_bundles, open_bundle, open_bundle_set, open_store
from pull_logs.snapshot.sets.compaction import compact_set

_CHANGES = frozenset({"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.utime"})
_WRITES = os.O_WRONLY | os.O_RDWR


class Killed(BaseException):
    """The process has ended."""


class Disk:
    """Counts the changes of a disk, and refuses all from one of them on.

    Attributes:
        changes: The number of changes so far.
        last: The number of changes after which the process is dead; None while it lives.
    """

    def __init__(self) -> None:
        self.folder, self.changes, self.watched = "", 0, False
        self.last: int | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.watched:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
        if not (event in _CHANGES or writes) or not str(arguments[0]).startswith(self.folder):
            return
        self.changes += 1
        if self.last is not None and self.changes > self.last:
            raise Killed

    def run(self, work: Callable[[], object], folder: Path, last: int | None) -> bool:
        """Run some work until it ends, or until the disk had so many changes; return whether it ended."""
        self.folder, self.changes, self.last, self.watched = str(folder), 0, last, True
        try:
            work()
        except Killed:
            return False
        finally:
            self.watched = False
        return True


DISK = Disk()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A folder with a set of three small members, and a bundle to add."""
    folder = tmp_path / "template"
    folder.mkdir()
    store = open_store(folder / "set", create=True)
    for name in "abc":
        file = grown_bundle(
            folder / f"{name}.wandb.zip", {f"acme/nano/{name}": 2, "acme/nano/x": ord(name) - 96}
        )
        add_bundles(store, [file])
    grown_bundle(folder / "new.wandb.zip", {"acme/nano/new": 3, "acme/nano/a": 4})
    return folder


BEFORE: Model = {"acme/nano/a": 2, "acme/nano/b": 2, "acme/nano/c": 2, "acme/nano/x": 3}


def model_of(folder: Path) -> Model:
    with open_bundle_set(folder / "set") as opened:
        return held(opened)


def steps_of(template: Path, tmp_path: Path, work: Callable[[Path], object]) -> int:
    """Return how many changes some work makes."""
    trial = shutil.copytree(template, tmp_path / "trial")
    assert DISK.run(lambda: work(trial), trial, None)
    return DISK.changes


def test_an_addition_that_is_killed_at_any_step_leaves_the_old_set_or_the_new_one(
    template: Path, tmp_path: Path
) -> None:
    """The bundle is in the set, or still where it was; the command again completes it (every second step)."""
    after = {**BEFORE, "acme/nano/new": 3, "acme/nano/a": 4}

    def add(folder: Path) -> object:
        given = folder / "new.wandb.zip"
        return add_bundles(open_store(folder / "set"), [given] if given.exists() else [])

    steps = steps_of(template, tmp_path, add)
    assert steps > 5
    seen = set()
    for last in range(0, steps, 2):
        folder = shutil.copytree(template, tmp_path / f"add{last}")
        assert not DISK.run(lambda folder=folder: add(folder), folder, last)  # type: ignore[misc]
        found = model_of(folder)
        assert found in (BEFORE, after), last
        if found == BEFORE:
            with open_bundle(folder / "new.wandb.zip") as given:
                assert given["acme/nano/new"].rows == 3
        add(folder)
        assert model_of(folder) == after
        seen.add(found == after)
    assert seen == {True, False}


def test_a_compaction_that_is_killed_at_any_step_loses_nothing(template: Path, tmp_path: Path) -> None:
    """The runs are the same after each kill, and the next compaction completes it (every 4th step)."""

    def compact(folder: Path) -> object:
        return compact_set(open_store(folder / "set"), grace=0)

    steps = steps_of(template, tmp_path, compact)
    with open_bundle_set(template / "set") as opened:
        content = opened.content_id
    for last in range(0, steps, 4):
        folder = shutil.copytree(template, tmp_path / f"compact{last}")
        assert not DISK.run(lambda folder=folder: compact(folder), folder, last)  # type: ignore[misc]
        assert model_of(folder) == BEFORE, last
        compact(folder)
        with open_bundle_set(folder / "set") as opened:
            assert held(opened) == BEFORE
            assert opened.content_id == content
            assert len(opened.catalog.members()) == 1
