"""Pulls of a scripted W&B, and proofs that nothing of it is missing in the bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pulling import PROJECT, pull_from
from scripted_wandb import QUICK, SETTINGS, FakeRun, Instant, Row, ScriptedWandb, rows_of

from pull_logs.fetch import run_async
from pull_logs.proof import AskOptions, BundleProof, RunProof, prove_against_wandb
from pull_logs.snapshot.format import ConsoleLine

EVERYTHING: Mapping[str, Any] = {"system": True, "console": True, "files": ["*"]}


def complete_run(run_id: str = "a", *, live: bool = False, **more: Any) -> FakeRun:
    """A finished run with every kind of data, NaN and a large integer among its values."""
    nan = "NaN" if live else math.nan  # as live rows and exported files spell it
    rows: list[Row] = [*rows_of(range(0, 40, 2)), {"_step": 41, "m0": nan, "big": 2**60, "ok": True}]
    fields: dict[str, Any] = {
        "state": "finished",
        "config": {"lr": 0.1, "opt": {"name": "adam"}},
        "summary": {"loss": "NaN", "best": {"step": 3}},
        "events": [{"_timestamp": 1.7e9 + second, "system.cpu": second / 4} for second in range(5)],
        "files": {"output.log": b"one\ntwo\n", "media/images/a.png": b"\x89PNG"},
        "console": [ConsoleLine(number=number, text=f"line {number}") for number in range(12)],
        "keys": {"m0": 21, "m1": 20, "_step": 21},
        **more,
    }
    return FakeRun.logging(run_id, rows, **fields) if live else FakeRun.exported(run_id, rows, **fields)


def pulled(server: ScriptedWandb, out: Path, **options: Any) -> Path:
    run_async(partial(pull_from, server, out, PROJECT, **{**EVERYTHING, **options}))
    return out


def asked(server: ScriptedWandb, bundle: Path, *, compare_rows: bool = True) -> BundleProof:
    options = AskOptions(settings=SETTINGS, policy=QUICK, transport=server.transport, clock=Instant().clock)
    return prove_against_wandb(bundle, compare_rows=compare_rows, options=options)


def verdict_of(server: ScriptedWandb, bundle: Path, run_id: str = "a") -> RunProof:
    return next(run for run in asked(server, bundle).runs if run.path.run_id == run_id)
