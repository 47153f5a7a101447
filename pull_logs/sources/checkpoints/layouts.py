"""The layouts of checkpoints: folders that are one checkpoint, sets of shards.

    checkpoint-500/trainer_state.json ...            Hugging Face's `Trainer`
    global_step500/mp_rank_00_model_states.pt ...    DeepSpeed; a file `latest` next to it names the folder
    FOLDER/.metadata, __0_0.distcp ...               torch.distributed.checkpoint (FSDP)
    model.safetensors.index.json, model-00001-of-00003.safetensors ...   a sharded model
    epoch=2-step=100.ckpt/meta.pt, .metadata ...     Lightning with FSDP
    last.ckpt/latest, last.ckpt/checkpoint/mp_rank_00_model_states.pt    Lightning with DeepSpeed
    checkpoint_3/random_states_0.pkl, custom_checkpoint_0.pkl ...        Accelerate

The names are taken from `transformers.trainer`, `deepspeed.runtime.engine`,
`torch.distributed.checkpoint.filesystem`, `huggingface_hub.serialization` and
`lightning.fabric.strategies.fsdp`, `accelerate.checkpointing`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pull_logs.errors import DamageError
from pull_logs.sources.checkpoints.contents import read_contents, read_text
from pull_logs.sources.checkpoints.distributed import METADATA, read_distributed
from pull_logs.sources.checkpoints.values import members_of

SUFFIXES = (".ckpt", ".pt", ".pth", ".pth.tar", ".safetensors")
"""The suffixes of checkpoints in a folder; `.tar` after `.pth` is a name that PyTorch's examples use."""

TRAINER_STATE = "trainer_state.json"
LATEST = "latest"
INDEX = ".index.json"
LIGHTNING_META = "meta.pt"
"""What Lightning saves next to the weights of FSDP."""

_TRAINER_PARTS = (
    TRAINER_STATE,
    "training_args.bin",
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "adapter_model.safetensors",
    "config.json",
)
"""The files of a `Trainer` folder that may name a run, in the order in which they are searched."""

_DEEPSPEED_PARTS = ("mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_model_states.pt")
_ACCELERATE = ("random_states_0.pkl", "custom_checkpoint_0.pkl")
_DEEPSPEED_RANK = re.compile(r"(?:(?:bf16_|fp16_)?zero_pp_rank_\d+_)?mp_rank_\d+_.*states\.pt")
_SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-\d{5}(?P<suffix>\.safetensors|\.bin)")
_MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a checkpoint.

    Attributes:
        name: The prefix for its keys (`training_args.bin:`); empty if the file is the checkpoint.
        contents: Its contents; an empty dict if they cannot be read.
        failure: Why they cannot be read: it is damaged, or loading it would run code.
    """

    name: str
    contents: object
    failure: DamageError | None = None


def is_checkpoint_folder(folder: Path) -> bool:
    """Return whether a folder is itself one checkpoint."""
    return any(
        (folder / part).is_file() for part in (TRAINER_STATE, METADATA, *_DEEPSPEED_PARTS, *_ACCELERATE)
    )


def read_parts(path: Path, *, key: str | None = None) -> Iterator[Part]:
    """Read the contents of a checkpoint, part by part; a part that cannot be read does not hide the others.

    Args:
        path: A file, or a folder that is one checkpoint.
        key: The key that names the run, if the user gave one.

    Raises:
        OSError: A part cannot be read.
    """
    if not path.is_dir():
        yield from _file_parts(path, "")
        return
    if (path / METADATA).is_file():
        yield from _distributed_parts(path, key)
    custom = sorted(path.glob("custom_checkpoint_*.pkl"), key=lambda file: (len(file.name), file.name))
    for name in (LIGHTNING_META, *_TRAINER_PARTS, *_DEEPSPEED_PARTS, *(file.name for file in custom)):
        if (path / name).is_file():
            yield from _file_parts(path / name, f"{name}:")


def _distributed_parts(folder: Path, key: str | None) -> Iterator[Part]:
    try:
        for found in read_distributed(folder, key=key):
            yield Part("", {}, found) if isinstance(found, DamageError) else Part("", found)
    except DamageError as exc:
        yield Part("", {}, exc)


def _file_parts(path: Path, name: str) -> Iterator[Part]:
    try:
        contents = read_contents(path)
        yield Part(name, contents)
        if path.name.endswith(INDEX):
            for shard, metadata in _first_shard(path, contents):
                yield Part(shard, metadata)
    except DamageError as exc:
        yield Part(name, {}, exc)


def _first_shard(index: Path, contents: object) -> Iterator[tuple[str, object]]:
    """Read the metadata of the first shard of a model, which its index need not repeat."""
    placed = (members_of(contents) or {}).get("weight_map")
    names = (
        sorted({name for name in placed.values() if isinstance(name, str)})
        if isinstance(placed, dict)
        else []
    )
    if not names:
        return
    if Path(names[0]).name != names[0]:
        raise DamageError(f"{str(index)!r} refers to a file outside its folder, {names[0][:200]!r}")
    shard = index.with_name(names[0])
    if shard.is_file():
        yield f"{names[0]}:", read_contents(shard)


def followed(path: Path) -> Path:
    """Return the checkpoint folder that DeepSpeed's `latest` names; any other path unchanged.

    Lightning's folder `last.ckpt` with a `latest` inside is one checkpoint too.

    Raises:
        OSError: The file cannot be read.
    """
    if path.name.endswith(SUFFIXES) and path.is_dir() and (path / LATEST).is_file():
        path /= LATEST
    if path.name != LATEST or not path.is_file() or path.stat().st_size > _MAX_NAME:
        return path
    name = read_text(path).strip()
    return path.with_name(name) if name and Path(name).name == name else path


def complete_checkpoint(path: Path) -> Path:
    """Return the checkpoint that a file is part of: the folder of a rank's file, the index of a shard."""
    if _DEEPSPEED_RANK.fullmatch(path.name) and is_checkpoint_folder(path.parent):
        return path.parent
    found = _SHARD.fullmatch(path.name)
    if found is None:
        return path
    index = path.with_name(f"{found['stem']}{found['suffix']}{INDEX}")
    if index.is_file():
        return index
    first = re.sub(r"-\d{5}-of-", "-00001-of-", path.name)
    return path.with_name(first) if path.with_name(first).is_file() else path
