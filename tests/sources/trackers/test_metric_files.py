"""Files of metrics: the forms that programs write, and errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pull_logs.errors import DataError, FileMissingError
from pull_logs.rows.batches import batch_rows
from pull_logs.sources.metric_files import MetricFiles
from pull_logs.sources.tracked_runs import ReadOptions, TrackedRun


def _read(path: Path, scratch: Path) -> list[TrackedRun]:
    found = []
    for number, run in enumerate(MetricFiles().find(str(path))):
        folder = scratch / str(number)
        folder.mkdir(parents=True)
        found.append(run.read(folder, ReadOptions()))
    return found


def _rows(run: TrackedRun) -> list[dict[str, Any]]:
    return [row for batch in run.run.batches() for row in batch_rows(batch)]


def _written(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_lightning(tmp_path: Path) -> None:
    folder = tmp_path / "lightning_logs" / "version_0"
    _written(folder / "metrics.csv", "epoch,step,train_loss,val_loss\n0,9,0.5,\n0,9,,0.75\n1,19,nan,\n")
    _written(folder / "hparams.yaml", "lr: 0.5\nlayers: [1, 2]\n")
    (run,) = _read(tmp_path / "lightning_logs", tmp_path / "scratch")
    assert str(run.run.info.path) == "local/lightning_logs/version_0"
    assert dict(run.run.info.config) == {"lr": 0.5, "layers": [1, 2]}
    first, second = _rows(run)
    assert first == {"_step": 9, "epoch": 0, "train_loss": 0.5, "val_loss": 0.75}
    assert second["train_loss"] != second["train_loss"]
    assert run.run.info.metadata["tracker"]["format"] == "lightning"


def test_keras(tmp_path: Path) -> None:
    file = _written(tmp_path / "logs" / "training.csv", "epoch,accuracy,loss\n0,0.5,1.5\n1,0.75,1.25\n")
    (run,) = _read(file, tmp_path / "scratch")
    assert str(run.run.info.path) == "local/logs/training"
    assert _rows(run) == [
        {"_step": 0, "epoch": 0, "accuracy": 0.5, "loss": 1.5},
        {"_step": 1, "epoch": 1, "accuracy": 0.75, "loss": 1.25},
    ]
    assert run.run.info.metadata["tracker"]["format"] == "keras"


def test_transformers_of_which_the_latest_checkpoint_is_taken(tmp_path: Path) -> None:
    for last in (500, 1000):
        history = [
            {"epoch": step / 500, "loss": 1 / step, "step": step} for step in range(500, last + 1, 500)
        ]
        state = {"log_history": history, "max_steps": 1000, "global_step": last, "trial_params": {"lr": 0.5}}
        _written(tmp_path / "out" / f"checkpoint-{last}" / "trainer_state.json", json.dumps(state))
    (run,) = _read(tmp_path / "out", tmp_path / "scratch")
    path = f"local/{tmp_path.name}/out"
    assert str(run.run.info.path) == path
    assert [row["_step"] for row in _rows(run)] == [500, 1000]
    assert dict(run.run.info.config) == {"max_steps": 1000, "lr": 0.5}
    assert run.notes == (f"{path}: 1 earlier checkpoint of the same training were left out",)


def test_json_lines(tmp_path: Path) -> None:
    text = '{"step": 0, "loss": 0.5, "_timestamp": 5}\n\n{"step": 1, "loss": "NaN", "nested": {"a": [1]}}\n'
    (run,) = _read(_written(tmp_path / "runs" / "exp" / "metrics.jsonl", text), tmp_path / "scratch")
    assert str(run.run.info.path) == "local/runs/exp"
    first, second = _rows(run)
    assert first == {"_step": 0, "_timestamp": 5, "loss": 0.5}
    assert second["nested"] == {"a": [1]}
    assert run.run.info.created_at == "1970-01-01T00:00:05Z"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "step,x\n0,1\n1,2,3\n2,3\n", "'a.csv', line 3 has 3 fields, and the header has 2"),
        ("a.csv", "step,x\n0,1\nno,2\n", "'a.csv', line 3: the step is 'no', which is not a whole number"),
        ("a.csv", "step,x\n0,1\n1.5,2\n", "'a.csv', line 3: the step is 1.5, which is not a whole number"),
        ("a.csv", "step,x,x\n0,1,2\n", "'a.csv', line 1: a column is there twice"),
        ("a.csv", "time,x\n0,1\n", "'a.csv' has no column with the step"),
        (
            "a.jsonl",
            '{"step": 0}\n{"step": }\n',
            "'a.jsonl', line 2: it is not valid JSON (Expecting value: line 1 column 10 (char 9))",
        ),
        ("a.jsonl", '{"step": 0}\n[1]\n', "'a.jsonl', line 2: it is not a JSON object"),
        ("trainer_state.json", "{}", "'trainer_state.json' has no list `log_history`"),
        (
            "trainer_state.json",
            '{"log_history": [{"step": 1}, {"loss": 1}]}',
            "'trainer_state.json', entry 2: the step is None, which is not a whole number",
        ),
    ],
)
def test_errors_name_the_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        _read(_written(tmp_path / name, text), tmp_path / "scratch")
    assert caught.value.message == f"'{tmp_path.name}/{message.removeprefix(chr(39))}"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.csv", "step,loss\n0,0.5\n1,0.25\n2,0.125\n"),
        ("metrics.jsonl", '{"step":0}\n{"step":1}\n{"step":2}\n'),
    ],
)
def test_every_cut_leaves_the_complete_lines(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / "run" / name
    for cut in range(text.index("\n") + 1, len(text)):
        _written(file, text[:cut])
        (run,) = _read(file, tmp_path / f"scratch{cut}")
        lines = [line for line in text[:cut].splitlines(keepends=True) if line.endswith("\n")]
        # An object is complete with its last brace, and a line of CSV with its end.
        complete = len(lines) - 1 if name == "metrics.csv" else text[:cut].count("}")
        assert [row["_step"] for row in _rows(run)] == list(range(complete))
        if text[cut - 1] not in "\n}":
            assert not run.run.coverage.complete
            assert run.run.info.state == "crashed"
            assert "the last line is torn off" in run.run.coverage.reason


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    assert not MetricFiles().recognizes(str(tmp_path))
    with pytest.raises(FileMissingError) as caught:
        MetricFiles().find(str(tmp_path))
    assert str(caught.value) == (
        f"no file of metrics in {str(tmp_path)!r}; name a file, or a folder above metrics.csv, metrics.jsonl,"
        " metrics.ndjson, trainer_state.json"
    )


def test_of_two_lines_of_one_step_the_later_is_kept_whatever_is_greater(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss\n0,2.5\n0,1.5\n1,0.5\n1,0.75\n")
    (run,) = MetricFiles().find(str(tmp_path / "log.csv"))
    (tmp_path / "scratch").mkdir()
    batches = run.read(tmp_path / "scratch", ReadOptions()).run.batches()
    assert [(row["_step"], row["loss"]) for batch in batches for row in batch_rows(batch)] == [
        (0, 1.5),
        (1, 0.75),
    ]
