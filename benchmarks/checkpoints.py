"""Measure how long it takes to find the runs and steps of checkpoints: this package and `torch.load`.

    python benchmarks/checkpoints.py [--repeats N]
    python benchmarks/checkpoints.py --quick       # a few checkpoints, each side once: checks that it works

Two sets are written by `torch.save` to a temporary folder: 300 checkpoints of a small transformer, and one
of 10 GB whose tensors are a hole in the file (`torch.serialization.skip_data`). Each side reads in a process
of its own, which imports its modules before the clock starts:

    ours    `pull_logs.sources.scan_checkpoints`: every run, step and epoch
    torch   `torch.load(weights_only=True, mmap=True)` and a look at three keys
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

COUNT, QUICK_COUNT = 300, 6
SPARSE_BYTES = 10 * 2**30


def write_many(folder: Path, count: int = COUNT) -> None:
    """Write checkpoints of five runs, each of a model with 74 tensors and its optimizer."""
    import torch

    model = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 6, enable_nested_tensor=False
    )
    optimizer = torch.optim.AdamW(model.parameters())
    for weights in model.parameters():
        weights.grad = torch.zeros_like(weights)
    optimizer.step()
    for number in range(count):
        content = {
            "wandb_run_path": f"acme/nano/run{number % 5}",
            "step": 100 * (number // 5),
            "epoch": number // 50,
            "config": {"lr": 1e-3, "layers": [1, 2, 3]},
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        torch.save(content, folder / f"step_{number:05d}.pt")


def write_sparse(folder: Path) -> None:
    """Write one checkpoint of 10 GB in 200 tensors, which take no space on the disk."""
    import torch

    rows = SPARSE_BYTES // 200 // 4
    content = {
        "wandb_run_path": "acme/nano/large",
        "step": 1000,
        "model": {f"layers.{number}.weight": torch.empty(rows) for number in range(200)},
    }
    with torch.serialization.skip_data():
        torch.save(content, folder / "large.pt")


def read_ours(folder: Path) -> list[object]:
    """Return the run and the step of every checkpoint."""
    from pull_logs.sources import scan_checkpoints

    return [[str(item.reference), item.step] for item in scan_checkpoints([str(folder)]).found]


def read_torch(folder: Path) -> list[object]:
    """Return the run and the step of every checkpoint by loading it."""
    import torch

    found: list[object] = []
    for file in sorted(folder.glob("*.pt")):
        content = torch.load(file, weights_only=True, mmap=True)
        found.append([content["wandb_run_path"], content["step"]])
    return found


def read(side: str, folder: Path) -> tuple[float, float, list[object]]:
    """Let one side read, and return wall time, processor time and what it found."""
    if side == "ours":
        from pull_logs.sources import scan_checkpoints  # noqa: F401 - imported before the clock starts
    else:
        import torch  # noqa: F401 - imported before the clock starts
    started, worked = time.perf_counter(), time.process_time()
    found = read_ours(folder) if side == "ours" else read_torch(folder)
    return time.perf_counter() - started, time.process_time() - worked, found


def measure(side: str, folder: Path, repeats: int) -> tuple[list[float], list[float], list[object]]:
    """Call `read` in new processes, and return the sorted times and what was found."""
    clock, work = [], []
    found: list[object] = []
    for _ in range(repeats):
        command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, worked, found = json.loads(done.stdout)
        clock.append(seconds)
        work.append(worked)
    return sorted(clock), sorted(work), found


def report(repeats: int, count: int = COUNT) -> None:
    """Write, read, and print one line per set and side: median and range in milliseconds."""
    many = partial(write_many, count=count)
    for name, write in ((f"{count} checkpoints", many), ("one of 10 GB", write_sparse)):
        with tempfile.TemporaryDirectory(prefix="pull-logs-bench-") as temporary:
            folder = Path(temporary)
            write(folder)
            size = sum(file.stat().st_size for file in folder.iterdir()) / 1e9
            answers = []
            for side in ("ours", "torch"):
                clock, work, found = measure(side, folder, repeats)
                answers.append(found)
                print(
                    f"{name} ({size:.2f} GB), {side}: clock {_times(clock)}, processor {_times(work)}",
                    flush=True,
                )
            if answers[0] != answers[1]:
                raise SystemExit(f"{name}: the two sides disagree")


def _times(seconds: Sequence[float]) -> str:
    middle, least, most = (1000 * seconds[index] for index in (len(seconds) // 2, 0, -1))
    return f"{middle:.1f} ms ({least:.1f} to {most:.1f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both sides, or run as one side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_COUNT} checkpoints, each side once")
    parser.add_argument("--side", choices=["ours", "torch"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args(arguments)
    if options.side is None:
        report(*((1, QUICK_COUNT) if options.quick else (options.repeats,)))
    else:
        print(json.dumps(read(options.side, options.folder)))


if __name__ == "__main__":
    main()
