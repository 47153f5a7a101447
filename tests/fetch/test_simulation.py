"""A thousand networks, each made of one seed: what a pull calls complete is right to the row.

A seed is repeated by `SIMULATION_SEED=17 pytest -n 0 tests/fetch/test_simulation.py`, and the thousand run
with `pytest -m slow tests/fetch/test_simulation.py`.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import anyio
import pytest
from pulling import pull_from, rows_in
from simulated_wandb import SimulatedRun, SimulatedWandb, summary_of

from pull_logs.errors import IncompleteError, NetworkError
from pull_logs.fetch import PullReport
from pull_logs.rows.canonical import same

SAMPLE = [int(os.environ["SIMULATION_SEED"])] if "SIMULATION_SEED" in os.environ else [1, 2, 3, 4]
SEEDS, PER_TEST = 1_000, 25
LEAST_ROWS = 1_000_000
"""The rows that all seeds together compare, at least."""


async def interrupted(server: SimulatedWandb, out: Path, chance: random.Random) -> PullReport | None:
    """Pull, possibly stopped after some requests; None if it did not end with a report."""
    try:
        with anyio.CancelScope() as scope:
            if chance.random() < 0.3:
                server.stop_after(chance.randint(1, 25), scope.cancel)
            return await pull_from(
                server, out, clock=server.time.clock, concurrency=chance.choice([1, 2, 8, 32])
            )
    except (NetworkError, IncompleteError):
        return None
    finally:
        server.stop_after(None)
    return None


def compared(out: Path, server: SimulatedWandb, report: PullReport, starts: dict[str, int]) -> int:
    """Compare every row of a bundle with those that W&B had; return how many these were."""
    simulated = {one.run.run_id: one for one in server.simulated}
    complete = {outcome.path.run_id for outcome in report.runs if outcome.complete}
    count = 0
    for run_id, rows in rows_in(out).items():
        one = simulated[run_id]
        steps = [row["_step"] for row in rows]
        assert steps == sorted(set(steps)), (server.seed, run_id)
        for row in rows:
            had = one.versions.get(row["_step"], [])
            assert any(same(row, version) for version in had), (server.seed, run_id, row, had)
        if run_id in complete:
            known = sorted(one.versions)
            assert steps == known[: len(steps)], (server.seed, run_id)
            assert len(steps) >= starts[run_id], (server.seed, run_id, summary_of(report))
        count += len(rows)
    return count


async def simulated(seed: int, folder: Path) -> int:
    """Pull through ever more faults, and at last without any; return the number of rows compared."""
    server, chance, count = SimulatedWandb(seed), random.Random(f"{seed} pulls"), 0
    out = folder / f"{seed}.zip"
    for share in (0.0, 0.25, 0.5):
        server.share = share
        starts = {one.run.run_id: one.seen for one in server.simulated}
        report = await interrupted(server, out, chance)
        if report is not None:
            assert {outcome.path.run_id for outcome in report.runs} == set(server.runs)
            assert all(outcome.complete or outcome.reason for outcome in report.runs)
            count += compared(out, server, report, starts)
    server.calm, server.share = True, 0.0
    report = await pull_from(server, out, fresh=True)
    assert all(outcome.complete for outcome in report.runs), (seed, summary_of(report))
    count += exactly(out, server.simulated, seed)
    await pull_from(server, folder / f"{seed}-undisturbed.zip")
    assert out.read_bytes() == (folder / f"{seed}-undisturbed.zip").read_bytes(), seed
    return count


def exactly(out: Path, runs: list[SimulatedRun], seed: int) -> int:
    """Compare a bundle with what W&B has now; return the number of rows."""
    found, count = rows_in(out), 0
    assert sorted(found) == sorted(one.run.run_id for one in runs)
    for one in runs:
        truth = one.truth()
        rows = found[one.run.run_id]
        assert [row["_step"] for row in rows] == sorted(truth), (seed, one.run.run_id)
        assert all(same(row, truth[row["_step"]]) for row in rows), (seed, one.run.run_id)
        count += len(rows)
    return count


@pytest.mark.anyio
@pytest.mark.parametrize("seed", SAMPLE)
async def test_a_sample_of_the_networks_loses_repeats_and_changes_nothing(tmp_path: Path, seed: int) -> None:
    assert await simulated(seed, tmp_path) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.anyio
@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
async def test_a_thousand_networks_lose_repeat_and_change_nothing(tmp_path: Path, first: int) -> None:
    rows = 0
    for seed in range(first, first + PER_TEST):
        rows += await simulated(seed, tmp_path)
    assert rows >= LEAST_ROWS * PER_TEST // SEEDS
