"""The hashes of a bundle's content, over the reader of the page. See docs/bundle-format.md, "Identities"."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from typing import Any

from independent_reader import Reader, Row, is_double, value

FACTS = ("created_at", "group", "job_type", "name", "notes", "state", "sweep")


def canonical(raw: Any) -> bytes:
    return json.dumps(raw, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def framed(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def streams(name: str, raw: Any) -> tuple[int, bytes, bytes]:
    """Kind, doubles and texts of one cell."""
    cell = value(raw)
    if name == "_step":
        return 7, struct.pack("<q", cell), b""
    if isinstance(cell, bool):
        return 3 if cell else 4, b"", b""
    if isinstance(cell, str):
        return 5, b"", framed(cell.encode())
    if isinstance(cell, (dict, list)):
        return 6, b"", framed(canonical(raw))
    if isinstance(cell, int) and not is_double(cell):
        return 2, b"", framed(canonical(cell))
    return 1, struct.pack("<d", math.nan if cell != cell else cell), b""


def hash_of_rows(rows: list[Row]) -> str:
    whole = hashlib.sha256(struct.pack("<Q", len(rows)))
    for name in sorted({name for row in rows for name in row}, key=str.encode):
        cells = [streams(name, row[name]) if name in row else (0, b"", b"") for row in rows]
        kinds, doubles, texts = zip(*cells, strict=True)
        whole.update(framed(name.encode()))
        for stream in (bytes(kinds), b"".join(doubles), b"".join(texts)):
            whole.update(hashlib.sha256(stream).digest())
    return f"sha256:{whole.hexdigest()}"


def rows_hash(reader: Reader, path: str) -> str:
    return hash_of_rows(reader.raw_rows(path, "history.parquet"))


def content_id(reader: Reader) -> str:
    whole = hashlib.sha256()
    for path, run in zip(reader.folders, reader.runs, strict=True):
        facts = {name: run[name] for name in FACTS} | {"path": path, "tags": sorted(run["tags"])}
        for text in (canonical(facts), run["config"].encode(), run["summary"].encode()):
            whole.update(framed(text))
        whole.update(framed(rows_hash(reader, path).encode()))
    return f"sha256:{whole.hexdigest()}"
