"""The scenarios of the benchmark, and the seeded bundles that are served for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from contender import ENTITY, PROJECT

from pull_logs.rows.batches import batch_from_arrow
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.snapshot.write.seal import write_bundle

_ROWS_IN_A_BATCH = 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """The latency and rate limit between client and server.

    Attributes:
        latency: Seconds added to each request.
        quota: The GraphQL requests allowed in a window; None for no limit.
        window: The seconds of a window.
    """

    latency: float = 0.0
    quota: int | None = None
    window: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One line of the table.

    Attributes:
        name: The name for `--only`.
        runs: The runs of the project.
        rows: The rows of each run.
        metrics: The metrics of each row, besides `_step`, `_timestamp` and `_runtime`.
        last_step: The last step of each run, whose rows are at random steps up to it; None for dense steps.
        live: Whether the runs are still running, so that nothing of them is exported.
        shard_rows: The most rows of one exported file; None for one file per run.
        net: The latency and rate limit.
        sdk: The ways of reading with the SDK that are measured: loop and thread pool.
        sdk_runs: The runs that the SDK reads, its time being extrapolated to all; None for all.
        at_most: The aimed ratio to the bare requests; 0 for no aim.
        at_least: The aimed ratios to the loop and to the pool; 0 for no aim.
        aims: The other aims, as text.
    """

    name: str
    runs: int
    rows: int
    metrics: int = 20
    last_step: int | None = None
    live: bool = False
    shard_rows: int | None = None
    net: Net = Net()
    sdk: tuple[str, ...] = ("loop",)
    sdk_runs: int | None = None
    at_most: float = 0.0
    at_least: tuple[float, float] = (0.0, 0.0)
    aims: str = ""

    @property
    def all_rows(self) -> int:
        """Rows of all runs."""
        return self.runs * self.rows

    def bundle_name(self) -> str:
        """Return the file name of the scenario's bundle, which differs for other data."""
        state = "live" if self.live else "exported"
        return f"{self.runs}x{self.rows}x{self.metrics}-{self.last_step or 'dense'}-{state}.wandb.zip"


SCENARIOS = (
    Scenario(name="bulk", runs=200, rows=2_000, sdk=("loop", "pool"), at_most=1.5, at_least=(10, 10)),
    Scenario(name="long", runs=1, rows=200_000, at_most=1.6, at_least=(15, 0)),
    Scenario(
        name="latency",
        runs=100,
        rows=1_000,
        net=Net(latency=0.08),
        sdk=("loop", "pool"),
        at_most=1.4,
        at_least=(18, 4),
    ),
    Scenario(
        name="sparse-live",
        runs=1,
        rows=500,
        last_step=4_999_999,
        live=True,
        at_least=(20, 0),
        aims="<= 8 requests, 0.3 s",
    ),
    Scenario(
        name="many", runs=5_000, rows=20, metrics=5, sdk_runs=50, aims="<= 0.1 GraphQL requests per run"
    ),
    Scenario(
        name="rate-limit",
        runs=400,
        rows=200,
        metrics=5,
        live=True,
        net=Net(quota=100),
        sdk=(),
        aims="<= 15% over the limit's own time, < 1% answered 429",
    ),
    Scenario(name="memory", runs=1, rows=5_000_000, metrics=5, shard_rows=500_000, sdk=(), aims="<= 500 MB"),
)

_SMALL = {
    "bulk": {"runs": 20, "rows": 500},
    "long": {"rows": 20_000},
    "latency": {"runs": 20, "rows": 200},
    "sparse-live": {"last_step": 99_999},
    "many": {"runs": 300, "sdk_runs": 10},
    "rate-limit": {"runs": 60, "net": Net(quota=20, window=2.0)},
    "memory": {"rows": 400_000, "shard_rows": 50_000},
}


def small(scenario: Scenario) -> Scenario:
    """Return the scenario in a small size, to check that the benchmark works."""
    return replace(scenario, **_SMALL[scenario.name])  # type: ignore[arg-type]


def make_bundle(scenario: Scenario, folder: Path) -> Path:
    """Return the scenario's bundle in `folder`, which is made if it is missing."""
    out = folder / scenario.bundle_name()
    if not out.exists():
        write_bundle(out, (_run(scenario, number) for number in range(scenario.runs)), force=True)
    return out


def _run(scenario: Scenario, number: int) -> BundleRun:
    return BundleRun(
        info=RunInfo(
            path=RunPath(ENTITY, PROJECT, f"run{number:05d}"),
            name=f"eager-fox-{number}",
            state="running" if scenario.live else "finished",
            tags=("bench",),
            created_at=f"2026-11-23T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z",
            config={"lr": 10.0 ** -(1 + number % 5), "seed": number, "model": {"width": 256, "depth": 8}},
            summary={"metric_00": number / 7, "_step": scenario.rows - 1},
        ),
        coverage=Coverage(promised_rows=scenario.rows, received_rows=scenario.rows),
        batches=partial(_batches, scenario, number),
    )


def _batches(scenario: Scenario, number: int) -> Iterator[pa.Table]:
    steps = _steps(scenario, number)
    for start in range(0, scenario.rows, _ROWS_IN_A_BATCH):
        rng = np.random.default_rng([number, start])
        yield batch_from_arrow(_table(rng, steps[start : start + _ROWS_IN_A_BATCH], metrics=scenario.metrics))


def _steps(scenario: Scenario, number: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if scenario.last_step is None:
        return np.arange(scenario.rows, dtype=np.int64)
    inner = np.random.default_rng([number]).choice(scenario.last_step, scenario.rows - 1, replace=False)
    return np.sort(np.append(inner, scenario.last_step)).astype(np.int64)


def _table(
    rng: np.random.Generator, steps: np.ndarray[tuple[int], np.dtype[np.int64]], *, metrics: int
) -> pa.Table:
    """Return rows as in training: half of the metrics are float32 values, half are full doubles."""
    count = len(steps)
    columns: dict[str, object] = {
        "_step": steps,
        "_runtime": steps * 0.25,
        "_timestamp": 1.7e9 + steps * 0.25,
    }
    for metric in range(metrics):
        walk = np.exp(-steps / (steps[-1] + 1)) + rng.standard_normal(count) * 0.05
        columns[f"metric_{metric:02d}"] = walk if metric % 2 else walk.astype(np.float32).astype(np.float64)
    return pa.table(columns)
