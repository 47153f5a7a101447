"""The histories for benchmarks of bundles: seeded runs of 20 metrics, as Arrow tables and as JSON rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from pull_logs.runs import Coverage, RunInfo, RunPath

Doubles: TypeAlias = NDArray[np.float64]

ENTITY, PROJECT = "acme", "sweep"
PROBED = "train/loss"
"""The metric that the task for one column reads."""

NOISY = (
    *("train/loss", "train/accuracy", "train/perplexity", "train/grad_norm", "train/param_norm"),
    *(
        "train/update_ratio",
        "train/entropy",
        "val/loss",
        "val/accuracy",
        "val/perplexity",
        "val/f1",
        "loss/aux",
    ),
)
"""Metrics with values as from `item()` of a float32 tensor."""

PLAIN = ("lr", "throughput", "gpu/util", "gpu/memory", "val/top1", "val/top5")
"""Metrics computed in Python: full doubles, values of four decimals, shares of 1,024; two of each."""

COUNTS = ("epoch", "samples")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySet:
    """Runs of one kind.

    Attributes:
        name: The name in the table.
        runs: The number of runs.
        rows: The rows of each run.
        doubles: Whether every metric except counts is a full double; otherwise 12 of 20 are float32 values.
    """

    name: str
    runs: int
    rows: int
    doubles: bool = False

    @property
    def all_rows(self) -> int:
        """Rows of all runs."""
        return self.runs * self.rows

    def table(self, number: int) -> pa.Table:
        """Return the rows of one run in the columns of an export."""
        rng = np.random.default_rng([number, self.runs, self.rows, self.doubles])
        columns: dict[str, Any] = dict(_clock(rng, self.rows))
        for name in NOISY:
            columns[name] = _walk(rng, self.rows) if self.doubles else _single(_walk(rng, self.rows))
        for name, make in zip(PLAIN, _MAKERS, strict=True):
            columns[name] = _walk(rng, self.rows) if self.doubles else make(rng, self.rows)
        columns["epoch"] = np.arange(self.rows) // 100
        columns["samples"] = np.arange(1, self.rows + 1) * 256
        return pa.table(columns)

    def info(self, number: int) -> RunInfo:
        """Return the record of one run."""
        return RunInfo(
            path=RunPath(ENTITY, PROJECT, f"run{number:05d}"),
            name=f"eager-fox-{number}",
            state="finished",
            tags=("bench",),
            created_at=f"2026-11-23T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z",
            config={"lr": 10.0 ** -(1 + number % 5), "seed": number, "model": {"width": 256, "depth": 8}},
            summary={PROBED: number / 7, "_step": self.rows - 1},
        )

    def coverage(self) -> Coverage:
        """Return the coverage of a complete run."""
        return Coverage(promised_rows=self.rows, received_rows=self.rows, received_last_step=self.rows - 1)


def json_lines(table: pa.Table) -> bytes:
    """Return rows as W&B's API sends them: one JSON object per line."""
    rows: Iterator[tuple[Any, ...]] = zip(*(column.to_pylist() for column in table.columns), strict=True)
    names = table.column_names
    return b"".join(
        orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE) for row in rows
    )


def _clock(rng: np.random.Generator, rows: int) -> dict[str, NDArray[Any]]:
    runtime = np.cumsum(rng.gamma(20.0, 0.0125, rows))
    return {
        "_step": np.arange(rows),
        "_runtime": runtime,
        "_timestamp": np.round(1.7640000e9 + runtime, 6),
    }


def _walk(rng: np.random.Generator, rows: int) -> Doubles:
    """Return a curve that falls and flattens, with 5 % noise."""
    falling: Doubles = 0.1 + 2.0 * np.exp(-np.arange(rows) / (0.3 * rows + 1))
    return falling * (1.0 + 0.05 * rng.standard_normal(rows))


def _single(values: Doubles) -> Doubles:
    return values.astype(np.float32).astype(np.float64)


def _schedule(_: np.random.Generator, rows: int) -> Doubles:
    cosine: Doubles = 5e-4 * (1.0 + np.cos(np.pi * np.arange(rows) / rows))
    return cosine


def _rounded(rng: np.random.Generator, rows: int) -> Doubles:
    return np.round(100.0 * _walk(rng, rows), 4)


def _share(rng: np.random.Generator, rows: int) -> Doubles:
    return np.round(np.clip(1.0 - 0.4 * _walk(rng, rows), 0.0, 1.0) * 1024) / 1024


_MAKERS: tuple[Callable[[np.random.Generator, int], Doubles], ...] = (
    *(_schedule, _walk),
    *(_rounded, _rounded),
    *(_share, _share),
)

SETS = (
    HistorySet(name="float32", runs=200, rows=2_000),
    HistorySet(name="float64", runs=200, rows=2_000, doubles=True),
    HistorySet(name="short", runs=2_000, rows=50),
    HistorySet(name="many", runs=10_000, rows=20),
)


def small(histories: HistorySet) -> HistorySet:
    """Return the set in a small size, to check that the benchmark works."""
    return replace(histories, runs=max(2, histories.runs // 100), rows=max(5, histories.rows // 10))
