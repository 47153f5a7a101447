"""A reader written from docs/bundle-format.md alone: the standard library and pyarrow.parquet, nothing of ours."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq

Row = dict[str, Any]
FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def is_double(whole: int) -> bool:
    return whole.bit_length() - (whole & -whole).bit_length() < 53 and whole.bit_length() <= 1024


def value(raw: Any) -> Any:  # docs/bundle-format.md, "Values"
    if isinstance(raw, dict):
        return {name: value(item) for name, item in raw.items()}
    if isinstance(raw, list):
        return [value(item) for item in raw]
    if isinstance(raw, str):
        return FLOATS.get(raw, raw)
    if raw is None or isinstance(raw, bool) or not -(2**63) <= raw < 2**63:
        return float(raw) if isinstance(raw, int) and abs(raw) >= 2**63 and is_double(raw) else raw
    return int(raw) if raw == math.floor(raw) else raw


def stands_for(segment: str, name: str) -> bool:  # docs/bundle-format.md, "Names"
    text, _, mark = segment.partition("=")[2].partition("~")
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
        known = {name.rpartition("/")[0] for name in self.resources if name.endswith("/history.parquet")}
        self.folders: dict[str, str] = {}
        for run in self.runs:
            names = run["entity"], run["project"], run["run_id"]
            fits = (place for place in known if all(map(stands_for, place.split("/")[1:], names)))
            self.folders["/".join(names)] = next(fits)

    def table(self, name: str) -> list[Row]:
        entry, data = self.resources[name], self.zip.read(name)
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == entry["hash"]
        rows: list[Row] = pq.read_table(self.zip.open(name)).to_pylist()
        assert len(rows) == entry["rows"]
        return rows

    def raw_rows(self, path: str, file: str) -> list[Row]:  # docs/bundle-format.md, "Cells"
        name = f"{self.folders[path]}/{file}"
        rows = self.table(name) if name in self.resources else []
        rest = [json.loads(row.pop("_wpl_rest", None) or "{}") for row in rows]
        typed = [{key: cell for key, cell in row.items() if cell is not None} for row in rows]
        return [row | more for row, more in zip(typed, rest, strict=True)]

    def rows(self, path: str, file: str = "history.parquet") -> list[Row]:
        return [value(row) for row in self.raw_rows(path, file)]
