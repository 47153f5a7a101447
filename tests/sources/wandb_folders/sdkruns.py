"""Runs that W&B's own SDK records offline, and what is logged in them.

Run as a script, in a process of its own, it records one of `RUNS` below the
folder that is given; imported, it has what is logged. `defined` is recorded as an
online run, for the server that `WANDB_BASE_URL` names.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from typing import Any

CONFIG = {"lr": 0.1, "opt": {"name": "adam", "betas": [0.9, 0.99]}, "none": None, "inf": math.inf, "ünï": "✓"}
KILLED_ROWS = 3000


def kinds_row(step: int) -> dict[str, Any]:
    """A row with a value of every kind that the SDK takes as it is."""
    return {
        "loss": 1 / (step + 1),
        "nan": math.nan,
        "inf": math.inf,
        "-inf": -math.inf,
        "text": "NaN, or not",
        "flag": step % 2 == 0,
        "count": 2**53 + 2 * step,
        "nested": {"deep": {"x": step}, "a.b": [1, None, {"y": 2}]},
        "a.b": step,
        "val/acc": 0.1 * step,
        "none": None,
    }


def _start(folder: str, run_id: str, **options: Any) -> Any:
    import wandb

    return wandb.init(
        project="proj",
        id=run_id,
        dir=folder,
        settings=wandb.Settings(
            mode=options.pop("mode", "offline"),
            console="off",
            silent=True,
            x_disable_stats=not options.pop("stats", False),
        ),
        **options,
    )


def _kinds(folder: str) -> None:
    import wandb

    run = _start(
        folder, "kinds", name="a name", tags=["b", "a"], group="g", job_type="t", notes="n", config=CONFIG,
        entity="team", stats=True,
    )  # fmt: skip
    run.define_metric("val/acc", summary="max")
    for step in range(5):
        run.log(kinds_row(step))
    run.log({"hist": wandb.Histogram([1, 2, 3, 4, 5], num_bins=2)}, step=7)
    run.log({"part": 1}, step=9, commit=False)
    run.log({"rest": 2}, step=9)
    run.config.update({"late": 1})
    run.summary["kept"] = {"q": 1}
    run.summary["gone"] = 1
    del run.summary["gone"]
    # The first system metrics are taken at the start, whatever the interval.
    run.finish()


def _segments(folder: str) -> None:
    for first, last in ((0, 5), (3, 9), (0, 2), (2, 4)):
        second = int(time.time())
        run = _start(folder, "segments", config={f"from{first}": last, "last": last}, resume="allow")
        for step in range(first, last):
            run.log({"x": step, "last": last}, step=step)
        run.finish()
        while int(time.time()) == second:  # folders are named by the second
            time.sleep(0.02)


def _defined(folder: str) -> None:
    run = _start(folder, "defined", mode="online")
    run.define_metric("epoch")
    run.define_metric("val/acc", step_metric="epoch", summary="max")
    run.define_metric("val/acc", summary="last,mean", hidden=True)
    run.define_metric("train/*", step_metric="batch")
    run.define_metric("quiet", step_metric="epoch", step_sync=False, summary="none")
    run.define_metric("over", step_metric="epoch", summary="max")
    run.define_metric("over", summary="min", overwrite=True)
    for step in range(6):
        run.log({"epoch": step // 2, "batch": 2 * step, "train/loss": 1 / (step + 1), "val/acc": 0.1 * step})
    run.finish()


def _failed(folder: str) -> None:
    run = _start(folder, "failed")
    run.log({"x": 1})
    run.finish(exit_code=3)


def _preempted(folder: str) -> None:
    run = _start(folder, "preempted")
    run.log({"x": 1})
    run.mark_preempting()
    run.finish(exit_code=1)


def _killed(folder: str) -> None:
    run = _start(folder, "killed")
    for step in range(KILLED_ROWS):
        run.log({"x": step, "text": "t" * 50})
    log = f"{run.settings.sync_dir}/run-killed.wandb"
    deadline = time.monotonic() + 30
    while os.path.getsize(log) < 5 * 32 * 1024 and time.monotonic() < deadline:  # noqa: PTH202
        time.sleep(0.02)
    os.killpg(0, signal.SIGKILL)


def _stillborn(folder: str) -> None:
    run = _start(folder, "stillborn")
    run.log({"x": 1})
    os.killpg(0, signal.SIGKILL)


RUNS = {
    "kinds": _kinds,
    "defined": _defined,
    "segments": _segments,
    "failed": _failed,
    "preempted": _preempted,
    "killed": _killed,
    "stillborn": _stillborn,
}

if __name__ == "__main__":
    RUNS[sys.argv[1]](sys.argv[2])
