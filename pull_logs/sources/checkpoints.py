"""Which run a checkpoint belongs to, and at which step it was taken.

A checkpoint is a file that PyTorch wrote (a ZIP archive or, before 1.6, a row
of pickles), a plain pickle, a `.safetensors` file, or a folder of Hugging Face's
`Trainer`. What it holds by name is read (`pickles`, `tensorfiles`) and looked
through (`runkeys`); no tensor is read and no code in the file is run. A file
that names no run may have a sidecar: `model.pt.json`, `model.json`, or a text
file `wandb_run_path` in the same folder.
"""

from __future__ import annotations

import glob
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from pull_logs.errors import DamageError, DataError, FileMissingError, NotFoundError, UnsafeFileError
from pull_logs.runs import RunReference
from pull_logs.snapshot.canon import parse_json
from pull_logs.sources.pickles import read_pickle
from pull_logs.sources.runkeys import FoundRun, Progress, find_progress, find_run, run_at, seen_keys
from pull_logs.sources.tensorfiles import looks_like_safetensors, read_safetensors_metadata

SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".safetensors"})
"""What counts as a checkpoint when a folder is given."""

RUN_PATH_FILE = "wandb_run_path"
TRAINER_STATE = "trainer_state.json"

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
MAX_SIDECAR = 1 << 24
MAX_INFLATED = 1 << 28
"""Bytes that a compressed archive member may unpack to."""

_BUFFER = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRun:
    """The run of a checkpoint.

    Attributes:
        file: The checkpoint.
        reference: The run it names; the project, the entity or both may be missing.
        step: The step it was taken at; None when it does not tell.
        epoch: The epoch; a fraction when the checkpoint was taken inside of one.
        key: Where the run is named: levels of keys joined by dots, behind `SIDECAR:` when not in the file.
    """

    file: Path
    reference: RunReference
    step: int | None = None
    epoch: float | None = None
    key: str


def read_checkpoint(path: Path, *, key: str | None = None) -> CheckpointRun:
    """The run that a checkpoint belongs to.

    Args:
        path: A checkpoint file, or a folder of Hugging Face's `Trainer`.
        key: Where the run is named, levels joined by dots; without it the usual names are tried.

    Raises:
        FileMissingError: There is no such file, or it cannot be read.
        NotFoundError: It names no run.
        UnsafeFileError: Loading it would run code.
        DamageError: It is no checkpoint, or damaged.
    """
    try:
        return _read(path, key)
    except FileNotFoundError as exc:
        raise FileMissingError(f"no checkpoint {str(path)!r}") from exc
    except OSError as exc:
        raise FileMissingError(f"cannot read {str(path)!r}: {exc.strerror or exc}") from exc


