"""Which run a checkpoint names: real files, every spelling, sidecars, and files that are none."""

from __future__ import annotations

import argparse
import collections
import json
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpointkit import FULL, MODEL, save
from safetensors.torch import save_file

from pull_logs.errors import DamageError, FileMissingError, NotFoundError
from pull_logs.runs import RunReference
from pull_logs.sources import CheckpointRun, find_checkpoints, read_checkpoint


@dataclass
class TrainConfig:
    wandb_run_id: str
    wandb_project: str
    wandb_entity: str


class AttributeDict(dict[str, Any]):
    pass


class Slotted:
    __slots__ = ("project", "wandb_id")

    def __init__(self) -> None:
        self.wandb_id, self.project = "id1", "proj"


@pytest.fixture(params=["zip", "legacy"])
def layout(request: pytest.FixtureRequest) -> str:
    """The two formats that `torch.save` has had."""
    return str(request.param)


# Spellings


@pytest.mark.parametrize(
    ("value", "reference", "key"),
    [
        ({"wandb_run_path": "team/proj/id1"}, FULL, "wandb_run_path"),
        ({"wandb_run_path": "proj/id1"}, RunReference("id1", "proj"), "wandb_run_path"),
        (
            {"wandb_url": "https://wandb.ai/team/proj/runs/id1?nw=x"},
            RunReference("id1", "proj", "team", "wandb.ai"),
            "wandb_url",
        ),
        ({"wandb_run_id": "id1"}, RunReference("id1"), "wandb_run_id"),
        ({"wandb_id": "id1", "wandb_project": "proj", "wandb_entity": "team"}, FULL, "wandb_id"),
        ({"wandb_id": "id1", "project": "proj", "entity": "team"}, FULL, "wandb_id"),
        ({"wandb_id": "id1", "config": {"wandb_project": "proj", "wandb_entity": "team"}}, FULL, "wandb_id"),
        ({"run_id": "id1", "config": {"wandb": {"project": "proj", "entity": "team"}}}, FULL, "run_id"),
        ({"wandb": {"id": "id1", "project": "proj", "entity": "team"}}, FULL, "wandb.id"),
        ({"wandb": {"run_path": "team/proj/id1"}}, FULL, "wandb.run_path"),
        ({"wandb": {"path": "/home/me/x", "id": "id1"}}, RunReference("id1"), "wandb.id"),
        ({"config": {"wandb": {"run_id": "team/proj/id1"}}}, FULL, "config.wandb.run_id"),
        ({"hyper_parameters": AttributeDict(wandb_id="proj/id1")}, RunReference("id1", "proj"),
         "hyper_parameters.wandb_id"),
        ({"args": argparse.Namespace(wandb_run_id="id1", wandb_project="proj", wandb_entity="team")}, FULL,
         "args.wandb_run_id"),
        ({"cfg": TrainConfig("id1", "proj", "team")}, FULL, "cfg.wandb_run_id"),
        ({"opt": Slotted()}, RunReference("id1", "proj"), "opt.wandb_id"),
        ({"hparams": collections.OrderedDict(wandb_id="id1")}, RunReference("id1"), "hparams.wandb_id"),
        ({"training_args": collections.UserDict(wandb_id="id1")}, RunReference("id1"), "training_args.data.wandb_id"),  # noqa: E501
        (argparse.Namespace(wandb_run_path="team/proj/id1"), FULL, "wandb_run_path"),
        ({"wandb_resume_id": "id1"}, RunReference("id1"), "wandb_resume_id"),
        ({"wandb_id": 12345678}, RunReference("12345678"), "wandb_id"),
        ({"wandb": {"id": np.int64(42)}}, RunReference("42"), "wandb.id"),
        ({"wandb": "2ywaztas"}, RunReference("2ywaztas"), "wandb"),
        ({"wandb": "team/proj/id1"}, FULL, "wandb"),
        ({"logger": {"wandb": "2ywaztas", "project": "proj"}}, RunReference("2ywaztas", "proj"), "logger.wandb"),  # noqa: E501
        ({"wandb": "disabled"}, None, ""),
        ({"wandb": "online"}, None, ""),
        ({"wandb": True, "wandb_id": True}, None, ""),
        ({"wandb_id": "${oc.env:WANDB_RUN_ID}"}, None, ""),
        ({"wandb_run_id": "None", "run_id": "id1"}, RunReference("id1"), "run_id"),
        ({"wandb_id": "id1", "wandb_project": "${oc.env:P}"}, RunReference("id1"), "wandb_id"),
        ({"my_extras": {"deep": {"wandb_run_id": "id1"}}}, RunReference("id1"), "my_extras.deep.wandb_run_id"),  # noqa: E501
        ({"anything": {"wandb": {"id": "id1", "project": "proj"}}}, RunReference("id1", "proj"),
         "anything.wandb.id"),
        ({"env": {"WANDB_RUN_ID": "id1", "WANDB_PROJECT": "proj", "WANDB_ENTITY": "team"}}, FULL,
         "env.WANDB_RUN_ID"),
        ({"mine": {"id": "x", "run_id": "y", "path": "a/b/c"}}, None, ""),
    ],
)  # fmt: skip
def test_the_spellings_that_people_use(
    tmp_path: Path,
    layout: str,
    value: Any,
    reference: RunReference | None,
    key: str,
) -> None:
    if isinstance(value, dict):
        value = {"state_dict": MODEL, **value}
    file = save(tmp_path / "model.pt", value, layout=layout)
    if reference is None:
        with pytest.raises(NotFoundError):
            read_checkpoint(file)
        return
    found = read_checkpoint(file)
    assert found == CheckpointRun(file=file, reference=reference, key=key, guessed=found.guessed)


