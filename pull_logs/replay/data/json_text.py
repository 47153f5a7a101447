"""The JSON texts inside W&B's GraphQL answers. See docs/protocol.md, "Values and encodings"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pull_logs.rows.canonical import canon_record, canonical_text
from pull_logs.rows.yaml_values import write_yaml
from pull_logs.snapshot import Run


def config_text(run: Run) -> str:
    """Encode a config with its internal keys, each value wrapped: `{"lr":{"desc":null,"value":0.1}}`."""
    entries = {**run.config, **run.config_internal}
    return record_text({key: {"value": value, "desc": None} for key, value in entries.items()})


def record_text(record: Mapping[str, Any]) -> str:
    """Encode a summary or another nested record, with NaN and the infinities as strings."""
    return canonical_text(canon_record(record))


def sweep_text(config: Mapping[str, Any] | None) -> str:
    """Encode the config of a sweep in YAML, as W&B stores it; empty where it is unknown."""
    return write_yaml(config or {})


def metadata_bytes(run: Run) -> bytes:
    """Return the content of `wandb-metadata.json`."""
    return record_text(run.metadata).encode()
