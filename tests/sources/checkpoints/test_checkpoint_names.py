"""Names of checkpoints: the step that a name has, and the files that globs and folders find."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpointkit import Shell

from pull_logs.errors import DamageError, FileMissingError, NotFoundError, UnsafeFileError
from pull_logs.sources import read_checkpoint, scan_checkpoints


@pytest.mark.parametrize(
    ("name", "step", "epoch"),
    [
        ("epoch=3-step=1200.ckpt", 1200, 3),
        ("epoch=03-val_loss=0.12.ckpt", None, 3),
        ("step_100.pt", 100, None),
        ("model-iter0000500.pt", 500, None),
        ("Epoch12.pt", None, 12),
        ("step-1200-v1.ckpt", 1200, None),
        ("checkpoint-500/model.pt", 500, None),
        ("global_step64/model.pt", 64, None),
        ("epoch-06/step_9.pt", 9, 6),
        ("step_100k.pt", 100_000, None),
        ("ckpt-100k.pt", 100_000, None),
        ("step_1.5k.pt", 1500, None),
        ("step_0.1k.pth.tar", 100, None),
        ("step_50000.pt", 50_000, None),
        ("steps_500.pt", 500, None),
        ("epoch_2.pth.tar", None, 2),
        ("resnet50_epoch_12.pth", None, 12),
        ("iter_0100000/mp_rank_00/model_optim_rng.pt", 100_000, None),
        ("rl_model_10000_steps.pt", 10_000, None),
        ("ckpt_epoch_7_step_900.pt", 900, 7),
        ("update_step_30.pt", 30, None),
        ("warmup_steps_50/epoch_2.pt", None, 2),
        ("warmup_steps_50/last.pt", None, None),
        ("steps_per_epoch_500.pt", None, None),
        ("max_steps_100.pt", None, None),
        ("max_step_100.pt", None, None),
        ("num_epochs_90.pt", None, None),
        ("lr_step_30.pt", None, None),
        ("time_step_8.pt", None, None),
        ("unet_4step.safetensors.pt", None, None),
        ("lora_4_steps.pt", None, None),
        ("100k.pt", None, None),
        ("model_100k.pt", None, None),
        ("0.1k.pt", None, None),
        ("tokens_100k.pt", None, None),
        ("step_100k_tokens.pt", None, None),
        ("seed_3.pt", None, None),
        ("step_3_of_9.pt", None, None),
        ("step_0.15.pt", None, None),
        ("step_1.23456k.pt", None, None),
        ("epochs_100/last.pt", None, None),
        ("sweep-epoch_9/last.pt", None, None),
        ("step_7/deeper/last.pt", None, None),
        ("timestep.pt", None, None),
        ("misstep5.pt", None, None),
        ("checkpoint-500.pt", 500, None),
        ("ckpt-7.pt", None, None),
        ("last.pt", None, None),
    ],
)
def test_a_name_tells_the_step_where_nothing_else_does(
    tmp_path: Path, name: str, step: int | None, epoch: float | None
) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"wandb_run_path": "team/proj/id1"}, file)
    found = read_checkpoint(file)
    assert (found.step, found.epoch) == (step, epoch)
    assert found.step_key == ("" if step is None else "name")
    assert found.epoch_key == ("" if epoch is None else "name")
    torch.save({"wandb_run_path": "team/proj/id1", "step": 5, "epoch": 1}, file)
    told = read_checkpoint(file)
    assert (told.step, told.epoch, told.step_key, told.epoch_key) == (5, 1, "step", "epoch")


@pytest.mark.parametrize(
    ("name", "value", "step", "epoch"),
    [
        ("checkpoint-2.pth", {"epoch": 2}, None, 2),
        ("checkpoint-2.pth.tar", {"epoch": 3}, None, 3),
        ("checkpoint-2/model.pt", {"epoch": 1}, None, 1),
        ("checkpoint-5000.pth", {"epoch": 2}, 5000, 2),
        ("checkpoint-2.pth", {"epoch": 2, "step": 900}, 900, 2),
        ("step_2.pth", {"epoch": 2}, 2, 2),
        ("epoch_9.pth", {"epoch": 2, "global_step": 4}, 4, 2),
        ("epoch_9.pth", {"step": 4}, 4, 9),
    ],
)
def test_what_a_file_contains_outranks_its_name(
    tmp_path: Path, name: str, value: dict[str, int], step: int | None, epoch: int
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    torch.save({"wandb_run_path": "team/proj/id1", **value}, file)
    found = read_checkpoint(file)
    assert (found.step, found.epoch) == (step, epoch)


def test_what_a_glob_brings_may_be_unreadable_in_part(tmp_path: Path) -> None:
    for step in range(1, 6):
        torch.save({"wandb_run_path": "team/proj/id1", "step": step}, tmp_path / f"s{step}.pt")
    torch.save({"step": 2}, tmp_path / "s2.pt")
    (tmp_path / "s3.pt").write_bytes(b"PK\x03\x04 cut off")
    torch.save({"wandb_run_path": "team/proj/id1", "x": Shell()}, tmp_path / "s4.pt")
    for pattern in (tmp_path, tmp_path / "*.pt"):
        scan = scan_checkpoints([str(pattern)])
        assert [item.step for item in scan.found] == [1, 5]
        assert [file.name for file, _ in scan.passed_over] == ["s2.pt", "s3.pt", "s4.pt"]
        assert scan.passed_over[0][1].endswith("names no run; it holds the keys 'step'")
        assert scan.passed_over[2][1].endswith("would run posix.system when loaded; nothing was run")
    # Named alone each is an error of its own.
    kinds: dict[str, type[Exception]] = {
        "s2.pt": NotFoundError,
        "s3.pt": DamageError,
        "s4.pt": UnsafeFileError,
    }
    for name, kind in kinds.items():
        with pytest.raises(kind):
            scan_checkpoints([str(tmp_path), str(tmp_path / name)])


def test_a_damaged_file_whose_run_only_another_file_or_a_folder_names_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "run-20240101_120000-id1" / "files"
    folder.mkdir(parents=True)
    torch.save({"wandb_run_path": "team/proj/id2"}, folder / "good.pt")
    cut = folder / "cut.pt"
    cut.write_bytes((folder / "good.pt").read_bytes()[:300])
    (folder / "none.pt").write_bytes(b"")
    why = f"checkpoint '{cut}' is a damaged archive: File is not a zip file"
    assert list(scan_checkpoints([str(cut)]).notes()) == [
        f"1 checkpoint cannot be read, and its run is known from other files or folders: {why}",
        f"the run of 1 checkpoint is known only from the names of folders (folder): '{cut}'",
    ]
    assert list(scan_checkpoints([str(folder)]).notes()) == [
        f"2 checkpoints cannot be read, and their runs are known from other files or folders: {why} ...",
        f"the run of 2 checkpoints is known only from the names of folders (folder): '{cut}' ...",
    ]
    (folder / "wandb_run_path").write_text("team/proj/id3")
    assert list(scan_checkpoints([str(cut)]).notes()) == [
        f"1 checkpoint cannot be read, and its run is known from other files or folders: {why}",
    ]


def test_a_glob_of_which_nothing_can_be_read_is_the_first_files_error(tmp_path: Path) -> None:
    for step in (1, 2):
        torch.save({"step": step}, tmp_path / f"s{step}.pt")
    with pytest.raises(NotFoundError) as caught:
        scan_checkpoints([str(tmp_path)])
    assert caught.value.message == (
        f"none of the 2 checkpoints of {str(tmp_path)!r} can be used; the first: "
        f"checkpoint {str(tmp_path / 's1.pt')!r} names no run; it holds the keys 'step'"
    )
    (tmp_path / "s2.pt").unlink()
    with pytest.raises(NotFoundError) as single:
        scan_checkpoints([str(tmp_path / "*.pt")])
    assert single.value.message.startswith("checkpoint ")


def test_a_checkpoint_that_two_patterns_bring_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "s1.pt"
    torch.save({"wandb_run_path": "team/proj/id1"}, file)
    assert len(scan_checkpoints([str(tmp_path), str(file), str(tmp_path / "*.pt")]).found) == 1


def test_a_broken_link_and_a_folder_without_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "gone.pt").symlink_to(tmp_path / "nowhere.pt")
    torch.save({"wandb_run_path": "team/proj/id1"}, tmp_path / "s1.pt")
    scan = scan_checkpoints([str(tmp_path)])
    assert [item.file.name for item in scan.found] == ["s1.pt"]
    assert scan.passed_over == ((tmp_path / "gone.pt", f"no checkpoint {str(tmp_path / 'gone.pt')!r}"),)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileMissingError):
        scan_checkpoints([str(tmp_path / "empty"), str(tmp_path)])