@pytest.mark.parametrize(
    ("value", "guessed", "certain"),
    [
        (
            {"wandb_id": "id1", "project": "proj", "entity": "team"},
            ("project", "entity"),
            RunReference("id1"),
        ),
        ({"wandb_id": "id1", "cfg": {"project": "proj"}}, ("cfg.project",), RunReference("id1")),
        (
            {"wandb_id": "id1", "wandb_project": "proj", "cfg": {"team": "team"}},
            ("cfg.team",),
            RunReference("id1", "proj"),
        ),
        ({"wandb_id": "id1", "wandb_project": "proj", "wandb_entity": "team"}, (), FULL),
        ({"wandb": {"id": "id1", "project": "proj", "entity": "team"}, "project": "x"}, (), FULL),
        ({"wandb_id": "id1", "wandb": {"project": "proj", "entity": "team"}, "entity": "x"}, (), FULL),
        ({"wandb_run_path": "team/proj/id1", "cfg": {"project": "x"}}, (), FULL),
    ],
)
def test_a_project_next_to_an_id_is_a_guess_unless_it_is_one_of_wandb(
    tmp_path: Path, value: dict[str, Any], guessed: tuple[str, ...], certain: RunReference
) -> None:
    found = read_checkpoint(save(tmp_path / "model.pt", value))
    assert (found.guessed, found.certain) == (guessed, certain)


class AnyNode:
    """Pickles as OmegaConf's leaf does."""

    def __init__(self, value: object) -> None:
        self._val = value


class DictConfig:
    """Pickles as OmegaConf's dict does."""

    def __init__(self, **members: object) -> None:
        self._content = {
            name: member if isinstance(member, DictConfig) else AnyNode(member)
            for name, member in members.items()
        }


def test_the_nodes_of_omegaconf_are_looked_into(tmp_path: Path) -> None:
    deep = DictConfig(mine=DictConfig(wandb_run_id="id1"))
    found = read_checkpoint(save(tmp_path / "deep.ckpt", {"experiment_cfg": deep}))
    assert (found.reference, found.key) == (RunReference("id1"), "experiment_cfg.mine.wandb_run_id")
    config = DictConfig(wandb=DictConfig(id="id1", project="proj", entity="team"), lr=0.1)
    file = save(tmp_path / "model.ckpt", {"cfg": config, "global_step": 12})
    assert read_checkpoint(file) == CheckpointRun(
        file=file, reference=FULL, step=12, key="cfg.wandb.id", step_key="global_step"
    )


def test_a_name_of_w_and_bs_goes_before_a_plain_run_id(tmp_path: Path) -> None:
    value = {"run_id": "mlflow1", "config": {"wandb_run_id": "id1"}}
    assert read_checkpoint(save(tmp_path / "m.pt", value)).reference.run_id == "id1"


