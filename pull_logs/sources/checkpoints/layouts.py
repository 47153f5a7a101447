"""The layouts of checkpoints: folders that are one checkpoint, sets of shards, names that contain a step.

    checkpoint-500/trainer_state.json ...            Hugging Face's `Trainer`
    global_step500/mp_rank_00_model_states.pt ...    DeepSpeed; a file `latest` next to it names the folder
    FOLDER/.metadata, __0_0.distcp ...               torch.distributed.checkpoint (FSDP)
    model.safetensors.index.json, model-00001-of-00003.safetensors ...   a sharded model
    PROJECT/RUN_ID/checkpoints/epoch=3-step=1200.ckpt                    Lightning with its `WandbLogger`

The names are taken from `transformers.trainer`, `deepspeed.runtime.engine`,
`torch.distributed.checkpoint.filesystem`, `huggingface_hub.serialization` and
`lightning.pytorch.callbacks.ModelCheckpoint`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pull_logs.errors import DamageError, UsageError
from pull_logs.runs import RunReference
from pull_logs.sources.checkpoints.contents import read_contents, read_json, read_text
from pull_logs.sources.checkpoints.distributed import METADATA, read_distributed
from pull_logs.sources.checkpoints.run_keys import FoundRun, Progress
from pull_logs.sources.checkpoints.values import members_of

SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".safetensors"})
"""The suffixes of checkpoints in a folder."""

TRAINER_STATE = "trainer_state.json"
LATEST = "latest"
INDEX = ".index.json"

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
_DEEPSPEED_RANK = re.compile(r"(?:(?:bf16_|fp16_)?zero_pp_rank_\d+_)?mp_rank_\d+_.*states\.pt")
_SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-\d{5}(?P<suffix>\.safetensors|\.bin)")
_MAX_NAME = 255

_STEP_NAME = re.compile(
    r"(?<![a-z])(?:global[-_]?)?(?:step|iteration|iter)s?[-_=]?(\d{1,18})(?![\da-z])", re.IGNORECASE
)
_EPOCH_NAME = re.compile(r"(?<![a-z])(?:epochs?|ep)[-_=]?(\d{1,9})(?![\da-z])", re.IGNORECASE)
_TRAINER_NAME = re.compile(r"checkpoint-(\d{1,18})")
_GENERATED_ID = re.compile(r"[a-z0-9]{8}")


def is_checkpoint_folder(folder: Path) -> bool:
    """Return whether a folder is itself one checkpoint."""
    return (
        (folder / TRAINER_STATE).is_file()
        or (folder / METADATA).is_file()
        or any((folder / part).is_file() for part in _DEEPSPEED_PARTS)
    )


def read_parts(path: Path, *, key: str | None = None) -> Iterator[tuple[str, object]]:
    """Read the contents of a checkpoint, part by part.

    Args:
        path: A file, or a folder that is one checkpoint.
        key: The key that names the run, if the user gave one.

    Yields:
        The prefix for keys of the part (`training_args.bin:`; empty if the file is the checkpoint), and the
        contents of the part.

    Raises:
        OSError: A part cannot be read.
        UnsafeFileError: Loading a part would run code.
        DamageError: A part is damaged.
    """
    if not path.is_dir():
        contents = read_contents(path)
        yield "", contents
        if path.name.endswith(INDEX):
            yield from _first_shard(path, contents)
        return
    if (path / METADATA).is_file():
        yield "", read_distributed(path, key=key)
    for name in (*_TRAINER_PARTS, *_DEEPSPEED_PARTS):
        if (path / name).is_file():
            contents = read_contents(path / name)
            yield f"{name}:", contents
            if name.endswith(INDEX):
                yield from _first_shard(path / name, contents)


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

    Raises:
        OSError: The file cannot be read.
    """
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


def trainer_state(path: Path) -> Mapping[object, object]:
    """Read the state that Hugging Face's `Trainer` wrote next to a file; empty if there is none.

    Raises:
        OSError: The file cannot be read.
        DamageError: It is damaged.
    """
    file = path.parent / TRAINER_STATE
    return members_of(read_json(file)) or {} if file.is_file() else {}


def progress_by_name(path: Path) -> Progress:
    """Return the step and epoch in the name of a file or its folder, as in `epoch=3-step=1200`."""
    step: int | None = None
    epoch: float | None = None
    for name in (path.name if path.is_dir() else path.stem, path.absolute().parent.name):
        if step is None:
            found = _TRAINER_NAME.fullmatch(name) or _STEP_NAME.search(name)
            step = int(found[1]) if found else None
        if epoch is None:
            found = _EPOCH_NAME.search(name)
            epoch = int(found[1]) if found else None
    return Progress(step, epoch, BY_NAME if step is not None else "", BY_NAME if epoch is not None else "")


BY_NAME = "name"
"""The key of a step or an epoch that only a name contains."""


def run_by_folder(path: Path, root: object) -> FoundRun | None:
    """Return the run in whose folder Lightning's `ModelCheckpoint` saved a checkpoint.

    With a `WandbLogger` and no folder given, that is `PROJECT/RUN_ID/checkpoints`; only run ids in the form
    that W&B generates are accepted.
    """
    if "pytorch-lightning_version" not in (members_of(root) or {}):
        return None
    *_, project, run_id, folder, _ = ("", "", "", *path.absolute().parts)
    if folder != "checkpoints" or not _GENERATED_ID.fullmatch(run_id):
        return None
    try:
        return FoundRun(RunReference.parse(f"{project}/{run_id}"), "folder")
    except UsageError:
        return None
