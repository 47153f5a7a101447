"""Nights that stop at each point, on two machines, and W&B that loses a run before they go on.

What a machine downloaded and did not add is all that there is of such a run. It replaces what the set has if
and only if W&B saw it later.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Literal

import pytest
from scripted_wandb import FakeRun, ScriptedWandb, rows_of
from test_archive_nights import Archive
from test_bundle_life import unplugged_after

from pull_logs.errors import NetworkError
from pull_logs.snapshot import Spool, open_bundle, open_bundle_set
from pull_logs.snapshot.sets import verify_set

Stop = int | Literal["sealed", "never"]
"""After so many requests, when the bundles are made and not yet added, or not at all."""

ROWS = {1: 4, 2: 9, 3: 6}
"""The rows of a run by the day: W&B's state of a day does not have what that of another one has."""


class StoppedError(Exception):
    """The machine was switched off."""


def state(run_id: str, day: int) -> FakeRun:
    rows = [{**row, "day": float(day)} for row in rows_of(range(ROWS[day]))]
    return FakeRun.exported(run_id, rows, extra={"heartbeatAt": f"2026-01-{day:02}T10:00:00Z"})


def night(archive: Archive, stop: Stop) -> None:
    """Archive until the night stops."""

    def switch_off(_seal: object) -> None:
        raise StoppedError

    try:
        if stop == "sealed":
            archive.night(inspect=switch_off)
        else:
            archive.server.faults = [] if stop == "never" else [unplugged_after(stop)]
            archive.night(concurrency=1)
    except (NetworkError, StoppedError):
        pass
    finally:
        archive.server.faults = []


def days_in_set(archive: Archive) -> dict[str, int]:
    """The day of which the set has each run."""
    with open_bundle_set(archive.where) as opened:
        found = {run.path.run_id: list(run.scan_history()) for run in opened.runs()}
    for rows in found.values():
        assert {row["day"] for row in rows} == {rows[0]["day"]}
        assert len(rows) == ROWS[int(rows[0]["day"])]
    return {name: int(rows[0]["day"]) for name, rows in found.items()}


def days_left(archive: Archive, scratch: Path) -> dict[str, int]:
    """The day of which a machine has runs that it did not add: in bundles, and in an unfinished spool."""
    if not archive.work.exists():
        return {}
    copied = shutil.copytree(archive.work, scratch, ignore=shutil.ignore_patterns("*.lock"))
    found: dict[str, int] = {}
    for bundle in copied.rglob("*.wandb.zip"):
        with open_bundle(bundle) as opened:
            found |= {run.path.run_id: day_of(run.heartbeat_at) for run in opened.runs()}
    for plan in copied.rglob("plan.json"):
        out = plan.parent.with_name(plan.parent.name.removesuffix(".partial"))
        with Spool.open(out, plan=json.loads(plan.read_bytes())) as spool:
            for path, stored in spool.stored.items():
                day = day_of(stored.info().heartbeat_at)
                found[path.run_id] = max(day, found.get(path.run_id, 0))
    shutil.rmtree(copied)
    return found


def day_of(heartbeat: str | None) -> int:
    assert heartbeat is not None
    return int(heartbeat[8:10])


def story(folder: Path, first: Stop, second: Stop, order: tuple[int, int]) -> None:
    """Let two nights stop, lose the runs, and go on."""
    server = ScriptedWandb(*(state(name, 1) for name in ("a", "b", "c", "kept")))
    machines = [Archive(folder / "set", folder / f"work{number}", server) for number in range(2)]
    machines[0].night()
    server.runs |= {name: state(name, 2) for name in ("a", "b", "c", "new")}
    night(machines[0], first)
    server.runs |= {name: state(name, 3) for name in "abc"}
    night(machines[1], second)
    for name in ("a", "b", "c", "new"):
        del server.runs[name]
    for number in order:
        before, left = days_in_set(machines[number]), days_left(machines[number], folder / "scratch")
        machines[number].night()
        expected = {name: max(before.get(name, 0), left.get(name, 0)) for name in {**before, **left}}
        assert days_in_set(machines[number]) == expected, (first, second, order)
        assert not machines[number].work.exists()
    with open_bundle_set(folder / "set") as opened:
        assert {run.path.run_id for run in opened.runs() if run.last_seen is not None} == {
            name for name in opened.catalog.column("run_id").to_pylist() if name != "kept"
        }
    assert verify_set(folder / "set").damages == ()


def points(every: int, most: int) -> list[Stop]:
    return [*range(0, most, every), "sealed", "never"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first-machine-first", "second-machine-first"])
@pytest.mark.parametrize("second", [4, "never"])
def test_what_stopped_nights_left_of_a_run_that_is_gone(
    tmp_path: Path, second: Stop, order: tuple[int, int]
) -> None:
    """The set has the state that W&B saw last, of all that was there (some points)."""
    for first in (3, "sealed"):
        folder = tmp_path / f"{first}-{second}"
        folder.mkdir()
        story(folder, first, second, order)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first-machine-first", "second-machine-first"])
def test_nights_that_stop_at_each_request(tmp_path: Path, order: tuple[int, int]) -> None:
    """The same at each point of both: `pytest -m slow tests/interface`."""
    for first in points(1, 8):
        for second in points(1, 8):
            folder = tmp_path / f"{first}-{second}"
            folder.mkdir()
            story(folder, first, second, order)