def test_the_key_that_is_named_goes_before_all_others(tmp_path: Path) -> None:
    value = {
        "wandb_run_path": "team/proj/old",
        "my": {"run": "team/proj/id1", "nested.key": {"id": "id2"}, "n": 5},
        "a.b": "id3",
        "wandb_project": "proj",
    }
    file = save(tmp_path / "m.pt", value)
    assert read_checkpoint(file, key="my.run").reference == FULL
    assert read_checkpoint(file, key="my.nested.key").reference == RunReference("id2", "proj")
    assert read_checkpoint(file, key="a.b").reference == RunReference("id3", "proj")
    with pytest.raises(NotFoundError) as caught:
        read_checkpoint(file, key="my.other")
    assert str(caught.value) == (
        f"{str(file)!r} has no key 'my.other'; it holds the keys 'wandb_run_path', 'my', 'a.b', "
        "'wandb_project'; choose one with --checkpoint-key"
    )
    with pytest.raises(NotFoundError) as caught:
        read_checkpoint(file, key="my.n")
    assert caught.value.message == f"{str(file)!r} names no run at the key 'my.n'"


@pytest.mark.parametrize(
    ("named", "step", "epoch"),
    [
        ({"step": 5, "epoch": 2}, 5, 2),
        ({"global_step": 7}, 7, None),
        ({"iteration": 1.0, "epoch": 0.5}, 1, 0.5),
        ({"iter": 3}, 3, None),
        ({"it": np.int64(11), "epoch": np.float32(1.5)}, 11, 1.5),
        ({"update_step": 4}, 4, None),
        ({"step": torch.tensor([1, 5])}, None, None),
        ({"step": torch.zeros(1000)}, None, None),
        ({"step": True, "iter": -1, "it": "nine"}, None, None),
        ({"trainer_state": {"global_step": 8, "epoch": 1}}, 8, 1),
        ({"config": {"step": 5}}, None, None),
        ({"step": float("nan"), "epoch": float("inf")}, None, None),
    ],
)
def test_the_step_and_the_epoch(
    tmp_path: Path,
    layout: str,
    named: dict[str, Any],
    step: int | None,
    epoch: float | None,
) -> None:
    file = save(tmp_path / "m.pt", {"wandb_id": "id1", **named}, layout=layout)
    found = read_checkpoint(file)
    assert (found.step, found.epoch) == (step, epoch)


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.int32, torch.int16, torch.uint8, torch.float32, torch.float64, torch.float16]
)
def test_a_step_that_is_a_tensor_with_one_number_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    for step in (
        torch.tensor(5, dtype=dtype),
        torch.tensor([5], dtype=dtype),
        torch.tensor([9, 5], dtype=dtype)[1],
    ):
        file = save(tmp_path / "m.pt", {"wandb_id": "id1", "step": step, "train_state": {"epoch": step}})
        found = read_checkpoint(file)
        assert (found.step, found.epoch, found.step_key) == (5, 5, "step")


def test_a_step_in_a_large_storage_is_not_read(tmp_path: Path) -> None:
    file = save(tmp_path / "m.pt", {"wandb_id": "id1", "step": torch.arange(100)[5]})
    assert read_checkpoint(file).step is None


def test_a_checkpoint_that_names_no_run_tells_what_it_holds(tmp_path: Path, layout: str) -> None:
    value = {"state_dict": MODEL, "epoch": 3} | {f"k{n}": n for n in range(20)}
    file = save(tmp_path / "m.pt", value, layout=layout)
    with pytest.raises(NotFoundError) as caught:
        read_checkpoint(file)
    keys = ", ".join(map(repr, ["state_dict", "epoch", *(f"k{n}" for n in range(10))]))
    assert str(caught.value) == (
        f"checkpoint {str(file)!r} names no run; it holds the keys {keys} and 10 more; "
        "name the run with -r, or the key that holds it with --checkpoint-key"
    )


def test_a_run_path_that_is_none_is_told(tmp_path: Path) -> None:
    file = save(tmp_path / "m.pt", {"wandb_run_path": "a/b/c/d/e"})
    with pytest.raises(NotFoundError) as caught:
        read_checkpoint(file)
    assert caught.value.message == (
        f"{str(file)!r} names the run 'a/b/c/d/e' at 'wandb_run_path', which is not a run path"
    )


# Other formats


