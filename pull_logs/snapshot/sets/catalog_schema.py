"""The columns of a catalog: a Parquet file with one row per run, sorted by entity, project and run id.

See docs/bundle-sets.md, "The catalog".
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa

from pull_logs.snapshot.format import LIGHT, SCHEMA
from pull_logs.snapshot.sets.entries import DOCUMENTS, LOCATION, OPTIONAL
from pull_logs.snapshot.sets.leaf_counts import MAX_KEYS, Counts, LeafKind

GROUP_ROWS = 8192
"""The runs of a row group: one of them is read to look a run up."""

METADATA = b"pull-logs"
"""The key of the metadata of the file: a JSON object with `format`, `version` and `keys`."""

FORMAT_NAME, FORMAT_VERSION = "pull-logs/catalog", 1

JSON_ENDING = "_json"
"""How the column of a document ends: `config_json`, of which `config.lr` cannot be taken for a part."""

_OFFSETS = ("history_offset", "history_bytes")
TYPES: Mapping[LeafKind, pa.DataType] = {"number": pa.float64(), "text": pa.string(), "bool": pa.bool_()}
"""The types of the columns of single keys."""

FIXED = pa.schema(
    [
        *(SCHEMA.field(name) for name in LIGHT),
        *(pa.field(name, pa.string()) for name in OPTIONAL),
        *(
            pa.field(name, pa.int64() if name in _OFFSETS else pa.string(), nullable=False)
            for name in LOCATION
        ),
        *(pa.field(f"{name}{JSON_ENDING}", pa.string(), nullable=False) for name in DOCUMENTS),
    ]
)
"""The columns that every catalog has."""

NUMBERS = frozenset(field.name for field in FIXED if not pa.types.is_string(field.type))
"""The columns of `FIXED` that are not texts."""

REPEATED = (
    *("entity", "project", "state", "tags", "group", "job_type", "sweep", "user", "host", "commit"),
    *("incomplete_reason", "last_seen", "via", "member", "bundle_id", "content_id"),
)
"""The columns of text that are encoded with a dictionary."""


def schema_of(typed: Mapping[str, LeafKind]) -> pa.Schema:
    """Return the columns of a catalog with these typed columns."""
    return pa.schema([*FIXED, *(pa.field(name, TYPES[kind]) for name, kind in typed.items())])


def metadata_of(counts: Counts) -> bytes:
    """Return the metadata of a catalog: how many runs have each key, by the kind of the value."""
    keys = counts if len(counts) <= MAX_KEYS else None
    found = {"format": FORMAT_NAME, "version": FORMAT_VERSION, "keys": keys}
    return json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
