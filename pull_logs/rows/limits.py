"""How large the parts of a bundle may be, and how much of them is in memory at once.

A short file can hold a very long text: zstd packs a repeated text ten thousandfold, and a dictionary gives
each of its texts to any number of rows. So a reader bounds what it decodes, and a writer does not write what
no reader takes. See docs/bundle-format.md, "Limits".
"""

from __future__ import annotations

from pull_logs.errors import DataError

TEXT_AT_ONCE = 16 * 2**20
"""Bytes of text that rows have in memory at once: a writer ends a row group before it has more."""

MAX_TEXT = 64 * 2**20
"""Most bytes of one cell of a history, text or JSON."""

MAX_DOCUMENT = 16 * 2**20
"""Most bytes of a config, summary or other document of a run, as JSON."""

MAX_DOCUMENT_VALUES = 2**18
"""Most commas, `[` and `{` of a document outside of its texts: each value of JSON has at most one."""

_ALWAYS_DECODED = 160 * 2**20
_JOINED = 2**30
_DECODED_PER_BYTE = 64


def decoded_text_limit(size: int) -> int:
    """Return how many bytes of text a row group of a file of `size` bytes may have.

    Text that is packed to less than a sixty-fourth is read only up to a constant.
    """
    return max(_ALWAYS_DECODED, _DECODED_PER_BYTE * size)


def joined_text_limit(size: int) -> int:
    """Return how many bytes of text a file of `size` bytes may have if its rows are read as one table."""
    return max(_JOINED, _DECODED_PER_BYTE * size)


def check_document(text: str) -> None:
    """Check the JSON text of a document before it is parsed.

    Raises:
        DataError: It is too long, or has too many values.
    """
    size = len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
    if size > MAX_DOCUMENT:
        raise DataError(f"it has {size} bytes of JSON, and {MAX_DOCUMENT} are the most")
    if _marks(text) <= MAX_DOCUMENT_VALUES:
        return
    # Every second part is inside of a text, once escaped characters are gone.
    outside = text.replace("\\\\", "").replace('\\"', "").split('"')[::2]
    values = sum(map(_marks, outside))
    if values > MAX_DOCUMENT_VALUES:
        raise DataError(f"it has {values} values, and {MAX_DOCUMENT_VALUES} are the most")


def _marks(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")
