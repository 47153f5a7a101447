"""How a text is stored when it is compressed, and its fields in the manifest.

See docs/bundle-format.md, "Compressed texts".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

SUFFIX = ".zst"
"""The end of the name of a compressed member; before it is the name that the member has otherwise."""

_ALWAYS_READ = 2**20
_MOST_PER_BYTE = 1024


@dataclass(frozen=True, slots=True)
class Compressed:
    """The compressed form of a text.

    Attributes:
        bytes: Its size.
        hash: `sha256:` and the hex digest of the compressed bytes.
        writer: The library that compressed it, `zstd 1.5.7`.
    """

    bytes: int
    hash: str
    writer: str


class CompressedFields(TypedDict):
    """The fields of a compressed member in the manifest, in place of those of its text."""

    bytes: int
    hash: str
    path: str
    textBytes: int
    textHash: str
    writer: str


def largest_text(size: int) -> int:
    """Return how many bytes of text `size` compressed bytes may have."""
    return max(_ALWAYS_READ, _MOST_PER_BYTE * size)


def compressed_fields(
    path: str, compressed: Compressed, *, text_bytes: int, text_hash: str
) -> CompressedFields:
    """Return the fields of a compressed member in the manifest.

    Args:
        path: The name that the member has when it is not compressed.
        compressed: Its compressed form.
        text_bytes: The size of the text.
        text_hash: `sha256:` and the hex digest of the text.
    """
    return {
        "bytes": compressed.bytes,
        "hash": compressed.hash,
        "path": path + SUFFIX,
        "textBytes": text_bytes,
        "textHash": text_hash,
        "writer": compressed.writer,
    }
