"""Logs that older SDKs wrote, kept compressed in `recorded/`: `run-core175` by the Go core of 0.17.5."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard

from pull_logs.rows.batches import batch_rows
from pull_logs.sources import LocalImport, read_run_dirs

_RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def _read(name: str, tmp_path: Path, scratch: Path) -> LocalImport:
    log = tmp_path / "offline-run-20261128_084056-core175" / name
    log.parent.mkdir()
    log.write_bytes(zstandard.decompress((_RECORDED / f"{name}.zst").read_bytes()))
    return read_run_dirs([log.parent], scratch=scratch)


def test_a_log_of_the_go_core_of_0_17_5_counts_its_blocks_from_the_header(
    tmp_path: Path, scratch: Path
) -> None:
    found = _read("run-core175.wandb", tmp_path, scratch)
    (run,) = found.runs
    rows = [row for batch in run.batches() for row in batch_rows(batch)]
    assert [(row["_step"], row["acc"], row["n"]) for row in rows] == [
        (step, step / 100, {"x": step}) for step in range(250)
    ]
    assert (run.info.state, run.info.summary["acc"], run.info.config) == ("finished", 2.49, {"lr": 0.1})
    assert (run.coverage.complete, found.notes) == (True, ())
