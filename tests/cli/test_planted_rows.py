"""Single rows planted into 100,000 are in the answer, in text and in JSON, within its budget."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bundlekit import bundle_run, make_bundle

ROWS = 100_000
PLANTED = {
    "loss": {777: 1e9, 31_337: math.nan, 99_998: -5.0},
    "acc": {1: -math.inf, 50_001: -1e30, 64_000: math.inf, 64_001: 7.0},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(3)
    metrics = {name: 1 + rng.random(ROWS) / 10 for name in PLANTED}
    for name, cells in PLANTED.items():
        for step, value in cells.items():
            metrics[name][step] = value
    columns = {name: values.tolist() for name, values in metrics.items()}
    rows = [{"_step": step, **{name: columns[name][step] for name in columns}} for step in range(ROWS)]
    return make_bundle(tmp_path_factory.mktemp("planted") / "b.zip", [bundle_run("acme/nano/a", rows)])


def said(bundle: Path, *words: str) -> str:
    command = [sys.executable, "-m", "pull_logs", "-b", str(bundle), "--no-hints", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("words", [(), ("--max-rows", "10"), ("--max-tokens", "1000"), ("--max-rows", "0")])
def test_no_planted_row_is_missing_and_the_sample_is_declared(bundle: Path, words: tuple[str, ...]) -> None:
    steps = {step for cells in PLANTED.values() for step in cells} | {0, ROWS - 1}
    history = json.loads(said(bundle, "--json", *words))["history"]["a"]
    shown = {row[0]: dict(zip(history["columns"], row, strict=True)) for row in history["rows"]}
    assert steps <= set(shown)
    assert (shown[31_337]["loss"], shown[1]["acc"], shown[50_001]["acc"]) == ("NaN", "-Infinity", -1e30)
    assert history["sampling"] == f"extremes {len(shown)}/{ROWS}"
    lines = said(bundle, *words).splitlines()
    table = lines[lines.index("_step,acc,loss") + 1 :]
    assert steps <= {int(line.split(",")[0]) for line in table if not line.startswith("#")}
