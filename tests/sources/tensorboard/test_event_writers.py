"""Real files of torch, tensorboardX and TensorBoard's own writer, against TensorBoard's own reader."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eventkit import column, read_all, rows_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from pull_logs.snapshot import FileSelection
from pull_logs.sources.tracked_runs import ReadOptions, TrackedRun

EVERYTHING = {"scalars": 0, "tensors": 0, "histograms": 0, "images": 0, "audio": 0}


def _oracle(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars of a folder, read by TensorBoard."""
    read = EventAccumulator(str(folder), size_guidance=EVERYTHING).Reload()
    found = {
        tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]
    }
    for tag in read.Tags()["tensors"]:
        arrays = [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in read.Tensors(tag)]
        if all(array.dtype.kind in "fi" and not array.shape for _, array in arrays):
            found[tag] = [(step, float(array)) for step, array in arrays]
    return found


def _agrees(run: TrackedRun, folder: Path) -> int:
    expected = _oracle(folder)
    for tag, values in expected.items():
        assert column(run, tag) == values, tag
    return len(expected)


@pytest.fixture(params=["torch", "tensorboardX"])
def writer_class(request: pytest.FixtureRequest) -> Any:
    """The writer of a library."""
    if request.param == "torch":
        from torch.utils.tensorboard import SummaryWriter
    else:
        from tensorboardX import SummaryWriter
    return SummaryWriter


def test_scalars_are_those_that_tensorboard_reads(tmp_path: Path, writer_class: Any) -> None:
    folder = tmp_path / "runs" / "exp"
    with writer_class(str(folder)) as writer:
        for step in range(300):
            writer.add_scalar("loss", 1 / (step + 1), step)
            writer.add_scalar("val/acc", step * 0.001, 3 * step)
    (run,) = read_all(tmp_path / "runs", tmp_path / "scratch").values()
    assert _agrees(run, folder) == 2
    assert (run.notes, run.run.coverage.complete) == ((), True)
    assert run.run.info.summary["loss"] == float(np.float32(1 / 300))


