"""Values inside checkpoints: dicts, objects that were not built, and numbers, read alike.

Values come from `read_pickle`, where an `Inert` replaces an object, or from JSON.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from pull_logs.errors import DataError
from pull_logs.rows.canonical import parse_json
from pull_logs.sources.checkpoints.calls import Inert
from pull_logs.suggestions import listed

_MOST_KEYS = 12
_MAX_JSON = 1 << 20

_SCALARS = {
    "b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip
"""The names of number types in NumPy and in `struct`."""


def seen_keys(root: object) -> str:
    """Return the top-level keys of a checkpoint, for a message."""
    members = members_of(root)
    if members is None:
        return f"a single {type(root).__name__ if not isinstance(root, Inert) else root.name}"
    keys = [str(key) for key in members if isinstance(key, (str, int))]
    return f"the keys {listed(keys, most=_MOST_KEYS)}" if keys else "no keys"


def members_of(value: object) -> Mapping[object, object] | None:
    """Return the named members of a value; None for a value that has none.

    A value may be a dict, JSON text of an object, or an `Inert` for an `argparse.Namespace`, a dataclass, a
    subclass of dict or a node of OmegaConf (whose state has its members in `_content`).
    """
    if isinstance(value, str):
        return _json_members(value)
    if isinstance(value, dict):
        return value
    if not isinstance(value, Inert):
        return None
    found: dict[object, object] = {}
    if isinstance(value.args, tuple) and len(value.args) == 1:
        found |= _pairs(value.args[0])
    # An object with slots has two states: one for its dict and one for its slots.
    for state in value.state[:3] if isinstance(value.state, tuple) else (value.state,):
        if isinstance(state, dict):
            content = state.get("_content", state)
            found |= content if isinstance(content, dict) else {}
    found |= value.items or {}
    return found or None


def size_of(value: object) -> int:
    """Return about how many members a value has, without building them."""
    if not isinstance(value, Inert):
        return len(value) if isinstance(value, dict) else 0
    states = value.state if isinstance(value.state, tuple) else (value.state,)
    args = value.args if isinstance(value.args, tuple) and len(value.args) == 1 else ()
    held = [*states[:3], *args, value.items]
    held += [state["_content"] for state in states[:3] if isinstance(state, dict) and "_content" in state]
    return max(len(part) if isinstance(part, (dict, list)) else 0 for part in held)


def plain(value: object) -> object:
    """Return a value without its wrapper: a node of OmegaConf or a scalar of NumPy."""
    for _ in range(4):
        if not isinstance(value, Inert):
            break
        if isinstance(value.state, dict) and "_val" in value.state:
            value = value.state["_val"]
        elif value.name.endswith("multiarray.scalar"):
            return _numpy_scalar(value.args)
        else:
            break
    return value


def lookup(root: object, key: str) -> object:
    """Return the value at a key: dotted levels, or a key that contains dots; None where it is missing."""
    members = members_of(root)
    if members is None:
        return None
    if key in members:
        return members[key]
    head, dot, rest = key.partition(".")
    return lookup(members.get(head), rest) if dot else None


def number_of(value: object) -> float | None:
    """Return a value as a number that can be a step or an epoch; None for anything else."""
    value = plain(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**63:
        return None
    return int(value) if value == int(value) else value


def _json_members(text: str) -> Mapping[object, object] | None:
    """Return the members of a JSON object given as text, as in the metadata of `.safetensors` files."""
    if text.lstrip()[:1] != "{" or len(text) > _MAX_JSON:
        return None
    try:
        value = parse_json(text)
    except DataError:
        return None
    return value if isinstance(value, dict) else None


def _pairs(value: object) -> dict[object, object]:
    """Return the members of an `OrderedDict` or `dict` that is built with this argument."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return {}
    return {
        pair[0]: pair[1]
        for pair in value
        if isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)
    }


def _numpy_scalar(args: object) -> object:
    """Return the number in `numpy.core.multiarray.scalar(dtype("i8", False, True), b"...")`."""
    if not isinstance(args, tuple) or len(args) != 2 or not isinstance(args[0], Inert):
        return None
    dtype, data = args
    name = dtype.args[0] if isinstance(dtype.args, tuple) and dtype.args else None
    order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "<"
    if isinstance(data, Inert) and data.name == "_codecs.encode" and isinstance(data.args, tuple):
        # Protocol 2 has no bytes; they are stored as text to be encoded as Latin-1.
        text = data.args[0] if data.args else None
        data = text.encode("latin-1", "replace") if isinstance(text, str) else None
    form = _SCALARS.get(name) if isinstance(name, str) else None
    if form is None or not isinstance(data, bytes) or struct.calcsize(f"={form}") != len(data):
        return None
    value: object = struct.unpack((">" if order == ">" else "<") + form, data)[0]
    return value
