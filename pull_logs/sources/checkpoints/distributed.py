"""The contents of a checkpoint folder of `torch.distributed.checkpoint`.

FSDP, torchtitan and others save to a folder: `.metadata`, a pickle with the location of each value of the
state dict, and `__RANK_N.distcp` files with the values (`torch.distributed.checkpoint.filesystem`,
`.metadata`). Nested dicts are flattened; `planner_data` has the path of each flat name. A value that is not a
tensor is a small `torch.save` file inside a `.distcp` file; of these, only values whose keys may name the run
or the step are read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pull_logs.errors import DamageError
from pull_logs.sources.checkpoints.calls import Inert
from pull_logs.sources.checkpoints.contents import read_stream
from pull_logs.sources.checkpoints.pickles import read_pickle
from pull_logs.sources.checkpoints.run_keys import EPOCH_KEYS, RUN_KEYS, STEP_KEYS

METADATA = ".metadata"

MAX_VALUE = 1 << 20
"""The most bytes of a value that is read."""

MAX_SCALAR = 4096
"""The most bytes of a tensor that is read as a step: a `torch.save` file with one number."""

MAX_VALUES = 200
MAX_LEVELS = 5
"""The most levels of a key that is read: the state of an optimizer is deeper."""


def read_distributed(folder: Path, *, key: str | None = None) -> Iterator[object]:
    """Read the values of a folder that may name its run or its step, nested as they were saved.

    Values that are not read, tensors among them, are None.

    Yields:
        The errors of values that cannot be read, which do not hide the others, and then the values.

    Args:
        folder: The folder with the `.metadata`.
        key: The key that names the run, levels joined by dots, if the user gave one; its value is read too.

    Raises:
        OSError: A file cannot be read.
        UnsafeFileError: Loading the `.metadata` would run code.
        DamageError: The `.metadata` is damaged.
    """
    name = str(folder / METADATA)
    with (folder / METADATA).open("rb") as source:
        state = _state(read_pickle(source, name=name))
    locations = state.get("storage_data")
    if not isinstance(locations, dict):
        raise DamageError(f"{name!r} has no locations of values")
    kinds, paths = _dict(state.get("state_dict_metadata")), _dict(state.get("planner_data"))
    root: dict[object, object] = {}
    wanted: list[tuple[tuple[object, ...], Mapping[object, object]]] = []
    for flat, location in _named(locations):
        path = paths.get(flat)
        levels = path if isinstance(path, tuple) and path else tuple(flat.split("."))
        _put(root, levels, None)
        is_value = _is_bytes(kinds.get(flat)) or _may_be_scalar(levels, location)
        if is_value and _may_name_run(levels, key):
            wanted.append((levels, location))
    wanted.sort(key=lambda item: len(item[0]))
    for levels, location in wanted[:MAX_VALUES]:
        try:
            data = _value(folder, location)
            if data is not None:
                name = f"{folder}:{'.'.join(map(str, levels))}"
                _put(root, levels, read_stream(io.BytesIO(data), name=name))
        except DamageError as exc:
            yield exc
    yield root


def _named(locations: Mapping[object, object]) -> Iterator[tuple[str, Mapping[object, object]]]:
    """Yield the flat name and location of each value; the keys are `MetadataIndex` objects."""
    for index, location in locations.items():
        flat = _state(index.args if isinstance(index, Inert) and index.name == "key" else index).get("fqn")
        if isinstance(flat, str):
            yield flat, _state(location)


def _state(value: object) -> Mapping[object, object]:
    return _dict(value.state) if isinstance(value, Inert) else {}


def _dict(value: object) -> Mapping[object, object]:
    return value if isinstance(value, dict) else {}


def _is_bytes(kind: object) -> bool:
    return isinstance(kind, Inert) and kind.name.endswith(".BytesStorageMetadata")


def _may_be_scalar(levels: tuple[object, ...], location: Mapping[object, object]) -> bool:
    """Return whether a tensor may be the step or the epoch, at the top or in a dict of training state."""
    length = location.get("length")
    is_small = isinstance(length, int) and length <= MAX_SCALAR
    return is_small and len(levels) <= 2 and levels[-1] in (*STEP_KEYS, *EPOCH_KEYS)


def _may_name_run(levels: tuple[object, ...], key: str | None) -> bool:
    named = ".".join(map(str, levels))
    if key is not None and (named == key or key.startswith(f"{named}.") or named.startswith(f"{key}.")):
        return True
    return len(levels) <= MAX_LEVELS and (levels[-1] in RUN_KEYS or str(levels[-1]).startswith("wandb"))


def _value(folder: Path, location: Mapping[object, object]) -> bytes | None:
    """Read the bytes of a value; None if they are too many, or stored in a transformed form."""
    name, offset, length = (location.get(part) for part in ("relative_path", "offset", "length"))
    if not (isinstance(name, str) and isinstance(offset, int) and isinstance(length, int)):
        return None
    if location.get("transform_descriptors") or not (0 <= offset < 2**62 and 0 < length <= MAX_VALUE):
        return None
    if Path(name).name != name or name in (".", ".."):
        raise DamageError(f"{str(folder / METADATA)!r} refers to a file outside its folder, {name[:200]!r}")
    with (folder / name).open("rb") as source:
        source.seek(offset)
        data = source.read(length)
    if len(data) < length:
        raise DamageError(f"{str(folder / name)!r} is cut off before byte {offset + length}")
    return data


def _put(root: dict[Any, Any], levels: tuple[object, ...], value: object) -> None:
    for level in levels[:-1]:
        inner = root.setdefault(level, {})
        if not isinstance(inner, dict):
            return
        root = inner
    if value is not None or levels[-1] not in root:
        root[levels[-1]] = value
