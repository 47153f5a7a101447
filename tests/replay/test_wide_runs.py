"""The SDK scans runs whose steps are far apart: from an exported file, or with the logged page size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_support import Row, bundle_run, write_runs

from pull_logs.replay import serve_bundle
from pull_logs.replay.data.wide_runs import is_wide, scan_advice
from pull_logs.runs import Coverage

SCAN = """
import json, sys, wandb
api = wandb.Api()
for path, options in json.load(sys.stdin):
    print(json.dumps(list(api.run(path).scan_history(**options))))
"""
ADVICE = (
    "run 'acme/wide/{}' has 1000 rows over 999000001 steps: scan_history() of the SDK reads 999001 pages "
    "of 1000 steps; scan_history(page_size=999001000) reads 1"
)


def rows_apart(count: int, gap: int) -> list[Row]:
    return [{"_step": at * gap, "loss": 1 / (at + 1), "epoch": at} for at in range(count)]


def mixed_rows(count: int, gap: int) -> list[Row]:
    """Rows that plain Parquet cannot hold: a key with both numbers and text."""
    return [{"_step": at * gap, "loss": at if at % 2 else "none"} for at in range(count)]


def scan(
    bundle: Path, folder: Path, asked: Sequence[tuple[str, Mapping[str, Any]]]
) -> tuple[list[list[Row]], dict[str, int]]:
    """Scan runs with the real SDK; give the rows of each scan, and the requests by operation."""
    with serve_bundle(bundle) as server:
        done = subprocess.run(
            [sys.executable, "-c", SCAN],
            input=json.dumps(asked),
            env={**os.environ, **server.environment()},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()], dict(server.requests.as_dict())


def test_a_running_run_with_steps_far_apart_is_scanned_without_requesting_pages(
    tmp_path: Path, clean_environment: Path
) -> None:
    rows = rows_apart(4, 100_000)
    path = write_runs(tmp_path, [bundle_run("acme/wide/live", rows, state="running")])
    keys = ["_step", "loss"]
    asked: list[tuple[str, dict[str, Any]]] = [
        ("acme/wide/live", {}),
        ("acme/wide/live", {"keys": keys}),
        ("acme/wide/live", {"min_step": 100_000, "max_step": 200_001}),
    ]
    found, requests = scan(path, clean_environment, asked)
    assert found == [rows, [{key: row[key] for key in keys} for row in rows], rows[1:3]]
    assert not {"HistoryPage", "SampledHistoryPage"} & requests.keys()
    assert requests["(object)"] == 1


def test_a_running_run_with_steps_close_together_is_live(tmp_path: Path, clean_environment: Path) -> None:
    rows = rows_apart(4, 1000)
    path = write_runs(tmp_path, [bundle_run("acme/wide/live", rows, state="running")])
    found, requests = scan(path, clean_environment, [("acme/wide/live", {})])
    assert (found, requests["HistoryPage"]) == ([rows], 4)


def test_the_page_size_that_is_logged_reads_a_run_in_one_page(
    tmp_path: Path, clean_environment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done, mixed = rows_apart(1000, 10**6), mixed_rows(1000, 10**6)
    runs = [bundle_run("acme/wide/done", done), bundle_run("acme/wide/mixed", mixed)]
    options = {"page_size": 999_001_000}
    asked = [(f"acme/wide/{name}", options) for name in ("done", "mixed", "mixed")]
    found, requests = scan(write_runs(tmp_path, runs), clean_environment, asked)
    assert found == [done, mixed, mixed]
    assert requests["HistoryPage"] == 2
    assert [record.getMessage() for record in caplog.records] == [
        ADVICE.format("done"),
        ADVICE.format("mixed"),
    ]


def run_of(rows: int, last_step: int, *, promised: int | None = None) -> Any:
    return SimpleNamespace(
        path="acme/wide/a",
        rows=rows,
        last_step=last_step,
        complete=promised is None,
        coverage=Coverage(promised_last_step=promised),
    )


@given(st.integers(1, 10**6), st.integers(0, 2**53), st.none() | st.integers(0, 2**53))
def test_advice_is_given_where_pages_are_many_and_mostly_empty_and_its_numbers_are_right(
    rows: int, last: int, promised: int | None
) -> None:
    steps = max(last, promised or 0) + 1
    pages = sum(divmod(steps, 1000)[:1]) + (steps % 1000 > 0)
    run = run_of(rows, last, promised=promised)
    assert is_wide(run) == (pages > 100)
    advice = scan_advice(run)
    if pages < 10_000 or pages * 1000 < 10 * rows:
        assert advice is None
        return
    assert advice is not None
    size = int(advice.partition("page_size=")[2].partition(")")[0])
    fewer = int(advice.rpartition(" ")[2])
    assert f"{rows} rows over {steps} steps" in advice
    assert f"reads {pages} pages of 1000 steps" in advice
    assert size < 2**31
    assert (fewer - 1) * size < steps <= fewer * size
    assert fewer == 1 or size == 2**31 - 1
