"""Recorded files of Keras' callback and of TensorFlow's summaries; see fixtures/record_keras.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from eventkit import column, read_all, rows_of

from pull_logs.snapshot import FileSelection
from pull_logs.sources.tracked_runs import ReadOptions, TrackedRun

RECORDED = Path(__file__).parent / "recorded" / "keras"
HISTORY = json.loads((RECORDED / "logged.json").read_text())["history"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrackedRun]:
    media = ReadOptions(files=FileSelection(("media/*",)))
    return read_all(RECORDED, tmp_path_factory.mktemp("scratch"), media)


def _curve(values: list[float]) -> list[tuple[int, float]]:
    return [(step, float(np.float32(value))) for step, value in enumerate(values)]


def test_the_callback_logs_each_epoch_into_two_runs(runs: dict[str, TrackedRun]) -> None:
    train, validation = runs["exp/train"], runs["exp/validation"]
    assert column(train, "epoch_loss") == _curve(HISTORY["loss"])
    assert column(validation, "epoch_loss") == _curve(HISTORY["val_loss"])
    rate = float(np.float32(0.01))
    assert column(train, "epoch_learning_rate") == [(step, rate) for step in range(5)]
    after = [step for step, _ in column(validation, "evaluation_loss_vs_iterations")]
    assert after == [1, 2, 3, 4, 5]
    for run in (train, validation):
        assert (run.notes, run.run.coverage.complete, run.run.info.group) == ((), True, "exp")
    for _, weights in column(train, "sequential/dense/kernel/histogram"):
        assert weights["_type"] == "histogram"
        assert sum(weights["values"]) == 1


def test_summaries_of_every_kind(runs: dict[str, TrackedRun]) -> None:
    run = runs["custom"]
    assert column(run, "loss") == _curve([1 / (step + 1) for step in range(5)])
    assert column(run, "note") == [(1, "hello **\u00fc**")]
    ((_, weights),) = column(run, "weights")
    assert weights == {"_type": "histogram", "bins": [0, 10 / 3, 20 / 3, 10], "values": [4, 0, 1]}
    ((_, pictures),) = column(run, "picture")
    ((_, sound),) = column(run, "sound")
    assert [(picture["width"], picture["height"]) for picture in pictures] == [(5, 4)] * 2
    assert {file.record.name for file in run.run.files} == {pictures[0]["path"], sound["path"]}


def test_every_cut_of_a_file_gives_the_first_rows(tmp_path: Path, runs: dict[str, TrackedRun]) -> None:
    complete = rows_of(runs["exp/validation"])
    (file,) = (RECORDED / "exp" / "validation").iterdir()
    data = file.read_bytes()
    target = tmp_path / "exp" / "validation" / file.name
    target.parent.mkdir(parents=True)
    cells = {(row["_step"], key): value for row in complete for key, value in row.items()}
    for number, cut in enumerate(range(120, len(data), 7)):
        target.write_bytes(data[:cut])
        (run,) = read_all(tmp_path / "exp", tmp_path / f"scratch{number}").values()
        for row in rows_of(run):
            metrics = {key: value for key, value in row.items() if not key.startswith("_")}
            assert metrics
            assert all(cells[row["_step"], key] == value for key, value in metrics.items())
        if not run.run.coverage.complete:
            assert run.run.coverage.reason.endswith("the last record is torn off")
            assert run.run.info.state == "crashed"
        shutil.rmtree(tmp_path / f"scratch{number}")
