"""The recordings under `fixtures/digits` are as `fixtures/README.md` describes them, with nothing private."""

from __future__ import annotations

import contextlib
import getpass
import importlib
import io
import json
import math
import re
import socket
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from checkout import ROOT
from google.protobuf.message import Message
from wandb.proto import wandb_internal_pb2

from pull_logs.sources.wandb_folders.log_framing import BLOCK_SIZE, LogDamage, LogReader

FIXTURES = ROOT / "fixtures"
DIGITS = FIXTURES / "digits"

GRID = {f"cnn{rate}s{seed}" for rate in ("1e1", "1e2", "1e3") for seed in range(4)}
ENDED_WELL = GRID | {"mlp5e2s0"}
RUN_IDS = ENDED_WELL | {"nan1e6s0", "kill1e2s", "stop1e2s"}
STEPS_PER_EPOCH, EPOCHS = 22, 12


@dataclass(frozen=True, slots=True)
class Log:
    """A decoded log: its records as protobuf messages and its history as flat rows."""

    file: Path
    records: tuple[Any, ...]
    damages: tuple[LogDamage, ...]

    def of_kind(self, kind: str) -> list[Any]:
        return [getattr(record, kind) for record in self.records if record.WhichOneof("record_type") == kind]

    @property
    def run(self) -> Any:
        (run,) = self.of_kind("run")
        return run

    @property
    def exit_codes(self) -> list[int]:
        return [record.exit_code for record in self.of_kind("exit")]

    def rows(self) -> list[dict[tuple[str, ...], Any]]:
        """Each row as a dict from nested keys to values."""
        return [
            {tuple(item.nested_key): json.loads(item.value_json) for item in record.item}
            for record in self.of_kind("history")
        ]

    def metric(self, *key: str) -> dict[int, Any]:
        """The values of one metric by step."""
        return {row["_step",]: row[key] for row in self.rows() if key in row}


@cache
def recorded() -> Mapping[str, tuple[Log, ...]]:
    """The logs of each run id, in time order."""
    logs: dict[str, list[Log]] = {}
    for file in sorted(DIGITS.glob("wandb/*/*.wandb")):
        with file.open("rb") as source:
            reader = LogReader(source, name=file.name)
            records = tuple(_parse(content) for content in reader)
        log = Log(file, records, tuple(reader.damages))
        logs.setdefault(log.run.run_id, []).append(log)
    return {run_id: tuple(segments) for run_id, segments in logs.items()}


def _parse(content: bytes) -> Any:
    record = wandb_internal_pb2.Record()
    record.ParseFromString(content)
    return record


def log_of(run_id: str) -> Log:
    (log,) = recorded()[run_id]
    return log


def checkpoint_files() -> list[Path]:
    return sorted(DIGITS.glob("checkpoints/**/*.pt"))


def test_every_planned_run_is_recorded_with_its_labels_and_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FIXTURES))
    plans = importlib.import_module("digits_plan").planned_runs()
    assert {plan.run_id for plan in plans} == recorded().keys() == RUN_IDS
    for plan in plans:
        run = recorded()[plan.run_id][0].run
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        config.pop("_wandb")
        assert (run.entity, run.project) == ("acme", "digits")
        assert (run.display_name, tuple(run.tags), run.job_type) == (plan.name, plan.tags, plan.job_type)
        assert (run.run_group, run.notes) == (plan.group or "", plan.notes or "")
        assert config == plan.config()


def test_a_run_folder_holds_its_log_and_nothing_else() -> None:
    folders = sorted(DIGITS.glob("wandb/*"))
    assert len(folders) == len(RUN_IDS) + 1
    for folder in folders:
        run_id = folder.name.rpartition("-")[2]
        assert re.fullmatch(r"offline-run-\d{8}_\d{6}-\w{8}", folder.name)
        assert [file.name for file in folder.iterdir()] == [f"run-{run_id}.wandb"]
    assert not any(path.is_symlink() for path in DIGITS.rglob("*"))


def test_the_recordings_stay_small() -> None:
    assert sum(file.stat().st_size for file in DIGITS.rglob("*") if file.is_file()) <= 7_000_000