def find_checkpoints(pattern: str) -> tuple[Path, ...]:
    """The checkpoints that a file, a folder or a glob pattern names, numbers in names in number order.

    A folder gives all files below it with a known suffix; a folder that holds
    `trainer_state.json` is itself one checkpoint. Hidden folders and links to
    folders are left out; `**` in a pattern goes to any depth.

    Raises:
        FileMissingError: There is none.
    """
    path = Path(pattern).expanduser()
    matches = [path] if path.exists() else [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute pattern
    found: dict[tuple[Path, str], Path] = {}
    for match in matches:
        for file in _below(match) if match.is_dir() else (match,):
            # A file that is reached again through a link to a folder is the same one.
            place = (file.parent.resolve(), file.name)
            found[place] = min(file, found.get(place, file), key=lambda path: len(path.parts))
    if not found:
        raise FileMissingError(
            f"no checkpoint {pattern!r}" if not matches else f"no checkpoint in {pattern!r}",
            hint=f"files called {', '.join(sorted(SUFFIXES))} are looked for in a folder",
        )
    return tuple(sorted(found.values(), key=_natural))


def _below(folder: Path) -> Iterator[Path]:
    if (folder / TRAINER_STATE).is_file():
        yield folder
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            if not entry.is_symlink() and not entry.name.startswith("."):
                yield from _below(entry)
        elif entry.suffix in SUFFIXES:
            yield entry


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """A key that puts `step_9` before `step_10`."""
    return [
        (1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", str(path))
    ]


def _read(path: Path, key: str | None) -> CheckpointRun:
    root: object = {}
    damage: DamageError | None = None
    if path.is_dir():
        if not (path / TRAINER_STATE).is_file() and not (path / RUN_PATH_FILE).is_file():
            raise NotFoundError(
                f"the folder {str(path)!r} is no checkpoint",
                hint=f"name its files, or put a {RUN_PATH_FILE} file into it",
            )
    else:
        try:
            root = _contents(path)
        except UnsafeFileError:
            raise
        except DamageError as exc:
            # A sidecar tells of a file whose own telling is lost.
            damage = exc
    found = None
    if damage is None and key is not None and not path.is_dir():
        found = run_at(root, key, where=str(path))
    elif damage is None:
        found = find_run(root, where=str(path))
    progress = [find_progress(root)]
    if found is None:
        found, told = _from_sidecars(path)
        progress.append(told)
    if found is None:
        raise damage or _names_no_run(path, root)
    progress.append(_trainer_progress(path))
    return CheckpointRun(
        file=path,
        reference=found.reference,
        step=next((told.step for told in progress if told.step is not None), None),
        epoch=next((told.epoch for told in progress if told.epoch is not None), None),
        key=found.key,
    )


def _names_no_run(path: Path, root: object) -> NotFoundError:
    return NotFoundError(
        f"checkpoint {str(path)!r} names no run; it holds {seen_keys(root)}",
        hint="name the run with -r, or the key that holds it with --checkpoint-key",
    )


def _contents(path: Path) -> object:
    """What the file holds by name."""
    name = str(path)
    if path.suffix == ".json":
        return _json(path)
    with path.open("rb", buffering=_BUFFER) as source:
        start = source.read(16)
        source.seek(0)
        if start.startswith(b"PK\x03\x04"):
            return _archive_contents(source, name)
        if path.suffix == ".safetensors" or looks_like_safetensors(start):
            return read_safetensors_metadata(source, name=name)
        if start[:1] in (b"\x80", b"}", b"(", b"]", b"c"):
            return _pickle_contents(source, name)
    raise DamageError(
        f"{name!r} is no checkpoint that can be read",
        hint="PyTorch and safetensors files are; name the run of another with -r or a sidecar",
    )


def _archive_contents(source: BinaryIO, name: str) -> object:
    """The value in the `data.pkl` of a file that `torch.save` wrote."""
    try:
        with zipfile.ZipFile(source) as archive:
            members = [info for info in archive.infolist() if Path(info.filename).name == "data.pkl"]
            if not members:
                raise DamageError(f"{name!r} is an archive, but none of PyTorch's: it has no data.pkl")
            member = min(members, key=lambda info: info.filename.count("/"))
            if member.compress_type != zipfile.ZIP_STORED and member.file_size > MAX_INFLATED:
                raise UnsafeFileError(
                    f"checkpoint {name!r} holds a data.pkl that unpacks to {member.file_size} bytes",
                    hint="name the run with -r",
                )
            with archive.open(member) as stream:
                return _checked_pickle(stream, name)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as exc:
        raise DamageError(f"checkpoint {name!r} is a damaged archive: {exc}") from exc


def _checked_pickle(stream: IO[bytes], name: str) -> object:
    buffered = io.BufferedReader(cast("io.RawIOBase", stream), _BUFFER)
    value = read_pickle(buffered, name=name)
    # The member's checksum is compared at its end.
    while buffered.read(_BUFFER):
        pass
    return value


def _pickle_contents(source: BinaryIO, name: str) -> object:
    """The value of a plain pickle, or that of PyTorch's old format: magic, protocol, machine, value."""
    value = read_pickle(source, name=name)
    if value != _LEGACY_MAGIC:
        return value
    protocol = read_pickle(source, name=name)
    if protocol != _LEGACY_PROTOCOL:
        raise DamageError(f"{name!r} is of version {protocol!r} of PyTorch's old format, which is unknown")
    read_pickle(source, name=name)
    return read_pickle(source, name=name)


def _from_sidecars(path: Path) -> tuple[FoundRun | None, Progress]:
    if not path.is_dir():
        for sidecar in (path.with_name(f"{path.name}.json"), path.with_suffix(".json")):
            if sidecar != path and sidecar.is_file():
                told = _json(sidecar)
                found = find_run(told, where=str(sidecar))
                if found is not None:
                    return FoundRun(found.reference, f"{sidecar.name}:{found.key}"), find_progress(told)
    sidecar = (path if path.is_dir() else path.parent) / RUN_PATH_FILE
    if sidecar.is_file():
        text = _text(sidecar).strip()
        found = find_run({RUN_PATH_FILE: text}, where=str(sidecar))
        if found is not None:
            return FoundRun(found.reference, f"{sidecar.name}:"), Progress()
    return None, Progress()


def _trainer_progress(path: Path) -> Progress:
    """What Hugging Face's `Trainer` tells beside its files."""
    file = (path if path.is_dir() else path.parent) / TRAINER_STATE
    return find_progress(_json(file)) if file.is_file() else Progress()


def _json(file: Path) -> object:
    try:
        value: object = parse_json(_text(file))
    except DataError as exc:
        raise DamageError(f"{str(file)!r} is {exc.message}") from exc
    return value


def _text(file: Path) -> str:
    with file.open("rb") as source:
        data = source.read(MAX_SIDECAR + 1)
    if len(data) > MAX_SIDECAR:
        raise DamageError(f"{str(file)!r} is larger than the {MAX_SIDECAR} bytes that a sidecar may have")
    return data.decode("utf-8", "replace")
