"""Layouts of checkpoints: folders and shards.

Folders of `torch.distributed.checkpoint` are written by it. Those of DeepSpeed, Lightning and
Hugging Face's `Trainer` are written here with the names and members that these give them
(`deepspeed.runtime.engine._save_checkpoint`, `CheckpointConnector.dump_checkpoint`,
`Trainer._save_checkpoint`).
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from checkpointkit import FULL, MODEL, Shell
from safetensors.torch import save_file

from pull_logs.errors import DamageError, NotFoundError, UnsafeFileError
from pull_logs.runs import RunReference
from pull_logs.sources import CheckpointRun, find_checkpoints, read_checkpoint, scan_checkpoints


def save_distributed(folder: Path, value: dict[str, Any]) -> Path:
    with warnings.catch_warnings():
        # It warns that there is one process alone.
        warnings.simplefilter("ignore")
        dcp.save(value, checkpoint_id=folder, no_dist=True)
    return folder


def save_trainer(folder: Path, *, step: int, **arguments: object) -> Path:
    """What `Trainer._save_checkpoint` leaves."""
    folder.mkdir(parents=True)
    save_file(MODEL, folder / "model.safetensors", metadata={"format": "pt"})
    torch.save({"state": {}, "param_groups": [{"lr": 0.1}]}, folder / "optimizer.pt")
    torch.save(
        argparse.Namespace(output_dir="out", run_name="mine", **arguments), folder / "training_args.bin"
    )
    (folder / "config.json").write_text('{"architectures": ["Bert"], "id2label": {"0": "a"}}')
    state = {
        "best_global_step": None,
        "epoch": step / 400,
        "global_step": step,
        "log_history": [{"epoch": 0.1, "loss": 1.0, "step": 10}],
        "max_steps": 5000,
        "trial_name": None,
    }
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


def save_deepspeed(root: Path, *, step: int, **client_state: object) -> Path:
    """What `DeepSpeedEngine.save` leaves: the client's state at the top of the model states."""
    folder = root / f"global_step{step}"
    folder.mkdir(parents=True)
    for rank in range(2):
        state = {"module": MODEL, "optimizer": None, "global_steps": step, "global_samples": 8 * step}
        torch.save({**state, "ds_config": {}, **client_state}, folder / f"mp_rank_{rank:02d}_model_states.pt")
        torch.save({"optimizer_state_dict": {}}, folder / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    (root / "latest").write_text(folder.name)
    return folder


def lightning(**members: object) -> dict[str, object]:
    """What `CheckpointConnector.dump_checkpoint` gives, of a model with two optimizers."""
    progress = {"total": {"ready": 600, "completed": 600}}
    return {
        "epoch": 3,
        "global_step": 1200,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": MODEL,
        "loops": {
            "fit_loop": {
                "state_dict": {},
                "epoch_loop.state_dict": {"_batches_that_stepped": 600},
                "epoch_loop.batch_progress": progress,
            }
        },
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        **members,
    }


# Folders


def test_a_folder_of_torch_distributed_tells_its_values_and_no_tensor_is_read(tmp_path: Path) -> None:
    value = {
        "model": MODEL,
        "config": {"wandb": {"id": "id1", "project": "proj", "entity": "team"}, "layers": [1, 2]},
        "step": 40,
        "epoch": 1.5,
    }
    folder = save_distributed(tmp_path / "save", value)
    assert find_checkpoints(str(tmp_path)) == (folder,)
    assert read_checkpoint(folder) == CheckpointRun(
        file=folder,
        reference=FULL,
        key="config.wandb.id",
        step=40,
        epoch=1.5,
        step_key="step",
        epoch_key="epoch",
    )


def test_a_key_that_is_named_is_read_from_a_folder_of_torch_distributed(tmp_path: Path) -> None:
    value = {"model": MODEL, "my": {"own": {"run": "team/proj/id1"}}, "other": argparse.Namespace(name="x/y")}
    folder = save_distributed(tmp_path / "save", value)
    assert read_checkpoint(folder, key="my.own.run").reference == FULL
    assert read_checkpoint(folder, key="other.name").reference == RunReference("y", "x")
    with pytest.raises(NotFoundError) as caught:
        read_checkpoint(folder)
    assert caught.value.message.startswith(f"checkpoint {str(folder)!r} names no run; it holds the keys ")
    assert all(key in caught.value.message for key in ("'model'", "'my'", "'other'"))


def test_a_value_of_torch_distributed_that_would_run_something_is_refused(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "save", {"config": Shell(), "step": 3})
    what = f"checkpoint '{folder}:config' would run posix.system when loaded; nothing was run"
    with pytest.raises(UnsafeFileError) as caught:
        read_checkpoint(folder)
    assert str(caught.value) == f"{what}; do not load it with torch.load; name the run with -r"
    # The other values of the folder are not hidden.
    folder = save_distributed(tmp_path / "save", {"wandb_run_path": "team/proj/id1", "config": Shell()})
    found = read_checkpoint(folder)
    assert (found.reference, found.warnings) == (FULL, (what,))


def test_the_metadata_of_python_3_11_0_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = torch.distributed.checkpoint.metadata._MEM_FORMAT_ENCODING
    monkeypatch.setattr(kind, "__reduce_ex__", lambda self, _: (getattr, (type(self), self.name)))
    folder = save_distributed(
        tmp_path / "save", {"model": MODEL, "wandb_run_path": "team/proj/id1", "step": 40}
    )
    assert b"getattr" in (folder / ".metadata").read_bytes()
    found = read_checkpoint(folder)
    assert (found.reference, found.step, found.warnings) == (FULL, 40, ())


def test_a_step_of_torch_distributed_may_be_a_tensor(tmp_path: Path) -> None:
    value = {"wandb_run_path": "team/proj/id1", "train_state": {"step": torch.tensor(40, dtype=torch.int32)}}
    found = read_checkpoint(save_distributed(tmp_path / "save", value))
    assert (found.step, found.step_key) == (40, "train_state.step")


def test_lightnings_sharded_folder_has_its_state_beside_the_weights(tmp_path: Path) -> None:
    folder = save_distributed(
        tmp_path / "nano" / "3fk2a9xz" / "checkpoints" / "epoch=2-step=100.ckpt", {"state_dict": MODEL}
    )
    torch.save(lightning(hyper_parameters={"wandb_run_path": "team/proj/id1"}), folder / "meta.pt")
    assert find_checkpoints(str(tmp_path)) == (folder,)
    found = read_checkpoint(folder)
    assert (found.reference, found.key) == (FULL, "meta.pt:hyper_parameters.wandb_run_path")
    assert (found.step, found.epoch) == (600, 3)
    torch.save(lightning(), folder / "meta.pt")
    assert read_checkpoint(folder).reference == RunReference("3fk2a9xz", "nano")


def test_lightnings_deepspeed_folder_is_one_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "last.ckpt"
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "latest").write_text("checkpoint")
    torch.save(
        lightning(global_steps=100, hyper_parameters={"wandb_run_path": "team/proj/id1"}),
        folder / "checkpoint" / "mp_rank_00_model_states.pt",
    )
    for pattern in (tmp_path, folder):
        (found,) = scan_checkpoints([str(pattern)]).found
        assert (found.reference, found.step, found.epoch) == (FULL, 600, 3)


