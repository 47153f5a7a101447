"""Public tools and scripts, none of them changed, read a served bundle as they read W&B."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from environments import environment
from replay_support import histogram_rows, odd_rows, plain_rows, world, write_runs

from pull_logs.replay.server import ReplayServer, serve_bundle
from pull_logs.rows.canonical import canon_row, same

HERE = Path(__file__).parent


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReplayServer]:
    with serve_bundle(write_runs(tmp_path, world())) as server:
        yield server


def run(server: ReplayServer, folder: Path, *command: str | Path) -> str:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run(
        command,
        env={**outside, **server.environment()},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tool(request: pytest.FixtureRequest, name: str, *packages: str) -> Path:
    cache = request.config.cache
    assert cache is not None
    return environment(cache.mkdir("sdk-releases"), name, *packages)


def test_a_script_that_compares_the_configs_of_a_project(server: ReplayServer, tmp_path: Path) -> None:
    told = run(server, tmp_path, sys.executable, HERE / "compare_configs.py", "acme/nano")
    assert told.splitlines() == [
        "run,lr,loss,state",
        "run acme/nano/odd01,0.001,,crashed",
        "zesty-owl-2,0.01,0.5,finished",
        "eager-fox-1,0.1,0.25,finished",
        "run acme/nano/live01,0.3,0.125,running",
    ]


EXPORT_SETTINGS = """
entity: acme
project: nano
filters: {state: finished}
samples: 10000
export_dir: out
data_types: {scalar: true, histogram: true, image_url: true, config: true, metadata: true}
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_wandb_export_writes_every_row(
    server: ReplayServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    commands = tool(
        request, "wandb-export", "wandb-export==1.0", "wandb==0.28.0", "pandas", "hydra-core", "pyyaml"
    )
    settings = tmp_path / "configs_wandb_export"
    settings.mkdir()
    (settings / "config_default.yaml").write_text(EXPORT_SETTINGS)
    run(server, tmp_path, commands / "wandb-export")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["eager-fox-1", "zesty-owl-2"]
    with (tmp_path / "out" / "eager-fox-1" / "scalars.csv").open() as file:
        rows = [(int(row["_step"]), float(row["loss"])) for row in csv.DictReader(file)]
    assert rows == [(row["_step"], row["loss"]) for row in plain_rows(2500)]
    histograms = json.loads((tmp_path / "out" / "zesty-owl-2" / "histograms.json").read_text())
    assert histograms == {"weights": [row["weights"] for row in histogram_rows(30)]}
    assert "id: plain01" in (tmp_path / "out" / "eager-fox-1" / "metadata.yaml").read_text()
    assert "lr: 0.1" in (tmp_path / "out" / "eager-fox-1" / "config.yaml").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_data_layer_of_wandb_tui(
    server: ReplayServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    commands = tool(request, "wandb-tui", "wandb-tui==0.3.0")
    found: Mapping[str, Any] = json.loads(
        run(server, tmp_path, commands / "python", HERE / "tui_driver.py", server.url)
    )
    assert (found["entities"], found["projects"]) == (["acme", "beta"], ["nano", "other"])
    rows = {
        "plain01": plain_rows(2500),
        "hist01": histogram_rows(30),
        "odd01": odd_rows(40),
        "live01": plain_rows(1200, stride=3),
        "empty01": [],
    }
    assert set(found["rows"]) == set(rows)
    for name, wanted in rows.items():
        assert same(list(map(canon_row, found["rows"][name])), list(map(canon_row, wanted))), name
    assert {"loss", "val/acc"} <= set(found["metrics"])
    assert found["configs"]["hist01"] == {"lr": 0.01}
    assert "has no run 'acme/nano/plain1', the nearest " in found["miss"]
