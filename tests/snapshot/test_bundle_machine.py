"""A spool and its bundle through a life of crashes, against a dict of rows believed perfect."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from rowkit import calm_rows, nasty_rows, same_rows

from pull_logs.errors import UsageError
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.bundle import open_bundle
from pull_logs.snapshot.canon import Fragment, Lane, canon_row, merge_rows, same
from pull_logs.snapshot.columns import batch_from_rows
from pull_logs.snapshot.merging import LanedBatch
from pull_logs.snapshot.seal import BundleRun, seal_runs, write_bundle
from pull_logs.snapshot.spool import Spool
from pull_logs.snapshot.verify import verify_bundle

PATHS = [RunPath("acme", "nano", "a"), RunPath("acme", "nano", "A"), RunPath("\u00e9/b", "x y", "~")]
"""Two runs that a file system may take for one, and one whose every part is encoded."""

PLAN = {"runs": [str(path) for path in PATHS]}
Page = tuple[Lane, Sequence[Mapping[str, Any]]]

run_paths = st.sampled_from(PATHS)
pages = st.tuples(st.sampled_from(Lane), nasty_rows | calm_rows)


def believed(pages: Sequence[Page]) -> list[dict[str, Any]]:
    """The rows of a run whose pages these are."""
    return merge_rows([Fragment(lane, canon_row(row)) for lane, rows in pages for row in rows])


class BundleMachine(RuleBasedStateMachine):
    """What happens to a pull.

    `pages` are those that must be in the spool, `done` the rows of the runs that are finished in it, and
    `sealed` those of every run of the bundle.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="bundle-machine-"))
        self.out = self.folder / "a.wandb.zip"
        self.spool: Spool | None = None
        self.pages: dict[RunPath, list[Page]] = {}
        self.done: dict[RunPath, list[dict[str, Any]]] = {}
        self.sealed: dict[RunPath, list[dict[str, Any]]] | None = None
        self.bundle_id = ""
        self.chance = random.Random(0)

    def teardown(self) -> None:
        if self.spool is not None:
            self.spool.close()
        shutil.rmtree(self.folder)

    @property
    def held(self) -> Spool:
        assert self.spool is not None
        return self.spool

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.resume()

    @precondition(lambda self: self.spool is None)
    @rule()
    def resume(self) -> None:
        self.spool = Spool.open(self.out, plan=PLAN)
        assert self.spool.stored.keys() == self.done.keys()

    @precondition(lambda self: self.spool is not None)
    @rule(path=run_paths, page=pages)
    def append(self, path: RunPath, page: Page) -> None:
        if path not in self.done:
            known = self.pages.setdefault(path, [])
            self.held.append(path, page[0], batch_from_rows(page[1]), key=f"page:{len(known)}")
            known.append(page)

    @precondition(lambda self: self.spool is not None)
    @rule(path=run_paths)
    def look_at_the_pages(self, path: RunPath) -> None:
        known = self.pages.get(path, [])
        found = self.held.frames(path)
        assert [(frame.lane, frame.key) for frame in found] == [
            (lane, f"page:{number}") for number, (lane, _) in enumerate(known)
        ]
        assert [frame.rows for frame in found] == [len(rows) for _, rows in known]

    @precondition(lambda self: self.spool is not None)
    @rule(path=run_paths)
    def finish(self, path: RunPath) -> None:
        if path not in self.done:
            rows = believed(self.pages.pop(path, []))
            stored = self.held.finish(info_of(path, rows), Coverage(received_rows=len(rows)))
            assert stored.history.rows == len(rows)
            self.done[path] = rows

    @precondition(lambda self: self.spool is not None)
    @rule(path=run_paths)
    def discard(self, path: RunPath) -> None:
        self.held.discard(path)
        self.done.pop(path, None)
        self.pages.pop(path, None)

    @precondition(lambda self: self.spool is not None)
    @rule()
    def crash(self) -> None:
        """The process is gone: nothing is sealed, and the lock is free."""
        self.held.close()
        self.spool = None

    @precondition(lambda self: self.spool is not None and any(self.pages.values()))
    @rule(torn=st.floats(0, 1, exclude_max=True))
    def crash_while_a_page_is_written(self, torn: float) -> None:
        path = self.chance.choice(sorted(path for path, known in self.pages.items() if known))
        *before, last = self.held.frames(path)
        start, end = before[-1].start + before[-1].size if before else 0, last.start + last.size
        self.crash()
        os.truncate(last.file, start + int(torn * (end - start)))
        self.pages[path].pop()

    @precondition(lambda self: self.spool is not None and any(self.pages.values()))
    @rule()
    def crash_between_a_run_s_end_and_the_removal_of_its_pages(self) -> None:
        path = self.chance.choice(sorted(path for path, known in self.pages.items() if known))
        rows = believed(self.pages.pop(path))
        batches = [LanedBatch(page.lane, page.load()) for page in self.held.frames(path)]
        self.held.store(info_of(path, rows), Coverage(received_rows=len(rows)), batches)
        self.crash()
        self.done[path] = rows

    @precondition(lambda self: self.spool is not None and bool(self.done))
    @rule(torn=st.floats(0, 1, exclude_max=True))
    def a_finished_run_is_cut_short_by_a_bad_disk(self, torn: float) -> None:
        """It is as if it had never come: its pages are gone, so it has to come again."""
        path = self.chance.choice(sorted(self.done))
        file = self.held.stored[path].file
        self.crash()
        os.truncate(file, int(torn * file.stat().st_size))
        del self.done[path]

    @precondition(lambda self: self.spool is not None)
    @rule(left=st.binary(max_size=9))
    def crash_while_the_bundle_is_written(self, left: bytes) -> None:
        temp = self.held.folder / "bundle.zip"
        self.crash()
        temp.write_bytes(left)

    @precondition(lambda self: self.spool is not None)
    @rule()
    def crash_when_the_bundle_has_its_name(self) -> None:
        """The bundle is there and the spool still is: the next seal makes the same."""
        temp = self.held.folder / "bundle.zip"
        self.bundle_id = seal_runs(self.held.stored.values(), out=self.out, temp=temp).bundle_id
        self.sealed = dict(self.done)
        self.crash()

    @precondition(lambda self: self.spool is None and (self.folder / "a.wandb.zip.partial").exists())
    @rule()
    def another_plan_is_refused(self) -> None:
        with pytest.raises(UsageError):
            Spool.open(self.out, plan={"runs": []}).close()

    @precondition(lambda self: self.spool is not None and bool(self.sealed))
    @rule(paths=st.sets(run_paths))
    def adopt(self, paths: set[RunPath]) -> None:
        """A refresh takes over the runs that have not changed."""
        assert self.sealed is not None
        with open_bundle(self.out) as old:
            for path in sorted(paths & self.sealed.keys()):
                self.discard(path)
                self.held.adopt(old[path])
                self.done[path] = self.sealed[path]

    @precondition(lambda self: self.spool is not None)
    @rule()
    def seal(self) -> None:
        report = self.held.seal()
        self.spool, self.sealed = None, self.done
        self.done, self.pages = {}, {}
        assert [path.name for path in self.folder.iterdir()] == [self.out.name]
        assert (report.runs, report.rows) == (len(self.sealed), sum(map(len, self.sealed.values())))
        self.bundle_id = report.bundle_id

    @precondition(lambda self: self.sealed is not None)
    @rule()
    def made_at_once_it_is_the_same_bundle(self) -> None:
        """No history of appends, crashes and refreshes shows in the bytes."""
        assert self.sealed is not None
        again = self.folder / "b.wandb.zip"
        runs = [bundle_run(path, rows) for path, rows in self.sealed.items()]
        self.chance.shuffle(runs)
        write_bundle(again, runs)
        assert again.read_bytes() == self.out.read_bytes()
        again.unlink()

    @precondition(lambda self: self.sealed is not None)
    @rule()
    def verify(self) -> None:
        assert verify_bundle(self.out).damages == ()

    @precondition(lambda self: self.sealed is not None)
    @rule(bit=st.integers(0, 7))
    def a_flipped_bit_is_found_and_mended(self, bit: int) -> None:
        whole = self.out.read_bytes()
        place = self.chance.randrange(len(whole))
        self.out.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        assert verify_bundle(self.out).damages
        self.out.write_bytes(whole)

    @precondition(lambda self: self.sealed is not None)
    @rule(keep=st.sets(run_paths))
    def subset(self, keep: set[RunPath]) -> None:
        """Some runs of a bundle are a bundle, with the same rows hashes."""
        assert self.sealed is not None
        less = self.folder / "less.wandb.zip"
        with open_bundle(self.out) as old:
            runs = [run for run in old.runs() if run.path in keep]
            write_bundle(less, runs)
            with open_bundle(less) as new:
                assert [(str(run.path), run.rows_hash) for run in runs] == [
                    (str(run.path), run.rows_hash) for run in new.runs()
                ]
        less.unlink()

    @invariant()
    def the_bundle_says_what_was_sealed(self) -> None:
        if self.sealed is None:
            assert not self.out.exists()
            return
        with open_bundle(self.out) as bundle:
            assert bundle.bundle_id == self.bundle_id
            assert bundle.run_paths == tuple(map(str, sorted(self.sealed)))
            for path, rows in self.sealed.items():
                run = bundle[path]
                assert same(run.summary, dict(rows[-1]) if rows else {})
                assert same_rows(run.scan_history(min_step=-(2**63)), rows)


def info_of(path: RunPath, rows: Sequence[Mapping[str, Any]]) -> RunInfo:
    """A run whose summary is its last row, as W&B's is."""
    return RunInfo(path=path, name="r", state="finished", summary=dict(rows[-1]) if rows else {})


def bundle_run(path: RunPath, rows: Sequence[Mapping[str, Any]]) -> BundleRun:
    batch = batch_from_rows(rows)
    return BundleRun(
        info=info_of(path, rows), coverage=Coverage(received_rows=len(rows)), batches=lambda: [batch]
    )


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        pytest.param(25, 25, id="sample"),
        pytest.param(400, 60, id="full", marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ],
)
def test_no_life_of_a_bundle_loses_or_changes_a_row(examples: int, steps: int) -> None:
    profile = settings(max_examples=examples, stateful_step_count=steps)
    run_state_machine_as_test(BundleMachine, settings=profile)