@pytest.mark.parametrize("run_id", sorted(ENDED_WELL))
def test_a_run_that_ended_well_is_whole(run_id: str) -> None:
    log = log_of(run_id)
    assert log.damages == ()
    assert log.exit_codes == [0]
    assert [row["_step",] for row in log.rows()] == list(range(STEPS_PER_EPOCH * EPOCHS))


@pytest.mark.parametrize("run_id", sorted(RUN_IDS))
def test_every_log_has_system_metrics_and_custom_axes(run_id: str) -> None:
    for log in recorded()[run_id]:
        stats = log.of_kind("stats")
        assert len(stats) >= 3
        assert {item.key for item in stats[-1].item} >= {"cpu", "proc.memory.rssMB"}
        axes = {record.glob_name: record.step_metric for record in log.of_kind("metric") if record.glob_name}
        assert axes == {"train/*": "examples", "val/*": "epoch"}


def test_training_metrics_are_dense_and_validation_metrics_sparse() -> None:
    log = log_of("cnn1e1s0")
    epoch_ends = [STEPS_PER_EPOCH * epoch - 1 for epoch in range(1, EPOCHS + 1)]
    assert len(log.metric("train/loss")) == STEPS_PER_EPOCH * EPOCHS
    assert list(log.metric("val/acc")) == epoch_ends
    assert list(log.metric("grad/histogram", "_type").values()) == ["histogram"] * EPOCHS
    assert list(log.metric("epoch").values()) == list(range(1, EPOCHS + 1))


def test_the_rows_hold_every_kind_of_value() -> None:
    log = log_of("cnn1e2s0")
    assert set(log.metric("phase").values()) == {"warmup", "main", "decay"}
    assert {type(value) for value in log.metric("grad/clipped").values()} == {bool}
    assert set(log.metric("opt", "momentum").values()) == {0.9}
    assert len(set(log.metric("opt", "lr").values())) > 50
    assert all(len(value) == 10 for value in log.metric("val/per_digit").values())
    assert {type(value) for value in log.metric("schedule/next_milestone").values()} == {int, str}
    assert any(int(float(value)) != value for value in log.metric("data/order_hash").values())
    assert log.metric("norms/conv1.weight")


def test_the_learning_rates_tell_apart_and_the_seeds_differ() -> None:
    final = {run_id: log_of(run_id).metric("val/acc")[STEPS_PER_EPOCH * EPOCHS - 1] for run_id in ENDED_WELL}
    assert all(final[f"cnn1e1s{seed}"] > 0.96 for seed in range(4))
    assert all(0.9 < final[f"cnn1e2s{seed}"] < 0.96 for seed in range(4))
    assert all(final[f"cnn1e3s{seed}"] < 0.5 for seed in range(4))
    losses = [log_of(f"cnn1e1s{seed}").metric("train/loss")[100] for seed in range(4)]
    assert len(set(losses)) == 4


def test_the_baseline_logs_other_names() -> None:
    columns = {key[0] for row in log_of("mlp5e2s0").rows() for key in row}
    assert "norms/hidden.weight" in columns
    assert not columns & {"phase", "norms/conv1.weight"}


