"""A reader written from docs/bundle-format.md alone: the standard library and pyarrow.parquet, nothing of ours."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq

Row = dict[str, Any]
FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
FACTS = ("created_at", "group", "job_type", "name", "notes", "state", "sweep")


def is_double(whole: int) -> bool:
    return whole.bit_length() - (whole & -whole).bit_length() < 53 and whole.bit_length() <= 1024


def value(raw: Any) -> Any:  # section 7
    if isinstance(raw, dict):
        return {name: value(item) for name, item in raw.items()}
    if isinstance(raw, list):
        return [value(item) for item in raw]
    if isinstance(raw, str):
        return FLOATS.get(raw, raw)
    if raw is None or isinstance(raw, bool) or not -(2**63) <= raw < 2**63:
        return float(raw) if isinstance(raw, int) and abs(raw) >= 2**63 and is_double(raw) else raw
    return int(raw) if raw == math.floor(raw) else raw


def canonical(raw: Any) -> bytes:
    return json.dumps(raw, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def framed(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def streams(name: str, raw: Any) -> tuple[int, bytes, bytes]:  # section 8: kind, doubles, texts of one cell
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


def rows_hash(rows: list[Row]) -> str:  # section 8; of histories
    whole = hashlib.sha256(struct.pack("<Q", len(rows)))
    for name in sorted({name for row in rows for name in row}, key=str.encode):
        cells = [streams(name, row[name]) if name in row else (0, b"", b"") for row in rows]
        kinds, doubles, texts = zip(*cells, strict=True)
        whole.update(framed(name.encode()))
        for stream in (bytes(kinds), b"".join(doubles), b"".join(texts)):
            whole.update(hashlib.sha256(stream).digest())
    return f"sha256:{whole.hexdigest()}"


def stands_for(segment: str, name: str) -> bool:  # section 1
    text, _, mark = segment.partition("~")
    return hashlib.sha256(name.encode()).hexdigest()[:8] == mark if mark else unquote(text) == name


class Reader:
    """An open bundle; `folders` has the folder of each run."""

    def __init__(self, path: Path) -> None:
        self.zip = zipfile.ZipFile(path)
        assert json.loads(self.zip.read("FORMAT"))["version"] == 1
        data = self.zip.read("datapackage.json")
        self.bundle_id = f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert json.loads(self.zip.read("datapackage-digest.json"))["hash"] == self.bundle_id
        self.resources = {entry["path"]: entry for entry in json.loads(data)["resources"]}
        self.runs = self.table("runs.parquet")
        self.folders = {self.path(run): self.folder(run) for run in self.runs}

    def path(self, run: Row) -> str:
        return f"{run['entity']}/{run['project']}/{run['run_id']}"

    def folder(self, run: Row) -> str:
        names, folders = (
            (run["entity"], run["project"], run["run_id"]),
            self.resources.keys() - {"runs.parquet"},
        )
        parts = {name: [part.partition("=")[2] for part in name.split("/")[1:-1]] for name in folders}
        found = {name.rpartition("/")[0] for name in folders if all(map(stands_for, parts[name], names))}
        return str(*found)

    def table(self, name: str) -> list[Row]:
        entry, data = self.resources[name], self.zip.read(name)
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == entry["hash"]
        rows: list[Row] = pq.read_table(self.zip.open(name)).to_pylist()
        assert len(rows) == entry["rows"]
        return rows

    def raw_rows(self, name: str) -> list[Row]:  # section 6
        rows = self.table(name)
        rest = [json.loads(row.pop("_wpl_rest", None) or "{}") for row in rows]
        typed = [{key: cell for key, cell in row.items() if cell is not None} for row in rows]
        return [row | more for row, more in zip(typed, rest, strict=True)]

    def rows(self, path: str, file: str = "history.parquet") -> list[Row]:
        name = f"{self.folders[path]}/{file}"
        return [value(row) for row in self.raw_rows(name)] if name in self.resources else []

    def rows_hash(self, path: str) -> str:
        return rows_hash(self.raw_rows(f"{self.folders[path]}/history.parquet"))

    def content_id(self) -> str:  # section 8
        whole = hashlib.sha256()
        for run in self.runs:
            facts = {name: run[name] for name in FACTS} | {
                "path": self.path(run),
                "tags": sorted(run["tags"]),
            }
            for text in (canonical(facts), run["config"].encode(), run["summary"].encode()):
                whole.update(framed(text))
            whole.update(framed(self.rows_hash(self.path(run)).encode()))
        return f"sha256:{whole.hexdigest()}"