def test_the_metadata_of_safetensors(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(MODEL, file, metadata={"wandb_run_path": "team/proj/id1", "step": "40", "format": "pt"})
    assert read_checkpoint(file) == CheckpointRun(
        file=file, reference=FULL, step=40, key="wandb_run_path", step_key="step"
    )
    save_file(MODEL, file, metadata={"config": json.dumps({"wandb": {"id": "id1"}}), "epoch": "2"})
    found = read_checkpoint(file)
    assert (found.reference, found.epoch, found.key) == (RunReference("id1"), 2, "config.wandb.id")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x10\0", "{} is cut off inside the length of its header"),
        (struct.pack("<Q", 100) + b"{", "{} is cut off inside its header"),
        (
            struct.pack("<Q", 2**60) + b"{",
            "{} claims a header of 1152921504606846976 bytes, more than the format allows",
        ),
        (struct.pack("<Q", 2) + b"[]", "the header of {} is not a safetensors header"),
    ],
)  # fmt: skip
def test_damaged_safetensors(tmp_path: Path, data: bytes, what: str) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(data)
    with pytest.raises(DamageError) as caught:
        read_checkpoint(file)
    assert str(caught.value) == what.format(repr(str(file)))


@pytest.mark.parametrize(
    ("name", "text", "reference", "key"),
    [
        ("wandb_run_id.txt", "id1\n", RunReference("id1"), ""),
        ("wandb_id.txt", "id1\n", RunReference("id1"), ""),
        ("wandb_run_path.txt", "team/proj/id1\n", FULL, ""),
        ("wandb.json", '{"id": "id1", "project": "proj", "entity": "team"}', FULL, "id"),
        ("wandb.json", '{"run_id": "id1"}', RunReference("id1"), "run_id"),
        ("wandb.json", '{"wandb_run_id": "id1"}', RunReference("id1"), "wandb_run_id"),
        (
            "train_config.json",
            '{"steps": 100000, "wandb": {"enable": true, "project": "proj", "entity": "team", "run_id": "id1"}}',  # noqa: E501
            FULL,
            "wandb.run_id",
        ),
    ],
)
def test_a_sidecar_names_the_run_from_the_folder_or_one_up(
    tmp_path: Path, name: str, text: str, reference: RunReference, key: str
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    # A plain `run_id` may be another tracker's, so that it never outranks a sidecar.
    file = save(folder / "model.pt", {**MODEL, "run_id": "mlflow1"})
    for up in ("", ".."):
        (folder / up / name).write_text(text)
        assert read_checkpoint(file) == CheckpointRun(file=file, reference=reference, key=f"{name}:{key}")
        (folder / up / name).unlink()


def test_a_sidecar_has_the_step_also_if_the_file_names_the_run(tmp_path: Path) -> None:
    file = save(tmp_path / "step_3.pt", {"wandb_id": "id1"})
    (tmp_path / "step_3.json").write_text('{"step": 9, "wandb_id": "id2"}')
    found = read_checkpoint(file)
    assert (found.reference, found.step, found.step_key) == (RunReference("id1"), 9, "step_3.json:step")


@pytest.mark.parametrize(
    ("path", "reference"),
    [
        ("wandb/run-20240101_120000-2ywaztas/files/model.pt", RunReference("2ywaztas")),
        ("wandb/offline-run-20240101_120000-my_run/files/ckpt/model.pt", RunReference("my_run")),
        ("artifacts/model-2ywaztas:v3/model.ckpt", RunReference("2ywaztas")),
        ("artifacts/model-2ywaztas-v3/model.ckpt", RunReference("2ywaztas")),
        ("artifacts/checkpoint-2ywaztas:latest/model.pt", RunReference("2ywaztas")),
        ("artifacts/run_2ywaztas_model:v0/best.pt", RunReference("2ywaztas")),
        ("artifacts/my-model:v3/model.ckpt", None),
        ("artifacts/model-2ywaztas/model.ckpt", None),
        ("run-2ywaztas/model.ckpt", None),
    ],
)
def test_a_run_that_only_folders_name(tmp_path: Path, path: str, reference: RunReference | None) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    save(file, MODEL)
    if reference is None:
        with pytest.raises(NotFoundError):
            read_checkpoint(file)
        return
    assert read_checkpoint(file) == CheckpointRun(file=file, reference=reference, key="folder")
    save(file, {"wandb_id": "id1"})
    assert read_checkpoint(file).reference == RunReference("id1")


def test_the_latest_run_of_a_folder_is_a_guess_for_its_checkpoints(tmp_path: Path) -> None:
    run = tmp_path / "wandb" / "run-20240101_120000-2ywaztas"
    run.mkdir(parents=True)
    (tmp_path / "wandb" / "latest-run").symlink_to(run.name)
    (tmp_path / "checkpoints").mkdir()
    for file in (tmp_path / "model.pt", tmp_path / "checkpoints" / "model.pt"):
        save(file, MODEL)
        found = read_checkpoint(file)
        assert (found.reference, found.key) == (RunReference("2ywaztas"), "wandb/latest-run")
    save(file, {"run_id": "id1"})
    assert read_checkpoint(file).reference == RunReference("id1")


@pytest.mark.parametrize("name", ["model.pt.json", "model.json"])
def test_a_json_sidecar_tells_for_its_file(tmp_path: Path, name: str) -> None:
    file = save(tmp_path / "model.pt", MODEL)
    (tmp_path / name).write_text('{"wandb": {"path": "team/proj/id1"}, "step": 9}')
    assert read_checkpoint(file) == CheckpointRun(
        file=file, reference=FULL, step=9, key=f"{name}:wandb.path", step_key=f"{name}:step"
    )


def test_a_text_file_tells_for_its_folder_also_for_a_damaged_file(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(b"\x80\x02}q")
    with pytest.raises(DamageError) as caught:
        read_checkpoint(file)
    (tmp_path / "wandb_run_path").write_text("team/proj/id1\n")
    assert read_checkpoint(file) == CheckpointRun(
        file=file, reference=FULL, key="wandb_run_path:", unread=caught.value.message
    )


def test_a_folder_of_hugging_faces_trainer(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-500"
    folder.mkdir()
    save_file(MODEL, folder / "model.safetensors")
    save(folder / "optimizer.pt", {"state": {}})
    (folder / "trainer_state.json").write_text('{"global_step": 500, "epoch": 1.25}')
    (folder / "wandb_run_path").write_text("team/proj/id1")
    assert find_checkpoints(str(tmp_path)) == (folder,)
    for path in (folder, folder / "model.safetensors"):
        found = read_checkpoint(path)
        assert (found.reference, found.step, found.epoch) == (FULL, 500, 1.25)


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "notes.pt"
    file.write_text("just text")
    with pytest.raises(DamageError) as caught:
        read_checkpoint(file)
    assert caught.value.message == f"{str(file)!r} is not a checkpoint file of a known format"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(DamageError) as caught:
        read_checkpoint(file)
    assert str(caught.value) == f"{str(file)!r} is an archive, but not one of PyTorch: it has no data.pkl"


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError) as caught:
        read_checkpoint(tmp_path / "no.pt")
    assert str(caught.value) == f"no checkpoint {str(tmp_path / 'no.pt')!r}"
    with pytest.raises(NotFoundError) as missing:
        read_checkpoint(tmp_path)
    assert missing.value.message == f"the folder {str(tmp_path)!r} is not a checkpoint"


# Finding


def test_globs_and_folders_give_known_files_in_number_order(tmp_path: Path) -> None:
    names = ["step_10.pt", "step_9.pt", "a/step_1.ckpt", "a/b/x.safetensors", "a/notes.txt", ".hidden/y.pt",
             "best.pth.tar", "data.tar"]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)

    def found(pattern: str) -> list[str]:
        return [str(path.relative_to(tmp_path)) for path in find_checkpoints(str(tmp_path / pattern))]

    assert found("") == ["a/b/x.safetensors", "a/step_1.ckpt", "best.pth.tar", "step_9.pt", "step_10.pt"]
    assert found("*.pt") == ["step_9.pt", "step_10.pt"]
    assert found("**/step_1*") == ["a/step_1.ckpt", "step_10.pt"]
    assert found("a") == ["a/b/x.safetensors", "a/step_1.ckpt"]
    assert found("step_9.pt") == ["step_9.pt"]
    odd = tmp_path / "run[1].pt"
    odd.touch()
    assert found("run[1].pt") == ["run[1].pt"]


def test_a_pattern_that_matches_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileMissingError) as caught:
        find_checkpoints(str(tmp_path / "*.pt"))
    assert str(caught.value) == (
        f"no checkpoint {str(tmp_path / '*.pt')!r}; "
        "in a folder, files with the suffixes .ckpt, .pt, .pth, .pth.tar, .safetensors are found"
    )
    with pytest.raises(FileMissingError) as caught:
        find_checkpoints(str(tmp_path / "empty"))
    assert caught.value.message == f"no checkpoint in {str(tmp_path / 'empty')!r}"