def test_new_scalars_are_tensors(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    folder = tmp_path / "runs" / "exp"
    with SummaryWriter(str(folder)) as writer:
        for step in range(50):
            writer.add_scalar("single", 1 / (step + 1), step, new_style=True)
            writer.add_scalar("double", 1 / (step + 1), step, new_style=True, double_precision=True)
    (run,) = read_all(tmp_path / "runs", tmp_path / "scratch").values()
    assert _agrees(run, folder) == 2
    assert column(run, "double")[2] == (2, 1 / 3)


def test_a_writer_with_purge_step_purges_as_in_tensorboard(tmp_path: Path, writer_class: Any) -> None:
    folder = tmp_path / "runs" / "exp"
    with writer_class(str(folder)) as writer:
        for step in range(20):
            writer.add_scalar("loss", step, step)
    with writer_class(str(folder), purge_step=12, filename_suffix=".later") as writer:
        for step in range(12, 16):
            writer.add_scalar("loss", step + 100, step)
    files = sorted(folder.iterdir())
    for number, file in enumerate(sorted(files, key=lambda file: file.name.endswith(".later"))):
        # Both may be of one second.
        file.rename(folder / f"events.out.tfevents.{1_700_000_000 + number}.host")
    (run,) = read_all(tmp_path / "runs", tmp_path / "scratch").values()
    assert _agrees(run, folder) == 1
    assert [value for _, value in column(run, "loss")] == [*range(12), 112, 113, 114, 115]


def test_text_tensors_and_histograms(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    folder = tmp_path / "runs" / "exp"
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("note", "**bold** ü", 1)
        writer.add_tensor("tensor", _tensor([[0.5, 1.0], [2.0, 3.0]]), 2)
        writer.add_histogram("weights", np.array([0.0, 1.0, 1.0, 2.0, 10.0]), 3, bins=[0, 1, 2, 10])
    (run,) = read_all(tmp_path / "runs", tmp_path / "scratch").values()
    assert column(run, "note/text_summary") == [(1, "**bold** ü")]
    assert column(run, "tensor") == [(2, [[0.5, 1], [2, 3]])]
    assert column(run, "weights") == [(3, {"_type": "histogram", "bins": [0, 1, 2, 10], "values": [1, 2, 2]})]


def _tensor(values: Any) -> Any:
    import torch

    return torch.tensor(values)


def test_images_and_sounds_are_files_that_rows_point_to(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    folder = tmp_path / "runs" / "exp"
    with SummaryWriter(str(folder)) as writer:
        writer.add_image("a/picture", np.zeros((3, 4, 5), dtype=np.uint8), 7)
        writer.add_audio("sound", _tensor([[0.0, 0.5]]), 8, sample_rate=8000)
    options = ReadOptions(files=FileSelection(("media/*",)))
    (run,) = read_all(tmp_path / "runs", tmp_path / "scratch", options).values()
    image, sound = (row.get("a/picture") or row["sound"] for row in rows_of(run))
    files = {file.record.name: b"".join(file.chunks()) for file in run.run.files}
    assert set(files) == {image["path"], sound["path"]}
    assert files[image["path"]].startswith(b"\x89PNG")
    assert (image["_type"], image["width"], image["height"]) == ("image-file", 5, 4)
    assert (sound["_type"], sound["sample_rate"]) == ("audio-file", 8000)
    (tmp_path / "sound.wav").write_bytes(files[sound["path"]])
    with wave.open(str(tmp_path / "sound.wav")) as opened:
        assert opened.getnframes() == 2
    (without,) = read_all(tmp_path / "runs", tmp_path / "again").values()
    assert without.run.files == ()
    assert rows_of(without) == rows_of(run)


def test_hyperparameters_are_the_config_of_the_session_and_of_its_run(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "runs" / "exp")) as writer:
        writer.add_scalar("loss", 0.5, 1)
        writer.add_hparams({"lr": 0.1, "bs": 32, "opt": "adam", "flag": True}, {"hp/acc": 0.5})
    found = read_all(tmp_path / "runs", tmp_path / "scratch")
    (session,) = (run for name, run in found.items() if name != "exp")
    for run in (found["exp"], session):
        assert dict(run.run.info.config) == {"lr": 0.1, "bs": 32, "opt": "adam", "flag": True}
    assert column(session, "hp/acc") == [(0, 0.5)]
    assert session.run.info.group == "exp"


def test_keras_folders_get_the_hyperparameters_above_them(tmp_path: Path) -> None:
    """What Keras' callbacks write: hyperparameters in the folder, `epoch_*` tensors in two below it."""
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.summary import Writer

    folder = tmp_path / "logs" / "exp"
    hparams = hparams_pb({"units": 16, "dropout": 0.25}, trial_id="one")
    from eventkit import event_file, version, write_events
    from tensorboard.compat.proto.event_pb2 import Event

    write_events(event_file(folder), [version(), Event(wall_time=1.7e9, summary=hparams)])
    for part in ("train", "validation"):
        writer = Writer(str(folder / part))
        for step in range(5):
            writer.add_scalar("epoch_loss", 1 / (step + 1), step)
        writer.close()
    found = read_all(tmp_path / "logs", tmp_path / "scratch")
    assert set(found) == {"exp", "exp/train", "exp/validation"}
    for name, run in found.items():
        assert dict(run.run.info.config) == {"units": 16, "dropout": 0.25}
        if name != "exp":
            assert _agrees(run, folder / name.rpartition("/")[2]) == 1


def test_several_writers_of_one_run_at_once_have_one_row_per_step(tmp_path: Path) -> None:
    import tensorboardX
    import torch.utils.tensorboard

    folder = tmp_path / "runs" / "exp"
    with (
        torch.utils.tensorboard.SummaryWriter(str(folder), filename_suffix=".train") as train,
        tensorboardX.SummaryWriter(str(folder), filename_suffix=".validation") as validation,
    ):
        for step in range(20):
            train.add_scalar("loss", step, step)
            if step % 5 == 0:
                validation.add_scalar("val/loss", step + 0.5, step)
    (run,) = read_all(tmp_path / "runs", tmp_path / "scratch").values()
    assert len(list(folder.iterdir())) == 2
    assert _agrees(run, folder) == 2
    assert [(row["_step"], row["loss"], row.get("val/loss")) for row in rows_of(run)] == [
        (step, step, step + 0.5 if step % 5 == 0 else None) for step in range(20)
    ]
    assert run.notes == ()
