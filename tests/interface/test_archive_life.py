"""Nights over a changing W&B: the set is what one complete pull of the last night gives, and what is gone.

Runs are added, continued, renamed, rewritten and deleted between the nights, nights are interrupted and go
on, here or on another machine, and the set is compacted.
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
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from pulling import pull_from
from scripted_wandb import QUICK, SETTINGS, FakeRun, Instant, Row, ScriptedWandb
from test_bundle_life import crash_after, unplugged_after

from pull_logs.errors import NetworkError, RunNotFoundError
from pull_logs.fetch import PullOptions
from pull_logs.interface import ArchiveReport, archive_project
from pull_logs.snapshot import Run, open_bundle, open_bundle_set, open_store
from pull_logs.snapshot.format import coverage_fields, info_fields
from pull_logs.snapshot.sets import compact_set, verify_set

run_ids = st.sampled_from(["a", "b", "c"])
cells = st.lists(st.sampled_from([0.0, 0.5, math.nan, -3.0]), max_size=4)


def described(run: Run, *, gone: bool = False) -> tuple[Any, ...]:
    """All that is stored of a run; without the day on which a run that is gone was last seen."""
    facts = info_fields(run.info)
    if gone:
        facts.pop("last_seen", None)
    return facts, coverage_fields(run.coverage), run.rows_hash, run.data_hash


class ArchiveLife(RuleBasedStateMachine):
    """A project on W&B, and an archive of it.

    `logged` are the rows that W&B has, `archived` what the set has of each run, `arrived` the states of which
    an interrupted night may have downloaded some.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="archive-life-"))
        self.root = self.folder / "set"
        self.server = ScriptedWandb()
        self.logged: dict[str, list[Row]] = {}
        self.archived: dict[str, tuple[Any, ...]] = {}
        self.arrived: dict[str, list[tuple[Any, ...]]] = {}
        self.moment = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def publish(self, run_id: str, *, exported: bool, tag: str = "") -> None:
        self.moment += 1
        stamp = f"2026-01-{1 + self.moment % 28:02}T10:{self.moment // 60:02}:{self.moment % 60:02}Z"
        extra = {"heartbeatAt": stamp, "displayName": f"{run_id}{tag}"}
        make = FakeRun.exported if exported else FakeRun.logging
        self.server.runs[run_id] = make(run_id, self.logged[run_id], extra=extra)

    @initialize(exported=st.booleans())
    def first_night(self, *, exported: bool) -> None:
        for run_id in "ab":
            self.log(run_id, [0.5, -3.0], exported=exported)
        self.archive(0)

    @rule(run_id=run_ids, values=cells, exported=st.booleans())
    def log(self, run_id: str, values: list[float], *, exported: bool) -> None:
        known = list(self.logged.get(run_id, []))
        for step, value in enumerate(values, len(known)):
            known.append({"_step": step, "_timestamp": 100.0 + step, "loss": value})
        self.logged[run_id] = known
        self.publish(run_id, exported=exported)

    @rule(run_id=run_ids, exported=st.booleans())
    def rewrite(self, run_id: str, *, exported: bool) -> None:
        if run_id in self.logged:
            self.logged[run_id] = [
                row | {"_timestamp": row["_timestamp"] + 0.25} for row in self.logged[run_id]
            ]
            self.publish(run_id, exported=exported)

    @rule(run_id=run_ids)
    def edit(self, run_id: str) -> None:
        """A fact and the config change on W&B, without a heartbeat."""
        if run_id in self.server.runs:
            self.moment += 1
            run = self.server.runs[run_id]
            run.config = {"edited": {"value": self.moment}}
            run.extra = {**run.extra, "displayName": f"{run_id}-{self.moment}"}

    @rule(run_id=run_ids)
    def delete(self, run_id: str) -> None:
        self.logged.pop(run_id, None)
        self.server.runs.pop(run_id, None)

    def night(self, machine: int = 0) -> ArchiveReport:
        return archive_project(
            open_store(self.root, create=True),
            "acme/nano",
            options=PullOptions(policy=QUICK, concurrency=2),
            work=self.folder / f"work{machine}",
            settings=SETTINGS,
            transport=self.server.transport,
            clock=Instant().clock,
        )

    def on_wandb(self) -> dict[str, tuple[Any, ...]]:
        """What one complete pull has."""
        if not self.logged:
            return {}
        out = self.folder / "complete.wandb.zip"

        async def story() -> None:
            await pull_from(self.server, out, force=True)

        anyio.run(story)
        with open_bundle(out) as bundle:
            return {run.path.run_id: described(run) for run in bundle.runs()}

    def files(self) -> dict[str, bytes]:
        if not self.root.exists():
            return {}
        return {file.name: file.read_bytes() for file in self.root.iterdir() if file.is_file()}

    @rule(crash=crash_after, machine=st.integers(0, 1))
    def interrupt(self, crash: int | None, machine: int) -> None:
        """A night until the network is gone: nothing is half published."""
        before = self.files()
        self.server.faults = [unplugged_after(0 if crash is None else crash)]
        ended = True
        try:
            self.night(machine)
        except RunNotFoundError:
            ended = bool(self.archived)
        except NetworkError:
            ended = False
            assert self.files() == before
        finally:
            self.server.faults = []
        if ended:
            self.settle()
        else:
            for name, parts in self.on_wandb().items():
                self.arrived.setdefault(name, []).append(parts)

    @rule(machine=st.integers(0, 1))
    def archive(self, machine: int) -> None:
        try:
            self.night(machine)
        except RunNotFoundError:
            assert not self.logged
            assert not self.archived
            return
        self.settle()

    @rule(machine=st.integers(0, 1))
    def archive_again(self, machine: int) -> None:
        """A second night of the same W&B writes nothing, and requests no rows."""
        with suppress(RunNotFoundError):
            self.night(machine)
            self.settle()
            before = self.files()
            report = self.night(machine)
            assert (report.version, report.members, report.changes.bundles) == (None, (), ())
            assert report.changes.rows_received == 0
            assert {run.how for run in report.changes.runs} <= {"unchanged", "gone"}
            assert self.files() == before

    @rule()
    def compact(self) -> None:
        if self.archived:
            compact_set(open_store(self.root), grace=0)

    def settle(self) -> None:
        """Compare the set with a complete pull of what W&B has, after a night that came to its end."""
        complete = self.on_wandb()
        gone = self.archived.keys() - complete.keys()
        with open_bundle_set(self.root) as opened:
            found = {run.path.run_id: described(run) for run in opened.runs()}
            marked = {run.path.run_id for run in opened.runs() if run.last_seen is not None}
        lost = found.keys() - complete.keys()
        assert gone <= lost
        assert marked == lost
        assert {name: found[name] for name in complete} == complete
        for name in lost:  # an interrupted night may have downloaded it before it was deleted
            assert _unmarked(found[name]) in [self.archived.get(name), *self.arrived.get(name, ())]
        self.archived = {name: _unmarked(parts) for name, parts in found.items()}
        assert verify_set(self.root).damages == ()

    @invariant()
    def the_set_has_what_it_had(self) -> None:
        if not self.archived:
            return
        with open_bundle_set(self.root) as opened:
            found = {run.path.run_id: described(run, gone=True) for run in opened.runs()}
        assert found == self.archived


def _unmarked(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    facts = {name: value for name, value in parts[0].items() if name != "last_seen"}
    return facts, *parts[1:]


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        pytest.param(8, 12, id="sample"),
        pytest.param(150, 40, id="full", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_an_archive_is_a_complete_pull_of_the_last_night_and_what_is_gone(examples: int, steps: int) -> None:
    profile = settings(max_examples=examples, stateful_step_count=steps)
    run_state_machine_as_test(ArchiveLife, settings=profile)