def test_accelerates_folder_is_one_checkpoint_with_its_registered_objects(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint_3"
    folder.mkdir()
    save_file(MODEL, folder / "model.safetensors", metadata={"format": "pt"})
    torch.save({"state": {}}, folder / "optimizer.bin")
    # The step of this file counts calls of `accumulate`.
    torch.save({"random_state": (1, 2), "step": 7}, folder / "random_states_0.pkl")
    with pytest.raises(NotFoundError, match="names no run"):
        read_checkpoint(folder)
    torch.save({"step": 100, "wandb_run_id": "id1"}, folder / "custom_checkpoint_0.pkl")
    assert find_checkpoints(str(tmp_path)) == (folder,)
    assert read_checkpoint(folder) == CheckpointRun(
        file=folder,
        reference=RunReference("id1"),
        key="custom_checkpoint_0.pkl:wandb_run_id",
        step=100,
        step_key="custom_checkpoint_0.pkl:step",
    )


def test_lerobots_folders_have_the_run_in_their_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "000500"
    (folder / "pretrained_model").mkdir(parents=True)
    (folder / "training_state").mkdir()
    save_file(MODEL, folder / "pretrained_model" / "model.safetensors")
    (folder / "pretrained_model" / "config.json").write_text('{"type": "act"}')
    (folder / "pretrained_model" / "train_config.json").write_text(
        '{"steps": 1000, "wandb": {"enable": true, "project": "proj", "entity": "team", "run_id": "id1"}}'
    )
    (folder / "training_state" / "training_step.json").write_text('{"step": 500}')
    found = read_checkpoint(folder / "pretrained_model" / "model.safetensors")
    assert (found.reference, found.step, found.key) == (FULL, 500, "train_config.json:wandb.run_id")


def test_a_refused_part_of_a_folder_does_not_hide_the_others(tmp_path: Path) -> None:
    folder = save_trainer(tmp_path / "checkpoint-500", step=500)
    torch.save(argparse.Namespace(callback=Shell()), folder / "training_args.bin")
    what = f"checkpoint {str(folder / 'training_args.bin')!r} would run posix.system when loaded; nothing was run"  # noqa: E501
    with pytest.raises(UnsafeFileError) as caught:
        read_checkpoint(folder)
    assert caught.value.message == what
    (folder / "config.json").write_text('{"wandb_run_path": "team/proj/id1"}')
    found = read_checkpoint(folder)
    assert (found.reference, found.step, found.warnings) == (FULL, 500, (what,))


def test_a_folder_of_torch_distributed_never_points_out_of_itself(tmp_path: Path) -> None:
    folder = save_distributed(tmp_path / "save", {"wandb_run_path": "team/proj/id1"})
    metadata = (folder / ".metadata").read_bytes()
    assert metadata.count(b"__0_0.distcp") == 1
    (folder / ".metadata").write_bytes(metadata.replace(b"__0_0.distcp", b"../../secret"))
    with pytest.raises(DamageError) as caught:
        read_checkpoint(folder)
    assert caught.value.message == (
        f"{str(folder / '.metadata')!r} refers to a file outside its folder, '../../secret'"
    )
    (folder / ".metadata").write_bytes(metadata)
    os.truncate(folder / "__0_0.distcp", 100)
    with pytest.raises(DamageError, match=r"__0_0\.distcp' is cut off before byte"):
        read_checkpoint(folder)
    (folder / ".metadata").write_bytes(pickle.dumps({"storage_data": 1}))
    with pytest.raises(DamageError, match="has no locations of values"):
        read_checkpoint(folder)


def test_a_folder_of_hugging_faces_trainer_is_asked_in_all_its_files(tmp_path: Path) -> None:
    folder = save_trainer(tmp_path / "out" / "checkpoint-500", step=500, wandb_run_path="team/proj/id1")
    told = CheckpointRun(
        file=folder,
        reference=FULL,
        key="training_args.bin:wandb_run_path",
        step=500,
        epoch=1.25,
        step_key="trainer_state.json:global_step",
        epoch_key="trainer_state.json:epoch",
    )
    assert read_checkpoint(folder) == told
    model = read_checkpoint(folder / "model.safetensors")
    assert (model.reference, model.step) == (FULL, 500)
    assert model.key == "training_args.bin:wandb_run_path"


def test_a_trainers_folders_may_have_one_sidecar_beside_them(tmp_path: Path) -> None:
    folders = [save_trainer(tmp_path / f"checkpoint-{step}", step=step) for step in (1000, 500)]
    with pytest.raises(NotFoundError) as caught:
        read_checkpoint(folders[0])
    assert caught.value.message.startswith(f"checkpoint {str(folders[0])!r} names no run; it holds the keys ")
    (tmp_path / "wandb_run_path").write_text("team/proj/id1\n")
    found = scan_checkpoints([str(tmp_path)]).found
    assert [(item.file, item.reference, item.step) for item in found] == [
        (folders[1], FULL, 500),
        (folders[0], FULL, 1000),
    ]


def test_deepspeeds_ranks_are_one_checkpoint_and_latest_names_it(tmp_path: Path) -> None:
    first = save_deepspeed(tmp_path / "run", step=100, wandb_run_path="team/proj/id1")
    second = save_deepspeed(
        tmp_path / "run", step=1000, wandb={"id": "id1", "project": "proj", "entity": "team"}
    )
    for pattern in ("", "run", "run/global_step*", "run/*/*.pt"):
        assert find_checkpoints(str(tmp_path / pattern)) == (first, second), pattern
    found = read_checkpoint(first)
    assert (found.reference, found.step, found.step_key) == (
        FULL,
        100,
        "mp_rank_00_model_states.pt:global_steps",
    )
    assert read_checkpoint(tmp_path / "run" / "latest").file == second
    alone = first / "mp_rank_01_model_states.pt"
    assert find_checkpoints(str(alone)) == (alone,)
    assert read_checkpoint(alone).step == 100


def test_the_shards_of_a_model_are_one_checkpoint(tmp_path: Path) -> None:
    names = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    for name in names:
        save_file(MODEL, tmp_path / name, metadata={"wandb_run_path": "team/proj/id1", "step": "7"})
    assert find_checkpoints(str(tmp_path)) == (tmp_path / names[0],)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": {"b": names[1], "a": names[0]}})
    )
    assert find_checkpoints(str(tmp_path)) == find_checkpoints(str(tmp_path / "*.safetensors")) == (index,)
    found = read_checkpoint(index)
    assert (found.reference, found.key, found.step) == (FULL, f"{names[0]}:wandb_run_path", 7)
    index.write_text(json.dumps({"metadata": {"wandb_run_path": "team/proj/id2"}, "weight_map": {}}))
    assert read_checkpoint(index).reference.run_id == "id2"
    index.write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    with pytest.raises(DamageError, match=r"refers to a file outside its folder, .\.\./model\.safetensors."):
        read_checkpoint(index)


