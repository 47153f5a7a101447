"""A bundle from pull to pull: crashes, refreshes, merges and parts, against a dict of rows believed perfect.

The spool's own crashes are lived through in `tests/snapshot/test_bundle_machine.py`; here W&B is asked, and
what it holds changes between one command and the next.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
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
from pulling import pull_from
from rowkit import canonical, same_rows
from scripted_wandb import FakeRun, Row, ScriptedWandb

from pull_logs.errors import MergeConflictError, NetworkError
from pull_logs.fetch import PullReport
from pull_logs.fetch.history import pieces
from pull_logs.fetch.history import refresh as refreshing
from pull_logs.rows.canonical import same
from pull_logs.snapshot import merge_bundles, open_bundle, subset_bundle, verify_bundle

Rows = list[Row]
IDS = ("a", "b", "c")

run_ids = st.sampled_from(IDS)
cells = st.fixed_dictionaries(
    {"loss": st.sampled_from([0.0, 0.5, 1e300, math.nan, -3.0])},
    optional={
        "note": st.sampled_from(["x", "\u00e9", ""]),
        "pic": st.just({"_type": "image-file", "size": 3}),
        "big": st.integers(2**53 + 1, 2**53 + 9),
    },
)
added = st.lists(st.tuples(st.integers(1, 3), cells), max_size=6)
crash_after = st.none() | st.integers(0, 6)
"""The requests that are answered before the network is gone; None: it stays."""


def unplugged_after(requests: int) -> Callable[[httpx.Request], Exception | None]:
    left = iter(range(requests))
    return lambda _: None if next(left, None) is not None else httpx.ConnectError("unplugged")


def holds(more: Rows, less: Rows) -> bool:
    """Whether all cells of some rows are among others."""
    there = {row["_step"]: row for row in more}
    return all(
        row["_step"] in there
        and all(
            key in there[row["_step"]] and same(cell, there[row["_step"]][key]) for key, cell in row.items()
        )
        for row in less
    )


class BundleLife(RuleBasedStateMachine):
    """A project whose runs go on, and the bundle that somebody keeps of it.

    `logged` are the rows that W&B has, `sealed` those of the bundle, `copy` those of an older copy of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="bundle-life-"))
        self.out, self.older = self.folder / "a.wandb.zip", self.folder / "older.wandb.zip"
        self.logged: dict[str, Rows] = {}
        self.sealed: dict[str, Rows] | None = None
        self.copy: dict[str, Rows] | None = None
        self.server = ScriptedWandb()
        self.moment = 0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(refreshing, "LONG_HISTORY", 1)
        self.patch.setattr(refreshing, "OVERLAP", 2)
        self.patch.setattr(pieces, "_IN_MEMORY", 1)

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    @initialize(rows=added)
    def begin(self, rows: list[tuple[int, Row]]) -> None:
        self.log("a", rows, exported=False)

    def publish(self, run_id: str, *, exported: bool) -> None:
        """Give W&B the rows of a run, with the current time as its heartbeat."""
        self.moment += 1
        extra: dict[str, Any] = {
            "heartbeatAt": f"2026-01-02T{self.moment // 60:02}:{self.moment % 60:02}:00Z"
        }
        make = FakeRun.exported if exported else FakeRun.logging
        self.server.runs[run_id] = make(run_id, self.logged[run_id], extra=extra)

    @rule(run_id=run_ids, rows=added, exported=st.booleans())
    def log(self, run_id: str, rows: list[tuple[int, Row]], *, exported: bool) -> None:
        known = self.logged.setdefault(run_id, [])
        for gap, row in rows:
            step = known[-1]["_step"] + gap if known else gap - 1
            known.append({"_step": step, "_timestamp": 100.0 + step, **row})
        self.publish(run_id, exported=exported)

    @precondition(lambda self: any(self.logged.values()))
    @rule(run_id=run_ids, exported=st.booleans())
    def rewrite(self, run_id: str, *, exported: bool) -> None:
        """Log the run again, with other rows."""
        self.logged[run_id] = [
            row | {"_timestamp": row["_timestamp"] + 0.25} for row in self.logged.get(run_id, [])
        ]
        self.publish(run_id, exported=exported)

    def request(self, crash: int | None, **options: Any) -> PullReport:
        """Pull; after a crash the same command goes on."""

        async def story() -> PullReport:
            if crash is not None:
                self.server.faults = [unplugged_after(crash)]
                with suppress(NetworkError):
                    await pull_from(self.server, self.out, concurrency=1, **options)
                self.server.faults = []
            return await pull_from(self.server, self.out, **options)

        report = anyio.run(story)
        assert not (self.folder / "a.wandb.zip.partial").exists()
        self.sealed = {run_id: canonical(rows) for run_id, rows in self.logged.items()}
        return report

    @rule(crash=crash_after)
    def pull(self, crash: int | None) -> None:
        assert self.request(crash).incomplete == ()

    @precondition(lambda self: self.sealed is not None)
    @rule(crash=crash_after)
    def refresh(self, crash: int | None) -> None:
        assert self.request(crash, previous=self.out).incomplete == ()

    @precondition(lambda self: self.sealed is not None)
    @rule()
    def keep_a_copy(self) -> None:
        shutil.copy(self.out, self.older)
        self.copy = dict(self.sealed or {})

    @precondition(lambda self: self.sealed is not None and self.copy is not None)
    @rule(turned=st.booleans())
    def merge(self, *, turned: bool) -> None:
        """The copy and the bundle become one; where both were rewritten, the bundle is believed."""
        now, then = self.sealed or {}, self.copy or {}
        shared = now.keys() & then.keys()
        disagree = {
            name for name in shared if not holds(now[name], then[name]) and not holds(then[name], now[name])
        }
        paths = [self.older, self.out] if turned and not disagree else [self.out, self.older]
        before = self.out.read_bytes()
        with ExitStack() as stack:
            bundles = [stack.enter_context(open_bundle(path)) for path in paths]
            if disagree:
                with pytest.raises(MergeConflictError) as caught:
                    merge_bundles(bundles, self.out)
                assert len(caught.value.conflicts) == len(disagree)
                assert self.out.read_bytes() == before
            merge_bundles(bundles, self.out, prefer="first" if disagree else None)
        grown = {name: then[name] for name in shared - disagree if not holds(now[name], then[name])}
        self.sealed = then | now | grown

    @precondition(lambda self: self.sealed is not None)
    @rule(keep=st.sets(run_ids, min_size=1))
    def subset(self, keep: set[str]) -> None:
        with open_bundle(self.out) as bundle:
            runs = [run for run in bundle.runs() if run.path.run_id in keep]
            subset_bundle(runs, self.out, force=True)
        self.sealed = {name: rows for name, rows in (self.sealed or {}).items() if name in keep}

    @precondition(lambda self: self.sealed is not None)
    @rule()
    def verify(self) -> None:
        assert verify_bundle(self.out).damages == ()

    @invariant()
    def reopened_it_says_what_was_sealed(self) -> None:
        if self.sealed is None:
            assert not self.out.exists()
            return
        with open_bundle(self.out) as bundle:
            assert [run.path.run_id for run in bundle.runs()] == sorted(self.sealed)
            for run_id, rows in self.sealed.items():
                assert same_rows(bundle[run_id].scan_history(), rows)


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        pytest.param(8, 10, id="sample"),
        pytest.param(200, 40, id="full", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_whatever_is_done_with_a_bundle_no_row_is_lost_or_changed(examples: int, steps: int) -> None:
    profile = settings(max_examples=examples, stateful_step_count=steps)
    run_state_machine_as_test(BundleLife, settings=profile)