def test_the_diverged_run_logs_nan_and_infinity_and_fails() -> None:
    log = log_of("nan1e6s0")
    losses = log.metric("train/loss")
    assert log.exit_codes == [1]
    assert list(losses) == list(range(STEPS_PER_EPOCH * EPOCHS // 2))
    assert [math.isnan(loss) for loss in losses.values()] == [step >= 3 for step in losses]
    assert math.inf in log.metric("grad/norm").values()


def test_the_killed_run_has_no_exit_and_lost_its_last_rows() -> None:
    log = log_of("kill1e2s")
    rows = log.rows()
    assert log.exit_codes == []
    assert log.file.stat().st_size % BLOCK_SIZE == 0
    assert log.file.stat().st_size > 3 * BLOCK_SIZE
    assert 150 < len(rows) < 80 * STEPS_PER_EPOCH
    assert [row["_step",] for row in rows] == list(range(len(rows)))
    assert [damage.reason for damage in log.damages] == ["the last record is torn off"]


def test_the_resumed_run_has_two_logs_that_overlap_in_equal_rows() -> None:
    first, second = recorded()["stop1e2s"]
    assert first.file.parent != second.file.parent
    assert (first.exit_codes, second.exit_codes) == ([255], [0])
    ahead, behind = first.metric("train/loss"), second.metric("train/loss")
    assert list(ahead) == list(range(141))
    assert list(behind) == list(range(132, 264))
    assert all(ahead[step] == behind[step] for step in ahead.keys() & behind.keys())
    (resumed_from,) = [item.value_json for item in second.run.config.update if item.key == "resumed_from"]
    assert json.loads(resumed_from) == {"epoch": 6, "step": 131}


def test_every_run_has_its_checkpoints() -> None:
    names = {logs[0].run.display_name for logs in recorded().values()}
    assert {file.stem for file in DIGITS.glob("checkpoints/epoch-06/*.pt")} == names
    assert {file.stem for file in DIGITS.glob("checkpoints/*.pt")} == names - {
        "cnn-lr0.01-killed",
        "cnn-lr1e6-diverged",
    }


@pytest.mark.parametrize("file", checkpoint_files(), ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_checkpoint_names_its_run_and_a_step_that_was_logged(file: Path) -> None:
    checkpoint = torch.load(file, weights_only=True)
    entity, project, run_id = checkpoint["wandb_run_path"].split("/")
    log = recorded()[run_id][-1 if checkpoint["epoch"] == EPOCHS else 0]
    assert (entity, project, log.run.display_name) == ("acme", "digits", file.stem)
    assert log.metric("epoch")[checkpoint["step"]] == checkpoint["epoch"]
    assert checkpoint["config"]["lr"] == json.loads(
        next(item.value_json for item in log.run.config.update if item.key == "lr")
    )
    assert all(torch.is_tensor(value) for value in checkpoint["model"].values())


def test_only_the_baseline_has_checkpoints_in_the_legacy_format() -> None:
    assert {file.stem for file in checkpoint_files() if not zipfile.is_zipfile(file)} == {"mlp-baseline"}


PRIVATE = re.compile(
    re.escape(str(FIXTURES.parent)).encode()
    + rb"|/home/|/root|/tmp/|/usr/|/Users/|/opt/|/proc/|root@|python3|://"
    rb"|[\w.+-]{2,}@[a-z0-9-]{2,}\.[a-z]{2,}"
    rb"|(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])"
)


def _strings(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        for part in value if field.is_repeated else [value]:
            if isinstance(part, Message):
                yield from _strings(part)
            elif isinstance(part, str):
                yield part


def _contents(file: Path) -> Iterator[bytes]:
    """The bytes of a file as stored, and those that a reader decodes from them."""
    content = file.read_bytes()
    yield content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield archive.read(name)


def _names_of_this_machine() -> set[str]:
    names = {socket.gethostname(), socket.gethostname().partition(".")[0]}
    with contextlib.suppress(KeyError, OSError):
        names.add(getpass.getuser())
    return names


def test_no_file_tells_of_the_machine_it_was_recorded_on() -> None:
    found = {
        (str(file.relative_to(DIGITS)), match.group())
        for file in DIGITS.rglob("*")
        if file.is_file()
        for content in _contents(file)
        for match in PRIVATE.finditer(content)
    }
    assert found == set()


def test_no_text_in_a_log_names_this_machine_or_its_user() -> None:
    texts = {
        text
        for logs in recorded().values()
        for log in logs
        for record in log.records
        for text in _strings(record)
    }
    words = set(re.findall(r"[\w.-]+", "\n".join(texts)))
    # A machine that happens to be called by a word of the recording's own source gives nothing away.
    ours = set(re.findall(r"[\w.-]+", "\n".join(file.read_text("utf-8") for file in FIXTURES.glob("*.py"))))
    assert words & (_names_of_this_machine() - ours) == set()
    assert {log.run.host for logs in recorded().values() for log in logs} == {"recorder"}
    assert not any(log.of_kind("environment") for logs in recorded().values() for log in logs)
    assert not PRIVATE.search("\n".join(texts).encode())
