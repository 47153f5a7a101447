"""Steps and epochs that are stored as a tensor with one number.

Tensors are never read, with this exception: a number whose storage has at most `MAX_STORAGE` bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from pull_logs.sources.checkpoints.calls import Inert
from pull_logs.sources.checkpoints.run_keys import EPOCH_KEYS, STEP_KEYS, STEP_SCOPES
from pull_logs.sources.checkpoints.values import members_of

MAX_STORAGE = 64
"""The most bytes of a storage that is read."""

_FORMS = {
    "torch.LongStorage": "q", "torch.IntStorage": "i", "torch.ShortStorage": "h", "torch.CharStorage": "b",
    "torch.ByteStorage": "B", "torch.DoubleStorage": "d", "torch.FloatStorage": "f", "torch.HalfStorage": "e",
}  # fmt: skip
_REBUILD = frozenset({"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"})


def with_scalars(root: object, read: Callable[[str], bytes | None]) -> object:
    """Return the contents of a checkpoint with numbers in place of tensors at the keys of steps and epochs.

    Args:
        root: The contents; their dicts are changed.
        read: Returns the bytes of a storage; None if they are more than `MAX_STORAGE` or cannot be read.
    """
    if isinstance(root, Inert):
        number = _number(root, read)
        return root if number is None else number
    top = members_of(root) or {}
    for members in (top, *(top.get(scope) for scope in STEP_SCOPES)):
        if not isinstance(members, dict):
            continue
        for key in (*STEP_KEYS, *EPOCH_KEYS):
            number = _number(members.get(key), read)
            if number is not None:
                members[key] = number
    return root


def _number(value: object, read: Callable[[str], bytes | None]) -> float | None:
    """Return the number of a tensor that has exactly one; None for anything else."""
    if not isinstance(value, Inert) or value.name not in _REBUILD:
        return None
    if not isinstance(value.args, tuple) or len(value.args) < 3:
        return None
    storage, offset, size = value.args[:3]
    identity = storage.args if isinstance(storage, Inert) and not storage.name else None
    if size not in ((), (1,)) or not isinstance(identity, tuple) or len(identity) < 3:
        return None
    kind, key = identity[1:3]
    form = _FORMS.get(kind.name) if isinstance(kind, Inert) else None
    data = read(key) if form is not None and isinstance(key, str) else None
    if form is None or data is None or not isinstance(offset, int):
        return None
    width = struct.calcsize(f"<{form}")
    if not 0 <= offset * width <= len(data) - width:
        return None
    number: float = struct.unpack_from(f"<{form}", data, offset * width)[0]
    return number
