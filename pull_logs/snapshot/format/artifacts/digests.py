"""The digests by which W&B identifies the files of artifacts: MD5 or XXH128, in base64."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable

MD5 = "MD5"
XXH128 = "XXH128"


def digest_of(algorithm: str, chunks: Iterable[bytes]) -> str:
    """Return the digest of bytes as the manifest of an artifact spells it.

    Args:
        algorithm: `MD5` or `XXH128`.
        chunks: The bytes in parts.
    """
    if algorithm == XXH128:
        import xxhash

        found = xxhash.xxh128()
        for chunk in chunks:
            found.update(chunk)
        return base64.b64encode(found.digest()).decode()
    md5 = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        md5.update(chunk)
    return base64.b64encode(md5.digest()).decode()


def md5_hex(digest: str) -> str | None:
    """Return an MD5 in base64 as hex; None for what is not one."""
    try:
        data = base64.b64decode(digest, validate=True)
    except (ValueError, binascii.Error):
        return None
    return data.hex() if len(data) == 16 else None
