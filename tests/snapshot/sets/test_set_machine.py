"""A set through every change that it can have, compared with a dict.

The dict has the state of each run: its number of rows, and the branch that it was logged on. Of one branch,
a state with more rows has all that one with fewer has; states of two branches disagree.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from setkit import BRANCH, Model, grown_bundle, grown_run, state_of, written_again

from pull_logs.errors import MergeConflictError, RunNotFoundError
from pull_logs.rows.hashing import rows_hash
from pull_logs.snapshot import (
    BundleSet,
    add_bundles,
    diff_bundles,
    drop_runs,
    open_bundle,
    open_bundle_set,
    open_store,
    subset_bundle,
)
from pull_logs.snapshot.format.content_id import content_id
from pull_logs.snapshot.sets import compact_set, unlisted_members, verify_set

NAMES = ["acme/nano/a", "acme/nano/A", "acme/other/a", "b/nano/x y", "\u00e9/nano/~"]

states = st.integers(0, 5) | st.integers(BRANCH + 1, BRANCH + 5)
some_runs = st.dictionaries(st.sampled_from(NAMES), states, min_size=1, max_size=4)
Prefer = Literal["newest", "first"]


class ConflictError(Exception):
    """Two states disagree, and nothing says which to take."""


def chosen(old: int, new: int, prefer: Prefer | None) -> int:
    """Return the state that a set has after an addition."""
    rows = old % BRANCH, new % BRANCH
    if old // BRANCH == new // BRANCH or 0 in rows:
        return old if rows[0] >= rows[1] else new
    if prefer is None:
        raise ConflictError
    return max(old, new) if prefer == "newest" else old  # a later branch has later heartbeats


def after_addition(model: Model, bundles: Iterable[Model], prefer: Prefer | None) -> Model:
    """Return a set after an addition."""
    found = dict(model)
    for runs in bundles:
        for path, state in runs.items():
            found[path] = chosen(found[path], state, prefer) if path in found else state
    return found


class SetMachine(RuleBasedStateMachine):
    """A set and the dict that it has to equal; `readers` have versions open, and the dict as it was then."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.root = self.folder / "set"
        self.store = open_store(self.root, create=True)
        self.model: Model = {}
        self.readers: list[tuple[BundleSet, Model]] = []
        self.given = 0

    def teardown(self) -> None:
        self.close_readers()
        shutil.rmtree(self.folder)

    def close_readers(self) -> None:
        for opened, _ in self.readers:
            opened.close()
        self.readers.clear()

    def given_bundle(self, runs: Model) -> Path:
        self.given += 1
        return grown_bundle(self.folder / f"given{self.given % 7}.wandb.zip", runs)

    @rule(
        bundles=st.lists(some_runs, min_size=1, max_size=2),
        prefer=st.sampled_from([None, "newest", "first"]),
        keep=st.booleans(),
    )
    def add(self, bundles: list[Model], prefer: Prefer | None, *, keep: bool) -> None:
        """Add bundles; where two states disagree and nothing is preferred, nothing is changed."""
        files = [self.given_bundle(runs) for runs in bundles]
        try:
            expected = after_addition(self.model, bundles, prefer)
        except ConflictError:
            before = sorted(file.name for file in self.root.iterdir())
            with pytest.raises(MergeConflictError):
                add_bundles(self.store, files, prefer=prefer, keep=keep)
            assert sorted(file.name for file in self.root.iterdir()) == before
            assert all(file.exists() for file in files)
            return
        report = add_bundles(self.store, files, prefer=prefer, keep=keep)
        assert {str(path) for path in report.added} == expected.keys() - self.model.keys()
        assert set(report.members.values()) <= self.store.members().keys()
        if keep:
            assert all(file.exists() for file in files)
        self.model = expected

    @precondition(lambda self: self.model)
    @rule(more=st.integers(0, 3), data=st.data())
    def refresh(self, more: int, data: st.DataObject) -> None:
        """Bring unfinished runs up to date, as `set refresh` does; some are still as they were."""
        with open_bundle_set(self.root) as opened, opened.store.scratch() as scratch:
            unfinished = [run for run in opened.runs() if run.state == "running"]
            names = [str(run.path) for run in unfinished]
            assert names == sorted(name for name, state in self.model.items() if state % BRANCH < 4)
            if not unfinished:
                return
            file = scratch / "refresh0.wandb.zip"
            subset_bundle(unfinished, file)
            gone = data.draw(st.sets(st.sampled_from(names)))
            grown = {
                name: state if name in gone else state - state % BRANCH + min(state % BRANCH + more, 5)
                for name, state in self.model.items()
                if name in names
            }
            grown_bundle(file, grown)
            add_bundles(opened.store, [file], prefer="newest")
        self.model |= grown

    @rule(name=st.sampled_from(NAMES))
    def drop(self, name: str) -> None:
        """Drop a run; one that is not there is an error, and changes nothing."""
        if name in self.model:
            _, dropped = drop_runs(self.store, [name])
            assert [*map(str, dropped)] == [name]
            del self.model[name]
        else:
            with pytest.raises(RunNotFoundError):
                drop_runs(self.store, [name])

    @precondition(lambda self: self.store.versions())
    @rule(size=st.sampled_from([1, 2**13, 2**28]), readers=st.booleans())
    def compact(self, size: int, *, readers: bool) -> None:
        """Compact; without readers nothing is left that the set does not need, and a second time nothing."""
        if readers:
            compact_set(self.store, size=size)
            return
        self.close_readers()
        report = compact_set(self.store, size=size, grace=0)
        assert report.waiting == 0
        assert len(self.store.versions()) == 1
        with open_bundle_set(self.root) as opened:
            needed = opened.catalog.members()
            assert set(report.members) <= needed.keys()
            for bundle, name in zip(opened.member_bundles(), sorted(needed), strict=True):
                assert len(bundle) == needed[name]
            assert unlisted_members(opened) == ()
        if size != 2**13:  # members of about this size may be joined again
            again = compact_set(self.store, size=size, grace=0)
            assert (again.version, again.members, again.removed) == (report.version, (), ())

    @precondition(lambda self: self.store.versions() and len(self.readers) < 3)
    @rule()
    def read(self) -> None:
        """Open the set, and read its members only later."""
        self.readers.append((open_bundle_set(self.root), dict(self.model)))

    @rule()
    def reopen(self) -> None:
        """Go on from what is in the folder."""
        self.store = open_store(self.root)

    @precondition(lambda self: self.store.versions())
    @rule(other=some_runs)
    def diff(self, other: Model) -> None:
        """Compare the set with a bundle of the same runs, and with one of other runs."""
        with open_bundle_set(self.root) as opened:
            for runs in (self.model, other):
                found = diff_bundles(opened, self.given_bundle(runs))
                assert {str(path) for path in found.added} == runs.keys() - self.model.keys()
                assert {str(path) for path in found.gone} == self.model.keys() - runs.keys()
                both = self.model.keys() & runs.keys()
                changed = {path for path in both if self.model[path] != runs[path]}
                assert {str(run.path) for run in found.changed} == changed
                assert found.unchanged == len(both - changed)

    @precondition(lambda self: self.store.versions())
    @rule(deep=st.booleans())
    def verify(self, *, deep: bool) -> None:
        """Everything is intact; a member that loses its last byte is found, if a run needs it."""
        assert verify_set(self.root, deep=deep).damages == ()
        with open_bundle_set(self.root) as opened:
            member = next(iter(opened.catalog.members()), None)
        if member is not None:
            intact = (self.root / member).read_bytes()
            (self.root / member).unlink()  # its bytes may be those of another file
            (self.root / member).write_bytes(intact[:-1])
            found = verify_set(self.root, deep=deep).damages
            assert found
            assert all(damage.member.startswith(member) for damage in found)
            (self.root / member).write_bytes(intact)

    @invariant()
    def readers_have_their_version(self) -> None:
        for opened, model in self.readers:
            assert states_in(opened) == model

    @invariant()
    def equals_the_dict(self) -> None:
        """Compare the set with the dict, and its catalog with one that is written at once."""
        if not self.store.versions():
            return
        with open_bundle(self.root) as opened:
            assert isinstance(opened, BundleSet)
            assert states_in(opened) == self.model
            assert list(opened) == sorted(self.model)
            assert len(opened) == len(self.model)
            for name in NAMES:
                assert (name in opened) is (name in self.model)
            current = Path(opened.catalog.path).read_bytes()
            assert written_again(opened, self.folder / "again.parquet") == current
            assert opened.content_id == merged_content_id(self.model)


def states_in(opened: BundleSet) -> Model:
    """Return the state of each run, read from the members."""
    return {path: state_of(opened[path]) for path in opened}


def merged_content_id(model: Model) -> str:
    """Return the content id of one bundle with these runs."""
    runs = [grown_run(path, state) for path, state in model.items()]
    return content_id((run.info, rows_hash(run.batches())) for run in runs)


def test_a_set_equals_a_dict() -> None:
    """Whatever is done in whatever order."""
    run_state_machine_as_test(
        SetMachine, settings=settings(max_examples=6, stateful_step_count=8, deadline=None)
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_set_equals_a_dict_through_many_changes() -> None:
    """The same, longer: `pytest -m slow tests/snapshot/sets`."""
    run_state_machine_as_test(
        SetMachine, settings=settings(max_examples=60, stateful_step_count=20, deadline=None)
    )
