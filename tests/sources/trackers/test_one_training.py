"""One training, logged at once by the real libraries of four trackers, has the same table from each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import record_trackers
from trackerkit import stores

from pull_logs import compare
from pull_logs.rows.canonical import canon_row, same
from pull_logs.snapshot import Bundle, open_bundle
from pull_logs.sources import import_locations, locate

TIMES = ("_timestamp", "_runtime")


@pytest.fixture(scope="module")
def locations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return stores(tmp_path_factory.mktemp("stores"))


def _without_times(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in TIMES}


def _by_name(bundle: Bundle) -> dict[str, Any]:
    return {run.name: run for run in bundle.runs()}


@pytest.mark.parametrize("kind", ["wandb", "tensorboard", "mlruns", "mlflow", "trackio"])
def test_every_tracker_gives_the_rows_that_were_logged(
    kind: str, locations: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "a.wandb.zip"
    report = import_locations([locate(str(locations[kind]))], out=out)
    assert report.notes == ()
    assert report.seal.incomplete == ()
    with open_bundle(out) as bundle:
        runs = _by_name(bundle)
        assert runs.keys() == record_trackers.RUNS.keys()
        for name, config in record_trackers.RUNS.items():
            run = runs[name]
            logged = [canon_row({"_step": step, **row}) for step, row in record_trackers.metrics(config)]
            assert same([_without_times(row) for row in run.scan_history()], logged)
            assert dict(run.config) == config
            assert run.state == "finished"
            last = {key: value for row in logged for key, value in row.items()}
            assert {key: run.summary[key] for key in last} == last
            times = [row["_timestamp"] for row in run.scan_history()]
            assert times == sorted(times)
            assert all(row["_runtime"] >= 0 for row in run.scan_history())


def test_one_comparison_takes_all_of_them(locations: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "old.wandb.zip"
    import_locations([locate(str(locations["wandb"]))], out=out)
    answer = compare(
        out,
        tensorboard=locations["tensorboard"],
        mlflow=[f"sqlite:///{locations['mlflow']}", str(locations["mlruns"])],
        trackio=locations["trackio"],
    )
    assert len(answer["runs"]) == 10
    names = {run["label"]: run["name"] for run in answer["runs"]}
    assert [entry["name"] for entry in answer["comparison"]] == ["val/acc", "train/loss"]
    for entry in answer["comparison"]:
        values = {(names[label], value) for label, value in entry["value"].items()}
        assert len(entry["value"]) == 10
        assert len(values) == 2  # one per name, whatever the tracker
