"""The metadata of a `.safetensors` file, read from its header without any tensor.

A file starts with the length of the header in 8 bytes and the header, a JSON object with an entry per tensor
and `__metadata__`, an object of strings.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from pull_logs.errors import DamageError, DataError
from pull_logs.rows.canonical import parse_json

MAX_HEADER = 100_000_000
"""The most bytes of a header that the format allows."""

_LENGTH = struct.Struct("<Q")


def looks_like_safetensors(start: bytes) -> bool:
    """Return whether the first bytes of a file are a plausible length and the `{` of a header."""
    if len(start) <= _LENGTH.size:
        return False
    (length,) = _LENGTH.unpack_from(start)
    return 2 <= length <= MAX_HEADER and start[_LENGTH.size : _LENGTH.size + 1] == b"{"


def read_safetensors_metadata(source: BinaryIO, *, name: str) -> dict[str, str]:
    """Read the `__metadata__` of a file; empty if it has none.

    Raises:
        DamageError: The header is cut off, too large, or not a JSON object.
    """
    prefix = source.read(_LENGTH.size)
    if len(prefix) < _LENGTH.size:
        raise DamageError(f"{name!r} is cut off inside the length of its header")
    (length,) = _LENGTH.unpack(prefix)
    if length > MAX_HEADER:
        raise DamageError(f"{name!r} claims a header of {length} bytes, more than the format allows")
    header = source.read(length)
    if len(header) < length:
        raise DamageError(f"{name!r} is cut off inside its header")
    try:
        parsed = parse_json(header)
    except DataError as exc:
        raise DamageError(f"the header of {name!r} is {exc.message}") from exc
    metadata = parsed.get("__metadata__", {}) if isinstance(parsed, dict) else None
    if not isinstance(metadata, dict):
        raise DamageError(f"the header of {name!r} is not a safetensors header")
    return {key: value for key, value in metadata.items() if isinstance(value, str)}
