"""The benchmark of bundles runs, at sizes that show nothing but that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarkkit import run_benchmark
from checkout import ROOT

ALL = {"bundle", "NDJSON zstd-3", "Parquet", "pandas pickle"}
FIGURES = {
    "float32: sealed and verified, from Arrow columns": ALL,
    "float32: sealed and verified, from JSON rows": ALL,
    "float32: all rows to pandas": ALL,
    "float32: one column of one run": ALL,
    "float32: verify, every byte": {"bundle"},
    "float32: verify, every byte and every row": {"bundle"},
    "many: opened, one run looked up": {"bundle"},
    "many: one column of one run": {"bundle"},
}


def test_the_quick_benchmark_prints_every_line_of_its_tables(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    printed = run_benchmark("bundle.py", "--quick", "--repeats", "1", "--json", str(figures))
    found = json.loads(figures.read_text())
    assert {name: set(sides) for name, sides in found.items()} == FIGURES
    assert all(one["seconds"] > 0 < one["bytes"] for sides in found.values() for (one,) in sides.values())
    lines = printed.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "### Sizes",
        "### float32: 2 runs x 200 rows x 20 metrics",
        "### float32: 2 runs x 200 rows x 20 metrics",
        "### many: 100 runs x 5 rows x 20 metrics",
    ]
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) == 4 * 2 + 7 + sum(map(len, FIGURES.values()))
    assert {line.count(" | ") for line in tables if not line.startswith("|---")} == {8, 9}


def test_a_side_in_a_process_of_its_own_prints_its_measurements(tmp_path: Path) -> None:
    shutil.copy(ROOT / "fixtures" / "digits.wandb.zip", tmp_path / "all.wandb.zip")
    options = json.dumps({"set": "float32", "side": "bundle", "folder": str(tmp_path)})
    done = json.loads(run_benchmark("bundlework.py", "verify", options))
    assert done["bytes"] == (tmp_path / "all.wandb.zip").stat().st_size
    assert done["seconds"] > 0
    assert done["peak"] >= done["before"] > 10_000_000
