"""Runs as large training jobs log them: two thousand metrics, most of them in families, over many seeds.

Made by code, so that each property is known: which runs are incomplete, resumed, spiked or not finite.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bundlekit import bundle_run, make_bundle

from pull_logs.runs import Coverage
from pull_logs.snapshot import BundleRun

LAYERS, NGRAMS, HEADS = 48, 512, 8
ROWS, EVERY = 40, 8
LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3)
WIDTHS = (256, 512, 768, 1024, 2048)
SEEDS = 5
INCOMPLETE, CRASHED, NOT_FINITE, SPIKED, RESUMED = (7, 41, 80), (7, 41), (19, 33), (55,), (12, 60)
PARTS = ("attn.norm", "mlp.norm", "attn.grad", "mlp.grad", "attn.weight", "mlp.weight", "resid.rms")
PLAIN = (
    "train/loss", "train/acc", "train/grad_norm", "train/lr", "train/tokens", "train/tokens_per_sec",
    "val/loss", "val/acc", "val/perplexity", "optim/beta2", "data/epoch", "gpu_hours",
)  # fmt: skip


def family_names() -> list[str]:
    """Return the names that belong to families, each of which differs in one number or two."""
    return [
        *(f"combined/ngram_{n}" for n in range(1, NGRAMS + 1)),
        *(f"layers.{layer}.{part}" for layer in range(LAYERS) for part in PARTS),
        *(f"layers.{layer}.head.{head}.entropy" for layer in range(LAYERS) for head in range(HEADS)),
        *(f"experts/{layer:02d}/load_{expert}" for layer in range(LAYERS) for expert in range(16)),
    ]


def wide_rows(number: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of one run; every twentieth run logs families, in every eighth row, like validation."""
    rng = np.random.default_rng(number)
    group = number // SEEDS
    names = family_names() if number % 20 == 0 else ()
    last = ROWS // 2 if number in CRASHED else ROWS
    for index in range(last):
        step = index * 25
        loss = 1.9 + 0.05 * (group % 7) + 6 / (1 + index) + 0.02 * float(rng.standard_normal())
        if number in SPIKED and index == 30:
            loss *= 40
        if number in NOT_FINITE and index >= 35:
            loss = math.nan
        row: dict[str, Any] = {
            "_step": step,
            "_runtime": step * 1.7 + (5000 if number in RESUMED and index > 20 else 0),
            "_timestamp": 1_790_000_000 + step * 2 + number,
            "train/loss": loss,
            "train/acc": 1 / (1 + abs(loss)),
            "train/grad_norm": float(rng.gamma(2.0)),
            "train/lr": LEARNING_RATES[group % 4] * min(1, index / 5),
            "train/tokens": step * 524_288,
            "train/tokens_per_sec": 181_000 + float(rng.normal(0, 900)),
            "data/epoch": index * 0.0125,
            "gpu_hours": step * 0.0037,
            "optim/beta2": 0.95,
        }
        if index % EVERY == EVERY - 1:
            row |= {
                "val/loss": loss + 0.1,
                "val/acc": 1 / (1.2 + abs(loss)),
                "val/perplexity": math.exp(loss),
            }
            row |= dict(zip(names, rng.lognormal(size=len(names)).tolist(), strict=True))
        yield row


def wide_run(number: int) -> BundleRun:
    """Return one of the runs; five of each learning rate and width differ in their seed only."""
    group, seed = divmod(number, SEEDS)
    rows = list(wide_rows(number))
    summary = {name: value for row in rows for name, value in row.items()}
    incomplete = number in INCOMPLETE
    last = rows[-1]["_step"]
    reason = "11 of 51 rows are missing" if incomplete else ""
    return bundle_run(
        f"lab/pretrain-wide/w{number:02d}k{number * 7919 % 9973:04d}",
        rows,
        config={
            "lr": LEARNING_RATES[group % len(LEARNING_RATES)],
            "width": WIDTHS[group // len(LEARNING_RATES)],
            "seed": seed,
            "batch_size": 512,
            "data": {"name": "web-2026", "shards": 128},
            "layers": [{"heads": HEADS, "ffn": 4 * 256} for _ in range(2)],
            **{f"layer_{layer}": {"dropout": 0.1, "init": 0.02 / (1 + layer)} for layer in range(LAYERS)},
            **({"resumed_from": {"step": 525}} if number in RESUMED else {}),
        },
        summary=summary,
        name=f"gpt-lr{LEARNING_RATES[group % 4]:g}-w{WIDTHS[group // 4]}-s{seed}",
        state="crashed" if number in CRASHED else "finished",
        coverage=Coverage(
            complete=not incomplete, reason=reason, received_rows=len(rows), received_last_step=last
        ),
        system=[
            {"_timestamp": 1_790_000_000.0 + at, **{f"system.gpu.{gpu}.temp": 60.0 + at for gpu in range(8)}}
            for at in range(3)
        ],
    )


def make_wide_bundle(path: Path, *, runs: int = 100) -> Path:
    """Write the bundle of the first runs."""
    return make_bundle(path, (wide_run(number) for number in range(runs)))