# Lightning


def test_lightnings_step_is_the_one_that_its_loggers_write(tmp_path: Path) -> None:
    value = lightning(hyper_parameters={"lr": 0.1, "wandb_run_path": "team/proj/id1"})
    file = tmp_path / "last.ckpt"
    torch.save(value, file)
    assert read_checkpoint(file) == CheckpointRun(
        file=file,
        reference=FULL,
        key="hyper_parameters.wandb_run_path",
        step=600,
        epoch=3,
        step_key="loops.fit_loop.epoch_loop.state_dict._batches_that_stepped",
        epoch_key="epoch",
    )
    del value["loops"]
    torch.save(value, file)
    found = read_checkpoint(file)
    assert (found.step, found.step_key) == (1200, "global_step")


def test_lightnings_own_folders_name_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "nano" / "3fk2a9xz" / "checkpoints"
    folder.mkdir(parents=True)
    file = folder / "epoch=3-step=1200.ckpt"
    torch.save(lightning(), file)
    found = read_checkpoint(file)
    assert (found.reference, found.key) == (RunReference("3fk2a9xz", "nano"), "folder")
    # Neither TensorBoard's folders nor files of other tools are taken for it.
    other = tmp_path / "lightning_logs" / "version_0" / "checkpoints" / file.name
    other.parent.mkdir(parents=True)
    torch.save(lightning(), other)
    torch.save({"state_dict": MODEL}, folder / "plain.ckpt")
    for path in (other, folder / "plain.ckpt"):
        with pytest.raises(NotFoundError, match="names no run"):
            read_checkpoint(path)
