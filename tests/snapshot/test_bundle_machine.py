"""A spool and its bundle through many crashes, compared with a model of dicts."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

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
from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.canonical import canon_row, same
from pull_logs.rows.hashing import rows_hash
from pull_logs.rows.merge import Fragment, Lane, merge_rows
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.format.file_record import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile
from pull_logs.snapshot.read.bundle import open_bundle
from pull_logs.snapshot.read.verify import verify_bundle
from pull_logs.snapshot.write import page_file as frames
from pull_logs.snapshot.write import page_merge as sweep
from pull_logs.snapshot.write import spool
from pull_logs.snapshot.write.run_sources import BundleRun, RunExtras
from pull_logs.snapshot.write.seal import seal_runs, write_bundle
from pull_logs.snapshot.write.spool import Spool
from pull_logs.snapshot.write.spool_folder import SpoolFolder
from pull_logs.snapshot.write.stored_run import store_run

PATHS = [RunPath("acme", "nano", "a"), RunPath("acme", "nano", "A"), RunPath("\u00e9/b", "x y", "~")]
"""Two runs that a file system may take for one, and one whose every part is encoded."""

PLAN = {"runs": [str(path) for path in PATHS]}
Rows: TypeAlias = list[dict[str, Any]]
Page: TypeAlias = tuple[Lane, Sequence[Mapping[str, Any]]]

small_rows = st.lists(
    st.fixed_dictionaries(
        {"_step": st.integers(0, 2), "a": st.integers(0, 5) | st.sampled_from(["text", [1, None]])},
        optional={"_timestamp": st.integers(0, 2)},
    ),
    min_size=2,
    max_size=6,
)
"""Rows of a few steps that contradict each other."""

run_paths = st.sampled_from(PATHS)
pages = st.tuples(st.sampled_from(Lane), st.one_of(small_rows, nasty_rows, small_rows, calm_rows))


def believed(pages: Sequence[Page]) -> Rows:
    """Return the rows of a run with these pages."""
    return merge_rows([Fragment(lane, canon_row(row)) for lane, rows in pages for row in rows])


class BundleMachine(RuleBasedStateMachine):
    """The events of a pull.

    `pages` are the pages that must be in the spool, `done` the rows of its finished runs, and `sealed` the
    rows of every run of the bundle.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="bundle-machine-"))
        self.out = self.folder / "a.wandb.zip"
        self.pages: dict[RunPath, list[Page]] = {}
        self.done: dict[RunPath, Rows] = {}
        self.sealed: dict[RunPath, Rows] | None = None
        self.bundle_id = ""
        self.chance = random.Random(0)
        self.patch = pytest.MonkeyPatch()
        self.spool = Spool.open(self.out, plan=PLAN)

    def teardown(self) -> None:
        self.patch.undo()
        self.spool.close()
        shutil.rmtree(self.folder)

    @initialize(seed=st.integers(0, 2**32), parts=st.booleans())
    def begin(self, seed: int, parts: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """With `parts`, every page is stored like a long one: in several frames, merged in parts."""
        self.chance = random.Random(seed)
        if parts:
            self.patch.setattr(frames, "FRAME_ROWS", 2)
            self.patch.setattr(spool, "_MAX_IN_MEMORY", 0)
            self.patch.setattr(sweep, "RANGE_BYTES", 1)
            self.patch.setattr(sweep, "CACHE_BYTES", 0)

    def crash(self) -> None:
        """The process ends and releases its lock; nothing is sealed."""
        self.spool.close()

    def resume(self) -> None:
        self.spool = Spool.open(self.out, plan=PLAN)
        assert self.spool.stored.keys() == self.done.keys()

    @rule()
    def crash_between_two_pages(self) -> None:
        self.crash()
        with pytest.raises(UsageError):
            Spool.open(self.out, plan={"runs": []})
        self.resume()

    @rule(path=run_paths, some=st.lists(pages, min_size=1, max_size=4))
    def append(self, path: RunPath, some: Sequence[Page]) -> None:
        for page in some if path not in self.done else ():
            known = self.pages.setdefault(path, [])
            self.spool.append(path, page[0], batch_from_rows(page[1]), key=f"page:{len(known)}")
            known.append(page)

    @invariant()
    def the_pages_are_there(self) -> None:
        for path in PATHS:
            found: dict[str, int] = {}
            for frame in self.spool.frames(path):
                found[frame.key] = found.get(frame.key, 0) + frame.rows
            known = self.pages.get(path, [])
            assert found == {f"page:{number}": len(rows) for number, (_, rows) in enumerate(known)}

    @rule(path=run_paths, last=st.lists(pages, max_size=4))
    def finish(self, path: RunPath, last: Sequence[Page]) -> None:
        self.append(path, last)
        if path not in self.done:
            rows = believed(self.pages.pop(path, []))
            folder = self.spool.files_folder(path)
            (folder / "arriving").write_bytes(b"a file on its way")
            extras = RunExtras(files=files_of(rows))
            stored = self.spool.finish(info_of(path, rows), Coverage(received_rows=len(rows)), extras)
            assert not folder.exists()
            assert stored.history.rows_hash == rows_hash([batch_from_rows(rows)])
            self.done[path] = rows

    @rule(path=run_paths)
    def discard(self, path: RunPath) -> None:
        self.spool.discard(path)
        self.done.pop(path, None)
        self.pages.pop(path, None)

    @precondition(lambda self: any(self.pages.values()))
    @rule(torn=st.floats(0, 1, exclude_max=True), page=pages)
    def crash_while_a_page_is_written(self, torn: float, page: Page) -> None:
        """The page that was being written is lost, and another one follows."""
        path = self.chance.choice(sorted(path for path, known in self.pages.items() if known))
        found, key = self.spool.frames(path), f"page:{len(self.pages[path]) - 1}"
        start = max((frame.start + frame.size for frame in found if frame.key != key), default=0)
        end = found[-1].start + found[-1].size
        self.crash()
        os.truncate(found[-1].file, start + int(torn * (end - start)))
        self.pages[path].pop()
        self.resume()
        self.append(path, [page])

    @precondition(lambda self: any(self.pages.values()))
    @rule()
    def crash_between_a_run_s_end_and_the_removal_of_its_pages(self) -> None:
        path = self.chance.choice(sorted(path for path, known in self.pages.items() if known))
        rows = believed(self.pages.pop(path))
        store_run(SpoolFolder(self.spool.folder).run_file(path), bundle_run(path, rows))
        self.crash()
        self.done[path] = rows
        self.resume()

    @precondition(lambda self: bool(self.done))
    @rule(torn=st.floats(0, 1, exclude_max=True))
    def a_finished_run_is_cut_short_by_a_bad_disk(self, torn: float) -> None:
        """Its pages are deleted, so the run has to be pulled again."""
        path = self.chance.choice(sorted(self.done))
        file = self.spool.stored[path].file
        self.crash()
        os.truncate(file, int(torn * file.stat().st_size))
        del self.done[path]
        self.resume()

    @rule(left=st.binary(max_size=9))
    def crash_while_the_bundle_is_written(self, left: bytes) -> None:
        temp = self.spool.folder / "bundle.zip"
        self.crash()
        temp.write_bytes(left)
        self.resume()

    @rule()
    def crash_when_the_bundle_has_its_name(self) -> None:
        """Both the bundle and the spool exist: the next seal gives the same bundle."""
        temp = self.spool.folder / "bundle.zip"
        self.bundle_id = seal_runs(self.spool.stored.values(), out=self.out, temp=temp).bundle_id
        self.sealed = dict(self.done)
        self.crash()
        self.resume()

    @precondition(lambda self: bool(self.sealed))
    @rule(paths=st.sets(run_paths))
    def adopt(self, paths: set[RunPath]) -> None:
        """A refresh copies the runs that have not changed."""
        assert self.sealed is not None
        with open_bundle(self.out) as old:
            for path in sorted(paths & self.sealed.keys()):
                self.discard(path)
                self.spool.adopt(old[path])
                self.done[path] = self.sealed[path]

    @rule()
    def seal(self) -> None:
        report = self.spool.seal()
        self.sealed = self.done
        self.done, self.pages = {}, {}
        assert [path.name for path in self.folder.iterdir()] == [self.out.name]
        assert (report.runs, report.rows) == (len(self.sealed), sum(map(len, self.sealed.values())))
        self.bundle_id = report.bundle_id
        self.resume()

    @precondition(lambda self: self.sealed is not None)
    @rule()
    def made_at_once_it_is_the_same_bundle(self) -> None:
        """The bytes do not depend on the order of appends, crashes and refreshes."""
        assert self.sealed is not None
        again = self.folder / "b.wandb.zip"
        runs = [bundle_run(path, rows) for path, rows in self.sealed.items()]
        self.chance.shuffle(runs)
        write_bundle(again, runs, force=True)
        assert again.read_bytes() == self.out.read_bytes()
        again.unlink()

    @precondition(lambda self: self.sealed is not None)
    @rule()
    def verify(self) -> None:
        assert verify_bundle(self.out).damages == ()

    @precondition(lambda self: self.sealed is not None)
    @rule(bit=st.integers(0, 7))
    def a_flipped_bit_is_found_and_mended(self, bit: int) -> None:
        intact = self.out.read_bytes()
        offset = self.chance.randrange(len(intact))
        self.out.write_bytes(intact[:offset] + bytes([intact[offset] ^ 1 << bit]) + intact[offset + 1 :])
        assert verify_bundle(self.out).damages
        self.out.write_bytes(intact)

    @precondition(lambda self: self.sealed is not None)
    @rule(keep=st.sets(run_paths))
    def subset(self, keep: set[RunPath]) -> None:
        """A subset of a bundle is a bundle with the same rows hashes."""
        assert self.sealed is not None
        less = self.folder / "less.wandb.zip"
        with open_bundle(self.out) as old:
            runs = [run for run in old.runs() if run.path in keep]
            write_bundle(less, runs, force=True)
            with open_bundle(less) as new:
                assert [(str(run.path), run.rows_hash) for run in runs] == [
                    (str(run.path), run.rows_hash) for run in new.runs()
                ]
                assert [run.files_hash for run in runs] == [run.files_hash for run in new.runs()]
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
                logged = {file.record.name: file.data for file in files_of(rows)}
                assert {name: file.read() for name, file in run.files.items()} == logged


def files_of(rows: Sequence[Mapping[str, Any]]) -> list[TextFile]:
    """Return the files of a run of these rows: none, or some whose names differ only in case."""
    contents = {f"log/{row['_step']}": repr(row).encode("utf-8", "replace") for row in rows[:2]}
    if len(rows) > 1:
        contents |= {"A": b"upper", "a": b"lower", "..": b"", "n" * 300: b"long"}
    return [TextFile(record_of(name, [data]), data) for name, data in contents.items()]


def info_of(path: RunPath, rows: Sequence[Mapping[str, Any]]) -> RunInfo:
    """Return a run whose summary is its last row, as in W&B."""
    return RunInfo(path=path, name="r", state="finished", summary=dict(rows[-1]) if rows else {})


def bundle_run(path: RunPath, rows: Sequence[Mapping[str, Any]]) -> BundleRun:
    batch = batch_from_rows(rows)
    return BundleRun(
        info=info_of(path, rows),
        coverage=Coverage(received_rows=len(rows)),
        batches=lambda: [batch],
        files=files_of(rows),
    )


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        pytest.param(40, 25, id="sample"),
        pytest.param(400, 60, id="full", marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ],
)
def test_no_life_of_a_bundle_loses_or_changes_a_row(examples: int, steps: int) -> None:
    profile = settings(max_examples=examples, stateful_step_count=steps)
    run_state_machine_as_test(BundleMachine, settings=profile)
