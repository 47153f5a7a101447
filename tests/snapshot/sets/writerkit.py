"""Works on a set, and two writers of which one does all that it does between two steps of the other.

A step is a use of the folder or of the object storage.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from setkit import Model, grown_bundle, held

from pull_logs.snapshot import add_bundles, drop_runs, open_bundle_set, open_store
from pull_logs.snapshot.sets import SetStore, compact_set, verify_set

Work = Callable[[SetStore, Path], object]


def add(store: SetStore, given: Path) -> object:
    return add_bundles(store, [given / "new.wandb.zip"], keep=True)


def add_again(store: SetStore, given: Path) -> object:
    """Add a bundle of which the set has the file still, for a run that was dropped."""
    return add_bundles(store, [given / "dropped.wandb.zip"], keep=True)


def drop(store: SetStore, _given: Path) -> object:
    return drop_runs(store, ["b"])


def compact(store: SetStore, _given: Path) -> object:
    return compact_set(store, grace=0)


def compact_twice(store: SetStore, given: Path) -> object:
    """Compact, drop a run, and compact again: the versions in between are gone."""
    compact_set(store, grace=0)
    drop_runs(store, ["c"])
    return compact(store, given)


def compact_and_add(store: SetStore, given: Path) -> object:
    """Compact, so that a member of dropped runs is removed, and add its bundle again."""
    compact_set(store, grace=0)
    return add_again(store, given)


BEFORE: Model = {"acme/nano/a": 2, "acme/nano/b": 2, "acme/nano/c": 3}
CHANGES: dict[Work, dict[str, int | None]] = {
    add: {"acme/nano/new": 3, "acme/nano/a": 4},
    add_again: {"acme/nano/d": 1},
    drop: {"acme/nano/b": None},
    compact: {},
    compact_twice: {"acme/nano/c": None},
    compact_and_add: {"acme/nano/d": 1},
}
PAIRS = [
    (first, second)
    for first in CHANGES
    for second in CHANGES
    if (first, second) not in [(drop, drop), (compact_twice, compact_twice)]
]


def expected(*works: Work) -> Model:
    """What the set has after all changes."""
    found: dict[str, int | None] = dict(BEFORE)
    for work in works:
        found |= CHANGES[work]
    return {path: rows for path, rows in found.items() if rows is not None}


class Steps:
    """A store of which each use is a step; before one of them, something else happens.

    Attributes:
        taken: The number of steps so far.
    """

    def __init__(self, store: SetStore, at: int, meanwhile: Callable[[], object]) -> None:
        self._store, self._at, self._meanwhile = store, at, meanwhile
        self.taken = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def step(*arguments: Any, **named: Any) -> Any:
            if self.taken == self._at:
                self._meanwhile()
            self.taken += 1
            return found(*arguments, **named)

        return step


def fill(where: Path | str, given: Path) -> None:
    """Make a set of four members, of which the runs of one were dropped; `given` are bundles to add."""
    store = open_store(where, create=True)
    for runs in ({"a": 2, "b": 1}, {"b": 2}, {"c": 3}, {"d": 1}):
        name = "dropped" if "d" in runs else "-".join(f"{run}{rows}" for run, rows in runs.items())
        file = grown_bundle(
            given / f"{name}.wandb.zip", {f"acme/nano/{run}": rows for run, rows in runs.items()}
        )
        add_bundles(store, [file], keep=True)
    drop_runs(store, ["d"])
    grown_bundle(given / "new.wandb.zip", {"acme/nano/new": 3, "acme/nano/a": 4})


def check(where: Path | str, model: Model) -> None:
    """Every run is there, in a member that exists."""
    with open_bundle_set(where) as opened:
        assert held(opened) == model
        assert opened.catalog.members().keys() <= opened.store.members().keys()
    assert verify_set(where, deep=False).damages == ()


def meet(first: Work, second: Work, where: Path | str, given: Path, at: int) -> bool:
    """Do one work, and another one before one of its steps; return whether it has so many steps."""
    met: list[object] = []
    first(Steps(open_store(where), at, lambda: met.append(second(open_store(where), given))), given)
    return bool(met)
