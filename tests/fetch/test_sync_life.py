"""An archive of a project that is brought up to date again and again, against a dict of runs.

Runs are added, continued, rewritten and deleted on W&B between two pulls, and pulls are interrupted.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from pulling import pull_from
from rowkit import canonical, same_rows
from scripted_wandb import FakeRun, Row, ScriptedWandb
from test_bundle_life import crash_after, unplugged_after

from pull_logs.errors import NetworkError, RunNotFoundError
from pull_logs.fetch import PullReport
from pull_logs.snapshot import open_bundle, verify_bundle

Rows = list[Row]

run_ids = st.sampled_from(["a", "b", "c"])
cells = st.lists(st.sampled_from([0.0, 0.5, math.nan, -3.0]), max_size=4)


class SyncLife(RuleBasedStateMachine):
    """A project on W&B, and the archive of it.

    `logged` are the rows that W&B has. `archived` are those that the archive must have, `pulled` the versions
    of a run that an interrupted pull may have downloaded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="sync-life-"))
        self.out = self.folder / "archive.wandb.zip"
        self.server = ScriptedWandb()
        self.logged: dict[str, Rows] = {}
        self.archived: dict[str, Rows] = {}
        self.pulled: dict[str, list[Rows]] = {}
        self.days: dict[str, str] = {}
        self.moment = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def publish(self, run_id: str, *, exported: bool) -> None:
        self.moment += 1
        day = f"2026-01-{1 + self.moment % 28:02}"
        extra = {"heartbeatAt": f"{day}T10:{self.moment // 60:02}:{self.moment % 60:02}Z"}
        self.days[run_id] = day
        make = FakeRun.exported if exported else FakeRun.logging
        self.server.runs[run_id] = make(run_id, self.logged[run_id], extra=extra)

    @rule(run_id=run_ids, values=cells, exported=st.booleans())
    def log(self, run_id: str, values: list[float], *, exported: bool) -> None:
        known = list(self.logged.get(run_id, []))
        start = len(known)
        for step, value in enumerate(values, start):
            known.append({"_step": step, "_timestamp": 100.0 + step, "loss": value})
        self.logged[run_id] = known
        self.publish(run_id, exported=exported)

    @rule(run_id=run_ids, exported=st.booleans())
    def rewrite(self, run_id: str, *, exported: bool) -> None:
        if run_id in self.logged:
            rows = self.logged[run_id]
            self.logged[run_id] = [row | {"_timestamp": row["_timestamp"] + 0.25} for row in rows]
            self.publish(run_id, exported=exported)

    @rule(run_id=run_ids)
    def delete(self, run_id: str) -> None:
        self.logged.pop(run_id, None)
        self.server.runs.pop(run_id, None)

    def pull(self, **options: Any) -> PullReport:
        async def story() -> PullReport:
            return await pull_from(self.server, self.out, **options)

        return anyio.run(story)

    @rule(crash=crash_after)
    def interrupt(self, crash: int | None) -> None:
        """Pull until the network is gone, and do not try again."""
        before = self.out.read_bytes() if self.out.exists() else None
        self.server.faults = [unplugged_after(0 if crash is None else crash)]
        try:
            with suppress(RunNotFoundError):
                self.pull(concurrency=1)
                self.settle(prune=False)
        except NetworkError:
            assert (self.out.read_bytes() if self.out.exists() else None) == before
            for run_id, rows in self.logged.items():
                self.pulled.setdefault(run_id, []).append(canonical(rows))
        finally:
            self.server.faults = []

    @rule(prune=st.booleans(), fresh=st.booleans())
    def sync(self, *, prune: bool, fresh: bool) -> None:
        before = self.out.read_bytes() if self.out.exists() else None
        if fresh:
            self.pulled = {}
        try:
            self.pull(prune=prune, fresh=fresh)
        except RunNotFoundError:
            assert not self.logged
            assert prune or not self.archived
            assert (self.out.read_bytes() if self.out.exists() else None) == before
            return
        self.settle(prune=prune)

    def settle(self, *, prune: bool) -> None:
        """Compare the archive with what it must hold, after a pull that came to its end."""
        gone: dict[str, list[Rows]] = {}
        if not prune:
            gone = {run_id: [rows] for run_id, rows in self.archived.items() if run_id not in self.logged}
            for run_id, versions in self.pulled.items():
                if run_id not in self.logged:
                    gone.setdefault(run_id, []).extend(versions)
        with open_bundle(self.out) as bundle:
            found = {run.path.run_id: list(run.scan_history()) for run in bundle.runs()}
            marks = {run.path.run_id: run.last_seen for run in bundle.runs()}
        kept = self.archived.keys() if not prune else set[str]()
        assert self.logged.keys() | kept <= found.keys() <= self.logged.keys() | gone.keys()
        for run_id, rows in found.items():
            versions = [canonical(self.logged[run_id])] if run_id in self.logged else gone[run_id]
            assert any(same_rows(rows, version) for version in versions), run_id
            assert (marks[run_id] is None) == (run_id in self.logged)
        self.archived, self.pulled = found, {}
        assert not (self.folder / f"{self.out.name}.partial").exists()
        assert verify_bundle(self.out).damages == ()

    @rule()
    def sync_twice(self) -> None:
        """A second pull changes no byte; without deleted runs they are those of a first pull."""
        if not self.logged:
            return
        self.sync(prune=False, fresh=False)
        first = self.out.read_bytes()
        assert {outcome.how for outcome in self.pull().runs} <= {"copied", "gone"}
        assert self.out.read_bytes() == first
        if self.archived.keys() == self.logged.keys():
            other = self.folder / "first.wandb.zip"

            async def story() -> PullReport:
                return await pull_from(self.server, other, force=True)

            anyio.run(story)
            assert other.read_bytes() == first

    @invariant()
    def the_archive_has_what_it_had(self) -> None:
        if not self.archived:
            assert not self.out.exists()
            return
        with open_bundle(self.out) as bundle:
            assert [run.path.run_id for run in bundle.runs()] == sorted(self.archived)
            for run_id, rows in self.archived.items():
                assert same_rows(bundle[run_id].scan_history(), rows)


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        pytest.param(12, 14, id="sample"),
        pytest.param(200, 40, id="full", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_an_archive_is_what_w_and_b_has_and_had(examples: int, steps: int) -> None:
    profile = settings(max_examples=examples, stateful_step_count=steps)
    run_state_machine_as_test(SyncLife, settings=profile)
